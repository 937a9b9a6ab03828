import itertools

import numpy as np
import pytest
from fake_own import MemoryDataset, fake_ade, single_objects
from fakes import rectangles

from pixgraph.data.ade_objects import AdeObjects
from pixgraph.data.labelled import labelled_subset, labelled_subsets
from pixgraph.errors import ConfigError

COUNTS = {1: 50, 2: 55, 3: 5, 4: 1}


def kept_by_class(dataset, kept):
    return {c: sum(i in kept for i in found) for c, found in dataset.areas.items()}


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [
        (0.2, {1: 10, 2: 11, 3: 2, 4: 1}),
        (0.01, {1: 2, 2: 2, 3: 2, 4: 1}),
        (0.5, {1: 25, 2: 28, 3: 3, 4: 1}),
        (1.0, COUNTS),
    ],
)
def test_each_class_keeps_its_share_and_what_an_episode_needs(fraction, expected):
    dataset = single_objects(COUNTS)
    assert kept_by_class(dataset, labelled_subset(dataset, fraction)) == expected


def test_it_is_a_function_of_seed_and_keys():
    dataset, other = single_objects(COUNTS), single_objects(COUNTS)
    assert labelled_subset(dataset, 0.2, 3) == labelled_subset(other, 0.2, 3)
    assert labelled_subset(dataset, 0.2, 3) != labelled_subset(dataset, 0.2, 4)
    backwards = single_objects(COUNTS)
    backwards.samples.reverse()
    backwards.masks.reverse()
    keys = [{d.samples[i].key for i in labelled_subset(d, 0.2, 3)} for d in (dataset, backwards)]
    assert keys[0] == keys[1]


def test_a_smaller_share_is_part_of_a_larger_one():
    dataset = single_objects(COUNTS)
    sizes = [labelled_subset(dataset, f) for f in (0.05, 0.1, 0.2, 0.5, 0.9, 1.0)]
    assert all(a <= b for a, b in itertools.pairwise(sizes))


def test_pictures_of_several_classes_count_for_each():
    both = rectangles((1, 2, 2, 12, 14), (2, 14, 16, 22, 30))
    dataset = MemoryDataset({f"p{i}": both for i in range(20)}, {1: "a", 2: "b"})
    assert len(labelled_subset(dataset, 0.25)) == 5


def test_unlabelled_pictures_are_never_among_them():
    dataset = single_objects({1: 10})
    dataset.masks[4] = None
    assert labelled_subset(dataset, 1.0) == frozenset(range(10)) - {4}
    assert 4 not in labelled_subset(dataset, 0.9)


@pytest.mark.parametrize("fraction", [0, -0.5, 1.5, np.nan])
def test_a_share_out_of_range_is_refused(fraction):
    with pytest.raises(ConfigError, match=r"label_fraction: got .*, expected more than 0 and at most 1; correct it"):
        labelled_subset(single_objects(COUNTS), fraction)


def test_a_photograph_of_two_data_sets_is_labelled_in_both_or_in_none(tmp_path):
    root = fake_ade(tmp_path)
    whole, parts = (AdeObjects(root, "train", parts=p) for p in (False, True))
    kept, kept_parts = labelled_subsets([whole, parts], 0.4, 3, 1)
    assert kept == labelled_subset(whole, 0.4, 3, 1)
    photographs = {whole.samples[i].image for i in kept}
    assert 0 < len(photographs) < len(whole)
    shared = {sample.image for sample in whole.samples}
    assert {i for i, s in enumerate(parts.samples) if s.image in photographs} == set(kept_parts)
    assert all(sample.image in shared for sample in parts.samples)


def test_data_sets_without_a_photograph_in_common_are_drawn_on_their_own():
    first, second = single_objects({3: 20}), single_objects({8: 30})
    assert labelled_subsets([first, second], 0.2, 1) == [labelled_subset(d, 0.2, 1) for d in (first, second)]
