"""Every form of the node losses on real networks: what it reads, its chance value, and that it can be learnt."""

import copy
import math

import pytest
import torch
from toy_tasks import CHANNELS, STRIDES, graph_config, network, task, with_label

from pixgraph.config import Config, LossConfig, ModelConfig
from pixgraph.data.picture import FewShotTask
from pixgraph.errors import ConfigError
from pixgraph.graph.task import task_graph
from pixgraph.models.network import PixGraphNet
from pixgraph.training import views
from pixgraph.training.step import episode_loss, segmentation_terms
from pixgraph.training.views import view_contrast

NAMES = ("auxiliary", "supcon", "unsup", "self_prediction")


def config(**loss):
    return Config(graph=graph_config(), loss=LossConfig(**loss))


def collapsed(net):
    """All embeddings equal, all early logits zero."""
    with torch.no_grad():
        net.metric[1].weight.zero_()
        net.metric[1].weight[:, 0] = 1.0
        net.metric[0].weight.zero_()
        net.metric[0].bias.fill_(0.0)
        net.metric[0].bias[0] = 1.0
        for p in (*net.head.parameters(), *net.metric_head.parameters()):
            p.zero_()
    return net


@pytest.mark.parametrize(
    "loss",
    [
        {"supcon": 0.3, "unsup": 0.2, "self_prediction": 0.7},
        {"supcon": 0.3, "supcon_form": "pixel_gnn", "unsup": 0.2, "unsup_anchors": 20, "unsup_nodes": "all"},
        {"self_prediction": 0.7, "self_prediction_from": "other_pictures"},
    ],
)
def test_a_collapsed_network_sits_at_the_chance_values(loss):
    some = task(2, shots=2, queries=2, unlabelled=2)
    _, logs = episode_loss(collapsed(network(encoder_blocks=2)).train(), some, config(**loss), 3)
    assert {name for name in NAMES if name in logs} >= {"auxiliary", "supcon"}
    for name in NAMES:
        if name in logs:
            assert logs[name] == pytest.approx(logs[f"{name}_chance"], rel=1e-4)
            assert logs[name] > 0
    assert logs["embedding_std"] == pytest.approx(0, abs=1e-6)
    assert logs["embedding_std_chance"] == pytest.approx(48**-0.5)


def test_chance_of_the_unsupervised_contrast_counts_its_nodes():
    some, net = task(unlabelled=1), network()
    for anchors, nodes in ((10, 10), (256, 64)):
        found = view_contrast(net, some, config(unsup_anchors=anchors), 0)
        assert found.chance == pytest.approx(math.log(2 * nodes - 1))


def test_many_nodes_are_compared_in_pieces(monkeypatch):
    some, net, settings = task(unlabelled=1), network(), config()
    whole = view_contrast(net, some, settings, 0).value
    monkeypatch.setattr(views, "CHUNK", 10)
    torch.testing.assert_close(view_contrast(net, some, settings, 0).value, whole)


def test_whose_nodes_the_unsupervised_contrast_reads():
    some, net = task(2, queries=1), network()
    assert view_contrast(net, some, config(), 0) is None
    assert "unsup" not in episode_loss(net, some, config(unsup=1.0), 0)[1]
    alone = FewShotTask(2, [], [], [*some.support, *some.query])
    everything = view_contrast(net, some, config(unsup_nodes="all"), 0).value
    assert everything.item() == view_contrast(net, alone, config(), 0).value.item()


@pytest.mark.parametrize("form", ["grace", "bgrl"])
def test_the_unsupervised_contrast_reads_no_label(form):
    some, net, settings = task(2, unlabelled=1), network(target=True), config(unsup_form=form, unsup_nodes="all")
    hidden = FewShotTask(
        2, *([with_label(p, None) for p in part] for part in (some.support, some.query, some.unlabelled))
    )
    values = [view_contrast(net, t, settings, 0).value.item() for t in (some, hidden)]
    assert values[0] == values[1]


def test_without_negatives_the_gradient_reaches_encoder_and_predictor_only():
    net = network(target=True).train()
    found = view_contrast(net, task(unlabelled=2), config(unsup_form="bgrl"), 0)
    found.value.backward()
    assert found.chance == 2
    assert 0 < found.value.item() < 4
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.predictor.parameters())
    assert all(p.grad is None for p in net.target.parameters())
    assert all(p.grad.abs().max() > 0 for p in (net.metric[1].weight, net.enter.weight, net.project[0].weight))


def test_form_without_negatives_asks_for_a_target():
    with pytest.raises(
        ConfigError, match=r"got bgrl, but the network has no target encoder; set model\.target to true"
    ):
        view_contrast(network(), task(unlabelled=1), config(unsup_form="bgrl"), 0)


def test_forms_of_the_supervised_contrast_are_seeded_and_differ():
    some, net = task(2), network()
    values = {}
    for form in ("supcon", "pixel_gnn"):
        logs = [episode_loss(net, some, config(supcon_form=form), seed)[1] for seed in (1, 1, 2)]
        assert logs[0]["supcon"] == logs[1]["supcon"] != logs[2]["supcon"]
        values[form] = logs[0]
    assert values["pixel_gnn"]["supcon_chance"] == pytest.approx(0.1 * 256 / 64 * math.log((64 + 512) / 64))
    assert values["supcon"]["supcon_chance"] == pytest.approx(0.1 * math.log(2 * 24 + 64 - 1))


def test_auxiliary_heads_after_each_encoder_block_and_none_more_in_evaluation():
    some, net = task(2, queries=2), network(encoder_blocks=3)
    graph = task_graph(some, graph_config(), 0)
    assert net(graph, some).stage_logits == []
    torch.manual_seed(0)
    output = net.train()(graph, some)
    assert [[x.shape for x in stage] for stage in output.stage_logits] == [[(2, 8, 8)] * 2] * 2
    weights = LossConfig()
    heads = [output.node_logits, output.metric_logits, *output.stage_logits]
    alone = []
    for head in heads:
        output.node_logits, output.metric_logits, output.stage_logits = head, head, []
        alone.append(segmentation_terms(output, some, weights)["auxiliary"].value)
    output.node_logits, output.metric_logits, output.stage_logits = heads[0], heads[1], heads[2:]
    torch.testing.assert_close(segmentation_terms(output, some, weights)["auxiliary"].value, sum(alone) / 4)


def test_a_stage_is_scored_as_the_last_one_would_be():
    """A network cut after a block gives the same metric logits as that block's auxiliary head."""
    some, net = task(2), network(encoder_blocks=3, input_dropout=0.0).train()
    graph = task_graph(some, graph_config(), 0)
    stages = net(graph, some).stage_logits
    for blocks in (1, 2):
        cut = copy.deepcopy(net)
        cut.encoder = cut.encoder[:blocks]
        torch.testing.assert_close(cut(graph, some).metric_logits[0], stages[blocks - 1][0])


def test_more_encoder_blocks_bring_no_parameter_but_theirs():
    one, two = (network(encoder_blocks=n).state_dict() for n in (1, 2))
    assert {name for name in two if name not in one} == {
        n.replace("encoder.0", "encoder.1") for n in one if "encoder.0" in n
    }


OPTIONS = {
    "pixel_gnn": ({"supcon": 1.0, "supcon_form": "pixel_gnn"}, {}, "supcon"),
    "grace": ({"unsup": 1.0}, {}, "unsup"),
    "grace of all": ({"unsup": 1.0, "unsup_nodes": "all", "unsup_anchors": 32}, {}, "unsup"),
    "bgrl": ({"unsup": 1.0, "unsup_form": "bgrl", "target_decay": 0.9}, {"target": True}, "unsup"),
    "self-prediction": ({"self_prediction": 1.0}, {}, "self_prediction"),
    "across pictures": ({"self_prediction": 1.0, "self_prediction_from": "other_pictures"}, {}, "self_prediction"),
    "stages": ({"auxiliary": 1.0}, {"encoder_blocks": 2}, "auxiliary"),
}


@pytest.mark.parametrize("option", list(OPTIONS))
def test_a_few_steps_lower_the_loss(option):
    loss, model, name = OPTIONS[option]
    settings = config(**{"supcon": 0.0, "auxiliary": 0.0, **loss})
    torch.manual_seed(0)
    sizes = ModelConfig(width=16, heads=2, decoder_blocks=1, input_dropout=0.0, **model)
    net = PixGraphNet(CHANNELS, sizes, STRIDES).train()
    optimiser = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], 5e-3)
    some, values = task(2, shots=2, unlabelled=1), []
    for _ in range(12):
        total, logs = episode_loss(net, some, settings, 0)
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        net.update_target(settings.loss.target_decay)
        values.append(logs[name])
    assert all(math.isfinite(v) for v in values)
    assert values[-1] < 0.9 * values[0]
    assert logs["embedding_std"] > 0.02
