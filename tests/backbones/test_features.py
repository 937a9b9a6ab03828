import numpy as np
import pytest
import torch

from pixgraph.backbones.base import Backbone
from pixgraph.backbones.features import FeatureStore
from pixgraph.backbones.memory import ByteLRU
from pixgraph.data.synthetic import SyntheticShapes
from pixgraph.errors import CheckpointError, RunError


class Tiny(Backbone):
    """Means of 4 x 4 and 8 x 8 pixels; counts how often it is called."""

    def __init__(self, gain=1.0):
        super().__init__("tiny/net", "nothing", ("a", "b"), (0.0,) * 3, (1.0,) * 3)
        self.gain = torch.nn.Parameter(torch.tensor(gain))
        self.calls = 0
        self.describe()
        self.calls = 0

    def extract(self, x):
        self.calls += 1
        return [torch.nn.functional.avg_pool2d(x * self.gain, s) for s in (4, 8)]


class Unreadable(SyntheticShapes):
    def read_image(self, index):
        raise AssertionError("a hit must not decode the picture")


@pytest.fixture
def shapes():
    return SyntheticShapes("val", size=48, n_pictures=6)


def same(a, b):
    tensors = zip([a.rgb, *a.features], [b.rgb, *b.features], strict=True)
    return a.key == b.key and a.size == b.size and all(torch.equal(x, y) for x, y in tensors)


def test_a_picture_is_the_same_fresh_remembered_and_read(tmp_path, shapes):
    store = FeatureStore(Tiny(), 32, tmp_path)
    fresh, hit = store.picture(shapes, 2), store.picture(shapes, 2)
    assert same(fresh, hit)
    assert store.backbone.calls == 1
    assert fresh.size == (48, 48)
    assert fresh.label is None
    assert fresh.rgb.shape == (3, 32, 32)
    assert fresh.rgb.dtype == torch.float32
    assert [tuple(f.shape) for f in fresh.features] == [(3, 8, 8), (3, 4, 4)]
    assert all(f.dtype == torch.float32 for f in fresh.features)
    assert torch.allclose(fresh.features[0], torch.nn.functional.avg_pool2d(fresh.rgb, 4), atol=1e-3)

    other = FeatureStore(Tiny(), 32, tmp_path)
    assert same(other.picture(Unreadable("val", size=48, n_pictures=6), 2), fresh)
    assert other.backbone.calls == 0
    [file] = list(tmp_path.rglob("*.safetensors"))
    assert file.parent.name == fresh.key[:2]
    assert file.parent.parent.name == f"tiny_net-{store.backbone.fingerprint}-32"


def test_changing_a_picture_does_not_change_the_store(shapes):
    store = FeatureStore(Tiny(), 32)
    store.picture(shapes, 0).rgb.zero_()
    store.picture(shapes, 0).features[0].zero_()
    assert store.picture(shapes, 0).rgb.max() > 0
    assert store.picture(shapes, 0).features[0].max() > 0


def test_other_weights_and_sizes_do_not_share_files(tmp_path, shapes):
    for backbone, size in ((Tiny(), 32), (Tiny(2.0), 32), (Tiny(), 64)):
        FeatureStore(backbone, size, tmp_path).picture(shapes, 0)
    assert len(list(tmp_path.iterdir())) == 3


def test_from_image_keeps_the_size_and_knows_the_picture_again():
    rgb = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    store = FeatureStore(Tiny(), 32)
    first = store.from_image(rgb)
    assert first.size == (40, 60)
    assert same(first, store.from_image(rgb.copy()))
    assert store.from_image(rgb.reshape(60, 40, 3)).key != first.key
    assert store.computed == 2


def test_warm_computes_what_is_missing(tmp_path, shapes):
    store = FeatureStore(Tiny(), 32, tmp_path)
    store.picture(shapes, 1)
    assert store.warm(shapes) == 5
    assert store.warm(shapes, [0, 3, 3]) == 0
    assert FeatureStore(Tiny(), 32, tmp_path).warm(shapes) == 0


def test_broken_files_are_computed_again_with_a_warning(tmp_path, shapes):
    expected = FeatureStore(Tiny(), 32, tmp_path).picture(shapes, 0)
    [file] = list(tmp_path.rglob("*.safetensors"))
    whole = file.read_bytes()
    from safetensors.torch import save

    for content in (b"", whole[:100], whole[:-1], b"x" * 500, save({"rgb": torch.ones(3)})):
        file.write_bytes(content)
        with pytest.warns(UserWarning, match="cached features .* are broken .* computed again"):
            assert same(FeatureStore(Tiny(), 32, tmp_path).picture(shapes, 0), expected)
        assert file.read_bytes() == whole


def test_a_disk_that_cannot_be_written_ends_in_one_line(tmp_path, shapes, monkeypatch):
    import os

    def full(handle, mode):
        os.close(handle)
        raise OSError(28, "No space left on device")

    store = FeatureStore(Tiny(), 32, tmp_path)
    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(RunError, match=r"cannot be written to .*No space left on device.*--backbone.cache"):
        store.picture(shapes, 0)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_features_that_are_not_finite_are_refused(shapes):
    with pytest.raises(CheckpointError, match="backbone tiny/net gives values that are not finite"):
        FeatureStore(Tiny(float("nan")), 32).picture(shapes, 0)
    huge = FeatureStore(Tiny(1e6), 32).picture(shapes, 0)
    assert torch.isfinite(huge.features[0]).all()


def test_memory_is_bounded(shapes):
    backbone = Tiny()
    one = 3 * 32 * 32 + 2 * 3 * (64 + 16)
    store = FeatureStore(backbone, 32, memory=2 * one)
    for index in (0, 1, 0, 2, 0, 1):  # 1 goes when 2 comes, as 0 was used since
        store.picture(shapes, index)
    assert backbone.calls == 4


def test_lru_counts_bytes():
    cache: ByteLRU[str] = ByteLRU(10)
    cache.put("a", "A", 4)
    cache.put("b", "B", 4)
    assert cache.get("a") == "A"
    cache.put("c", "C", 4)
    assert "b" not in cache
    cache.put("a", "AA", 6)
    assert (len(cache), cache.used) == (2, 10)
    cache.put("d", "D", 11)
    assert cache.get("d") is None
    assert cache.get("c") == "C"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda_in_batches(shapes):
    store = FeatureStore(Tiny(), 32, device="cuda")
    assert store.warm(shapes) == 6
    assert store.backbone.calls == 1
    picture = store.picture(shapes, 0)
    assert picture.rgb.is_cuda
    assert torch.allclose(picture.features[0].cpu(), FeatureStore(Tiny(), 32).picture(shapes, 0).features[0], atol=2e-3)


def test_the_mirror_image_of_a_picture_has_its_own_features_and_place(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    store = FeatureStore(Tiny(), 32, tmp_path)
    picture = store.from_image(rgb)
    image, direct = store.mirrored(picture), store.from_image(rgb[:, ::-1])
    assert image.key != picture.key
    assert torch.equal(image.rgb, direct.rgb)
    assert all(torch.equal(a, b) for a, b in zip(image.features, direct.features, strict=True))
    assert same(FeatureStore(Tiny(), 32, tmp_path).mirrored(picture), image)
    calls = store.backbone.calls
    assert same(store.mirrored(picture), image)
    assert store.backbone.calls == calls


def test_the_mirror_image_is_kept_where_the_picture_is_and_has_its_size(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    store = FeatureStore(Tiny(), 32, tmp_path)
    assert store.mirrored(store.from_image(rgb, keep=False)).size == (40, 60)
    assert not list(tmp_path.rglob("*.safetensors"))
    store.mirrored(store.from_image(rgb))
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2
