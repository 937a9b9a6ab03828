"""The loss of an episode: its terms, their switches, ignored labels, and that training on it works."""

import math

import pytest
import torch
import torch.nn.functional as F
from toy_tasks import CHANNELS, STRIDES, graph_config, network, task, with_label

from pixgraph.config import Config, LossConfig, ModelConfig
from pixgraph.data.picture import FewShotTask
from pixgraph.errors import DataError
from pixgraph.losses.segmentation import binary_cross_entropy, class_targets, soft_dice
from pixgraph.losses.supcon import supervised_contrast
from pixgraph.models.completion import complete_task
from pixgraph.models.network import Output, PixGraphNet
from pixgraph.training.step import LOSS_SIZE, episode_loss, segmentation_terms
from pixgraph.training.views import lattice_graph, view_contrast


def config(**loss):
    return Config(graph=graph_config(), loss=LossConfig(**loss))


def test_the_loss_is_the_sum_of_its_terms():
    settings = config(unsup=0.1, self_prediction=0.2)
    loss, logs = episode_loss(network(), task(queries=2, unlabelled=1), settings, 0)
    terms = ["segmentation", "auxiliary", "supcon", "unsup", "self_prediction"]
    names = [*terms, "embedding_std"]
    assert set(logs) == {*names, *(f"{name}_chance" for name in names)}
    assert loss.item() == pytest.approx(sum(logs[name] for name in terms), rel=1e-5)


@pytest.mark.parametrize("name", ["auxiliary", "supcon", "unsup", "self_prediction"])
def test_terms_are_weighted_and_switched_off(name):
    some, net = task(unlabelled=1), network()
    once, twice, never = (episode_loss(net, some, config(**{name: w}), 0)[1] for w in (0.5, 1.0, 0.0))
    for key in (name, f"{name}_chance"):
        assert twice[key] == pytest.approx(2 * once[key], rel=1e-5)
        assert key not in never


def test_segmentation_term_is_bce_and_dice_on_a_fine_grid():
    some = task(2)
    label = some.query[0].label
    logits = torch.randn(2, 16, 16, generator=torch.Generator().manual_seed(0))
    output = Output([logits], [logits], [logits], torch.zeros(1, 1))
    terms = segmentation_terms(output, some, LossConfig(bce=2.0, dice=3.0, auxiliary=0.0))
    fine = F.interpolate(logits[None], (LOSS_SIZE, LOSS_SIZE), mode="bilinear", align_corners=False)[0]
    parts = (fine, *class_targets(label, 2, (LOSS_SIZE, LOSS_SIZE)))
    expected = 2 * binary_cross_entropy(*parts) + 3 * soft_dice(*parts)
    assert set(terms) == {"segmentation"}
    torch.testing.assert_close(terms["segmentation"].value, expected)
    zero = (torch.zeros_like(fine), *parts[1:])
    chance = 2 * math.log(2) + 3 * soft_dice(*zero).item()
    assert terms["segmentation"].chance == pytest.approx(chance, rel=1e-5)


def test_same_seed_same_loss_and_another_seed_another():
    some, net = task(), network()
    values = [episode_loss(net, some, config(), seed)[0].item() for seed in (1, 1, 2)]
    assert values[0] == values[1] != values[2]


def test_pixels_labelled_255_have_no_part():
    """Relabelling what is ignored changes nothing; a query without any known pixel adds nothing to the segmentation."""
    some, net = task(queries=1), network()
    unknown = torch.full((64, 64), 255)
    loss, logs = episode_loss(net, FewShotTask(2, some.support, [with_label(some.query[0], unknown)]), config(), 0)
    assert logs["segmentation"] == logs["auxiliary"] == 0
    assert loss.isfinite()


def test_queries_without_a_label_are_left_out():
    some, net = task(queries=2), network()
    partly = FewShotTask(2, some.support, [some.query[0], with_label(some.query[1], None)])
    alone = FewShotTask(2, some.support, some.query[:1])
    off = config(supcon=0.0)
    got, expected = (episode_loss(net, t, off, 0)[0].item() for t in (partly, alone))
    assert got == pytest.approx(expected, rel=1e-4)
    assert episode_loss(net, partly, config(), 0)[0].isfinite()


def test_no_labelled_query_is_refused():
    some = task()
    some.query[0] = with_label(some.query[0], None)
    with pytest.raises(DataError, match=r"got no label for any query \('p500'\), expected at least one"):
        episode_loss(network(), some, config(), 0)


def test_contrast_sees_the_true_labels_of_query_nodes(monkeypatch):
    seen = []

    def spy(embedding, label, temperature):
        seen.append((len(embedding), label, temperature))
        return supervised_contrast(embedding, label, temperature)

    monkeypatch.setattr("pixgraph.training.node_terms.supervised_contrast", spy)
    some = task(2, queries=1)
    episode_loss(network(), some, config(temperature=0.2), 0)
    ((count, label, temperature),) = seen
    cells = F.interpolate(some.query[0].label[None, None].float(), (8, 8), mode="nearest-exact").long().flatten()
    assert temperature == 0.2
    assert count == len(label)
    assert torch.equal(torch.bincount(label[-64:], minlength=3), torch.bincount(cells, minlength=3))


def test_unlabelled_contrast_differs_between_seeds_and_has_gradients():
    some, net = task(unlabelled=2), network()
    values = [view_contrast(net, some, config(), seed).value for seed in (0, 0, 1)]
    assert values[0].item() == values[1].item() != values[2].item()
    values[0].backward()
    assert float(net.metric[1].weight.grad.abs().max()) > 0


def test_lattice_of_one_picture():
    graph, grid = lattice_graph(task().query[0], config())
    assert (grid.first, grid.rows, grid.columns) == (0, 8, 8)
    assert graph.num_nodes() == 64
    assert graph.num_edges() == 2 * (2 * 8 * 7 + 2 * 8 * 6)  # dilations 1 and 2, both directions


def test_thirty_steps_bring_the_loss_well_below_chance():
    settings = config()
    chance = []
    for some in [task(1, seed=s) for s in range(4)]:
        zero = [torch.zeros(1, 8, 8)]
        found = segmentation_terms(Output(zero, zero, zero, zero[0]), some, settings.loss)["segmentation"]
        chance.append(found.chance)
        assert found.value.item() == pytest.approx(found.chance, rel=1e-6)
    torch.manual_seed(0)
    net = PixGraphNet(CHANNELS, ModelConfig(width=16, heads=2, decoder_blocks=1, input_dropout=0.0), STRIDES).train()
    optimiser = torch.optim.AdamW(net.parameters(), 1e-2)
    logs = []
    for step in range(30):
        loss, terms = episode_loss(net, task(1, seed=step % 10), settings, step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        logs.append(terms["segmentation"])
    assert all(p.grad is not None for p in net.parameters())
    assert sum(logs[-4:]) / 4 < 0.4 * sum(chance) / 4


def test_marked_supports_are_completed_before_the_graph_is_built():
    old, net = task(1), network()
    label = torch.full_like(old.support[0].label, 254)
    for way in (0, 1):
        rows, columns = (old.support[0].label == way).nonzero()[20::40].T
        label[rows, columns] = way
    few = FewShotTask(1, [with_label(old.support[0], label)], old.query)
    loss = episode_loss(net, few, config(), 0)[0]
    assert loss == episode_loss(net, complete_task(few), config(), 0)[0]
    assert (label == 254).any()  # the task itself stays as it was
