"""Pixel labels from image tags: class-activation maps, a random walk on the embedding's affinity, a refining walk.

What training reads of a picture are its tags. Where masks exist they only tell how good the labels are.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from pixgraph.backbones.deeplab_networks import DeepLabMaps
from pixgraph.data.base import UNLABELLED
from pixgraph.data.images import resize_mask
from pixgraph.data.semantic import SemanticSplit
from pixgraph.errors import RunError
from pixgraph.models.levels import resample
from pixgraph.pretrain.segmentation_network import SegmentationNetwork
from pixgraph.pretrain.spml.cam import TagClassifier, fit_tags, with_background
from pixgraph.pretrain.spml.random_walk import affinity, enlarge, refine, walk
from pixgraph.pretrain.spml.scoring import as_picture
from pixgraph.pretrain.spml.weak_labels import label_path
from pixgraph.training.atomic import write_atomic

STRIDE = 8
"""Pixels between two cells of the random walk."""
REFINED_SIDE = 192
"""Short side, at most, of the picture on which outlines are refined."""

Tags = Callable[[int], np.ndarray]
"""From the number of a picture to its tags, bool (C,)."""


class Stages(NamedTuple):
    """The labels of a picture after each step, (H, W) uint8 each: classes, 254.

    Attributes:
        cam: From the class-activation maps.
        walk: After the random walk.
        refined: After refinement by the colours.
    """

    cam: np.ndarray
    walk: np.ndarray
    refined: np.ndarray


class TagLabeller:
    """Turns tags into labels of pixels with the encoder of a network that is not trained on the way.

    Args:
        network: Gives the features; used in evaluation mode and left in the mode that it had.
        classes: Number of classes C.
        background: Class of pixels that have no tag; none: there is none.
        short_side: Pictures are shrunk to it first; 0: they stay as they are.
        device: Where to compute.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        classes: int,
        background: int | None,
        short_side: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.network, self.classes, self.background = network, classes, background
        self.short_side, self.device = short_side, torch.device(device)
        self.classifier: TagClassifier | None = None

    def __repr__(self) -> str:
        return f"TagLabeller({self.network!r}, {self.classifier!r})"

    def fit(self, split: SemanticSplit, indices: Sequence[int], tags: Tags) -> TagClassifier:
        """Fit the classifier of the tags.

        Args:
            split: Gives the pictures.
            indices: Which of them.
            tags: Their tags.

        Raises:
            DataError: No tag tells the pictures apart, or a file is missing or broken.
        """
        pooled = torch.stack([self.maps(split.read_image(i))[-1].mean((1, 2)) for i in indices])
        shown = torch.from_numpy(np.stack([tags(i) for i in indices])).to(pooled.device)
        self.classifier = fit_tags(pooled, shown, self.background)
        return self.classifier

    @torch.no_grad()
    def maps(self, rgb: np.ndarray, mirror: bool = False) -> list[torch.Tensor]:
        """Maps (F_l, h_l, w_l) of the encoder from stride 8 on, of a picture (H, W, 3) uint8 or its mirror image."""
        images = as_picture(rgb, self.short_side).to(self.device)
        before = self.network.training
        try:
            return encoder_maps(self.network.eval(), images.flip(3) if mirror else images)
        finally:
            self.network.train(before)

    def __call__(self, rgb: np.ndarray, tags: np.ndarray) -> Stages:
        """The labels of a picture.

        Args:
            rgb: (H, W, 3) uint8.
            tags: (C,) bool.

        Raises:
            RuntimeError: The classifier is not fitted.
        """
        if self.classifier is None:
            raise RuntimeError("TagLabeller: not fitted; call fit first")
        maps, mirrored = self.maps(rgb), self.maps(rgb, mirror=True)
        size = (rgb.shape[0], rgb.shape[1])
        present = tags.copy()
        if self.background is not None:
            present[self.background] = True
        shown = torch.from_numpy(tags).to(maps[-1].device)
        both = self.classifier.maps(maps[-1], shown) + self.classifier.maps(mirrored[-1], shown).flip(2)
        scores = with_background(both / both.amax((1, 2), keepdim=True).clamp_min(1e-12), self.background)
        units = [place_cells(m) for m in (maps, mirrored)]
        rows, columns = units[0].shape[1:]
        spread = walk(resample(scores, rows, columns).flatten(1), affinity(*units)).unflatten(1, (rows, columns))
        walked = enlarge(spread, size)
        return Stages(_winner(enlarge(scores, size), present), _winner(walked, present), _refined(rgb, walked, present))


def encoder_maps(network: SegmentationNetwork, images: torch.Tensor) -> list[torch.Tensor]:
    """Maps (F_l, h_l, w_l) of one picture (1, 3, H, W) in 0..1 from strides 8 on, finest first."""
    height, width = images.shape[2:]
    below, right = (-side % network.divisor for side in (height, width))
    found = network.network(F.pad((images - network.mean) / network.std, (0, right, 0, below), mode="replicate"))
    levels = found.encoded if isinstance(found, DeepLabMaps) else found
    coarse = [m[0].float() for m in levels if m.shape[2] * STRIDE <= height + below]
    # Without the cells that were filled up: in a mirror image they are on the other side.
    return [
        m[:, : -(-height * m.shape[1] // (height + below)), : -(-width * m.shape[2] // (width + right))] for m in coarse
    ]


def place_cells(maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """Unit vectors (D, h, w) on the grid of the finest map: levels centred over the picture, of unit length, joined."""
    size = maps[0].shape[1:]
    centred = [m - m.mean((1, 2), keepdim=True) for m in maps]
    return torch.cat([F.normalize(resample(m, *size), dim=0) for m in centred]) / len(maps) ** 0.5


def write_labels(
    labeller: TagLabeller,
    split: SemanticSplit,
    indices: Sequence[int],
    tags: Tags,
    folder: Path,
    stage: str = "refined",
) -> None:
    """Write the labels of pictures as PNG files of their own size.

    Args:
        labeller: Fitted.
        split: Gives the pictures.
        indices: Which of them.
        tags: Their tags.
        folder: Made if it is not there; the files are named by `label_path` of `pixgraph.pretrain.spml.weak_labels`.
        stage: Field of `Stages` that is written.

    Raises:
        RunError: A file cannot be written.
    """
    for index in indices:
        found = getattr(labeller(split.read_image(index), tags(index)), stage)
        buffer = io.BytesIO()
        Image.fromarray(found).save(buffer, "PNG")
        path = label_path(folder, split.keys[index])
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, buffer.getvalue())
        except OSError as error:
            raise RunError(
                f"cannot write {path}: {error.strerror or error}; free space or change permissions"
            ) from error


def _winner(scores: np.ndarray, present: np.ndarray) -> np.ndarray:
    """The likeliest of the classes that may occur, 254 where none has a score: (H, W) uint8."""
    ways = np.flatnonzero(present)
    if not len(ways):
        return np.full(scores.shape[1:], UNLABELLED, np.uint8)
    chosen = scores[ways]
    return np.where(chosen.max(0) > 0, ways[chosen.argmax(0)], UNLABELLED).astype(np.uint8)


def _refined(rgb: np.ndarray, scores: np.ndarray, present: np.ndarray) -> np.ndarray:
    """`refine` at a size at which it takes about a second."""
    height, width = rgb.shape[:2]
    factor = min(1.0, REFINED_SIDE / min(height, width))
    small = max(1, round(height * factor)), max(1, round(width * factor))
    shrunk = np.asarray(Image.fromarray(rgb).resize((small[1], small[0]), Image.Resampling.BOX))
    fewer = resample(torch.from_numpy(scores), *small).numpy()
    return resize_mask(refine(shrunk, fewer, present), (height, width))
