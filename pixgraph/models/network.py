"""The GNN: a class-agnostic encoder, class-wise evidence, and a class-wise decoder on the task graph.

    feature maps --project--> node states --encoder blocks on the task graph--> h_v            (shared by all classes)
    feature maps of query and supports --evidence, level by level, and of h itself--> e_vn       (for each class n)
    [h_v, e_vn, label of v as class n sees it] --decoder blocks--> logit of class n at node v

The weights never see which class they score or how many there are: permuting the classes permutes the output, and one
checkpoint serves any N and K. A softmax over (0, logits of the N classes) joins them with the background.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from pixgraph.config import ModelConfig
from pixgraph.data.picture import FewShotTask, Picture
from pixgraph.errors import DataError
from pixgraph.graph.backend import Graph
from pixgraph.models.blocks import GraphBlock
from pixgraph.models.evidence import EVIDENCE, Evidence, LevelEvidence
from pixgraph.models.levels import level_statistics, resample, standardise
from pixgraph.models.nodes import NodeGrid, node_features, node_grids
from pixgraph.models.upsample import GuidedUpsampler

COLOR_POSITION = 5
LABEL_STATES = 3  # how class n sees the label of a node: itself, not itself, unknown
METRIC = 48  # dimensions of the learnt metric
PIECE = 8192  # query nodes compared with the support nodes at a time


@dataclass
class Output:
    """What the network says of one task.

    Attributes:
        logits: For each query (N, h, w): class logits against a background of zero, refined.
        node_logits: For each query (N, rows, columns): the decoder's own logits at its nodes.
        metric_logits: For each query (N, rows, columns): logits from the learnt metric's evidence alone.
        embedding: (V, D) unit vectors of all nodes in the learnt metric, for the node contrasts.
    """

    logits: list[torch.Tensor]
    node_logits: list[torch.Tensor]
    metric_logits: list[torch.Tensor]
    embedding: torch.Tensor


class PixGraphNet(nn.Module):
    """Encoder, evidence and decoder for any number of classes and shots.

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
        self.level_evidence = LevelEvidence(len(self.channels))
        self.metric_evidence = Evidence()
        self.metric_head = nn.Linear(EVIDENCE, 1)
        evidence = EVIDENCE * (len(self.level_evidence.levels) + 1) if config.evidence else 0
        self.join = nn.Linear(width + evidence + LABEL_STATES, width)
        self.decoder = nn.ModuleList([GraphBlock(*block) for _ in range(config.decoder_blocks)])
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))
        self.upsample = GuidedUpsampler(self.channels[0], width)

    def forward(self, graph: Graph, task: FewShotTask) -> Output:
        """Score every class at every node, and refine the scores of the query nodes.

        Args:
            graph: `task_graph` of the task, or several of its queries attached to one support part.
            task: Supports with labels, queries; no label of a query is read.

        Returns:
            Logits at the nodes and on the finest feature grid.
        """
        statistics = level_statistics(task.support)
        support = [standardise(p, statistics) for p in task.support]
        others = [standardise(p, statistics) for p in (*task.query, *task.unlabelled)]
        grids = node_grids(graph, task)
        height, width = task.support[0].rgb.shape[-2:]
        states = self.encode(graph, support, (height, width), others, grids)  # (V, C)
        embedding = F.normalize(self.metric(states), dim=1)  # (V, D)
        label = graph.ndata["label"]
        evidence, metric = self.gather_evidence(task, support, others, grids, embedding, label)
        parts = [states[:, None].expand(-1, task.n_way, -1), evidence, label_states(label, task.n_way)]
        x = self.join(torch.cat(parts if self.config.evidence else parts[::2], 2))  # (V, N, C)
        for block in self.decoder:
            x = block(graph, x)
        scores = self.head(x)[..., 0]  # (V, N)
        logits, node_logits = [], []
        for picture, maps, grid in zip(task.query, others, grids, strict=False):
            node_logits.append(grid.image(scores))
            fine = self.upsample(node_logits[-1], grid.image(x).permute(0, 2, 3, 1), maps[0], picture.rgb)
            logits.append(fine)
        return Output(logits, node_logits, metric, embedding)

    def encode(
        self,
        graph: Graph,
        support: list[list[torch.Tensor]],
        size: tuple[int, int],
        others: list[list[torch.Tensor]],
        grids: list[NodeGrid],
        keep: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Class-agnostic states of all nodes.

        Args:
            graph: The task graph, or that of some supports alone.
            support: Standardised maps of the pictures whose nodes were sampled.
            size: Height and width of these pictures, in pixels.
            others: Those of the pictures whose nodes form a grid.
            grids: Where the nodes of the latter are.
            keep: (1, C + 5) factors of the input columns, features before colour and position; `None`: dropout of
                whole feature columns in training.

        Returns:
            (V, C).
        """
        own = node_features(graph, support, size, others, grids, self.project)
        x = torch.cat([own, graph.ndata["rgbxy"]], 1)
        if keep is None:
            kept = F.dropout(own.new_ones(1, own.shape[1]), self.config.input_dropout, self.training)
            keep = torch.cat([kept, own.new_ones(1, COLOR_POSITION)], 1)
        x = self.enter(x * keep)
        for block in self.encoder:
            x = block(graph, x[:, None])[:, 0]
        return x

    def gather_evidence(
        self,
        task: FewShotTask,
        support: list[list[torch.Tensor]],
        others: list[list[torch.Tensor]],
        grids: list[NodeGrid],
        embedding: torch.Tensor,
        label: torch.Tensor,
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Evidence of all levels and of the learnt metric at the query nodes.

        Returns:
            (V, N, channels), zero at nodes of other roles, and for each query the metric's logits (N, rows, columns).
        """
        stacked = [torch.stack(level) for level in zip(*support, strict=True)]
        labels = torch.stack([_labelled(p) for p in task.support])
        sampled = slice(0, grids[0].first)
        weight = F.one_hot(label[sampled].clamp_max(task.n_way), task.n_way + 1)[:, 1:].float()
        known = (label[sampled] <= task.n_way).float()
        weight = weight * known[:, None]
        blocks, metric = [], []
        for maps, grid in zip(others[: len(task.query)], grids, strict=False):
            learnt = self._metric_evidence(embedding[grid.nodes], embedding[sampled], weight, known)  # (P, N, 6)
            metric.append(self.metric_head(learnt)[..., 0].T.reshape(task.n_way, grid.rows, grid.columns))
            if self.config.evidence:
                fixed = [
                    resample(m, grid.rows, grid.columns) for m in self.level_evidence(maps, stacked, labels, task.n_way)
                ]
                blocks.append(torch.cat([*(m.flatten(2).permute(2, 0, 1) for m in fixed), learnt], 2))
        if not blocks:
            return embedding.new_zeros(len(label), task.n_way, 0), metric
        joined = torch.cat(blocks)
        before = joined.new_zeros(grids[0].first, *joined.shape[1:])
        after = joined.new_zeros(len(label) - grids[0].first - len(joined), *joined.shape[1:])
        return torch.cat([before, joined, after]), metric

    def _metric_evidence(
        self, query: torch.Tensor, support: torch.Tensor, weight: torch.Tensor, known: torch.Tensor
    ) -> torch.Tensor:
        """Evidence in the learnt metric, in pieces so that no query-by-support matrix outgrows the cache."""
        pieces = [self.metric_evidence(piece, support, weight, known) for piece in query.split(PIECE)]
        return torch.cat(pieces)


def label_states(label: torch.Tensor, n_way: int) -> torch.Tensor:
    """The label of each node as each class sees it: (V, N, 3) one-hot of itself, another known label, unknown."""
    ways = torch.arange(1, n_way + 1, device=label.device)
    own = label[:, None] == ways
    unknown = (label > n_way)[:, None].expand_as(own)
    return torch.stack([own, ~own & ~unknown, unknown], 2).float()


def _labelled(picture: Picture) -> torch.Tensor:
    if picture.label is None:
        raise DataError(f"support {picture.key!r}: got no label, expected a mask; give it one or pass it as unlabelled")
    return picture.label
