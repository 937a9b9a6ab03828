"""COCO 2014 or 2017 as COCO-20i (Nguyen and Todorovic, ICCV 2019), in both fold conventions.

``train`` shows the sixty other classes on the training pictures, ``val`` the same classes on the validation pictures
(to choose a checkpoint without a look at the test classes), ``test`` the fold's classes on the validation pictures.

Layouts, in the order in which they are tried (<set> is train2014, val2014, train2017 or val2017; pictures in ``<set>/``
or ``images/<set>/``):

1. ``annotations/<set>/*.png``: ready masks of class ids.
2. ``annotations/instances_<set>.json``: masks drawn when they are read; needs the package pycocotools.
3. ``images/*`` with ``masks/*.png``: one pool of pictures for all three splits, as in COCO128.

Where the root holds lists ``splits/{train,val}/fold<i>.json[.gz]`` (or ``splits/coco20i/...``), each an object from
0-based class number to ``<set>/<file>`` names, they choose the pictures of "train" and "test" and the classes each is
drawn for; they are of the interleaved convention and are left aside under the other one.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from pixgraph.config import SourceConfig
from pixgraph.data.base import IGNORE, Sample
from pixgraph.data.coco_objects import Objects, draw, read_objects
from pixgraph.data.label_maps import DenseDataset, LabelMaps
from pixgraph.data.layout import PICTURE_SUFFIXES, need
from pixgraph.data.official import check_fold, check_split, files_by_stem, refuse_missing
from pixgraph.errors import ConfigError, DataError

_NAMES = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,"
    "parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,"
    "handbag,tie,suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,"
    "skateboard,surfboard,tennis racket,bottle,wine glass,cup,fork,knife,spoon,bowl,banana,apple,"
    "sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,potted plant,bed,"
    "dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,"
    "refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush"
)
CLASSES = tuple(_NAMES.split(","))
"""The 80 classes in the order of COCO's category numbers; class id = position + 1. Crowd regions become 255."""

FOLDS = 4
KEPT_MASKS = 10_000
"""Masks that stay in memory once drawn, a few kB each; drawing takes about 10 ms, COCO's own code most of it."""

CONVENTIONS = ("interleaved", "contiguous")
HINT = (
    "Run `python -m pixgraph.data.download coco20i ROOT`, or set data.root to the folder that holds annotations/ and "
    "train2014/."
)


def fold_classes(fold: int, convention: Literal["interleaved", "contiguous"] = "interleaved") -> dict[int, str]:
    """The twenty test classes of a fold.

    With 0-based class numbers, "interleaved" takes i, i+4, ..., i+76 (Nguyen and Todorovic, ICCV 2019; HSNet and most
    others), "contiguous" 20i..20i+19. Numbers reached under the two do not compare.

    Example:
        >>> list(fold_classes(1).values())[:3], list(fold_classes(1, "contiguous").values())[:3]
        (['bicycle', 'bus', 'traffic light'], ['elephant', 'bear', 'zebra'])

    Raises:
        ConfigError: The fold or the convention does not exist.
    """
    check_fold("coco20i", fold, FOLDS)
    if convention not in CONVENTIONS:
        raise ConfigError(f"coco20i: got fold convention {convention!r}, expected one of {', '.join(CONVENTIONS)}")
    numbers = range(fold, 80, FOLDS) if convention == "interleaved" else range(20 * fold, 20 * fold + 20)
    return {n + 1: CLASSES[n] for n in numbers}


def split_classes(source: SourceConfig, split: str) -> dict[int, str]:
    """The fold's twenty classes for "test", the other sixty for "train" and "val"."""
    novel = fold_classes(source.fold, source.convention)
    return novel if split == "test" else {c: n for c, n in enumerate(CLASSES, 1) if c not in novel}


class CocoMaps(LabelMaps):
    """A split of COCO-20i whose masks are PNGs of class ids (0 background, 1..80, 255 ignore), as HSNet ships them."""


class CocoObjects(DenseDataset):
    """A split of COCO-20i whose masks are drawn from the object outlines of ``instances_*.json`` when they are read.

    Larger objects are drawn first, so that smaller ones lie on top; crowd regions are 255 below them.
    """

    def __init__(
        self, split: str, class_names: Mapping[int, str], samples: Sequence[Sample], objects: Mapping[str, Objects]
    ) -> None:
        super().__init__("coco20i", split, class_names, samples)
        self._objects = objects
        self._drawn: dict[str, bytes] = {}

    def has_mask(self, index: int) -> bool:
        """True: every picture is annotated."""
        return True

    def read_labels(self, index: int) -> np.ndarray:
        """Ids of all 80 classes, uint8 (H, W).

        Raises:
            DataError: An outline is malformed, or the picture has another size than the annotations say.
        """
        key = self.samples[index].key
        if key in self._drawn:
            return np.frombuffer(zlib.decompress(self._drawn[key]), np.uint8).reshape(self._objects[key].size)
        mask = self.checked_size(index, draw(self._objects[key]))
        if len(self._drawn) < KEPT_MASKS:
            self._drawn[key] = zlib.compress(mask.tobytes(), level=1)
        return mask

    def mask_state(self) -> str:
        """Sizes and places of all objects: what the masks are made of."""
        return json.dumps([(s.key, self._objects[s.key].state()) for s in self.samples])


def open_split(source: SourceConfig, split: str) -> DenseDataset:
    """Open a split of COCO-20i; the module says which layouts and lists are understood.

    Raises:
        ConfigError: The fold, convention or split does not exist, or no root is given.
        DataError: No layout fits, or listed pictures or masks are missing.
        DependencyError: Layout 2 without pycocotools.
    """
    check_split("coco20i", split)
    classes = split_classes(source, split)
    root = need("coco20i", source.root, hint=HINT)
    pairs = _listed_pairs(root, split, source)
    half = "train" if split == "train" else "val"
    for year in ("2014", "2017"):
        name = f"{half}{year}"
        pictures = {f"{name}/{k}": p for base in ("images", ".") for k, p in _pictures(root / base / name).items()}
        masks = {f"{name}/{k}": p for k, p in files_by_stem(root / "annotations" / name, (".png",)).items()}
        if masks:
            return _from_maps(split, classes, pictures, masks, pairs)
        file = root / "annotations" / f"instances_{name}.json"
        if file.is_file():
            return _from_objects(split, classes, pictures, file, pairs)
    masks = files_by_stem(root / "masks", (".png",))
    if masks:
        return _from_maps(split, classes, _pictures(root / "images"), masks, None)
    raise DataError(
        f"coco20i: looked for annotations/{half}2014/*.png, annotations/instances_{half}2014.json (or 2017) and "
        f"masks/*.png in {root}, found none. {HINT}"
    )


def _from_maps(
    split: str,
    classes: Mapping[int, str],
    pictures: Mapping[str, Path],
    masks: Mapping[str, Path],
    pairs: dict[str, set[int]] | None,
) -> CocoMaps:
    keys = list(masks if pairs is None else pairs)
    refuse_missing("coco20i", "masks", [k for k in keys if k not in masks], "annotations", HINT)
    _refuse_missing_pictures(keys, pictures)
    table = {c: c for c in (*range(len(CLASSES) + 1), IGNORE)}
    dataset = CocoMaps("coco20i", split, classes, [Sample(k, pictures[k], masks[k]) for k in keys], table)
    dataset.pairs = pairs
    return dataset


def _from_objects(
    split: str, classes: Mapping[int, str], pictures: Mapping[str, Path], file: Path, pairs: dict[str, set[int]] | None
) -> CocoObjects:
    found = read_objects(file, CLASSES)
    objects = {f"{file.stem.removeprefix('instances_')}/{stem}": o for stem, o in found.items()}
    if pairs is None:
        keys = [k for k, o in objects.items() if o.classes & set(classes)]
    else:
        keys = list(pairs)
        refuse_missing("coco20i", "pictures", [k for k in keys if k not in objects], str(file), HINT)
    _refuse_missing_pictures(keys, pictures)
    dataset = CocoObjects(split, classes, [Sample(k, pictures[k]) for k in keys], {k: objects[k] for k in keys})
    dataset.pairs = pairs
    return dataset


def _pictures(folder: Path) -> dict[str, Path]:
    return files_by_stem(folder, PICTURE_SUFFIXES)


def _refuse_missing_pictures(keys: Sequence[str], pictures: Iterable[str]) -> None:
    there = set(pictures)
    missing = [k for k in keys if k not in there]
    refuse_missing("coco20i", "pictures", missing, "<set>/ and images/<set>/ of the root", HINT)


def _listed_pairs(root: Path, split: str, source: SourceConfig) -> dict[str, set[int]] | None:
    """Picture (``<set>/<stem>``) -> classes from the fold's published list; `None` where there is none that fits."""
    if source.convention != "interleaved":
        return None
    half = "train" if split == "train" else "val"
    # The published validation lists hold the test classes only.
    if split == "val":
        return None
    for base in (root / "splits" / "coco20i", root / "splits"):
        for ending in (".json", ".json.gz"):
            file = base / half / f"fold{source.fold}{ending}"
            if file.is_file():
                return _read_list(file, split_classes(source, split))
    return None


def _read_list(file: Path, classes: Mapping[int, str]) -> dict[str, set[int]]:
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        listed = {int(number) + 1: [str(p) for p in paths] for number, paths in json.loads(content).items() if paths}
    except (OSError, EOFError, ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{file}: cannot read this list of pictures ({error}); restore or remove it") from error
    if not listed or not set(listed) <= set(classes):
        raise DataError(
            f"{file}: lists the class numbers {sorted(c - 1 for c in listed)[:8]}, expected only those of this fold "
            f"and split ({sorted(c - 1 for c in classes)[:4]}, ...); restore or remove it"
        )
    pairs: dict[str, set[int]] = {}
    for c, paths in listed.items():
        for path in paths:
            pairs.setdefault(str(Path(path).with_suffix("")), set()).add(c)
    return pairs
