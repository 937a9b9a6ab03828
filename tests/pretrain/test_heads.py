"""The head is the same perceptron for every cell."""

import torch
import torch.nn.functional as F

from pixgraph.pretrain.heads import PixelHead


def test_a_perceptron_for_each_cell():
    head, x = PixelHead(5, 7, 3).eval(), torch.randn(2, 5, 3, 4)
    cells = x.permute(0, 2, 3, 1)
    hidden = F.linear(cells, head.first.weight[..., 0, 0], head.first.bias) / (1 + head.norm.eps) ** 0.5
    expected = F.linear(hidden.relu(), head.second.weight[..., 0, 0], head.second.bias)
    torch.testing.assert_close(head(x), expected.permute(0, 3, 1, 2))


def test_norms_of_a_batch_in_training():
    head, x = PixelHead(5, 7, 3), torch.randn(2, 5, 3, 4)
    mean = head.first(x).mean((0, 2, 3))
    head(x)
    torch.testing.assert_close(head.norm.running_mean, 0.1 * mean)
