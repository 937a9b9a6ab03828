from dataclasses import replace

import numpy as np
import pytest
from tiny_task import smooth_task, task

from pixgraph.config import GraphConfig
from pixgraph.errors import ConfigError
from pixgraph.graph.draw import draw_graph
from pixgraph.graph.support import support_graph
from pixgraph.graph.task import task_graph

CONFIG = GraphConfig(stride=4, num_fg=9, num_bg=12, dilations=[1, 2], query_query_knn=2, unlabelled_knn=2)


def legend(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_shows_every_kind_and_class(tmp_path):
    t = task(n_way=2, unlabelled=1)
    figure = draw_graph(t, task_graph(t, CONFIG), edges_per_kind=10)
    assert set(legend(figure)) == {
        *("bg bg", "fg fg", "fg bg", "lattice", "query support random", "query support knn"),
        *("query query knn", "unlabelled", "background", "class 1", "class 2"),
    }
    assert len(figure.axes[0].images) == 5
    assert [text.get_text() for text in figure.axes[0].texts] == ["support"] * 3 + ["query", "unlabelled"]
    figure.savefig(tmp_path / "graph.png")
    assert (tmp_path / "graph.png").stat().st_size > 1000


def test_edges_join_nodes_and_repeat_with_the_seed():
    t = task(shots=2)
    graph = support_graph(t.support, replace(CONFIG, bg_bg=0, fg_fg=0))

    def lines(seed):
        return np.array(draw_graph(t, graph, 12, seed).axes[0].collections[0].get_segments())

    assert lines(0).shape == (12, 2, 2)
    assert (lines(0) == lines(0)).all()
    assert not (lines(0) == lines(1)).all()
    xy = graph.ndata["rgbxy"].numpy()[:, 3:] * 31
    xy[:, 0] += graph.ndata["image"].numpy() * 32 * 1.05
    ends = lines(0).reshape(-1, 2)
    assert np.abs(ends[:, None] - xy[None]).max(axis=2).min(axis=1).max() < 1e-3
    assert len(draw_graph(t, graph).axes[0].images) == 2


def test_segments_are_outlined():
    t = smooth_task(shots=1)
    figure = draw_graph(t, task_graph(t, replace(CONFIG, nodes="segments", segments=30)))
    assert "touching" in legend(figure)
    shown, plain = figure.axes[0].images[1].get_array(), t.query[0].rgb.permute(1, 2, 0).numpy()
    assert 0.05 < float((shown != plain).any(2).mean()) < 0.9


def test_a_graph_of_another_task_is_refused():
    big, small = task(shots=3), task(shots=1)
    with pytest.raises(
        ConfigError, match="draw_graph: the graph has 4 pictures, the task 2; pass the graph's own task"
    ):
        draw_graph(small, task_graph(big, CONFIG))
