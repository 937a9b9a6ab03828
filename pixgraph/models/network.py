"""The GNN: a class-agnostic encoder, class-wise evidence, and a class-wise decoder on the task graph.

    feature maps --project--> node states --encoder blocks on the task graph--> h_v            (shared by all classes)
    feature maps of query and supports --evidence, level by level, and of h itself--> e_vn       (for each class n)
    e_vn --from coarse to fine, with the features--> y_vn                  (convolutions over the cells of a query)
    [h_v, y_vn, label of v as class n sees it] --decoder blocks--> logit of class n at node v
    these logits and the query's maps --refinement--> the same logits, refined              (in evaluation mode)

The weights never see which class they score or how many there are: permuting the classes permutes the output, and one
checkpoint serves any N and K. A softmax over (0, logits of the N classes) joins them with the background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn

from pixgraph.config import ModelConfig
from pixgraph.data.picture import FewShotTask, Picture
from pixgraph.errors import DataError
from pixgraph.graph.backend import Graph
from pixgraph.graph.pattern import shared
from pixgraph.models.blocks import GraphBlock, Messages
from pixgraph.models.encoder import NodeEncoder, block_messages, prediction_head, run_blocks, target_of
from pixgraph.models.evidence import SCALE, Evidence, LevelEvidence, SupportEvidence, query_cells, relative
from pixgraph.models.levels import QueryCells, Statistics, compared_levels, level_statistics, standardise
from pixgraph.models.nodes import node_grids, support_places
from pixgraph.models.places import PicturePlace, joined
from pixgraph.models.pyramid import EvidencePyramid
from pixgraph.models.refinement import refine
from pixgraph.models.support_cells import SupportCells, count_shots, support_cells
from pixgraph.models.upsample import GuidedUpsampler

HIDDEN = 0.8  # share of a level's channels that the pyramid does not see in training
METRIC_SHARPNESS = (16.0,)  # initial one of the learnt metric's evidence
LABEL_STATES = 3  # how class n sees the label of a node: itself, not itself, unknown


@dataclass
class Output:
    """What the network says of one task.

    Attributes:
        logits: For each query (N, h, w): class logits against a background of zero, refined.
        node_logits: For each query (N, rows, columns): the same at its nodes; in training those of the decoder itself.
        metric_logits: For each query (N, rows, columns): logits from the learnt metric's evidence alone.
        embedding: (V, D) unit vectors of all nodes in the learnt metric, for the node contrasts.
        stage_logits: In training, for each encoder block but the last, what `metric_logits` would be after it.
    """

    logits: list[torch.Tensor]
    node_logits: list[torch.Tensor]
    metric_logits: list[torch.Tensor]
    embedding: torch.Tensor
    stage_logits: list[list[torch.Tensor]] = field(default_factory=list)


@dataclass(frozen=True)
class SupportSide:
    """What evidence compares queries with.

    Attributes:
        statistics: Mean and standard deviation of each channel over the supports.
        maps: Standardised maps of each support.
        evidence: What evidence of the backbone's levels needs, unless it is switched off.
        shots: Supports a class, on average.
    """

    statistics: Statistics
    maps: list[list[torch.Tensor]]
    evidence: SupportEvidence | None
    shots: float


@dataclass(frozen=True)
class SupportMemory:
    """A support set as the network knows it.

    Attributes:
        side: What evidence compares queries with.
        encoded: What the support nodes send in each encoder block.
        decoded: The same for each decoder block.
        cells: The support nodes in the learnt metric.
    """

    side: SupportSide
    encoded: list[Messages]
    decoded: list[Messages]
    cells: SupportCells


class PixGraphNet(NodeEncoder):
    """Encoder, evidence and decoder for any number of classes and shots.

    Args:
        channels: Channels of the backbone's levels, finest first.
        config: Sizes and switches.
        strides: Of the levels, in pixels: they say which are compared with the supports, see `compared_levels`.
    """

    def __init__(self, channels: tuple[int, ...], config: ModelConfig, strides: tuple[int, ...]) -> None:
        super().__init__(channels, config)
        width = config.width
        block = (width, config.heads, config.dropout, config.edge_features)
        self.compared = compared_levels(strides)
        self.level_evidence = LevelEvidence(len(self.compared))
        self.metric_evidence = Evidence(METRIC_SHARPNESS)
        learnt = self.metric_evidence.channels
        self.metric_head = nn.Linear(learnt, 1)
        self.pyramid, self.evidence_channels = None, 0
        if config.evidence and config.pyramid:
            self.pyramid = EvidencePyramid([self.channels[i] for i in self.compared], config.pyramid, HIDDEN)
            self.evidence_channels = config.pyramid + 2 * learnt  # the metric's as it is, and `relative`
        elif config.evidence:
            self.evidence_channels = 2 * (self.level_evidence.channels + learnt)
        self.join = nn.Linear(width + self.evidence_channels + LABEL_STATES, width)
        self.decoder = nn.ModuleList([GraphBlock(*block) for _ in range(config.decoder_blocks)])
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))
        self.upsample = GuidedUpsampler(self.channels[0], width)
        # Last, so that the other weights start the same with and without them.
        self.predictor = prediction_head() if config.target else None
        self.target = target_of(self) if config.target else None

    def forward(self, graph: Graph, task: FewShotTask, memory: SupportMemory | None = None) -> Output:
        """Score every class at every node, and refine the scores of the query nodes.

        Args:
            graph: `task_graph` of the task, or several of its queries attached to one support part.
            task: Supports with labels, queries; no label of a query is read.
            memory: What `remember` gave for the supports; their nodes then keep the states they have without queries,
                which are the same numbers as long as no edge leads from a query to a support node.

        Returns:
            Logits at the nodes and on the finest feature grid. With a memory, `embedding` has no support nodes.
        """
        side = self.compare(task) if memory is None else memory.side
        others = [standardise(p, side.statistics) for p in (*task.query, *task.unlabelled)]
        grids = node_grids(graph, task)
        first = 0 if memory is None else grids[0].first
        if memory is None:
            stages = self.encode(graph, side.maps, support_places(graph, task), others, grids)  # (V, 1, C) each
        else:
            stages = self.encode(graph, [], [], others, grids, memory=memory.encoded)  # (V - first, 1, C) each
        states = stages[-1][:, 0]
        embedding = self.embed(stages[-1])  # (V - first, D)
        label = graph.ndata["label"]
        if memory is None:
            cells = support_nodes(embedding[: grids[0].first], label[: grids[0].first], task.n_way)
        else:
            cells = memory.cells
        own = [query_cells([maps[i] for i in self.compared]) for maps in others[: len(task.query)]]
        evidence, metric, regressed = self.gather_evidence(side, others, own, grids, embedding, cells, first)
        x = self.enter_decoder(states, evidence, seen_labels(graph, first, task.n_way))
        x = run_blocks(self.decoder, graph, x, None if memory is None else memory.decoded, every=False)[-1]
        queries = len(task.query)
        scores = self.head(x)[..., 0]  # (V - first, N)
        scores = self.refined(scores, graph, side, own, regressed, grids[:queries])
        logits, node_logits = [], []
        for picture, maps, grid in zip(task.query, others, grids, strict=False):
            node_logits.append(grid.image(scores, first))
            hidden = grid.image(x, first).permute(0, 2, 3, 1)
            logits.append(self.upsample(node_logits[-1], hidden, maps[0], picture.rgb))
        early = stages[1:-1] if self.training and memory is None else []
        return Output(logits, node_logits, metric, embedding, [self.score_stage(x, label, grids, task) for x in early])

    def remember(self, graph: Graph, task: FewShotTask) -> SupportMemory:
        """Everything that queries need of the supports, computed once for any number of queries.

        Args:
            graph: The support nodes and their edges alone.
            task: Its supports count.
        """
        side = self.compare(task)
        encoded = self.encode(graph, side.maps, support_places(graph, task), [], [])
        states = encoded[-1][:, 0]
        label = graph.ndata["label"]
        evidence = states.new_zeros(len(label), task.n_way, self.evidence_channels)
        x = self.enter_decoder(states, evidence, label_states(label, task.n_way))
        decoded = run_blocks(self.decoder[:-1], graph, x, None)  # what the last block would make of them nobody asks
        sent = block_messages(self.encoder, encoded[:-1]), block_messages(self.decoder, decoded[: len(self.decoder)])
        return SupportMemory(side, *sent, support_nodes(self.embed(encoded[-1]), label, task.n_way))

    def score_stage(
        self, states: torch.Tensor, label: torch.Tensor, grids: list[PicturePlace], task: FewShotTask
    ) -> list[torch.Tensor]:
        """For each query the logits (N, rows, columns) of the metric's evidence, with states (V, 1, C) of a stage."""
        embedding = self.embed(states)
        cells = support_nodes(embedding[: grids[0].first], label[: grids[0].first], task.n_way)
        queries = grids[: len(task.query)]
        return [self.metric_image(self.metric_evidence(embedding[g.nodes], cells), g) for g in queries]

    def update_target(self, decay: float) -> None:
        """Let the target encoder, if there is one, follow the encoder; to be called after each optimiser step.

        Args:
            decay: Share of its own weights that the target keeps, in [0, 1].
        """
        if self.target is not None:
            self.target.follow(self, decay)

    def compare(self, task: FewShotTask) -> SupportSide:
        """Statistics, standardised maps and evidence cells of the supports."""
        statistics = level_statistics(task.support)
        maps = [standardise(p, statistics) for p in task.support]
        labels = torch.stack([_labelled(p) for p in task.support])
        evidence = None
        if self.config.evidence:
            stacked = [torch.stack([levels[i] for levels in maps]) for i in self.compared]
            evidence = self.level_evidence.prepare(stacked, labels, task.n_way)
        return SupportSide(statistics, maps, evidence, count_shots(task.support, task.n_way))

    def refined(
        self,
        logits: torch.Tensor,
        graph: Graph,
        side: SupportSide,
        cells: list[list[QueryCells]],
        scores: list[torch.Tensor],
        places: list[PicturePlace],
    ) -> torch.Tensor:
        """Logits (V - first, N) as `pixgraph.models.refinement` makes them; in training they stay as they are.

        Args:
            logits: What the decoder says.
            graph: The task graph.
            side: The supports.
            cells: The queries' cells of each level that is compared.
            scores: What `gather_evidence` gave.
            places: Where their nodes are.
        """
        if self.training:
            return logits
        weaker = [joint[:, 0] / SCALE for joint in scores]  # of the two ridges
        return refine(logits, graph, places, cells, weaker, side.shots, self.config)

    def enter_decoder(self, states: torch.Tensor, evidence: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Class-wise states (V, N, C) before the first decoder block."""
        parts = [states[:, None].expand(-1, label.shape[1], -1), evidence, label]
        return self.join(torch.cat(parts if self.config.evidence else parts[::2], 2))

    def gather_evidence(
        self,
        side: SupportSide,
        queries: list[list[torch.Tensor]],
        own: list[list[QueryCells]],
        grids: list[PicturePlace],
        embedding: torch.Tensor,
        cells: SupportCells,
        first: int,
    ) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
        """Evidence of all levels and of the learnt metric at the query nodes.

        Args:
            side: The supports.
            queries: Standardised maps of the queries, and of others.
            own: The queries' cells of each level that is compared.
            grids: Where their nodes are.
            embedding: (V - first, D) unit vectors in the learnt metric.
            cells: The support nodes in the learnt metric.
            first: Id of the first node.

        Returns:
            (V - first, N, channels), zero at nodes of other roles; for each query the metric's logits
            (N, rows, columns); for each the scores (N, 2, h, w) of the discriminants, unless evidence is switched off.
        """
        n_way = cells.sides.shape[1]
        blocks, metric, scores = [], [], []
        for maps, units, grid in zip(queries, own, grids, strict=False):
            learnt = self.metric_evidence(embedding[grid.nodes_from(first)], cells)
            metric.append(self.metric_image(learnt, grid))
            if side.evidence is not None:
                fixed = self.level_evidence(units, side.evidence)  # (N, channels, h, w) each
                scores.append(fixed[-1])
                if self.pyramid is not None:
                    seen = self.pyramid([maps[i] for i in self.compared], fixed)
                    blocks.append(torch.cat([collect_classes(grid, [seen]), learnt, relative(learnt)], 2))
                else:
                    absolute = torch.cat([collect_classes(grid, fixed), learnt], 2)
                    blocks.append(torch.cat([absolute, relative(absolute)], 2))
        if not blocks:
            return embedding.new_zeros(len(embedding), n_way, 0), metric, scores
        found = joined(blocks)
        before = grids[0].first - first
        after = len(embedding) - before - len(found)
        return F.pad(found, (0, 0, 0, 0, before, after)) if before or after else found, metric, scores

    def metric_image(self, evidence: torch.Tensor, grid: PicturePlace) -> torch.Tensor:
        """Logits (N, rows, columns) from that evidence alone."""
        return grid.image(self.metric_head(evidence)[..., 0], grid.first)


def collect_classes(grid: PicturePlace, maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """Maps (N, C_i, h_i, w_i) of N classes at the nodes of a query: (n, N, sum of C_i)."""
    return joined([grid.collect(m.flatten(0, 1)).unflatten(1, (m.shape[0], m.shape[1])) for m in maps], 2)


def support_nodes(embedding: torch.Tensor, label: torch.Tensor, n_way: int) -> SupportCells:
    """The support nodes as cells of the learnt metric, each wholly of one class."""
    known = (label <= n_way).to(embedding)
    weight = F.one_hot(label.clamp_max(n_way), n_way + 1)[:, 1:].to(embedding)
    return support_cells(embedding, weight * known[:, None], known)


def seen_labels(graph: Graph, first: int, n_way: int) -> torch.Tensor:
    """`label_states` (V - first, N, 3) of the nodes from `first` on, the first one of all or behind the supports."""
    if not first:
        return label_states(graph.ndata["label"], n_way)
    # None of them is a support node, so none has a label.
    return shared(graph, ("labels", first, n_way), lambda: label_states(graph.ndata["label"][first:], n_way))


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
