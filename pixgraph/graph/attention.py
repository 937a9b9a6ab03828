"""Dot-product attention along the edges of a graph, with biases, on two engines that give the same numbers.

For an edge e from s to t and a head h

    score[e, h] = query[t, h] . key[s, h] / sqrt(D) + bias[e, h]
    out[t, h]   = sum over the edges e into t of softmax_e(score[e, h]) * value[s, h]

(Vaswani et al. 2017, restricted to edges, with the edge bias of Graphormer, Ying et al. 2021). No tensor with an
entry for each edge and channel is ever held: "dgl" runs fused SDDMM, edge softmax and SpMM kernels, "torch" walks over
the edges, sorted by destination, in chunks.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from pixgraph.errors import ConfigError, DependencyError
from pixgraph.graph.backend import DGL_ERROR, HAS_DGL, Graph, dgl_attention, incoming, is_dgl

Tensor = torch.Tensor

ENGINES = ("auto", "dgl", "torch")
"""Names of the engines; "auto" takes "dgl" for a `dgl.DGLGraph` and "torch" for any other."""

ENGINE_VARIABLE = "PIXGRAPH_ENGINE"
"""Environment variable that replaces "auto", e.g. ``PIXGRAPH_ENGINE=torch``."""

CHUNK_BYTES = 16 * 2**20
"""The torch engine gathers about this much of the keys, and as much of the queries, at a time."""


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
        if chosen == "dgl" and graph.num_edges():
            out = dgl_attention(graph, q * query.shape[2] ** -0.5, k, v, b)
        else:
            out = _TorchAttention.apply(q, k, v, b, graph)
        return out.to(result)


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


class _Sorted:
    """Edges in the order of one end, cut into chunks; `rows` is that end, `cols` the other one."""

    def __init__(self, structure: tuple[Tensor, Tensor, Tensor], width: int) -> None:
        offsets, self.cols, self.ids = structure
        nodes = offsets.numel() - 1
        self.rows = torch.repeat_interleave(torch.arange(nodes, device=offsets.device), offsets.diff())  # (E,)
        self.step = max(1, CHUNK_BYTES // max(1, width))

    def chunks(self) -> list[slice]:
        """Ranges of edges that together hold all of them."""
        edges = self.rows.numel()
        return [slice(i, min(i + self.step, edges)) for i in range(0, edges, self.step)]


def _add_rows(total: Tensor, rows: Tensor, x: Tensor) -> None:
    """total[rows[i]] += x[i], for total (V, H, D) and x (C, H, D)."""
    flat, part = total.flatten(1), x.flatten(1)
    if total.device.type == "cpu":  # many times faster than index_add_ here, and in a fixed order
        flat.scatter_add_(0, rows.unsqueeze(1).expand_as(part), part)
    else:
        flat.index_add_(0, rows, part)


def _dots(a: Tensor, i: Tensor, b: Tensor, j: Tensor) -> Tensor:
    """a[i] . b[j] for each head: (V, H, D), (C,), (V, H, D), (C,) -> (C, H)."""
    return a.index_select(0, i).mul_(b.index_select(0, j)).sum(-1)


class _TorchAttention(torch.autograd.Function):
    """The torch engine; holds (E, H) attention weights between forward and backward, and nothing of size E x H x D."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, graph: Graph) -> Tensor:
        nodes, heads, dim = query.shape
        edges = _Sorted(incoming(graph), heads * dim * query.element_size())
        scale = dim**-0.5
        weight = query.new_empty(edges.rows.numel(), heads)  # (E, H), sorted by destination
        for c in edges.chunks():
            weight[c] = _dots(query, edges.rows[c], key, edges.cols[c]).mul_(scale)
        if bias is not None:
            weight.view(-1, heads // bias.shape[1], bias.shape[1]).add_(bias.index_select(0, edges.ids).unsqueeze(1))
        _softmax_(weight, edges.rows, nodes)
        out = torch.zeros_like(value, memory_format=torch.contiguous_format)
        for c in edges.chunks():
            _add_rows(out, edges.rows[c], value.index_select(0, edges.cols[c]).mul_(weight[c].unsqueeze(-1)))
        ctx.save_for_backward(query, key, value, weight, out)
        ctx.graph, ctx.scale, ctx.columns = graph, scale, None if bias is None else bias.shape[1]
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weight, out = ctx.saved_tensors
        heads = query.shape[1]
        edges = _Sorted(incoming(ctx.graph), heads * query.shape[2] * query.element_size())
        mean = (grad * out).sum(-1)  # (V, H): the sum over incoming edges of weight * d(weight)
        d_query, d_key, d_value = (
            torch.zeros_like(x, memory_format=torch.contiguous_format) for x in ctx.saved_tensors[:3]
        )
        d_score = torch.empty_like(weight)
        for c in edges.chunks():
            rows, cols = edges.rows[c], edges.cols[c]
            at_rows = grad.index_select(0, rows)  # (C, H, D)
            at_cols = value.index_select(0, cols)
            d_score[c] = weight[c] * (at_cols.mul_(at_rows).sum(-1) - mean.index_select(0, rows))
            _add_rows(d_value, cols, at_rows.mul_(weight[c].unsqueeze(-1)))
            scaled = (d_score[c] * ctx.scale).unsqueeze(-1)
            _add_rows(d_query, rows, key.index_select(0, cols).mul_(scaled))
            _add_rows(d_key, cols, query.index_select(0, rows).mul_(scaled))
        d_bias = None
        if ctx.columns is not None and ctx.needs_input_grad[3]:
            folded = d_score.view(-1, heads // ctx.columns, ctx.columns).sum(1)
            d_bias = torch.empty_like(folded).index_copy_(0, edges.ids, folded)
        return d_query, d_key, d_value, d_bias, None


def _softmax_(score: Tensor, rows: Tensor, nodes: int) -> None:
    """Softmax, in place, of the scores (E, H) over the edges that share a row."""
    heads = score.shape[1]
    index = rows.unsqueeze(1).expand_as(score)
    top = score.new_full((nodes, heads), -torch.inf).scatter_reduce_(0, index, score, "amax")
    score.sub_(top.index_select(0, rows)).exp_()
    total = score.new_zeros(nodes, heads).scatter_add_(0, index, score)
    score.div_(total.index_select(0, rows))
