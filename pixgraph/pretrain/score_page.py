"""What the page of a run says of a network that segments: IoU of each class, and pictures beside their truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pixgraph.data.base import IGNORE, UNLABELLED
from pixgraph.data.images import palette
from pixgraph.overlay import overlay
from pixgraph.pretrain.segmentation_network import SegmentationNetwork
from pixgraph.pretrain.validation import Validation, predict
from pixgraph.report.panels import Panel
from pixgraph.report.sheets import Sheet, save_sheets
from pixgraph.report.tiles import Tile

SIDE = 240
"""Longer side of a small picture."""


def save_scores(
    run_folder: str | Path, validation: Validation, network: SegmentationNetwork, count: int = 4, who: str = "teacher"
) -> None:
    """Keep the class table and some pictures of a validation for the run's page.

    Args:
        run_folder: The run.
        validation: Its last call's scores are shown.
        network: What was scored.
        count: Pictures, evenly spaced.
        who: What to call the network.
    """
    scores = validation.to_dict()
    table = [["class", "IoU %", "pixels %"]]
    shares = validation.confusion.counts.sum(1) / max(1, validation.confusion.counts.sum())
    for name, iou, share in zip(scores["classes"], scores["iou"], shares, strict=True):
        table.append([name, _percent(iou), _percent(float(share))])
    table.append(["mean of classes", _percent(scores["miou"]), ""])
    table.append(["pixels right", _percent(scores["pixel_accuracy"]), ""])
    indices = validation.indices
    chosen = [indices[i * len(indices) // min(count, len(indices))] for i in range(min(count, len(indices)))]
    network.eval()
    panels = []
    for index in chosen:
        picture, truth = validation.picture(index)
        label, confidence = predict(network, picture, tuple(picture.shape[1:]))
        rgb = picture.permute(1, 2, 0).numpy()
        tiles = [
            small_tile("picture", rgb),
            small_tile("truth", overlay(rgb, label_colours(_nearest(truth, label.shape)))),
            small_tile("prediction", overlay(rgb, label_colours(label))),
            small_tile(f"confidence of the {who}", heat(confidence)),
        ]
        panels.append(Panel(validation.split.keys[index], "", tiles))
    title = f"The {who} on {scores['data']}/{scores['split']}: {scores['pictures']} pictures"
    save_sheets(run_folder, "1-scores", title, [Sheet("Colours", legend(validation.split.names))], table, panels)


def heat(confidence: np.ndarray) -> np.ndarray:
    """Confidence (H, W) in 0..1 as colours (H, W, 3) uint8: dark at 0, bright yellow at 1."""
    from matplotlib import colormaps

    return np.round(colormaps["viridis"](np.clip(confidence, 0, 1))[..., :3] * 255).astype(np.uint8)


def legend(names: Sequence[str]) -> bytes:
    """The classes in their colours as a PNG."""
    import io

    from PIL import Image, ImageDraw

    columns = 4
    rows = -(-len(names) // columns)
    picture = Image.new("RGB", (columns * 150, rows * 20 + 4), "white")
    draw = ImageDraw.Draw(picture)
    for number, name in enumerate(names):
        left, top = number % columns * 150 + 4, number // columns * 20 + 4
        draw.rectangle((left, top, left + 14, top + 13), fill=tuple(palette()[number + 1].tolist()), outline="black")
        draw.text((left + 20, top + 1), name.encode("ascii", "replace").decode()[:20], fill="black")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def label_colours(label: np.ndarray) -> np.ndarray:
    """Class numbers to the numbers of their colours; 0, which is not tinted, is for what has no class."""
    return np.where(label >= UNLABELLED, np.where(label == IGNORE, IGNORE, 0), label + 1).astype(np.uint8)


def _nearest(label: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    rows, columns = (np.arange(n) * old // n for n, old in zip(size, label.shape, strict=True))
    return label[rows[:, None], columns[None]]


def small_tile(caption: str, image: np.ndarray) -> Tile:
    """A picture (H, W, 3) uint8 whose longer side is at most `SIDE`, with words below it."""
    from PIL import Image

    height, width = image.shape[:2]
    scale = SIDE / max(height, width)
    if scale < 1:
        size = (round(width * scale), round(height * scale))
        image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    return Tile(caption, image)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
