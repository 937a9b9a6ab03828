"""Parts of a data set: the same pictures under other numbers, divided by name alone."""

import numpy as np
import pytest
from fake_own import MemoryDataset

from pixgraph.data.semantic import SemanticSplit
from pixgraph.data.subset import Subset, hold_out
from pixgraph.errors import ConfigError


def dataset(count=40, labelled=40):
    masks = {f"p{i}": np.full((6, 8), i % 3, np.uint8) if i < labelled else None for i in range(count)}
    return MemoryDataset(masks, {1: "cat", 2: "dog"}, "train")


def test_a_subset_shows_the_pictures_underneath():
    whole = dataset(6, 5)
    part = Subset(whole, [4, 1, 5])
    assert [s.key for s in part.samples] == ["p4", "p1", "p5"]
    assert [part.has_mask(i) for i in range(3)] == [True, True, False]
    np.testing.assert_array_equal(part.read_mask(0), whole.read_mask(4))
    np.testing.assert_array_equal(part.read_image(1), whole.read_image(1))
    assert part.fingerprint(1) == whole.fingerprint(1)
    assert part.class_names == whole.class_names
    assert part.has_background == whole.has_background
    assert part.areas == {1: {0: 48, 1: 48}, 2: {}}


def test_the_parts_are_disjoint_complete_and_depend_on_names_alone():
    split = SemanticSplit(dataset())
    train, scored = hold_out(split, 0.3)
    assert not set(train.keys) & set(scored.keys)
    assert set(train.keys) | set(scored.keys) == set(split.keys)
    assert 4 <= len(scored) <= 20
    backwards = SemanticSplit(Subset(split.dataset, list(range(len(split)))[::-1]))
    assert set(hold_out(backwards, 0.3)[1].keys) == set(scored.keys)
    assert set(hold_out(split, 0.1)[1].keys) < set(scored.keys)
    assert train.ids == scored.ids == split.ids


def test_a_part_without_pictures_is_refused():
    with pytest.raises(ConfigError, match=r"holdout: got 1e-06, which leaves 40 of 40 pictures of memory to train on"):
        hold_out(SemanticSplit(dataset()), 1e-6)
