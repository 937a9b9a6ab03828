from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_task import content, task

from pixgraph.config import Config, GraphConfig
from pixgraph.config_check import check
from pixgraph.errors import ConfigError
from pixgraph.graph import block_neighbours as module
from pixgraph.graph.block_neighbours import block_neighbours, recall
from pixgraph.graph.edges import EdgeKind
from pixgraph.graph.neighbours import nearest_neighbours
from pixgraph.graph.task import task_graph

CONFIG = GraphConfig(
    stride=1, num_fg=9, num_bg=12, dilations=[1, 2], query_support_random=3, query_support_knn=4, knn_block=4
)


def smooth(height, width, d=16, seed=0):
    """Points, and the vectors of a grid that are interpolated from a map a quarter of its size."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, d, -(-height // 4), -(-width // 4), generator=generator)
    grid = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)[0]
    return torch.randn(300, d, generator=generator), grid.flatten(1).T.contiguous()


def by_hand(points, vectors, grid, k, block):
    """The same, a block and a node at a time, in float64."""

    def rounded(x):
        unit = x.double() / x.double().norm(dim=-1, keepdim=True)
        return (unit * (2**12 - x.shape[-1] ** 0.5 / 2)).round()

    image, found = vectors.view(*grid, -1), torch.empty(*grid, k, dtype=torch.int64)
    known = rounded(points)
    for top in range(0, grid[0], block):
        for left in range(0, grid[1], block):
            rows, columns = slice(top, top + block), slice(left, left + block)
            nodes = image[rows, columns].flatten(0, 1)
            near = (known @ rounded(nodes.mean(0))).topk(min(2 * k + 8, len(points))).indices
            best = (rounded(nodes) @ known[near].T).topk(k, dim=1).indices
            found[rows, columns] = near[best].view(found[rows, columns].shape)
    return found.view(-1, k)


@pytest.mark.parametrize("faiss", [True, False])
def test_is_the_search_by_hand(monkeypatch, faiss):
    if not faiss:
        monkeypatch.setattr(module, "load_faiss", lambda: None)
    points, vectors = smooth(12, 20)
    found = block_neighbours(points, vectors, (12, 20), 5, 4)
    assert found.dtype == torch.int64
    assert recall(by_hand(points, vectors, (12, 20), 5, 4), found) > 0.999  # float32 norms may round another way


def test_finds_most_of_the_exact_ones_and_all_with_one_node_a_block():
    points, vectors = smooth(32, 32)
    exact = nearest_neighbours(points, 4, queries=vectors, exclude_self=False, metric="cosine")[0]
    shares = [recall(exact, block_neighbours(points, vectors, (32, 32), 4, b)) for b in (1, 2, 4)]
    assert shares[0] > 0.995  # what is left are ties to 12 bits
    assert shares[0] >= shares[1] >= shares[2] > 0.8


@pytest.mark.parametrize(("height", "width", "block"), [(7, 10, 4), (3, 3, 5), (1, 9, 2)])
def test_grids_that_blocks_do_not_divide(height, width, block):
    points, vectors = smooth(height, width)
    found = block_neighbours(points, vectors, (height, width), 3, block)
    assert found.shape == (height * width, 3)
    assert (found.sort(dim=1).values.diff(dim=1) > 0).all()
    whole = (vectors.view(height, width, -1)[: height // block * block, : width // block * block]).flatten(0, 1)
    if len(whole):
        size = (height // block * block, width // block * block)
        inside = found.view(height, width, 3)[: size[0], : size[1]].flatten(0, 1)
        assert torch.equal(inside, block_neighbours(points, whole, size, 3, block))


def test_nearest_first_by_the_numbers_that_rank():
    points, vectors = smooth(8, 8)
    found = block_neighbours(points, vectors, (8, 8), 6, 2)
    cosine = (F.normalize(vectors)[:, None] * F.normalize(points)[found]).sum(2)
    assert (cosine.diff(dim=1) < 1e-3).all()


def test_more_wanted_candidates_than_points_and_vectors_of_zero():
    points, vectors = smooth(8, 8)
    found = block_neighbours(points[:3], vectors, (8, 8), 3, 4)
    assert torch.equal(found.sort(dim=1).values, torch.arange(3).expand(64, 3))
    found = block_neighbours(torch.zeros(5, 16), torch.zeros(64, 16), (8, 8), 2, 4)
    assert (found[:, 0] != found[:, 1]).all()


@pytest.mark.parametrize("m", [1, 2, 16, 64, 65, 100])
def test_the_largest_are_those_of_a_stable_sort(m):
    generator = torch.Generator().manual_seed(m)
    products = torch.randint(-3, 4, (5, m, 9), generator=generator).float()
    products[0] = torch.randint(-(2**24), 2**24 + 1, (m, 9), generator=generator).float()
    products[1], products[2] = 2.0**24, -(2.0**24)
    k = min(m, 12)
    expected = products.sort(dim=1, descending=True, stable=True).indices[:, :k].transpose(1, 2)
    assert torch.equal(module._largest(products, k), expected)


def test_the_numbers_of_bits_make_products_exact():
    generator = torch.Generator().manual_seed(0)
    for d in (1, 7, 64):
        x = module._rounded(torch.randn(2000, d, generator=generator))
        assert float(x.double().norm(dim=1).max()) <= 2**12
        assert torch.equal((x @ x.T).double(), x.double() @ x.double().T)


def test_threads_have_no_influence():
    points, vectors = smooth(64, 64, 64)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(block_neighbours(points, vectors, (64, 64), 4, 4))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_in_a_task_graph_only_the_nearest_partners_change():
    t = task(queries=2)
    graph, exact = task_graph(t, CONFIG), task_graph(t, replace(CONFIG, knn_block=1))
    knn = exact.edata["kind"] == EdgeKind.QUERY_SUPPORT_KNN
    assert torch.equal(graph.edata["kind"], exact.edata["kind"])
    assert torch.equal(graph.edges()[1], exact.edges()[1])
    fixed = exact.edata["kind"] < EdgeKind.QUERY_SUPPORT_RANDOM
    assert torch.equal(graph.edges()[0][fixed], exact.edges()[0][fixed])
    found, true = (g.edges()[0][knn].view(-1, 4) for g in (graph, exact))
    assert 0.6 < recall(true, found) < 1  # the tiny pictures' features are noise
    both = torch.stack(graph.edges())
    assert both.unique(dim=1).shape == both.shape


def test_order_of_supports_does_not_matter():
    t = task(shots=3)
    turned = replace(t, support=t.support[::-1])
    reference = content(task_graph(t, CONFIG), [*t.support, *t.query])
    assert content(task_graph(turned, CONFIG), [*turned.support, *turned.query]) == reference


def test_a_block_has_at_least_one_node():
    with pytest.raises(ConfigError, match=r"graph.knn_block: got 0, expected 1 \(every node by itself\) or more"):
        task_graph(task(), replace(CONFIG, knn_block=0))
    with pytest.raises(ConfigError, match=r"graph.knn_block: got 0"):
        check(replace(Config(), graph=replace(CONFIG, knn_block=0)))


def test_recall_counts_what_both_have():
    exact, found = torch.tensor([[0, 1], [2, 3]]), torch.tensor([[1, 5, 0], [9, 3, 8]])
    assert recall(exact, found) == pytest.approx(0.75)
    assert np.isclose(recall(exact, exact), 1)
