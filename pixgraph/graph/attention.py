"""Dot-product attention along the edges of a graph, with biases, on two engines that give the same numbers.

For an edge e from s to t and a head h

    score[e, h] = query[t, h] . key[s, h] / sqrt(D) + bias[e, h]
    out[t, h]   = sum over the edges e into t of softmax_e(score[e, h]) * value[s, h]

(Vaswani et al. 2017, restricted to edges, with the edge bias of Graphormer, Ying et al. 2021). Three products make it
up, forward and backward: dots along edges (SDDMM), a softmax over incoming edges, and weighted sums over edges (SpMM).
None ever holds a tensor with an entry for each edge and channel. The engine "torch" gathers chunks of edges and sums
the products of a head by a matrix product with ones, and takes the softmax degree by degree (`EdgeOrder`); "dgl" takes
DGL's kernels for both, which need twice as long. The sums are `torch.embedding_bag` on a CPU for both: weighted table
look-ups are what that is built for, and it is six times as fast as DGL's SpMM with one weight a head.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from pixgraph.errors import ConfigError, DependencyError
from pixgraph.graph.backend import DGL_ERROR, HAS_DGL, Graph, dgl_dots, dgl_softmax, is_dgl
from pixgraph.graph.edge_order import EdgeOrder, edge_order

Tensor = torch.Tensor

ENGINES = ("auto", "dgl", "torch")
"""Names of the engines; "auto" takes "torch", which is the faster one on every device."""

ENGINE_VARIABLE = "PIXGRAPH_ENGINE"
"""Environment variable that replaces "auto", e.g. ``PIXGRAPH_ENGINE=torch``."""

CHUNK_BYTES = {"cpu": 2**21, "cuda": 2**26}
"""How much the torch engine gathers of one tensor at a time, by device: on a CPU what stays in the cache."""

HEADS = 4
"""Heads whose products are summed by one matrix product."""


def attention_engine(graph: Graph, engine: str = "auto") -> str:
    """The engine, "dgl" or "torch", that `edge_attention` uses on this graph.

    Args:
        graph: A `dgl.DGLGraph` or an `EdgeGraph`.
        engine: "dgl", "torch", or "auto": what the environment variable `PIXGRAPH_ENGINE` says, and without it "torch".

    Raises:
        ConfigError: The name is unknown.
        DependencyError: "dgl" is asked for and the graph is not a DGL graph.
    """
    chosen = os.environ.get(ENGINE_VARIABLE, "auto") if engine == "auto" else engine
    if chosen not in ENGINES:
        raise ConfigError(f"attention engine: got {chosen!r}, expected one of {', '.join(ENGINES)}")
    if chosen == "auto":
        return "torch"
    if chosen == "dgl" and not is_dgl(graph):
        why = f"the graph on {graph.device} is no DGL graph" if HAS_DGL else f"DGL cannot be imported ({DGL_ERROR})"
        raise DependencyError(f'attention engine "dgl": {why}; use engine "torch" or "auto"')
    return chosen


def edge_attention(
    graph: Graph, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None, engine: str = "auto"
) -> Tensor:
    """Attention of every node over its incoming edges; differentiable in query, key, value and bias (once).

    Half precision, mixed types and autocast are defined: everything is computed in float32 (float64 when an input is)
    and returned in the type to which query, key and value promote.

    Args:
        graph: V nodes, E edges.
        query: (V, H, D).
        key: (V, H, D).
        value: (V, H, D).
        bias: (E, B) finite, in the graph's own edge order, where B divides H: head h takes column h mod B, so that
            heads folded as ``class * B + head`` share their edge's biases.
        engine: "auto", "dgl" or "torch", see `attention_engine`.

    Returns:
        (V, H, D); zero for a node without incoming edges.

    Raises:
        ValueError: A shape is not as above.
        ConfigError: The engine is unknown.
        DependencyError: The engine "dgl" is asked for and cannot run.

    Example:
        >>> from pixgraph.graph.backend import make_graph
        >>> graph = make_graph(torch.tensor([0, 1]), torch.tensor([2, 2]), 3)
        >>> x = torch.tensor([1.0, 3.0, 5.0]).view(3, 1, 1)
        >>> edge_attention(graph, 0 * x, x, x).flatten().tolist()
        [0.0, 0.0, 2.0]
    """
    _check_shapes(graph, query, key, value, bias)
    order = edge_order(graph)
    return ordered_attention(graph, order, query, key, value, None if bias is None else order.sort(bias), engine)


def ordered_attention(
    graph: Graph, order: EdgeOrder, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, engine: str = "auto"
) -> Tensor:
    """`edge_attention` of the nodes from `order.first` on, with biases in the order of its edges.

    Args:
        graph: V nodes.
        order: `edge_order` of the graph, of E' edges.
        query: (V - first, H, D).
        key: (V, H, D).
        value: (V, H, D).
        bias: (B, E'), see `edge_attention`.
        engine: "auto", "dgl" or "torch", see `attention_engine`.

    Returns:
        (V - first, H, D); zero for a node without incoming edges.
    """
    result = torch.promote_types(torch.promote_types(query.dtype, key.dtype), value.dtype)
    compute = torch.promote_types(result, torch.float32)
    asked = graph if attention_engine(graph, engine) == "dgl" else None
    with torch.autocast(query.device.type, enabled=False):
        q, k, v = (x.to(compute).contiguous() for x in (query, key, value))
        b = None if bias is None else bias.to(compute)
        return _EdgeAttention.apply(asked, order, q, k, v, b).to(result)


def _check_shapes(graph: Graph, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> None:
    nodes, edges = graph.num_nodes(), graph.num_edges()
    if query.dim() != 3 or query.shape[0] != nodes or not query.shape == key.shape == value.shape:
        got = ", ".join(str(tuple(x.shape)) for x in (query, key, value))
        raise ValueError(f"edge_attention: got query, key, value of shapes {got}, expected the same ({nodes}, H, D)")
    heads = query.shape[1]
    if bias is not None and (bias.dim() != 2 or bias.shape[0] != edges or not bias.shape[1] or heads % bias.shape[1]):
        raise ValueError(
            f"edge_attention: got bias {tuple(bias.shape)}, expected ({edges}, B) where B divides the {heads} heads"
        )


class _EdgeAttention(torch.autograd.Function):
    """Keeps the (H, E') attention weights between forward and backward; `graph` is `None` for the engine "torch"."""

    @staticmethod
    def forward(
        ctx: Any, graph: Graph | None, order: EdgeOrder, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None
    ) -> Tensor:
        """Weights by softmax over incoming edges, then the weighted sums of the values."""
        heads, scale = query.shape[1], query.shape[2] ** -0.5
        weight = _dots(graph, order, key, query).mul_(scale)  # (H, E')
        if bias is not None:
            weight.unflatten(0, (-1, len(bias))).add_(bias)
        weight = _softmax(graph, order, weight)
        out = _sums_in(order, value, weight)
        ctx.save_for_backward(query, key, value, weight, out)
        ctx.graph, ctx.order, ctx.scale = graph, order, scale
        ctx.fold = None if bias is None else (heads // len(bias), len(bias))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of query, key, value and bias, from the weights that were kept."""
        query, key, value, weight, out = ctx.saved_tensors
        order, grad = ctx.order, grad.contiguous()
        need_query, need_key, need_value, need_bias = ctx.needs_input_grad[2:]
        d_query = d_key = d_value = d_bias = None
        if need_value:
            d_value = _sums_out(order, grad, weight)
        if need_query or need_key or need_bias:
            mean = (grad * out).sum(-1).t().contiguous()  # (H, T): the sum over incoming edges of weight * d(weight)
            d_score = _dots(ctx.graph, order, value, grad).sub_(mean.index_select(1, order.dst)).mul_(weight)
            if need_bias:
                d_bias = d_score.unflatten(0, ctx.fold).sum(0)
            d_score = d_score.mul_(ctx.scale)
            d_query = _sums_in(order, key, d_score) if need_query else None
            d_key = _sums_out(order, query, d_score) if need_key else None
        return None, None, d_query, d_key, d_value, d_bias


def _dots(graph: Graph | None, order: EdgeOrder, at_src: Tensor, at_dst: Tensor) -> Tensor:
    """at_src[s] . at_dst[t] for each edge (s, t) and head: (V, H, D), (V - first, H, D) -> (H, E')."""
    if graph is not None and graph.num_edges():
        every = torch.cat([at_dst.new_zeros(order.first, *at_dst.shape[1:]), at_dst]) if order.first else at_dst
        return order.sort(dgl_dots(graph, at_src, every))
    heads, depth = at_src.shape[1:]
    src, dst = at_src.flatten(1), at_dst.flatten(1)
    out = at_src.new_empty(heads, len(order.src))
    chunks = _chunks(len(order.src), at_src)
    # Two buffers for all chunks: fresh memory would cost more than what is done with it.
    buffers = [src.new_empty(chunks[0].stop if chunks else 0, src.shape[1]) for _ in range(2)]
    for c in chunks:
        left, right = (x[: c.stop - c.start] for x in buffers)  # (e, H * D)
        torch.index_select(src, 0, order.src[c], out=left)
        torch.index_select(dst, 0, order.dst[c], out=right)
        _head_sums(left.mul_(right), depth, out[:, c])
    return out


def _head_sums(product: Tensor, depth: int, out: Tensor) -> None:
    """Sums over each head's channels: (e, H * D) into (H, e)."""
    if product.device.type != "cpu":
        out.copy_(product.unflatten(1, (-1, depth)).sum(-1).t())
        return
    # A product with blocks of ones, a few heads at a time: four times as fast as a sum over so short a dimension.
    ones = torch.block_diag(*[product.new_ones(1, depth)] * min(HEADS, len(out)))
    for h in range(0, len(out), HEADS):
        part = product[:, h * depth : (h + HEADS) * depth]
        heads = part.shape[1] // depth
        torch.mm(ones[:heads, : part.shape[1]], part.t(), out=out[h : h + heads])


def _softmax(graph: Graph | None, order: EdgeOrder, score: Tensor) -> Tensor:
    """Softmax of the scores (H, E') over the edges that share a destination."""
    if graph is not None and graph.num_edges():
        every = score.new_zeros(graph.num_edges(), len(score)).index_copy_(0, order.edges, score.t())
        return order.sort(dgl_softmax(graph, every))
    for degree, start, end in order.runs:
        table = score[:, start:end].unflatten(1, (-1, degree))  # (H, nodes, degree)
        table.copy_(torch.softmax(table, -1))
    return score


def _sums_in(order: EdgeOrder, x: Tensor, weight: Tensor) -> Tensor:
    """The sum of weight[e] * x[source of e] over the edges into each node: (V, H, D), (H, E') -> (V - first, H, D)."""
    out = x.new_zeros(order.size, *x.shape[1:])
    return out.index_copy_(0, order.nodes, _sums(order.offsets, order.src, x, weight))


def _sums_out(order: EdgeOrder, x: Tensor, weight: Tensor) -> Tensor:
    """The sum of weight[e] * x[destination of e] over the edges out of each node, (V, H, D)."""
    offsets, dst, place = order.by_source
    return _sums(offsets, dst, x, weight.index_select(1, place))


def _sums(offsets: Tensor, ends: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Weighted sums of rows of x: (T + 1,), (E',), (n, H, D), (H, E') -> (T, H, D)."""
    if not len(ends):
        return x.new_zeros(len(offsets) - 1, *x.shape[1:])
    if x.device.type == "cpu":
        tables = x.transpose(0, 1).contiguous()  # (H, n, D)
        pairs = zip(tables, weight, strict=True)
        return torch.stack([torch.embedding_bag(t, ends, offsets, False, 0, False, w, True)[0] for t, w in pairs], 1)
    rows = torch.repeat_interleave(torch.arange(len(offsets) - 1, device=x.device), offsets.diff())
    out = x.new_zeros(len(offsets) - 1, *x.shape[1:])
    for c in _chunks(len(ends), x):
        out.index_add_(0, rows[c], x.index_select(0, ends[c]).mul_(weight[:, c].t().unsqueeze(-1)))
    return out


def _chunks(edges: int, x: Tensor) -> list[slice]:
    """Ranges of edges for each of which about `CHUNK_BYTES` are gathered from x (V, H, D)."""
    step = max(1, CHUNK_BYTES.get(x.device.type, 2**24) // max(1, x.shape[1] * x.shape[2] * x.element_size()))
    return [slice(i, min(i + step, edges)) for i in range(0, edges, step)]
