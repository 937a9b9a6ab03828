"""Data sets, backbone and feature cache of the benchmarks, from the arguments that all of them take."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recording import DATA_VARIABLE, RESULTS

from pixgraph.config import BackboneConfig, SourceConfig
from pixgraph.errors import ConfigError, PixgraphError

if TYPE_CHECKING:
    from pixgraph.backbones.features import FeatureStore
    from pixgraph.data.base import FewShotDataset

WEIGHTS = Path("weights") / "mobilenet_v2_imagenet.safetensors"

SOURCES = {
    "synthetic": SourceConfig("synthetic"),
    "ade20k-objects": SourceConfig("ade20k-objects", "ade20k-objects"),
    "parts": SourceConfig("ade20k-objects", "ade20k-objects", parts=True),
    "coco128": SourceConfig("folder", "coco128", split="all"),
    "fss": SourceConfig("folder", "fss-1000-sample", split="all"),
    "camvid": SourceConfig("camvid", "camvid"),
    "camvid-crops": SourceConfig("camvid", "camvid", crops=True),
    "blood": SourceConfig("blood_cells", "wbc"),
    "nuclei": SourceConfig("nuclei", "dsb2018-nuclei"),
}
"""Short name to a source; its folder is one below ``--data``."""

SYNONYMS = {"computer": ["laptop"]}
"""A class, and what other data sets call pictures of it; these are hidden with it."""


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say on what to measure and where to write."""
    add = parser.add_argument
    add("--data", metavar="ROOT", help=f"folder that holds ade20k-objects, camvid, ... (default: ${DATA_VARIABLE})")
    add("--dataset", default="ade20k-objects", choices=sorted(SOURCES), help="data set (default: %(default)s)")
    add("--backbone", default="mobilenet_v2", help="name of the frozen CNN (default: %(default)s)")
    add("--weights", metavar="FILE", help=f"its weights (default: {WEIGHTS} in ROOT, where it is there)")
    add("--size", type=int, default=256, help="working size in pixels (default: %(default)s)")
    add("--cache", metavar="DIR", default=".cache/features", help="features on disk (default: %(default)s)")
    add_output_arguments(parser)


def add_query_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which network a query is timed with."""
    add = parser.add_argument
    add("--data", metavar="ROOT", help="folder of the data: looked into for the weights only (default: $PIXGRAPH_DATA)")
    add("--weights", metavar="FILE", help=f"weights of the backbone (default: {WEIGHTS} in ROOT, where it is there)")
    add("--backbone", default="mobilenet_v2", help="name of the frozen CNN (default: %(default)s)")
    add("--run", metavar="RUN", help="a trained run; none: an untrained network, which costs the same")
    add("--size", type=int, default=256, help="side of the photograph and working size (default: %(default)s)")


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the folder and the name of the results."""
    parser.add_argument("--out", metavar="DIR", default=str(RESULTS), help="folder of the results")
    parser.add_argument("--name", help="name of the result files (default: that of the script)")


def parsed(
    parser: Callable[[], argparse.ArgumentParser], argv: Sequence[str] | None, quick: Mapping[str, Any]
) -> argparse.Namespace:
    """The arguments of a script; with ``--quick`` other defaults hold.

    Args:
        parser: Makes the script's parser, which knows ``--quick``.
        argv: The arguments; those of the process when not given.
        quick: These defaults.
    """
    args = parser().parse_args(argv)
    if not args.quick:
        return args
    small = parser()
    small.set_defaults(**quick)
    return small.parse_args(argv)


def data_folder(args: argparse.Namespace) -> Path | None:
    """The folder of the data sets: ``--data``, or the environment's."""
    given = args.data or os.environ.get(DATA_VARIABLE)
    return Path(given) if given else None


def source(args: argparse.Namespace, name: str, weight: float = 1.0, hidden: Sequence[str] = ()) -> SourceConfig:
    """A source by its short name.

    Args:
        args: The script's arguments.
        name: Key of `SOURCES`.
        weight: How often it is drawn.
        hidden: Classes that it must not show.

    Raises:
        ConfigError: The name is unknown, or there is no folder of data.
    """
    if name not in SOURCES:
        raise ConfigError(f"data set {name!r} is unknown here; expected one of {', '.join(SOURCES)}")
    found, folder = SOURCES[name], data_folder(args)
    if found.root is not None:
        if folder is None:
            raise ConfigError(f"{name} needs files: got no --data and no {DATA_VARIABLE}; name the folder of the data")
        found = replace(found, root=str(folder / found.root))
    return replace(found, weight=weight, exclude=list(hidden))


def extra_sources(args: argparse.Namespace, words: Sequence[str]) -> list[SourceConfig]:
    """Training sources such as ``coco128:0.3``, without the validation and test classes of the data set.

    Args:
        args: The script's arguments.
        words: ``NAME`` or ``NAME:WEIGHT``.

    Raises:
        ConfigError: A name or weight is wrong.
    """
    hidden = unseen_classes(open_split(args, "val"), open_split(args, "test")) if words else []
    found = []
    for word in words:
        name, _, weight = word.partition(":")
        try:
            found.append(source(args, name, float(weight or 1), hidden))
        except ValueError as error:
            raise ConfigError(f"--extra {word}: expected NAME or NAME:WEIGHT, such as coco128:0.3") from error
    return found


def unseen_classes(*splits: FewShotDataset) -> list[str]:
    """Names of the splits' classes with their synonyms elsewhere: what a training source must not show."""
    names = [name for split in splits for name in split.class_names.values()]
    return sorted({*names, *(other for name in names for other in SYNONYMS.get(name, []))})


def open_split(args: argparse.Namespace, split: str) -> FewShotDataset:
    """A split of ``--dataset``."""
    from pixgraph.data.catalog import open_dataset

    return open_dataset(source(args, args.dataset), split)


def backbone_config(args: argparse.Namespace) -> BackboneConfig:
    """The backbone that the arguments name."""
    weights, folder = args.weights, data_folder(args)
    if weights is None and args.backbone == "mobilenet_v2" and folder is not None and (folder / WEIGHTS).is_file():
        weights = str(folder / WEIGHTS)
    return BackboneConfig(args.backbone, weights, args.size, getattr(args, "cache", None) or None)


def feature_store(args: argparse.Namespace) -> FeatureStore:
    """A new feature store, empty in memory, on the CPU."""
    from pixgraph.backbones.build import build_backbone
    from pixgraph.backbones.features import FeatureStore

    config = backbone_config(args)
    return FeatureStore(build_backbone(config), config.size, config.cache)


def guarded(main: Callable[[Sequence[str] | None], int]) -> int:
    """Run a script's main function; an error that the user can mend becomes one line and exit code 2."""
    try:
        return main(None)
    except PixgraphError as error:
        print(f"{Path(sys.argv[0]).name}: error: {error}", file=sys.stderr)
        return 2
