"""Edge attention: engines in bfloat16, batched graphs, isolated nodes, threads, and symmetries of any multigraph."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixgraph.graph import edge_products
from pixgraph.graph.attention import edge_attention
from pixgraph.graph.backend import HAS_DGL, batch, make_graph, to_edge_graph
from pixgraph.graph.edge_order import edge_order
from pixgraph.graph.lattice import lattice_edges

needs_dgl = pytest.mark.skipif(not HAS_DGL, reason="DGL cannot be imported")
ENGINES = [pytest.param("dgl", marks=needs_dgl), "torch"]
HEADS, DEPTH = 2, 3


def inputs(nodes, edges, heads=HEADS, depth=DEPTH, dtype=torch.float64, seed=0):
    """Queries, keys, values and biases of all heads."""
    rng = torch.Generator().manual_seed(seed)
    made = [torch.randn(nodes, heads, depth, generator=rng, dtype=dtype) for _ in range(3)]
    made.append(torch.randn(edges, heads, generator=rng, dtype=dtype))
    return [x.requires_grad_() for x in made]


def with_gradients(graph, given, engine="torch"):
    """The output, and gradients for a loss that tells nodes, heads and channels apart."""
    out = edge_attention(graph, *given, engine=engine)
    weight = torch.linspace(-1, 1, out[0].numel(), dtype=torch.float64).view(out.shape[1:])
    return [out, *torch.autograd.grad((out.double() * weight).sum(), given)]


def close(got, want, **tolerance):
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, **tolerance)


@needs_dgl
@pytest.mark.parametrize("autocast", [False, True])
def test_engines_are_equal_in_bfloat16(autocast):
    """The projections of a layer under autocast are bfloat16; both engines compute in float32 and round once."""
    src, dst = lattice_edges(12, 12, [1, 2])
    graph = make_graph(src, dst, 144)
    torch.manual_seed(0)
    projections = [torch.nn.Linear(16, 16) for _ in range(3)]
    x, bias = torch.randn(144, 16), torch.randn(len(src), 4)
    found = []
    for engine in ("dgl", "torch"):
        leaf = x.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            states = [(p(leaf) if autocast else p(leaf).bfloat16()).view(144, 4, 4) for p in projections]
            out = edge_attention(graph, *states, bias.bfloat16(), engine=engine)
        assert out.dtype == torch.bfloat16
        weights = [p.weight for p in projections]
        found.append([out, *torch.autograd.grad(out.float().square().sum(), [leaf, *weights])])
    # Sums in another order may round to the neighbouring bfloat16: 2^-8 of the value, and sums of such.
    close(*found, rtol=2**-7, atol=2**-7)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_batch_equals_its_graphs_alone(engine):
    """With a graph without edges and one whose nodes are isolated but one, between them."""
    sizes = [(5, 14), (3, 0), (7, 30), (4, 1)]
    graphs, parts = [], []
    for i, (nodes, edges) in enumerate(sizes):
        rng = torch.Generator().manual_seed(i)
        ends = torch.randint(0, nodes, (2, edges), generator=rng)
        graphs.append(make_graph(ends[0], ends[1], nodes))
        parts.append(inputs(nodes, edges, seed=i))
    joined = [torch.cat(x).detach().requires_grad_() for x in zip(*parts, strict=True)]
    every = with_gradients(batch(graphs), joined, engine)
    alone = [with_gradients(g, p, engine) for g, p in zip(graphs, parts, strict=True)]
    close(every, [torch.cat(x) for x in zip(*alone, strict=True)])


@pytest.mark.parametrize("engine", ENGINES)
def test_isolated_nodes_are_zero_and_their_gradients_finite(engine):
    """Node 3 hears nobody, node 0 speaks to nobody, node 4 does neither."""
    graph = make_graph(torch.tensor([1, 2, 3, 3]), torch.tensor([0, 1, 1, 2]), 5)
    given = inputs(5, 4)
    out, d_query, d_key, d_value, d_bias = with_gradients(graph, given, engine)
    assert torch.equal(out[3:], torch.zeros_like(out[3:]))
    assert all(x.isfinite().all() for x in (out, d_query, d_key, d_value, d_bias))
    assert d_query[3:].abs().max() == d_key[[0, 4]].abs().max() == d_value[[0, 4]].abs().max() == 0
    # A node with one incoming edge listens to it whatever the scores are.
    torch.testing.assert_close(out[[0, 2]], given[2][[1, 3]])
    assert d_query[[0, 2]].abs().max() < 1e-12
    assert d_bias[[0, 3]].abs().max() < 1e-12


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_graph_without_edges_in_any_type(engine, dtype):
    none = torch.zeros(0, dtype=torch.int64)
    given = inputs(4, 0, dtype=dtype)
    for x in with_gradients(make_graph(none, none, 4), given, engine):
        assert not x.any()
        assert x.isfinite().all()


@pytest.mark.parametrize("engine", ENGINES)
def test_any_number_of_threads_gives_the_same_bits(engine):
    """Large enough that every operation is shared out: lattice, a hub, and nodes of many degrees."""
    src, dst = lattice_edges(64, 64, [1, 2, 4])
    rng = torch.Generator().manual_seed(0)
    more = torch.randint(0, 4096, (2, 9000), generator=rng)
    more[1, :3000] = 7
    graph = make_graph(torch.cat([src, more[0]]), torch.cat([dst, more[1]]), 4096)
    given = inputs(4096, graph.num_edges(), 4, 16, torch.float32)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(with_gradients(graph, given, engine))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


multigraphs = st.integers(1, 8).flatmap(
    lambda n: st.tuples(st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=24))
)


def ends_of(pairs):
    return torch.tensor(pairs, dtype=torch.int64).view(-1, 2).unbind(1)


@pytest.mark.parametrize("engine", ENGINES)
@given(made=multigraphs, seed=st.integers(0, 2**16))
@settings(max_examples=30, deadline=None)
def test_names_of_nodes_and_order_of_edges_do_not_matter(engine, made, seed):
    nodes, pairs = made
    src, dst = ends_of(pairs)
    given_inputs = inputs(nodes, len(pairs), seed=seed)
    out, *gradients = with_gradients(make_graph(src, dst, nodes), given_inputs, engine)
    rng = torch.Generator().manual_seed(seed)
    name, place = torch.randperm(nodes, generator=rng), torch.randperm(len(pairs), generator=rng)
    old = torch.argsort(name)
    renamed = make_graph(name[src][place], name[dst][place], nodes)
    moved = [x.detach()[i].requires_grad_() for x, i in zip(given_inputs, (old, old, old, place), strict=True)]
    got = with_gradients(renamed, moved, engine)
    close(got, [x[i] for x, i in zip((out, *gradients), (old, old, old, old, place), strict=True)])


@needs_dgl
@given(made=multigraphs, seed=st.integers(0, 2**16), step=st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_engines_and_chunks_agree_on_any_multigraph(made, seed, step):
    nodes, pairs = made
    graph, given_inputs = make_graph(*ends_of(pairs), nodes), inputs(nodes, len(pairs), seed=seed)
    want = with_gradients(graph, given_inputs, "dgl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(edge_products.CHUNK_BYTES, "cpu", step * HEADS * DEPTH * 8)
        close(with_gradients(to_edge_graph(graph), given_inputs), want)


@given(made=multigraphs, step=st.integers(1, 9))
@settings(max_examples=50, deadline=None)
def test_dots_of_devices_other_than_the_cpu_equal_its_own(made, step):
    """They are made of operations that every device has, so they can be checked here."""
    nodes, pairs = made
    order = edge_order(make_graph(*ends_of(pairs), nodes))
    x, y = torch.randn(HEADS, nodes, DEPTH), torch.randn(HEADS, len(order.nodes), DEPTH)
    want = (x[:, order.src.long()] * y.repeat_interleave(order.offsets.diff(), 1)).sum(-1)
    torch.testing.assert_close(edge_products.row_dots(order.offsets, order.src, x, y), want)
    if pairs:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(edge_products.CHUNK_BYTES, "cpu", step * HEADS * DEPTH * 4)
            torch.testing.assert_close(edge_products.gathered_dots(order.offsets, order.src, x, y), want)


@pytest.mark.parametrize("together", [0, 1, 2, HEADS])
def test_heads_are_summed_together_or_one_by_one(monkeypatch, together):
    src, dst = lattice_edges(6, 6, [1, 2])
    order = edge_order(make_graph(src, dst, 36))
    x, weight = torch.randn(36, HEADS, DEPTH), torch.randn(HEADS, len(src))
    monkeypatch.setattr(edge_products, "LOOK_UPS", together * len(src))
    want = torch.zeros_like(x).index_add_(0, order.dst, x[order.src.long()] * weight.T[:, :, None])
    torch.testing.assert_close(edge_products.sums_in(order, x, weight), want)


@pytest.mark.parametrize("direction", ["in", "out"])
def test_sums_of_devices_other_than_the_cpu_equal_its_own(direction):
    """They are made of operations that every device has, so they can be checked here."""
    src, dst = lattice_edges(6, 6, [1, 2])
    order = edge_order(make_graph(src, dst, 36))
    x, weight = torch.randn(36, HEADS, DEPTH), torch.randn(HEADS, len(src))
    rows, ends = (order.dst, order.src) if direction == "in" else (order.src, order.dst)
    sums = edge_products.sums_in if direction == "in" else edge_products.sums_out
    torch.testing.assert_close(
        edge_products._add_at(torch.zeros_like(x), rows, ends, x, weight), sums(order, x, weight)
    )
