"""The benchmarks at their smallest: they run, repeat, merge and resume, and their tables say what was measured."""

import functools
import importlib
import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

from pixgraph.config import BackboneConfig, Config, GraphConfig, ModelConfig, SourceConfig
from pixgraph.data.synthetic import SyntheticShapes
from pixgraph.errors import CheckpointError, ConfigError, DataError, PixgraphError

SCRIPTS = (
    "accuracy",
    "ablation",
    "speed_query",
    "speed_import",
    "speed_episodes",
    "graph_study",
    "speed_graph",
    "speed_attention",
    "speed_knn",
)
SMALL = ["--dataset", "synthetic", "--backbone", "filters", "--size", "64"]
TINY = {"train.batch": 1, "model.width": 16, "model.heads": 2, "model.decoder_blocks": 1, "graph.dilations": [1, 2]}


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """The scripts import each other as programs do; their folder is no package."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))
    monkeypatch.delenv("PIXGRAPH_DATA", raising=False)
    monkeypatch.setattr("pixgraph.data.catalog.open_dataset", opened)
    monkeypatch.setattr("pixgraph.training.sources.open_dataset", opened)


@functools.cache  # counting the classes of generated pictures draws them all
def generated(split):
    return SyntheticShapes(split, size=64, n_pictures=72)


def opened(source, split):
    return generated(split)


def script(name):
    return importlib.import_module(name)


def result(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_shows_the_command(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        script(name).main(["--help"])
    assert f"python benchmarks/{name}.py" in capsys.readouterr().out


def test_a_command_is_told_without_the_places_of_this_machine(monkeypatch):
    command = script("recording").command
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    words = ["benchmarks/x.py", "--data", "/there/data", "--weights", "/there/data/w.pt", "--other", "/there/database"]
    shown = "python benchmarks/x.py --data $PIXGRAPH_DATA --weights $PIXGRAPH_DATA/w.pt --other /there/database"
    assert command(words, "/there/data/") == shown
    monkeypatch.setenv("PIXGRAPH_DATA", "/there/data")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert command(words) == f"OMP_NUM_THREADS=2 {shown}"


def test_a_result_names_date_machine_and_command(tmp_path):
    recording = script("recording")
    path = recording.write_result("x", {**recording.provenance(), "n": 1}, "| a |\n", tmp_path)
    found, text = result(tmp_path, "x"), path.read_text()
    assert found["n"] == 1
    assert found["machine"]["cores"] >= 1
    assert found["machine"]["packages"]["torch"] == torch.__version__.split("+")[0]
    for part in (found["date"], found["command"], found["machine"]["cpu"], "torch", "| a |"):
        assert part in text


def test_spread_and_deviation():
    recording = script("recording")
    assert recording.spread([0.004, 0.001, 0.002, 0.003, 0.005]) == {
        "median_ms": 3.0,
        "q25_ms": 2.0,
        "q75_ms": 4.0,
        "min_ms": 1.0,
        "rounds": 5,
    }
    assert recording.spread([0.002])["q75_ms"] == 2.0
    assert recording.mean_and_deviation([1.0, None, 3.0]) == (2.0, pytest.approx(2**0.5))
    assert recording.mean_and_deviation([None]) == (None, None)


def test_parts_of_an_evaluation_merge_to_the_whole(tmp_path):
    accuracy = script("accuracy")
    common = [*SMALL, "--episodes", "3", "--k_shot", "1", "2", "--cache", str(tmp_path / "c"), "--out", str(tmp_path)]
    common += ["--mirror"]
    for name, seeds in (("whole", "0 1 2"), ("a", "2"), ("b", "0 1")):
        assert accuracy.main([*common, "--name", name, "--only_seeds", *seeds.split()]) == 0
    turned = result(tmp_path, "b")
    for one in turned["settings"]:
        one["methods"] = dict(reversed(one["methods"].items()))  # their order is of no account
    (tmp_path / "b.json").write_text(json.dumps(turned))
    accuracy.main(["--merge", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--out", str(tmp_path)])
    whole, merged = result(tmp_path, "whole")["settings"], result(tmp_path, "accuracy")["settings"]
    assert [one["k_shot"] for one in merged] == [1, 2]
    for one, other in zip(whole, merged, strict=True):
        assert {k: one[k] for k in ("seeds", "episode_hash", "full_protocol")} == {
            k: other[k] for k in ("seeds", "episode_hash", "full_protocol")
        }
        baselines = ["all-background", "prototype", "knn", "linear"]
        assert list(one["methods"]) == ["propagate", "propagate, mirrored", *baselines]
        counts = [one["methods"][name]["per_seed"] for name in ("propagate", "propagate, mirrored")]
        assert counts[0] != counts[1]
        for name, method in one["methods"].items():
            for a, b in zip(method["per_seed"], other["methods"][name]["per_seed"], strict=True):
                assert a["counts"] == b["counts"]
            for key in ("miou", "miou_sd", "fb_iou"):
                assert method[key] == pytest.approx(other["methods"][name][key])
            assert method["per_class"] == pytest.approx(other["methods"][name]["per_class"])
    text = (tmp_path / "accuracy.md").read_text()
    assert "not the whole protocol" in text
    assert f"| {100 * merged[0]['methods']['propagate']['miou']:.2f} ± " in text
    for parts, message in ((("a", "a"), r"got the seeds \[2, 2\]"), (("a", "x"), "x.json: cannot be read")):
        with pytest.raises(DataError, match=message):
            accuracy.main(["--merge", *(str(tmp_path / f"{part}.json") for part in parts), "--out", str(tmp_path)])
    changed = result(tmp_path, "b")
    changed["settings"][0]["episodes"] = 4
    (tmp_path / "c.json").write_text(json.dumps(changed))
    with pytest.raises(DataError, match="the parts differ in episodes"):
        accuracy.main(["--merge", str(tmp_path / "a.json"), str(tmp_path / "c.json"), "--out", str(tmp_path)])


def test_methods_of_the_same_episodes_merge_into_one_table(tmp_path):
    accuracy = script("accuracy")
    scores = {"per_seed": [{"seed": 0}], "miou": 0.5, "miou_sd": None}
    shared = {"n_way": 1, "k_shot": 1, "seeds": [0], "episode_hash": {"0": "abc"}}
    one = {**dict.fromkeys(accuracy.SAME), **shared, "methods": {"knn": scores}}
    run = {**one, "methods": {"graph (b)": scores}}
    joined = accuracy._joined([one, run])
    assert list(joined["methods"]) == ["graph (b)", "knn"]
    with pytest.raises(DataError, match="got the methods knn, knn, expected each once"):
        accuracy._joined([one, one])
    with pytest.raises(DataError, match="the parts differ in episode_hash"):
        accuracy._joined([one, {**run, "episode_hash": {"0": "abd"}}])


def ablation_arguments(folder, *more):
    settings = [f"{key}={value}" for key, value in {**TINY, "train.augment": 0}.items()]
    work = ["--cache", str(folder / "c"), "--out", str(folder), "--work", str(folder / "runs")]
    scored = ["--episodes", "2", "--eval_seeds", "0"]
    return [*SMALL, "--steps", "1", "--set", *settings, *work, *scored, *more]


def test_the_ablation_resumes_and_shares_its_work(tmp_path, monkeypatch):
    ablation = script("ablation")
    chosen = ["--variants", "full", "no-lattice", "--seeds", "0", "1"]
    ablation.main(ablation_arguments(tmp_path, *chosen, "--only", "0/2"))
    first = result(tmp_path, "ablation")
    assert set(first["trained"]) == {"full/0", "full/1"}
    assert set(first["baselines"]) == {"propagate", "all-background", "prototype", "knn", "linear"}
    monkeypatch.setattr(ablation, "baselines", None)  # would fail if it were called again
    ablation.main(ablation_arguments(tmp_path, *chosen, "--only", "1/2"))
    assert set(result(tmp_path, "ablation")["trained"]) == {f"{v}/{s}" for v in ("full", "no-lattice") for s in (0, 1)}
    monkeypatch.setattr(ablation, "train_and_score", None)
    ablation.main(ablation_arguments(tmp_path, *chosen))
    again = result(tmp_path, "ablation")
    assert again["trained"]["full/0"] == first["trained"]["full/0"]
    text = (tmp_path / "ablation.md").read_text()
    assert "| no-lattice |" in text
    assert "after 1 steps of 1 episodes" in text
    assert str(tmp_path) not in json.dumps(again["settings"])
    assert not list((tmp_path / "runs").glob("ablation-*"))
    with pytest.raises(ConfigError, match=r"results of other settings \(k_shot differ\)"):
        ablation.main(ablation_arguments(tmp_path, *chosen, "--k_shot", "2"))


def test_what_is_not_learnt_is_scored_with_the_weights_of_the_full_variant(tmp_path, monkeypatch):
    ablation = script("ablation")
    trained = []
    train = ablation._train
    monkeypatch.setattr(
        ablation, "_train", lambda args, config, name: trained.append(name) or train(args, config, name)
    )
    chosen = ["--variants", "full", "no-refinement", "no-diffusion", "--seeds", "0"]
    ablation.main(ablation_arguments(tmp_path, *chosen))
    rows = result(tmp_path, "ablation")["trained"]
    assert trained == ["ablation-full-0"]
    assert set(rows) == {"full/0", "no-refinement/0", "no-diffusion/0"}
    assert len({row["miou"] for row in rows.values()}) > 1
    assert rows["full/0"]["parameters"] == rows["no-refinement/0"]["parameters"]


def test_the_ablation_refuses_mistakes_before_it_trains(tmp_path):
    ablation = script("ablation")
    for more, message in (
        (["--variants", "no-such"], "--variants: got 'no-such', expected some of full"),
        (["--only", "2/2"], "--only: got '2/2', expected I/N"),
        (["--set", "train.augment"], "--set: got train.augment, expected KEY=VALUE"),
        (["--set", "train.argument=1"], r"train.argument: unknown key \(value 1\)"),
        (["--extra", "parts:x"], "parts needs files|expected NAME or NAME:WEIGHT"),
        (["--set", "loss.supcon=0", "--variants", "no-supcon"], "variant 'no-supcon' changes nothing"),
    ):
        with pytest.raises(ConfigError, match=message):
            ablation.main(ablation_arguments(tmp_path, *more))
    assert not (tmp_path / "runs" / "ablation-full-0").exists()


def test_by_default_the_variants_that_change_something_are_trained():
    variants, base = script("ablation_variants"), Config()
    base.train.augment = 0
    assert set(variants.VARIANTS) - set(variants.applicable(base)) == {"no-augmentation", "no-extra"}


def test_variants_that_share_weights_change_only_what_a_trained_network_does():
    variants = script("ablation_variants").VARIANTS.values()
    sharing = [variant for variant in variants if variant.weights]
    assert len(sharing) >= 3
    for variant in sharing:
        assert set(variant.changes) <= {"model.discriminant", "model.self_support", "model.diffusion"}
        assert variant.weights == variant.against


def test_differences_are_taken_seed_by_seed():
    report = script("ablation_report")
    miou = {"full/0": 0.5, "full/1": 0.3, "no-supcon/0": 0.4, "no-supcon/1": 0.1, "label20/0": 0.2}
    trained = {key: {"miou": value, "train_seconds": 1.0} for key, value in miou.items()}
    assert report.differences("no-supcon", "full", trained) == pytest.approx([-0.1, -0.2])
    assert report.differences("label20", "full", trained) == pytest.approx([-0.3])
    assert report._row("no-supcon", trained)[1:4] == ("25.00 ± 21.21", "-15.00 ± 7.07", "full")


@pytest.mark.parametrize(
    "variant", ["no-evidence", "no-lattice", "no-support-edges", "unsup", "label20+unlabelled", "label20+edges"]
)
def test_every_variant_of_graph_and_model_has_a_finite_loss(variant):
    variants = script("ablation_variants")
    from pixgraph.backbones.build import build_backbone
    from pixgraph.backbones.features import FeatureStore
    from pixgraph.models.network import PixGraphNet
    from pixgraph.training.sources import TrainingTasks
    from pixgraph.training.step import episode_loss

    base = Config(backbone=BackboneConfig(size=64), graph=GraphConfig(num_fg=16, num_bg=16, dilations=[1, 2]))
    base.model, base.train.augment = ModelConfig(width=16, heads=2, decoder_blocks=1), 0
    config = variants.configure(base, variant, 3)
    assert config.seed == 3
    store = FeatureStore(build_backbone(config.backbone), 64)
    task = TrainingTasks(config, store)(0)
    assert len(task.unlabelled) == config.episodes.n_unlabelled
    torch.manual_seed(0)
    network = PixGraphNet(store.backbone.channels, config.model, store.backbone.strides)
    loss, logs = episode_loss(network, task, config, 0)
    loss.backward()
    assert torch.isfinite(loss)
    assert ("unsup" in logs) == (config.loss.unsup > 0)


def test_unseen_classes_are_hidden_from_further_sources(tmp_path):
    workbench = script("workbench")
    args = script("ablation").parser().parse_args(["--steps", "1", "--data", str(tmp_path)])
    (found,) = workbench.extra_sources(args, ["coco128:0.3"])
    unseen = {*generated("val").class_names.values(), *generated("test").class_names.values()}
    assert found == SourceConfig("folder", str(tmp_path / "coco128"), weight=0.3, split="all", exclude=sorted(unseen))
    with pytest.raises(ConfigError, match="expected NAME or NAME:WEIGHT"):
        workbench.extra_sources(args, ["coco128:much"])
    with pytest.raises(ConfigError, match="data set 'coc' is unknown here"):
        workbench.extra_sources(args, ["coc"])


@pytest.mark.parametrize("method", ["graph", "propagate"])
def test_the_stages_of_a_query_add_up(method):
    arguments = ["--child", method, "--strides", "8", "--rounds", "2", "--size", "64", "--backbone", "filters"]
    args = script("speed_query").parser().parse_args([*arguments, "--supports", "2"])
    measured = script("query_stages").measure(args)
    found = script("speed_query").pooled([measured, measured])
    assert len(found["ratio_by_process"]) == 2
    assert found["beyond"]["rounds"] == 2 * len(measured["beyond"])
    assert found["nodes"] > 64
    assert found["peak_memory_mb"] >= found["memory_before_mb"] > 10
    stages = {name: one["median_ms"] for name, one in found["stages"].items()}
    assert min(stages.values()) >= 0
    assert {"decode", "backbone", "resize"} <= set(stages)
    assert ("GNN" in stages) == (method == "graph")
    machine = script("recording").provenance()
    text = script("speed_query").report({**machine, "settings": [found]})
    assert f"| {method}, stride 8 | {found['ratio']['median']:.2f} (" in text


def test_a_setting_that_fails_says_why(tmp_path):
    with pytest.raises(PixgraphError, match=r"measuring graph at stride 8 failed: .*no-such"):
        script("speed_query").main(["--backbone", "no-such", "--out", str(tmp_path)])


def test_starts_are_timed_in_new_processes(tmp_path, monkeypatch):
    speed = script("speed_import")
    kept = ("python alone", "import pixgraph")
    monkeypatch.setattr(speed, "STARTS", {name: speed.STARTS[name] for name in kept})
    speed.main(["--rounds", "1", "--out", str(tmp_path)])
    assert list(result(tmp_path, "speed_import")["starts"]) == list(kept)
    with pytest.raises(PixgraphError, match=r"no_such_module.*install pixgraph"):
        speed.start(["-c", "import no_such_module"])


def test_episodes_are_timed_without_the_backbone(tmp_path):
    arguments = [*SMALL, "--episodes", "2", "--rounds", "1", "--k_shot", "1"]
    script("speed_episodes").main([*arguments, "--cache", str(tmp_path / "c"), "--out", str(tmp_path)])
    rows = result(tmp_path, "speed_episodes")["rows"]
    assert [row["method"] for row in rows] == ["graph", "propagate", "prototype"]
    assert all(row["backbone_calls"] == 0 and row["per_second_in_memory"] > 0 for row in rows)
    with pytest.raises(ConfigError, match="--cache: got no folder"):
        script("speed_episodes").main([*SMALL, "--cache", ""])


def test_graphs_are_built_by_all_and_measured(tmp_path, monkeypatch):
    speed = script("speed_graph")
    chosen = [
        ("pixgraph", script("graph_cases").Case(32, shots=1)),
        ("NumPy + DGL", script("graph_cases").Case(16, shots=1)),
    ]
    monkeypatch.setattr(speed, "memory_cases", lambda base, args: chosen)
    small = ["--side", "16", "--small", "16", "--sides", "16", "--rounds", "2", "--supports", "1"]
    speed.main([*small, "--out", str(tmp_path)])
    found, text = result(tmp_path, "speed_graph"), (tmp_path / "speed_graph.md").read_text()
    assert {row["builder"] for row in found["growth"]["nodes"]} == {"pixgraph", "NumPy + DGL", "PyG"}
    assert {row["builder"] for row in found["small"]} == {"pixgraph", *speed.SLOW}
    for name, rows in found["growth"].items():
        for row in rows:
            same = [other for other in rows if other["case"] == row["case"]]
            assert {other["edges"] for other in same} == {row["edges"]}, name
            assert 0 < row["time"]["min_ms"] <= row["time"]["median_ms"]
    if Path("/proc/self/clear_refs").exists():
        ours, theirs = found["memory"]
        assert ours["estimate"] > ours["returned"] > theirs["returned"] > 0
        assert "16 x 16, 8 random: NumPy + DGL" in text
    assert "4 random + 4 nearest, blocks of 4: pixgraph" in text
    assert (tmp_path / "speed_graph.png").stat().st_size > 1000
    with pytest.raises(ConfigError, match="expected 16 or more, so that all dilations fit"):
        speed.main(["--side", "8"])


@pytest.mark.slow
def test_the_estimate_of_a_graphs_memory_is_above_what_is_measured_and_below_twice_that():
    memory, cases = script("graph_memory"), script("graph_cases")
    wanted = [cases.Case(128), cases.Case(256), cases.Case(256, drawn=4, nearest=4, block=4), cases.Case(512)]
    rows = memory.measure_apart([("pixgraph", case) for case in wanted])
    if not rows:
        pytest.skip("this system does not tell a process's peak memory")
    for row in rows:
        needed = max(row["peak"], row["returned"] + row["sorted"])
        assert needed < row["estimate"] < 2 * needed
        assert row["ratio"] < 2


def test_recall_of_blocks_is_measured_on_episodes(tmp_path):
    script("graph_recall")
    args = script("speed_graph").parser().parse_args([*SMALL, "--cache", str(tmp_path / "c")])
    rows = script("graph_recall").recall_on(args, "synthetic", 2, 4)
    assert [row["block"] for row in rows] == [2, 4, 8]
    assert all(0.3 < row["lowest_recall"] <= row["recall"] <= 1 and 0.5 < row["agreement"] <= 1 for row in rows)


def test_attention_layers_are_timed_and_what_is_too_much_is_listed(tmp_path, monkeypatch):
    speed, peers = script("speed_attention"), script("attention_peers")
    kept = ("pixgraph", "gather and scatter")
    monkeypatch.setattr(speed, "METHODS", {name: peers.METHODS[name] for name in kept})
    monkeypatch.setattr(speed, "OPERATORS", {})
    monkeypatch.setattr(script("attention_report"), "METHODS", speed.METHODS)
    monkeypatch.setattr(script("attention_report"), "OPERATORS", {})
    speed.main(["--quick", "--no_memory", "--sides", "12", "16", "--out", str(tmp_path)])
    found = result(tmp_path, "speed_attention")
    assert [p["nodes"] for p in found["growth"]["nodes"]] == [144, 256]
    assert all(len(one["both"]) == 2 for one in found["default"]["layers"].values())
    assert (tmp_path / "speed_attention.png").stat().st_size > 1000
    assert "| gather and scatter |" in (tmp_path / "speed_attention.md").read_text()
    layers = {"a": {"both": [2.0]}, "b": {"both": [0.1]}, "c": {"skipped": "absent"}, "d": {"both": [0.1]}}
    left_out = speed.too_much(10, layers, {"b": [{"peak_mb": 1e12}]}, 6.0)
    assert left_out == {"a": "predicted 20 s a pass", "b": "predicted 9765625000 GiB", "c": "absent"}
    with pytest.raises(ConfigError, match="--channels: got 6, expected a multiple of --heads 4"):
        speed.main(["--channels", "6", "--heads", "4"])


def test_compared_layers_of_attention_give_the_same_numbers():
    """Ours on either engine and the gathered reference, with the same weights."""
    problems, peers = script("attention_problem"), script("attention_peers")
    problem = problems.Problem(12, 2, 8, 2)
    ours, plain = problems.EdgeAttentionLayer(8, 2, "torch"), problems.GatherLayer(8, 2)
    plain.query_key_value, plain.merge = ours.query_key_value, ours.merge
    plain.edge[0], plain.edge[2] = ours.first, ours.last
    graph, order, feature = problems.ordered(problem)
    got = ours(graph, order, problem.states, feature)
    torch.testing.assert_close(got, plain(problem.states, *problem.edges, problem.feature))
    growth = script("attention_measure").peak_growth(peers.METHODS["pixgraph"].build(problem), problem)
    assert growth is None or growth >= 0


def test_neighbour_searches_are_timed_with_their_recall(tmp_path, monkeypatch):
    speed, peers = script("speed_knn"), script("knn_peers")
    kept = ("pixgraph", "scipy k-d tree", "torch product + topk", "FAISS flat", "FAISS IVF")
    for module in (speed, script("knn_report"), script("knn_measure")):
        monkeypatch.setattr(module, "METHODS", {name: peers.METHODS[name] for name in kept})
    speed.main(["--quick", "--kinds", "photo", "--out", str(tmp_path)])
    found = result(tmp_path, "speed_knn")
    assert [(row["d"], row["n"]) for row in found["rows"]] == [(5, 300), (5, 600), (32, 300), (32, 600)]
    for row in found["rows"]:
        exact = [row["found"][name] for name in kept[:4]]
        assert all(one["recall"] == 1 and min(one["seconds"]) > 0 for one in exact)
        assert len(row["found"]["pixgraph"]["seconds"]) >= 3
    text = (tmp_path / "speed_knn.md").read_text()
    assert "| photo | 5 | 300 | 300 | 8 |" in text
    assert "| *FAISS IVF* |" in text
    assert (tmp_path / "speed_knn.png").stat().st_size > 1000
    with pytest.raises(ConfigError, match="--points: got 20, expected more than the neighbours"):
        speed.main(["--points", "20"])


def test_recall_and_predicted_times_of_neighbour_searches():
    measure, peers, data = script("knn_measure"), script("knn_peers"), script("knn_data")
    case = data.Case("noise", 3, 400, 400, 5)
    x, rows = data.data(case)
    kth, sample = measure.true_distances(x, rows, case)
    index = peers.METHODS["pixgraph"].run(x, rows, case)[sample]
    assert measure.recall(x, sample, index, kth, case) == 1
    index[:, 0] = sample  # the point itself does not count, and neither does -1, nor the same point twice
    index[:, 1] = -1
    index[:, 2] = index[:, 3]
    assert measure.recall(x, sample, index, kth, case) == pytest.approx(2 / 5)
    grown = [data.Case("noise", 3, n, n, 5) for n in (100, 200, 400)]
    assert measure.predict([], grown[0]) == 0
    assert measure.predict([(grown[0], 1.0), (grown[1], 4.0)], grown[2]) == pytest.approx(16)
    history = {name: [(grown[1], 3.0)] for name in peers.METHODS} | {"FAISS flat": [(grown[1], 2.0)]}
    reasons = measure.left_out(grown[2], peers.METHODS, history, 5)
    assert reasons["scipy k-d tree"] == "too slow: 12 s predicted"
    assert {"pixgraph", "FAISS flat"}.isdisjoint(reasons)
    block = data.Case("noise", 3, 400, 40, 5)
    assert peers.METHODS["PyNNDescent"].refuses(block)
    for name in ("pixgraph", "dgl kd-tree", "FAISS flat", "sklearn brute", "scipy k-d tree"):
        if importlib.util.find_spec(peers.METHODS[name].needs):
            points, asked = data.data(block)
            far, chosen = measure.true_distances(points, asked, block)
            near = peers.METHODS[name].run(points, asked, block)[chosen]
            assert measure.recall(points, asked[chosen], near, far, block) == 1


def test_errors_of_the_user_end_in_one_line(monkeypatch, capsys):
    workbench = script("workbench")
    monkeypatch.setattr(sys, "argv", ["accuracy.py"])

    def fails(argv):
        raise CheckpointError("no run at x")

    assert workbench.guarded(fails) == 2
    assert capsys.readouterr().err == "accuracy.py: error: no run at x\n"
