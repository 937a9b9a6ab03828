"""Data sets from their publishers: archives fetched in resumable pieces, checked, and extracted.

Only what a publisher offers for direct download is here; for the others `download` says where to ask. From the command
line: ``python -m pixgraph.data.download pascal5i ROOT``.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import shutil
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from pixgraph.data import ade_objects, blood_cells, camvid, cityscapes, fss1000, nuclei
from pixgraph.errors import ConfigError, DataError, PixgraphError

TRIES = 4
TIMEOUT = 60.0  # seconds without a byte
_CHUNK = 1 << 20
DESCRIPTION = (
    "Fetch, check and extract a data set that its publisher offers for download: pascal5i (VOC 2012 and SBD, 3.4 GB), "
    "coco20i (COCO 2014, 20 GB) or coco20i-2017 (20 GB). What an earlier call finished is not fetched again."
)


@dataclass(frozen=True)
class Archive:
    """An archive at its publisher.

    Attributes:
        url: Where it lies.
        md5: MD5 of the whole file, hex: the publishers give no SHA-256. It guards against damage, not against malice.
    """

    url: str
    md5: str

    @property
    def filename(self) -> str:
        """Name of the file."""
        return self.url.rsplit("/", 1)[-1]


_COCO = "http://images.cocodataset.org/"
ARCHIVES: dict[str, tuple[Archive, ...]] = {
    "pascal5i": (
        Archive(
            "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
            "6cd6e144f989b92b3379bac3b3de84fd",
        ),
        Archive(
            "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
            "82b4d87ceb2ed10f6038a1cba92111cb",
        ),
    ),
    "coco20i": (
        Archive(_COCO + "annotations/annotations_trainval2014.zip", "0a379cfc70b0e71301e0f377548639bd"),
        Archive(_COCO + "zips/val2014.zip", "a3d79f5ed8d289b7a7554ce06a5782b3"),
        Archive(_COCO + "zips/train2014.zip", "0da8c0bd3d6becc4dcb32757491aca88"),
    ),
    "coco20i-2017": (
        Archive(_COCO + "annotations/annotations_trainval2017.zip", "f4bbac642086de4f52a3fdda2de5fa2c"),
        Archive(_COCO + "zips/val2017.zip", "442b8da7639aecaf257c1dceb8ba8c80"),
        Archive(_COCO + "zips/train2017.zip", "cced6f7f71b7629ddf16f17bbcfab6b2"),
    ),
}
"""Name of the data set -> archives. Extracted side by side, they are the layout that `open_split` wants."""

BY_HAND = {
    "fss1000": fss1000.HINT,
    "cityscapes": cityscapes.HINT,
    "ade20k-objects": ade_objects.HINT,
    "camvid": camvid.HINT,
    "nuclei": nuclei.HINT,
    "blood_cells": blood_cells.HINT,
}
"""Name of a data set without direct download -> how to get it."""


def download(name: str, root: str | Path, keep: bool = False, progress: bool = True) -> Path:
    """Fetch, check and extract a data set; what an earlier call finished is not fetched again.

    Args:
        name: "pascal5i" (VOC 2012 and SBD, 3.4 GB), "coco20i" (COCO 2014, 20 GB) or "coco20i-2017" (20 GB).
        root: Folder for the data set, made when missing; then the `root` of its `SourceConfig`.
        keep: Keep the archives after extraction.
        progress: Show a bar on a terminal.

    Returns:
        The folder.

    Raises:
        ConfigError: No such data set.
        DataError: The data set has no direct download, the publisher does not answer, the checksum is wrong, the
            archive is broken, or the disk is full.
    """
    if name in BY_HAND:
        raise DataError(f"{name}: there is no direct download. {BY_HAND[name]}")
    if name not in ARCHIVES:
        raise ConfigError(f"download: got the data set {name!r}, expected one of {', '.join((*ARCHIVES, *BY_HAND))}")
    root = Path(root).expanduser()
    try:
        root.mkdir(parents=True, exist_ok=True)
        for archive in ARCHIVES[name]:
            done = root / f".{archive.filename}.done"
            if not done.exists():
                path = root / archive.filename
                fetch(archive.url, path, archive.md5, progress)
                extract(path, root)
                done.touch()
                if not keep:
                    path.unlink()
    except OSError as error:
        raise DataError(
            f"{name}: cannot write to {root} ({error.strerror or error}); check the disk, run again"
        ) from error
    return root


def fetch(url: str, path: Path, md5: str, progress: bool = True) -> Path:
    """Fetch one file; a broken connection is taken up again where it broke, also by a later call.

    The bytes gather in ``<path>.part``, which becomes `path` only when the checksum is right and is deleted when it is
    wrong.

    Args:
        url: http, https or file.
        path: Where the file shall lie.
        md5: Expected checksum, hex.
        progress: Show a bar on a terminal.

    Raises:
        DataError: The server does not answer or refuses, the checksum is wrong, or the disk is too small.
    """
    if path.exists() and _md5(path) == md5:
        return path
    part = path.with_name(path.name + ".part")
    for attempt in range(TRIES):
        try:
            _append(url, part, progress)
            break
        except urllib.error.HTTPError as error:
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and part.exists():
                break  # all bytes are there already, or too many, which the checksum tells
            raise DataError(f"{url}: the server answers {error.code} {error.reason}; try later or by hand") from error
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            if attempt == TRIES - 1:
                raise DataError(
                    f"{url}: no connection ({getattr(error, 'reason', error)}); run the same command again to go on "
                    f"where it broke, or put the file at {path} by hand"
                ) from error
            time.sleep(2**attempt)
    got = _md5(part)
    if got != md5:
        part.unlink()
        raise DataError(
            f"{url}: got a file with MD5 {got}, expected {md5}; deleted it, run the same command again, or fetch it by "
            f"hand to {path}"
        )
    part.replace(path)
    return path


def extract(path: Path, folder: Path) -> None:
    """Extract a tar or zip archive; members that would land outside `folder` are refused.

    Raises:
        DataError: The archive is broken or unsafe.
    """
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)  # drops leading slashes and ".."
        else:
            with tarfile.open(path) as tar:
                tar.extractall(folder, filter="data")
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise DataError(f"{path}: cannot extract ({error}); delete the file and run the same command again") from error


def _append(url: str, part: Path, progress: bool) -> None:
    """Fetch what is still missing of a file; raises ConnectionError when the connection ends too early."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "pixgraph", **({"Range": f"bytes={have}-"} if have else {})}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:
        if have and getattr(answer, "status", None) != http.client.PARTIAL_CONTENT:
            have = 0  # the server sends the whole file again
        length = int(answer.headers.get("Content-Length") or 0)
        free = shutil.disk_usage(part.parent).free
        if length > free:
            raise DataError(f"{url}: needs {length:,} bytes in {part.parent}, {free:,} are free; make room, run again")
        total = have + length or None
        hidden = not (progress and sys.stderr.isatty())
        with (
            part.open("ab" if have else "wb") as file,
            tqdm(desc=part.stem, total=total, initial=have, unit="B", unit_scale=True, disable=hidden) as bar,
        ):
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if length and part.stat().st_size < have + length:
        raise ConnectionError(f"the connection broke after {part.stat().st_size:,} of {have + length:,} bytes")


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def main(argv: Sequence[str] | None = None) -> int:
    """The command line: a data set and the folder for it; 2 and one line on stderr when something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m pixgraph.data.download", description=DESCRIPTION)
    parser.add_argument("name", help="data set")
    parser.add_argument("root", help="folder for it, made when missing")
    parser.add_argument("--keep", action="store_true", help="keep the archives")
    options = parser.parse_args(argv)
    try:
        download(options.name, options.root, options.keep)
    except PixgraphError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
