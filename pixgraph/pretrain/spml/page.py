"""What SPML's run shows: segments and embeddings of training pictures, and the nearest training segments of others."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pixgraph.data.images import resize_mask
from pixgraph.data.semantic import SemanticSplit
from pixgraph.overlay import overlay
from pixgraph.pretrain.score_page import label_colours, small_tile
from pixgraph.pretrain.spml.method import SPML
from pixgraph.pretrain.spml.retrieval import SegmentRetrieval
from pixgraph.pretrain.spml.retrieval_sheet import draw_questions, retrieval_sheet
from pixgraph.pretrain.spml.scoring import score_classes
from pixgraph.pretrain.spml.source import WeakPicture, WeakSource
from pixgraph.pretrain.validation import Validation
from pixgraph.probe.colors import paint_cells
from pixgraph.report.panels import Panel
from pixgraph.report.sheets import Sheet, save_sheets
from pixgraph.training.records import plain

REGIONS = {"slic": "SLIC", "felzenszwalb": "Felzenszwalb", "none": "none"}
BORDER = (255, 235, 59)


@torch.no_grad()
def save_segments(run_folder: str | Path, method: SPML, source: WeakSource, count: int = 4) -> None:
    """Keep training pictures with their marks, low-level regions, segments and embeddings for the run's page.

    Args:
        run_folder: The run.
        method: Evaluating afterwards.
        source: The training pictures.
        count: Pictures, evenly spaced.
    """
    method.eval()
    indices = source.labels.indices
    chosen = [indices[i * len(indices) // min(count, len(indices))] for i in range(min(count, len(indices)))]
    pictures = [source.read(index) for index in chosen]
    device = method.network.mean.device
    units = [method.embed(p.pixels[None].to(device).float() / 255)[0] for p in pictures]
    sizes = [(int(p.label.shape[0]), int(p.label.shape[1])) for p in pictures]
    colours = paint_cells([unit.permute(1, 2, 0).cpu() for unit in units], sizes)
    panels = []
    for index, picture, unit, painted in zip(chosen, pictures, units, colours, strict=True):
        rgb = picture.pixels.permute(1, 2, 0).numpy()
        tiles = [
            small_tile("picture", rgb),
            small_tile("labels that are given", overlay(rgb, label_colours(picture.label.numpy()))),
            small_tile(f"regions ({REGIONS[source.regions]})", outlined(rgb, picture.region.numpy())),
            small_tile("segments", outlined(rgb, _segments(method, unit, picture))),
            small_tile("embedding", painted),
        ]
        panels.append(Panel(source.labels.split.keys[index], "", tiles))
    title = "Training pictures; the embedding's three principal components as colours"
    save_sheets(run_folder, "2-segments", title, panels=panels)


def save_retrieval(
    run_folder: str | Path, retrieval: SegmentRetrieval, train: SemanticSplit, validation: Validation
) -> dict[str, Any]:
    """Score segment retrieval on the validation pictures, and keep table and panels for the run's page.

    Args:
        run_folder: The run.
        retrieval: With a bank of `train`.
        train: The pictures of the bank.
        validation: Says which pictures are scored.

    Returns:
        The scores as JSON values.
    """
    scored, short = validation.split, validation.side
    found = score_classes(retrieval.classify, scored, validation.indices, short, retrieval.device)
    scores: dict[str, Any] = plain(found.to_dict(scored.names))
    rows = [["class", "IoU %"], *zip(scored.names, map(_percent, scores["iou"]), strict=True)]
    rows += [["mean of classes", _percent(scores["miou"])], ["pixels right", _percent(scores["pixel_accuracy"])]]
    questions = draw_questions(retrieval, scored, validation.indices, 1, short, 0)[:12]
    sheets = []
    if questions:
        buffer = io.BytesIO()
        retrieval_sheet(retrieval, train, scored, questions, short).save(buffer, "PNG")
        sheets.append(
            Sheet("A segment that asks, and the nearest training segments: green of its class", buffer.getvalue())
        )
    title = f"By retrieval: the class of most of the {retrieval.neighbours} nearest training segments"
    save_sheets(run_folder, "3-retrieval", title, sheets, [list(row) for row in rows])
    return scores


def outlined(rgb: np.ndarray, region: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) uint8 with the borders of regions (H, W)."""
    from skimage.segmentation import find_boundaries

    shown = rgb.copy()
    shown[find_boundaries(region, mode="inner")] = BORDER
    return shown


def _segments(method: SPML, unit: torch.Tensor, picture: WeakPicture) -> np.ndarray:
    """Segments (H, W) of a whole picture without its labels, at its size."""
    nothing = torch.full(unit.shape[1:], 254, device=unit.device)[None]
    found = method.segment(unit[None], nothing, None).id[0].cpu().numpy()
    return resize_mask(found.astype(np.uint8), (int(picture.label.shape[0]), int(picture.label.shape[1])))


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
