"""Stochastic views of a graph: edges dropped, feature columns masked, nodes cut off, random-walk subgraphs.

All draw from a `numpy.random.Generator` that the caller seeds, and never change the graph that they are given. None
renumbers nodes except `random_walk_subgraph`, which records the old ids, so that two views can be compared node by node
(GRACE, Zhu et al. 2020).
"""

from __future__ import annotations

import numpy as np
import torch

from pixgraph.errors import ConfigError
from pixgraph.graph.backend import Graph, edge_subgraph, make_graph

Tensor = torch.Tensor


def _check_probability(name: str, p: float) -> None:
    if not 0 <= p <= 1:
        raise ConfigError(f"{name}: got p = {p}, expected a probability in [0, 1]")


def drop_edges(graph: Graph, p: float, rng: np.random.Generator, symmetric: bool = True) -> Graph:
    """The graph without a random share of its edges; edge data of the others is kept.

    Args:
        graph: The graph.
        p: Probability with which an edge is dropped, in [0, 1].
        rng: Source of randomness.
        symmetric: Both directions of a pair of nodes, and parallel edges, share one draw, so that an undirected graph
            stays one.

    Returns:
        A graph of the same nodes.

    Raises:
        ConfigError: `p` is no probability.
    """
    _check_probability("drop_edges", p)
    if not symmetric:
        return edge_subgraph(graph, torch.from_numpy(rng.random(graph.num_edges()) >= p))
    src, dst = (x.cpu() for x in graph.edges())
    pair = torch.minimum(src, dst) * graph.num_nodes() + torch.maximum(src, dst)
    pairs, which = torch.unique(pair, return_inverse=True)
    keep = torch.from_numpy(rng.random(len(pairs)) >= p)
    return edge_subgraph(graph, keep[which])


def mask_features(x: Tensor, p: float, rng: np.random.Generator) -> Tensor:
    """A copy of x (V, F) in which random columns are zero, the same ones for every node; nothing is rescaled.

    Args:
        x: Node features (V, F).
        p: Probability with which a column is masked, in [0, 1].
        rng: Source of randomness.

    Raises:
        ConfigError: `p` is no probability.
    """
    _check_probability("mask_features", p)
    keep = torch.from_numpy(rng.random(x.shape[-1]) >= p).to(x.device)
    return x * keep  # by a product, so that gradients pass through the kept columns


def mask_edge_features(graph: Graph, p: float, rng: np.random.Generator, name: str = "feature") -> Graph:
    """A graph whose edge features ``edata[name]`` (E, F) have random columns set to zero.

    Args:
        graph: The graph; its own edge data stays as it is.
        p: Probability with which a column is masked, in [0, 1].
        rng: Source of randomness.
        name: Which edge data to mask.

    Raises:
        ConfigError: `p` is no probability, or there is no such edge data.
    """
    if name not in graph.edata:
        raise ConfigError(f"mask_edge_features: no edge data {name!r}, expected one of {sorted(graph.edata)}")
    made: Graph = graph.local_var()
    made.edata[name] = mask_features(graph.edata[name], p, rng)
    return made


def drop_nodes(graph: Graph, p: float, rng: np.random.Generator) -> Graph:
    """The graph with random nodes isolated: all their edges are cut, while ids and data of all nodes stay.

    Args:
        graph: The graph.
        p: Probability with which a node is cut off, in [0, 1].
        rng: Source of randomness.

    Returns:
        A graph of the same nodes; ``ndata["dropped"]``, bool (V,), tells which were cut off.

    Raises:
        ConfigError: `p` is no probability.
    """
    _check_probability("drop_nodes", p)
    dropped = torch.from_numpy(rng.random(graph.num_nodes()) < p).to(graph.device)
    src, dst = graph.edges()
    made = edge_subgraph(graph, ~(dropped[src] | dropped[dst]))
    made.ndata["dropped"] = dropped
    return made


def random_walk_subgraph(graph: Graph, seeds: Tensor, length: int, rng: np.random.Generator) -> Graph:
    """The subgraph induced by the nodes that random walks along the edges reach.

    Args:
        graph: The graph.
        seeds: Nodes where one walk each begins, integer (s,); repeat a node for several walks from it.
        length: Steps of a walk; a walk ends early at a node without outgoing edges.
        rng: Source of randomness.

    Returns:
        A graph of the visited nodes in ascending order, with their data and that of the edges between them;
        ``ndata["id"]``, int64, holds the ids in the graph given.

    Raises:
        ConfigError: `length` is negative or a seed is not a node.
    """
    nodes = graph.num_nodes()
    at = seeds.cpu().long().numpy()
    if length < 0 or (at.size and not (at.min() >= 0 and at.max() < nodes)):
        raise ConfigError(f"random_walk_subgraph: got length {length}, expected >= 0, and seeds within 0..{nodes - 1}")
    src, dst = (x.cpu().numpy() for x in graph.edges())
    after = dst[np.argsort(src, kind="stable")]
    degree = np.bincount(src, minlength=nodes)
    first = np.cumsum(degree) - degree
    visited = np.zeros(nodes, dtype=bool)
    visited[at] = True
    for _ in range(length):
        at = at[degree[at] > 0]
        at = after[first[at] + rng.integers(0, degree[at])]
        visited[at] = True
    return _induced(graph, torch.from_numpy(visited).to(graph.device))


def _induced(graph: Graph, keep: Tensor) -> Graph:
    ids = keep.nonzero().squeeze(1)
    new = torch.cumsum(keep, 0) - 1  # old id -> new id
    src, dst = graph.edges()
    edges = (keep[src] & keep[dst]).nonzero().squeeze(1)
    ndata = {name: x[ids] for name, x in graph.ndata.items()}
    edata = {name: x[edges] for name, x in graph.edata.items()}
    return make_graph(new[src[edges]], new[dst[edges]], len(ids), {**ndata, "id": ids}, edata)
