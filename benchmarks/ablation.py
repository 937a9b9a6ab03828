"""What each part is worth: every variant is trained for the same short schedule and scored on validation classes.

    python benchmarks/ablation.py --data ROOT --extra parts:0.5 coco128:0.3 --steps 400 --seeds 0 1 2

The JSON file is the memory: a variant and seed that it holds is not scored again, so that the script can be stopped
and started at will. Variants of what only a trained network does are scored with the weights of another, once trained:
ask for them together. ``--only 0/2`` and ``--only 1/2`` in two processes share the work and the file.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ablation_report import report
from ablation_variants import FULL, VARIANTS, applicable, apply, configure
from recording import provenance, script_parser, write_result
from workbench import add_data_arguments, backbone_config, extra_sources, feature_store, guarded, open_split, source

from pixgraph.config import Config
from pixgraph.errors import ConfigError

CALIBRATION_STEPS = 4
ALL = ", ".join(VARIANTS)


def main(argv: Sequence[str] | None = None) -> int:
    """Train and score what is missing, and write the table after each."""
    args = parser().parse_args(argv)
    Path(args.out).mkdir(parents=True, exist_ok=True)
    base = base_config(args)
    part, parts = _share(args.only)
    args.variants = args.variants or applicable(base)
    for variant in args.variants:
        configure(base, variant, 0)  # a mistake shows before hours of training, not after
    start(args, base)
    base.train.steps = base.train.val_every = base.train.save_every = _read(args)["steps"]
    owners = {name: VARIANTS[name].weights or name for name in args.variants}
    jobs = [(owner, seed) for seed in args.seeds for owner in dict.fromkeys(owners.values())]
    if part == 0 and "baselines" not in _read(args):
        _update(args, {"baselines": baselines(args)})
    for owner, seed in jobs[part::parts]:
        known = _read(args)["trained"]
        missing = [name for name in args.variants if owners[name] == owner and f"{name}/{seed}" not in known]
        if missing:
            print(f"{time.strftime('%H:%M:%S')} {' '.join(missing)}, seed {seed}", file=sys.stderr)
            for name, row in train_and_score(args, base, owner, seed, missing):
                _update(args, {"trained": {f"{name}/{seed}": row}})
    print(_update(args, {}))
    return 0


def parser() -> argparse.ArgumentParser:
    """The script's arguments."""
    made = script_parser(__doc__)
    add = made.add_argument
    add("--config", metavar="FILE", help="YAML file of settings other than data and backbone")
    add("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of all variants, such as train.augment=1")
    add("--extra", nargs="*", default=[], metavar="NAME[:WEIGHT]", help="further training sources, such as parts:0.5")
    length = made.add_mutually_exclusive_group(required=True)
    length.add_argument("--steps", type=int, help="training steps, the same for all variants")
    length.add_argument("--minutes", type=float, help="as many steps as the full variant does in this time, for all")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds of the training (default: 0 1 2)")
    add(
        "--variants",
        nargs="+",
        metavar="NAME",
        help=f"some of (default: all that change anything) {', '.join(VARIANTS)}",
    )
    add("--only", default="0/1", metavar="I/N", help="every N-th training, from the I-th: one share of N processes")
    add("--k_shot", type=int, default=1, help="labelled pictures of a class when scored (default: %(default)s)")
    add("--episodes", type=int, default=300, help="validation episodes a protocol seed (default: %(default)s)")
    add("--eval_seeds", type=int, nargs="+", default=[0, 1], help="protocol seeds of the scores (default: 0 1)")
    add("--work", metavar="DIR", default="runs/ablation", help="where the runs are trained (default: %(default)s)")
    add("--keep", action="store_true", help="keep the run folders of finished trainings")
    add_data_arguments(made)
    return made


def base_config(args: argparse.Namespace) -> Config:
    """The full configuration: file, then ``--set``, then data, sources and backbone of the other arguments."""
    import yaml

    from pixgraph.cli.options import read_settings
    from pixgraph.config_check import build, check

    config = build(Config, read_settings(args.config, Config) if args.config else {})
    words = [word.partition("=") for word in args.set]
    if any(not equals for _, equals, _ in words):
        raise ConfigError(f"--set: got {' '.join(args.set)}, expected KEY=VALUE, such as train.augment=1")
    config = apply(config, {key: yaml.safe_load(value) for key, _, value in words})
    config.data = source(args, args.dataset)
    config.extra = extra_sources(args, args.extra)
    config.backbone = backbone_config(args)
    config.train.val_episodes = 1  # the last weights are scored: nothing is chosen by validation
    config.train.warmup = min(config.train.warmup, max(1, (args.steps or config.train.warmup * 10) // 10))
    config.device = "cpu"
    return check(build(Config, dataclasses.asdict(config)))


def start(args: argparse.Namespace, base: Config) -> None:
    """Begin the file of results, or see that the one there was made with the same settings.

    Raises:
        ConfigError: It was made with others.
    """
    asked = {**_settings(args, base), "minutes": args.minutes}
    known = _read(args)
    if not known:
        steps = args.steps if args.steps is not None else steps_in(args, base)
        _update(args, {"settings": asked, "steps": steps, "trained": {}})
    elif known["settings"] != asked or args.steps not in (None, known["steps"]):
        differing = [key for key, value in asked.items() if known["settings"].get(key) != value] or ["steps"]
        raise ConfigError(
            f"{_path(args)} holds results of other settings ({', '.join(differing)} differ); give another --name, "
            "or remove it"
        )


def steps_in(args: argparse.Namespace, base: Config) -> int:
    """How many steps of the full variant take ``--minutes`` when the features are cached."""
    config = configure(base, FULL, 0)
    config.train.steps = CALIBRATION_STEPS
    for _ in range(2):  # the first round fills the cache
        seconds = _train(args, config, "calibration")
    return max(1, int(60 * args.minutes * CALIBRATION_STEPS / seconds))


def train_and_score(
    args: argparse.Namespace, base: Config, owner: str, seed: int, variants: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Train one variant and seed, and score its last weights as each of `variants` on the validation classes."""
    from pixgraph.models.predictor import GraphPredictor
    from pixgraph.training.checkpoint import load_network

    name = f"{args.name or 'ablation'}-{owner}-{seed}"
    seconds = _train(args, configure(base, owner, seed), name)
    folder = Path(args.work) / name
    network = load_network(folder).network
    parameters = sum(p.numel() for p in network.parameters())
    for variant in variants:
        config = configure(base, variant, seed)
        network.config = config.model
        # Validation pictures are new to the run: its store may have been full, this one reads the features from disk.
        scores = _scores(args, {"graph": GraphPredictor(network, config.graph, seed)}, False)
        yield variant, {**scores["graph"], "train_seconds": round(seconds, 1), "parameters": parameters}
    if not args.keep:
        shutil.rmtree(folder)


def baselines(args: argparse.Namespace) -> dict[str, Any]:
    """The training-free methods on the same validation episodes."""
    from pixgraph.config import GraphConfig
    from pixgraph.methods import training_free

    return _scores(args, {"propagate": training_free("propagate", GraphConfig())}, True)


def _scores(args: argparse.Namespace, methods: Mapping[str, Any], trivial: bool) -> dict[str, Any]:
    from pixgraph.data.protocols import get_protocol
    from pixgraph.evaluation.evaluate import evaluate

    found = evaluate(
        methods,
        open_split(args, "val"),
        feature_store(args),
        get_protocol("pixgraph-v1"),
        k_shot=args.k_shot,
        seeds=args.eval_seeds,
        episodes=args.episodes,
        baselines=trivial,
        progress=False,
    ).to_dict()
    return {
        name: {
            "miou": method["miou"],
            "fb_iou": method["fb_iou"],
            "per_seed": [entry["miou"] for entry in method["per_seed"]],
            "per_class": method["per_class"],
        }
        for name, method in found["methods"].items()
    }


def _train(args: argparse.Namespace, config: Config, name: str) -> float:
    """Train in a fresh folder; an unfinished one of a killed process is begun anew. Gives seconds."""
    from pixgraph.training.loop import train

    folder = Path(args.work) / name
    shutil.rmtree(folder, ignore_errors=True)
    begin = time.perf_counter()
    train(dataclasses.replace(config, runs=str(args.work), run=name))
    return time.perf_counter() - begin


def _settings(args: argparse.Namespace, base: Config) -> dict[str, Any]:
    """What every row depends on, without folders, which differ between machines."""
    config = dataclasses.asdict(base)
    for entry in (config["data"], *config["extra"]):
        entry["root"] = None if entry["root"] is None else Path(entry["root"]).name
    weights = config["backbone"]["weights"]
    config["backbone"]["weights"] = None if weights is None else Path(weights).name
    del config["backbone"]["cache"], config["runs"], config["run"], config["seed"]
    for key in ("steps", "val_every", "save_every"):
        del config["train"][key]
    return {"config": config, "k_shot": args.k_shot, "episodes": args.episodes, "eval_seeds": args.eval_seeds}


def _share(only: str) -> tuple[int, int]:
    part, _, parts = only.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and int(part) < int(parts)):
        raise ConfigError(f"--only: got {only!r}, expected I/N with I from 0 to N - 1, such as 0/2")
    return int(part), int(parts)


def _path(args: argparse.Namespace) -> Path:
    return Path(args.out) / f"{args.name or 'ablation'}.json"


def _read(args: argparse.Namespace) -> dict[str, Any]:
    path = _path(args)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _update(args: argparse.Namespace, more: dict[str, Any]) -> Path:
    """Add to the file of results what no other process has added meanwhile, and write the table."""
    from pixgraph.cli.options import merge
    from pixgraph.training.lock import FileLock

    Path(args.work).mkdir(parents=True, exist_ok=True)
    with FileLock(Path(args.work) / f".{args.name or 'ablation'}.lock", wait=True):
        result = _read(args)
        merge(result, more)
        result = {**result, **provenance(args.data)}
        return write_result(args.name or "ablation", result, report(result), args.out)


if __name__ == "__main__":
    sys.exit(guarded(main))
