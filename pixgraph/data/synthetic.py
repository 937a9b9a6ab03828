"""Embedded episodes: textured shapes in clutter, drawn by seed, with base and novel classes that share neither.

A class is a family of shapes in a family of textures, e.g. "brick star". The colour of every object is drawn at random
and says nothing about its class; other objects of the picture often have the same colour, the same texture or the same
shape. Train, val and test differ in shapes, in textures and in backgrounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from types import MappingProxyType

import numpy as np

from pixgraph.config import SourceConfig
from pixgraph.data.base import FewShotDataset, Sample
from pixgraph.data.synthetic_shapes import SHAPES
from pixgraph.data.synthetic_textures import cut
from pixgraph.errors import ConfigError, DataError

VERSION = 1  # part of every key: raise it when the pictures change


@dataclass(frozen=True)
class SplitOfShapes:
    """What one split is made of.

    Attributes:
        number: Part of every random seed.
        shapes: Slice of `SHAPES`.
        textures: Of objects.
        backgrounds: Of backgrounds and clutter.
        n_pictures: Pictures by default.
    """

    number: int
    shapes: slice
    textures: tuple[str, ...]
    backgrounds: tuple[str, ...]
    n_pictures: int


SPLITS = MappingProxyType(
    {
        "train": SplitOfShapes(
            0, slice(0, 18), ("brick", "fur", "tissue", "print", "crater", "galaxy"), ("cafe", "garage", "lawn"), 540
        ),
        "val": SplitOfShapes(1, slice(18, 24), ("gravel", "vein"), ("launch", "lens"), 180),
        "test": SplitOfShapes(2, slice(24, 32), ("grass", "coin", "script"), ("portrait", "plate"), 240),
    }
)


@dataclass(frozen=True)
class PlacedObject:
    """One object of a picture.

    Attributes:
        class_id: 1..253.
        top: Row of the window that holds the object.
        left: Column of that window.
        cover: (h, w) float32 in 0..1, how much of each pixel of the window the object covers.
    """

    class_id: int
    top: int
    left: int
    cover: np.ndarray

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the picture."""
        h, w = self.cover.shape
        return slice(self.top, self.top + h), slice(self.left, self.left + w)


class SyntheticShapes(FewShotDataset):
    """Pictures of textured shapes, drawn when they are read; the same for the same split, size, seed and index.

    Args:
        split: "train" (36 classes), "val" (12) or "test" (16).
        size: Side of the square pictures, in pixels.
        n_pictures: How many; picture i shows class i modulo the number of classes, and others.
        seed: Another seed draws other pictures of the same classes.

    Raises:
        ConfigError: The split is unknown.
    """

    def __init__(self, split: str, size: int = 128, n_pictures: int | None = None, seed: int = 0) -> None:
        if split not in SPLITS:
            raise ConfigError(f"synthetic: split {split!r} is unknown; expected one of {', '.join(SPLITS)}")
        self.parts = SPLITS[split]
        self.size = size
        self.seed = seed
        self.kinds = _kinds(self.parts)
        names = {i + 1: f"{texture} {shape}" for i, (shape, texture) in enumerate(self.kinds)}
        count = self.parts.n_pictures if n_pictures is None else n_pictures
        super().__init__("synthetic", split, names, [Sample(f"{split}/{i}") for i in range(count)])

    def has_mask(self, index: int) -> bool:
        """Every picture is labelled."""
        return 0 <= index < len(self)

    def fingerprint(self, index: int) -> str:
        """SHA-256 (hex) of all that determines the picture."""
        return sha256(repr(("synthetic", VERSION, self.split, self.size, self.seed, index)).encode()).hexdigest()

    def read_mask(self, index: int) -> np.ndarray:
        """Class ids, uint8, shape (size, size)."""
        mask = np.zeros((self.size, self.size), np.uint8)
        for placed in self._scene(index):
            mask[placed.window][placed.cover >= 0.5] = placed.class_id
        return mask

    def read_image(self, index: int) -> np.ndarray:
        """The picture as uint8 RGB, shape (size, size, 3)."""
        scene = self._scene(index)
        rng = self._generator(index, 1)
        base = rng.uniform(0.15, 0.85, 3)  # the colour that several things in the picture share
        picture = _background(self.size, self.parts.backgrounds, base, rng)
        for placed in scene:
            texture = self.kinds[placed.class_id - 1][1]
            colour = base if rng.random() < 0.5 else rng.uniform(0.15, 0.85, 3)
            paint = _paint(texture, placed.cover.shape, colour, rng)
            cover = placed.cover[..., None]
            picture[placed.window] = picture[placed.window] * (1 - cover) + paint * cover
        picture += rng.standard_normal(picture.shape, np.float32) * np.float32(0.015)
        return (picture.clip(0, 1) * 255 + 0.5).astype(np.uint8)

    @cached_property
    def areas(self) -> dict[int, dict[int, int]]:
        """For each class: sample index -> number of its pixels."""
        return super().areas

    def _generator(self, index: int, purpose: int) -> np.random.Generator:
        if not 0 <= index < len(self):
            raise DataError(f"synthetic: no picture {index}; expected 0..{len(self) - 1}")
        return np.random.default_rng([self.seed, self.parts.number, index, purpose])

    def _scene(self, index: int) -> list[PlacedObject]:
        """The objects of a picture, hindmost first; the picture's own class is the last and never hidden."""
        rng = self._generator(index, 0)
        own = index % len(self.kinds)
        others = [self._distractor(own, rng) for _ in range(int(rng.integers(1, 3)))]
        taken = np.zeros((self.size, self.size), bool)
        scene: list[PlacedObject] = []
        for kind in [own, *others]:
            placed = self._place(kind, taken, rng)
            if placed is not None:
                taken[placed.window] |= placed.cover > 0
                scene.insert(0, placed)
        return scene

    def _distractor(self, own: int, rng: np.random.Generator) -> int:
        """Another class: half of the time one with the same shape or the same texture."""
        shape, texture = self.kinds[own]
        draw = rng.random()
        others = [k for k in range(len(self.kinds)) if k != own]
        alike = [k for k in others if (self.kinds[k][0] == shape if draw < 0.3 else self.kinds[k][1] == texture)]
        return int(rng.choice(alike if alike and draw < 0.5 else others))

    def _place(self, kind: int, taken: np.ndarray, rng: np.random.Generator) -> PlacedObject | None:
        """Turns, scales and places an object; `None` when there is no room for it after some attempts."""
        radius = rng.uniform(0.17, 0.3) * self.size
        cover = _cover(self.kinds[kind][0], radius, rng)
        h, w = cover.shape
        for _ in range(12):
            top, left = int(rng.integers(0, self.size - h + 1)), int(rng.integers(0, self.size - w + 1))
            hidden = (taken[top : top + h, left : left + w] & (cover > 0)).sum()
            if hidden <= 0.15 * (cover > 0).sum():
                return PlacedObject(kind + 1, top, left, cover)
        return None


def open_split(source: SourceConfig, split: str) -> SyntheticShapes:
    """The embedded data set; it needs no folder."""
    del source  # has nothing to choose
    return SyntheticShapes(split)


def _kinds(parts: SplitOfShapes) -> list[tuple[str, str]]:
    """Pairs of shape and texture: each shape comes in two textures, so that neither alone tells the class."""
    shapes, textures = list(SHAPES)[parts.shapes], parts.textures
    pairs = []
    for i, shape in enumerate(shapes):
        first = i % len(textures)
        second = (first + 1 + (i // len(textures)) % (len(textures) - 1)) % len(textures)
        pairs += [(shape, textures[first]), (shape, textures[second])]
    return pairs


def _cover(shape: str, radius: float, rng: np.random.Generator) -> np.ndarray:
    """A turned shape, antialiased by 2 x 2 samples a pixel and cut to its box: (h, w) float32 in 0..1."""
    side = 2 * int(np.ceil(radius * 1.42))
    angle = rng.uniform(0, 2 * np.pi)
    axis = (((np.arange(2 * side) + 0.5) / 2 - side / 2) / radius).astype(np.float32)
    x, y, c, s = axis[None, :], axis[:, None], np.float32(np.cos(angle)), np.float32(np.sin(angle))
    inside = SHAPES[shape](x * c + y * s, y * c - x * s, rng).astype(np.uint8)  # (2 side, 2 side)
    count = inside[::2, ::2] + inside[1::2, ::2] + inside[::2, 1::2] + inside[1::2, 1::2]
    rows, cols = np.flatnonzero(count.any(1)), np.flatnonzero(count.any(0))
    return count[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1] * np.float32(0.25)


def _paint(
    texture: str, shape: tuple[int, ...], colour: np.ndarray, rng: np.random.Generator, contrast: float = 0.18
) -> np.ndarray:
    """A piece of a texture in a colour of its own: (h, w, 3) float32."""
    zoom, angle, place = rng.uniform(0.8, 1.25), rng.uniform(0, 2 * np.pi), (rng.random(), rng.random())
    piece = cut(texture, shape[0], shape[1], zoom, angle, place)
    # Mostly light and dark, a little from one hue to another.
    direction = contrast * rng.uniform(0.75, 1.25) * (1 + rng.uniform(-0.4, 0.4, 3))
    return piece[..., None] * direction.astype(np.float32) + colour.astype(np.float32)


def _background(size: int, textures: tuple[str, ...], base: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A photograph's texture with small bars and discs of others on it: (size, size, 3) float32."""
    colour = base if rng.random() < 0.3 else rng.uniform(0.15, 0.85, 3)
    picture = _paint(str(rng.choice(textures)), (size, size), colour, rng, 0.12)
    for _ in range(int(rng.integers(3, 8))):
        cover = _cover("disc" if rng.random() < 0.5 else "square", rng.uniform(0.03, 0.09) * size, rng)[..., None]
        h, w = cover.shape[:2]
        top, left = int(rng.integers(0, size - h + 1)), int(rng.integers(0, size - w + 1))
        colour = base if rng.random() < 0.5 else rng.uniform(0.15, 0.85, 3)
        paint = _paint(str(rng.choice(textures)), (h, w), colour, rng, 0.12)
        window = picture[top : top + h, left : left + w]
        window += cover * (paint - window)
    return picture
