"""A graph of plain torch tensors with the part of the `dgl.DGLGraph` interface that pixgraph uses."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping, MutableMapping, Sequence

import torch

Tensor = torch.Tensor


class _Frame(UserDict[str, Tensor]):
    """Named tensors whose first dimension is the number of nodes or edges."""

    def __init__(self, what: str, rows: int, device: torch.device) -> None:
        super().__init__()
        self.what, self.rows, self.device = what, rows, device

    def __setitem__(self, name: str, value: Tensor) -> None:
        if value.dim() == 0 or value.shape[0] != self.rows:
            raise ValueError(f"{self.what} data {name!r}: got shape {tuple(value.shape)}, expected ({self.rows}, ...)")
        if value.device != self.device:
            raise ValueError(f"{self.what} data {name!r}: is on {value.device}, the graph on {self.device}; move one")
        super().__setitem__(name, value)


def _check_ends(src: Tensor, dst: Tensor, num_nodes: int) -> None:
    if src.dim() != 1 or src.shape != dst.shape or src.device != dst.device:
        raise ValueError(
            f"edges: got src {tuple(src.shape)} on {src.device} and dst {tuple(dst.shape)} on {dst.device}, "
            "expected two tensors (E,) on one device"
        )
    if src.is_floating_point() or dst.is_floating_point():
        raise ValueError(f"edges: node ids are {src.dtype} and {dst.dtype}, expected integers")
    if src.numel():
        bounds = torch.stack([*src.aminmax(), *dst.aminmax()]).tolist()  # without a tensor of the size of the edges
        low, high = min(bounds), max(bounds)
        if low < 0 or high >= num_nodes:
            raise ValueError(f"edges: node ids span {low}..{high}, expected 0..{num_nodes - 1}; check num_nodes")


class EdgeGraph:
    """Directed multigraph: stands in for `dgl.DGLGraph` where DGL is missing or does not serve the device.

    Args:
        src: Source node of each edge, integer (E,).
        dst: Destination node of each edge, integer (E,), on the same device.
        num_nodes: V.
        ndata: Node tensors, each (V, ...).
        edata: Edge tensors, each (E, ...).

    Raises:
        ValueError: Shapes disagree or an id is not in 0..V-1.

    Example:
        >>> graph = EdgeGraph(torch.tensor([0, 1]), torch.tensor([2, 2]), 3)
        >>> graph
        EdgeGraph(num_nodes=3, num_edges=2, ndata={}, edata={}, device=cpu)
        >>> graph.in_degrees().tolist()
        [0, 0, 2]
    """

    def __init__(
        self,
        src: Tensor,
        dst: Tensor,
        num_nodes: int,
        ndata: Mapping[str, Tensor] | None = None,
        edata: Mapping[str, Tensor] | None = None,
    ) -> None:
        _check_ends(src, dst, num_nodes)
        self._src, self._dst, self._num_nodes = src.long(), dst.long(), int(num_nodes)
        self._ndata = _Frame("node", self._num_nodes, src.device)
        self._edata = _Frame("edge", src.numel(), src.device)
        self._ndata.update(ndata or {})
        self._edata.update(edata or {})
        self._batch_nodes = torch.tensor([self._num_nodes], device=src.device)
        self._batch_edges = torch.tensor([src.numel()], device=src.device)
        self._sorted: dict[str, tuple[Tensor, Tensor, Tensor]] = {}  # structure never changes, so copies share it

    def __repr__(self) -> str:
        nodes = {k: tuple(v.shape) for k, v in self._ndata.items()}
        edges = {k: tuple(v.shape) for k, v in self._edata.items()}
        return (
            f"EdgeGraph(num_nodes={self.num_nodes()}, num_edges={self.num_edges()}, "
            f"ndata={nodes}, edata={edges}, device={self.device})"
        )

    @property
    def ndata(self) -> MutableMapping[str, Tensor]:
        """Node tensors by name, each (V, ...)."""
        return self._ndata

    @property
    def edata(self) -> MutableMapping[str, Tensor]:
        """Edge tensors by name, each (E, ...)."""
        return self._edata

    @property
    def device(self) -> torch.device:
        """Where the graph's tensors are."""
        return self._src.device

    @property
    def batch_size(self) -> int:
        """Number of graphs that were batched into this one."""
        return self._batch_nodes.numel()

    def num_nodes(self) -> int:
        """V."""
        return self._num_nodes

    def num_edges(self) -> int:
        """E."""
        return self._src.numel()

    def nodes(self) -> Tensor:
        """Node ids, int64 (V,)."""
        return torch.arange(self._num_nodes, device=self.device)

    def edges(self) -> tuple[Tensor, Tensor]:
        """Source and destination of each edge, int64 (E,)."""
        return self._src, self._dst

    def in_degrees(self) -> Tensor:
        """Number of incoming edges of each node, int64 (V,)."""
        return torch.bincount(self._dst, minlength=self._num_nodes)

    def out_degrees(self) -> Tensor:
        """Number of outgoing edges of each node, int64 (V,)."""
        return torch.bincount(self._src, minlength=self._num_nodes)

    def batch_num_nodes(self) -> Tensor:
        """Nodes of each batched graph, int64 (B,)."""
        return self._batch_nodes

    def batch_num_edges(self) -> Tensor:
        """Edges of each batched graph, int64 (B,)."""
        return self._batch_edges

    def set_batch_num_nodes(self, counts: Tensor) -> None:
        """Declare how many nodes each batched graph has, integer (B,)."""
        self._batch_nodes = counts.long().to(self.device)

    def set_batch_num_edges(self, counts: Tensor) -> None:
        """Declare how many edges each batched graph has, integer (B,)."""
        self._batch_edges = counts.long().to(self.device)

    def local_var(self) -> EdgeGraph:
        """A graph of the same structure whose ndata and edata can be changed without changing this one's."""
        made = EdgeGraph.__new__(EdgeGraph)
        made.__dict__.update(self.__dict__)
        made._ndata = _Frame("node", self._num_nodes, self.device)
        made._edata = _Frame("edge", self.num_edges(), self.device)
        made._ndata.update(self._ndata)
        made._edata.update(self._edata)
        return made

    def to(self, device: torch.device | str) -> EdgeGraph:
        """The graph with all its tensors on `device`."""
        if torch.empty(0, device=device).device == self.device:
            return self
        made = EdgeGraph.__new__(EdgeGraph)
        made._num_nodes = self._num_nodes
        made._src, made._dst = self._src.to(device), self._dst.to(device)
        made._ndata = _Frame("node", self._num_nodes, made.device)
        made._edata = _Frame("edge", self.num_edges(), made.device)
        made._ndata.update({k: v.to(device) for k, v in self._ndata.items()})
        made._edata.update({k: v.to(device) for k, v in self._edata.items()})
        made._batch_nodes, made._batch_edges = self._batch_nodes.to(device), self._batch_edges.to(device)
        made._sorted = {}
        return made

    def incoming(self) -> tuple[Tensor, Tensor, Tensor]:
        """Edges sorted by destination: offsets int64 (V+1,), sources (E,), edge ids (E,); computed once."""
        return self._sort("in", self._dst, self._src)

    def outgoing(self) -> tuple[Tensor, Tensor, Tensor]:
        """Edges sorted by source: offsets int64 (V+1,), destinations (E,), edge ids (E,); computed once."""
        return self._sort("out", self._src, self._dst)

    def _sort(self, which: str, by: Tensor, other: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if which not in self._sorted:
            order = torch.sort(by, stable=True).indices
            offsets = by.new_zeros(self._num_nodes + 1)
            offsets[1:] = torch.bincount(by, minlength=self._num_nodes).cumsum(0)
            self._sorted[which] = (offsets, other[order], order)
        return self._sorted[which]

    @classmethod
    def batch(cls, graphs: Sequence[EdgeGraph]) -> EdgeGraph:
        """Disjoint union of graphs that carry the same data names on one device."""
        shifts = [0]
        for g in graphs:
            shifts.append(shifts[-1] + g.num_nodes())
        src = torch.cat([g._src + s for g, s in zip(graphs, shifts[:-1], strict=True)])
        dst = torch.cat([g._dst + s for g, s in zip(graphs, shifts[:-1], strict=True)])
        made = cls(
            src,
            dst,
            shifts[-1],
            {name: torch.cat([g._ndata[name] for g in graphs]) for name in graphs[0]._ndata},
            {name: torch.cat([g._edata[name] for g in graphs]) for name in graphs[0]._edata},
        )
        made.set_batch_num_nodes(torch.cat([g._batch_nodes for g in graphs]))
        made.set_batch_num_edges(torch.cat([g._batch_edges for g in graphs]))
        return made
