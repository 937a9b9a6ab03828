"""From pictures and a few masks to masks, in the manner of scikit-learn: construct, fit, predict."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pixgraph.arguments import checked, names_by_id, truth_value, whole_number
from pixgraph.config import BackboneConfig, Config, GraphConfig
from pixgraph.config_check import build, check
from pixgraph.data.images import load_image
from pixgraph.errors import ConfigError, NotFittedError
from pixgraph.inputs import as_list, at_size
from pixgraph.marked import Support, read_supports, shown_classes
from pixgraph.methods import Method, open_method
from pixgraph.presets.named import preset_graph
from pixgraph.tile_supports import legal_tile_supports, middle_window
from pixgraph.tiling import blended_strips, cut_tile, tiling_of

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
        preset: The same by name: "fast", "balanced" or "best".
        checkpoint: Run folder or checkpoint file, for ``"graph"``; simpler: `FewShotSegmenter.load`.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps", or a `torch.device`.
        seed: Seed of the node sampling.
        tile: Predict pictures larger than this many pixels a side in overlapping tiles of that side, each squashed to
            `size` in place of the whole picture, so that small objects stay visible; none: always whole.
        overlap: Pixels that neighbouring tiles share, at least; none: an eighth of the tile.
        tile_supports: What tiles are compared with: "scaled", windows of the labelled pictures as large as a tile, see
            `pixgraph.tile_supports`; or "whole", the labelled pictures as they are, for supports that show the objects
            at another scale than the large pictures.
        mirror: Take the mean with the answer to the mirrored pictures: a little better, twice the time.

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
        preset: str | None = None,
        checkpoint: str | Path | None = None,
        device: str | torch.device = "auto",
        seed: int = 0,
        tile: int | None = None,
        overlap: int | None = None,
        tile_supports: str = "scaled",
        mirror: bool = False,
    ) -> None:
        from pixgraph.training.device import resolve_device

        if isinstance(backbone, str):
            backbone = BackboneConfig(backbone, weights, size)
        if preset is not None and graph is not None:
            raise ConfigError(f"preset: got {preset!r} beside graph, expected one of the two; leave the other out")
        graph = graph if preset is None else preset_graph(preset)
        config = _settings(backbone, graph or GraphConfig(), device, seed)
        self.method, self.mirror = method, truth_value("mirror", mirror)
        self.tiling = tiling_of(tile, overlap)
        self.tile_supports = legal_tile_supports(tile_supports)
        self.device = resolve_device(config.device)
        self.classes_: list[int] = []
        self.class_names_: dict[int, str] = {}
        self._method: Method = open_method(
            method, config.backbone, config.graph, checkpoint, self.device, config.seed, self.mirror
        )
        self._support: list[Picture] = []
        self._tile_support: list[Picture] = []
        self._unlabelled: list[Picture] = []
        self._tile_unlabelled: list[Picture] = []

    @classmethod
    def load(
        cls, run: str | Path, device: str | torch.device = "auto", weights: str | None = None, **others: Any
    ) -> FewShotSegmenter:
        """A segmenter with the network of a finished training.

        Args:
            run: Run folder, or checkpoint file.
            device: Where to compute.
            weights: File with the backbone's weights, where it is not where it was during the training.
            others: `tile`, `overlap`, `tile_supports` and `mirror` of the constructor.

        Raises:
            CheckpointError: The run holds no checkpoint that loads here.
        """
        from pixgraph.training.checkpoint import load_network

        config = load_network(run).config
        if weights is not None:
            config.backbone.weights = weights
        return cls(
            "graph", config.backbone, graph=config.graph, checkpoint=run, device=device, seed=config.seed, **others
        )

    def __repr__(self) -> str:
        state = f"classes={self.classes_}, supports={len(self._support)}" if self._support else "not fitted"
        return f"FewShotSegmenter(method={self.method!r}, backbone={self._method.store.backbone.name!r}, {state})"

    def fit(
        self,
        images: Any,
        masks: Any = None,
        class_names: Mapping[int, str] | None = None,
        unlabelled: Any = (),
        *,
        points: Any = None,
        scribbles: Any = None,
        boxes: Any = None,
    ) -> FewShotSegmenter:
        """Show the labelled pictures; forgets earlier ones.

        Each picture has a mask, or marks in its place; what marks leave open gets its label from them along the
        picture's own graph, see `pixgraph.models.completion`.

        Args:
            images: One picture or several: paths, PIL images, arrays (H, W, 3) or tensors (3, H, W).
            masks: As many masks of the pictures' own sizes: 0 background, 1..253 class ids, 254 not marked (clicks and
                scribbles are masks that are 254 nearly everywhere), 255 unknown, or booleans; `None` for a picture that
                has marks.
            class_names: Names by class id.
            unlabelled: Further pictures without masks, for graphs with ``unlabelled_knn`` edges.
            points: For each picture a list of (x, y, class), class 0 for background, or `None`.
            scribbles: For each picture a list of (corners, class) or (corners, class, width), or `None`; corners are
                (x, y).
            boxes: For each picture a list of (x1, y1, x2, y2, class) around its objects, or `None`; x2 and y2 are the
                first pixels beyond.

        Returns:
            The segmenter itself.

        Raises:
            DataError: A picture, mask or mark is broken, their numbers or sizes differ, marks contradict each other, or
                none shows any class.
            ConfigError: `class_names` are no names by id.
        """
        return self.fit_supports(read_supports(images, masks, points, scribbles, boxes), class_names, unlabelled)

    def fit_supports(
        self, supports: Sequence[Support], class_names: Mapping[int, str] | None = None, unlabelled: Any = ()
    ) -> FewShotSegmenter:
        """`fit` with pictures that are decoded already."""
        names, found = names_by_id(class_names), shown_classes(supports)
        others = [load_image(image) for image in as_list(unlabelled)]
        support = tile_support = self._labelled(supports, found)
        alone = tile_alone = [self._method.store.from_image(rgb) for rgb in others]
        if self.tiling is not None and self.tile_supports == "scaled":
            tile = self.tiling.tile
            tile_support = [
                replace(window, photograph=str(number))
                for number, one in enumerate(supports)
                for window in self._labelled(one.windows(tile), found)
            ]
            tile_alone = [self._method.store.from_image(middle_window(rgb, tile)) for rgb in others]
        # Only now, when nothing can fail any more: a failed fit leaves the earlier one.
        self._support, self._tile_support = support, tile_support
        self._unlabelled, self._tile_unlabelled = alone, tile_alone
        self.classes_ = found
        self.class_names_ = {c: names.get(c, f"class {c}") for c in found}
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
        masks = []
        for rgb in map(load_image, as_list(images)):
            masks.append(np.empty(rgb.shape[:2], np.uint8))
            for top, strip in self.predict_strips(rgb):
                masks[-1][top : top + strip.shape[1]] = self.mask_of(strip)
        return masks

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
        found = []
        for rgb in map(load_image, as_list(images)):
            strips = self.predict_strips(rgb)
            found.append(np.concatenate([strip.copy() for _, strip in strips], 1))
        return found

    def predict_strips(self, image: Any, progress: bool = False) -> Iterator[tuple[int, np.ndarray]]:
        """Class probabilities of one picture from the top down: with tiles, in memory of one row of tiles.

        Args:
            image: One picture, as in `fit`.
            progress: Show a bar that counts the tiles.

        Yields:
            First row of a strip, and its probabilities (N+1, h, W) float32 as in `predict_proba`. The array is written
            to again for the next strip: copy what you keep.

        Raises:
            NotFittedError: Before `fit`.
            DataError: The picture is broken.
        """
        from tqdm import tqdm

        if not self._support:
            raise NotFittedError("this segmenter has seen no labelled picture yet; call fit(images, masks) first")
        rgb = load_image(image)
        if self.tiling is None or self.tiling.covers(rgb.shape[:2]):
            yield 0, self._segment(rgb, self._support, self._unlabelled)
            return
        tile = self.tiling.tile
        rows, columns = self.tiling.axis(rgb.shape[0]), self.tiling.axis(rgb.shape[1])

        def score(down: slice, across: slice) -> np.ndarray:
            """Probabilities (N+1, h, w) of one tile."""
            part = cut_tile(rgb, down, across, tile)
            answer = self._segment(part, self._tile_support, self._tile_unlabelled, keep=False)
            return answer[:, : rows.extent, : columns.extent]

        count = len(rows.starts) * len(columns.starts)
        with tqdm(total=count, desc="tiles", unit="tile", leave=False, disable=None if progress else True) as bar:
            yield from blended_strips(rows, columns, len(self.classes_) + 1, score, bar.update)

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
        if self.tiling is not None:
            found |= {"tile": self.tiling.tile, "overlap": self.tiling.overlap, "tile_supports": self.tile_supports}
        if self.mirror:
            found["mirror"] = True
        if self._method.trained is not None:
            found["checkpoint"] = str(self._method.trained.path)
        return found

    def _segment(
        self, rgb: np.ndarray, support: list[Picture], unlabelled: list[Picture], keep: bool = True
    ) -> np.ndarray:
        """Class probabilities (N+1, H, W) of a picture or tile, which is squashed to the working size."""
        from pixgraph.data.picture import FewShotTask

        query = self._method.store.from_image(rgb, keep)
        task = FewShotTask(len(self.classes_), support, [query], unlabelled)
        return at_size(self._method.predictor.predict(task)[0], rgb.shape[:2]).cpu().numpy()

    def _labelled(self, supports: Sequence[Support], classes: list[int]) -> list[Picture]:
        """Support pictures with ways 1..N in place of class ids, at the working size."""
        import torch

        found = []
        for support in supports:
            picture = self._method.store.from_image(support.rgb)
            label, rough = support.ways(classes, (picture.rgb.shape[-2], picture.rgb.shape[-1]))
            picture.label = torch.from_numpy(label.astype(np.int64)).to(self.device)
            picture.rough = None if rough is None else torch.from_numpy(rough).to(self.device)
            found.append(picture)
        return found


def _settings(backbone: Any, graph: Any, device: Any, seed: Any) -> Config:
    """The settings as one configuration, so that they are checked like those of a file.

    Raises:
        ConfigError: One has the wrong type or is out of range.
    """
    import torch

    checked("backbone", backbone, BackboneConfig, "the name of a CNN or a BackboneConfig")
    checked("graph", graph, GraphConfig, "a GraphConfig")
    checked("device", device, (str, torch.device), "auto, cpu, cuda, cuda:INDEX or mps")
    plain = asdict(backbone)
    if isinstance(plain["weights"], os.PathLike):
        plain["weights"] = os.fspath(plain["weights"])
    plain["size"] = whole_number("size", plain["size"])
    values = {"backbone": plain, "graph": asdict(graph), "device": str(device), "seed": whole_number("seed", seed)}
    return check(build(Config, values))
