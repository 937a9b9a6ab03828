"""Guided upsampling of node logits."""

import pytest
import torch
import torch.nn.functional as F

from pixgraph.models.upsample import GuidedUpsampler


def example(n_way=2, rows=4, fine=8):
    rng = torch.Generator().manual_seed(0)
    shapes = (n_way, rows, rows), (n_way, rows, rows, 6), (5, fine, fine), (3, 2 * fine, 2 * fine)
    return [torch.randn(shape, generator=rng) for shape in shapes]


def trained():
    torch.manual_seed(0)
    module = GuidedUpsampler(5, 6)
    torch.nn.init.normal_(module.refine[-1].weight)
    return module


def test_starts_as_bilinear_interpolation():
    logits, *guide = example()
    expected = F.interpolate(logits[None], (8, 8), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(GuidedUpsampler(5, 6)(logits, *guide), expected)


@pytest.mark.parametrize("rows", [8, 16])
def test_leaves_logits_alone_that_are_as_fine_as_the_finest_level(rows):
    logits, *guide = example(rows=rows)
    assert trained()(logits, *guide) is logits


def test_classes_do_not_mix():
    logits, states, *guide = example(3)
    module = trained()
    out = module(logits, states, *guide)
    torch.testing.assert_close(module(logits.flip(0), states.flip(0), *guide), out.flip(0))
    torch.testing.assert_close(module(logits[1:2], states[1:2], *guide), out[1:2], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("part", [0, 1, 2, 3])
def test_logits_states_features_and_colours_are_all_used(part):
    inputs = example()
    module = trained()
    before = module(*inputs)
    inputs[part] = inputs[part] + torch.linspace(0, 1, inputs[part].shape[-1])
    assert not torch.allclose(module(*inputs), before, atol=1e-4)


def test_gradcheck():
    logits, states, finest, rgb = (x.double() for x in example(1, 2, 4))
    module = trained().double()
    inputs = (logits.requires_grad_(), states.requires_grad_())
    assert torch.autograd.gradcheck(lambda a, b: module(a, b, finest, rgb), inputs, fast_mode=True)
