"""A picture of a task graph: its nodes over the photographs and a sample of its edges by kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from pixgraph.data.base import UNLABELLED
from pixgraph.data.picture import FewShotTask, Picture
from pixgraph.errors import ConfigError
from pixgraph.graph.backend import Graph
from pixgraph.graph.edges import EdgeKind
from pixgraph.graph.segment_map import segment_map

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEGEND = 0.7
"""Inches for the legend below the pictures."""
GAP = 0.05
"""Space between pictures, as a share of the widest."""
OUTLINE = (1.0, 0.92, 0.23)
"""Colour of the outlines of segments."""
NODE_COLORS = ("#3d6fb4", "#e4572e", "#f3a712", "#2a9d5c", "#a23e9e", "#00a5a8", "#8c564b", "#d62780")
"""Background, then the classes, over and over."""
EDGE_COLORS = ("#7aa6d8", "#ff9b71", "#c9c9c9", "#111111", "#b58cff", "#21c55d", "#0ea5e9", "#facc15")


def draw_graph(task: FewShotTask, graph: Graph, edges_per_kind: int = 30, seed: int = 0) -> Figure:
    """Draw the pictures of a task side by side with the support nodes in their labels' colours and some edges.

    Of a graph of segments their outlines are shown too.

    Args:
        task: The task that `graph` was made from.
        graph: Result of `task_graph` (or of `support_graph`: then only the supports are shown).
        edges_per_kind: Edges drawn of each kind, a random sample.
        seed: Seed of the sample.

    Returns:
        A matplotlib figure, which belongs to no window; save it with ``figure.savefig``.

    Raises:
        ConfigError: The graph has more pictures than the task.
    """
    from matplotlib.figure import Figure

    image = graph.ndata["image"].cpu()
    pictures = [*task.support, *task.query, *task.unlabelled]
    shown = int(image.max()) + 1
    if shown > len(pictures):
        raise ConfigError(
            f"draw_graph: the graph has {shown} pictures, the task {len(pictures)}; pass the graph's own task"
        )
    sizes = np.array([p.rgb.shape[1:] for p in pictures[:shown]])
    offset = np.concatenate([[0], np.cumsum(sizes[:, 1] + GAP * sizes[:, 1].max())])
    width = min(max(2.6 * shown, 5.2), 20)
    picture = width * sizes[:, 0].max() * 1.12 / offset[-1]  # inches, with the roles above
    height = picture + LEGEND
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0.01, LEGEND / height, 0.98, picture / height))
    _draw_pictures(axes, task, offset[:shown], graph)
    # From 0..1 to the pixels of the common canvas.
    xy = graph.ndata["rgbxy"].cpu().numpy()[:, 3:] * (sizes[image.numpy()][:, ::-1] - 1)
    xy[:, 0] += offset[image.numpy()]
    _draw_edges(axes, graph, xy, edges_per_kind, np.random.default_rng(seed))
    _draw_nodes(axes, graph.ndata["label"].cpu(), xy)
    axes.set(xlim=(-0.5, offset[-1]), ylim=(sizes[:, 0].max() - 0.5, -0.1 * sizes[:, 0].max()))
    axes.axis("off")
    columns = max(2, int(width / 1.7))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=columns, fontsize=8, frameon=False)
    return figure


def _draw_pictures(axes: Axes, task: FewShotTask, offset: np.ndarray, graph: Graph) -> None:
    """The photographs with their roles above, each from its own x on."""
    pictures = [*task.support, *task.query, *task.unlabelled]
    roles = ["support"] * len(task.support) + ["query"] * len(task.query) + ["unlabelled"] * len(task.unlabelled)
    for picture, role, left in zip(pictures, roles, offset, strict=False):
        height, width = picture.rgb.shape[1:]
        axes.imshow(
            _shown(picture, graph),
            extent=(left - 0.5, left + width - 0.5, height - 0.5, -0.5),
        )
        axes.text(left, -0.02 * height, role, va="bottom", fontsize=9)


def _shown(picture: Picture, graph: Graph) -> np.ndarray:
    """The picture (H, W, 3), with the outlines of its segments where these are nodes."""
    rgb: np.ndarray = picture.rgb.cpu().permute(1, 2, 0).clamp(0, 1).numpy().copy()
    if "segments" in graph.ndata:
        where = segment_map(picture, int(graph.ndata["segments"][0])).where.cpu().numpy()
        border = np.zeros(where.shape, bool)
        border[1:] |= where[1:] != where[:-1]
        border[:, 1:] |= where[:, 1:] != where[:, :-1]
        rgb[border] = 0.5 * (rgb[border] + OUTLINE)
    return rgb


def _draw_edges(axes: Axes, graph: Graph, xy: np.ndarray, edges_per_kind: int, rng: np.random.Generator) -> None:
    """A sample of each kind as straight lines."""
    from matplotlib.collections import LineCollection

    src, dst = (end.cpu().numpy() for end in graph.edges())
    kinds = graph.edata["kind"].cpu().numpy()
    for kind in EdgeKind:
        ids = np.flatnonzero(kinds == kind)
        if len(ids):
            ids = rng.choice(ids, min(edges_per_kind, len(ids)), replace=False)
            lines = np.stack([xy[src[ids]], xy[dst[ids]]], axis=1)  # (e, 2, 2)
            touching = kind == EdgeKind.LATTICE and "segments" in graph.ndata
            name = "touching" if touching else kind.name.lower().replace("_", " ")
            axes.add_collection(
                LineCollection(list(lines), colors=EDGE_COLORS[kind], linewidths=0.9, alpha=0.8, label=name)
            )


def _draw_nodes(axes: Axes, label: torch.Tensor, xy: np.ndarray) -> None:
    """Labelled nodes as dots in the colour of their class."""
    for c in label.unique().tolist():
        if c < UNLABELLED:
            at = xy[(label == c).numpy()]
            name = "background" if c == 0 else f"class {c}"
            axes.scatter(
                at[:, 0],
                at[:, 1],
                s=9,
                c=NODE_COLORS[c % len(NODE_COLORS)],
                edgecolors="white",
                linewidths=0.4,
                label=name,
            )
