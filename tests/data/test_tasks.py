from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fake_own import MemoryDataset, single_objects
from fakes import rectangles

from pixgraph.data.augmented import Augmented
from pixgraph.data.episodes import Episode, EpisodeSampler
from pixgraph.data.images import resize_image
from pixgraph.data.picture import Picture
from pixgraph.data.tasks import load_task, truth
from pixgraph.errors import DataError


class Store:
    """Pictures without a backbone; remembers who was asked for."""

    size = 16
    backbone = SimpleNamespace(name="none")

    def __init__(self):
        self.asked = []

    def picture(self, dataset, index):
        self.asked.append((dataset, index))
        rgb = dataset.read_image(index)
        small = torch.from_numpy(resize_image(rgb, self.size).copy()).permute(2, 0, 1) / 255
        return Picture(dataset.fingerprint(index), small, [], rgb.shape[:2])


def dataset() -> MemoryDataset:
    masks = {
        "a": rectangles((5, 2, 2, 12, 14), (7, 14, 16, 22, 30)),
        "b": rectangles((7, 2, 2, 12, 14), (255, 14, 16, 22, 30)),
        "c": rectangles((5, 2, 2, 12, 14), (9, 14, 16, 22, 30)),
        "d": None,
    }
    return MemoryDataset(masks, {5: "x", 7: "y"})


EPISODE = Episode(0, (7, 5), ((1,), (0,)), (2, 3), (3,))


def test_labels_are_the_ways_and_other_classes_are_background():
    np.testing.assert_array_equal(truth(dataset(), 0, EPISODE), rectangles((2, 2, 2, 12, 14), (1, 14, 16, 22, 30)))
    np.testing.assert_array_equal(truth(dataset(), 1, EPISODE), rectangles((1, 2, 2, 12, 14), (255, 14, 16, 22, 30)))
    np.testing.assert_array_equal(truth(dataset(), 2, EPISODE), rectangles((2, 2, 2, 12, 14)))
    assert truth(dataset(), 2, EPISODE).dtype == np.uint8


def test_class_ids_beyond_255_are_understood():
    mask = rectangles((1, 2, 2, 12, 14)).astype(np.uint16) * 400
    mask[20:] = 255
    data = MemoryDataset({"a": mask}, {400: "x"})
    expected = rectangles((1, 2, 2, 12, 14))
    expected[20:] = 255
    np.testing.assert_array_equal(truth(data, 0, Episode(0, (400,), ((0,),), (0,))), expected)


def test_a_task_has_its_pictures_way_by_way_with_labels_where_they_are_known():
    task = load_task(dataset(), EPISODE, Store())
    assert task.n_way == 2
    keys = [dataset().fingerprint(i) for i in range(4)]
    assert [p.key for p in task.support] == [keys[1], keys[0]]
    assert [p.key for p in task.query] == [keys[2], keys[3]]
    assert [p.key for p in task.unlabelled] == [keys[3]]
    support = task.support[1]
    assert (support.label.shape, support.label.dtype) == ((16, 16), torch.int64)
    assert support.label.unique().tolist() == [0, 1, 2]
    assert support.size == (24, 32)
    assert task.query[0].label.unique().tolist() == [0, 2]
    assert task.query[1].label is None
    assert task.unlabelled[0].label is None


def test_a_support_without_a_mask_is_refused(tmp_path):
    class NoMask(MemoryDataset):
        def read_mask(self, index):
            return super(MemoryDataset, self).read_mask(index)

    data = NoMask({"a": None, "b": None}, {1: "x"})
    with pytest.raises(DataError, match=r"memory: sample 'a' has no mask"):
        load_task(data, Episode(0, (1,), ((0,),), (1,)), Store())


def test_variants_are_drawn_for_each_picture_and_bring_their_own_labels():
    data = single_objects({1: 8, 2: 8})
    variants = [Augmented(data, 1), Augmented(data, 2)]
    sampler = EpisodeSampler(data, 2, 2, 2, 1)
    versions = set()
    for i in range(20):
        stores = Store(), Store()
        tasks = [load_task(data, sampler[i], store, variants, seed=4) for store in stores]
        assert [a[0] for a in stores[0].asked] == [a[0] for a in stores[1].asked]
        assert [a[1] for a in stores[0].asked] == [a[1] for a in Store.asked_without(data, sampler[i])]
        versions |= {[data, *variants].index(a[0]) for a in stores[0].asked}
        for first, second in zip(tasks[0].support, tasks[1].support, strict=True):
            assert torch.equal(first.label, second.label)
            # These pictures show the class id in grey, so picture and label must agree.
            assert ((first.rgb[0] > 0.02) == (first.label > 0)).float().mean() > 0.8
    assert versions == {0, 1, 2}


def _asked_without(data, episode):
    store = Store()
    load_task(data, episode, store)
    return store.asked


Store.asked_without = staticmethod(_asked_without)
