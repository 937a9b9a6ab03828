"""The products that attention is made of: dots along edges, a softmax over incoming edges, sums over edges.

None holds a tensor with an entry for each edge and channel: such a tensor is larger than everything else together, and
to touch so much new memory takes longer than the arithmetic. Dots gather a chunk of edges that stays in the cache;
where all edges of a chunk lead into nodes of one degree, only their sources are gathered and the destinations are
spread over them. Sums are `torch.embedding_bag` on a CPU: weighted table look-ups are what that is built for, and it is
six times as fast as DGL's SpMM with one weight a head.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from pixgraph.graph.backend import Graph, dgl_dots, dgl_softmax
from pixgraph.graph.edge_order import EdgeOrder

Tensor = torch.Tensor

CHUNK_BYTES = {"cpu": 2**20, "cuda": 2**26}
"""How much is gathered of one tensor at a time, by device: on a CPU what stays in the cache."""

HEADS = 4
"""Heads whose products are summed by one matrix product."""


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
    heads, depth = at_src.shape[1:]
    src, dst = at_src.flatten(1), at_dst.flatten(1)
    out = at_src.new_empty(heads, len(order.src))
    step = max(1, min(edges_at_a_time(heads * depth, at_src), len(order.src)))
    # Two buffers for all chunks: fresh memory would cost more than what is done with it.
    left, right = (src.new_empty(step, src.shape[1]) for _ in range(2))
    ones = torch.block_diag(*[src.new_ones(1, depth)] * min(HEADS, heads))
    for start, end, first, degree in _chunks(order, step):
        gathered = torch.index_select(src, 0, order.src[start:end], out=left[: end - start])  # (e, H * D)
        if degree:
            nodes = order.nodes[first : first + (end - start) // degree]
            here = torch.index_select(dst, 0, nodes, out=right[: len(nodes)])
            gathered.unflatten(0, (-1, degree)).mul_(here.unsqueeze(1))
        else:
            gathered.mul_(torch.index_select(dst, 0, order.dst[start:end], out=right[: end - start]))
        _head_sums(gathered, ones, depth, out[:, start:end])
    return out


def incoming_softmax(graph: Graph | None, order: EdgeOrder, score: Tensor) -> Tensor:
    """Softmax of the scores (H, E') over the edges that share a destination; overwrites them without DGL."""
    if graph is not None and graph.num_edges():
        every = score.new_zeros(graph.num_edges(), len(score)).index_copy_(0, order.edges, score.t())
        return order.sort(dgl_softmax(graph, every))
    step = edges_at_a_time(len(score), score)
    for degree, start, end in order.runs:
        for i, j in _split(start, end, max(1, step // degree) * degree):
            table = score[:, i:j].unflatten(1, (-1, degree))  # (H, nodes, degree)
            table.copy_(torch.softmax(table, -1))
    return score


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
    for h, w in enumerate(weight):
        out[:, h].index_copy_(0, order.nodes, row_sums(order.offsets, order.src, x[:, h], w))
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
    for h, w in enumerate(weight):
        out[:, h] = row_sums(offsets, dst, x[:, h], w.index_select(0, place))
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
        rows = torch.arange(len(offsets) - 1, device=x.device)
        rows = rows.repeat_interleave(offsets.diff(), output_size=len(ends))
        return _add_at(x.new_zeros(len(offsets) - 1, 1, x.shape[1]), rows, ends, x[:, None], weight[None])[:, 0]
    return torch.embedding_bag(x, ends, offsets, False, 0, False, weight, True)[0]


def _add_at(out: Tensor, rows: Tensor, ends: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Add weight[:, e] * x[ends[e]] to out[rows[e]] for every edge e, a chunk at a time."""
    for i, j in _split(0, len(ends), edges_at_a_time(x[0].numel(), x)):
        out.index_add_(0, rows[i:j], x.index_select(0, ends[i:j]).mul_(weight[:, i:j].t().unsqueeze(-1)))
    return out


def _head_sums(product: Tensor, ones: Tensor, depth: int, out: Tensor) -> None:
    """Sums over each head's channels: (e, H * D) into (H, e); ones stand where channel and head belong together."""
    if product.device.type != "cpu":
        out.copy_(product.unflatten(1, (-1, depth)).sum(-1).t())
        return
    # A product with blocks of ones, a few heads at a time: four times as fast as a sum over so short a dimension.
    for h in range(0, len(out), HEADS):
        part = product[:, h * depth : (h + HEADS) * depth]
        heads = part.shape[1] // depth
        torch.mm(ones[:heads, : part.shape[1]], part.t(), out=out[h : h + heads])


def _chunks(order: EdgeOrder, step: int) -> Iterator[tuple[int, int, int, int]]:
    """First edge, end, first node and degree of chunks of at most `step` edges.

    A chunk of a long run holds whole nodes. Short runs and the edges into hubs are taken together, degree 0 saying so:
    for many small chunks the calls would take longer than what they save.
    """
    done = node = 0
    for degree, start, end in order.runs:
        if degree <= step <= end - start:
            yield from ((i, j, node, 0) for i, j in _split(done, start, step))
            for i, j in _split(start, end, step // degree * degree):
                yield i, j, node + (i - start) // degree, degree
            done = end
        node += (end - start) // degree
    yield from ((i, j, node, 0) for i, j in _split(done, len(order.src), step))


def _split(start: int, end: int, step: int) -> Iterator[tuple[int, int]]:
    return ((i, min(i + step, end)) for i in range(start, end, step))


def edges_at_a_time(entries: int, x: Tensor) -> int:
    """Edges with so many entries of x's type each for which about `CHUNK_BYTES` are held."""
    return max(1, CHUNK_BYTES.get(x.device.type, 2**24) // max(1, entries * x.element_size()))
