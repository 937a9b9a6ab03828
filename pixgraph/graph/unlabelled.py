"""Edges from the nodes of unlabelled pictures to those of a query."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from pixgraph.config import GraphConfig
from pixgraph.graph.cells import Cells
from pixgraph.graph.edge_blocks import PartnerEdges
from pixgraph.graph.edges import EdgeKind
from pixgraph.graph.neighbours import nearest_neighbours
from pixgraph.graph.segments import SegmentNodes


def unlabelled_block(
    query: Cells | SegmentNodes, unlabelled: Sequence[Cells | SegmentNodes], config: GraphConfig
) -> PartnerEdges | None:
    """From the nearest nodes, by cosine, of all unlabelled pictures together; `None` if there is none to find.

    An unlabelled picture has the lattice and the support edges of a query, so what reaches a query through these edges
    is what the supports say about pixels that look like its own. The search is over all pairs of nodes: at stride 1
    with several pictures expect seconds to minutes.
    """
    vectors = [c.vectors for c in unlabelled if c.vectors is not None]
    if not config.unlabelled_knn or not vectors or query.vectors is None:
        return None
    ids = np.concatenate([np.arange(c.first, c.first + len(c)) for c in unlabelled])
    found = nearest_neighbours(
        torch.cat(vectors), config.unlabelled_knn, queries=query.vectors, exclude_self=False, metric="cosine"
    )[0].numpy(force=True)  # (n, k)
    partners = torch.from_numpy(ids[found]).to(query.rgbxy.device)
    return PartnerEdges(partners, query.first, ((EdgeKind.UNLABELLED, partners.shape[1]),))
