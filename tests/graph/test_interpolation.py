import pytest
import torch
import torch.nn.functional as F

from pixgraph.graph.interpolation import FEW, bilinear, bilinear_last

SIZES = [((8, 16), (32, 48)), ((7, 5), (32, 9)), ((1, 1), (4, 3)), ((12, 30), (6, 31)), ((FEW + 1, 4), (64, 64))]


@pytest.mark.parametrize(("size", "wanted"), SIZES)
def test_maps_are_those_of_interpolate_with_channels_before_and_behind(size, wanted):
    maps = torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(maps, wanted, mode="bilinear", align_corners=False)
    torch.testing.assert_close(bilinear(maps, *wanted), expected)
    torch.testing.assert_close(bilinear_last(maps.permute(0, 2, 3, 1), *wanted), expected.permute(0, 2, 3, 1))
    torch.testing.assert_close(bilinear(maps[0, 0], *wanted), expected[0, 0])


def test_gradients_pass_and_matrices_made_in_inference_serve_a_training():
    with torch.inference_mode():
        bilinear(torch.ones(2, 5, 6), 11, 13)
    maps = torch.randn(2, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: bilinear(x, 11, 13), maps)
