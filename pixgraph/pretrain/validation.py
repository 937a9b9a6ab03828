"""The teacher's score on a split: accumulated IoU at the pictures' own size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torchvision.transforms.v2 import functional

from pixgraph.data.base import IGNORE, UNLABELLED
from pixgraph.data.semantic import SemanticSplit
from pixgraph.errors import ConfigError, DataError
from pixgraph.pretrain.kept import Kept
from pixgraph.pretrain.pictures import CACHE_BYTES
from pixgraph.pretrain.segmentation_network import SegmentationNetwork
from pixgraph.probe.confusion import Confusion


class Validation:
    """Scores a network on the labelled pictures of a split, which stay in memory while they fit.

    Args:
        split: What is scored on.
        side: Pictures are shrunk to this short side; 0: they are not. Predictions are compared at full size.
        pictures: How many pictures, evenly spaced; none: all.
        stop: Called before each picture; raises to break off.
        cache_bytes: Memory for decoded pictures and labels; the first ones that fit stay.

    Attributes:
        confusion: Of the last call.

    Raises:
        ConfigError: More pictures are asked for than are labelled.
        DataError: No picture is labelled.
    """

    def __init__(
        self,
        split: SemanticSplit,
        side: int,
        pictures: int | None = None,
        stop: Callable[[], None] = lambda: None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        labelled = [i for i in range(len(split)) if split.has_label(i)]
        if not labelled:
            raise DataError(f"{split.name} ({split.split}): got no labelled picture, expected some to validate on")
        wanted = len(labelled) if pictures is None else pictures
        if wanted > len(labelled):
            raise ConfigError(
                f"val_pictures: got {wanted}, expected 1 to {len(labelled)}, the labelled pictures of {split.name} "
                f"({split.split}), or null for all; correct it"
            )
        self.indices = [labelled[i * len(labelled) // wanted] for i in range(wanted)]
        self.split, self.side, self.stop = split, side, stop
        self.confusion = Confusion(range(split.classes))
        self._kept = Kept[tuple[torch.Tensor, np.ndarray]](cache_bytes)

    def load(self) -> None:
        """Read the pictures that stay in memory, so that a broken one is told before a training and not in its midst.

        Pictures beyond that memory are left for the first call: they would be decoded for nothing.

        Raises:
            DataError: A file is missing or broken, or in no label read there is a pixel of a class.
        """
        annotated = False
        for index in self.indices:
            annotated = bool((self.picture(index)[1] != IGNORE).any()) or annotated
            if annotated and self._kept.get(index) is None:
                return
        if not annotated:
            raise self._nothing()

    @torch.no_grad()
    def __call__(self, network: SegmentationNetwork) -> dict[str, float]:
        """Scores of a network, which is left in evaluation mode.

        Returns:
            ``miou`` and ``pixel_accuracy`` in 0..1.

        Raises:
            DataError: A file is missing or broken, or no pixel has a class.
        """
        network.eval()
        confusion = Confusion(range(self.split.classes))
        for index in self.indices:
            self.stop()
            picture, truth = self.picture(index)
            confusion.add(predict(network, picture, truth.shape)[0], truth)
        if not confusion.counts.any():
            raise self._nothing()
        self.confusion = confusion
        return {"miou": confusion.miou(), "pixel_accuracy": confusion.accuracy()}

    def picture(self, index: int) -> tuple[torch.Tensor, np.ndarray]:
        """A shrunk picture (3, h, w) uint8, and its label (H, W) uint8 in which 255 is all that is not scored."""
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        rgb, label = self.split.read(index)
        small = shrink(torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1).contiguous(), self.side)
        found = small, np.where(label == UNLABELLED, IGNORE, label).astype(np.uint8)
        return self._kept.put(index, found, small.nbytes + found[1].nbytes)

    def _nothing(self) -> DataError:
        return DataError(
            f"{self.split.name} ({self.split.split}): got {len(self.indices)} labels without a pixel of any class, "
            "expected some to validate on; annotate the pictures, or choose another split"
        )

    def to_dict(self) -> dict[str, Any]:
        """The last call's scores as JSON values, with the IoU of each class and the confusion matrix."""
        data = {"data": self.split.name, "split": self.split.split, "pictures": len(self.indices)}
        return {**data, **self.confusion.to_dict(self.split.names)}


def shrink(picture: torch.Tensor, side: int) -> torch.Tensor:
    """A picture (3, H, W) with a short side of at most `side` pixels; 0: as it is."""
    if not side or min(picture.shape[1:]) <= side:
        return picture
    return functional.resize(picture, [side], antialias=True)


@torch.no_grad()
def predict(
    network: SegmentationNetwork, picture: torch.Tensor, size: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Classes of a picture's pixels, and their probabilities.

    Args:
        network: In the mode in which it is to predict.
        picture: (3, h, w) uint8.
        size: Height and width of the answer.

    Returns:
        (H, W) uint8 and (H, W) float32 in 0..1.
    """
    pixels = picture[None].to(network.mean.device).float() / 255
    logits = F.interpolate(network(pixels)[0].float(), size, mode="bilinear", align_corners=False)
    confidence, label = logits[0].softmax(0).max(0)
    return label.to(torch.uint8).cpu().numpy(), confidence.cpu().numpy()
