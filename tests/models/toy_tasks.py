"""Few-shot tasks of flat coloured squares on grey, and small networks with random weights, for the tests of the models.

A cell's features are a fixed random projection of its mean colour, so that a class can be told by them alone.
"""

import numpy as np
import torch
import torch.nn.functional as F

from pixgraph.config import GraphConfig, ModelConfig
from pixgraph.data.picture import FewShotTask, Picture
from pixgraph.graph.backend import make_graph
from pixgraph.models.network import PixGraphNet

GREY = (0.5, 0.5, 0.5)
COLOURS = [(0.9, 0.2, 0.1), (0.1, 0.7, 0.2), (0.15, 0.25, 0.9), (0.9, 0.85, 0.1), (0.8, 0.2, 0.8)]
CHANNELS = (6, 8, 10)
STRIDES = (4, 8, 16)


def graph_config(**changes):
    return GraphConfig(**{"stride": 8, "num_fg": 12, "num_bg": 12, "dilations": [1, 2], **changes})


def features(rgb, channels=CHANNELS, noise=0.02, rng=None):
    maps = []
    for channel, stride in zip(channels, STRIDES, strict=False):
        project = torch.from_numpy(np.random.default_rng([7, stride]).standard_normal((channel, 3), np.float32))
        pooled = F.avg_pool2d(rgb, stride)  # (3, h, w)
        level = torch.einsum("cd,dhw->chw", project, pooled - 0.5)
        jitter = 0 if rng is None else torch.from_numpy(rng.standard_normal(level.shape, np.float32))
        maps.append(level + noise * jitter)
    return maps


def picture(seed, shown=(1,), size=64, key=None, channels=CHANNELS, labelled=True):
    """Squares of 3/8 of the side in the colours of the classes `shown` (at most four), each in a quarter of its own."""
    side = 3 * size // 8
    rng = np.random.default_rng([3, seed])
    rgb = torch.tensor(GREY)[:, None, None].repeat(1, size, size)
    label = torch.zeros(size, size, dtype=torch.int64)
    for way, quarter in zip(shown, rng.permutation(4).tolist(), strict=False):
        corner = [quarter // 2 * size // 2, quarter % 2 * size // 2]
        row, column = (rng.integers(0, size // 8, 2) + corner).tolist()
        rgb[:, row : row + side, column : column + side] = torch.tensor(COLOURS[way - 1])[:, None, None]
        label[row : row + side, column : column + side] = way
    maps = features(rgb, channels, rng=rng)
    return Picture(key or f"p{seed}", rgb, maps, (size, size), label if labelled else None)


def task(n_way=2, shots=1, queries=1, unlabelled=0, seed=0, **more):
    """Each support shows its way, and query i the ways i + 1 and i + 2, counted round."""
    support = [picture(1000 * seed + 10 * n + k, (n,), **more) for n in range(1, n_way + 1) for k in range(shots)]
    ways = [sorted({i % n_way + 1, (i + 1) % n_way + 1}) for i in range(queries)]
    query = [picture(1000 * seed + 500 + i, shown, **more) for i, shown in enumerate(ways)]
    free = [picture(1000 * seed + 700 + i, (1,), labelled=False, **more) for i in range(unlabelled)]
    return FewShotTask(n_way, support, query, free)


def with_label(old, label):
    return Picture(old.key, old.rgb, old.features, old.size, label)


def relabelled(old, new_way):
    """The same task with way n called new_way[n - 1]."""
    table = torch.arange(256)
    table[1 : old.n_way + 1] = torch.tensor(new_way)

    def rename(pictures):
        return [with_label(p, table[p.label]) for p in pictures]

    return FewShotTask(old.n_way, rename(old.support), rename(old.query), old.unlabelled)


def network(seed=0, channels=CHANNELS, strides=STRIDES, **config):
    """An evaluated network all of whose weights are random: nothing is zero as it is at the start of training."""
    settings = ModelConfig(**{"width": 16, "heads": 2, "decoder_blocks": 2, **config})
    net = PixGraphNet(channels, settings, strides[: len(channels)])
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in net.named_parameters():
            if "sharpness" not in name:
                p.copy_(torch.randn(p.shape, generator=generator) / max(1, p[0].numel()) ** 0.5)
    return net.eval()


def doubled(graph, old):
    """The graph and the task in float64."""
    ndata = {**graph.ndata, "rgbxy": graph.ndata["rgbxy"].double()}
    edata = {**graph.edata, "feature": graph.edata["feature"].double()}
    graph = make_graph(*graph.edges(), graph.num_nodes(), ndata, edata)

    def exact(pictures):
        return [Picture(p.key, p.rgb.double(), [f.double() for f in p.features], p.size, p.label) for p in pictures]

    return graph, FewShotTask(old.n_way, exact(old.support), exact(old.query), exact(old.unlabelled))


def iou(probabilities, label, way):
    found, truth = probabilities.argmax(0) == way, label == way
    return float((found & truth).sum() / (found | truth).sum())
