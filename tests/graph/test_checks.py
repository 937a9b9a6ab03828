"""What is refused before it is built, and whether the estimate behind it is true."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_task import picture, task

from pixgraph.config import GraphConfig
from pixgraph.errors import ConfigError
from pixgraph.graph import checks, free_memory
from pixgraph.graph.support import support_part
from pixgraph.graph.task import attach_queries, task_graph

CONFIG = GraphConfig(stride=4, num_fg=9, num_bg=12, dilations=[1, 2], query_support_random=3, query_support_knn=5)
CPU = torch.device("cpu")


def huge(side):
    """A picture without any memory behind it."""
    flat = torch.rand(3, 1, 1).expand(3, side, side)
    return replace(picture(100), rgb=flat, key="huge", label=None)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(0, 30),
    st.integers(0, 12),
    st.booleans(),
    st.sampled_from([4, 8]),
)
def test_there_are_never_more_edges_than_counted(knn, drawn, others, inside, both_ways, connectivity):
    config = replace(
        CONFIG,
        query_support_knn=knn,
        query_support_random=drawn,
        unlabelled_knn=others,
        query_query_knn=inside,
        both_ways=both_ways,
        connectivity=connectivity,
        bg_bg=drawn,
        fg_bg=knn,
    )
    t = task(shots=2, queries=1, unlabelled=1)
    counted = checks.count_edges(42, 128, config)
    assert 0.5 * counted < task_graph(t, config).num_edges() + 64 * others * (1 + both_ways) <= counted


def test_the_lattice_is_counted_to_its_border():
    config = GraphConfig(query_support_random=2, query_support_knn=0, dilations=[1, 4, 1], bg_bg=0, fg_fg=0, fg_bg=0)
    assert checks.count_edges(10, 1000, config) == 1000 * (2 * 4 + 2)
    assert checks.count_edges(1, 1000, config) == 1000 * (2 * 4 + 1)


def test_more_edges_than_31_bits_are_refused_before_anything_is_built():
    part = support_part(task().support, CONFIG)
    with pytest.raises(
        ConfigError,
        match=r"task graph: 400,000,063 nodes and up to 6,400,001,\d+ edges, expected at most 2,147,483,647 edges; "
        r"raise graph.stride, or lower num_fg",
    ):
        attach_queries(replace(part, config=replace(CONFIG, stride=1)), [huge(20_000)])


def test_counts_beyond_31_bits_are_exact():
    config = replace(CONFIG, query_support_knn=2**32, query_support_random=0, bg_bg=2**33, fg_fg=0, fg_bg=0)
    assert checks.count_edges(2**40, 2**33, config) == 2**41 * 2**33 + 2**33 * (8 + 2**32)


def test_a_picture_that_does_not_fit_is_refused_with_an_estimate(monkeypatch):
    part = support_part(task().support, CONFIG)
    monkeypatch.setattr(checks, "free_bytes", lambda device: 16 * 2**30)
    with pytest.raises(
        ConfigError,
        match=r"task graph: 67,108,927 nodes and up to 1,073,7\d+,\d+ edges need about 1\d\d\.\d GiB, "
        r"16\.0 GiB are free on cpu; raise graph.stride",
    ):
        attach_queries(replace(part, config=replace(CONFIG, stride=1)), [huge(8192)])


def test_supports_that_do_not_fit_are_refused_before_their_edges_are_drawn(monkeypatch):
    config = replace(CONFIG, num_fg=1000, num_bg=1000, bg_bg=1000)
    monkeypatch.setattr(checks, "free_bytes", lambda device: 64 * 2**20)
    monkeypatch.setattr("pixgraph.graph.support.support_pairs", None)  # would fail if it were called
    with pytest.raises(
        ConfigError, match=r"3,432 nodes and up to 6,918,912 edges need about \d+\.\d MiB, 64\.0 MiB are free"
    ):
        support_part([picture(0, size=64, channels=(4, 4)) for _ in range(3)], config)


def test_the_estimate_is_above_the_arrays():
    config = replace(CONFIG, query_query_knn=2, unlabelled_knn=3)
    graph = task_graph(task(unlabelled=1), config)
    held = sum(x.nbytes for x in [*dict(graph.ndata).values(), *dict(graph.edata).values(), *graph.edges()])
    assert held < checks.estimate_bytes(63, 128, config) < 8 * held


def test_where_the_system_does_not_tell_everything_is_tried(monkeypatch):
    monkeypatch.setattr(checks, "free_bytes", lambda device: None)
    checks.check_fits(10, 10**6, CONFIG, CPU)
    monkeypatch.undo()
    assert checks.free_bytes(CPU) != 0


def write(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_limits_of_control_groups_of_version_2(tmp_path):
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/batch/job1\n",
            "proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    7000 kB\n",
            "sys/fs/cgroup/batch/job1/memory.max": "max\n",
            "sys/fs/cgroup/batch/job1/memory.current": "500\n",
            "sys/fs/cgroup/batch/memory.max": "9000\n",
            "sys/fs/cgroup/batch/memory.current": "4000\n",
            "sys/fs/cgroup/batch/memory.stat": "anon 1\ninactive_file 300\n",
        },
    )
    assert free_memory._left_in_groups(root) == [5300]
    assert free_memory._available(root) == 7000 * 1024


def test_limits_of_control_groups_of_version_1_inside_a_container(tmp_path):
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "100\n",
        },
    )
    assert free_memory._left_in_groups(root) == [9223372036854771712 - 100]
    assert free_memory._left_in_groups(tmp_path / "nowhere") == []
    assert free_memory._available(tmp_path / "nowhere") is None


def test_a_group_that_is_full_leaves_nothing(monkeypatch):
    monkeypatch.setattr(free_memory, "_left_in_groups", lambda: [-5])
    assert free_memory.free_bytes(CPU) == 0
    monkeypatch.setattr(free_memory, "_left_in_groups", list)
    monkeypatch.setattr(free_memory, "_available", lambda: None)
    assert free_memory.free_bytes(CPU) is None
