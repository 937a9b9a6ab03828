"""Features of a frozen backbone are computed once a picture, and then kept in memory and on disk."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import torch

from pixgraph.backbones.base import Backbone
from pixgraph.backbones.feature_files import BrokenFileError, StoredPicture, read_features, write_features
from pixgraph.backbones.memory import ByteLRU
from pixgraph.data.base import FewShotDataset
from pixgraph.data.images import resize_image
from pixgraph.data.picture import Picture
from pixgraph.errors import CheckpointError, RunError

_HALF_MAX = 65504.0
_BATCH_ON_GPU = 16


class FeatureStore:
    """Pictures with their feature maps; the backbone sees each picture once.

    Features are rounded to half precision also when they are fresh, so that a picture is the same whether it was
    computed, remembered or read: training and scores do not depend on the state of the cache.

    Args:
        backbone: The frozen network; moved to `device`.
        size: Working size S: pictures are squashed to S x S pixels.
        folder: Where features are kept on disk, in ``<backbone>-<fingerprint>-<size>/``; `None`: in memory only.
        device: Where the backbone runs and the pictures live.
        memory: Largest number of bytes kept in memory; the pictures used longest ago go first.

    Attributes:
        backbone: The frozen network.
        size: Working size S.
        computed: How many pictures the backbone has seen.
    """

    def __init__(
        self,
        backbone: Backbone,
        size: int = 256,
        folder: str | Path | None = None,
        device: torch.device | str = "cpu",
        memory: int = 1 << 30,
    ) -> None:
        self.backbone = backbone.to(device)
        self.size = size
        self.device = torch.device(device)
        self.computed = 0
        # A timm name may hold characters that file names may not.
        name = "".join(c if c.isalnum() or c in "-_." else "_" for c in backbone.name)
        self.folder = None if folder is None else Path(folder) / f"{name}-{backbone.fingerprint}-{size}"
        self._memory: ByteLRU[StoredPicture] = ByteLRU(memory)
        self._keys: WeakKeyDictionary[FewShotDataset, dict[int, str]] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"FeatureStore({self.backbone.name!r}, size={self.size}, folder={self.folder}, in_memory={self._memory})"

    def picture(self, dataset: FewShotDataset, index: int) -> Picture:
        """The picture of a data set, without label; its file is decoded only when its features are in no cache.

        Raises:
            DataError: The picture is missing or broken.
            CheckpointError: The backbone gives values that are not finite.
            RunError: The features cannot be written.
        """
        key = self._key(dataset, index)
        stored = self._find(key)
        if stored is None:
            stored = self._compute([(key, dataset.read_image(index))])[0]
        return self._picture(key, stored)

    def from_image(self, rgb: np.ndarray, keep: bool = True) -> Picture:
        """A picture that is in no data set.

        Args:
            rgb: (H, W, 3) uint8.
            keep: Whether its features go to the cache; of the tiles of a large picture, each seen once, they need not.
        """
        rgb = np.ascontiguousarray(rgb)
        key = hashlib.sha256(repr(rgb.shape).encode() + rgb.tobytes()).hexdigest()
        stored = self._find(key)
        if stored is None:
            stored = self._compute([(key, rgb)], keep)[0]
        return self._picture(key, stored)

    def mirrored(self, picture: Picture) -> Picture:
        """The mirror image, left and right exchanged, of a picture that this store gave; without label.

        Its features go to the cache where the picture's own did.
        """
        key = f"{picture.key}-mirrored"
        stored = self._find(key)
        if stored is None:
            rgb = (255 * picture.rgb.flip(-1)).round().to(torch.uint8).permute(1, 2, 0)
            stored = self._compute([(key, np.ascontiguousarray(rgb.cpu().numpy()))], self._known(picture.key))[0]
        return replace(self._picture(key, stored), size=picture.size)

    def warm(self, dataset: FewShotDataset, indices: Iterable[int] | None = None, progress: bool = False) -> int:
        """Computes the features that are in no cache yet.

        Args:
            dataset: Its pictures.
            indices: Which; all when not given.
            progress: Show a bar.

        Returns:
            How many pictures were computed.
        """
        from tqdm import tqdm

        before = self.computed
        # On a CPU a batch is no faster than its pictures one by one, and rounds differently.
        batch = _BATCH_ON_GPU if self.device.type == "cuda" else 1
        waiting: list[tuple[str, np.ndarray]] = []
        todo = range(len(dataset)) if indices is None else list(indices)
        for index in tqdm(todo, desc=f"features of {dataset.name}", unit="picture", disable=not progress):
            key = self._key(dataset, index)
            if not self._known(key) and all(key != other for other, _ in waiting):
                waiting.append((key, dataset.read_image(index)))
            if len(waiting) == batch:
                self._compute(waiting)
                waiting = []
        if waiting:
            self._compute(waiting)
        return self.computed - before

    def _key(self, dataset: FewShotDataset, index: int) -> str:
        keys = self._keys.setdefault(dataset, {})
        if index not in keys:
            keys[index] = dataset.fingerprint(index)
        return keys[index]

    def _path(self, key: str) -> Path | None:
        return None if self.folder is None else self.folder / key[:2] / f"{key}.safetensors"

    def _known(self, key: str) -> bool:
        path = self._path(key)
        return key in self._memory or (path is not None and path.is_file())

    def _find(self, key: str) -> StoredPicture | None:
        stored = self._memory.get(key)
        path = self._path(key)
        if stored is not None or path is None or not path.is_file():
            return stored
        try:
            stored = read_features(path, self.size, self.backbone.channels)
        except BrokenFileError as error:
            warnings.warn(f"cached features {path} are broken ({error}); they are computed again", stacklevel=3)
            return None
        return self._remember(key, stored)

    def _remember(self, key: str, stored: StoredPicture) -> StoredPicture:
        stored = stored.to(self.device)
        self._memory.put(key, stored, stored.bytes)
        return stored

    def _compute(self, pictures: list[tuple[str, np.ndarray]], keep: bool = True) -> list[StoredPicture]:
        small = [torch.tensor(resize_image(rgb, self.size)).permute(2, 0, 1).contiguous() for _, rgb in pictures]
        maps = self.backbone(torch.stack(small).to(self.device).float() / 255)  # L x (B, C_l, H_l, W_l)
        if not all(_finite(m) for m in maps):
            raise CheckpointError(
                f"backbone {self.backbone.name} gives values that are not finite; its weights are broken: "
                "pass another --backbone.weights FILE"
            )
        self.computed += len(pictures)
        halves = [m.clamp(-_HALF_MAX, _HALF_MAX).half().cpu() for m in maps]
        result = []
        for i, (key, rgb) in enumerate(pictures):
            alone = tuple(h[i] if len(h) == 1 else h[i].clone() for h in halves)  # not to keep the whole batch
            stored = StoredPicture(small[i], alone, (rgb.shape[0], rgb.shape[1]))
            if keep:
                self._write(key, stored)
                stored = self._remember(key, stored)
            result.append(stored.to(self.device))
        return result

    def _write(self, key: str, stored: StoredPicture) -> None:
        path = self._path(key)
        if path is None:
            return
        try:
            write_features(path, stored)
        except OSError as error:
            raise RunError(
                f"features cannot be written to {path.parent} ({error.strerror or error}); free some space or "
                "choose another folder with --backbone.cache"
            ) from error

    def _picture(self, key: str, stored: StoredPicture) -> Picture:
        if self.device.type == "cpu":
            # NumPy, because torch would wake its thread pool for this: 0.05 ms against 10 on a busy machine.
            rgb = torch.from_numpy(np.divide(stored.rgb.numpy(), np.float32(255), dtype=np.float32))
        else:
            rgb = stored.rgb.float() / 255
        return Picture(key, rgb, [f.float() for f in stored.features], stored.size)


def _finite(x: torch.Tensor) -> bool:
    # One sum tells, without a mask, unless it is too large itself.
    return bool(torch.isfinite(x.sum())) or bool(torch.isfinite(x).all())
