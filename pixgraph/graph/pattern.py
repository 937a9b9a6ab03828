"""What graphs have in common whose edges lead to the same nodes: worked out once, and used for all of them.

The graphs of one query after another, attached to the same supports, differ in the features of their edges and in
where some of these come from, not in where they lead: the order in which attention reads them, for one, is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import torch

from pixgraph.backbones.memory import ByteLRU
from pixgraph.graph.backend import Graph, structure

Made = TypeVar("Made")

LARGEST = 2**17
"""Edges of a graph up to which it is remembered: more take long to compute on anyway, and much memory to keep."""

BYTES = 32
"""Of a result, for each edge: about four numbers."""

_made: ByteLRU[Any] = ByteLRU(1 << 26)


def set_pattern(graph: Graph, pattern: Hashable) -> None:
    """Say which pattern a graph has.

    Args:
        graph: The graph.
        pattern: The same for graphs on one device that have as many nodes, and edges that, one by one, lead to the same
            nodes and are of the same kind, and come from the same nodes where they are of a lattice.
    """
    held: Any = graph
    held.__dict__["_pattern"] = (structure(graph), (pattern, str(graph.device)))


def shared(graph: Graph, what: Hashable, make: Callable[[], Made]) -> Made:
    """What `make` gives, from an earlier graph of the same pattern if there was one.

    Args:
        graph: The graph.
        what: Name of the result, and all that it depends on besides the pattern.
        make: Works it out.
    """
    held: Any = graph
    stands_for, pattern = held.__dict__.get("_pattern", (None, None))
    if stands_for is not structure(graph) or graph.num_edges() > LARGEST:  # DGL graphs can be changed in place
        return make()
    key = (pattern, what)
    made = _made.get(key)
    if made is None:
        with torch.inference_mode(False), torch.no_grad():  # what comes later may ask for gradients
            made = make()
        _made.put(key, made, BYTES * graph.num_edges())
    return made
