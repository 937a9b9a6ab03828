"""Standardising, resampling and sampling of feature maps."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from toy_tasks import picture

from pixgraph.data.picture import Picture
from pixgraph.models.levels import (
    at_most,
    coarse_levels,
    compared_levels,
    level_statistics,
    resample,
    sample_at,
    standardise,
)


def test_statistics_are_those_of_all_cells_of_all_supports():
    pictures = [picture(i) for i in range(3)]
    for level, (mean, std) in enumerate(level_statistics(pictures)):
        cells = np.concatenate([p.features[level].flatten(1).numpy() for p in pictures], axis=1)  # (C, cells)
        deviation = cells.std(1)
        np.testing.assert_allclose(mean.flatten().numpy(), cells.mean(1), atol=1e-5)
        np.testing.assert_allclose(std.flatten().numpy(), deviation + 0.1 * deviation.mean() + 1e-6, rtol=1e-4)


def test_order_of_supports_does_not_matter():
    pictures = [picture(i) for i in range(3)]
    for one, other in zip(level_statistics(pictures), level_statistics(pictures[::-1]), strict=True):
        torch.testing.assert_close(one, other)


def test_standardised_supports_have_mean_zero_and_deviation_below_one():
    support = picture(0)
    for maps in standardise(support, level_statistics([support])):
        assert maps.mean((1, 2)).abs().max() < 1e-4
        assert (maps.std((1, 2), correction=0) < 1).all()


def test_supports_without_variation_give_finite_maps():
    flat = Picture("flat", torch.zeros(3, 8, 8), [torch.ones(4, 2, 2)], (8, 8))
    (maps,) = standardise(picture(0, channels=(4,)), level_statistics([flat]))
    assert maps.isfinite().all()


def test_resample_averages_downwards_and_interpolates_upwards():
    maps = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert resample(maps, 8, 8) is maps
    torch.testing.assert_close(resample(maps, 4, 2), maps.unflatten(3, (2, 4)).unflatten(2, (4, 2)).mean((3, 5)))
    up = F.interpolate(maps, (16, 24), mode="bilinear", align_corners=False)
    torch.testing.assert_close(resample(maps, 16, 24), up)
    uneven = F.adaptive_avg_pool2d(maps, (3, 8))
    torch.testing.assert_close(resample(maps, 3, 8), uneven)


@pytest.mark.parametrize(("cells", "shape"), [(4, (3, 4, 4)), (7, (3, 6, 7)), (20, (3, 6, 10))])
def test_at_most_never_enlarges(cells, shape):
    assert at_most(torch.zeros(3, 6, 10), cells).shape == shape


def test_sampling_at_pixel_centres_returns_the_pixels():
    maps = torch.randn(3, 6, 10, generator=torch.Generator().manual_seed(0))
    rows, columns = (x.flatten() for x in torch.meshgrid(torch.arange(6), torch.arange(10), indexing="ij"))
    xy = torch.stack([columns / 9, rows / 5], 1)
    torch.testing.assert_close(sample_at(maps, xy, (6, 10)), maps.flatten(1).T, atol=1e-5, rtol=1e-5)


def test_sampling_a_coarse_ramp_is_linear_between_the_cell_centres():
    """Cell c of 4 pixels has its centre at pixel 4 c + 1.5; a map that holds this position returns the pixel's own."""
    ramp = (4 * torch.arange(8.0) + 1.5).expand(1, 8, 8)
    x = torch.arange(2, 30)
    xy = torch.stack([x / 31, torch.full((28,), 0.4)], 1)
    torch.testing.assert_close(sample_at(ramp, xy, (32, 32))[:, 0], x.float(), atol=1e-4, rtol=1e-5)


def test_coarse_levels():
    strides = (4, 8, 16, 32)
    maps = [torch.zeros(1, 64 // stride, 64 // stride) for stride in strides]
    assert coarse_levels(maps[:3], 64) == [0, 1, 2]  # a shallow backbone
    assert coarse_levels(maps, 64) == [2, 3]
    assert coarse_levels(maps[:1], 64) == [0]


@pytest.mark.parametrize("size", [225, 256, 320, 400, 417, 473, 500])
def test_coarse_levels_of_sizes_that_no_stride_divides(size):
    maps = [torch.zeros(1, -(-size // stride), -(-size // stride)) for stride in (4, 8, 16, 32)]
    assert coarse_levels(maps, size) == [2, 3]


def test_compared_levels():
    assert compared_levels((4, 8, 16)) == [1, 2]  # shallow: all but the finest
    assert compared_levels((4, 8, 16, 16, 32, 32)) == [2, 3, 4, 5]  # deep
    assert compared_levels((16,)) == [0]
    assert compared_levels((32,)) == [0]
