"""The loop over a protocol: scoring rules, what a method may see, seeds, sharding, and what a result says."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_world import NAMES, Halves, Oracle, TinyDataset, TinyStore

from pixgraph.backbones.build import build_backbone
from pixgraph.backbones.features import FeatureStore
from pixgraph.config import Config, GraphConfig, ModelConfig
from pixgraph.data.episodes import EpisodeSampler
from pixgraph.data.images import resize_mask
from pixgraph.data.protocols import PROTOCOLS, get_protocol
from pixgraph.data.tasks import load_task, truth
from pixgraph.errors import ConfigError, DataError
from pixgraph.evaluation import evaluate as module
from pixgraph.evaluation.baselines import AllBackground
from pixgraph.evaluation.evaluate import evaluate, predict_blind
from pixgraph.evaluation.metrics import EpisodicIoU
from pixgraph.evaluation.result import Evaluation, _places
from pixgraph.evaluation.scoring import check_probabilities, resize_labels, scored_masks
from pixgraph.evaluation.sharding import peak_memory, shard, sum_over_ranks
from pixgraph.evaluation.tally import Tally
from pixgraph.models.network import PixGraphNet
from pixgraph.models.predictor import GraphPredictor
from pixgraph.models.propagate import PropagatePredictor
from pixgraph.training.step import episode_loss

V1 = get_protocol("pixgraph-v1")


@pytest.fixture(scope="module")
def world():
    return TinyDataset(), TinyStore()


def small(world, predictors=None, **options):
    options = {"seeds": [0, 1], "episodes": 6, "baselines": False, **options}
    return evaluate(predictors or {"halves": Halves()}, *world, V1, **options)


def counts(evaluation):
    return {name: [tally.score.state() for tally in tallies] for name, tallies in evaluation.tallies.items()}


def perfect_answers(dataset, n_way=1, k_shot=1, seeds=(0, 1), episodes=6):
    """By picture key, the one-hot truth at the original size, for lists where no picture is a query of two classes."""
    answers = {}
    for seed in seeds:
        for episode in dataclasses.replace(V1, episodes=episodes).episode_list(dataset, n_way, k_shot, seed):
            label = truth(dataset, episode.query[0], episode).astype(np.int64)
            one_hot = F.one_hot(torch.from_numpy(np.where(label == 255, 0, label)), n_way + 1)
            answers[dataset.fingerprint(episode.query[0])] = one_hot.permute(2, 0, 1).float()
    return answers


@pytest.mark.parametrize("n_way", [1, 2])
def test_the_perfect_method_scores_one_and_never_sees_a_query_label(world, n_way):
    oracle = Oracle(perfect_answers(world[0], n_way, seeds=[0], episodes=4))
    result = small(world, {"oracle": oracle}, n_way=n_way, k_shot=2, seeds=[0], episodes=4)
    assert result.miou() == 1
    assert result.total().fb_iou() == 1
    for task in oracle.seen:
        assert [picture.label for picture in task.query] == [None]
        assert all(picture.label is not None for picture in task.support)
        assert len(task.support) == 2 * n_way


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_counts_equal_a_loop_written_out_for_each_protocol(world, name):
    dataset, store = world
    # The pictures are smaller than the supports that PFENet asks for.
    protocol = dataclasses.replace(get_protocol(name), min_area=1)
    result = evaluate({"halves": Halves()}, dataset, store, protocol, seeds=[3], episodes=5, baselines=False)
    expected = EpisodicIoU(list(NAMES))
    for episode in dataclasses.replace(protocol, episodes=5).episode_list(dataset, 1, 1, 3):
        true = truth(dataset, episode.query[0], episode)
        size = true.shape if protocol.score_size is None else (protocol.score_size,) * 2
        (p,) = Halves().predict(module.load_task(dataset, episode, store))
        label = F.interpolate(p[None], size, mode="bilinear", align_corners=False)[0].argmax(0)
        expected.update(label, resize_mask(true, size), episode.classes)
    assert result.tallies["halves"][0].score.state() == expected.state()
    assert result.protocol == name


def test_baselines_come_after_the_methods_and_background_scores_zero(world):
    result = small(world, baselines=True, episodes=3, seeds=[0])
    assert list(result.tallies) == ["halves", "all-background", "prototype", "knn", "linear"]
    assert result.main == "halves"
    assert result.miou("all-background") == 0
    assert 0 < result.total("all-background").fb_iou() < 0.5
    assert result.miou("linear") > 0.3


def test_the_same_call_gives_the_same_counts_and_hashes(world):
    first, second = small(world), small(world)
    assert counts(first) == counts(second)
    assert first.episode_hashes == second.episode_hashes
    assert len(set(first.episode_hashes)) == 2


@pytest.mark.parametrize("processes", [2, 3, 7])
def test_shards_add_up_to_the_counts_of_one_process(world, processes, monkeypatch):
    whole = small(world)
    packed = []
    for rank in range(processes):
        monkeypatch.setattr(module, "shard", lambda rank=rank: (rank, processes))
        packed.append([t.pack() for t in small(world).tallies["halves"]])
    for seed, tally in enumerate(whole.tallies["halves"]):
        merged = tally.unpack(sum(parts[seed] for parts in packed))
        assert merged.score.state() == tally.score.state()
        assert np.array_equal(merged.episodes, tally.episodes)


def test_a_tally_survives_packing():
    tally = Tally([3, 5], 2)
    score = EpisodicIoU([3, 5])
    tally.add(1, [score.update([[1, 0]], [[1, 1]], [5])], [5], 2_000_000)
    again = tally.unpack(tally.pack())
    assert again.score.state() == tally.score.state()
    assert again.episodes.tolist() == [[0, 0], [1, 2]]
    assert again.milliseconds_per_query == 2
    assert math.isnan(again.episode_iou()[0])


def test_to_dict_is_json_and_names_everything_that_a_number_depends_on(world):
    result = small(world, {"halves": Halves(), "none": AllBackground()})
    said = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert said["protocol"] == "pixgraph-v1"
    assert said["full_protocol"] is False
    assert (said["n_way"], said["k_shot"], said["seeds"], said["episodes"]) == (1, 1, [0, 1], 6)
    assert said["classes"] == list(NAMES.values())
    assert set(said["episode_hash"]) == {"0", "1"}
    assert said["backbone"] == {"name": "colour", "pretrained_on": "nothing", "fingerprint": "0123456789ab", "size": 64}
    assert said["peak_memory_mb"] > 10
    assert set(said["versions"]) == {"pixgraph", "torch", "numpy", "python"}
    halves = said["methods"]["halves"]
    mious = [seed["miou"] for seed in halves["per_seed"]]
    assert halves["miou"] == pytest.approx(np.mean(mious))
    assert halves["miou_sd"] == pytest.approx(np.std(mious, ddof=1))
    assert halves["ms_per_query"] > 0
    assert set(halves["per_class"]) == set(NAMES.values())
    again = EpisodicIoU.from_state(halves["per_seed"][0])
    assert again.miou() == pytest.approx(mious[0])


def test_one_seed_has_no_deviation_and_undefined_scores_are_null(world):
    said = small(world, seeds=[0], episodes=1).to_dict()["methods"]["halves"]
    assert said["miou_sd"] is None
    assert None in said["per_class"].values()


def test_examples_are_the_best_median_and_worst_episodes_of_the_main_method(world):
    result = small(world, {"halves": Halves(), "none": AllBackground()}, episodes=9)
    examples = result.examples(each=1)
    ious = np.concatenate([t.episode_iou() for t in result.tallies["halves"]])
    assert [e.kind for e in examples] == ["best", "median", "worst"]
    assert examples[0].iou["halves"] == ious.max()
    assert examples[2].iou["halves"] == ious.min()
    assert examples[1].iou["halves"] == np.sort(ious)[::-1][(len(ious) - 1) // 2]
    assert set(examples[0].iou) == set(result.tallies)


@pytest.mark.parametrize("count", range(8))
def test_examples_never_repeat_an_episode(count):
    ranks = [rank for _, rank in _places(count, 2)]
    assert len(set(ranks)) == len(ranks)
    assert all(0 <= rank < count for rank in ranks)
    assert bool(ranks) == bool(count)


def test_padding_is_ignored_and_labels_are_resized_to_the_protocol(world):
    p = torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(0)).softmax(0)
    true = np.random.default_rng(0).choice([0, 1, 255], (20, 31)).astype(np.uint8)
    plain = EpisodicIoU([1])
    plain.update(*scored_masks(p, true, V1), [1])
    padded = EpisodicIoU([1])
    prediction, canvas = scored_masks(p, true, get_protocol("pfenet-5000@orig-padded"))
    padded.update(prediction, canvas, [1])
    assert canvas.shape == prediction.shape == (31, 31)
    assert padded.state() == plain.state()
    assert [m.shape for m in scored_masks(p, true, get_protocol("hsnet-1000@400"))] == [(400, 400)] * 2


def test_resizing_takes_the_most_probable_label_and_the_smaller_one_in_a_tie():
    p = torch.rand(3, 5, 6, generator=torch.Generator().manual_seed(1))
    expected = F.interpolate(p[None], (11, 9), mode="bilinear", align_corners=False)[0].argmax(0)
    assert np.array_equal(resize_labels(p, (11, 9)), expected.numpy())
    assert np.array_equal(resize_labels(p[:2], (5, 6)), p[:2].argmax(0).numpy())
    assert not resize_labels(torch.full((2, 4, 4), 0.5), (8, 8)).any()


def test_answers_that_cannot_be_scored_are_refused(world):
    with pytest.raises(ValueError, match=r"net answered with shape \(3, 4, 4\), expected \(2, H, W\) for 1 ways"):
        check_probabilities(torch.zeros(3, 4, 4), 1, "net")
    with pytest.raises(ValueError, match="net answered with values that are not finite"):
        check_probabilities(torch.tensor([[[0.5]], [[float("nan")]]]), 1, "net")
    broken = Oracle({key: answer / 0 for key, answer in perfect_answers(world[0]).items()})
    with pytest.raises(ValueError, match="oracle answered with values that are not finite"):
        small(world, {"oracle": broken})


def test_settings_that_make_no_sense_are_refused(world):
    with pytest.raises(ConfigError, match="got no methods and no baselines"):
        evaluate({}, *world, V1, baselines=False)
    with pytest.raises(ConfigError, match=r"got seeds \[1, 1\], expected one or more that differ"):
        small(world, seeds=[1, 1])
    with pytest.raises(ConfigError, match="got 0 episodes, expected at least 1"):
        small(world, episodes=0)
    with pytest.raises(DataError, match="lower n_way, k_shot or n_query"):
        small(world, k_shot=100)


def test_predict_blind_hides_the_labels_of_unlabelled_pictures_too(world):
    dataset, store = world
    episode = dataclasses.replace(V1, episodes=1).episode_list(dataset)[0]
    task = module.load_task(dataset, episode, store)
    task.unlabelled = [task.support[0]]
    oracle = Oracle({task.query[0].key: torch.zeros(2, 2, 2)})
    predict_blind(oracle, task)
    assert oracle.seen[0].unlabelled[0].label is None
    assert task.unlabelled[0].label is not None


def test_outside_a_distributed_job_this_is_the_only_process():
    assert shard() == (0, 1)
    assert sum_over_ranks(np.array([4])).tolist() == [4]
    assert peak_memory() > 2**20


def test_a_full_run_says_so_and_a_protocol_cut_down_does_not(world):
    own = dataclasses.replace(V1, name="own", episodes=2, seeds=(0,))
    result = evaluate({"none": AllBackground()}, *world, own, baselines=False)
    assert isinstance(result, Evaluation)
    assert result.to_dict()["full_protocol"] is True
    cut = dataclasses.replace(own, name="pixgraph-v1")
    assert evaluate({"none": AllBackground()}, *world, cut, baselines=False).full is False


NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NO_GPU)])
def test_everything_runs_on_the_device_of_the_store(device):
    """Labels come with their pictures, whatever device the store is on: training step, GNN, propagate, baselines."""
    config = Config()
    store = FeatureStore(build_backbone(config.backbone), 64, None, torch.device(device))
    dataset, graph = TinyDataset(), GraphConfig(num_fg=8, num_bg=8)
    network = PixGraphNet(store.backbone.channels, ModelConfig(width=8, heads=2), store.backbone.strides).to(device)
    task = load_task(dataset, EpisodeSampler(dataset)[0], store)
    assert task.support[0].label.device == task.support[0].rgb.device
    loss, _ = episode_loss(network, task, dataclasses.replace(config, graph=graph), 0)
    loss.backward()
    methods = {"graph": GraphPredictor(network, graph), "propagate": PropagatePredictor(graph)}
    found = evaluate(methods, dataset, store, get_protocol("pixgraph-v1"), seeds=[0], episodes=2, progress=False)
    assert all(0 <= found.miou(name) <= 1 for name in found.tallies)
