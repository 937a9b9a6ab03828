"""The same graphs by other means, each written as its documentation suggests.

All take the support nodes and their edges ready made, as pixgraph does, and build the query's nodes, the lattice, the
edges from the supports, and the three edge features. Random partners are drawn with replacement, which is less work
than pixgraph's distinct ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from graph_cases import Builder, Scene

from pixgraph.data.picture import Picture
from pixgraph.graph.embedding import EmbeddingSpace
from pixgraph.graph.support import SupportPart


def numpy_dgl_builder(scene: Scene) -> Builder:
    """NumPy arrays, concatenated, and `dgl.graph`; nearest partners by a flat FAISS index of unit vectors."""
    import dgl

    part, case = scene.part, scene.case
    s, side = len(part.label), case.side

    def build(query: Picture) -> Any:
        rgb = query.rgb.numpy().transpose(1, 2, 0).reshape(-1, 3)
        y, x = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
        place = np.stack([x.ravel(), y.ravel()], axis=1) / (side - 1)
        nodes = np.concatenate([part.rgbxy.numpy(), np.concatenate([rgb, place], axis=1)]).astype(np.float32)
        image = np.concatenate([part.image.numpy(), np.full(side * side, len(part.shortfall))])
        node = np.arange(side * side).reshape(side, side) + s
        src, dst, kind = _ready(part, case.shots > 0)
        for d in case.dilations:
            for a, b in ((node[:, :-d], node[:, d:]), (node[:-d], node[d:])):
                src += [a.ravel(), b.ravel()]
                dst += [b.ravel(), a.ravel()]
                kind.append(np.full(2 * a.size, 3))
        for partners, number in _partners(scene, query):
            src.append(partners.ravel())
            dst.append(np.repeat(node.ravel(), partners.shape[1]))
            kind.append(np.full(partners.size, number))
        u, v = np.concatenate(src), np.concatenate(dst)
        color = np.abs(nodes[u, :3] - nodes[v, :3]).mean(axis=1)
        distance = np.abs(nodes[u, 3:] - nodes[v, 3:]).mean(axis=1)
        feature = np.stack([color, distance, image[u] == image[v]], axis=1).astype(np.float32)
        graph = dgl.graph((torch.from_numpy(u), torch.from_numpy(v)), num_nodes=len(nodes))
        graph.ndata["rgbxy"] = torch.from_numpy(nodes)
        graph.ndata["image"] = torch.from_numpy(image)
        graph.edata["feature"] = torch.from_numpy(feature)
        graph.edata["kind"] = torch.from_numpy(np.concatenate(kind).astype(np.uint8))
        return graph

    return build


def pyg_builder(scene: Scene) -> Builder:
    """`torch_geometric`: one direction of the lattice by index arithmetic, `to_undirected`, `Data`.

    `torch_geometric.utils.grid` has the diagonals and self-loops and no dilation, so that it is no help here; nearest
    partners need torch_cluster, which has no build for every release of torch, and are left out.
    """
    import torch_geometric.data
    import torch_geometric.utils

    part, case = scene.part, scene.case
    s, side = len(part.label), case.side

    def build(query: Picture) -> Any:
        place = torch.linspace(0, 1, side)
        x, y = place.repeat(side), place.repeat_interleave(side)
        nodes = torch.cat([part.rgbxy, torch.cat([query.rgb.flatten(1).T, x[:, None], y[:, None]], dim=1)])
        image = torch.cat([part.image, torch.full((side * side,), len(part.shortfall))])
        node = torch.arange(side * side).view(side, side) + s
        one_way = []
        for d in case.dilations:
            one_way.append(torch.stack([node[:, :-d].flatten(), node[:, d:].flatten()]))
            one_way.append(torch.stack([node[:-d].flatten(), node[d:].flatten()]))
        parts = [torch_geometric.utils.to_undirected(torch.cat(one_way, dim=1), num_nodes=len(nodes))]
        if case.shots:
            parts.append(torch.stack([part.src, part.dst]))
        if case.drawn:
            drawn = torch.randint(s, (side * side, case.drawn))
            parts.append(torch.stack([drawn.flatten(), node.flatten().repeat_interleave(case.drawn)]))
        edges = torch.cat(parts, dim=1)
        start, end = nodes[edges[0]], nodes[edges[1]]
        color = (start[:, :3] - end[:, :3]).abs().mean(dim=1)
        distance = (start[:, 3:] - end[:, 3:]).abs().mean(dim=1)
        feature = torch.stack([color, distance, (image[edges[0]] == image[edges[1]]).float()], dim=1)
        return torch_geometric.data.Data(x=nodes, edge_index=edges, edge_attr=feature, image=image)

    return build


def networkx_builder(scene: Scene) -> Builder:
    """`networkx.grid_2d_graph` for the first dilation, further edges and all data a node and an edge at a time."""
    import networkx

    case = scene.case

    def build(query: Picture) -> Any:
        side, rgb = case.side, query.rgb.permute(1, 2, 0).numpy()
        graph = networkx.grid_2d_graph(side, side)
        for d in case.dilations[1:]:
            graph.add_edges_from(((r, c), (r, c + d)) for r in range(side) for c in range(side - d))
            graph.add_edges_from(((r, c), (r + d, c)) for r in range(side - d) for c in range(side))
        for (r, c), data in graph.nodes(data=True):
            data["rgbxy"] = (*rgb[r, c], c / (side - 1), r / (side - 1))
        for a, b, data in graph.edges(data=True):
            distance = (abs(a[0] - b[0]) + abs(a[1] - b[1])) / (side - 1) / 2
            data["feature"] = (np.abs(rgb[a] - rgb[b]).mean(), distance, 1.0)
        return graph

    return build


def rag_builder(scene: Scene) -> Builder:
    """`skimage.graph.rag_mean_color` with a region for each pixel, and the features an edge at a time; dilation 1."""
    from skimage import graph as skimage_graph

    side = scene.case.side

    def build(query: Picture) -> Any:
        rgb = query.rgb.permute(1, 2, 0).numpy()
        graph = skimage_graph.rag_mean_color(rgb, np.arange(side * side).reshape(side, side), connectivity=1)
        for a, b, data in graph.edges(data=True):
            one, other = graph.nodes[a]["mean color"], graph.nodes[b]["mean color"]
            data["feature"] = (np.abs(one - other).mean(), 1 / (side - 1) / 2, 1.0)
        return graph

    return build


def loop_builder(scene: Scene) -> Builder:
    """Python lists filled by loops over pixels and neighbours, as in the published code of Pixel GNN, then tensors."""
    part, case = scene.part, scene.case
    s, side = len(part.label), case.side

    def build(query: Picture) -> Any:
        rgb = query.rgb.permute(1, 2, 0).tolist()
        support, src, dst, feature = part.rgbxy.tolist(), [], [], []
        drawn = torch.randint(s, (side * side, case.drawn)).tolist() if case.drawn else []
        for r in range(side):
            for c in range(side):
                me, mine = s + r * side + c, rgb[r][c]
                for d in case.dilations:
                    for i, j in ((r, c - d), (r, c + d), (r - d, c), (r + d, c)):
                        if 0 <= i < side and 0 <= j < side:
                            src.append(s + i * side + j)
                            dst.append(me)
                            color = sum(abs(a - b) for a, b in zip(mine, rgb[i][j], strict=True)) / 3
                            feature.append([color, (abs(r - i) + abs(c - j)) / (side - 1) / 2, 1.0])
                for other in drawn[me - s] if drawn else ():
                    theirs = support[other]
                    src.append(other)
                    dst.append(me)
                    color = sum(abs(a - b) for a, b in zip(mine, theirs[:3], strict=True)) / 3
                    distance = (abs(c / (side - 1) - theirs[3]) + abs(r / (side - 1) - theirs[4])) / 2
                    feature.append([color, distance, 0.0])
        return torch.tensor([src, dst]), torch.tensor(feature)

    return build


def _ready(part: SupportPart, wanted: bool) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Source, destination and kind of the supports' own edges."""
    return ([part.src.numpy()], [part.dst.numpy()], [part.kind.numpy()]) if wanted else ([], [], [])


def _partners(scene: Scene, query: Picture) -> list[tuple[np.ndarray, int]]:
    """Partners (n, c) of every node among the supports, and the number of their kind."""
    case, part, found = scene.case, scene.part, []
    if case.nearest and part.space is not None:
        found.append((part.order[_nearest(part.space, scene.node_vectors(query), case.nearest)], 5))
    if case.drawn:
        draw = np.random.default_rng(0).integers(0, len(part.label), (case.side**2, case.drawn))
        found.append((draw, 4))
    return found


def _nearest(space: EmbeddingSpace, vectors: torch.Tensor, count: int) -> np.ndarray:
    import faiss

    points, queries = (torch.nn.functional.normalize(x).numpy() for x in (space.vectors, vectors))
    index = faiss.IndexFlatIP(points.shape[1])
    index.add(points)
    faiss.omp_set_num_threads(torch.get_num_threads())
    return index.search(queries, count)[1]
