"""The products that attention is made of: dots along edges, a softmax over incoming edges, sums over edges.

None holds a tensor with an entry for each edge and channel: such a tensor is larger than everything else together, and
to touch so much new memory takes longer than the arithmetic. On a CPU dots are `torch.sparse.sampled_addmm`, which
computes the entries of a product of matrices where there are edges: three times as fast as to gather both ends a piece
at a time, which is what other devices do. Sums are `torch.embedding_bag` there: weighted table look-ups are what that
is built for, and it is six times as fast as DGL's SpMM with one weight a head.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
import torch.nn.functional as F

from pixgraph.graph.backend import Graph, dgl_dots, dgl_softmax
from pixgraph.graph.edge_order import EdgeOrder

Tensor = torch.Tensor

CHUNK_BYTES = {"cpu": 2**20, "cuda": 2**26}
"""How much is gathered of one tensor at a time, by device: on a CPU what stays in the cache."""

ORDINARY = 60.0
"""Scores up to this size have exponentials whose sums and quotients are ordinary numbers in single precision.

Of such scores no maximum need be subtracted. For a dozen edges a node that takes a fourth of the time of torch's
softmax, which is made for longer rows.
"""

LOOK_UPS = 2**20
"""Edges times heads whose sums are one call: of small graphs all heads, of large ones a head at a time."""


with warnings.catch_warnings():  # PyTorch says once a process that such matrices are new
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor([0, 0], [], [], (1, 1))


def edge_dots(graph: Graph | None, order: EdgeOrder, at_src: Tensor, at_dst: Tensor) -> Tensor:
    """The product at_src[s] . at_dst[t] for each edge (s, t) and head.

    Args:
        graph: The graph, for DGL's kernel; `None`: in plain torch.
        order: Its E' edges.
        at_src: (V, H, D).
        at_dst: (V - first, H, D).

    Returns:
        (H, E').
    """
    if graph is not None and graph.num_edges():
        every = torch.cat([at_dst.new_zeros(order.first, *at_dst.shape[1:]), at_dst]) if order.first else at_dst
        return order.sort(dgl_dots(graph, at_src, every))
    rows = at_dst.index_select(0, order.nodes)
    return row_dots(order.offsets, order.src, at_src.transpose(0, 1), rows.transpose(0, 1))


def row_dots(offsets: Tensor, ends: Tensor, at_end: Tensor, at_row: Tensor) -> Tensor:
    """Products of each row with those rows of another table that stand side by side for it in `ends`.

    Args:
        offsets: (T + 1,) where the products of each row begin and end.
        ends: (E',) ids of rows of `at_end`, in the type of `offsets`.
        at_end: (H, V, D), at least in single precision.
        at_row: (H, T, D), in the same type.

    Returns:
        (H, E').
    """
    heads, rows = at_row.shape[:2]
    if not len(ends):
        return at_end.new_zeros(heads, 0)
    if at_end.device.type != "cpu":
        return gathered_dots(offsets, ends, at_end, at_row)
    shape, other = (heads, rows, at_end.shape[1]), at_end.transpose(1, 2)
    if len(ends) > rows * shape[2]:  # a graph may have an edge twice; a sparse matrix has no room for that many
        return (at_row @ other).flatten(1).index_select(1, _rows(offsets, len(ends)) * shape[2] + ends)
    begins, columns = (x.expand(heads, -1) for x in (offsets, ends))
    table = torch.sparse_csr_tensor(begins, columns, at_end.new_zeros(columns.shape), shape, check_invariants=False)
    return torch.sparse.sampled_addmm(table, at_row, other, beta=0.0).values()


def gathered_dots(offsets: Tensor, ends: Tensor, at_end: Tensor, at_row: Tensor) -> Tensor:
    """`row_dots` on any device: both rows of the products are gathered, a piece of the products at a time."""
    row = _rows(offsets, len(ends))
    pieces = _split(0, len(ends), edges_at_a_time(at_end[:, 0].numel(), at_end))
    products = (at_end.index_select(1, ends[i:j]).mul_(at_row.index_select(1, row[i:j])).sum(-1) for i, j in pieces)
    return torch.cat(list(products), 1)


def incoming_softmax(graph: Graph | None, order: EdgeOrder, score: Tensor) -> Tensor:
    """Softmax of the scores (H, E') over the edges that share a destination; overwrites them without DGL."""
    if graph is not None and graph.num_edges():
        every = score.new_zeros(graph.num_edges(), len(score)).index_copy_(0, order.edges, score.t())
        return order.sort(dgl_softmax(graph, every))
    if score.device.type == "cpu" and score.numel() and _ordinary(score):
        score.exp_()
        for degree, start, end in order.runs:
            table = score[:, start:end].unflatten(1, (-1, degree))  # (H, nodes, degree)
            table.div_(table.sum(-1, keepdim=True))
        return score
    step = edges_at_a_time(len(score), score)
    for degree, start, end in order.runs:
        for i, j in _split(start, end, max(1, step // degree) * degree):
            table = score[:, i:j].unflatten(1, (-1, degree))
            table.copy_(torch.softmax(table, -1))
    return score


def _ordinary(score: Tensor) -> bool:
    low, high = score.aminmax()
    return bool(low > -ORDINARY) and bool(high < ORDINARY)


def subtract_at_destinations(order: EdgeOrder, score: Tensor, x: Tensor) -> Tensor:
    """Subtract the entry of its destination in x (H, V - first) from each score (H, E'), in place."""
    at = 0
    for degree, start, end in order.runs:
        nodes = order.nodes[at : at + (end - start) // degree]
        score[:, start:end].unflatten(1, (-1, degree)).sub_(x.index_select(1, nodes).unsqueeze(-1))
        at += len(nodes)
    return score


def sums_in(order: EdgeOrder, x: Tensor, weight: Tensor) -> Tensor:
    """The sum of weight[e] * x[source of e] over the edges into each node.

    Args:
        order: The E' edges.
        x: (V, H, D).
        weight: (H, E').

    Returns:
        (V - first, H, D); zero for a node without incoming edges.
    """
    out = x.new_zeros(order.size, *x.shape[1:])
    if x.device.type != "cpu":
        return _add_at(out, order.dst, order.src, x, weight)
    for heads, sums in _head_sums(order.offsets, order.src, x, weight):
        out[:, heads].index_copy_(0, order.nodes, sums)
    return out


def sums_out(order: EdgeOrder, x: Tensor, weight: Tensor) -> Tensor:
    """The sum of weight[e] * x[destination of e] over the edges out of each node.

    Args:
        order: The E' edges.
        x: (V - first, H, D).
        weight: (H, E').

    Returns:
        (V, H, D); zero for a node without outgoing edges.
    """
    offsets, dst, place = order.by_source
    out = x.new_zeros(order.sources, *x.shape[1:])
    if x.device.type != "cpu":
        return _add_at(out, order.src, order.dst, x, weight)
    for heads, sums in _head_sums(offsets, dst, x, weight.index_select(1, place)):
        out[:, heads] = sums
    return out


def row_sums(offsets: Tensor, ends: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Weighted sums of rows of x, those of a sum side by side in `ends`.

    Args:
        offsets: (T + 1,) where the rows of each sum begin and end.
        ends: (E',) ids of rows, in the type of `offsets`.
        x: (n, D).
        weight: (E',).

    Returns:
        (T, D).
    """
    if not len(ends):
        return x.new_zeros(len(offsets) - 1, x.shape[1])
    if x.device.type != "cpu":
        sums = x.new_zeros(len(offsets) - 1, 1, x.shape[1])
        return _add_at(sums, _rows(offsets, len(ends)), ends, x[:, None], weight[None])[:, 0]
    return torch.embedding_bag(x, ends, offsets, False, 0, False, weight, True)[0]


def _add_at(out: Tensor, rows: Tensor, ends: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Add weight[:, e] * x[ends[e]] to out[rows[e]] for every edge e, a chunk at a time."""
    for i, j in _split(0, len(ends), edges_at_a_time(x[0].numel(), x)):
        out.index_add_(0, rows[i:j], x.index_select(0, ends[i:j]).mul_(weight[:, i:j].t().unsqueeze(-1)))
    return out


def _head_sums(offsets: Tensor, ends: Tensor, x: Tensor, weight: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """`row_sums` of every head, of as many as `LOOK_UPS` allows at a time: those heads, and their sums (T, h, D).

    Args:
        offsets: (T + 1,) as there.
        ends: (E',) as there.
        x: (V, H, D).
        weight: (H, E').
    """
    heads = x.shape[1]
    rows = x.contiguous().flatten(0, 1)  # head h of node v is row v * H + h
    for i, j in _split(0, heads, max(1, LOOK_UPS // max(1, len(ends)))):
        if j == i + 1:
            yield slice(i, j), row_sums(offsets, ends, x[:, i], weight[i])[:, None]
            continue
        head = torch.arange(i, j, dtype=ends.dtype)[:, None]
        begins = (offsets[:-1] + (head - i) * len(ends)).flatten()
        begins = F.pad(begins, (0, 1), value=(j - i) * len(ends))
        sums = row_sums(begins, (ends * heads + head).flatten(), rows, weight[i:j].flatten())
        yield slice(i, j), sums.unflatten(0, (j - i, -1)).transpose(0, 1)


def _rows(offsets: Tensor, count: int) -> Tensor:
    """Which row each of `count` entries belongs to."""
    rows = torch.arange(len(offsets) - 1, device=offsets.device)
    return rows.repeat_interleave(offsets.diff(), output_size=count)


def _split(start: int, end: int, step: int) -> Iterator[tuple[int, int]]:
    return ((i, min(i + step, end)) for i in range(start, end, step))


def edges_at_a_time(entries: int, x: Tensor) -> int:
    """Edges with so many entries of x's type each for which about `CHUNK_BYTES` are held."""
    return max(1, CHUNK_BYTES.get(x.device.type, 2**24) // max(1, entries * x.element_size()))
