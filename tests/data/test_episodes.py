import dataclasses
import json
from collections import Counter

import numpy as np
import pytest
from fake_own import MemoryDataset, single_objects
from fakes import rectangles
from hypothesis import given, settings
from hypothesis import strategies as st

from pixgraph.data.episodes import EpisodeList, EpisodeSampler
from pixgraph.errors import ConfigError, DataError

COUNTS = {2: 9, 3: 12, 7: 8, 9: 10}


@settings(max_examples=60, deadline=None)
@given(
    n_way=st.integers(1, 4),
    k_shot=st.integers(1, 5),
    n_query=st.integers(1, 4),
    n_unlabelled=st.integers(0, 5),
    seed=st.integers(0, 2**32),
    index=st.integers(0, 10**9),
)
def test_no_picture_plays_two_parts_and_each_shows_its_class(n_way, k_shot, n_query, n_unlabelled, seed, index):
    dataset = single_objects(COUNTS)
    episode = EpisodeSampler(dataset, n_way, k_shot, n_query, n_unlabelled, seed=seed % 1000)[index]
    assert len(set(episode.classes)) == len(episode.classes) == n_way
    assert [len(way) for way in episode.support] == [k_shot] * n_way
    assert (len(episode.query), len(episode.unlabelled)) == (n_query, n_unlabelled)
    everyone = [i for way in episode.support for i in way] + [*episode.query, *episode.unlabelled]
    assert len(set(everyone)) == len(everyone)
    for c, way in zip(episode.classes, episode.support, strict=True):
        assert all((dataset.read_mask(i) == c).any() for i in way)
    assert all(np.isin(dataset.read_mask(i), episode.classes).any() for i in episode.query)


def test_an_episode_depends_on_seed_and_index_only():
    first, second = (EpisodeSampler(single_objects(COUNTS), 2, 2, 2, 3, seed=5) for _ in range(2))
    np.random.seed(0)  # noqa: NPY002 - global state must not matter
    backwards = [second[i] for i in reversed(range(30))][::-1]
    assert [first[i] for i in range(30)] == backwards
    assert [EpisodeSampler(single_objects(COUNTS), 2, 2, 2, 3, seed=6)[i] for i in range(30)] != backwards


def test_fewer_shots_have_the_same_queries():
    one, five = (EpisodeSampler(single_objects(COUNTS), k_shot=k) for k in (1, 5))
    for i in range(20):
        assert (one[i].classes, one[i].query) == (five[i].classes, five[i].query)


def test_classes_and_pictures_are_drawn_uniformly():
    dataset = single_objects({1: 5, 2: 50})
    sampler = EpisodeSampler(dataset)
    episodes = [sampler[i] for i in range(2000)]
    classes = Counter(e.classes[0] for e in episodes)
    queries = Counter(e.query[0] for e in episodes if e.classes[0] == 1)
    supports = Counter(e.support[0][0] for e in episodes if e.classes[0] == 1)
    for counts, cells in ((classes, 2), (queries, 5), (supports, 5)):
        expected = sum(counts.values()) / cells
        chi_square = sum((n - expected) ** 2 / expected for n in counts.values())
        assert len(counts) == cells
        assert chi_square < 20  # p < 0.001 for 4 degrees of freedom is 18.5; the draws are fixed


def test_pictures_of_several_classes_serve_as_any_of_them_but_once():
    both = rectangles((1, 2, 2, 12, 14), (2, 14, 16, 22, 30))
    dataset = MemoryDataset({f"p{i}": both for i in range(6)}, {1: "a", 2: "b"})
    for i in range(20):
        episode = EpisodeSampler(dataset, n_way=2, k_shot=2, n_query=2)[i]
        everyone = [*episode.support[0], *episode.support[1], *episode.query]
        assert len(set(everyone)) == 6
    crowded = MemoryDataset({f"p{i}": both for i in range(4)}, {1: "a", 2: "b"})
    with pytest.raises(
        DataError, match=r"memory \(test\): episode 0 has no 2 supports a class and 2 queries that differ"
    ):
        EpisodeSampler(crowded, n_way=2, k_shot=2, n_query=2)[0]


def test_small_objects_do_not_count():
    dataset = single_objects(COUNTS)
    sampler = EpisodeSampler(dataset, min_area=40)
    for i in range(50):
        episode = sampler[i]
        assert all(dataset.areas[episode.classes[0]][j] >= 40 for j in (*episode.query, *episode.support[0]))


def test_classes_with_too_few_pictures_are_named():
    dataset = single_objects({1: 1, 2: 4, 3: 9})
    sampler = EpisodeSampler(dataset, k_shot=4)
    assert sampler.left_out == {"class 1": 1, "class 2": 4}
    assert {sampler[i].classes for i in range(20)} == {(3,)}
    with pytest.raises(
        DataError,
        match=r"memory \(test\): got 1 classes with the 5 labelled pictures that 4 shots and 1 queries need, expected "
        r"at least 2; too few pictures: class 1 1, class 2 4; lower n_way",
    ):
        EpisodeSampler(dataset, n_way=2, k_shot=4)


@pytest.mark.parametrize("empty", [MemoryDataset({}, {1: "a"}), single_objects({1: 0})])
def test_an_empty_data_set_is_refused(empty):
    with pytest.raises(DataError, match=r"got 0 classes .* too few pictures: "):
        EpisodeSampler(empty)


def test_masks_of_background_and_of_nothing_but_255_show_no_class():
    dataset = single_objects({1: 3})
    for key, value in (("background", 0), ("unknown", 255)):
        dataset.samples.append(dataclasses.replace(dataset.samples[0], key=key))
        dataset.masks.append(np.full((24, 32), value, np.uint8))
    assert sorted(dataset.areas[1]) == [0, 1, 2]


def test_labelled_pictures_and_unlabelled_ones_stay_apart():
    dataset = single_objects(COUNTS)
    dataset.masks[0] = None
    labelled = frozenset(i for i in range(1, len(dataset)) if i % 2)
    sampler = EpisodeSampler(dataset, k_shot=2, n_unlabelled=6, labelled=labelled)
    seen = set()
    for i in range(60):
        episode = sampler[i]
        assert {*episode.query, *episode.support[0]} <= labelled
        assert not labelled & set(episode.unlabelled)
        seen |= set(episode.unlabelled)
    assert seen == set(range(len(dataset))) - labelled


@pytest.mark.parametrize("wrong", [{"n_way": 0}, {"k_shot": 0}, {"n_query": 0}, {"n_unlabelled": -1}, {"seed": -1}])
def test_counts_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match=rf"{next(iter(wrong))}: got -?\d, expected at least \d; correct"):
        EpisodeSampler(single_objects(COUNTS), **wrong)


def episode_list(dataset) -> EpisodeList:
    sampler = EpisodeSampler(dataset, 2, 2, 1, 2, seed=3)
    return EpisodeList([sampler[i] for i in range(8)], {"seed": 3}, dataset)


def test_a_saved_list_comes_back(tmp_path):
    saved = episode_list(single_objects(COUNTS))
    saved.save(tmp_path / "list.json")
    loaded = EpisodeList.load(tmp_path / "list.json", single_objects(COUNTS))
    assert list(loaded) == list(saved)
    assert (loaded.hash, loaded.meta, len(loaded), loaded[2]) == (saved.hash, {"seed": 3}, 8, saved[2])
    assert repr(saved) == f"EpisodeList(8 episodes of memory (test), hash {saved.hash})"


def test_the_hash_is_of_keys_and_names_not_of_positions(tmp_path):
    dataset, other = single_objects(COUNTS), single_objects(COUNTS)
    other.samples.reverse()
    other.masks.reverse()
    saved = episode_list(dataset)
    saved.save(tmp_path / "list.json")
    loaded = EpisodeList.load(tmp_path / "list.json", other)
    assert loaded.hash == saved.hash
    assert loaded[0].query != saved[0].query
    shorter = EpisodeList(saved.episodes[:-1], {}, dataset)
    assert shorter.hash != saved.hash
    assert len(saved.hash) == 16


def test_the_draws_are_frozen():
    # A change of this hash changes every published number: raise the version of the protocol instead.
    assert episode_list(single_objects(COUNTS)).hash == "4d8f45eb5b8ba876"


def test_lists_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "list.json"
    dataset = single_objects(COUNTS)
    episode_list(dataset).save(path)
    with pytest.raises(DataError, match=r"list\.json: 'class \d' is not in memory \(test\), expected the data set"):
        EpisodeList.load(path, single_objects({1: 5}))
    content = json.loads(path.read_text())
    content["episodes"].pop()
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"list\.json: got hash \w{16}, expected \w{16}; the list was edited"):
        EpisodeList.load(path, dataset)
    path.write_text(json.dumps({**content, "format": "pixgraph-episodes-9"}))
    with pytest.raises(DataError, match=r"got format 'pixgraph-episodes-9', expected 'pixgraph-episodes-1'"):
        EpisodeList.load(path, dataset)
    for broken in ("", "[]", "{}", '{"format": "pixgraph-episodes-1"}'):
        path.write_text(broken)
        with pytest.raises(DataError, match=r"list\.json: cannot read the episode list"):
            EpisodeList.load(path, dataset)
    with pytest.raises(DataError, match=r"none\.json: cannot read the episode list"):
        EpisodeList.load(tmp_path / "none.json", dataset)
    with pytest.raises(DataError, match=r"cannot write the episode list .*; check folder and disk"):
        episode_list(dataset).save(tmp_path / "none" / "list.json")
