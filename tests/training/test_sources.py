"""Training tasks as a pure function of (config, index), and validation on validation classes."""

import copy
import functools

import pytest
import torch

from pixgraph.config import BackboneConfig, Config, EpisodeConfig, SourceConfig, TrainConfig
from pixgraph.data import catalog
from pixgraph.data.synthetic import SyntheticShapes
from pixgraph.errors import DataError
from pixgraph.evaluation.baselines import NearestPrototype
from pixgraph.training import sources
from pixgraph.training.signals import TrainingStopped
from pixgraph.training.sources import TrainingTasks, Validation

SIZE = 64


@functools.cache  # counting the classes of generated pictures draws them all
def generated(name, split):
    dataset = SyntheticShapes(split, size=SIZE, n_pictures=72, seed=len(name))
    dataset.name = name
    return dataset


@pytest.fixture(autouse=True)
def small_data(monkeypatch):
    """Few and small pictures under the names of the real data set; the split's classes stay."""
    opened = []

    def open_dataset(source, split):
        opened.append(split)
        return generated(source.name, split)

    assert catalog.open_dataset is sources.open_dataset
    monkeypatch.setattr(sources, "open_dataset", open_dataset)
    return opened


@pytest.fixture(scope="module")
def store():
    from pixgraph.backbones.build import build_backbone
    from pixgraph.backbones.features import FeatureStore

    return FeatureStore(build_backbone(BackboneConfig()), SIZE)


@pytest.fixture
def config():
    extra = [SourceConfig("camvid", "folder", weight=3.0)]
    return Config(extra=extra, train=TrainConfig(augment=2, val_episodes=2), backbone=BackboneConfig(size=SIZE), seed=3)


def keys(task):
    return [p.key for p in task.support + task.query + task.unlabelled]


def test_a_task_is_a_function_of_config_and_index(config, store):
    tasks, again = TrainingTasks(config, store), TrainingTasks(copy.deepcopy(config), store)
    order = [4, 0, 2]
    forward = {i: tasks(i) for i in order}
    for i in reversed(order):
        assert keys(again(i)) == keys(forward[i])
        assert torch.equal(again(i).query[0].label, forward[i].query[0].label)
    config.seed = 4
    assert keys(TrainingTasks(config, store)(0)) != keys(forward[0])


def test_sources_are_drawn_by_their_weights(config, store):
    tasks = TrainingTasks(config, store)
    drawn = [tasks.source(i) for i in range(2000)]
    assert sum(drawn) / 2000 == pytest.approx(0.75, abs=0.03)


def test_episodes_have_all_numbers_of_classes_and_shots_as_often(config, store):
    config.episodes = EpisodeConfig(n_way=1, more_ways=[2], k_shot=1, more_shots=[2])
    tasks = TrainingTasks(config, store)
    sizes = [(task.n_way, len(task.support)) for task in map(tasks, range(40))]
    assert set(sizes) == {(1, 1), (1, 2), (2, 2), (2, 4)}
    kinds = [tasks.draw(i)[1] for i in range(2000)]
    assert all(kinds.count(kind) / 2000 == pytest.approx(0.25, abs=0.04) for kind in range(4))


def test_only_the_first_source_without_extra(config, store, small_data):
    config.extra = []
    tasks = TrainingTasks(config, store)
    assert {tasks.source(i) for i in range(50)} == {0}
    assert small_data == ["train"]


def test_a_label_fraction_leaves_unlabelled_pictures(config, store):
    config.episodes = EpisodeConfig(label_fraction=0.5, n_unlabelled=2)
    config.train.augment = 0
    tasks = TrainingTasks(config, store)
    labelled, unlabelled = set(), set()
    for i in range(12):
        task = tasks(i)
        labelled |= {p.key for p in task.support + task.query}
        unlabelled |= {p.key for p in task.unlabelled}
        assert all(p.label is None for p in task.unlabelled)
    assert labelled
    assert unlabelled
    assert not labelled & unlabelled


def test_digests_tell_data_apart(config, store, monkeypatch):
    digests = TrainingTasks(config, store).digests()
    assert list(digests) == ["0 synthetic", "1 camvid"]
    assert digests == TrainingTasks(config, store).digests()
    monkeypatch.setattr(sources, "open_dataset", lambda source, split: generated("other", "val"))
    assert not set(TrainingTasks(config, store).digests().values()) & set(digests.values())


def test_validation_is_on_validation_classes_and_repeats(config, store, small_data):
    validation = Validation(config, store, lambda network: NearestPrototype(), lambda: None)
    scores = validation(torch.nn.Identity())
    assert scores["episodes"] == 2
    assert 0 <= scores["miou"] <= 1
    config.seed = 17
    other = Validation(config, store, lambda network: NearestPrototype(), lambda: None)(torch.nn.Identity())
    assert other["miou"] == scores["miou"]
    assert set(small_data) == {"val"}


def test_validation_can_be_broken_off(config, store):
    def stop():
        raise TrainingStopped(15)

    validation = Validation(config, store, lambda network: NearestPrototype(), stop)
    with pytest.raises(TrainingStopped, match="143"):
        validation(torch.nn.Identity())


def test_an_impossible_validation_fails_at_the_start(config, store):
    config.episodes.k_shot = 500
    with pytest.raises(DataError, match=r"synthetic \(val\).*lower"):
        Validation(config, store, lambda network: NearestPrototype(), lambda: None)
