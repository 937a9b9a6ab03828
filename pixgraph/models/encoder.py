"""The class-agnostic encoder: backbone features at the nodes, attention on the graph, embeddings in a learnt metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from pixgraph.config import ModelConfig
from pixgraph.graph.backend import Graph
from pixgraph.graph.edge_order import edge_order
from pixgraph.models.blocks import GraphBlock, Messages
from pixgraph.models.nodes import node_features
from pixgraph.models.places import NodePoints, NodeSegments, PicturePlace

COLOR_POSITION = 5
METRIC = 48  # dimensions of the learnt metric
PREDICTOR = 192  # hidden channels of the predictor of a network with a target


class NodeEncoder(nn.Module):
    """Projection of the backbone's levels, encoder blocks, and the learnt metric.

    Args:
        channels: Channels of the backbone's levels, finest first.
        config: Sizes and switches.
    """

    def __init__(self, channels: tuple[int, ...], config: ModelConfig) -> None:
        super().__init__()
        self.channels, self.config = tuple(channels), config
        width = config.width
        block = (width, config.heads, config.dropout, config.edge_features)
        self.project = nn.ModuleList([nn.Linear(c, width, bias=False) for c in self.channels])
        self.enter = nn.Linear(width + COLOR_POSITION, width)
        self.encoder = nn.ModuleList([GraphBlock(*block) for _ in range(config.encoder_blocks)])
        self.metric = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, METRIC, bias=False))

    def encode(
        self,
        graph: Graph,
        support: Sequence[list[torch.Tensor]],
        places: Sequence[NodePoints | NodeSegments],
        others: list[list[torch.Tensor]],
        grids: Sequence[PicturePlace],
        keep: torch.Tensor | None = None,
        memory: list[Messages] | None = None,
    ) -> list[torch.Tensor]:
        """Class-agnostic states of the nodes, before each block and after the last one.

        Args:
            graph: The task graph, or that of some pictures alone.
            support: Standardised maps of the supports; none with a memory.
            places: Where the nodes of the supports are.
            others: Maps of the queries and the unlabelled pictures.
            grids: Where the nodes of the latter are.
            keep: (1, C + 5) factors of the input columns, features before colour and position; `None`: dropout of
                whole feature columns in training.
            memory: What the support nodes send in each block, see `block_messages`.

        Returns:
            (V, 1, C) each, without the support nodes if there is a memory.
        """
        first = 0 if memory is None else grids[0].first
        own = node_features([*support, *others], [*places, *grids], self.project)
        x = torch.cat([own, graph.ndata["rgbxy"][first:]], 1)
        if keep is None:
            kept = F.dropout(own.new_ones(1, own.shape[1]), self.config.input_dropout, self.training)
            keep = torch.cat([kept, own.new_ones(1, COLOR_POSITION)], 1)
        x = self.enter(x * keep)[:, None]
        return run_blocks(self.encoder, graph, x, memory)

    def embed(self, states: torch.Tensor) -> torch.Tensor:
        """Unit vectors (V, D) of states (V, 1, C) in the learnt metric."""
        return F.normalize(self.metric(states[:, 0]), dim=1)

    def follow(self, online: NodeEncoder, decay: float) -> None:
        """Move the weights towards those of another encoder: w' = decay * w' + (1 - decay) * w."""
        source = dict(online.named_parameters())
        with torch.no_grad():
            for name, p in self.named_parameters():
                p.lerp_(source[name].to(p), 1 - decay)


def target_of(online: NodeEncoder) -> NodeEncoder:
    """A copy of the encoder that learns by `NodeEncoder.follow` alone; no gradient ever reaches it."""
    target = NodeEncoder(online.channels, online.config)
    target.follow(online, 0.0)
    return target.requires_grad_(False)


def prediction_head() -> nn.Sequential:
    """BGRL's predictor q: what the online encoder foretells of the target's embedding, (n, D) to (n, D)."""
    return nn.Sequential(nn.Linear(METRIC, PREDICTOR), nn.PReLU(), nn.Linear(PREDICTOR, METRIC))


def run_blocks(
    blocks: nn.ModuleList, graph: Graph, x: torch.Tensor, memory: list[Messages] | None, every: bool = True
) -> list[torch.Tensor]:
    """States before each block and after the last one, or the last ones alone.

    Args:
        blocks: `GraphBlock`s.
        graph: V nodes.
        x: (V - S, N, C) states.
        memory: What the first S nodes send in each block, see `block_messages`; `None`: S is 0.
        every: Whether all states are wanted.
    """
    if not blocks:
        return [x]
    order = edge_order(graph, 0 if memory is None else graph.num_nodes() - len(x))
    feature = order.sort(graph.edata["feature"])
    states = [x]
    for i, block in enumerate(blocks):
        new = block(graph, states[-1], None if memory is None else memory[i], feature)
        states = [*states, new] if every else [new]
    return states


def block_messages(blocks: nn.ModuleList, states: Sequence[torch.Tensor]) -> list[Messages]:
    """What nodes send in each block, with states (S, N, C) before each."""
    return [cast(GraphBlock, block).messages(x) for block, x in zip(blocks, states, strict=True)]
