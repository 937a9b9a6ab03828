"""The trained network as a predictor: probabilities, purity, and the support part that is kept between calls."""

import pytest
import torch
from toy_tasks import graph_config, network, task, with_label

from pixgraph.data.picture import FewShotTask
from pixgraph.graph.support import support_part
from pixgraph.models import predictor
from pixgraph.models.predictor import GraphPredictor, Predictor, class_probabilities
from pixgraph.models.propagate import PropagatePredictor
from pixgraph.models.support_key import SupportKey

MAKERS = {
    "graph": lambda: GraphPredictor(network(), graph_config()),
    "propagate": lambda: PropagatePredictor(graph_config()),
}


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_probabilities_at_the_size_of_the_query_sum_to_one(make):
    predict = make()
    assert isinstance(predict, Predictor)
    found = predict.predict(task(2, queries=2))
    assert [tuple(p.shape) for p in found] == [(3, 64, 64)] * 2
    for p in found:
        assert p.dtype == torch.float32
        assert not p.requires_grad
        assert not p.is_inference()
        assert float(p.min()) >= 0
        torch.testing.assert_close(p.sum(0), torch.ones(64, 64))


def test_the_same_task_always_gives_the_same_answer(make):
    some, predict = task(queries=2), make()
    first = predict.predict(some)
    predict.predict(task(queries=1, seed=5))  # other supports in between
    assert same(first, predict.predict(some))
    assert same(first, predict.predict(some))  # with the kept supports
    assert same(first, make().predict(some))


def test_labels_of_queries_are_never_read(make):
    some = task(queries=1)
    hidden = [with_label(some.query[0], label) for label in (None, torch.full((64, 64), 99))]
    answers = [make().predict(FewShotTask(2, some.support, [q])) for q in (some.query[0], *hidden)]
    assert same(answers[0], answers[1])
    assert same(answers[0], answers[2])


def test_a_query_does_not_depend_on_the_others(make):
    some = task(queries=3)
    together = make().predict(some)
    alone = [make().predict(FewShotTask(2, some.support, [q]))[0] for q in some.query]
    assert same(together, alone)


def test_a_mask_edited_in_place_is_seen(make):
    some, predict = task(), make()
    before = predict.predict(some)
    some.support[0].label.copy_(some.support[0].label.flip(0))
    after = predict.predict(some)
    assert not same(before, after)
    assert same(after, make().predict(some))


def test_weights_that_were_trained_in_between_are_seen():
    some, net = task(), network()
    predict = GraphPredictor(net, graph_config())
    before = predict.predict(some)
    net.load_state_dict(network(seed=1).state_dict())
    after = predict.predict(some)
    assert not same(before, after)
    assert same(after, GraphPredictor(net, graph_config()).predict(some))
    net.enter = network(seed=2).enter  # other tensors in place of these
    assert not same(after, predict.predict(some))
    assert same(predict.predict(some), GraphPredictor(net, graph_config()).predict(some))


def test_the_number_of_classes_is_part_of_what_is_kept(make):
    """Supports that show the first class alone, asked for one class and then for two."""
    some, predict = task(1), make()
    assert predict.predict(some)[0].shape[0] == 2
    found = predict.predict(FewShotTask(2, some.support, some.query))[0]
    assert found.shape[0] == 3
    assert found.isfinite().all()


def test_the_support_part_is_built_once_for_the_same_supports(monkeypatch):
    built = []

    def counted(*args):
        built.append(args)
        return support_part(*args)

    monkeypatch.setattr(predictor, "support_part", counted)
    some, predict = task(queries=3), GraphPredictor(network(), graph_config())
    predict.predict(some)
    predict.predict(FewShotTask(2, some.support, some.query[:1]))
    assert len(built) == 1
    predict.predict(FewShotTask(2, some.support[:1], some.query[:1]))
    assert len(built) == 2


def test_network_is_evaluated_without_dropout():
    some = task()
    net = network(dropout=0.5, input_dropout=0.5).train()
    predict = GraphPredictor(net, graph_config())
    assert same(predict.predict(some), predict.predict(some))
    net.decoder.train()  # a part alone
    assert same(predict.predict(some), predict.predict(some))


def test_unlabelled_pictures_take_part():
    some = task(unlabelled=1)
    found = GraphPredictor(network(), graph_config(unlabelled_knn=2)).predict(some)
    assert found[0].isfinite().all()


def test_support_keys():
    some = task()
    assert SupportKey(some) == SupportKey(FewShotTask(2, list(some.support), []))
    assert SupportKey(some) != SupportKey(task())  # equal values in other tensors
    assert SupportKey(some) != SupportKey(FewShotTask(3, some.support, []))
    assert SupportKey(some) != SupportKey(FewShotTask(2, some.support[:1], []))
    key = SupportKey(some)
    some.support[0].features[-1].add_(1)
    assert key != SupportKey(some)
    with torch.inference_mode():
        frozen = task()
    assert SupportKey(frozen) == SupportKey(frozen)


@pytest.mark.parametrize("n_way", [1, 4])
def test_zero_logits_give_equal_probabilities(n_way):
    p = class_probabilities(torch.zeros(n_way, 2, 2), (6, 8))
    torch.testing.assert_close(p, torch.full((n_way + 1, 6, 8), 1 / (n_way + 1)))


def test_probabilities_are_the_softmax_with_a_background_of_zero():
    logits = torch.tensor([1.0, -2.0])[:, None, None].expand(2, 4, 4)
    total = 1 + torch.tensor([1.0, -2.0]).exp().sum()
    expected = torch.tensor([0.0, 1.0, -2.0]).exp() / total
    torch.testing.assert_close(class_probabilities(logits, (4, 4))[:, 1, 2], expected)
    half = class_probabilities(logits.bfloat16(), torch.Size((9, 9)))
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.sum(0), torch.ones(9, 9))


def test_unlabelled_pictures_that_no_edge_leads_from_are_not_looked_at(monkeypatch):
    seen = []
    whole = predictor.attach_queries
    monkeypatch.setattr(predictor, "attach_queries", lambda *a, **k: seen.append(len(a[2])) or whole(*a, **k))
    alone, others = task(2, queries=1), task(2, queries=2).query
    around = FewShotTask(2, alone.support, alone.query, others)
    answers = [GraphPredictor(network(), graph_config()).predict(some) for some in (alone, around)]
    assert same(*answers)
    GraphPredictor(network(), graph_config(unlabelled_knn=2)).predict(around)
    assert seen == [0, 0, 2]
