"""The data sets by name, and what a `SourceConfig` asks to be done with one."""

from __future__ import annotations

import difflib
from importlib import import_module

from pixgraph.config import SourceConfig
from pixgraph.data.base import FewShotDataset
from pixgraph.errors import ConfigError

# name: (module of this package, one line about it)
_DATA_SETS = {
    "synthetic": ("synthetic", "generated shapes with real textures; needs no files"),
    "folder": ("folder", "your own pictures: images/ and masks/ with a folder a class, or with classes.json"),
    "ade20k-objects": ("ade_objects", "ADE20K object crops, 33 classes (18/5/10), and their parts"),
    "pascal5i": ("pascal", "PASCAL VOC 2012 + SBD, 20 classes in 4 folds"),
    "coco20i": ("coco", "COCO 2014 or 2017, 80 classes in 4 folds, interleaved or contiguous"),
    "fss1000": ("fss1000", "FSS-1000, 1000 classes of 10 pictures (520/240/240)"),
    "cityscapes": ("cityscapes", "Cityscapes street scenes, 19 classes"),
    "camvid": ("camvid", "CamVid street scenes, 11 classes"),
    "nuclei": ("nuclei", "cell nuclei of the 2018 Data Science Bowl, fluorescence and stained"),
    "blood_cells": ("blood_cells", "white blood cells, nucleus and cytoplasm"),
}

DESCRIPTIONS = {name: line for name, (_, line) in _DATA_SETS.items()}
"""Name to one line about each data set."""

_WITH_PARTS = ("ade20k-objects",)


def dataset_names() -> list[str]:
    """Names that `open_dataset` knows."""
    return list(_DATA_SETS)


def open_dataset(source: SourceConfig, split: str) -> FewShotDataset:
    """Open a split as the configuration asks: parts instead of objects, classes left out, a crop an object.

    Args:
        source: Name, folder and options; `exclude` is applied before `crops`.
        split: ``"train"``, ``"val"`` or ``"test"``; a folder also has ``"all"``.

    Raises:
        ConfigError: The name is unknown, the folder is not given, or the data set has no parts.
        DataError: The folder is not laid out as the data set is.
    """
    if source.name not in _DATA_SETS:
        near = difflib.get_close_matches(source.name.lower(), _DATA_SETS, n=1)
        guess = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"data.name: got {source.name!r}, expected one of {', '.join(_DATA_SETS)}{guess}")
    if source.root is None and source.name != "synthetic":
        raise ConfigError(f"data.root: got nothing, expected the folder of {source.name}; set data.root to it")
    if source.parts and source.name not in _WITH_PARTS:
        raise ConfigError(f"data.parts: {source.name} has no parts, expected false; only {_WITH_PARTS[0]} has them")
    # Each data set is imported when asked for: `pixgraph data list` shall not wait for all of them.
    dataset: FewShotDataset = import_module(f"pixgraph.data.{_DATA_SETS[source.name][0]}").open_split(source, split)
    if source.exclude:
        from pixgraph.data.excluding import Excluding

        dataset = Excluding(dataset, source.exclude)
    if source.crops:
        from pixgraph.data.crops import ObjectCrops

        dataset = ObjectCrops(dataset)
    return dataset
