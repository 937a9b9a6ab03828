"""A .npy file that is written from the top down and appears when it is whole."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from types import TracebackType

import numpy as np

from pixgraph.training.atomic import TEMPORARY, sync_folder


class StripWriter:
    """Writes an array (M, H, W) float16, as `numpy.save` would, strip by strip of its rows.

    The bytes go to a hidden file in the same folder, which takes its name when the block ends without an error, and is
    removed otherwise. Written by ordinary writes, not through a memory map: on a full disk those raise an error, a map
    kills the process.

    Args:
        path: The file; replaced when it is there.
        shape: M, H and W.

    Raises:
        OSError: The folder cannot be written or the disk is full.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self.path, self.shape = path, shape
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")

    def __enter__(self) -> StripWriter:
        self._file = self._temporary.open("wb")
        description = {"descr": "<f2", "fortran_order": False, "shape": self.shape}
        try:
            np.lib.format.write_array_header_1_0(self._file, description)
        except BaseException:
            self._remove()
            raise
        self._header = self._file.tell()
        return self

    def write(self, top: int, strip: np.ndarray) -> None:
        """Write rows `top` and following of every channel: (M, h, W), of any float type."""
        _, height, width = self.shape
        for channel, values in enumerate(strip):
            self._file.seek(self._header + 2 * width * (channel * height + top))
            self._file.write(np.ascontiguousarray(values, "<f2").data)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._remove()
            return
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._temporary.replace(self.path)
        except BaseException:  # also KeyboardInterrupt: no debris in any case
            self._remove()
            raise
        sync_folder(self.path.parent)

    def _remove(self) -> None:
        """Leave nothing, whether or not what is still buffered finds room."""
        with contextlib.suppress(OSError):
            self._file.close()
        self._temporary.unlink(missing_ok=True)
