"""Cell nuclei of the 2018 Data Science Bowl, BBBC038 (Caicedo et al., Nature Methods 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pixgraph.config import SourceConfig
from pixgraph.data.base import Sample
from pixgraph.data.images import read_mask
from pixgraph.data.label_maps import DenseDataset
from pixgraph.data.layout import PICTURE_SUFFIXES, need
from pixgraph.data.official import check_split, files_by_stem, first_existing, refuse_empty, refuse_missing

HINT = (
    "Get stage1_train.zip of BBBC038 from bbbc.broadinstitute.org and set data.root to the folder that holds "
    "stage1_train, or arrange it as images/<group>/<name>.png with instances/<group>/<name>.png, pixel value = "
    "nucleus number."
)


class Nuclei(DenseDataset):
    """Pictures of nuclei; each group of pictures (staining, microscope) is a class of its own; no ignore label.

    Layouts: ``images/<group>/*`` with ``instances/<group>/*.png`` (any number above 0 is nucleus), or the published
    ``stage1_train/<id>/images/<id>.png`` with one mask a nucleus in ``stage1_train/<id>/masks``: one class, "nucleus".
    """

    def __init__(
        self, split: str, class_names: Mapping[int, str], samples: Sequence[Sample], ids: Sequence[int]
    ) -> None:
        super().__init__("nuclei", split, class_names, samples)
        self._ids = list(ids)

    def read_labels(self, index: int) -> np.ndarray:
        """The group's class id on nuclei, 0 elsewhere: uint8 (H, W)."""
        path = self.mask_path(index)
        files = [path] if path.is_file() else list(files_by_stem(path, (".png",)).values())
        refuse_empty("nuclei", "masks of single nuclei", files, path, HINT)
        inside = self.checked_size(index, read_mask(files[0]) > 0)
        for file in files[1:]:
            inside |= self.checked_size(index, read_mask(file) > 0)
        return inside.astype(np.uint8) * np.uint8(self._ids[index])


def open_split(source: SourceConfig, split: str) -> Nuclei:
    """Open all pictures, whatever the split: none is published.

    Raises:
        ConfigError: The split does not exist, or no root is given.
        DataError: Neither layout is there, or a picture has no mask.
    """
    check_split("nuclei", split)
    root = need("nuclei", source.root, hint=HINT)
    folder = first_existing("nuclei", "the pictures", [root / "images", root / "stage1_train"], HINT)
    if folder.name == "stage1_train":
        samples = [s for s in map(_published, sorted(folder.iterdir())) if s is not None]
        refuse_empty("nuclei", "<id>/images/<id>.png", samples, str(folder), HINT)
        return Nuclei(split, {1: "nucleus"}, samples, [1] * len(samples))
    class_names: dict[int, str] = {}
    samples, ids = [], []
    for c, group in enumerate(sorted(p for p in folder.iterdir() if p.is_dir()), 1):
        labels = root / "instances" / group.name
        pictures, masks = files_by_stem(group, PICTURE_SUFFIXES), files_by_stem(labels, (".png",))
        refuse_missing("nuclei", "masks", [stem for stem in pictures if stem not in masks], labels, HINT)
        class_names[c] = f"nucleus ({group.name})"
        samples += [Sample(f"{group.name}/{stem}", path, masks[stem]) for stem, path in pictures.items()]
        ids += [c] * len(pictures)
    refuse_empty("nuclei", "<group>/<name>.png", samples, str(folder), HINT)
    return Nuclei(split, class_names, samples, ids)


def _published(folder: Path) -> Sample | None:
    """The picture in one folder of ``stage1_train``; `None` for anything else that lies there."""
    pictures = files_by_stem(folder / "images", PICTURE_SUFFIXES)
    return Sample(folder.name, next(iter(pictures.values())), folder / "masks") if pictures else None
