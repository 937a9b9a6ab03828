"""Refuse settings that make no sense and graphs that do not fit, before any work is done."""

from __future__ import annotations

from typing import get_args, get_type_hints

import torch

from pixgraph.config import GraphConfig
from pixgraph.errors import ConfigError
from pixgraph.graph.free_memory import free_bytes

BYTES_NODE = 5 * 4 + 8 + 1 + 8 + 2 * 64 * 4
"""Data of a node, and its vector twice while neighbours are searched."""
BYTES_EDGE = 2 * 8 + 3 * 4 + 1 + 2 * 3 * 8
"""Ends and data of an edge, and the two sorted copies that message passing keeps."""
COUNTS = (
    "num_fg",
    "num_bg",
    "bg_bg",
    "fg_fg",
    "fg_bg",
    "query_support_random",
    "query_support_knn",
    "query_query_knn",
    "unlabelled_knn",
)
CHOICES = {
    name: get_args(get_type_hints(GraphConfig)[name])
    for name in ("nodes", "sampling", "fg_fg_mode", "color", "connectivity")
}
SHARE = 0.8
"""Share of the free memory that a graph may take."""
RESERVE = 2**25
"""Bytes, besides those in proportion to the graph, that the libraries may take while it is built."""
MAX_EDGES = 2**31 - 1
"""Edges that can be counted by the 32-bit numbers in which attention keeps its places."""


def check_config(config: GraphConfig) -> None:
    """Check the ranges of all settings of the graph.

    Raises:
        ConfigError: One is out of range; the message names it.
    """
    for name in COUNTS:
        if getattr(config, name) < 0:
            raise ConfigError(f"graph.{name}: got {getattr(config, name)}, expected a count of 0 or more")
    if config.stride < 1:
        raise ConfigError(f"graph.stride: got {config.stride}, expected 1 (every pixel) or more")
    if config.segments < 2:
        raise ConfigError(f"graph.segments: got {config.segments}, expected 2 segments a picture or more")
    if config.knn_block < 1:
        raise ConfigError(f"graph.knn_block: got {config.knn_block}, expected 1 (every node by itself) or more")
    for name in ("intra_ratio", "bg_bg_intra", "fg_fg_intra", "fg_bg_intra"):
        value = getattr(config, name)
        if value is not None and not 0 <= value <= 1:
            raise ConfigError(f"graph.{name}: got {value}, expected a share in 0..1")
    for name, allowed in CHOICES.items():
        if getattr(config, name) not in allowed:
            options = ", ".join(map(str, allowed))
            raise ConfigError(f"graph.{name}: got {getattr(config, name)!r}, expected one of {options}")


def count_edges(support_nodes: int, cells: int, config: GraphConfig) -> int:
    """How many edges a task graph has at most; those on the border of the lattice count as if it had none.

    Args:
        support_nodes: Number of support nodes.
        cells: Number of query and unlabelled nodes.
        config: Counts of edges.
    """
    others = max(support_nodes - 1, 0)
    support = 2 * support_nodes * sum(min(n, others) for n in (config.bg_bg, config.fg_fg, config.fg_bg))
    # Segments that touch make a planar graph: fewer than six edges a node.
    near = 6 if config.nodes == "segments" else config.connectivity * len(set(config.dilations))
    each = near + min(config.query_query_knn, cells)
    partners = min(config.query_support_knn + config.query_support_random, support_nodes)
    partners += min(config.unlabelled_knn, cells)
    return support + cells * (each + partners * (2 if config.both_ways else 1))


def estimate_bytes(support_nodes: int, cells: int, config: GraphConfig) -> int:
    """Memory that a task graph takes at most while it is built and used once, without the model's activations.

    Measured peaks, of building and of the edges sorted both ways beside the graph, lie between a half and all of it
    from 128 x 128 nodes on (`benchmarks/speed_graph.py`); for small graphs add `RESERVE`.

    Args:
        support_nodes: Number of support nodes.
        cells: Number of query and unlabelled nodes.
        config: Counts of edges.
    """
    return (support_nodes + cells) * BYTES_NODE + count_edges(support_nodes, cells, config) * BYTES_EDGE


def check_fits(support_nodes: int, cells: int, config: GraphConfig, device: torch.device, more: int = 0) -> None:
    """Refuse a graph that has too many edges or would not fit into memory, before anything of it is built.

    Args:
        support_nodes: Number of support nodes.
        cells: Number of query and unlabelled nodes.
        config: Counts of edges.
        device: Where it would be.
        more: Further bytes that are needed beside it.

    Raises:
        ConfigError: There may be more than `MAX_EDGES` edges, or it takes more than `SHARE` of the free memory.
    """
    edges = count_edges(support_nodes, cells, config)
    size = f"{support_nodes + cells:,} nodes and up to {edges:,} edges"
    advice = "raise graph.stride, or lower num_fg, num_bg, the edges per node, backbone.size or the number of pictures"
    if edges > MAX_EDGES:
        raise ConfigError(f"task graph: {size}, expected at most {MAX_EDGES:,} edges; {advice}")
    needed = estimate_bytes(support_nodes, cells, config) + more
    free = free_bytes(device) if needed > RESERVE else None  # asking takes a millisecond, a small graph three
    if free is not None and needed + RESERVE > SHARE * free:
        raise ConfigError(
            f"task graph: {size} need about {_amount(needed)}, {_amount(free)} are free on {device.type}; {advice}"
        )


def _amount(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
