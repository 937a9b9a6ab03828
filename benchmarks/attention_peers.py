"""The layers that `speed_attention` compares, each used as its library documents for a graph that stays the same.

What can be prepared once for a graph is: pixgraph sorts its edges, DGL makes its sparse formats, PyG gets edges sorted
by destination as an `EdgeIndex` with its cache filled. All are as wide as ours: heads * channels a head = channels.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from attention_problem import EdgeAttentionLayer, GatherLayer, Problem, ordered
from torch import nn

from pixgraph.errors import PixgraphError
from pixgraph.graph.attention import ordered_attention

Tensor = torch.Tensor
Run = Callable[[Tensor], Tensor]
"""Node features (V, C) to the layer's output."""


class AbsentError(PixgraphError):
    """A method cannot be measured here; the text says why."""


@dataclass(frozen=True)
class Method:
    """A layer and what it is.

    Attributes:
        build: Makes what is timed from a problem.
        group: "ours"; "peer": a library's layer of equal width with edge features; "other": anything else.
        note: What differs from ours.
    """

    build: Callable[[Problem], Run]
    group: str
    note: str = ""


def _ours(engine: str) -> Callable[[Problem], Run]:
    def build(problem: Problem) -> Run:
        if engine == "dgl" and problem.device != "cpu":
            raise AbsentError("this DGL has no CUDA kernels")
        graph, order, feature = ordered(problem)
        layer = EdgeAttentionLayer(problem.channels, problem.heads, engine).to(problem.device)
        return lambda x: layer(graph, order, x, feature)

    return build


def _operator(engine: str) -> Callable[[Problem], Run]:
    """Attention alone: x serves as query, key and value; the biases are given and want a gradient too."""

    def build(problem: Problem) -> Run:
        if engine == "dgl" and problem.device != "cpu":
            raise AbsentError("this DGL has no CUDA kernels")
        graph, order, feature = ordered(problem)
        bias = feature[:1].repeat(problem.heads, 1).requires_grad_()

        def run(x: Tensor) -> Tensor:
            y = x.view(len(x), problem.heads, -1)
            return ordered_attention(graph, order, y, y, y, bias, engine).flatten(1)

        return run

    return build


def _dgl_operators(problem: Problem) -> Run:
    """The same operator written with DGL's own differentiable functions."""
    ops, graph = _dgl(problem).ops, problem.graph
    bias = problem.feature[:, :1].repeat(1, problem.heads).unsqueeze(-1).requires_grad_()  # (E, H, 1)

    def run(x: Tensor) -> Tensor:
        y = x.view(len(x), problem.heads, -1)
        score = ops.u_dot_v(graph, y, y) * y.shape[2] ** -0.5 + bias
        return ops.u_mul_e_sum(graph, y, ops.edge_softmax(graph, score)).flatten(1)

    return run


def _dgl(problem: Problem) -> Any:
    """DGL, with the graph's sparse formats made."""
    if problem.device != "cpu":
        raise AbsentError("this DGL has no CUDA kernels")
    try:
        import dgl
        import dgl.nn
    except (ImportError, OSError) as error:
        raise AbsentError(f"DGL cannot be imported: {error}") from error
    problem.graph.create_formats_()  # type: ignore[attr-defined]
    return dgl


def _egat(score_channels: int | None) -> Callable[[Problem], Run]:
    def build(problem: Problem) -> Run:
        dgl, depth = _dgl(problem), problem.channels // problem.heads
        layer = dgl.nn.EGATConv(problem.channels, 3, depth, score_channels or depth, problem.heads)
        return lambda x: layer(problem.graph, x, problem.feature)[0].flatten(1)

    return build


def _edge_gat(problem: Problem) -> Run:
    layer = _dgl(problem).nn.EdgeGATConv(problem.channels, 3, problem.channels // problem.heads, problem.heads)
    return lambda x: layer(problem.graph, x, problem.feature).flatten(1)


def _dgl_gatv2(problem: Problem) -> Run:
    layer = _dgl(problem).nn.GATv2Conv(problem.channels, problem.channels // problem.heads, problem.heads)
    return lambda x: layer(problem.graph, x).flatten(1)


def _pyg(name: str, compiled: bool = False, **options: Any) -> Callable[[Problem], Run]:
    def build(problem: Problem) -> Run:
        try:
            import torch_geometric
            from torch_geometric import nn as layers
        except ImportError as error:
            raise AbsentError(f"torch_geometric cannot be imported: {error}") from error
        depth = problem.channels // problem.heads
        layer = getattr(layers, name)(problem.channels, depth, problem.heads, edge_dim=3, **options).to(problem.device)
        edges = torch.stack(problem.edges)
        if compiled:
            return _compiled(layer, edges, problem.feature)
        sized = (problem.nodes, problem.nodes)
        edges = torch_geometric.EdgeIndex(edges, sparse_size=sized, sort_order="col").fill_cache_()
        return lambda x: layer(x, edges, problem.feature)

    return build


def _gather(compiled: bool) -> Callable[[Problem], Run]:
    def build(problem: Problem) -> Run:
        layer = GatherLayer(problem.channels, problem.heads).to(problem.device)
        if compiled:
            return _compiled(layer, *problem.edges, problem.feature)
        return lambda x: layer(x, *problem.edges, problem.feature)

    return build


def _compiled(layer: nn.Module, *inputs: Tensor) -> Run:
    """The layer under torch.compile; the first call compiles."""
    if inputs[0].device.type == "cpu" and not (shutil.which("g++") or shutil.which("clang++")):
        raise AbsentError("torch.compile needs a C++ compiler")
    compiled = torch.compile(layer)
    return lambda x: compiled(x, *inputs)


METHODS = {
    "pixgraph": Method(_ours("torch"), "ours", 'engine "torch", the default'),
    "pixgraph, DGL": Method(_ours("dgl"), "ours", 'engine "dgl"'),
    "DGL EGATConv": Method(_egat(None), "peer"),
    "DGL EdgeGATConv": Method(_edge_gat, "peer"),
    "PyG GATv2Conv": Method(_pyg("GATv2Conv", add_self_loops=False), "peer"),
    "PyG TransformerConv": Method(_pyg("TransformerConv"), "peer"),
    "DGL EGATConv, narrow": Method(_egat(4), "other", "scores from 4 channels a head instead of all"),
    "DGL GATv2Conv": Method(_dgl_gatv2, "other", "has no edge features"),
    "gather and scatter": Method(_gather(False), "other", "our layer, all edges at once, plain torch"),
}
"""Layers by name."""

COMPILED = {
    "PyG GATv2Conv, compiled": Method(_pyg("GATv2Conv", True, add_self_loops=False), "other", "torch.compile"),
    "PyG TransformerConv, compiled": Method(_pyg("TransformerConv", True), "other", "torch.compile"),
    "gather and scatter, compiled": Method(_gather(True), "other", "our layer under torch.compile"),
}
"""Layers that are compiled for each size, so only measured at the default."""

OPERATORS = {
    "operator: pixgraph": Method(_operator("torch"), "operator"),
    "operator: pixgraph, DGL": Method(_operator("dgl"), "operator"),
    "operator: DGL's functions": Method(_dgl_operators, "operator", "u_dot_v, edge_softmax, u_mul_e_sum"),
}
"""Attention alone, without projections and the network of the edges."""
