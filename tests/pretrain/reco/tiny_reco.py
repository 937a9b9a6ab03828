"""A CamVid of coloured regions that a small network learns in a few steps, and a training on it."""

import numpy as np
import torch
from PIL import Image

from pixgraph.data.semantic import open_semantic
from pixgraph.pretrain.config import OptimConfig
from pixgraph.pretrain.labelled_views import LabelledViewConfig
from pixgraph.pretrain.reco.config import BudgetConfig, ContrastConfig, PseudoConfig, RecoConfig, TeacherConfig
from pixgraph.pretrain.reco.labels import choose, make_source
from pixgraph.pretrain.reco.method import ReCo
from pixgraph.pretrain.segmentation_network import build_segmentation_network

COLOURS = {0: (60, 120, 230), 3: (120, 120, 120), 5: (30, 160, 40), 8: (210, 40, 40)}
"""Sky, road, tree, car."""
SIZE = (40, 48)


def frame(seed):
    """A picture and its mask: sky above road, a tree or a car on both, a strip of void."""
    rng = np.random.default_rng(seed)
    mask = np.full(SIZE, 3, np.uint8)
    horizon = int(rng.integers(14, 26))
    mask[:horizon] = 0
    for number in (5, 8) if seed % 3 else (5,):
        top, left = int(rng.integers(8, 24)), int(rng.integers(2, 30))
        mask[top : top + 12, left : left + 12] = number
    rgb = np.array([COLOURS[n] for n in mask.ravel().tolist()], np.float32).reshape(*SIZE, 3)
    mask[-3:] = 11
    return np.clip(rgb + rng.normal(0, 12, rgb.shape), 0, 255).astype(np.uint8), mask


def write_camvid(root, pictures=6):
    """SegNet's layout with so many training frames, and half as many of the others.

    In each training frame the seven classes of no colour have a pixel in the strip of void: nothing can be learned of
    a class that none shows.
    """
    for offset, split in enumerate(("train", "val", "test")):
        (root / split).mkdir(parents=True)
        (root / f"{split}annot").mkdir()
        names = []
        for i in range(pictures if split == "train" else pictures // 2):
            rgb, mask = frame(100 * offset + i)
            if split == "train":
                others = [c for c in range(11) if c not in COLOURS]
                mask[-1, : len(others)] = others
            Image.fromarray(rgb).save(root / split / f"{i}.png")
            Image.fromarray(mask).save(root / f"{split}annot" / f"{i}.png")
            names.append(f"/SegNet/CamVid/{split}/{i}.png /SegNet/CamVid/{split}annot/{i}.png\n")
        (root / f"{split}.txt").write_text("".join(names))
    return root


def tiny_config(root, runs="runs", run="tiny", **settings):
    """A run of four steps; `optim`, `labels`, `views`, `contrast`, `pseudo` and `teacher` take dictionaries."""
    parts = {
        "labels": BudgetConfig,
        "views": LabelledViewConfig,
        "contrast": ContrastConfig,
        "pseudo": PseudoConfig,
        "teacher": TeacherConfig,
        "optim": OptimConfig,
    }
    given = {
        "labels": {"num_labeled": 3},
        "views": {"size": 32},
        "contrast": {"num_queries": 12, "num_negatives": 16},
        "pseudo": {},
        "teacher": {},
        "optim": {"steps": 4, "batch": 2, "optimizer": "sgd", "lr": 0.05, "warmup": 0, "schedule": "poly"},
    }
    given["optim"] |= {"val_every": 2, "save_every": 2, "log_every": 1}
    made = {name: cls(**{**given[name], **settings.pop(name, {})}) for name, cls in parts.items()}
    plain = {"network": "unet-small", "weights": "random", "embedding": 8, "seed": 3, "device": "cpu"}
    return RecoConfig(**{**plain, "data": f"camvid:{root}", "runs": str(runs), "run": run, **made, **settings})


def tiny_method(config):
    """The method of a configuration, with the same weights each time."""
    return ReCo(build_segmentation_network(config.network, "random", 11, config.embedding, config.seed), config)


def tiny_batch(config, step=0):
    """The batch of a step."""
    split = open_semantic(config.data, "train")
    source = make_source(split, choose(split, config.labels, config.seed), config)
    return source.batch(step, config.optim.batch, range(config.optim.batch))


def loss_of(config, seed=1):
    """Loss and logs of a fresh method on its first batch."""
    torch.manual_seed(0)
    method = tiny_method(config)
    method.train()
    loss, logs = method(tiny_batch(config), seed)
    return float(loss.detach()), {key: float(value) for key, value in logs.items()}
