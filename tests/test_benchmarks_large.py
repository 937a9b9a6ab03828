"""Scripts about large pictures and about growing numbers of supports, on small ones."""

import argparse
import functools
import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pixgraph.cli.main import main
from pixgraph.data.synthetic import SyntheticShapes
from pixgraph.errors import PixgraphError
from pixgraph.tiling import Tiling


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """The scripts import each other as programs do; their folder is no package."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))
    monkeypatch.delenv("PIXGRAPH_DATA", raising=False)
    monkeypatch.setattr("pixgraph.data.catalog.open_dataset", lambda source, split: generated())


@functools.cache
def generated():
    return SyntheticShapes("test", size=64, n_pictures=72)


def script(name):
    return importlib.import_module(name)


@pytest.mark.parametrize("name", ["speed_tiles", "speed_end_to_end"])
def test_help_shows_the_command(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        script(name).main(["--help"])
    assert f"python benchmarks/{name}.py" in capsys.readouterr().out


def test_correlations_are_those_of_all_pairs_of_cells():
    dense, generator = script("dense_correlation"), torch.Generator().manual_seed(0)
    sizes = [(5, 4, 6), (7, 4, 6), (3, 2, 3)]  # two layers of one size, one of another
    query, support = ([torch.randn(size, generator=generator) for size in sizes] for _ in range(2))
    mask = torch.zeros(8, 12)
    mask[:4] = 1
    coarse, fine = dense.hypercorrelation(query, support, mask)
    assert (coarse.shape, fine.shape) == ((1, 1, 2, 3, 2, 3), (1, 2, 4, 6, 4, 6))
    for found, q, s in ((fine[0, 0], query[0], support[0]), (fine[0, 1], query[1], support[1])):
        weight = torch.nn.functional.interpolate(mask[None, None], (4, 6), mode="bilinear", align_corners=True)[0]
        dots = torch.einsum("chw,cuv->hwuv", q, s * weight)
        norms = torch.einsum("hw,uv->hwuv", q.norm(dim=0), (s * weight).norm(dim=0))
        torch.testing.assert_close(found, (dots / norms.clamp_min(1e-12)).relu())
    assert (fine[..., 3, :] == 0).all()  # nothing of the object there
    assert dense.layers_of(query) == [1, 2]


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_centre_pivots_are_the_two_planes_of_a_4d_convolution(stride):
    dense = script("dense_correlation")
    torch.manual_seed(0)
    layer = dense.CentrePivotConv4d(2, 3, 3, stride).double()
    x = torch.randn(1, 2, 4, 5, 5, 4, dtype=torch.float64)
    found = layer(x)
    padded = torch.nn.functional.pad(x, (1,) * 8)
    for place in np.ndindex(found.shape[2:]):
        a, b, u, v = place[0], place[1], place[2] * stride, place[3] * stride
        plane = torch.einsum("oikl,ikl->o", layer.query.weight, padded[0, :, a : a + 3, b : b + 3, u + 1, v + 1])
        other = torch.einsum("oikl,ikl->o", layer.support.weight, padded[0, :, a + 1, b + 1, u : u + 3, v : v + 3])
        expected = plane + other + layer.query.bias + layer.support.bias
        torch.testing.assert_close(found[(0, slice(None), *place)], expected)


def test_the_dense_network_votes_over_its_supports():
    dense = script("dense_correlation")
    torch.manual_seed(0)
    maps = [torch.randn(6, 64 // s, 64 // s) for s in (4, 8, 16, 16, 32)]
    levels = dense.three_levels(maps)
    assert [m.shape[-1] for m in levels] == [8, 4, 4, 2]
    network = dense.DenseCorrelation(dense.layers_of(levels)).eval()
    supports = [([torch.randn_like(m) for m in levels], torch.rand(64, 64) > 0.5) for _ in range(2)]
    with torch.no_grad():
        both, first, second = (network(levels, chosen) for chosen in (supports, supports[:1], supports[1:]))
    assert both.shape == (64, 64)
    torch.testing.assert_close(both, (first + second) / 2)
    parameters = sum(p.numel() for p in dense.DenseCorrelation((3, 6, 4)).parameters())
    assert 2.5e6 < parameters < 2.7e6  # the paper has 2.6 million


def test_seams_are_found_where_they_are_and_only_there():
    tiles_seams, tiling = script("tiles_seams"), Tiling(64, 0)
    rng = np.random.default_rng(0)
    smooth = rng.random((1, 256, 256)).astype(np.float32)
    answer = np.concatenate([smooth, 1 - smooth])
    even = tiles_seams.seams(answer, (smooth[0] > 0.5).astype(np.uint8), tiling, 64)
    assert even["borders"] == 12
    assert even["ratio"] == pytest.approx(1, abs=0.1)
    assert even["flip_ratio"] == pytest.approx(1, abs=0.15)
    checks = np.kron(np.indices((4, 4)).sum(0) % 2, np.ones((64, 64)))
    seen = np.clip(answer * 0.01 + np.stack([checks, 1 - checks]) * 0.9, 0, 1)
    found = tiles_seams.seams(seen, checks.astype(np.uint8), tiling, 64)
    assert found["ratio"] > 50
    assert found["flip_ratio"] > 50
    assert np.argmax(found["profile"]) == tiles_seams.REACH


@pytest.mark.parametrize(("tile", "overlap", "length"), [(64, 0, 256), (64, 8, 500), (96, 31, 401)])
def test_lines_to_compare_with_belong_to_one_tile_alone(tile, overlap, length):
    tiles_seams, tiling = script("tiles_seams"), Tiling(tile, overlap)
    parts = tiling.axis(length).slices()
    found = tiles_seams.borders(tiling, length, 128)
    assert found
    for line, others in found:
        assert any(line in (part.start, part.stop) for part in parts)
        for other in others:
            assert sum(part.start < other < part.stop for part in parts) == 1
            assert (other - line) % (tile // 4) == 0


def test_steps_and_changes_against_single_pixels():
    tiles_seams = script("tiles_seams")
    values = np.array([[[0.0, 1.0], [0.5, 1.0]], [[1.0, 0.0], [0.5, 0.0]]])
    np.testing.assert_allclose(tiles_seams.steps(values, 1), [0, 0.25])
    np.testing.assert_allclose(tiles_seams.steps(values, 2), [0, 0.75])
    np.testing.assert_allclose(tiles_seams.changes(np.array([[0, 1], [0, 0]]), 1), [0, 0.5])
    truth, answer = np.array([[1, 1, 2, 255]]), np.array([[1, 2, 2, 1]])
    assert tiles_seams.mean_iou(answer, truth, [1, 2]) == pytest.approx((1 / 2 + 1 / 2) / 2)


def test_the_large_picture_is_made_of_small_ones_that_no_support_shows():
    picture = script("tiles_picture").large_picture(generated(), 150, 64)
    assert picture.rgb.shape == picture.support_rgb.shape == (150, 150, 3)
    assert set(np.unique(picture.truth)) <= {0, 1, 2, 255}
    assert set(np.unique(picture.support_mask)) >= {1, 2}
    assert len(picture.names) == 2
    np.testing.assert_array_equal(picture.part(40).truth, picture.truth[:40, :40])


def test_tiles_are_measured_and_reported(tmp_path, monkeypatch):
    speed, measure = script("speed_tiles"), script("tiles_measure")
    monkeypatch.setattr(measure.resource, "setrlimit", lambda *_: None)
    monkeypatch.setattr(measure, "forget_peak", lambda: 1.0)

    def here(args, side, tiling, size, folder):
        if side == size == 160:
            return {"side": side, "size": size, "tile": None, "failed": "needs more than 1 GB"}
        words = ["--child", str(folder), "--size", str(size), "--backbone", "filters"]
        tiles = ["0"] if tiling is None else [str(tiling.tile), "--overlap", str(tiling.overlap)]
        found = speed.parser().parse_args([*words, "--tile", *tiles])
        return {"side": side, "size": size, "tile": found.tile or None, **measure.measure_cost(found)}

    monkeypatch.setattr(measure, "cost", here)
    small = ["--dataset", "synthetic", "--backbone", "filters", "--size", "64", "--cell", "64"]
    sides = ["--sides", "96", "160", "--tile", "64", "--tiles", "64"]
    assert speed.main([*small, *sides, "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "speed_tiles.json").read_text())
    assert [one["tile"] for one in found["accuracy"]] == [None, 64, 64]
    assert len(found["costs"]) == 6
    assert found["costs"][0]["picture_and_mask_mb"] == 0.0
    text = (tmp_path / "speed_tiles.md").read_text()
    assert "needs more than 1 GB" in text
    assert "tiles of 64, overlap 8" in text
    assert (tmp_path / "speed_tiles.png").stat().st_size > 1000
    assert (tmp_path / "speed_tiles_masks.png").stat().st_size > 1000


def test_a_setting_that_does_not_fit_says_why(tmp_path):
    measure, speed = script("tiles_measure"), script("speed_tiles")
    assert (
        measure._reason("x\nRuntimeError: DefaultCPUAllocator: can't allocate memory: 1", 2) == "needs more than 2 GB"
    )
    assert measure._reason("a\nValueError: b", 2) == "ValueError: b"
    assert "probably for memory" in measure._reason("", 2)
    args = speed.parser().parse_args(["--backbone", "no-such", "--limit_gb", "8"])
    assert "no-such" in measure.cost(args, 64, None, 64, tmp_path)["failed"]


def test_supports_grow_in_turn_with_the_methods(tmp_path, monkeypatch):
    speed, stages = script("speed_end_to_end"), script("end_to_end_stages")

    def here(args, method, supports):
        args.child, kept = method, args.k
        args.k = [supports]
        found = stages.measure_memory(args)
        args.child, args.k = None, kept
        return found

    monkeypatch.setattr(speed, "_child", here)
    small = ["--backbone", "filters", "--size", "64", "--k", "1", "7", "--rounds", "2", "--out", str(tmp_path)]
    assert speed.main(small) == 0
    rows = json.loads((tmp_path / "speed_end_to_end.json").read_text())["rows"]
    assert [row["supports"] for row in rows] == [1, 7]
    for row in rows:
        assert list(row["methods"]) == ["graph", "propagate", "dense"]
        for found in row["methods"].values():
            assert min(one["min_ms"] for one in found["stages"].values()) >= 0
            assert {"decode", "backbone", "resize"} <= set(found["stages"])
            assert sum(one["min_ms"] for one in found["stages"].values()) <= 3 * found["whole"]["q75_ms"]
        assert {"4-D correlation", "4-D convolutions", "upsample"} <= set(row["methods"]["dense"]["stages"])
        assert {"graph", "GNN", "upsample"} <= set(row["methods"]["graph"]["stages"])
        assert row["methods"]["graph"]["ratio"]["median"] == 1
    assert "| dense |" in (tmp_path / "speed_end_to_end.md").read_text()
    assert (tmp_path / "speed_end_to_end.png").stat().st_size > 1000
    with pytest.raises(PixgraphError, match="cuda"):
        speed.main([*small, "--device", "cuda:99"])


def test_tiles_of_a_trained_run_are_measured_at_any_working_size(tmp_path):
    small = ["--backbone.size", "48", "--train.steps", "1", "--train.val_episodes", "1", "--device", "cpu"]
    assert main(["train", "--data.name", "synthetic", *small, "--runs", str(tmp_path), "--run", "r"]) == 0
    args = argparse.Namespace(run=str(tmp_path / "r"), weights=None)
    measure = script("tiles_measure")
    sizes = {size: measure.segmenter(args, size, Tiling(64, 0)).description()["size"] for size in (48, 64)}
    assert sizes == {48: 48, 64: 64}
