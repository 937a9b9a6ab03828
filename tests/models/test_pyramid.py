"""The pyramid over evidence and features: classes alone, levels of any sizes, where a cell is."""

import pytest
import torch
from toy_tasks import graph_config, network, relabelled, task

from pixgraph.graph.task import task_graph
from pixgraph.models.evidence import EVIDENCE, RIDGES, relative
from pixgraph.models.pyramid import EvidencePyramid, places, with_contrast

CHANNELS = (5, 6, 7)


def pyramid(channels=CHANNELS, width=16, hidden=0.0, seed=0):
    torch.manual_seed(seed)
    return EvidencePyramid(channels, width, hidden).eval()


def inputs(ways=2, sides=(16, 8, 4), joint=8, channels=CHANNELS, seed=0):
    made = torch.Generator().manual_seed(seed)
    maps = [torch.randn(c, side, side, generator=made) for c, side in zip(channels, sides, strict=True)]
    evidence = [torch.randn(ways, EVIDENCE, *2 * [min(32, side)], generator=made) for side in sides]
    return maps, [*evidence, torch.randn(ways, len(RIDGES), joint, joint, generator=made)]


def test_classes_do_not_mix():
    maps, evidence = inputs(ways=3)
    net = pyramid()
    together = net(maps, evidence)
    assert together.shape == (3, 16, 16, 16)
    for n in range(3):
        torch.testing.assert_close(net(maps, [e[n : n + 1] for e in evidence])[0], together[n])


@pytest.mark.parametrize(("sides", "joint"), [((16, 8, 4), 4), ((4, 4, 4), 8), ((64, 2, 1), 32), ((1, 1, 1), 1)])
def test_levels_of_any_sizes(sides, joint):
    found = pyramid()(*inputs(sides=sides, joint=joint))
    assert found.shape == (2, 16, min(32, sides[0]), min(32, sides[0]))
    assert found.isfinite().all()


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_the_evidence_of_every_level_counts(level):
    maps, evidence = inputs()
    net, changed = pyramid(), list(evidence)
    changed[level] = evidence[level] + 1
    assert not torch.allclose(net(maps, evidence), net(maps, changed))


def test_the_coarse_levels_together_keep_their_resolution():
    """A pattern that is the same on average over the coarsest level's cells is still seen."""
    maps, evidence = inputs()
    net, changed = pyramid(), list(evidence)
    changed[-1] = evidence[-1] + torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(4, 4)
    assert not torch.allclose(net(maps, evidence), net(maps, changed), atol=1e-3)


def test_contrast_is_what_nodes_are_told():
    evidence = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    found = with_contrast(evidence).permute(0, 3, 1, 2)
    torch.testing.assert_close(found[:, :3], evidence)
    expected = relative(evidence.flatten(2).permute(2, 0, 1))  # (P, N, channels)
    torch.testing.assert_close(found[:, 3:].flatten(2).permute(2, 0, 1), expected)


def test_places_are_cell_centres():
    found = places(2, 4, torch.device("cpu"))
    assert found.shape == (2, 4, 2)
    assert found[:, 0, 0].tolist() == [-0.5, 0.5]
    assert found[0, :, 1].tolist() == [-0.75, -0.25, 0.25, 0.75]


def test_places_that_prediction_asked_for_serve_training():
    places.cache_clear()
    net, given = pyramid(), inputs()
    with torch.inference_mode():
        net(*given)
    net(*given).sum().backward()


def test_features_are_hidden_in_training_only():
    net = pyramid(hidden=0.5)
    assert torch.equal(net(*inputs()), net(*inputs()))
    net.train()
    assert not torch.equal(net(*inputs()), net(*inputs()))


def test_every_weight_gets_a_gradient():
    net = pyramid().train()
    (net(*inputs()) * torch.randn(16, 16, generator=torch.Generator().manual_seed(1))).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


@pytest.mark.parametrize("width", [0, 8])
def test_permuting_the_classes_permutes_the_output(width):
    some, net = task(3, queries=2), network(pyramid=width)
    assert (net.pyramid is None) == (width == 0)
    before, after = (net(task_graph(t, graph_config()), t).logits for t in (some, relabelled(some, (3, 1, 2))))
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(b, a[[1, 2, 0]], atol=1e-5, rtol=1e-5)
