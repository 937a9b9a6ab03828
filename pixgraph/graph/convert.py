"""Graphs to and from PyTorch Geometric and NetworkX, with all node and edge data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from pixgraph.errors import ConfigError, DependencyError
from pixgraph.graph.backend import Graph, make_graph

if TYPE_CHECKING:
    import networkx

Tensor = torch.Tensor

PYG_EDGE_PREFIX = "edge_"
"""What stands before the names of edge data in a PyG graph."""


def to_pyg(graph: Graph) -> Any:
    """The graph as `torch_geometric.data.Data`; tensors are shared, not copied.

    ``edge_index`` (2, E) has the graph's edge order. Node data keep their names; edge data get the prefix ``edge_``
    (``edata["feature"]`` becomes ``edge_feature``). A batched graph gets ``batch`` (V,) and ``ptr`` (B+1,) as PyG's
    own batches have.

    Args:
        graph: The graph.

    Raises:
        DependencyError: torch_geometric is not installed.
        ConfigError: Two names collide, e.g. node data "edge_x" and edge data "x".
    """
    try:
        from torch_geometric.data import Data
    except ImportError as error:
        raise DependencyError(
            f"to_pyg: torch_geometric cannot be imported ({error}); run `pip install 'pixgraph[pyg]'`"
        ) from error
    data = Data(edge_index=torch.stack(list(graph.edges())), num_nodes=graph.num_nodes())
    edge_data = {PYG_EDGE_PREFIX + name: x for name, x in graph.edata.items()}
    taken = {"edge_index", "num_nodes", "batch", "ptr"}
    collisions = (taken & (set(graph.ndata) | set(edge_data))) | (set(graph.ndata) & set(edge_data))
    if collisions:
        raise ConfigError(f"to_pyg: the names {sorted(collisions)} would be used twice; rename that node or edge data")
    for name, x in {**graph.ndata, **edge_data}.items():
        data[name] = x
    if graph.batch_size > 1:
        counts = graph.batch_num_nodes()
        data["batch"] = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
        data["ptr"] = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return data


def from_pyg(data: Any) -> Graph:
    """The graph of a `torch_geometric.data.Data`: the inverse of `to_pyg`.

    Tensors with V rows become node data, those whose name begins with ``edge_`` edge data without the prefix; what is
    not a tensor is left out.

    Args:
        data: A homogeneous PyG graph with ``edge_index`` and a known number of nodes.

    Raises:
        ConfigError: A tensor is neither of the nodes nor of the edges.
    """
    src, dst = data.edge_index
    ndata: dict[str, Tensor] = {}
    edata: dict[str, Tensor] = {}
    for name, x in data.to_dict().items():
        if not isinstance(x, torch.Tensor) or name in ("edge_index", "batch", "ptr"):
            continue
        rows = x.shape[0] if x.dim() else None
        if name.startswith(PYG_EDGE_PREFIX) and rows == len(src):
            edata[name.removeprefix(PYG_EDGE_PREFIX)] = x
        elif rows == data.num_nodes:
            ndata[name] = x
        else:
            raise ConfigError(
                f"from_pyg: {name!r} has shape {tuple(x.shape)}, expected {data.num_nodes} rows, or {len(src)} with a "
                f"name that begins with {PYG_EDGE_PREFIX!r}; delete or rename it"
            )
    graph: Any = make_graph(src, dst, int(data.num_nodes), ndata, edata)
    if data.to_dict().get("ptr") is not None:
        ends = data.ptr[1:]
        graph.set_batch_num_nodes(data.ptr.diff())
        part = torch.bucketize(src, ends, right=True)
        graph.set_batch_num_edges(torch.bincount(part, minlength=len(ends)))
    return graph


def to_networkx(graph: Graph) -> networkx.MultiDiGraph:
    """The graph as a directed NetworkX multigraph with attributes of plain numbers and lists.

    Edges carry ``id``, their place in the graph, also as the key of the multigraph: parallel edges stay apart.

    Args:
        graph: The graph.
    """
    import networkx

    made = networkx.MultiDiGraph()
    node_rows = {name: x.tolist() for name, x in graph.ndata.items()}
    edge_rows = {name: x.tolist() for name, x in graph.edata.items()}
    for v in range(graph.num_nodes()):
        made.add_node(v, **{name: rows[v] for name, rows in node_rows.items()})
    src, dst = (x.tolist() for x in graph.edges())
    for e, (s, t) in enumerate(zip(src, dst, strict=True)):
        made.add_edge(s, t, key=e, **{**{name: rows[e] for name, rows in edge_rows.items()}, "id": e})
    return made


def from_networkx(graph: networkx.Graph) -> Graph:
    """The graph of a NetworkX graph whose nodes are the numbers 0..V-1: the inverse of `to_networkx`.

    An undirected graph gets both directions of each edge. Edges come in the order of their ``id`` where all have a
    whole one, otherwise in NetworkX's order. Python's integers become int64, its floats float32; of NumPy's numbers and
    of booleans the type is kept.

    Args:
        graph: Any NetworkX graph.

    Raises:
        ConfigError: Nodes are not 0..V-1, or an attribute is missing from some node or edge, or is not numeric.
    """
    if set(graph.nodes) != set(range(graph.number_of_nodes())):
        raise ConfigError("from_networkx: nodes are not 0..V-1; call networkx.convert_node_labels_to_integers first")
    edges = list((graph if graph.is_directed() else graph.to_directed()).edges(data=True))
    if graph.is_directed() and edges and all(isinstance(attributes.get("id"), int) for _, _, attributes in edges):
        edges.sort(key=lambda edge: edge[2]["id"])
    src = torch.tensor([s for s, _, _ in edges], dtype=torch.int64)
    dst = torch.tensor([t for _, t, _ in edges], dtype=torch.int64)
    ndata = _columns("node", [graph.nodes[v] for v in range(graph.number_of_nodes())])
    edata = _columns("edge", [{k: x for k, x in attributes.items() if k != "id"} for _, _, attributes in edges])
    return make_graph(src, dst, graph.number_of_nodes(), ndata, edata)


def _columns(what: str, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Rows of attributes as one tensor for each name."""
    names = sorted(rows[0]) if rows else []
    for i, row in enumerate(rows):
        if sorted(row) != names:
            raise ConfigError(f"from_networkx: {what} {i} has attributes {sorted(row)}, the first {names}; fill it")
    try:
        return {name: torch.tensor([row[name] for row in rows]) for name in names}
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"from_networkx: a {what} attribute is not numeric ({error}); remove or encode it") from error
