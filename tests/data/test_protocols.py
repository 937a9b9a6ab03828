import dataclasses
from collections import Counter

import pytest
from fake_own import MemoryDataset, single_objects
from fakes import rectangles

from pixgraph.data.protocols import PROTOCOLS, get_protocol
from pixgraph.errors import ConfigError, DataError

COUNTS = {2: 9, 3: 12, 7: 8, 9: 10}


def short(name: str, episodes: int = 60):
    return dataclasses.replace(get_protocol(name), episodes=episodes)


@pytest.mark.parametrize(
    ("name", "episodes", "seeds", "score_size", "padded", "distinct"),
    [
        ("pixgraph-v1", 1000, (0, 1, 2, 3, 4), None, False, True),
        ("hsnet-1000@400", 1000, (0,), 400, False, False),
        ("hsnet-2400@400", 2400, (0,), 400, False, False),
        ("pfenet-5000@orig-padded", 5000, (321,), None, True, True),
        ("pfenet-20000@orig-padded", 20000, (321,), None, True, True),
        ("panet-5x1000", 1000, (1234, 1235, 1236, 1237, 1238), 417, False, True),
    ],
)
def test_the_named_protocols(name, episodes, seeds, score_size, padded, distinct):
    p = get_protocol(name)
    assert (p.episodes, p.seeds, p.score_size, p.padded, p.supports_distinct) == (
        episodes,
        seeds,
        score_size,
        padded,
        distinct,
    )
    assert p.description
    assert p.rule


def test_an_unknown_protocol_is_refused_with_the_names():
    with pytest.raises(
        ConfigError, match=r"protocol: got 'hsnet', expected one of pixgraph-v1, hsnet-1000@400, .*; corr"
    ):
        get_protocol("hsnet")


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("k_shot", [1, 5])
def test_every_protocol_draws_sound_episodes(name, k_shot):
    dataset = single_objects(COUNTS)
    protocol = dataclasses.replace(short(name), min_area=min(get_protocol(name).min_area, 10))
    episodes = protocol.episode_list(dataset, 1, k_shot, seed=7)
    assert len(episodes) == 60
    assert episodes.meta == {"protocol": name, "episodes": 60, "n_way": 1, "k_shot": k_shot, "seed": 7}
    assert episodes.hash == protocol.episode_list(dataset, 1, k_shot, seed=7).hash
    assert episodes.hash != protocol.episode_list(dataset, 1, k_shot, seed=8).hash
    repeated = 0
    for i, episode in enumerate(episodes):
        (c,), (way,), (query,) = episode.classes, episode.support, episode.query
        assert episode.index == i
        assert len(way) == k_shot
        assert query not in way
        assert all((dataset.read_mask(j) == c).any() for j in (*way, query))
        repeated += len(set(way)) < k_shot
    assert (repeated > 0) == (k_shot == 5 and not protocol.supports_distinct)


def test_more_episodes_begin_with_the_same_ones():
    dataset = single_objects(COUNTS)
    for name in PROTOCOLS:
        few, many = (
            dataclasses.replace(short(name, n), min_area=1).episode_list(dataset, 1, 1, seed=0) for n in (5, 30)
        )
        assert list(many)[:5] == list(few)


def mixed() -> MemoryDataset:
    masks = {
        "0": rectangles((1, 2, 2, 12, 14), (2, 14, 16, 22, 30)),
        "1": rectangles((2, 2, 2, 12, 14)),
        "2": rectangles((1, 2, 2, 12, 14)),
        "3": rectangles((1, 2, 2, 4, 4), (2, 14, 16, 22, 30)),
        "4": rectangles(),
    }
    return MemoryDataset(masks, {1: "a", 2: "b"})


def test_hsnet_walks_through_pairs_of_picture_and_class():
    pairs = [(0, 1), (0, 2), (1, 2), (2, 1), (3, 1), (3, 2)]
    episodes = short("hsnet-1000@400", 13).episode_list(mixed(), 1, 1)
    assert [(e.query[0], e.classes[0]) for e in episodes] == [*pairs, *pairs, pairs[0]]


def test_hsnet_draws_class_then_picture_on_coco():
    dataset = mixed()
    dataset.name = "coco20i"
    episodes = short("hsnet-1000@400", 400).episode_list(dataset, 1, 1)
    assert 160 < Counter(e.classes[0] for e in episodes)[1] < 240
    assert [e.query[0] for e in episodes][:6] != [0, 0, 1, 2, 3, 3]


def test_pfenet_walks_through_pictures_and_filters_supports_by_area():
    protocol = dataclasses.replace(short("pfenet-5000@orig-padded", 80), min_area=10)
    episodes = protocol.episode_list(mixed(), 1, 1)
    assert [e.query[0] for e in episodes][:9] == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    assert {e.classes[0] for e in episodes if e.query[0] == 0} == {1, 2}
    # Picture 3 shows class 1 too small for a support, not for a query.
    assert {e.classes[0] for e in episodes if e.query[0] == 3} == {1, 2}
    assert all(e.support[0][0] != 3 for e in episodes if e.classes[0] == 1)


def test_several_ways_where_the_protocol_knows_them():
    dataset = single_objects(COUNTS)
    for name in ("pixgraph-v1", "panet-5x1000"):
        assert all(len(e.classes) == 2 for e in short(name).episode_list(dataset, 2, 3))
    with pytest.raises(ConfigError, match=r"hsnet-1000@400: got 2-way, expected at most 1-way; use pixgraph-v1"):
        short("hsnet-1000@400").episode_list(dataset, 2, 1)
    with pytest.raises(ConfigError, match=r"pixgraph-v1: got 1-way 0-shot, expected at least 1 of each"):
        short("pixgraph-v1").episode_list(dataset, 1, 0)


def test_too_few_pictures_are_refused():
    with pytest.raises(
        DataError, match=r"memory \(test\): no class has 6 pictures with at least 2048 of its pixels, which pfenet"
    ):
        short("pfenet-5000@orig-padded").episode_list(single_objects({1: 30}), 1, 5)


@pytest.mark.data
@pytest.mark.parametrize(("k_shot", "expected"), [(1, "8ddb92153a3f4b04"), (5, "a9c1def17486971b")])
def test_the_published_episodes_are_frozen(data_root, k_shot, expected):
    # These hashes stand beside published results; a change needs a new protocol name.
    from pixgraph.data.ade_objects import AdeObjects

    dataset = AdeObjects(data_root / "ade20k-objects", "test")
    assert get_protocol("pixgraph-v1").episode_list(dataset, 1, k_shot, 0).hash == expected
