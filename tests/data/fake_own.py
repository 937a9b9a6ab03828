"""Fake data of the data core: pictures in memory, ADE20K object crops, and folders of a user's own."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from fakes import lines, mask_file, picture, rectangles

from pixgraph.data.base import FewShotDataset, Sample


class MemoryDataset(FewShotDataset):
    """Masks given as arrays; the pictures show them in grey. A mask of None is an unlabelled picture."""

    def __init__(self, masks: Mapping[str, np.ndarray | None], names: Mapping[int, str], split: str = "test") -> None:
        super().__init__("memory", split, names, [Sample(key) for key in masks])
        self.masks = list(masks.values())

    def has_mask(self, index: int) -> bool:
        return self.masks[index] is not None

    def read_mask(self, index: int) -> np.ndarray:
        return self.masks[index]

    def read_image(self, index: int) -> np.ndarray:
        mask = self.masks[index]
        grey = np.zeros((24, 32), np.uint8) if mask is None else mask * np.uint8(20)
        return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)

    def fingerprint(self, index: int) -> str:
        return hashlib.sha256(self.samples[index].key.encode()).hexdigest()


def single_objects(counts: Mapping[int, int], split: str = "test") -> MemoryDataset:
    """`counts[c]` pictures of class c, one object each, growing with the number of the picture."""
    masks = {
        f"{c}/{n}": rectangles((c, 2, 2, 4 + n % 20, 6 + n % 20)) for c, count in counts.items() for n in range(count)
    }
    return MemoryDataset(masks, {c: f"class {c}" for c in counts}, split)


ADE_CLASSES = {"train": ("bench", "lamp"), "val": ("desk",), "test": ("van", "bed")}


def fake_ade(root: Path, pictures: int = 3) -> Path:
    """Five classes of a few pictures; the parts of class number i are 10 i + 1 and 10 i + 2, and 255."""
    parts = {}
    for i, name in enumerate(sorted(sum(ADE_CLASSES.values(), ())), start=1):
        parts |= {str(10 * i + p): {"object": name, "part": f"part {p}"} for p in (1, 2)}
        for n in range(1, pictures + 1):
            picture(root / "images" / name / f"{n}.jpg", 10 * i + n)
            mask_file(root / "masks" / name / f"{n}.png", rectangles((255, 4, 4, 20, 24)))
            boxes = (255, 4, 4, 20, 24), (10 * i + 1, 4, 4, 10, 24), (10 * i + 2, 10, 4, 14, 24)
            mask_file(root / "parts" / name / f"{n}.png", rectangles(*boxes))
    (root / "parts.json").write_text(json.dumps(parts))
    for split, names in ADE_CLASSES.items():
        lines(root / "splits" / f"{split}.txt", *names)
    return root


def fake_class_folder(root: Path, classes: tuple[str, ...] = ("apple", "pear"), pictures: int = 3) -> Path:
    """images/<class>/<n>.jpg with masks/<class>/<n>.png of 0 and 255."""
    for i, name in enumerate(classes):
        for n in range(1, pictures + 1):
            picture(root / "images" / name / f"{n}.jpg", 100 * i + n)
            mask_file(root / "masks" / name / f"{n}.png", rectangles((255, 2, 2, 12, 14)))
    return root


def fake_index_folder(root: Path, names: object = None, prefix: str = "") -> Path:
    """images/<name>.jpg with masks/<name>.png of indices 0, 1, 2 and classes.json."""
    for n in range(1, 5):
        picture(root / "images" / f"{prefix}p{n}.jpg", n)
        mask_file(
            root / "masks" / f"{prefix}p{n}.png", rectangles((1, 2, 2, 12, 14), (2, 14, 16, 22, 30)), palette=True
        )
    table = {"0": "background", "1": "cat", "2": "dog"} if names is None else names
    (root / "classes.json").write_text(json.dumps(table))
    return root
