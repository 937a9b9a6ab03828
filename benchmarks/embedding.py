"""What embeddings are worth: the linear probe on CamVid and the training-free few-shot score, side by side.

    python benchmarks/embedding.py --data ROOT --embeddings random:mobilenet_v2 imagenet:mobilenet_v2 runs/NAME

An embedding is a run folder or file of a pretraining, `imagenet:BACKBONE`, `BACKBONE=FILE`, `filters`, or
`random:BACKBONE`: other weights for each seed, norms with the statistics of training pictures. `BACKBONE@LAYER` ends
with that layer, as a pretraining of it does. What is done stays in the JSON file: start the command again, also with
further embeddings, to go on. Choose on `--split val`, report on `--split test`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from embedding_report import draw, report
from recording import mean_and_deviation, provenance, script_parser, write_result
from workbench import WEIGHTS, add_output_arguments, data_folder, guarded, source

from pixgraph.config import BackboneConfig, GraphConfig
from pixgraph.errors import ConfigError, DataError
from pixgraph.probe.config import FewShotConfig, LinearConfig, ProbeConfig, chosen_levels

if TYPE_CHECKING:
    import torch

    from pixgraph.backbones.features import FeatureStore


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is not measured yet and write the tables."""
    args = parser().parse_args(argv)
    name = args.name or "embedding"
    settings = {key: getattr(args, key) for key in ("linear_on", "few_shot_on", "split", "seeds", "episodes", "k_shot")}
    settings |= {key: getattr(args, key) for key in ("size", "pixels", "penalty", "weighting", "levels")}
    rows = done(Path(args.out) / f"{name}.json", settings)
    for word in args.embeddings:
        one = rows.get(word)
        if one is None or one["fingerprint"] != fingerprint(args, word):
            start = time.perf_counter()
            rows[word] = measure(args, word) | {"seconds": round(time.perf_counter() - start, 1)}
        result = {**provenance(args.data), "settings": settings, "embeddings": rows}
        path = write_result(name, result, report(result, name), args.out)
    draw(result, path.with_suffix(".png"))
    print(path)
    return 0


def parser() -> argparse.ArgumentParser:
    """The script's arguments."""
    made = script_parser(__doc__)
    add = made.add_argument
    add("--data", metavar="ROOT", help="folder that holds camvid, ade20k-objects, weights (default: $PIXGRAPH_DATA)")
    add("--embeddings", nargs="+", default=["filters", "random:mobilenet_v2", "imagenet:mobilenet_v2"], metavar="WHAT")
    add("--linear_on", default="camvid", help="data set of the linear probe (default: %(default)s)")
    add("--few_shot_on", default="ade20k-objects", help="data set of the few-shot score (default: %(default)s)")
    add("--split", default="val", choices=["val", "test"], help="split that is scored (default: %(default)s)")
    add("--seeds", type=int, default=3, help="seeds of pixels, episodes and random weights (default: %(default)s)")
    add("--episodes", type=int, default=200, help="episodes a seed (default: %(default)s)")
    add("--k_shot", type=int, default=1, help="labelled pictures (default: %(default)s)")
    add("--size", type=int, default=256, help="working size in pixels (default: %(default)s)")
    add("--pixels", type=int, default=LinearConfig().pixels, help="training pixels (default: %(default)s)")
    add("--penalty", type=float, default=LinearConfig().penalty, help="of the coefficients (default: %(default)s)")
    add("--weighting", default="none", choices=["none", "inverse", "median"], help="class weights (default: none)")
    add("--levels", type=int, nargs="*", help="maps of the linear probe, 0 the finest, -1 the coarsest (default: all)")
    add("--cache", metavar="DIR", help="features on disk; those of random weights are never kept")
    add_output_arguments(made)
    return made


def done(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The embeddings that an earlier call measured with the same settings.

    Raises:
        DataError: The file was made with other settings.
    """
    if not path.is_file():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    if found.get("settings") != json.loads(json.dumps(settings)):
        raise DataError(f"{path} was made with other settings; remove it, or give another --name")
    return found["embeddings"]


def config_of(args: argparse.Namespace, word: str, seed: int) -> ProbeConfig:
    """The probe of one embedding at one seed.

    Raises:
        ConfigError: The word names no embedding.
    """
    kind, colon, name = word.partition(":")
    given, equals, file = word.partition("=")
    if word == "filters":
        backbone = BackboneConfig()
    elif colon and kind == "random":
        backbone = BackboneConfig(name, "random")
    elif colon and kind == "imagenet":
        backbone = BackboneConfig(name, imagenet(args, name.partition("@")[0]))
    elif equals:
        backbone = BackboneConfig(given, file)
    elif Path(word).exists():
        backbone = BackboneConfig(weights=word)
    else:
        raise ConfigError(f"--embeddings {word}: no such run; expected a folder, random:NAME, imagenet:NAME, NAME=FILE")
    backbone.size = args.size
    backbone.cache = None if backbone.weights == "random" else args.cache
    return ProbeConfig(
        data=source(args, args.linear_on),
        backbone=backbone,
        levels=args.levels or None,
        split=args.split,
        linear=LinearConfig(pixels=args.pixels, penalty=args.penalty, weighting=args.weighting),
        few_shot=FewShotConfig(split=args.split, k_shot=args.k_shot, episodes=args.episodes),
        seed=seed,
    )


def imagenet(args: argparse.Namespace, name: str) -> str | None:
    """File of the ImageNet weights where the data has them; none: they are fetched."""
    folder = data_folder(args)
    cnn = name.removeprefix("unet:")
    return str(folder / WEIGHTS) if folder and cnn == "mobilenet_v2" and (folder / WEIGHTS).is_file() else None


def fingerprint(args: argparse.Namespace, word: str) -> str:
    """Fingerprint of an embedding's weights at the first seed."""
    return open_store(args, word, 0).backbone.fingerprint


def open_store(args: argparse.Namespace, word: str, seed: int) -> FeatureStore:
    """The features of an embedding, none computed yet."""
    from torch.optim.swa_utils import update_bn

    from pixgraph.pretrain.encoders import build_encoder, save_backbone
    from pixgraph.probe.run import open_embedding

    config = config_of(args, word, seed)
    name, cut, layer = config.backbone.name.partition("@")
    if not cut and config.backbone.weights != "random":
        return open_embedding(config)
    encoder = build_encoder(name, config.backbone.weights, layer or None, seed)
    if config.backbone.weights == "random":
        update_bn(batches(args), encoder)
    with TemporaryDirectory() as folder:
        save_backbone(encoder, folder, encoder.pretrained_on)
        config.backbone.name, config.backbone.weights = "filters", folder  # the file names its network
        return open_embedding(config)


def batches(args: argparse.Namespace) -> list[torch.Tensor]:
    """Training pictures of the linear probe, (16, 3, S, S) each, for the statistics of random networks' norms.

    Without these, the features of a random MobileNetV2 shrink tenfold from level to level, below what half precision
    holds, and it would look worse than it is.
    """
    import torch

    from pixgraph.data.catalog import open_dataset
    from pixgraph.data.images import resize_image

    train = open_dataset(source(args, args.linear_on), "train")
    chosen = range(0, len(train), -(-len(train) // 64))
    pictures = [torch.tensor(resize_image(train.read_image(i), args.size)).permute(2, 0, 1) for i in chosen]
    return [group.float() / 255 for group in torch.stack(pictures).split(16)]


def measure(args: argparse.Namespace, word: str) -> dict[str, Any]:
    """Both scores of one embedding over the seeds."""
    store, seeds = open_store(args, word, 0), []
    backbone = store.backbone
    for seed in range(args.seeds):
        if seed and word.startswith("random:"):
            store = open_store(args, word, seed)
        seeds.append(score(args, word, store, seed))
        print(f"{word}, seed {seed}: probe {seeds[-1]['linear']:.4f}, few-shot {seeds[-1]['few_shot']:.4f}", flush=True)
    linear, few = ([one[key] for one in seeds] for key in ("linear", "few_shot"))
    return {
        "backbone": backbone.name,
        "pretrained_on": backbone.pretrained_on,
        "fingerprint": backbone.fingerprint,
        "channels": sum(backbone.channels),
        "linear": mean_and_deviation(linear),
        "few_shot": mean_and_deviation(few),
        "per_seed": seeds,
    }


def score(args: argparse.Namespace, word: str, store: FeatureStore, seed: int) -> dict[str, Any]:
    """Both scores at one seed."""
    from pixgraph.data.catalog import open_dataset
    from pixgraph.data.protocols import get_protocol
    from pixgraph.evaluation.evaluate import evaluate
    from pixgraph.methods import training_free
    from pixgraph.probe.linear_run import linear_probe

    config = config_of(args, word, seed)
    linear = linear_probe(config, store, chosen_levels(config.levels, len(store.backbone.channels)))
    found = evaluate(
        {"propagate": training_free("propagate", GraphConfig(), seed)},
        open_dataset(source(args, args.few_shot_on), args.split),
        store,
        get_protocol("pixgraph-v1"),
        k_shot=args.k_shot,
        seeds=[seed],
        episodes=args.episodes,
        progress=False,
    )
    return {
        "linear": linear["miou"],
        "pixel_accuracy": linear["pixel_accuracy"],
        "iou": dict(zip(linear["classes"], linear["iou"], strict=True)),
        "trivial": linear["trivial"]["miou"],
        "few_shot": found.miou(),
        "baselines": {name: found.miou(name) for name in found.tallies if name != "propagate"},
    }


if __name__ == "__main__":
    sys.exit(guarded(main))
