"""Pictures of two views and their positive pairs, to see what a pretraining pulls together."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from pixgraph.errors import DataError
from pixgraph.pretrain.config import PretrainConfig
from pixgraph.pretrain.pairs import cell_centres, positive_pairs
from pixgraph.pretrain.pictures import Pictures
from pixgraph.pretrain.views import View, ViewDataset

RED, BLUE, GREEN = (214, 39, 40), (31, 119, 255), (40, 190, 60)
"""First view, second view, positive."""

_CAPTION, _GAP, _BETWEEN = 16, 12, 40  # pixels: above a panel, between panels, between the views for the lines
_WIDEST = 1.5  # of the picture's panel, in sides


def write_pair_pictures(
    config: PretrainConfig, pictures: Pictures, out: str | Path, count: int = 4, cells: int = 8
) -> None:
    """Write the views and positive pairs of the first pictures of a training, a row each, as PNG.

    Args:
        config: Views, seed, threshold and rule of pairs.
        pictures: The training's pictures.
        out: File to write; it appears whole or not at all.
        count: Pictures to draw, at least 1; no more than there are.
        cells: Rows and columns of the feature map to show.

    Raises:
        DataError: Too many pictures cannot be read, or the file cannot be written.
    """
    dataset = ViewDataset(pictures, config.views, config.seed)
    rows = []
    for draw in range(min(count, len(dataset))):
        first, second, index = dataset[draw]
        shape, pixel = (cells, cells), config.pixel
        pairs = positive_pairs(first.rect[None], second.rect[None], shape, pixel.threshold, pixel.pairs)[0]
        rows.append(draw_pairs(pictures[index], first, second, pairs, shape))
    _write(_stacked(rows), Path(out))


def draw_pairs(
    picture: torch.Tensor, first: View, second: View, pairs: torch.Tensor, shape: Sequence[int], side: int = 256
) -> Image.Image:
    """A picture with the rectangles and cell centres of two views, beside the views with their matched cells joined.

    The first view is red, the second blue, cells with a partner green. A line goes from every matched cell of the first
    view, or from some where there are many, to its nearest partner.

    Args:
        picture: (3, H, W) uint8.
        first: The first view.
        second: The second view.
        pairs: bool (hw, hw): cell of the first view, cell of the second.
        shape: Rows and columns of the feature map, (h, w).
        side: Side of a drawn view in pixels.

    Returns:
        RGB.
    """
    pairs = pairs.cpu()
    caption = (int(_WIDEST * side), side + _CAPTION)
    sheet = Image.new("RGB", (caption[0] + _GAP + 2 * side + _BETWEEN, caption[1]), "white")
    sheet.paste(_places(picture, (first, second), pairs, shape, side), (0, _CAPTION))
    corners = [(caption[0] + _GAP, _CAPTION), (caption[0] + _GAP + side + _BETWEEN, _CAPTION)]
    matched = [pairs.any(dim=1), pairs.any(dim=0)]
    for view, corner, cells, colour in zip((first, second), corners, matched, (RED, BLUE), strict=True):
        sheet.paste(_gridded(view.pixels, cells, shape, side, colour), corner)
    draw = ImageDraw.Draw(sheet)
    draw.text((0, 2), "rectangles and cell centres", fill="black")
    draw.text((corners[0][0], 2), f"view 1: {int(matched[0].sum())} of {len(pairs)} cells matched", fill=RED)
    draw.text((corners[1][0], 2), f"view 2: {int(pairs.sum())} pairs", fill=BLUE)
    for a, b in _joined(pairs, first, second, shape):
        ends = [_middle(cell, shape, side, corner) for cell, corner in zip((a, b), corners, strict=True)]
        draw.line(ends, fill=GREEN, width=1)
    return sheet


def _places(
    picture: torch.Tensor, views: tuple[View, View], pairs: torch.Tensor, shape: Sequence[int], side: int
) -> Image.Image:
    """The picture, paler, with the views' rectangles and cell centres."""
    height, width = picture.shape[-2:]
    scale = min(side / height, _WIDEST * side / width)
    size = (max(2, round(width * scale)), max(2, round(height * scale)))  # (width, height)
    rgb = np.ascontiguousarray(picture.permute(1, 2, 0).cpu().numpy())
    panel = Image.blend(Image.fromarray(rgb).resize(size), Image.new("RGB", size, "white"), 0.4)
    draw = ImageDraw.Draw(panel)
    reach = torch.tensor([size[0] - 1, size[1] - 1])
    radius = 1.5 if shape[0] * shape[1] <= 256 else 0.5
    for view, colour in zip(views, (RED, BLUE), strict=True):
        x1, y1, x2, y2 = (view.rect.cpu() * reach.repeat(2)).tolist()
        draw.rectangle([min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)], outline=colour, width=2)
    for which, (view, colour) in enumerate(zip(views, (RED, BLUE), strict=True)):
        matched = pairs.any(dim=1 - which).tolist()
        centres = (cell_centres(view.rect.cpu()[None], shape)[0] * reach).tolist()
        for (x, y), has_partner in zip(centres, matched, strict=True):
            r = 2 * radius if has_partner else radius
            draw.ellipse([x - r, y - r, x + r, y + r], fill=GREEN if has_partner else colour, outline=colour)
    return panel


def _gridded(
    pixels: torch.Tensor, matched: torch.Tensor, shape: Sequence[int], side: int, colour: tuple[int, int, int]
) -> Image.Image:
    """A view (3, S, S) with its grid of cells, those of `matched` (hw,) tinted green."""
    rgb = (pixels.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    panel = Image.fromarray(np.ascontiguousarray(rgb)).resize((side, side))
    draw = ImageDraw.Draw(panel, "RGBA")
    rows, columns = shape
    if max(shape) <= side // 6:  # finer grids would hide the view; green lies over the grid
        for row in range(rows + 1):
            draw.line([0, row * side / rows, side, row * side / rows], fill=(*colour, 150))
        for column in range(columns + 1):
            draw.line([column * side / columns, 0, column * side / columns, side], fill=(*colour, 150))
    for cell in matched.nonzero().flatten().tolist():
        row, column = divmod(cell, columns)
        box = [column * side / columns, row * side / rows, (column + 1) * side / columns, (row + 1) * side / rows]
        draw.rectangle(box, fill=(*GREEN, 70), outline=(*GREEN, 255))
    return panel


def _joined(
    pairs: torch.Tensor, first: View, second: View, shape: Sequence[int], most: int = 24
) -> list[tuple[int, int]]:
    """Matched cells of the first view, evenly chosen, each with its nearest partner."""
    ours, theirs = (cell_centres(view.rect.cpu()[None], shape)[0] for view in (first, second))
    distance = torch.cdist(ours, theirs).masked_fill(~pairs, torch.inf)  # (hw, hw)
    cells = pairs.any(dim=1).nonzero().flatten().tolist()
    chosen = [cells[i * len(cells) // min(most, len(cells))] for i in range(min(most, len(cells)))]
    return [(cell, int(distance[cell].argmin())) for cell in chosen]


def _middle(cell: int, shape: Sequence[int], side: int, corner: tuple[int, int]) -> tuple[float, float]:
    """Where the middle of a cell is drawn: x and y."""
    row, column = divmod(cell, shape[1])
    return corner[0] + (column + 0.5) * side / shape[1], corner[1] + (row + 0.5) * side / shape[0]


def _stacked(rows: Sequence[Image.Image]) -> Image.Image:
    """Pictures of one width below each other."""
    sheet = Image.new("RGB", (rows[0].width, sum(row.height + _GAP for row in rows) - _GAP), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height + _GAP
    return sheet


def _write(image: Image.Image, path: Path) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(temporary, format="PNG")
        temporary.replace(path)
    except OSError as error:
        if temporary.is_file():
            temporary.unlink()
        raise DataError(f"{path}: cannot write the picture ({error.strerror or error}); check the folder") from error
