"""Dot-product attention along the edges of a graph, with biases, on two engines that give the same numbers.

For an edge e from s to t and a head h

    score[e, h] = query[t, h] . key[s, h] / sqrt(D) + bias[e, h]
    out[t, h]   = sum over the edges e into t of softmax_e(score[e, h]) * value[s, h]

(Vaswani et al. 2017, restricted to edges, with the edge bias of Graphormer, Ying et al. 2021). Three products make it
up, forward and backward: dots along edges (SDDMM), a softmax over incoming edges, and weighted sums over edges (SpMM).
None ever holds a tensor with an entry for each edge and channel. The engine "dgl" takes DGL's kernels for the first
two, "torch" plain torch in chunks of edges. The sums are `torch.embedding_bag` on a CPU for both: weighted table
look-ups are what that is built for, and it is six times as fast as DGL's SpMM with one weight a head.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from pixgraph.errors import ConfigError, DependencyError
from pixgraph.graph.backend import DGL_ERROR, HAS_DGL, Graph, dgl_dots, dgl_softmax, incoming, is_dgl, outgoing

Tensor = torch.Tensor

ENGINES = ("auto", "dgl", "torch")
"""Names of the engines; "auto" takes "dgl" for a `dgl.DGLGraph` and "torch" for any other."""

ENGINE_VARIABLE = "PIXGRAPH_ENGINE"
"""Environment variable that replaces "auto", e.g. ``PIXGRAPH_ENGINE=torch``."""

CHUNK_BYTES = {"cpu": 2**19, "cuda": 2**26}
"""How much the torch engine gathers of one tensor at a time, by device: on a CPU what stays in the cache."""


def attention_engine(graph: Graph, engine: str = "auto") -> str:
    """The engine, "dgl" or "torch", that `edge_attention` uses on this graph.

    Args:
        graph: A `dgl.DGLGraph` or an `EdgeGraph`.
        engine: "dgl", "torch", or "auto": what the environment variable `PIXGRAPH_ENGINE` says, and without it "dgl"
            for a `dgl.DGLGraph`, "torch" for any other.

    Raises:
        ConfigError: The name is unknown.
        DependencyError: "dgl" is asked for and the graph is not a DGL graph.
    """
    chosen = os.environ.get(ENGINE_VARIABLE, "auto") if engine == "auto" else engine
    if chosen not in ENGINES:
        raise ConfigError(f"attention engine: got {chosen!r}, expected one of {', '.join(ENGINES)}")
    if chosen == "auto":
        return "dgl" if is_dgl(graph) else "torch"
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
    result = torch.promote_types(torch.promote_types(query.dtype, key.dtype), value.dtype)
    compute = torch.promote_types(result, torch.float32)
    chosen = attention_engine(graph, engine)
    with torch.autocast(query.device.type, enabled=False):
        q, k, v = (x.to(compute) for x in (query, key, value))
        b = None if bias is None else bias.to(compute)
        return _EdgeAttention.apply(graph, chosen == "dgl", q, k, v, b).to(result)


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
    """Keeps the (E, H) attention weights between forward and backward."""

    @staticmethod
    def forward(
        ctx: Any, graph: Graph, dgl: bool, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None
    ) -> Tensor:
        """Weights by softmax over incoming edges, then the weighted sums of the values."""
        heads, scale = query.shape[1], query.shape[2] ** -0.5
        weight = _dots(graph, key, query, dgl).mul_(scale)  # (E, H)
        if bias is not None:
            weight.view(-1, heads // bias.shape[1], bias.shape[1]).add_(bias.unsqueeze(1))
        weight = _softmax(graph, weight, dgl)
        out = _sums(incoming(graph), value, weight)
        ctx.save_for_backward(query, key, value, weight, out)
        ctx.graph, ctx.dgl, ctx.scale, ctx.columns = graph, dgl, scale, None if bias is None else bias.shape[1]
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of query, key, value and bias, from the weights that were kept."""
        query, key, value, weight, out = ctx.saved_tensors
        graph, heads = ctx.graph, query.shape[1]
        need_query, need_key, need_value, need_bias = ctx.needs_input_grad[2:]
        d_query = d_key = d_value = d_bias = None
        if need_value:
            d_value = _sums(outgoing(graph), grad, weight)
        if need_query or need_key or need_bias:
            mean = (grad * out).sum(-1)  # (V, H): the sum over incoming edges of weight * d(weight)
            d_score = _dots(graph, value, grad, ctx.dgl).sub_(mean.index_select(0, graph.edges()[1])).mul_(weight)
            if need_bias:
                d_bias = d_score.view(-1, heads // ctx.columns, ctx.columns).sum(1)
            d_score = d_score * ctx.scale if need_bias else d_score.mul_(ctx.scale)
            d_query = _sums(incoming(graph), key, d_score) if need_query else None
            d_key = _sums(outgoing(graph), query, d_score) if need_key else None
        return None, None, d_query, d_key, d_value, d_bias


def _dots(graph: Graph, at_src: Tensor, at_dst: Tensor, dgl: bool) -> Tensor:
    """at_src[s] . at_dst[t] for each edge (s, t) and head: (V, H, D) twice -> (E, H)."""
    if dgl and graph.num_edges():
        return dgl_dots(graph, at_src, at_dst)
    src, dst = graph.edges()
    out = at_src.new_empty(len(src), at_src.shape[1])
    for c in _chunks(len(src), at_src):
        out[c] = at_src.index_select(0, src[c]).mul_(at_dst.index_select(0, dst[c])).sum(-1)
    return out


def _softmax(graph: Graph, score: Tensor, dgl: bool) -> Tensor:
    """Softmax of the scores (E, H) over the edges that share a destination."""
    if dgl and graph.num_edges():
        return dgl_softmax(graph, score)
    dst = graph.edges()[1]
    index = dst.unsqueeze(1).expand_as(score)
    nodes = score.new_zeros(graph.num_nodes(), score.shape[1])
    top = nodes.scatter_reduce(0, index, score, "amax", include_self=False)
    score = score.sub_(top.index_select(0, dst)).exp_()
    return score.div_(nodes.scatter_add_(0, index, score).index_select(0, dst))


def _sums(structure: tuple[Tensor, Tensor, Tensor], x: Tensor, weight: Tensor) -> Tensor:
    """The sum of weight[e] * x[other end of e] over the edges of each node: (V, H, D), (E, H) -> (V, H, D)."""
    offsets, ends, ids = structure
    x, weight = x.detach().contiguous(), weight.index_select(0, ids)
    if not len(ids):
        return torch.zeros_like(x)
    if x.device.type == "cpu":
        columns = weight.t().contiguous()  # (H, E)
        bags = [
            torch.embedding_bag(x[:, h], ends, offsets, False, 0, False, columns[h], True)[0] for h in range(x.shape[1])
        ]
        return torch.stack(bags, 1)
    rows = torch.repeat_interleave(torch.arange(len(x), device=x.device), offsets.diff())
    out = torch.zeros_like(x)
    for c in _chunks(len(ids), x):
        out.index_add_(0, rows[c], x.index_select(0, ends[c]).mul_(weight[c].unsqueeze(-1)))
    return out


def _chunks(edges: int, x: Tensor) -> list[slice]:
    """Ranges of edges for each of which about `CHUNK_BYTES` are gathered from x (V, H, D)."""
    step = max(1, CHUNK_BYTES.get(x.device.type, 2**24) // max(1, x.shape[1] * x.shape[2] * x.element_size()))
    return [slice(i, min(i + step, edges)) for i in range(0, edges, step)]
