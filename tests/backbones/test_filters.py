import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pixgraph.backbones.color import rgb_to_lab
from pixgraph.backbones.filters import FilterBank


@pytest.fixture(scope="module")
def bank():
    return FilterBank()


def _grating(angle, wavelength=6.0, side=128):
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    wave = torch.sin(2 * torch.pi / wavelength * (x * np.cos(angle) + y * np.sin(angle)))
    return (0.5 + 0.3 * wave).expand(1, 3, side, side).float()


def test_levels(bank):
    assert bank.channels == (6, 12, 6, 18, 6, 24)
    assert bank.strides == (4, 4, 8, 8, 16, 16)
    assert bank.pretrained_on == "nothing (fixed filters)"
    assert bank.fingerprint == FilterBank().fingerprint
    assert [tuple(m.shape[2:]) for m in bank(torch.rand(1, 3, 100, 70))] == [
        (25, 18), (25, 18), (13, 9), (13, 9), (7, 5), (7, 5)
    ]  # fmt: skip


def test_lab_against_scikit_image():
    from skimage.color import rgb2lab

    rgb = np.random.default_rng(0).random((20, 30, 3)).astype(np.float32)
    expected = rgb2lab(rgb) / 100
    got = rgb_to_lab(torch.from_numpy(rgb).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
    assert np.abs(got - expected).max() < 2e-4


def test_values_are_bounded_and_finite_also_on_flat_pictures(bank):
    for picture in (torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 64, 64), torch.rand(1, 3, 64, 64).round()):
        for level in bank(picture):
            assert torch.isfinite(level).all()
            assert level.abs().max() <= 3


def test_a_batch_gives_what_its_pictures_give(bank):
    x = torch.rand(3, 3, 64, 64)
    single = [torch.cat(maps) for maps in zip(*(bank(x[i : i + 1]) for i in range(3)), strict=True)]
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(bank(x), single, strict=True))


def test_direction_follows_the_angle_and_energy_does_not(bank):
    level = [bank(_grating(angle))[1][0, :, 16, 16] for angle in (0.0, np.pi / 4, np.pi / 2)]
    energy, directed, cosine, sine = torch.stack(level)[:, :4].T
    assert energy.std() < 0.1
    assert (directed > 0.3).all()
    assert cosine[0] > 1
    assert cosine[2] < -1
    assert sine[1] > 1


def test_texture_levels_do_not_see_a_change_of_colour(bank):
    picture = _grating(0.4) * 0.6
    shifted = picture + torch.tensor([0.06, 0.0, -0.06]).view(1, 3, 1, 1)
    same = [F.cosine_similarity(a, b).mean() for a, b in zip(bank(picture), bank(shifted), strict=True)]
    assert min(same[1::2]) > 0.9
    assert same[0] < 0.9
