import networkx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixgraph.errors import ConfigError
from pixgraph.graph.lattice import lattice_edges


def brute_force(height, width, dilations, connectivity=4):
    steps = [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1)][:connectivity]
    edges = []
    for r in range(height):
        for c in range(width):
            for d in dilations:
                for dr, dc in ((d * y, d * x) for y, x in steps):
                    if 0 <= r + dr < height and 0 <= c + dc < width:
                        edges.append(((r + dr) * width + c + dc, r * width + c))
    return sorted(edges)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 7), st.integers(2, 7), st.sets(st.integers(1, 6), max_size=3), st.sampled_from([4, 8]))
def test_is_the_brute_force_lattice(height, width, dilations, connectivity):
    dilations = [d for d in dilations if d < max(height, width)]
    src, dst = lattice_edges(height, width, dilations, connectivity)
    edges = list(zip(src.tolist(), dst.tolist(), strict=True))
    assert sorted(edges) == brute_force(height, width, dilations, connectivity)
    straight = sum(2 * (max(height - d, 0) * width + height * max(width - d, 0)) for d in dilations)
    slanted = sum(4 * max(height - d, 0) * max(width - d, 0) for d in dilations)
    assert len(edges) == straight + (slanted if connectivity == 8 else 0)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_one_dilation_splits_into_d_squared_components(d):
    graph = networkx.Graph(zip(*(e.tolist() for e in lattice_edges(9, 8, [d])), strict=True))
    assert networkx.number_connected_components(graph) == d * d
    src, dst = lattice_edges(9, 8, [d, 1])
    assert networkx.is_connected(networkx.Graph(zip(src.tolist(), dst.tolist(), strict=True)))


def test_a_set_of_dilations_and_none():
    a, b = torch.stack(lattice_edges(6, 6, [2, 1, 2])), torch.stack(lattice_edges(6, 6, (1, 2)))
    assert torch.equal(a, b)
    assert lattice_edges(3, 3, [])[0].dtype == torch.int64
    assert len(lattice_edges(1, 1, [])[0]) == 0


@pytest.mark.parametrize("dilation", [0, -1, 6, 9])
def test_impossible_dilations(dilation):
    with pytest.raises(ConfigError, match=rf"dilations: got {dilation} on a grid of 4 x 6 nodes, expected 1..5; lower"):
        lattice_edges(4, 6, [1, dilation])
