"""Families of shapes, each a test of which points lie inside; members of a family differ in their proportions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Shape = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
"""(u, v, generator) -> bool inside; u and v are coordinates of the same shape, the figure lies within -1..1."""


def polygon(u: np.ndarray, v: np.ndarray, corners: Sequence[tuple[float, float]]) -> np.ndarray:
    """Points inside a polygon, by the even-odd rule."""
    inside = np.zeros(u.shape, bool)
    previous = corners[-1]
    for corner in corners:
        (x0, y0), (x1, y1) = previous, corner
        if y0 != y1:
            inside ^= ((v < y0) != (v < y1)) & (u < x0 + (v - y0) * ((x1 - x0) / (y1 - y0)))
        previous = corner
    return inside


def _bars(u: np.ndarray, v: np.ndarray, *boxes: tuple[float, float, float, float]) -> np.ndarray:
    """Union of boxes (left, top, right, bottom)."""
    inside = np.zeros(u.shape, bool)
    for left, top, right, bottom in boxes:
        inside |= (u >= left) & (u <= right) & (v >= top) & (v <= bottom)
    return inside


def _regular(u: np.ndarray, v: np.ndarray, sides: int, inner: float = 1.0) -> np.ndarray:
    """Regular polygon; with `inner` < 1 every second of 2 x sides corners is drawn in: a star."""
    count = sides if inner == 1.0 else 2 * sides
    radius = [1.0 if i % 2 == 0 else inner for i in range(count)]
    turn = 2 * np.pi / count
    return polygon(u, v, [(radius[i] * np.sin(i * turn), -radius[i] * np.cos(i * turn)) for i in range(count)])


def _polar(u: np.ndarray, v: np.ndarray, radius: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return np.hypot(u, v) < radius(np.arctan2(v, u))


def _disc(u: np.ndarray, v: np.ndarray, x: float = 0.0, y: float = 0.0, r: float = 1.0) -> np.ndarray:
    return (u - x) ** 2 + (v - y) ** 2 < r * r


def _blob(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    wave, phase = rng.uniform(0.08, 0.16, 3), rng.uniform(0, 2 * np.pi, 3)
    return _polar(u, v, lambda t: 0.7 + sum(wave[k] * np.cos((k + 2) * t + phase[k]) for k in range(3)))


def _gear(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    teeth = int(rng.integers(8, 12))
    return _polar(u, v, lambda t: np.where(np.cos(teeth * t) > 0, 1.0, 0.78)) & ~_disc(u, v, r=rng.uniform(0.2, 0.35))


def _flower(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    petals = int(rng.integers(4, 7))
    return _polar(u, v, lambda t: 0.68 + 0.3 * np.cos(petals * t))


def _cloud(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    size = rng.uniform(0.34, 0.44, 4)
    discs = [
        _disc(u, v, x, y, r) for x, y, r in zip((-0.55, -0.1, 0.3, 0.6), (0.1, -0.2, -0.1, 0.15), size, strict=True)
    ]
    return np.logical_or.reduce(discs) | _bars(u, v, (-0.6, 0.1, 0.65, 0.45))


def _wave(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    middle = 0.55 * np.sin(rng.uniform(3.6, 4.6) * u)
    return (np.abs(v - middle) < 0.3) & (np.abs(u) < 1)


def _zigzag(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    middle = 0.8 * (2 * np.abs((u * rng.uniform(0.7, 0.9)) % 1 - 0.5) - 0.5) * 1.4
    return (np.abs(v - middle) < 0.28) & (np.abs(u) < 1)


def _heart(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    x, y = 1.2 * u, -1.2 * v * rng.uniform(0.9, 1.05) + 0.1
    return (x * x + y * y - 1) ** 3 - x * x * y**3 < 0


def _letter(*boxes: tuple[float, float, float, float]) -> Shape:
    """A letter of bars, whose width in x varies."""
    return lambda u, v, rng: _bars(u / rng.uniform(0.7, 1.0), v, *boxes)


def _corners(*corners: tuple[float, float]) -> Shape:
    """A polygon whose width in x varies."""
    return lambda u, v, rng: polygon(u / rng.uniform(0.7, 1.0), v, corners)


SHAPES: dict[str, Shape] = {
    "disc": lambda u, v, rng: _disc(u / rng.uniform(0.75, 1.0), v),
    "ring": lambda u, v, rng: _disc(u, v) & ~_disc(u, v, r=rng.uniform(0.45, 0.6)),
    "star": lambda u, v, rng: _regular(u, v, int(rng.integers(5, 8)), rng.uniform(0.4, 0.55)),
    "gear": _gear,
    "cross": lambda u, v, rng: _bars(u, v, (-1, -0.3, 1, 0.3), (-0.3, -1, 0.3, 1)),
    "triangle": lambda u, v, rng: _regular(u / rng.uniform(0.7, 1.0), v, 3),
    "square": lambda u, v, rng: _bars(u, v, (-0.8, -0.8 * (s := rng.uniform(0.6, 1.0)), 0.8, 0.8 * s)),
    "hexagon": lambda u, v, rng: _regular(u / rng.uniform(0.85, 1.0), v, 6),
    "half disc": lambda u, v, rng: _disc(u, v - 0.4) & (v - 0.4 < rng.uniform(0.0, 0.1)),
    "flower": _flower,
    "blob": _blob,
    "sector": lambda u, v, rng: _disc(u, v) & (np.abs(np.arctan2(v, u)) > rng.uniform(0.4, 0.8)),
    "frame": lambda u, v, rng: (
        _bars(u, v, (-0.85, -0.85, 0.85, 0.85)) & (np.maximum(abs(u), abs(v)) > rng.uniform(0.4, 0.5))
    ),
    "dumbbell": lambda u, v, rng: (
        _disc(u, v, -0.6, 0, 0.4) | _disc(u, v, 0.6, 0, rng.uniform(0.35, 0.4)) | _bars(u, v, (-0.6, -0.15, 0.6, 0.15))
    ),
    "house": _corners((-0.8, 0.9), (-0.8, -0.2), (0, -1), (0.8, -0.2), (0.8, 0.9)),
    "zigzag": _zigzag,
    "letter L": _letter((-0.7, -1, -0.15, 1), (-0.7, 0.45, 0.8, 1)),
    "letter T": _letter((-0.9, -1, 0.9, -0.45), (-0.28, -1, 0.28, 1)),
    "crescent": lambda u, v, rng: _disc(u, v) & ~_disc(u, v, rng.uniform(0.35, 0.5), 0, 0.8),
    "letter U": _letter((-0.85, -1, -0.35, 1), (0.35, -1, 0.85, 1), (-0.85, 0.5, 0.85, 1)),
    "letter E": _letter((-0.75, -1, -0.25, 1), (-0.75, -1, 0.8, -0.6), (-0.75, -0.2, 0.6, 0.2), (-0.75, 0.6, 0.8, 1)),
    "drop": lambda u, v, rng: _disc(u, v, 0, 0.4, 0.58) | polygon(u, v, [(0, -1), (0.52, 0.15), (-0.52, 0.15)]),
    "bolt": _corners((0.3, -1), (-0.7, 0.15), (-0.05, 0.15), (-0.35, 1), (0.7, -0.25), (0.05, -0.25)),
    "hourglass": _corners((-0.8, -0.95), (0.8, -0.95), (0.15, 0), (0.8, 0.95), (-0.8, 0.95), (-0.15, 0)),
    "heart": _heart,
    "arrow": _corners((0, -1), (0.85, -0.1), (0.32, -0.1), (0.32, 1), (-0.32, 1), (-0.32, -0.1), (-0.85, -0.1)),
    "letter H": _letter((-0.85, -1, -0.35, 1), (0.35, -1, 0.85, 1), (-0.85, -0.25, 0.85, 0.25)),
    "letter Z": _corners(
        (-0.8, -1),
        (0.8, -1),
        (0.8, -0.5),
        (-0.05, 0.5),
        (0.8, 0.5),
        (0.8, 1),
        (-0.8, 1),
        (-0.8, 0.5),
        (0.05, -0.5),
        (-0.8, -0.5),
    ),
    "cloud": _cloud,
    "fish": lambda u, v, rng: (
        _disc(u + 0.25, v / rng.uniform(0.55, 0.7), r=0.7) | polygon(u, v, [(0.2, 0), (0.95, -0.55), (0.95, 0.55)])
    ),
    "wave": _wave,
    "key": lambda u, v, rng: (
        (_disc(u, v, -0.55, 0, 0.45) & ~_disc(u, v, -0.55, 0, rng.uniform(0.15, 0.22)))
        | _bars(u, v, (-0.2, -0.15, 1, 0.15), (0.4, 0, 0.6, 0.45), (0.78, 0, 1, 0.45))
    ),
}
"""Name of each family to its test; the order is part of the definition of the synthetic classes."""
