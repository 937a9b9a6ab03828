"""Refuse settings that make no sense and graphs that do not fit, before any work is done."""

from __future__ import annotations

from pathlib import Path
from typing import get_args, get_type_hints

import torch

from pixgraph.config import GraphConfig
from pixgraph.errors import ConfigError

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
    name: get_args(get_type_hints(GraphConfig)[name]) for name in ("sampling", "fg_fg_mode", "color", "connectivity")
}
SHARE = 0.8
"""Share of the free memory that a graph may take."""


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


def estimate_bytes(support_nodes: int, cells: int, config: GraphConfig) -> int:
    """Memory that a task graph takes at most while it is built and used once, without the model's activations.

    Args:
        support_nodes: Number of support nodes.
        cells: Number of query and unlabelled nodes.
        config: Counts of edges.
    """
    support = 2 * support_nodes * (config.bg_bg + config.fg_fg + config.fg_bg)
    knn, drawn = min(config.query_support_knn, support_nodes), min(config.query_support_random, support_nodes)
    each = config.connectivity * len(set(config.dilations)) + config.query_query_knn
    each += (knn + drawn + config.unlabelled_knn) * (2 if config.both_ways else 1)
    return (support_nodes + cells) * BYTES_NODE + (support + cells * each) * BYTES_EDGE


def check_memory(needed: int, device: torch.device) -> None:
    """Refuse a graph of `needed` bytes where it would not fit.

    Raises:
        ConfigError: It takes more than `SHARE` of the free memory.
    """
    free = free_bytes(device)
    if free is not None and needed > SHARE * free:
        raise ConfigError(
            f"task graph: needs about {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free on {device.type};"
            " raise graph.stride, or lower the edges per node, backbone.size or the number of pictures"
        )


def free_bytes(device: torch.device) -> int | None:
    """Free memory of a device; `None` where the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None
