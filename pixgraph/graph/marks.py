"""The pixel graph of one support picture: marked nodes, nodes that nobody marked, and the lattice that joins them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from pixgraph.config import GraphConfig
from pixgraph.data.base import UNLABELLED as NOT_MARKED
from pixgraph.data.picture import Picture
from pixgraph.errors import DataError
from pixgraph.graph.backend import Graph, make_graph
from pixgraph.graph.cells import picture_cells
from pixgraph.graph.edge_blocks import LatticeEdges, written
from pixgraph.graph.lattice import check_dilations
from pixgraph.graph.support import SUPPORT, UNLABELLED


def mark_graph(
    picture: Picture, stride: int, dilations: Sequence[int] = (1,), connectivity: int = 8, color: str = "mean_abs"
) -> Graph:
    """The lattice of a support picture with its marks.

    Args:
        picture: With a label.
        stride: Side of a node's cell, in pixels; it must divide both sides of the picture.
        dilations: Distances of the lattice, in nodes.
        connectivity: 4 or 8.
        color: Colour difference in the edge feature.

    Returns:
        Graph with ndata ``rgbxy`` (V, 5) float32, ``image`` (V,) int64 zero, ``role`` (V,) uint8 (a support node, or an
        unlabelled one), ``label`` (V,) int64: the commonest mark in the cell, 254 where there is none; and edata
        ``feature`` (E, 3) float32, ``kind`` (E,) uint8, as `pixgraph.graph.task.task_graph` describes them.

    Raises:
        ConfigError: The stride does not divide the picture's sides, or a dilation spans the grid.
        DataError: There is no label, or the colours are not finite.
    """
    if picture.label is None:
        raise DataError(f"support {picture.key!r}: got no label, expected marks; give it some or pass it as unlabelled")
    cells = picture_cells(picture, stride, 0, None)
    check_dilations(cells.height, cells.width, dilations)
    config = GraphConfig(stride=stride, dilations=list(dilations), connectivity=connectivity, color=color)  # type: ignore[arg-type]
    edges = written([LatticeEdges(cells, config)], cells.rgbxy.T.contiguous(), config)
    label = _cell_marks(sure_label(picture), cells.height, cells.width)
    role = torch.where(label == NOT_MARKED, UNLABELLED, SUPPORT).to(torch.uint8)
    ndata = {"rgbxy": cells.rgbxy, "image": torch.zeros_like(label), "role": role, "label": label}
    return make_graph(edges.src, edges.dst, len(label), ndata, {"feature": edges.feature, "kind": edges.kind})


def sure_label(picture: Picture) -> torch.Tensor:
    """The label (H, W) of a support, 254 also where it is only likely."""
    assert picture.label is not None
    return picture.label if picture.rough is None else picture.label.masked_fill(picture.rough, NOT_MARKED)


def _cell_marks(label: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """The commonest of the labels below 254 in each cell, the lower of several; 254 where there is none: (n,)."""
    shown = label.unique()
    shown = shown[shown < NOT_MARKED]
    if not len(shown):
        return label.new_full((rows * columns,), NOT_MARKED)
    planes = (label == shown[:, None, None]).float()[None]  # (1, C, H, W)
    share = F.adaptive_avg_pool2d(planes, (rows, columns))[0].flatten(1)  # (C, n)
    most, which = share.max(0)
    return torch.where(most > 0, shown[which], NOT_MARKED)
