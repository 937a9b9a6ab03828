"""What a training by SPML is told of pictures, and the crops that it sees."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "data"))
from fake_own import MemoryDataset

from pixgraph.data.annotation_sets import write_annotations
from pixgraph.data.annotations import make_annotation
from pixgraph.data.base import UNLABELLED
from pixgraph.data.mark_types import Annotation
from pixgraph.data.partial import partial_label
from pixgraph.data.semantic import SemanticSplit
from pixgraph.errors import ConfigError, DataError
from pixgraph.pretrain.labelled_views import LabelledViewConfig
from pixgraph.pretrain.spml.config import MarksConfig
from pixgraph.pretrain.spml.regions import low_level_regions
from pixgraph.pretrain.spml.source import WeakSource
from pixgraph.pretrain.spml.weak_labels import WeakLabels


def blocks(seed, side=32):
    """A mask of background and two classes in large blocks, with a border to ignore."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((side, side + 8), np.uint8)
    mask[4:16, 4:16], mask[18:30, 20:36] = 1, 2
    mask[0] = 255
    return np.roll(mask, int(rng.integers(4)), 1)


@pytest.fixture
def split():
    return SemanticSplit(MemoryDataset({f"p{i}": blocks(i) for i in range(5)}, {1: "cat", 2: "dog"}, "train"))


def labels(split, kind="points", **marks):
    return WeakLabels(split, kind, MarksConfig(**{"thicken": 0.0, **marks}))


@pytest.mark.parametrize("kind", ["masks", "points", "scribbles", "boxes", "tags"])
def test_labels_tell_no_more_than_the_annotation(split, kind):
    found, tags = labels(split, kind)(1)
    full = split.read_label(1)
    known = found < UNLABELLED
    assert tags.tolist() == [False, True, True]
    if kind == "tags":
        assert not known.any()
    elif kind == "masks":
        np.testing.assert_array_equal(found, full)
    elif kind != "boxes":
        np.testing.assert_array_equal(found[known], full[known])
        assert set(found[known].tolist()) == {0, 1, 2}
        assert known.mean() < 0.5


def test_points_are_as_many_as_asked_and_grow(split):
    thin, _ = labels(split, num_points=2)(0)
    assert int((thin < UNLABELLED).sum()) == 6
    thick, _ = labels(split, num_points=2, thicken=2.0)(0)
    assert int((thick < UNLABELLED).sum()) > 30
    assert (thick[thin < UNLABELLED] == thin[thin < UNLABELLED]).all()


def test_marks_of_another_seed_are_others_and_the_digest_tells(split):
    one, two = labels(split, seed=0), labels(split, seed=1)
    assert not np.array_equal(one(0)[0], two(0)[0])
    np.testing.assert_array_equal(one(0)[0], labels(split, seed=0)(0)[0])
    assert len({one.digest, two.digest, labels(split, "boxes").digest, labels(split, num_pictures=2).digest}) == 4


def test_a_budget_of_pictures(split):
    assert len(labels(split, num_pictures=2).indices) == 2
    with pytest.raises(ConfigError, match=r"^marks\.num_pictures: got 9, expected 1 to 5"):
        labels(split, num_pictures=9)


def test_files_of_annotations_give_the_same_labels(split, tmp_path):
    made = ((i, make_annotation(split.read_label(i), "points", 0, split.keys[i], 1)) for i in (1, 3))
    write_annotations(tmp_path / "marks", split, made, {"kind": "points"})
    saved = labels(split, folder=str(tmp_path / "marks"))
    assert saved.indices == [1, 3]
    np.testing.assert_array_equal(saved(3)[0], labels(split)(3)[0])
    with pytest.raises(ConfigError, match=r"marks.num_pictures: got 1 beside marks.folder, expected one of them"):
        labels(split, folder=str(tmp_path / "marks"), num_pictures=1)


def test_a_class_that_no_file_marks_is_named(split, tmp_path):
    write_annotations(tmp_path / "few", split, [(0, make_annotation((split.read_label(0) == 1) * 1, "points"))], {})
    with pytest.raises(DataError, match=r"none of 1 annotations marks dog, expected every class"):
        labels(split, folder=str(tmp_path / "few"))
    with pytest.raises(DataError, match="no folder"):
        labels(split, folder=str(tmp_path / "absent"))


def test_a_class_on_no_picture_is_refused_before_the_training():
    masks = {f"p{i}": np.minimum(blocks(i), 1) for i in range(3)}
    with pytest.raises(DataError, match="none of the 3 labelled pictures shows dog, expected every class"):
        labels(SemanticSplit(MemoryDataset(masks, {1: "cat", 2: "dog"}, "train")))


def saved(split, folder, kind):
    made = [(i, make_annotation(split.read_label(i), kind, 0, split.keys[i])) for i in range(len(split))]
    write_annotations(folder, split, made, {"kind": kind})
    return str(folder)


@pytest.mark.parametrize(("kind", "other"), [("boxes", "points"), ("points", "masks"), ("tags", "boxes")])
def test_annotations_of_another_kind_are_refused(split, tmp_path, kind, other):
    folder = saved(split, tmp_path / "marks", kind)
    expected = "tags" if kind == "tags" else f"{kind} or tags"
    with pytest.raises(ConfigError, match=f"annotation: got {other} with .*are {kind}, expected {expected}; correct"):
        labels(split, other, folder=folder)
    assert labels(split, kind, folder=folder).saved.kind == kind
    assert labels(split, "tags", folder=folder)(0)[1].sum() >= 2


def test_partial_labels_serve_as_masks_or_marks_but_not_as_boxes(split, tmp_path):
    made = [(i, Annotation(partial_label(split.read_label(i), "p5", 0, split.keys[i]))) for i in range(len(split))]
    write_annotations(tmp_path / "p5", split, made, {"kind": "p5"})
    assert len(labels(split, "masks", folder=str(tmp_path / "p5")).indices) == 5
    with pytest.raises(ConfigError, match="annotations are p5, expected masks or points or scribbles or tags"):
        labels(split, "boxes", folder=str(tmp_path / "p5"))


def source(split, seed=0, kind="masks", regions="slic", **config):
    views = LabelledViewConfig(**{"size": 24, "jitter": 0.0, "blur": 0.0, **config})
    return WeakSource(labels(split, kind), views, regions, 8, seed)


def test_batches_are_functions_of_seed_step_and_position(split):
    whole = source(split).batch(3, 4, range(4))
    again = source(split)
    again.batch(0, 4, range(4))
    part = again.batch(3, 4, [2, 3])
    for name in ("images", "labels", "regions", "tags", "index"):
        assert torch.equal(getattr(whole, name)[2:], getattr(part, name))
    assert not torch.equal(source(split, seed=1).batch(3, 4, range(4)).images, whole.images)
    epoch = torch.cat([source(split).batch(s, 5, range(5)).index for s in range(1)])
    assert sorted(epoch.tolist()) == [0, 1, 2, 3, 4]


def test_pictures_labels_and_regions_move_together(split):
    """The red channel holds the label, the green one the region, so each pixel says what belongs to it."""

    class Painted(WeakLabels):
        def __call__(self, index):
            found, tags = super().__call__(index)
            return np.where(found == 255, 254, found), tags

    wide = SemanticSplit(Blocky({f"p{i}": np.kron(blocks(i), np.ones((4, 4), np.uint8)) for i in range(2)}))
    made = WeakSource(
        Painted(wide, "masks", MarksConfig()),
        LabelledViewConfig(size=96, jitter=0.0, blur=0.0, scale=[0.6, 1.4]),
        "none",
        1,
        0,
    )
    for index in range(2):  # regions as columns, to be followed
        picture = made.read(index)
        columns = torch.arange(picture.label.shape[1], dtype=torch.int16) // 32
        made._kept._values[index] = picture._replace(region=columns.expand(picture.label.shape).contiguous())
    batch = made.batch(0, 6, range(6))
    inside = batch.labels < 254
    seen = (batch.images[:, 0] * 255 / 100).round().long()
    assert float((seen[inside] == batch.labels[inside]).float().mean()) > 0.97  # but for interpolated borders
    where = (batch.images[:, 1] * 255 / 40).floor().long()
    assert float((where[inside] == batch.regions[inside]).float().mean()) > 0.9


class Blocky(MemoryDataset):
    """Pictures that are painted by their masks and columns."""

    def __init__(self, masks):
        super().__init__(masks, {1: "cat", 2: "dog"}, "train")

    def read_image(self, index):
        mask = self.read_mask(index)
        columns = np.broadcast_to(np.arange(mask.shape[1]) // 32 * 40 + 20, mask.shape)
        red = np.where(mask < 254, mask, 0) * 100
        return np.stack([red, columns, np.zeros_like(mask)], -1).astype(np.uint8)


def test_short_sides_shrink_pictures_and_keep_single_marks(split):
    made = WeakSource(labels(split, num_points=1), LabelledViewConfig(size=16, short_side=8), "slic", 6, 0)
    found = made.read(0)
    assert min(found.label.shape) == 8
    assert found.pixels.shape[1:] == found.label.shape == found.region.shape
    assert set(found.label[found.label < 254].tolist()) == {0, 1, 2}


@pytest.mark.parametrize("kind", ["slic", "felzenszwalb"])
def test_regions_follow_colours(kind):
    rgb = np.zeros((40, 60, 3), np.uint8)
    rgb[:, 30:] = 200
    found = low_level_regions(rgb, kind, 10)
    assert found.shape == (40, 60)
    assert set(np.unique(found).tolist()) == set(range(int(found.max()) + 1))
    assert not set(found[:, :29].ravel().tolist()) & set(found[:, 31:].ravel().tolist())


@pytest.mark.parametrize("count", [1, 5])
def test_no_regions_are_one(count):
    assert low_level_regions(np.zeros((5, 6, 3), np.uint8), "none", count).max() == 0
