"""The 4- or 8-connected lattice of a picture's nodes, with a set of dilations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch

from pixgraph.errors import ConfigError


def lattice_edges(
    height: int, width: int, dilations: Sequence[int], connectivity: int = 4
) -> tuple[torch.Tensor, torch.Tensor]:
    """Edges between nodes of a height x width grid that lie exactly d steps apart in a row or a column.

    There are ``2 * ((height - d) * width + height * (width - d))`` directed edges a dilation d, and with 8-connectivity
    ``4 * (height - d) * (width - d)`` more, between nodes d rows and d columns apart. A single d > 1 splits the
    grid into d * d components (rows and columns that agree modulo d), which share nothing until another dilation or the
    support nodes join them; so put 1 among the dilations unless that is wanted.

    Edges come a dilation at a time, each as rightward, leftward, downward, upward, then, where wanted, down to the
    right, back, down to the left, back. They depend on nothing else and are
    cached: do not write into them.

    Args:
        height: Rows of nodes, numbered row by row.
        width: Nodes in a row.
        dilations: The set of distances; its order and repetitions do not matter.
        connectivity: 4, or 8 with the diagonals.

    Returns:
        Source and destination, (E,) int64 each.

    Raises:
        ConfigError: A dilation is below 1, or spans the grid and so gives no edge.

    Example:
        >>> src, dst = lattice_edges(1, 3, [1])
        >>> list(zip(src.tolist(), dst.tolist()))
        [(0, 1), (1, 2), (1, 0), (2, 1)]
    """
    return _cached(height, width, check_dilations(height, width, dilations), connectivity)


def check_dilations(height: int, width: int, dilations: Sequence[int]) -> tuple[int, ...]:
    """The dilations as a sorted tuple without repetitions.

    Raises:
        ConfigError: A dilation is below 1, or spans the grid and so gives no edge.
    """
    for d in dilations:
        if not 1 <= d < max(height, width):
            raise ConfigError(
                f"dilations: got {d} on a grid of {height} x {width} nodes, expected 1..{max(height, width) - 1};"
                " lower it, or use a smaller stride or larger pictures"
            )
    return tuple(sorted(set(dilations)))


@lru_cache(maxsize=16)
def _cached(
    height: int, width: int, dilations: tuple[int, ...], connectivity: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Build the edges of `lattice_edges`."""
    node = torch.arange(height * width).view(height, width)
    src, dst = [torch.empty(0, dtype=torch.int64)], [torch.empty(0, dtype=torch.int64)]
    for d in dilations:
        left, right = node[:, :-d].reshape(-1), node[:, d:].reshape(-1)
        above, below = node[:-d].reshape(-1), node[d:].reshape(-1)
        src += [left, right, above, below]
        dst += [right, left, below, above]
        if connectivity == 8:
            for first, second in ((node[:-d, :-d], node[d:, d:]), (node[:-d, d:], node[d:, :-d])):
                src += [first.reshape(-1), second.reshape(-1)]
                dst += [second.reshape(-1), first.reshape(-1)]
    return torch.cat(src), torch.cat(dst)
