"""Cityscapes: street scenes with 19 classes (Cordts et al., CVPR 2016)."""

from __future__ import annotations

from pixgraph.config import SourceConfig
from pixgraph.data.base import IGNORE, Sample
from pixgraph.data.label_maps import LabelMaps
from pixgraph.data.layout import need
from pixgraph.data.official import check_split, files_by_stem, first_existing, refuse_empty, refuse_missing
from pixgraph.errors import DataError

LABEL_IDS = {
    "road": 7,
    "sidewalk": 8,
    "building": 11,
    "wall": 12,
    "fence": 13,
    "pole": 17,
    "traffic light": 19,
    "traffic sign": 20,
    "vegetation": 21,
    "terrain": 22,
    "sky": 23,
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}
"""The 19 evaluated classes in the order of their train ids -> number in the ``labelIds`` files."""

CLASSES = tuple(LABEL_IDS)
"""Class id = train id + 1, because 0 is background here; no pixel is background, all others are 255."""

HINT = (
    "Cityscapes needs an account: get leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip from "
    "cityscapes-dataset.com, extract both, and set data.root to the folder that holds leftImg8bit and gtFine."
)


def label_table() -> dict[int, int]:
    """Number in a ``labelIds`` file (0..33, and 255 for the ego vehicle's licence plate) -> class id 1..19 or 255."""
    table = dict.fromkeys((*range(34), IGNORE), IGNORE)
    return table | {number: train_id + 1 for train_id, number in enumerate(LABEL_IDS.values())}


def open_split(source: SourceConfig, split: str) -> LabelMaps:
    """Open the official training or validation pictures; both show all 19 classes.

    Layout: ``leftImg8bit/<split>/<city>/<name>_leftImg8bit.png`` with
    ``gtFine/<split>/<city>/<name>_gtFine_labelIds.png``.

    Raises:
        ConfigError: The split does not exist, or no root is given.
        DataError: The layout is another one, masks are missing, or the split is "test", whose masks are not published.
    """
    check_split("cityscapes", split)
    if split == "test":
        raise DataError("cityscapes: the masks of the test pictures are not published; use the split val for scores")
    root = need("cityscapes", source.root, hint=HINT)
    pictures = first_existing("cityscapes", "the pictures", [root / "leftImg8bit" / split], HINT)
    labels = first_existing("cityscapes", "the masks", [root / "gtFine" / split], HINT)
    samples: list[Sample] = []
    missing: list[str] = []
    for city in sorted(p for p in pictures.iterdir() if p.is_dir()):
        for stem, path in files_by_stem(city, (".png", ".jpg")).items():
            name = f"{city.name}/{stem.removesuffix('_leftImg8bit')}"
            mask = labels / f"{name}_gtFine_labelIds.png"
            if not mask.is_file():
                missing.append(mask.name)
            samples.append(Sample(name, path, mask))
    refuse_missing("cityscapes", "masks", missing, str(labels), HINT)
    refuse_empty("cityscapes", "<city>/*_leftImg8bit.png", samples, pictures, HINT)
    return LabelMaps("cityscapes", split, dict(enumerate(CLASSES, 1)), samples, label_table())
