"""The one place that knows DGL: its guarded import, how graphs are made, batched, cut and moved between devices.

DGL's wheels are CPU-only and tied to old torch releases. Where it cannot be imported, or cannot serve a device, an
`EdgeGraph` takes the place of `dgl.DGLGraph`; the rest of pixgraph uses only what the two have in common (`Graph`).
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Mapping, MutableMapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import torch

from pixgraph.graph.edgegraph import EdgeGraph

Tensor = torch.Tensor


def _stub_graphbolt() -> None:
    """Let DGL 2.x import where its compiled graphbolt, which pixgraph does not use, has no build for this torch."""
    spec = importlib.util.find_spec("dgl")
    if spec is None or spec.origin is None or "dgl.graphbolt" in sys.modules:
        return
    folder = Path(spec.origin).parent / "graphbolt"
    release = torch.__version__.split("+")[0]
    if folder.is_dir() and not list(folder.glob(f"*graphbolt_pytorch_{release}.*")):
        stub = ModuleType("dgl.graphbolt")
        stub.__getattr__ = lambda name: object  # type: ignore[method-assign]  # any class it is asked for, as a base
        sys.modules["dgl.graphbolt"] = stub


def _import_dgl() -> tuple[Any, str]:
    """The module and "", or `None` and the reason why it cannot be used."""
    os.environ.setdefault("DGLBACKEND", "pytorch")  # otherwise DGL writes a file to the home folder and prints about it
    try:
        _stub_graphbolt()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("dgl"), ""
    except (ImportError, OSError, RuntimeError, AttributeError) as error:  # what broken native wheels raise
        return None, f"{type(error).__name__}: {error}".splitlines()[0]


_dgl, DGL_ERROR = _import_dgl()

HAS_DGL: bool = _dgl is not None
"""Whether DGL can be imported; if not, `DGL_ERROR` says why."""


class Graph(Protocol):
    """What pixgraph uses of a graph: the common part of `dgl.DGLGraph` and `EdgeGraph`.

    Edges are directed, ids of nodes and edges int64; `edges()` returns (source, destination), each (E,).
    """

    @property
    def ndata(self) -> MutableMapping[str, Tensor]:
        """Node tensors by name, each (V, ...)."""

    @property
    def edata(self) -> MutableMapping[str, Tensor]:
        """Edge tensors by name, each (E, ...)."""

    @property
    def device(self) -> torch.device:
        """Where the graph's tensors are."""

    @property
    def batch_size(self) -> int:
        """Number of graphs that were batched into this one."""

    def num_nodes(self) -> int:
        """V."""

    def num_edges(self) -> int:
        """E."""

    def edges(self) -> tuple[Tensor, Tensor]:
        """Source and destination of each edge, int64 (E,)."""

    def in_degrees(self) -> Tensor:
        """Number of incoming edges of each node, int64 (V,)."""

    def out_degrees(self) -> Tensor:
        """Number of outgoing edges of each node, int64 (V,)."""

    def batch_num_nodes(self) -> Tensor:
        """Nodes of each batched graph, int64 (B,)."""

    def batch_num_edges(self) -> Tensor:
        """Edges of each batched graph, int64 (B,)."""

    def local_var(self) -> Any:
        """A graph of the same structure whose ndata and edata can be changed without changing this one's."""

    def to(self, device: Any) -> Any:
        """The graph on `device`; `to_device` also works where DGL has no kernels for it."""


def is_dgl(graph: object) -> bool:
    """Whether `graph` is a `dgl.DGLGraph`."""
    return HAS_DGL and isinstance(graph, _dgl.DGLGraph)


@cache
def dgl_serves(device_type: str) -> bool:
    """Whether DGL is there and can hold graphs on a device of this type ("cpu", "cuda", "mps")."""
    if not HAS_DGL or device_type not in ("cpu", "cuda"):
        return False
    if device_type == "cpu":
        return True
    try:
        _dgl.graph(([0], [0]), device=device_type)
    except (_dgl.DGLError, RuntimeError, AssertionError):  # no CUDA kernels in DGL; no CUDA driver; torch without CUDA
        return False
    return True


def make_graph(
    src: Tensor,
    dst: Tensor,
    num_nodes: int,
    ndata: Mapping[str, Tensor] | None = None,
    edata: Mapping[str, Tensor] | None = None,
) -> Graph:
    """A directed graph: `dgl.DGLGraph` where DGL serves the device of `src`, otherwise `EdgeGraph`.

    Args:
        src: Source node of each edge, integer (E,).
        dst: Destination node of each edge, integer (E,), on the same device.
        num_nodes: V; nodes without edges are allowed.
        ndata: Node tensors, each (V, ...).
        edata: Edge tensors, each (E, ...), in the order of `src` and `dst`.

    Raises:
        ValueError: Shapes disagree or an id is not in 0..V-1.
    """
    graph: Any = EdgeGraph(src, dst, num_nodes, ndata, edata)  # its checks are the same for both types
    if not dgl_serves(graph.device.type):
        return graph
    made = _dgl.graph(graph.edges(), num_nodes=num_nodes)
    made.ndata.update(graph.ndata)
    made.edata.update(graph.edata)
    return made


def to_edge_graph(graph: Graph) -> EdgeGraph:
    """The graph, its data and its batch sizes as an `EdgeGraph`; tensors are shared, not copied."""
    if isinstance(graph, EdgeGraph):
        return graph
    src, dst = graph.edges()
    made = EdgeGraph(src, dst, graph.num_nodes(), dict(graph.ndata), dict(graph.edata))
    made.set_batch_num_nodes(graph.batch_num_nodes())
    made.set_batch_num_edges(graph.batch_num_edges())
    return made


def to_device(graph: Graph, device: torch.device | str) -> Graph:
    """The graph on `device`, as `EdgeGraph` where DGL cannot follow (CUDA with a CPU-only DGL, MPS)."""
    target = torch.device(device)
    if is_dgl(graph) and not dgl_serves(target.type):
        return to_edge_graph(graph).to(target)
    return graph.to(target)


def batch(graphs: Sequence[Graph]) -> Graph:
    """Disjoint union of graphs with the same data names; node ids of each follow those of the one before.

    `batch_num_nodes()` and `batch_num_edges()` of the result tell the parts apart, as after `dgl.batch`.

    Raises:
        ValueError: No graph is given, or they are on different devices or carry different data.
    """
    if not graphs:
        raise ValueError("batch: got no graph, expected at least one")
    names = [(sorted(g.ndata), sorted(g.edata), str(g.device)) for g in graphs]
    for n in names:
        if n != names[0]:
            raise ValueError(f"batch: graphs differ in ndata, edata or device: {names[0]} against {n}; make them alike")
    if all(is_dgl(g) for g in graphs):
        return _dgl.batch(list(graphs))
    return EdgeGraph.batch([to_edge_graph(g) for g in graphs])


def edge_subgraph(graph: Graph, keep: Tensor) -> Graph:
    """The graph with only some of its edges; all nodes stay and keep their ids, data and batch sizes.

    Args:
        graph: The graph; it is not changed.
        keep: Which edges stay: bool (E,), or edge ids, integer (E',), which also give the new order. For a batched
            graph ids must be ascending, so that the edges of each part stay together.
    """
    ids = keep.nonzero().squeeze(1) if keep.dtype == torch.bool else keep.long()
    ids = ids.to(graph.device)
    src, dst = graph.edges()
    edata = {name: x[ids] for name, x in graph.edata.items()}
    made: Any = make_graph(src[ids], dst[ids], graph.num_nodes(), dict(graph.ndata), edata)
    if graph.batch_size > 1:
        ends = graph.batch_num_edges().to(ids.device).cumsum(0)
        part = torch.bucketize(ids, ends, right=True)
        made.set_batch_num_nodes(graph.batch_num_nodes())
        made.set_batch_num_edges(torch.bincount(part, minlength=graph.batch_size))
    return made


def incoming(graph: Graph) -> tuple[Tensor, Tensor, Tensor]:
    """Edges sorted by destination: offsets int64 (V+1,), sources (E,), edge ids (E,); cached inside the graph."""
    if isinstance(graph, EdgeGraph):
        return graph.incoming()
    return graph.adj_tensors("csc")  # type: ignore[attr-defined]


def outgoing(graph: Graph) -> tuple[Tensor, Tensor, Tensor]:
    """Edges sorted by source: offsets int64 (V+1,), destinations (E,), edge ids (E,); cached inside the graph."""
    if isinstance(graph, EdgeGraph):
        return graph.outgoing()
    return graph.adj_tensors("csr")  # type: ignore[attr-defined]


def structure(graph: Graph) -> object:
    """An object that stands for the edges of the graph: the same one as long as they do not change."""
    return graph if isinstance(graph, EdgeGraph) else graph._graph  # type: ignore[attr-defined]


def dgl_dots(graph: Any, at_src: Tensor, at_dst: Tensor) -> Tensor:
    """DGL's SDDMM: at_src[s] . at_dst[t] for each edge (s, t) and head, (V, H, D) twice -> (E, H)."""
    return _dgl.ops.u_dot_v(graph, at_src, at_dst).squeeze(-1)


def dgl_softmax(graph: Any, score: Tensor) -> Tensor:
    """DGL's softmax of edge scores (E, H) over the edges with the same destination."""
    return _dgl.ops.edge_softmax(graph, score.unsqueeze(-1)).squeeze(-1)
