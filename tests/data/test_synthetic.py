import numpy as np
import pytest
import torch

from pixgraph.backbones.features import FeatureStore
from pixgraph.backbones.filters import FilterBank
from pixgraph.config import SourceConfig
from pixgraph.data import synthetic_textures
from pixgraph.data.synthetic import SPLITS, SyntheticShapes, open_split
from pixgraph.data.synthetic_shapes import SHAPES
from pixgraph.data.synthetic_textures import TEXTURES, cut, load_texture
from pixgraph.errors import ConfigError, DataError


def test_splits_share_no_shape_texture_or_background():
    parts = list(SPLITS.values())
    for kinds in ([p.textures for p in parts], [p.backgrounds for p in parts], [list(SHAPES)[p.shapes] for p in parts]):
        names = [name for group in kinds for name in group]
        assert len(names) == len(set(names))
    assert sum(len(list(SHAPES)[p.shapes]) for p in parts) == len(SHAPES)
    assert {t for p in parts for t in (*p.textures, *p.backgrounds)} == set(TEXTURES)


@pytest.mark.parametrize(("split", "classes"), [("train", 36), ("val", 12), ("test", 16)])
def test_every_shape_has_two_textures_and_every_texture_several_shapes(split, classes):
    data = SyntheticShapes(split)
    assert len(set(data.class_names.values())) == classes
    shapes = [shape for shape, _ in data.kinds]
    assert all(shapes.count(shape) == 2 for shape in shapes)
    textures = [texture for _, texture in data.kinds]
    assert all(textures.count(texture) >= 4 for texture in data.parts.textures)


def test_pictures_depend_on_seed_and_index_only():
    data, again = SyntheticShapes("test", n_pictures=5), SyntheticShapes("test", n_pictures=50)
    assert np.array_equal(data.read_image(4), again.read_image(4))
    assert np.array_equal(data.read_mask(4), again.read_mask(4))
    assert data.fingerprint(4) == again.fingerprint(4)
    other = SyntheticShapes("test", seed=1)
    assert not np.array_equal(data.read_mask(4), other.read_mask(4))
    assert len({data.fingerprint(4), data.fingerprint(3), other.fingerprint(4)}) == 3


@pytest.mark.parametrize("split", SPLITS)
def test_pictures_show_their_class_and_masks_hold_known_ids(split):
    data = SyntheticShapes(split, n_pictures=len(SyntheticShapes(split).class_names))
    several = 0
    for index in range(len(data)):
        mask = data.read_mask(index)
        assert mask.shape == (128, 128)
        assert mask.dtype == np.uint8
        found = set(np.unique(mask)) - {0}
        assert found <= set(data.class_names)
        assert (mask == index + 1).mean() > 0.015
        several += len(found) > 1
    assert several > len(data) // 2
    image = data.read_image(0)
    assert image.shape == (128, 128, 3)
    assert image.dtype == np.uint8
    assert data.areas[1][0] == (data.read_mask(0) == 1).sum()


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_fit_their_square_and_fill_a_part_of_it(name):
    axis = np.linspace(-1.5, 1.5, 91)
    u, v = np.meshgrid(axis, axis)
    inside = SHAPES[name](u, v, np.random.default_rng(0))
    assert not inside[np.hypot(u, v) > 1.42].any()
    assert 0.1 < inside[(abs(u) <= 1) & (abs(v) <= 1)].mean() < 0.85


def test_pieces_of_textures_are_normalised_even_where_the_photograph_is_small():
    piece = cut("print", 40, 90, 5.0, 1.0, (0.99, 0.01))
    assert piece.shape == (40, 90)
    assert abs(piece.mean()) < 1e-4
    assert 0.5 < piece.std() <= 1


def test_errors(monkeypatch):
    with pytest.raises(ConfigError, match="split 'novel' is unknown; expected one of train, val, test"):
        open_split(SourceConfig(), "novel")
    with pytest.raises(DataError, match=r"no picture 3; expected 0\.\.2"):
        SyntheticShapes("val", n_pictures=3).read_image(3)
    monkeypatch.setitem(synthetic_textures.TEXTURES, "gone", synthetic_textures.Source("gone.png"))
    with pytest.raises(DataError, match=r"gone.png is not inside the installed scikit-image"):
        load_texture("gone")


def _one_shot(data, store, levels, episodes=48):
    """mIoU of the nearest of two prototypes on 1-way 1-shot episodes, at a grid of 16 x 16 cells."""
    hit, union = dict.fromkeys(data.class_names, 0.0), dict.fromkeys(data.class_names, 0.0)

    def cells(index):
        maps = [store.picture(data, index).features[level] for level in levels]
        maps = [torch.nn.functional.adaptive_avg_pool2d(m, 16) for m in maps]
        return torch.nn.functional.normalize(torch.cat([torch.nn.functional.normalize(m, dim=0) for m in maps]), dim=0)

    def share(index, c):
        mask = torch.from_numpy(data.read_mask(index) == c).float()
        return torch.nn.functional.adaptive_avg_pool2d(mask[None], 16)[0]

    for episode in range(episodes):
        c = episode % len(data.class_names) + 1
        support, query = np.random.default_rng([0, episode]).choice(
            range(c - 1, len(data), len(data.class_names)), 2, False
        )
        f, m, target = cells(int(support)), share(int(support), c), share(int(query), c) > 0.5
        prototypes = [torch.nn.functional.normalize((f * w).sum((1, 2)), dim=0) for w in (m, 1 - m)]
        scores = [torch.einsum("chw,c->hw", cells(int(query)), p) for p in prototypes]
        guess = scores[0] > scores[1]
        hit[c] += float((guess & target).sum())
        union[c] += float((guess | target).sum())
    return float(np.mean([hit[c] / union[c] for c in hit if union[c]]))


def test_colour_tells_nothing_and_texture_tells_something():
    data = SyntheticShapes("test", n_pictures=48)
    store = FeatureStore(FilterBank(), 128)
    share_of_foreground = np.mean([(data.read_mask(i) == i % 16 + 1).mean() for i in range(32)])
    colour, texture = _one_shot(data, store, (0, 2, 4)), _one_shot(data, store, (1, 3, 5))
    assert colour < 1.3 * share_of_foreground  # what painting everything would get
    assert texture > 1.3 * colour
    assert texture < 0.5
