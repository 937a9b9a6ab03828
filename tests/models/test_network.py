"""The whole network: symmetries, any number of classes and shots, switches, engines, degenerate supports."""

import pytest
import torch
import torch.nn.functional as F
from toy_tasks import doubled, graph_config, network, picture, relabelled, task, with_label

from pixgraph.data.picture import FewShotTask, Picture
from pixgraph.errors import DataError
from pixgraph.graph.backend import HAS_DGL
from pixgraph.graph.support import support_part
from pixgraph.graph.task import task_graph
from pixgraph.models.network import label_states


def run(net, some, **graph):
    with torch.no_grad():
        return net(task_graph(some, graph_config(**graph), 0), some)


@pytest.mark.parametrize("ways", [[2, 1], [3, 1, 2]])
def test_permuting_the_classes_permutes_the_output(ways):
    some, net = task(len(ways), queries=2), network()
    before, after = run(net, some), run(net, relabelled(some, ways))
    inverse = [ways.index(n) for n in range(1, len(ways) + 1)]  # where class n comes from
    for name in ("logits", "node_logits", "metric_logits"):
        for a, b in zip(getattr(before, name), getattr(after, name), strict=True):
            torch.testing.assert_close(b, a[inverse], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(after.embedding, before.embedding, atol=1e-6, rtol=0)


def test_order_of_the_supports_does_not_matter():
    some, net = task(2, shots=2, queries=2), network()
    before = run(net, some)
    after = run(net, FewShotTask(2, some.support[::-1], some.query))
    for a, b in zip(before.logits, after.logits, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_one_network_serves_any_number_of_classes_and_shots():
    net = network()
    for n_way, shots in [(1, 1), (1, 5), (2, 1), (2, 5), (5, 1)]:
        output = run(net, task(n_way, shots))
        assert output.logits[0].shape == (n_way, 16, 16)
        assert output.node_logits[0].shape == output.metric_logits[0].shape == (n_way, 8, 8)
        assert output.logits[0].isfinite().all()


@pytest.mark.parametrize(("stride", "grid"), [(4, 16), (8, 16), (16, 16), (2, 32)])
def test_strides(stride, grid):
    output = run(network(), task(), stride=stride)
    assert output.node_logits[0].shape == (2, 64 // stride, 64 // stride)
    assert output.logits[0].shape == (2, grid, grid)


@pytest.mark.parametrize("channels", [(4,), (6, 8)])
def test_fewer_levels(channels):
    assert run(network(channels=channels), task(channels=channels)).logits[0].shape == (2, 16, 16)


def test_queries_of_another_size_than_the_supports():
    some = task(queries=2)
    some.query[1] = picture(9, size=96)
    output = run(network(), some)
    assert [tuple(x.shape) for x in output.logits] == [(2, 16, 16), (2, 24, 24)]


def test_labels_of_queries_and_unlabelled_pictures_are_never_read():
    some, net = task(queries=2, unlabelled=1), network()
    before = run(net, some)
    rubbish = torch.full((64, 64), 77)
    hidden = FewShotTask(
        2, some.support, [with_label(q, rubbish) for q in some.query], [with_label(u, rubbish) for u in some.unlabelled]
    )
    for label in (hidden, FewShotTask(2, some.support, [with_label(q, None) for q in some.query], some.unlabelled)):
        for a, b in zip(before.logits, run(net, label).logits, strict=True):
            assert torch.equal(a, b)


def test_a_query_does_not_depend_on_the_others():
    some, net = task(queries=3), network()
    together = run(net, some)
    for i, query in enumerate(some.query):
        alone = run(net, FewShotTask(2, some.support, [query]))
        torch.testing.assert_close(together.logits[i], alone.logits[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("switch", ["evidence", "edge_features"])
def test_switches_take_out_weights_and_change_the_output(switch):
    some, on, off = task(), network(), network(**{switch: False})
    assert sum(p.numel() for p in off.parameters()) < sum(p.numel() for p in on.parameters())
    assert not torch.allclose(run(on, some).logits[0], run(off, some).logits[0], atol=1e-3)


def test_support_masks_decide_what_is_segmented():
    some, net = task(), network()
    swapped = FewShotTask(
        2, [with_label(some.support[0], some.support[1].label), *some.support[1:]], some.query, some.unlabelled
    )
    assert not torch.allclose(run(net, some).logits[0], run(net, swapped).logits[0], atol=1e-3)


@pytest.mark.parametrize("mask", [0, 255])
def test_a_class_without_a_labelled_pixel_gives_finite_output_and_gradients(mask):
    some, net = task(2), network().train()
    some.support[1] = with_label(some.support[1], torch.full((64, 64), mask))
    output = net(task_graph(some, graph_config(), 0), some)
    output.logits[0].square().sum().backward()
    assert output.logits[0].isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


def test_pixels_of_unknown_label_in_a_support_give_finite_output():
    some = task()
    label = some.support[0].label.clone()
    label[:, 20:] = 255
    some.support[0] = with_label(some.support[0], label)
    assert run(network(), some).logits[0].isfinite().all()


def test_flat_supports_give_finite_output():
    """No variation at all: nothing to standardise by."""
    some = task(1)
    flat = some.support[0]
    flat.rgb = torch.full_like(flat.rgb, 0.5)
    flat.features = [torch.ones_like(f) for f in flat.features]
    assert run(network(), some).logits[0].isfinite().all()


def test_graph_without_edges():
    none = {"bg_bg": 0, "fg_fg": 0, "fg_bg": 0, "dilations": [], "query_support_random": 0, "query_support_knn": 0}
    assert run(network(), task(), **none).logits[0].isfinite().all()


def test_support_without_a_label_is_refused():
    some, net = task(), network()
    graph = task_graph(some, graph_config(), 0)
    some.support[1] = with_label(some.support[1], None)
    with pytest.raises(DataError, match=r"support 'p20': got no label, expected a mask; give it one"):
        net(graph, some)


@pytest.mark.skipif(not HAS_DGL, reason="DGL cannot be imported")
def test_both_engines_give_equal_values_and_gradients(monkeypatch):
    some, results = task(), []
    graph = task_graph(some, graph_config(), 0)
    for engine in ("dgl", "torch"):
        monkeypatch.setenv("PIXGRAPH_ENGINE", engine)
        net = network()
        output = net(graph, some)
        (output.logits[0].square().mean() + output.embedding[:, 0].sum()).backward()
        results.append([output.logits[0], *(p.grad for p in net.parameters() if p.grad is not None)])
    assert len(results[0]) > 40
    for a, b in zip(*results, strict=True):
        largest = float(a.detach().abs().max().clamp_min(1))
        torch.testing.assert_close(a, b, atol=1e-4 * largest, rtol=1e-3)


def test_gradient_equals_the_finite_difference_in_float64():
    some, net = task(), network().double()
    graph, exact = doubled(task_graph(some, graph_config(), 0), some)
    weights = [p for p in net.parameters() if p.requires_grad]

    def loss():
        output = net(graph, exact)
        parts = (output.logits[0], output.metric_logits[0], 10 * output.embedding)
        return sum((x.double().sin()).mean() for x in parts)

    grads = torch.autograd.grad(loss(), weights)
    generator = torch.Generator().manual_seed(0)
    directions = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in weights]
    expected = sum(float((g * d).sum()) for g, d in zip(grads, directions, strict=True))
    values = []
    with torch.no_grad():
        for step in (1e-7, -2e-7):
            for p, d in zip(weights, directions, strict=True):
                p.add_(d, alpha=step)
            values.append(float(loss()))
    assert (values[0] - values[1]) / 2e-7 == pytest.approx(expected, rel=1e-4)


def test_half_precision():
    some, net = task(), network()
    exact = run(net, some).logits[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = run(net, some).logits[0].float()
    assert half.isfinite().all()
    assert float((half - exact).abs().mean()) < 0.1 * float(exact.abs().mean()) + 0.05


def test_input_dropout_hides_columns_in_training_only():
    some, net = task(), network(input_dropout=0.5)
    assert torch.equal(run(net, some).logits[0], run(net, some).logits[0])
    net.train()
    torch.manual_seed(0)
    assert not torch.equal(run(net, some).logits[0], run(net, some).logits[0])


def test_label_states():
    states = label_states(torch.tensor([0, 1, 2, 255]), 2)
    own, other, unknown = [1, 0, 0], [0, 1, 0], [0, 0, 1]
    assert states.int().tolist() == [[other, other], [own, other], [other, own], [unknown, unknown]]


def deep(old):
    """The same task with levels of a deep backbone: strides 4, 8, 16, 16 and 32."""

    def deepened(p):
        fine, _, coarse = p.features
        levels = [fine, F.avg_pool2d(fine, 2), coarse, coarse.flip(0) ** 3, F.avg_pool2d(coarse, 2)]
        return Picture(p.key, p.rgb, levels, p.size, p.label)

    return FewShotTask(old.n_way, *([deepened(p) for p in part] for part in (old.support, old.query, old.unlabelled)))


def test_queries_of_a_deep_backbone_are_compared_on_its_coarse_levels_alone():
    some = deep(task(2, shots=2))
    net = network(channels=(6, 6, 10, 10, 10), strides=(4, 8, 16, 16, 32))
    graph = task_graph(some, graph_config(), 0)
    with torch.no_grad():
        side = net.compare(some)
        assert [cells.unit.shape[1] for cells in side.evidence.cells] == [10, 10, 10]
        before = net(graph, some).logits[0]
        memory = net.remember(support_part(some.support, graph_config(), 0).graph(), some)
        torch.testing.assert_close(net(graph, some, memory).logits[0], before, atol=1e-4, rtol=1e-4)
        for level in (2, 3, 4):
            query = some.query[0]
            maps = [m.roll(1, 2) if i == level else m for i, m in enumerate(query.features)]
            moved = FewShotTask(2, some.support, [Picture(query.key, query.rgb, maps, query.size, query.label)])
            assert (net(graph, moved).logits[0] - before).abs().max() > 1e-3
