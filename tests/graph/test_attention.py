"""Edge attention on both engines against a dense oracle: values, gradients, symmetries, degenerate graphs, memory."""

import pytest
import torch

from pixgraph.errors import ConfigError, DependencyError
from pixgraph.graph import edge_products
from pixgraph.graph.attention import attention_engine, edge_attention
from pixgraph.graph.backend import DGL_ERROR, HAS_DGL, make_graph, to_edge_graph

ENGINES = [
    pytest.param("dgl", marks=pytest.mark.skipif(not HAS_DGL, reason=f"DGL cannot be imported: {DGL_ERROR}")),
    "torch",
    "torch, EdgeGraph",
]


def attend(engine, graph, *inputs):
    if engine == "torch, EdgeGraph":
        graph, engine = to_edge_graph(graph), "auto"
    return edge_attention(graph, *inputs, engine=engine)


def oracle(src, dst, query, key, value, bias=None):
    """Loops over nodes, edges and heads, in the words of the formula."""
    out = torch.zeros_like(value)
    for t in range(query.shape[0]):
        into = (dst == t).nonzero().squeeze(1)
        for h in range(query.shape[1]):
            if len(into):
                score = (query[t, h] * key[src[into], h]).sum(-1) / query.shape[2] ** 0.5
                if bias is not None:
                    score = score + bias[into, h % bias.shape[1]]
                out[t, h] = torch.softmax(score, 0) @ value[src[into], h]
    return out


def example(nodes=12, edges=40, heads=4, dim=3, columns=2, dtype=torch.float64, seed=0):
    """A random multigraph with isolated nodes, a hub, repeated edges and self-loops, and inputs for it."""
    rng = torch.Generator().manual_seed(seed)
    src = torch.randint(0, nodes, (edges,), generator=rng)
    dst = torch.randint(0, nodes - 3, (edges,), generator=rng)
    dst[: edges // 4] = 1
    inputs = [torch.randn(nodes, heads, dim, generator=rng, dtype=dtype).requires_grad_() for _ in range(3)]
    inputs.append(torch.randn(edges, columns, generator=rng, dtype=dtype).requires_grad_())
    return src, dst, inputs


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setitem(edge_products.CHUNK_BYTES, "cpu", 7 * 4 * 3 * 8)  # seven edges: less than the hub has


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("columns", [None, 1, 2, 4])
def test_values_and_gradients_equal_the_oracle(engine, columns):
    src, dst, inputs = example(columns=columns or 1)
    inputs = inputs if columns else inputs[:3]
    graph = make_graph(src, dst, 12)
    out, expected = attend(engine, graph, *inputs), oracle(src, dst, *inputs)
    torch.testing.assert_close(out, expected)
    weight = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(1))
    got = torch.autograd.grad((out * weight).sum(), inputs)
    want = torch.autograd.grad((expected * weight).sum(), inputs)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("engine", ENGINES)
def test_gradcheck(engine):
    src, dst, inputs = example(nodes=6, edges=14, heads=2, dim=2, columns=1)
    graph = make_graph(src, dst, 6)
    assert torch.autograd.gradcheck(lambda *x: attend(engine, graph, *x), inputs)


@pytest.mark.skipif(not HAS_DGL, reason="DGL cannot be imported")
def test_engines_agree_to_1e_5_in_float32(monkeypatch):
    monkeypatch.setitem(edge_products.CHUNK_BYTES, "cpu", 2**16)
    src, dst, inputs = example(nodes=400, edges=5000, heads=8, dim=16, columns=4, dtype=torch.float32)
    graph = make_graph(src, dst, 400)
    results = []
    for engine in ("dgl", "torch"):
        out = edge_attention(graph, *inputs, engine=engine)
        results.append([out, *torch.autograd.grad(out.square().sum(), inputs)])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_order_of_edges_and_names_of_nodes_do_not_matter(engine):
    src, dst, (q, k, v, b) = example()
    out = attend(engine, make_graph(src, dst, 12), q, k, v, b)
    edges = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(attend(engine, make_graph(src[edges], dst[edges], 12), q, k, v, b[edges]), out)
    nodes = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    renamed = make_graph(nodes[src], nodes[dst], 12)
    back = torch.empty_like(nodes).index_copy_(0, nodes, torch.arange(12))
    torch.testing.assert_close(attend(engine, renamed, q[back], k[back], v[back], b)[nodes], out)


@pytest.mark.parametrize("engine", ENGINES)
def test_folded_classes_equal_separate_calls(engine):
    """Heads ordered class-major: folding three classes into the heads changes nothing."""
    src, dst, (q, k, v, b) = example(heads=6, columns=2)
    graph = make_graph(src, dst, 12)
    folded = attend(engine, graph, q, k, v, b)
    parts = [attend(engine, graph, *(x[:, 2 * c : 2 * c + 2] for x in (q, k, v)), b) for c in range(3)]
    torch.testing.assert_close(folded, torch.cat(parts, 1))


@pytest.mark.parametrize("engine", ENGINES)
def test_constant_value_is_returned_and_isolated_nodes_get_zero(engine):
    src, dst, (q, k, v, b) = example()
    out = attend(engine, make_graph(src, dst, 12), q, k, torch.full_like(v, 2.5), b)
    reached = torch.bincount(dst, minlength=12) > 0
    torch.testing.assert_close(out[reached], torch.full_like(out[reached], 2.5))
    assert not reached[-3:].any()
    assert out[~reached].abs().max() == 0


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("nodes", [0, 4])
def test_graph_without_edges(engine, nodes):
    none = torch.zeros(0, dtype=torch.int64)
    inputs = [torch.ones(nodes, 2, 3, requires_grad=True) for _ in range(3)] + [torch.ones(0, 2, requires_grad=True)]
    out = attend(engine, make_graph(none, none, nodes), *inputs)
    out.sum().backward()
    assert out.shape == (nodes, 2, 3)
    assert float(out.detach().abs().sum()) == sum(float(x.grad.abs().sum()) for x in inputs) == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_large_scores_stay_finite(engine):
    src, dst, (q, k, v, b) = example()
    inputs = [x.detach().float().requires_grad_() for x in (q * 1e4, k * 1e4, v, b * 1e4)]
    out = attend(engine, make_graph(src, dst, 12), *inputs)
    out.sum().backward()
    assert out.isfinite().all()
    assert all(x.grad.isfinite().all() for x in inputs)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("largest", [0.99, 1.01, 3.0, 100.0])
def test_scores_of_any_size_equal_the_oracle(engine, largest):
    src, dst, (q, k, v, _) = example()
    scores = (q[dst] * k[src]).sum(-1) / q.shape[2] ** 0.5
    q = (q * (largest * edge_products.ORDINARY / scores.abs().max())).detach()
    out = attend(engine, make_graph(src, dst, 12), *(x.detach().float() for x in (q, k, v)))
    torch.testing.assert_close(out, oracle(src, dst, q, k, v).float(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_computes_in_float32(engine, dtype):
    src, dst, inputs = example(dtype=torch.float32)
    graph = make_graph(src, dst, 12)
    half = [x.detach().to(dtype).requires_grad_() for x in inputs]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = attend(engine, graph, *half)
    assert out.dtype == dtype
    exact = attend(engine, graph, *(x.detach().float() for x in half))
    assert torch.equal(out, exact.to(dtype))  # one rounding, at the end
    out.float().sum().backward()
    assert all(x.grad.dtype == dtype and x.grad.isfinite().all() for x in half)


@pytest.mark.parametrize("engine", ENGINES)
def test_mixed_types_promote(engine):
    src, dst, (q, k, v, b) = example(dtype=torch.float32)
    assert attend(engine, make_graph(src, dst, 12), q.bfloat16(), k, v, b.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("engine", ENGINES)
def test_tensors_that_are_not_contiguous(engine):
    src, dst, (q, k, v, b) = example()
    graph = make_graph(src, dst, 12)
    odd = [x.detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_() for x in (q, k, v)]
    out = attend(engine, graph, *odd, b)
    torch.testing.assert_close(out, attend(engine, graph, q, k, v, b))
    out.sum().backward()
    assert odd[0].grad.shape == q.shape


def test_torch_engine_never_holds_an_edge_by_channel_tensor(monkeypatch):
    from torch.utils._python_dispatch import TorchDispatchMode

    monkeypatch.setitem(edge_products.CHUNK_BYTES, "cpu", 50 * 4 * 16 * 4)  # 50 edges
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            for x in out if isinstance(out, (tuple, list)) else [out]:
                if isinstance(x, torch.Tensor) and x.dim():
                    x = x.values() if x.layout == torch.sparse_csr else x
                    largest = max(largest, x.untyped_storage().nbytes() // x.element_size())
            return out

    src, dst, inputs = example(nodes=100, edges=2000, heads=4, dim=16, columns=4, dtype=torch.float32)
    graph = make_graph(src, dst, 100)
    with Watch():
        edge_attention(graph, *inputs, engine="torch").sum().backward()
    assert largest == 2000 * 4  # the weights (E, H); an (E, H, D) tensor would be 16 times as large


def test_engine_is_chosen_by_graph_argument_and_environment(monkeypatch):
    graph = make_graph(torch.tensor([0]), torch.tensor([1]), 2)
    plain = to_edge_graph(graph)
    assert attention_engine(plain) == "torch"
    assert attention_engine(graph) == "torch"
    monkeypatch.setenv("PIXGRAPH_ENGINE", "torch")
    assert attention_engine(graph) == "torch"
    monkeypatch.setenv("PIXGRAPH_ENGINE", "numpy")
    with pytest.raises(ConfigError, match="got 'numpy', expected one of auto, dgl, torch"):
        attention_engine(graph)
    with pytest.raises(DependencyError, match=r'attention engine "dgl": .*; use engine "torch" or "auto"'):
        attention_engine(plain, "dgl")


@pytest.mark.parametrize("engine", ENGINES)
def test_refuses_wrong_shapes(engine):
    graph = make_graph(torch.tensor([0, 1]), torch.tensor([1, 2]), 3)
    x = torch.zeros(3, 4, 2)
    with pytest.raises(ValueError, match=r"expected the same \(3, H, D\)"):
        attend(engine, graph, x, x[:2], x)
    with pytest.raises(ValueError, match=r"expected the same \(3, H, D\)"):
        attend(engine, graph, x[..., 0], x[..., 0], x[..., 0])
    with pytest.raises(ValueError, match=r"bias \(2, 3\), expected \(2, B\) where B divides the 4 heads"):
        attend(engine, graph, x, x, x, torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"bias \(3, 4\), expected \(2, B\)"):
        attend(engine, graph, x, x, x, torch.zeros(3, 4))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_cpu():
    src, dst, inputs = example(dtype=torch.float32)
    expected = edge_attention(make_graph(src, dst, 12), *inputs)
    cuda = [x.detach().cuda().requires_grad_() for x in inputs]
    out = edge_attention(make_graph(src.cuda(), dst.cuda(), 12), *cuda)
    torch.testing.assert_close(out.cpu(), expected, atol=1e-5, rtol=1e-5)
    for a, b in zip(torch.autograd.grad(out.sum(), cuda), torch.autograd.grad(expected.sum(), inputs), strict=True):
        torch.testing.assert_close(a.cpu(), b, atol=1e-5, rtol=1e-5)
