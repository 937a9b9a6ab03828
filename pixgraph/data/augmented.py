"""A data set seen through one fixed augmentation of each picture, so that features are cached as for any other."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

import numpy as np
from PIL import Image

from pixgraph.data.base import IGNORE, FewShotDataset
from pixgraph.data.images import resize_mask
from pixgraph.errors import ConfigError

VERSION = 1
"""Part of the fingerprint: raised when the same (variant, seed) would give other pixels."""

_AREA = (0.4, 1.0)  # share of the picture that a crop keeps
_ASPECT = 4 / 3  # most that a crop stretches the picture
_KEEP = 0.7  # share of all labelled pixels that a crop must keep, for the objects to stay recognisable
_KEEP_CLASS = 0.3  # share of each class, so that no class of an episode vanishes
_TRIES = 10
_Box = tuple[int, int, int, int]  # top, left, height, width


class Augmented(FewShotDataset):
    """Flip, crop and colour jitter; picture and mask alike, the same every time for (variant, seed, sample key).

    The crop keeps at least 70 % of the labelled pixels and 30 % of each class (the whole picture stays when ten draws
    fail) and is scaled back to the picture's size; colour jitter leaves the mask alone. Indices, classes and keys are
    those of the data set underneath.

    Args:
        dataset: The data set underneath.
        variant: Number of the variant, >= 1.
        seed: Seed of the variant's draws.
        crop: Whether to crop; off where the framing itself tells something, as in pictures cut around an object.
        labelled: Sample indices whose masks the crop may look at; the others are cropped blindly. `None`: all.

    Raises:
        ConfigError: The variant is below 1.
    """

    def __init__(
        self,
        dataset: FewShotDataset,
        variant: int,
        seed: int = 0,
        crop: bool = True,
        labelled: Collection[int] | None = None,
    ) -> None:
        if variant < 1:
            raise ConfigError(f"variant: got {variant}, expected 1 or more (0 is the picture itself); correct it")
        super().__init__(dataset.name, dataset.split, dataset.class_names, dataset.samples)
        self.dataset, self.variant, self.seed, self.crop = dataset, variant, seed, crop
        self._labelled = None if labelled is None else frozenset(labelled)
        self._known: dict[int, tuple[_Box, bool]] = {}

    def __repr__(self) -> str:
        return f"Augmented({self.dataset!r}, variant={self.variant}, seed={self.seed})"

    def has_mask(self, index: int) -> bool:
        """Whether the picture underneath is labelled."""
        return self.dataset.has_mask(index)

    @property
    def has_background(self) -> bool:
        """Whether the data set underneath has background."""
        return self.dataset.has_background

    def read_image(self, index: int) -> np.ndarray:
        """The augmented picture, uint8 (H, W, 3), of the size of the picture underneath."""
        rgb = self.dataset.read_image(index)
        (top, left, height, width), flip = self._geometry(index)
        crop = Image.fromarray(np.ascontiguousarray(rgb[top : top + height, left : left + width]))
        rgb = np.asarray(crop.resize((rgb.shape[1], rgb.shape[0]), Image.Resampling.BILINEAR))
        return _jittered(rgb[:, ::-1] if flip else rgb, self._rng(index, stream=1))

    def read_mask(self, index: int) -> np.ndarray:
        """The mask after the same flip and crop, uint8 (H, W), nearest neighbour."""
        return self._moved(self.dataset.read_mask(index), index)

    def read_partial_mask(self, index: int) -> np.ndarray:
        """The same with 254 where nobody annotated."""
        return self._moved(self.dataset.read_partial_mask(index), index)

    def _moved(self, mask: np.ndarray, index: int) -> np.ndarray:
        (top, left, height, width), flip = self._geometry(index)
        mask = resize_mask(mask[top : top + height, left : left + width], mask.shape)
        return np.ascontiguousarray(mask[:, ::-1] if flip else mask)

    def fingerprint(self, index: int) -> str:
        """SHA-256 (hex) over the picture's own fingerprint, the crop, and what seeds the colours."""
        box, flip = self._geometry(index)
        own, key = self.dataset.fingerprint(index), self.samples[index].key
        text = f"{own} augmented {VERSION} {self.variant} {self.seed} {key} {box} {flip}"
        return hashlib.sha256(text.encode()).hexdigest()

    def _rng(self, index: int, stream: int) -> np.random.Generator:
        digest = hashlib.sha256(self.samples[index].key.encode()).digest()
        return np.random.default_rng([self.seed, self.variant, int.from_bytes(digest[:8], "little"), stream])

    def _geometry(self, index: int) -> tuple[_Box, bool]:
        """Crop box (top, left, height, width) and flip; kept, because fingerprints ask for it again and again."""
        if index not in self._known:
            rng = self._rng(index, stream=0)
            flip = bool(rng.random() < 0.5)
            if not self.crop:
                box = (0, 0, *self.dataset.read_image(index).shape[:2])
            elif self.dataset.has_mask(index) and (self._labelled is None or index in self._labelled):
                box = _box_with_objects(rng, self.dataset.read_mask(index))
            else:
                box = _random_box(rng, *self.dataset.read_image(index).shape[:2])
            self._known[index] = box, flip
        return self._known[index]


def _box_with_objects(rng: np.random.Generator, mask: np.ndarray) -> _Box:
    """A random box that keeps enough of the labelled pixels; the whole picture when none is found."""
    total = np.bincount(mask.ravel(), minlength=256)
    total[[0, IGNORE]] = 0
    for _ in range(_TRIES):
        top, left, height, width = _random_box(rng, *mask.shape)
        kept = np.bincount(mask[top : top + height, left : left + width].ravel(), minlength=len(total))
        kept[[0, IGNORE]] = 0
        if kept.sum() >= _KEEP * total.sum() and (kept >= _KEEP_CLASS * total).all():
            return top, left, height, width
    return 0, 0, mask.shape[0], mask.shape[1]


def _random_box(rng: np.random.Generator, height: int, width: int) -> _Box:
    share = rng.uniform(*_AREA)
    stretch = np.exp(rng.uniform(-np.log(_ASPECT), np.log(_ASPECT)))
    h = int(np.clip(round(height * np.sqrt(share / stretch)), 1, height))
    w = int(np.clip(round(width * np.sqrt(share * stretch)), 1, width))
    return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w


def _jittered(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast, saturation, a tint a channel, and now and then no colour at all."""
    pixels = rgb.astype(np.float32)
    brightness, contrast, saturation = (float(f) for f in rng.uniform(0.7, 1.3, 3))
    tint = rng.uniform(0.93, 1.07, 3).astype(np.float32)
    if rng.random() < 0.1:
        saturation = 0.0
    grey = (pixels @ np.array([0.299, 0.587, 0.114], np.float32))[:, :, None]  # (H, W, 1)
    pixels = grey + saturation * (pixels - grey)
    pixels = grey.mean() + contrast * (pixels - grey.mean())
    return np.clip(np.round(pixels * brightness * tint), 0, 255).astype(np.uint8)
