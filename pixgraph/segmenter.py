"""From pictures and a few masks to masks, in the manner of scikit-learn: construct, fit, predict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pixgraph.config import BackboneConfig, Config, GraphConfig
from pixgraph.config_check import check
from pixgraph.data.base import IGNORE
from pixgraph.data.images import load_image, load_mask, resize_mask
from pixgraph.errors import DataError, NotFittedError
from pixgraph.methods import Method, open_method

if TYPE_CHECKING:
    import torch

    from pixgraph.data.picture import Picture


class FewShotSegmenter:
    """Segments pictures after having seen a few labelled ones.

    Nothing is trained by `fit`: it shows the support pictures to a method that is either training-free or was trained
    on other classes before. The same pictures always give the same masks.

    Args:
        method: ``"propagate"`` (training-free graph), ``"graph"`` (trained GNN, needs `checkpoint`), or one of the
            baselines ``"prototype"``, ``"knn"``, ``"linear"``, ``"all-background"``.
        backbone: Name of the frozen CNN, or all its settings; see `pixgraph.config.BackboneConfig`.
        weights: File with the backbone's weights, when `backbone` is a name.
        size: Working size in pixels, when `backbone` is a name.
        graph: Construction of the graph; defaults otherwise.
        checkpoint: Run folder or checkpoint file, for ``"graph"``; simpler: `FewShotSegmenter.load`.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        seed: Seed of the node sampling.

    Attributes:
        classes_: Class ids found in the masks, ascending; way n of the task is ``classes_[n - 1]``.
        class_names_: Class id to name.

    Example:
        >>> import numpy as np
        >>> image = np.zeros((64, 64, 3), np.uint8)
        >>> image[16:48, 16:48] = 255
        >>> segmenter = FewShotSegmenter(method="prototype", size=64, device="cpu")
        >>> masks = segmenter.fit(image, image[:, :, 0] > 0).predict(image)
        >>> masks[0].shape, int(masks[0][32, 32]), int(masks[0][2, 2])
        ((64, 64), 1, 0)
    """

    def __init__(
        self,
        method: str = "propagate",
        backbone: str | BackboneConfig = "filters",
        *,
        weights: str | None = None,
        size: int = 256,
        graph: GraphConfig | None = None,
        checkpoint: str | Path | None = None,
        device: str = "auto",
        seed: int = 0,
    ) -> None:
        from pixgraph.training.device import resolve_device

        if isinstance(backbone, str):
            backbone = BackboneConfig(backbone, weights, size)
        config = check(Config(backbone=backbone, graph=graph or GraphConfig(), device=device, seed=seed))
        self.method = method
        self.device = resolve_device(device)
        self.classes_: list[int] = []
        self.class_names_: dict[int, str] = {}
        self._method: Method = open_method(method, backbone, config.graph, checkpoint, self.device, seed)
        self._support: list[Picture] = []
        self._unlabelled: list[Picture] = []

    @classmethod
    def load(cls, run: str | Path, device: str = "auto", weights: str | None = None) -> FewShotSegmenter:
        """A segmenter with the network of a finished training.

        Args:
            run: Run folder, or checkpoint file.
            device: Where to compute.
            weights: File with the backbone's weights, where it is not where it was during the training.

        Raises:
            CheckpointError: The run holds no checkpoint that loads here.
        """
        from pixgraph.training.checkpoint import load_network

        config = load_network(run).config
        if weights is not None:
            config.backbone.weights = weights
        return cls("graph", config.backbone, graph=config.graph, checkpoint=run, device=device, seed=config.seed)

    def __repr__(self) -> str:
        state = f"classes={self.classes_}, supports={len(self._support)}" if self._support else "not fitted"
        return f"FewShotSegmenter(method={self.method!r}, backbone={self._method.store.backbone.name!r}, {state})"

    def fit(
        self, images: Any, masks: Any, class_names: Mapping[int, str] | None = None, unlabelled: Any = ()
    ) -> FewShotSegmenter:
        """Show the labelled pictures; forgets earlier ones.

        Args:
            images: One picture or several: paths, PIL images, arrays (H, W, 3) or tensors (3, H, W).
            masks: As many masks of the pictures' own sizes: 0 background, 1..254 class ids, 255 unknown, or booleans.
                Clicks and scribbles are masks that are 255 nearly everywhere.
            class_names: Names by class id.
            unlabelled: Further pictures without masks, for graphs with ``unlabelled_knn`` edges.

        Returns:
            The segmenter itself.

        Raises:
            DataError: A picture or mask is broken, their numbers or sizes differ, or no mask shows any class.
        """
        pictures, labels = as_list(images), as_list(masks, mask=True)
        if not pictures or len(pictures) != len(labels):
            raise DataError(f"fit: got {len(pictures)} pictures and {len(labels)} masks, expected one mask a picture")
        pairs = [_pair(i, image, mask) for i, (image, mask) in enumerate(zip(pictures, labels, strict=True))]
        found = sorted({int(v) for _, mask in pairs for v in np.unique(mask)} - {0, IGNORE})
        if not found:
            hint = (
                "255 means unknown: pass mask > 0 where it marks the object"
                if any((mask == IGNORE).any() for _, mask in pairs)
                else "expected class ids in 1..254 somewhere"
            )
            raise DataError(f"fit: none of the {len(pairs)} masks shows a class; {hint}")
        self._support = [self._labelled(rgb, mask, found) for rgb, mask in pairs]
        self._unlabelled = [self._method.store.from_image(load_image(image)) for image in as_list(unlabelled)]
        self.classes_ = found
        self.class_names_ = {c: (class_names or {}).get(c, f"class {c}") for c in found}
        return self

    def predict(self, images: Any) -> list[np.ndarray]:
        """Segment pictures.

        Args:
            images: One picture or several, as in `fit`.

        Returns:
            For each a mask of class ids, uint8 (H, W) of the picture's own size; 0 is background.

        Raises:
            NotFittedError: Before `fit`.
            DataError: A picture is broken.
        """
        return [self.mask_of(probabilities) for probabilities in self.predict_proba(images)]

    def predict_proba(self, images: Any) -> list[np.ndarray]:
        """Class probabilities of pictures.

        Args:
            images: One picture or several, as in `fit`.

        Returns:
            For each (N+1, H, W) float32 of the picture's own size, background first, then `classes_`; they sum to one
            over the first axis.

        Raises:
            NotFittedError: Before `fit`.
            DataError: A picture is broken.
        """
        return [self._segment(load_image(image)) for image in as_list(images)]

    def mask_of(self, probabilities: np.ndarray) -> np.ndarray:
        """The most probable class id at each pixel, uint8 (H, W), from one result of `predict_proba`."""
        return np.array([0, *self.classes_], np.uint8)[probabilities.argmax(0)]

    def description(self) -> dict[str, Any]:
        """What made the masks, for the files beside them: method, backbone, its pretraining, number of supports."""
        backbone = self._method.store.backbone
        found = {
            "method": self.method,
            "backbone": backbone.name,
            "pretrained_on": backbone.pretrained_on,
            "size": self._method.store.size,
            "supports": len(self._support),
        }
        if self._method.trained is not None:
            found["checkpoint"] = str(self._method.trained.path)
        return found

    def _segment(self, rgb: np.ndarray) -> np.ndarray:
        import torch

        from pixgraph.data.picture import FewShotTask

        if not self._support:
            raise NotFittedError("this segmenter has seen no labelled picture yet; call fit(images, masks) first")
        query = self._method.store.from_image(rgb)
        task = FewShotTask(len(self.classes_), self._support, [query], self._unlabelled)
        with torch.inference_mode():
            return at_size(self._method.predictor.predict(task)[0], rgb.shape[:2]).cpu().numpy()

    def _labelled(self, rgb: np.ndarray, mask: np.ndarray, classes: list[int]) -> Picture:
        """A support picture with ways 1..N in place of class ids, at the working size."""
        import torch

        ways = np.zeros(256, np.uint8)
        ways[classes] = np.arange(1, len(classes) + 1)
        ways[IGNORE] = IGNORE
        picture = self._method.store.from_image(rgb)
        small = shrink_mask(ways[mask], picture.rgb.shape[-2:])
        picture.label = torch.from_numpy(small.astype(np.int64)).to(self.device)
        return picture


def at_size(probabilities: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """Class probabilities (M, h, w) resized bilinearly to (M, H, W)."""
    import torch.nn.functional as F

    if tuple(probabilities.shape[-2:]) == tuple(size):
        return probabilities
    return F.interpolate(probabilities[None], tuple(size), mode="bilinear", align_corners=False)[0]


def shrink_mask(ways: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """`ways` resized by nearest neighbour; a mark that would vanish keeps the one pixel where its centre lies."""
    small = resize_mask(ways, (size[0], size[1])).copy()
    for way in np.unique(ways):
        if way not in (0, IGNORE) and not (small == way).any():
            rows, columns = np.nonzero(ways == way)
            middle = len(rows) // 2
            row, column = rows[middle] * size[0] // ways.shape[0], columns[middle] * size[1] // ways.shape[1]
            small[row, column] = way
    return small


def as_list(source: Any, mask: bool = False) -> list[Any]:
    """One picture or mask, or several, as a list of them.

    Args:
        source: A path, PIL image, array or tensor, a batch (one dimension more), or an iterable of those.
        mask: Whether masks are meant, for which (B, H, W) is a batch.
    """
    from PIL import Image

    if isinstance(source, (str, Path, Image.Image)):
        return [source]
    ndim = getattr(source, "ndim", None)
    if ndim is not None:
        one = 2 if mask and 1 not in (source.shape[0], source.shape[-1]) else 3
        return list(source) if ndim > one else [source]
    if not isinstance(source, Iterable):
        raise DataError(
            f"got {type(source).__name__}, expected a path, a PIL image, an array, a tensor, or a list of them"
        )
    return list(source)


def _pair(position: int, image: Any, mask: Any) -> tuple[np.ndarray, np.ndarray]:
    """A decoded picture and its decoded mask, of one size."""
    rgb, numbers = load_image(image), load_mask(mask)
    if rgb.shape[:2] != numbers.shape:
        name = mask if isinstance(mask, (str, Path)) else f"mask {position}"
        raise DataError(
            f"{name}: got {numbers.shape[0]} x {numbers.shape[1]} pixels, expected its picture's "
            f"{rgb.shape[0]} x {rgb.shape[1]}; save the mask at the size of the upright picture"
        )
    return rgb, numbers
