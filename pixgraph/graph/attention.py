"""Dot-product attention along the edges of a graph, with biases, on two engines that give the same numbers.

For an edge e from s to t and a head h

    score[e, h] = query[t, h] . key[s, h] / sqrt(D) + bias[e, h]
    out[t, h]   = sum over the edges e into t of softmax_e(score[e, h]) * value[s, h]

(Vaswani et al. 2017, restricted to edges, with the edge bias of Graphormer, Ying et al. 2021). Three products make it
up, forward and backward: dots along edges (SDDMM), a softmax over incoming edges, and weighted sums over edges (SpMM).
None ever holds a tensor with an entry for each edge and channel. The engine "torch" computes all of them in plain torch
(`edge_products`); "dgl" takes DGL's kernels for the dots and the softmax.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from pixgraph.errors import ConfigError, DependencyError
from pixgraph.graph.backend import DGL_ERROR, HAS_DGL, Graph, is_dgl
from pixgraph.graph.edge_order import EdgeOrder, edge_order
from pixgraph.graph.edge_products import edge_dots, incoming_softmax, subtract_at_destinations, sums_in, sums_out

Tensor = torch.Tensor

ENGINES = ("auto", "dgl", "torch")
"""Names of the engines; "auto" takes "torch", which runs on every device and is as fast."""

ENGINE_VARIABLE = "PIXGRAPH_ENGINE"
"""Environment variable that replaces "auto", e.g. ``PIXGRAPH_ENGINE=torch``."""


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


def dgl_is_asked_for() -> bool:
    """Whether the environment asks for the engine "dgl"."""
    return os.environ.get(ENGINE_VARIABLE) == "dgl"


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
        weight = edge_dots(graph, order, key, query).mul_(scale)  # (H, E')
        if bias is not None:
            weight.unflatten(0, (-1, len(bias))).add_(bias)
        weight = incoming_softmax(graph, order, weight)
        out = sums_in(order, value, weight)
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
            d_value = sums_out(order, grad, weight)
        if need_query or need_key or need_bias:
            mean = (grad * out).sum(-1).t().contiguous()  # (H, T): the sum over incoming edges of weight * d(weight)
            d_weight = edge_dots(ctx.graph, order, value, grad)
            d_score = subtract_at_destinations(order, d_weight, mean).mul_(weight)
            if need_bias:
                d_bias = d_score.unflatten(0, ctx.fold).sum(0)
            d_score = d_score.mul_(ctx.scale)
            d_query = sums_in(order, key, d_score) if need_query else None
            d_key = sums_out(order, query, d_score) if need_key else None
        return None, None, d_query, d_key, d_value, d_bias
