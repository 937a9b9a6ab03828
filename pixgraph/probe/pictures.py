"""The pictures of a probe: what a query found, the embedding in colours, and similarity to single pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from pixgraph.data.base import IGNORE
from pixgraph.data.images import resize_mask
from pixgraph.data.picture import Picture
from pixgraph.overlay import edges, overlay
from pixgraph.probe.colors import pca_colors
from pixgraph.probe.gallery import Gallery
from pixgraph.probe.retrieval import Hits, Query, UnitsOf
from pixgraph.probe.sheet import PLAIN, RIGHT, WRONG, Cell, cell_size, draw_sheet
from pixgraph.probe.similarity import heat, mark, similarity_at, similarity_map
from pixgraph.probe.units import Units

_RING = (255, 255, 255)
_PLACES = ((0.35, 0.25), (0.5, 0.5), (0.75, 0.75))
"""Row and column, in shares of height and width, of the pixels whose similarity is drawn."""


def retrieval_sheet(
    gallery: Gallery, units_of: UnitsOf, queries: Sequence[Query], hits: Hits, rows: Sequence[int]
) -> Image.Image:
    """A row a query: its picture with the unit, then each answer's picture under the heat of its similarity.

    Args:
        gallery: The pictures.
        units_of: Their units.
        queries: All queries.
        hits: Their answers.
        rows: Numbers of the queries that are drawn.
    """
    lines = []
    for row in rows:
        query = queries[row]
        units = units_of(query.picture)
        vector = units.vectors[query.unit]
        name = gallery.class_names.get(query.kind, "") if query.kind is not None else gallery.key(query.picture)
        line = [Cell(_marked(_rgb(gallery.picture(query.picture)), units, query.unit), f"query: {name}")]
        for column in range(hits.picture.shape[1]):
            number = int(hits.picture[row, column])
            if number >= 0:
                line.append(_answer(gallery, units_of(number), query, hits, row, column, vector))
        lines.append(line)
    return draw_sheet(lines, cell_size([gallery.picture(queries[row].picture).size for row in rows]))


def color_sheet(gallery: Gallery, numbers: Sequence[int]) -> Image.Image:
    """Pictures, below them their embedding in colours, below these their masks where there are any.

    Args:
        gallery: The pictures.
        numbers: Which.
    """
    pictures = [gallery.picture(number) for number in numbers]
    painted = pca_colors(pictures, gallery.embedding)
    rows = [
        [Cell(_rgb(picture), gallery.key(number)) for picture, number in zip(pictures, numbers, strict=True)],
        [Cell(colours, "embedding") for colours in painted],
    ]
    masks = [gallery.mask(number) for number in numbers]
    if all(mask is not None for mask in masks):
        rows.append([Cell(_tinted(p, m), "classes") for p, m in zip(pictures, masks, strict=True) if m is not None])
    return draw_sheet(rows, cell_size([picture.size for picture in pictures]))


def similarity_sheet(gallery: Gallery, numbers: Sequence[int]) -> Image.Image:
    """A row a picture: similarity of all its pixels to one of three, which wears a ring.

    Args:
        gallery: The pictures.
        numbers: Which.
    """
    rows = []
    for number in numbers:
        picture = gallery.picture(number)
        rgb = _rgb(picture)
        cells = [Cell(rgb, gallery.key(number))]
        for share in _PLACES:
            row, column = (int(s * side) for s, side in zip(share, rgb.shape[:2], strict=True))
            found, _ = similarity_at(picture, row, column, gallery.embedding)
            cells.append(Cell(mark(heat(rgb, found), row, column, _RING), f"similar to ({column}, {row})"))
        rows.append(cells)
    return draw_sheet(rows, cell_size([gallery.picture(number).size for number in numbers]))


def spread_out(numbers: Sequence[int], count: int) -> list[int]:
    """At most `count` of `numbers` at even steps.

    Example:
        >>> spread_out([4, 5, 6, 7, 8], 2)
        [4, 6]
    """
    count = min(count, len(numbers))
    return [numbers[i * len(numbers) // count] for i in range(count)]


def _answer(
    gallery: Gallery, units: Units, query: Query, hits: Hits, row: int, column: int, vector: np.ndarray
) -> Cell:
    """One answer with its heat map, framed by whether its class is the query's."""
    kind, unit = int(hits.kind[row, column]), int(hits.unit[row, column])
    picture = gallery.picture(int(hits.picture[row, column]))
    shown = heat(_rgb(picture), similarity_map(picture, vector, gallery.embedding))
    known = query.kind is not None and kind != IGNORE
    frame = (RIGHT if kind == query.kind else WRONG) if known else PLAIN
    name = gallery.class_names.get(kind, "") if known else ""
    return Cell(_marked(shown, units, unit), f"{hits.similarity[row, column]:.2f} {name}", frame)


def _marked(rgb: np.ndarray, units: Units, unit: int) -> np.ndarray:
    """A ring at the unit's middle; a segment, which is no rectangle of the grid, is outlined."""
    own = units.where == unit
    row, column = units.centres[unit]
    inside = np.argwhere(own)
    height, width = inside.max(0) - inside.min(0) + 1
    if len(inside) == height * width:
        return mark(rgb, row, column, _RING)
    outlined = rgb.copy()
    outlined[edges(own.astype(np.uint8))] = _RING
    return outlined


def _rgb(picture: Picture) -> np.ndarray:
    """The picture at the working size, (H, W, 3) uint8."""
    return (255 * picture.rgb).round().byte().permute(1, 2, 0).cpu().numpy()


def _tinted(picture: Picture, mask: np.ndarray) -> np.ndarray:
    rgb = _rgb(picture)
    return overlay(rgb, resize_mask(mask, (rgb.shape[0], rgb.shape[1])))
