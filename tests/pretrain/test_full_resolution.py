"""PixPro at full resolution: the parts of its loss, and its bottleneck."""

import pytest
import torch
from tiny_encoder import TinyEncoder, tiny_batch, tiny_config

from pixgraph.errors import ConfigError
from pixgraph.losses.pixpro import pixpro_loss
from pixgraph.pretrain.methods import build_method
from pixgraph.pretrain.pairs import positive_pairs


def full(**pixel):
    torch.manual_seed(0)
    return build_method("pixpro_full", TinyEncoder(1, 4), tiny_config(**pixel))


def cosine(a, b):
    return torch.nn.functional.cosine_similarity(a, b, dim=0)


@pytest.mark.parametrize("propagation", ["cell", "window", "map"])
def test_loss_is_the_agreement_at_the_drawn_pairs(propagation):
    method, batch = full(propagation=propagation), tiny_batch()
    loss, _ = method(batch, 3)
    own = [method.student(x).pixel for x in (batch.first, batch.second)]
    followed = [method.target(x).pixel for x in (batch.first, batch.second)]
    pairs, total = method.pairs(batch, 3), 0.0
    assert pairs.counts.tolist() == [12, 12, 12]
    y = [method.propagation(x, pairs.image, p) for x, p in zip(own, (pairs.first, pairs.second), strict=True)]
    for p, (b, i, j) in enumerate(zip(*(t.tolist() for t in pairs[:3]), strict=True)):
        first, second = (k[b].flatten(1)[:, at] for k, at in zip(followed, (i, j), strict=True))
        total -= cosine(y[0][p], second) + cosine(y[1][p], first)
    torch.testing.assert_close(loss, total / 36)


def test_drawn_pairs_are_positive_and_depend_on_the_seed():
    method, batch = full(), tiny_batch()
    pairs = method.pairs(batch, 3)
    assert positive_pairs(batch.rect1, batch.rect2, (16, 16), 0.7)[pairs.image, pairs.first, pairs.second].all()
    assert not torch.equal(pairs.first, method.pairs(batch, 4).first)


def test_a_skipped_picture_counts_as_zero():
    """The mean over pictures is that of several processes with one picture each."""
    rects = ([[0.0, 0.0, 0.2, 0.2], [0, 0, 1, 1]], [[0.8, 0.8, 1, 1], [0.9, 0.1, 0.2, 0.8]])
    method, batch = full(), tiny_batch(2, rects=rects)
    pairs = method.pairs(batch, 0)
    assert pairs.counts.tolist() == [0, 12]
    method.eval()  # a picture's map then does not depend on the other picture
    both, _ = method(batch, 0)
    parts = (batch.first, batch.second, batch.rect1, batch.rect2, batch.index)
    alone, _ = method(type(batch)(*(part[1:] for part in parts)), 0)
    torch.testing.assert_close(both, alone / 2)


def test_bottleneck_adds_half_the_official_loss():
    batch = tiny_batch()
    method = full(bottleneck_weight=0.5)
    loss, logs = method(batch, 0)
    own = [method.student(x).bottleneck for x in (batch.first, batch.second)]
    followed = [method.target(x).bottleneck for x in (batch.first, batch.second)]
    positive = positive_pairs(batch.rect1, batch.rect2, (4, 4), 0.7)
    expected = pixpro_loss(*(method.coarse_propagation(x) for x in own), *followed, positive) / 2
    torch.testing.assert_close(logs["bottleneck"], expected)
    torch.testing.assert_close(loss.detach(), logs["pixpro"] + 0.5 * logs["bottleneck"])


def test_a_map_with_fewer_cells_than_are_drawn_is_refused_in_words():
    with pytest.raises(ConfigError, match=r"finest map has 16 x 16 cells, fewer than pixel.intersect_limit 300.*UNet"):
        full(intersect_limit=300)(tiny_batch(), 0)
