"""Batches of labelled and unlabelled views: pure functions of seed and step, with no more labels than annotated."""

import pickle
from functools import partial

import numpy as np
import pytest
import torch
from fakes import fake_camvid

from pixgraph.data.semantic import open_semantic
from pixgraph.errors import DataError
from pixgraph.pretrain.batches import StepBatches, stream
from pixgraph.pretrain.config import OptimConfig
from pixgraph.pretrain.labelled_source import LabelledSource, RecoBatch, RecoSource
from pixgraph.pretrain.labelled_views import LabelledViewConfig
from pixgraph.training.distributed import World

CONFIG = LabelledViewConfig(size=8, scale=[0.7, 1.5])
STILL = LabelledViewConfig(size=16, scale=[1.0, 1.0], flip=0.0, jitter=0.0, blur=0.0)


class FakeSplit:
    """Five pictures of their own number; labels are their number, too. Counts what is read."""

    def __init__(self, size=(16, 16)):
        self.keys, self.size, self.read, self.bare = [f"p{i}" for i in range(5)], size, [], None

    def __len__(self):
        return 5

    def __repr__(self):
        return "FakeSplit"

    def has_label(self, index):
        return index != self.bare

    def read_image(self, index):
        self.read.append(("image", index))
        return np.full((*self.size, 3), index, np.uint8)

    def read_label(self, index):
        self.read.append(("label", index))
        return np.full(self.size, index, np.uint8)


def corner(label, key, number):
    """The top left pixel is all that is known; `number` is what every picture is called."""
    known = np.full_like(label, 254)
    known[0, 0] = number + int(key[1:])
    return known


def source(split=None, keys=None, config=CONFIG, seed=0, **settings):
    return LabelledSource(FakeSplit() if split is None else split, keys, config, seed, **settings)


def same(one, two):
    return all(
        torch.equal(a, b) for a, b in ((one.images, two.images), (one.labels, two.labels), (one.index, two.index))
    )


def test_shapes_types_and_which_picture():
    batch = source().batch(3, 4, range(4))
    assert (batch.images.shape, batch.images.dtype) == ((4, 3, 8, 8), torch.float32)
    assert (batch.labels.shape, batch.labels.dtype) == ((4, 8, 8), torch.int64)
    assert (batch.index.shape, batch.index.dtype) == ((4,), torch.int64)
    for label, index in zip(batch.labels, batch.index, strict=True):
        assert set(label.unique().tolist()) <= {int(index), 255}
    assert batch.to("cpu").images.shape == batch.images.shape


def test_a_batch_is_a_function_of_seed_and_step_alone():
    one, two = source(), source()
    two.batch(7, 4, range(4))
    assert same(one.batch(2, 4, range(4)), two.batch(2, 4, range(4)))
    part = one.batch(2, 4, [1, 3])
    assert torch.equal(part.images, two.batch(2, 4, range(4)).images[[1, 3]])
    assert not same(one.batch(2, 4, range(4)), source(seed=1).batch(2, 4, range(4)))
    assert not same(one.batch(2, 4, range(4)), source(stream=1).batch(2, 4, range(4)))


def test_every_picture_comes_once_an_epoch():
    index = torch.cat([source().batch(step, 2, range(2)).index for step in range(15)])
    epochs = index.view(6, 5).tolist()
    assert all(sorted(epoch) == list(range(5)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_only_the_chosen_pictures_are_read():
    split = FakeSplit()
    found = source(split, ["p3", "p1"]).batch(0, 8, range(8))
    assert set(found.index.tolist()) == {1, 3} == {index for _, index in split.read}


def test_hidden_labels_are_not_read():
    split = FakeSplit()
    batch = source(split, hidden=True, augment=False, annotate=partial(corner, number=7)).batch(0, 5, range(5))
    assert set(batch.labels.unique().tolist()) <= {254, 255}
    assert {kind for kind, _ in split.read} == {"image"}


def test_annotations_are_made_of_the_full_label_by_key():
    batch = source(config=STILL, augment=False, annotate=partial(corner, number=7)).batch(0, 5, range(5))
    for label, index in zip(batch.labels, batch.index, strict=True):
        assert int(label[0, 0]) == 7 + int(index)
        assert (label.flatten()[1:] == 254).all()


def test_marks_survive_the_short_side():
    config = LabelledViewConfig(size=6, short_side=6, scale=[1.0, 1.0])
    made = source(FakeSplit((40, 60)), config=config, augment=False, annotate=partial(corner, number=7))
    picture, label = made.read(2)
    assert (picture.shape, picture.dtype, label.shape, label.dtype) == ((3, 6, 9), torch.uint8, (6, 9), torch.uint8)
    assert label.unique().tolist() == [9, 254]


def test_pictures_are_decoded_once_while_they_fit():
    split = FakeSplit()
    made = source(split)
    made.batch(0, 20, range(20))
    assert len(split.read) == 10
    split.read.clear()
    none = source(split, cache_bytes=3 * 16 * 16 * 4)  # three pictures with labels
    none.batch(0, 20, range(20))
    assert len(split.read) == 2 * (3 + 2 * 4)
    assert len(pickle.loads(pickle.dumps(made))._kept) == 0


def test_only_augmented_views_are_mirrored_and_change_colour():
    config = LabelledViewConfig(size=16, scale=[1.0, 1.0], flip=0.0, jitter=1.0, blur=0.0)
    plain, changed = (source(config=config, augment=augment).batch(0, 5, range(5)) for augment in (False, True))
    assert torch.equal(plain.images[:, 0, 0, 0] * 255, plain.index.float())
    assert not torch.allclose(plain.images, changed.images)
    assert torch.equal(plain.index, changed.index)


@pytest.mark.parametrize("workers", [0, 2])
def test_reco_batches_are_the_same_with_workers(workers):
    made = RecoSource(source(keys=["p0", "p1"]), source(augment=False, hidden=True, stream=1))
    optim = OptimConfig(steps=3, batch=4, accumulate=2)
    found = list(stream(StepBatches(made, optim, World()), workers))
    assert len(found) == 6
    for item, batch in enumerate(found):
        step, part = divmod(item, 2)
        expected = made.batch(step, 4, range(2 * part, 2 * part + 2))
        assert isinstance(batch.to("cpu"), RecoBatch)
        assert same(batch.labelled, expected.labelled)
        assert same(batch.unlabelled, expected.unlabelled)


def test_labelled_and_unlabelled_pictures_are_drawn_independently():
    made = RecoSource(source(), source(augment=False, stream=1))
    both = [made.batch(step, 5, range(5)) for step in range(8)]
    assert any(not torch.equal(one.labelled.index, one.unlabelled.index) for one in both)


def test_camvid(tmp_path):
    split = open_semantic(f"camvid:{fake_camvid(tmp_path)}", "train")
    batch = LabelledSource(split, split.keys[:1], CONFIG, 0).batch(0, 3, range(3))
    assert set(batch.labels.unique().tolist()) <= {*range(split.classes), 255}
    assert set(batch.index.tolist()) == {0}


def test_refuses_unknown_and_no_pictures():
    with pytest.raises(
        DataError, match=r"got picture 'p9', expected one of the 5 of FakeSplit; choose labels of this split"
    ):
        source(keys=["p1", "p9"])
    with pytest.raises(DataError, match=r"got no pictures of FakeSplit, expected at least one; choose more"):
        source(keys=[])


def test_a_picture_without_a_mask_is_unlabelled():
    split = FakeSplit()
    split.bare = 3
    labels = LabelledSource(split, None, STILL, 0, augment=False).batch(0, 5, range(5))
    for index, label in zip(labels.index.tolist(), labels.labels, strict=True):
        assert label.unique().tolist() == [254 if index == 3 else index]
    assert ("label", 3) not in split.read
