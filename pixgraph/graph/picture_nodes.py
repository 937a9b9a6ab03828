"""The nodes of a picture without a label, whichever sort is asked for, and the edges among them."""

from __future__ import annotations

from pixgraph.config import GraphConfig
from pixgraph.data.picture import Picture
from pixgraph.graph.cells import Cells, grid_size, picture_cells
from pixgraph.graph.edge_blocks import EdgeBlock, LatticeEdges
from pixgraph.graph.embedding import EmbeddingSpace
from pixgraph.graph.lattice import check_dilations
from pixgraph.graph.query_edges import query_block
from pixgraph.graph.segment_map import segment_map
from pixgraph.graph.segments import SegmentNodes, adjacency_block, segment_nodes, similar_block

PictureNodes = Cells | SegmentNodes


def picture_nodes(picture: Picture, config: GraphConfig, first: int, space: EmbeddingSpace | None) -> PictureNodes:
    """Cells or segments of a picture.

    Args:
        picture: The picture; its label is not read.
        config: Which nodes, and how many.
        first: Id of the first node.
        space: Where vectors are wanted; `None`: nowhere.

    Raises:
        ConfigError: The stride does not divide the picture's sides.
        DataError: Colours or vectors are not finite.
    """
    if config.nodes == "segments":
        return segment_nodes(picture, config, first, space)
    return picture_cells(picture, config.stride, first, space)


def count_nodes(picture: Picture, config: GraphConfig) -> int:
    """How many nodes `picture_nodes` gives.

    Raises:
        ConfigError: The stride does not divide the picture's sides, or a dilation does not fit.
    """
    if config.nodes == "segments":
        return len(segment_map(picture, config.segments))
    height, width = grid_size(picture.rgb, config.stride)
    check_dilations(height, width, config.dilations)
    return height * width


def neighbour_block(nodes: PictureNodes, config: GraphConfig) -> EdgeBlock:
    """Edges between neighbours in a picture: of the lattice, or of the region adjacency graph."""
    return adjacency_block(nodes) if isinstance(nodes, SegmentNodes) else LatticeEdges(nodes, config)


def alike_block(nodes: PictureNodes, config: GraphConfig) -> EdgeBlock | None:
    """From the nearest other nodes of the same picture by cosine, besides its neighbours; `None`: none is wanted."""
    return similar_block(nodes, config) if isinstance(nodes, SegmentNodes) else query_block(nodes, config)
