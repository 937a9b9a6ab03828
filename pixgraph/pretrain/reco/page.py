"""What ReCo's run shows of its pseudo labels: pictures with the teacher's labels and its confidence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from pixgraph.data.semantic import SemanticSplit
from pixgraph.overlay import overlay
from pixgraph.pretrain.score_page import heat, label_colours, small_tile
from pixgraph.pretrain.segmentation_network import SegmentationNetwork
from pixgraph.pretrain.validation import predict, shrink
from pixgraph.report.panels import Panel
from pixgraph.report.sheets import save_sheets


def save_pseudo_labels(
    run_folder: str | Path,
    split: SemanticSplit,
    indices: Sequence[int],
    network: SegmentationNetwork,
    side: int,
    threshold: float,
) -> None:
    """Keep pictures of the teacher's labels on unlabelled training pictures, with and without the unsure ones.

    Args:
        run_folder: The run.
        split: The training pictures.
        indices: Which to show.
        network: The teacher.
        side: Short side to which pictures are shrunk; 0: none.
        threshold: Pixels below this confidence are left out of the contrast.
    """
    network.eval()
    panels = []
    for index in indices:
        rgb = split.read_image(index)
        picture = shrink(torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1), side)
        label, confidence = predict(network, picture, tuple(picture.shape[1:]))
        small = picture.permute(1, 2, 0).numpy()
        kept = np.where(confidence >= threshold, label_colours(label), 0).astype(np.uint8)
        tiles = [
            small_tile("picture", small),
            small_tile("pseudo label", overlay(small, label_colours(label))),
            small_tile(f"confidence >= {threshold:g}", overlay(small, kept)),
            small_tile("confidence", heat(confidence)),
        ]
        share = 100 * float((confidence >= threshold).mean())
        panels.append(Panel(split.keys[index], f"{share:.0f} % of the pixels are at {threshold:g} or above", tiles))
    title = f"Pseudo labels on unlabelled pictures of {split.name}/{split.split}"
    save_sheets(run_folder, "2-pseudo", title, panels=panels)
