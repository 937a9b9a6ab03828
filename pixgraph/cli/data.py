"""``pixgraph data``: list the data sets, check a folder before a night of training, show masks, make annotations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pixgraph.cli.options import parse
from pixgraph.config import SourceConfig
from pixgraph.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pixgraph.data.base import FewShotDataset

ACTIONS = {
    "list": "the data sets that `--data.name` and `--name` know",
    "check": "decode every picture and mask, and report every broken one",
    "show": "write a sheet of pictures with their masks",
    "annotate": "write points, scribbles, boxes, tags or partial labels of a data set",
}


@dataclass
class CheckOptions:
    """Decode every picture and mask of a data set, report all that is wrong, and count the classes.

    Attributes:
        name: Data set: one of `pixgraph data list`.
        root: Its folder; may also be given first, without `--root`.
        split: Which split; everything of a folder, the training split of other data sets when not given.
        fold: Fold of PASCAL-5i and COCO-20i.
        convention: Fold convention of COCO-20i.
        parts: Part classes instead of whole objects.
        crops: One crop an object instead of whole pictures.
        exclude: Class names to leave out.
    """

    name: str = "folder"
    root: str | None = None
    split: Literal["train", "val", "test", "all"] | None = None
    fold: int = 0
    convention: Literal["interleaved", "contiguous"] = "interleaved"
    parts: bool = False
    crops: bool = False
    exclude: list[str] = field(default_factory=list)


@dataclass
class ShowOptions(CheckOptions):
    """Write a sheet of pictures with their masks laid over them.

    Attributes:
        name: Data set: one of `pixgraph data list`.
        root: Its folder; may also be given first, without `--root`.
        split: Which split; everything of a folder, the training split of other data sets when not given.
        fold: Fold of PASCAL-5i and COCO-20i.
        convention: Fold convention of COCO-20i.
        parts: Part classes instead of whole objects.
        crops: One crop an object instead of whole pictures.
        exclude: Class names to leave out.
        out: The PNG to write.
        pictures: How many pictures.
        seed: Which pictures: they are drawn at random.
    """

    out: str = "sheet.png"
    pictures: int = 24
    seed: int = 0


def run(argv: Sequence[str]) -> int:
    """List, check or show; exit code 1 when `check` found something wrong."""
    argv = list(argv)
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: pixgraph data ACTION [FOLDER] [--OPTION VALUE ...]\n\nactions:")
        for name, text in ACTIONS.items():
            print(f"  {name:<8} {text}")
        return 0 if argv else 2
    action, rest = argv[0], argv[1:]
    if action not in ACTIONS:
        raise ConfigError(f"unknown action {action!r}; expected one of {', '.join(ACTIONS)}; see pixgraph data --help")
    if action == "list":
        if rest and rest[0] not in ("-h", "--help"):
            raise ConfigError(f"data list: got {rest[0]!r}, expected nothing behind it; leave it out")
        return list_datasets()
    if action == "annotate":
        return _annotate(rest)
    if rest and not rest[0].startswith("-"):
        rest = ["--root", *rest]
    if action == "check":
        return check_dataset(_open(parse(CheckOptions, "data check", rest)))
    options = parse(ShowOptions, "data show", rest)
    return show_dataset(_open(options), options)


def _annotate(argv: list[str]) -> int:
    from pixgraph.cli.annotate import AnnotateOptions, annotate

    place = ["--data", argv.pop(0)] if argv and not argv[0].startswith("-") else []
    return annotate(parse(AnnotateOptions, "data annotate", place + argv))


def list_datasets() -> int:
    """Print name and description of every data set."""
    from pixgraph.data.catalog import DESCRIPTIONS, dataset_names

    names = dataset_names()
    for name in names:
        print(f"{name:<{max(map(len, names))}}  {DESCRIPTIONS[name]}")
    return 0


def check_dataset(dataset: FewShotDataset) -> int:
    """Decode everything, print every defect and the classes; 1 when there was a defect."""
    import numpy as np
    from tqdm import tqdm

    problems: list[str] = []
    pictures, pixels = dict.fromkeys(dataset.class_names, 0), dict.fromkeys(dataset.class_names, 0)
    unlabelled = 0
    for index in tqdm(range(len(dataset)), desc="check", unit="picture", disable=None):
        try:
            shape = dataset.read_image(index).shape[:2]
            if not dataset.has_mask(index):
                unlabelled += 1
                continue
            mask = dataset.read_mask(index)
        except DataError as error:
            problems.append(str(error))
            continue
        if mask.shape != shape:
            sample = dataset.samples[index]
            problems.append(f"{sample.mask or sample.key}: got mask of {mask.shape}, expected its picture's {shape}")
            continue
        counts = np.bincount(mask.ravel(), minlength=256)
        for c in dataset.class_names:
            pictures[c] += bool(counts[c])
            pixels[c] += int(counts[c])
    print(f"{dataset!r}: {len(dataset)} pictures, {unlabelled} without mask, {len(problems)} broken")
    for c, name in dataset.class_names.items():
        few = "" if pictures[c] >= 2 else "  <- too few for an episode: it needs one support and one query"
        print(f"  {c:>3} {name:<24} {pictures[c]:>6} pictures {pixels[c]:>12} pixels{few}")
    for problem in problems:
        print(f"broken: {problem}")
    return 1 if problems else 0


def show_dataset(dataset: FewShotDataset, options: ShowOptions) -> int:
    """Write the sheet and print where it is."""
    import io

    import numpy as np

    from pixgraph.contact_sheet import contact_sheet
    from pixgraph.training.atomic import write_atomic

    path = Path(options.out)
    if not path.name or path.is_dir():
        raise ConfigError(f"--out {options.out!r}: got a folder, expected the PNG to write, such as sheet.png")
    rng = np.random.default_rng([options.seed])
    indices = rng.permutation(len(dataset))[: options.pictures]
    sheet = contact_sheet(dataset, [int(i) for i in indices])
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, buffer.getvalue())
    print(f"{len(indices)} of {len(dataset)} pictures: {path}")
    return 0


def _open(options: CheckOptions) -> FewShotDataset:
    from pixgraph.data.catalog import open_dataset

    source = SourceConfig(
        options.name, options.root, options.fold, options.convention, options.parts, options.crops, options.exclude
    )
    return open_dataset(source, options.split or ("all" if options.name == "folder" else "train"))
