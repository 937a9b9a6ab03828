"""Linear probe: a multinomial logistic regression of single pixels on frozen features.

It is the 1 x 1 convolution of the usual linear evaluation, fitted by L-BFGS on pixels drawn from the training pictures,
and so without learning rate or epochs. A pixel's feature is the bilinear value of each map at the pixel's place in the
photograph; every channel is standardised. As interpolation and classifier are linear, a picture is classified map by
map and the scores are interpolated to the photograph's own size, where they are compared with the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from pixgraph.data.base import IGNORE, FewShotDataset
from pixgraph.data.picture import Picture
from pixgraph.errors import DataError
from pixgraph.evaluation.logistic import fit_softmax
from pixgraph.models.levels import sample_at
from pixgraph.probe.config import LinearConfig
from pixgraph.probe.confusion import Confusion
from pixgraph.probe.weighting import class_weights

if TYPE_CHECKING:
    from pixgraph.backbones.features import FeatureStore


@dataclass(frozen=True)
class PixelSample:
    """Pixels of the training pictures.

    Attributes:
        features: (S, C) float32.
        labels: (S,) int64 class ids.
        counts: (pictures, 256) int64, pixels of every id in each picture, all of them.
    """

    features: torch.Tensor
    labels: torch.Tensor
    counts: np.ndarray


@dataclass(frozen=True)
class LinearProbe:
    """A fitted classifier.

    Attributes:
        ids: Class ids, in the order of the rows.
        weight: (M, C) for features that are not standardised.
        bias: (M,).
        levels: The backbone's maps that it reads, in the order of the columns.
    """

    ids: list[int]
    weight: torch.Tensor
    bias: torch.Tensor
    levels: list[int]

    def scores(self, picture: Picture, size: tuple[int, int]) -> torch.Tensor:
        """Logits (M, H, W) of a picture at `size` = (H, W)."""
        maps = [picture.features[i] for i in self.levels]
        small: dict[tuple[int, ...], torch.Tensor] = {}  # maps of one size are summed before they are interpolated
        for part, m in zip(self.weight.split([len(m) for m in maps], 1), maps, strict=True):
            found = (part @ m.flatten(1)).unflatten(1, m.shape[1:])  # (M, h, w)
            small[m.shape[1:]] = small[m.shape[1:]] + found if m.shape[1:] in small else found
        total = self.bias[:, None, None].expand(-1, *size)
        for found in small.values():
            total = total + F.interpolate(found[None], size, mode="bilinear", align_corners=False)[0]
        return total

    def predict(self, picture: Picture, size: tuple[int, int]) -> np.ndarray:
        """Class ids, uint8 (H, W), at `size`."""
        best = self.scores(picture, size).argmax(0).cpu().numpy()
        return np.array(self.ids, np.uint8)[best]


def draw_pixels(
    dataset: FewShotDataset, store: FeatureStore, levels: Sequence[int], pixels: int, seed: int
) -> PixelSample:
    """Draw labelled pixels, as many from each picture as there are to spare.

    Args:
        dataset: The training pictures; those without mask are left out.
        store: Gives their feature maps.
        levels: Which maps.
        pixels: Pixels in all; a picture with fewer labelled pixels than its share gives those.
        seed: Picture i draws from ``default_rng([seed, i])``.

    Raises:
        DataError: No pixel is labelled, or a picture or mask is broken.
    """
    labelled = [i for i in range(len(dataset)) if dataset.has_mask(i)]
    share = -(-pixels // max(1, len(labelled)))
    features, labels, counts = [], [], []
    for i in labelled:
        mask = dataset.read_mask(i)
        counts.append(np.bincount(mask.ravel(), minlength=256))
        known = np.flatnonzero(mask != IGNORE)
        chosen = np.random.default_rng([seed, i]).choice(known, min(share, len(known)), replace=False)
        rows, columns = np.divmod(chosen, mask.shape[1])
        xy = np.stack([columns / max(1, mask.shape[1] - 1), rows / max(1, mask.shape[0] - 1)], 1)
        picture = store.picture(dataset, i)
        at = torch.tensor(xy, dtype=torch.float32, device=store.device)
        features.append(torch.cat([sample_at(picture.features[level], at, mask.shape) for level in levels], 1))
        labels.append(torch.from_numpy(mask.ravel()[chosen].astype(np.int64)))
    if not sum(map(len, labels)):
        raise DataError(
            f"{dataset.name} ({dataset.split}): no labelled pixel in {len(dataset)} pictures, expected masks; "
            "check data.root"
        )
    return PixelSample(torch.cat(features), torch.cat(labels), np.stack(counts))


def fit_linear(sample: PixelSample, ids: Sequence[int], levels: Sequence[int], config: LinearConfig) -> LinearProbe:
    """Fit mean_s w(y_s) (- log softmax_y(W x_s + b)) + penalty / 2 |W|^2, x standardised.

    Args:
        sample: The training pixels.
        ids: Class ids.
        levels: The maps that `sample` was drawn from.
        config: Weighting, penalty, steps.
    """
    x = sample.features
    mean, scale = x.mean(0), 1 / x.std(0, correction=0).clamp_min(1e-6)
    row = torch.full((256,), -1, dtype=torch.long)
    row[list(ids)] = torch.arange(len(ids))
    target = F.one_hot(row[sample.labels], len(ids)).float()  # (S, M)
    weights = class_weights(sample.counts[:, list(ids)], config.weighting)
    target *= torch.tensor(weights, dtype=torch.float32) / len(target)
    weight, bias = fit_softmax((x - mean) * scale, target.to(x.device), config.penalty, config.steps)
    weight = weight * scale
    return LinearProbe(list(ids), weight, bias - weight @ mean, list(levels))


def score_linear(probe: LinearProbe, dataset: FewShotDataset, store: FeatureStore) -> Confusion:
    """Classify every labelled pixel of a split at the photographs' own size.

    Where no training pixel is background, background is unknown to the classifier and does not count.

    Raises:
        DataError: A picture or mask is broken.
    """
    confusion = Confusion(probe.ids)
    for i in range(len(dataset)):
        if dataset.has_mask(i):
            mask = dataset.read_mask(i)
            truth = mask if 0 in probe.ids else np.where(mask == 0, np.uint8(IGNORE), mask)
            confusion.add(probe.predict(store.picture(dataset, i), (mask.shape[0], mask.shape[1])), truth)
    return confusion


def class_ids(dataset: FewShotDataset, counts: np.ndarray) -> list[int]:
    """The classes of a data set, and background before them where its training pictures have any.

    Args:
        dataset: Its `class_names`.
        counts: (pictures, 256) pixels of every id.
    """
    return [*([0] if counts[:, 0].any() else []), *dataset.class_names]
