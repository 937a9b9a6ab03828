"""Small few-shot tasks for the tests of the graph builders."""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from pixgraph.data.picture import FewShotTask, Picture


def picture(seed, size=32, n_way=1, label=True, key=None, channels=(6, 10)):
    """A random picture with random features on two levels and a square of each class."""
    generator = torch.Generator().manual_seed(seed)
    features = [
        torch.randn(c, size // s, size // s, generator=generator) for c, s in zip(channels, (4, 8), strict=True)
    ]
    mask = None
    if label:
        mask = torch.zeros(size, size, dtype=torch.int64)
        for c in range(1, n_way + 1):
            row, col = torch.randint(0, size - 12, (2,), generator=generator).tolist()
            mask[row : row + 12, col : col + 12] = c
        mask[0, :4] = 255
    return Picture(key or f"p{seed}", torch.rand(3, size, size, generator=generator), features, (size, size), mask)


def smooth(old):
    """The same picture with colours that change slowly, as segments need them."""
    coarse = F.adaptive_avg_pool2d(old.rgb, 6)[None]
    rgb = F.interpolate(4 * (coarse - 0.5) + 0.5, old.rgb.shape[1:], mode="bicubic", align_corners=False)[0].clamp(0, 1)
    return replace(old, rgb=rgb)


def smooth_task(**more):
    """`task` of smooth pictures."""
    made = task(**more)
    return FewShotTask(made.n_way, *([smooth(p) for p in part] for part in (made.support, made.query, made.unlabelled)))


def task(shots=3, queries=1, unlabelled=0, n_way=1, size=32):
    """Supports 0.., queries 100.., unlabelled pictures 200.. ."""
    return FewShotTask(
        n_way,
        [picture(i, size, n_way) for i in range(shots)],
        [picture(100 + i, size, n_way) for i in range(queries)],
        [picture(200 + i, size, label=False) for i in range(unlabelled)],
    )


def content(graph, pictures, relabel=None):
    """Everything in a graph, independent of the numbering of its nodes and pictures: sorted node and edge records."""
    keys = np.array([p.key for p in pictures])[graph.ndata["image"].numpy()]
    label = graph.ndata["label"].tolist()
    relabel = relabel or {}
    xy = graph.ndata["rgbxy"].tolist()
    names = [
        (k, *p, relabel.get(c, c), r)
        for k, p, c, r in zip(keys.tolist(), xy, label, graph.ndata["role"].tolist(), strict=True)
    ]
    src, dst = (e.tolist() for e in graph.edges())
    edges = [
        (names[a], names[b], k, tuple(f))
        for a, b, k, f in zip(src, dst, graph.edata["kind"].tolist(), graph.edata["feature"].tolist(), strict=True)
    ]
    return sorted(names), sorted(edges)
