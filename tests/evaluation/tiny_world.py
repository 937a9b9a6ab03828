"""A generated data set, a store and methods that need no file, no CNN and no training."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F

from pixgraph.data.base import FewShotDataset, Sample
from pixgraph.data.images import resize_image
from pixgraph.data.picture import FewShotTask, Picture

COLOURS = {3: (220, 40, 40), 5: (40, 220, 40), 8: (40, 40, 220), 9: (220, 220, 40)}
NAMES = {3: "brick", 5: "grass", 8: "sea", 9: "sand"}


class TinyDataset(FewShotDataset):
    """Noisy grey pictures of different sizes, each with one or two coloured boxes and a border of 255."""

    def __init__(self, pictures: int = 24, seed: int = 0) -> None:
        super().__init__("tiny", "test", NAMES, [Sample(f"p{i}") for i in range(pictures)])
        self.seed = seed

    def _draw(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([self.seed, index])
        height, width = int(rng.integers(40, 70)), int(rng.integers(40, 70))
        rgb = rng.integers(90, 160, (height, width, 3)).astype(np.uint8)
        mask = np.zeros((height, width), np.uint8)
        classes = sorted(COLOURS)
        for c in (classes[index % 4], classes[int(rng.integers(4))]):
            top, left = int(rng.integers(2, height - 24)), int(rng.integers(2, width - 24))
            box = np.s_[top : top + int(rng.integers(12, 22)), left : left + int(rng.integers(12, 22))]
            rgb[box] = np.clip(np.array(COLOURS[c]) + rng.integers(-20, 20, rgb[box].shape), 0, 255)
            mask[box] = c
        mask[0] = 255
        return rgb, mask

    def read_image(self, index: int) -> np.ndarray:
        return self._draw(index)[0]

    def read_mask(self, index: int) -> np.ndarray:
        return self._draw(index)[1]

    def has_mask(self, index: int) -> bool:
        return True

    def fingerprint(self, index: int) -> str:
        return hashlib.sha256(f"{self.seed}/{index}".encode()).hexdigest()


class TinyStore:
    """Means of colour at strides 4 and 8 in place of a CNN."""

    size = 64
    backbone = SimpleNamespace(name="colour", pretrained_on="nothing", fingerprint="0123456789ab", channels=(4, 4))

    def picture(self, dataset: FewShotDataset, index: int) -> Picture:
        rgb = dataset.read_image(index)
        return tiny_picture(
            torch.from_numpy(resize_image(rgb, self.size).copy()), dataset.fingerprint(index), rgb.shape
        )


def tiny_picture(rgb: torch.Tensor, key: str, shape: tuple[int, ...], label: torch.Tensor | None = None) -> Picture:
    x = rgb.permute(2, 0, 1).float() / 255
    # The constant channel gives grey a direction of its own, as the mean colour has length zero.
    x4 = torch.cat([x - 0.5, torch.full_like(x[:1], 0.3)])
    features = [F.avg_pool2d(x4[None], s)[0] for s in (4, 8)]
    return Picture(key, x.contiguous(), features, (shape[0], shape[1]), label)


class Oracle:
    """Looks its answers up by picture: what a perfect method would say at the working size."""

    name = "oracle"

    def __init__(self, answers: dict[str, torch.Tensor]) -> None:
        self.answers = answers
        self.seen: list[FewShotTask] = []

    def predict(self, task: FewShotTask) -> list[torch.Tensor]:
        self.seen.append(task)
        return [self.answers[query.key] for query in task.query]


class Halves:
    """A method that depends on the query only: the left half is class 1, sometimes the right."""

    name = "halves"

    def predict(self, task: FewShotTask) -> list[torch.Tensor]:
        answers = []
        for query in task.query:
            height, width = query.rgb.shape[-2:]
            p = torch.full((task.n_way + 1, height, width), 0.1 / max(1, task.n_way))
            p[0] = 0.9
            start = int(query.key[0], 16) % 2 * width // 2
            p[:, :, start : start + width // 2] = p[:, :, start : start + width // 2].flip(0)
            answers.append(p / p.sum(0))
        return answers
