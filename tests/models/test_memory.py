"""A support set that is remembered gives the numbers of one that is computed together with the query."""

import pytest
import torch
from toy_tasks import graph_config, network, task

from pixgraph.data.picture import FewShotTask
from pixgraph.graph.support import support_part
from pixgraph.graph.task import attach_queries
from pixgraph.models.predictor import GraphPredictor


@pytest.mark.parametrize(("n_way", "shots"), [(1, 1), (1, 5), (3, 2)])
@pytest.mark.parametrize(("unlabelled", "blocks"), [(0, 0), (0, 1), (0, 4), (1, 4)])
def test_remembered_supports_change_no_number(n_way, shots, unlabelled, blocks):
    some, net = task(n_way, shots, queries=2, unlabelled=unlabelled), network(decoder_blocks=blocks).eval()
    part = support_part(some.support, graph_config(), 0)
    with torch.no_grad():
        together = net(attach_queries(part, some.query, some.unlabelled), some)
        memory = net.remember(part.graph(), some)
        graph = attach_queries(part, some.query, some.unlabelled, support_edges=False)
        apart = net(graph, some, memory)
    for a, b in zip(together.logits + together.node_logits, apart.logits + apart.node_logits, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_messages_from_queries_forbid_a_memory():
    some, net = task(1, 1), network().eval()
    predictor = GraphPredictor(net, graph_config(both_ways=True, query_support_random=4))
    (found,) = predictor.predict(some)
    assert predictor._supports is not None
    assert predictor._supports[-1] is None
    one_way = GraphPredictor(net, graph_config(query_support_random=4)).predict(
        FewShotTask(1, some.support, some.query)
    )
    assert not torch.allclose(found, one_way[0])
