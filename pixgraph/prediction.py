"""Prediction for whole folders: a bad picture is reported and skipped, and every file that appears is complete."""

from __future__ import annotations

import contextlib
import io
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pixgraph.data.images import read_image, write_palette_mask
from pixgraph.data.layout import PICTURE_SUFFIXES, natural, pictures
from pixgraph.errors import ConfigError, DataError
from pixgraph.overlay import overlay
from pixgraph.segmenter import FewShotSegmenter
from pixgraph.strip_writer import StripWriter
from pixgraph.training.atomic import write_atomic, write_json
from pixgraph.training.distributed import World
from pixgraph.version import __version__

ENDINGS = {"masks": ".png", "probabilities": ".npy", "overlays": ".jpg"}
"""Folder of each kind of answer to the ending of its files."""

LIST = "predictions.json"
"""File beside them that lists the answers; where it is, a prediction made them."""


@dataclass
class PictureResult:
    """What became of one picture.

    Attributes:
        file: Path relative to the query folder.
        mask: Path of its mask, relative to the output folder; empty when it failed.
        size: Height and width in pixels.
        classes: Class name to number of pixels, "background" included.
        seconds: Time spent on it, reading and writing included.
        error: Why it failed; empty when it did not.
    """

    file: str
    mask: str = ""
    size: tuple[int, int] = (0, 0)
    classes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    error: str = ""


def predict_folder(
    segmenter: FewShotSegmenter,
    query: str | Path,
    out: str | Path,
    probabilities: bool = False,
    overlays: bool = False,
    world: World | None = None,
    progress: bool = False,
) -> list[PictureResult]:
    """Segment every picture of a folder (or one picture).

    Writes ``masks/NAME.png`` (palette PNG of class ids, at the picture's own size), on request
    ``probabilities/NAME.npy`` (float16, (N+1, H, W), background first) and ``overlays/NAME.jpg``, and, in the end,
    ``predictions.json``. Overlays and probabilities that an earlier prediction there left of the same pictures go: they
    would not belong to the new masks. With tiles, memory holds the picture, its mask and one row of tiles;
    probabilities go to the disk row by row of tiles.

    Args:
        segmenter: Fitted.
        query: Folder, searched with its subfolders, or a single picture.
        out: Folder to write to; made when missing, files of the same names are replaced.
        probabilities: Write the class probabilities.
        overlays: Write pictures with the masks laid over them.
        world: The processes that share the work; one without torchrun.
        progress: Show a bar of the pictures, and one of the tiles of a large picture.

    Returns:
        One result a picture, in natural order of the names.

    Raises:
        DataError: The query holds no picture.
        ConfigError: The output would replace the query's own pictures, or be taken for such.
        OSError: The disk is full or not writable; what was done until then is whole and listed, as after Ctrl-C.
    """
    from tqdm import tqdm

    query, out, world = Path(query), Path(out), world or World()
    root, files = query_files(query, out)
    names = output_names([file.relative_to(root) for file in files])
    jobs = list(zip(files, names, strict=True))
    done: list[PictureResult] = []
    chosen = {"masks": True, "probabilities": probabilities, "overlays": overlays}
    wanted = {kind: ending for kind, ending in ENDINGS.items() if chosen[kind]}
    outdated = ENDINGS.keys() - wanted if (out / LIST).exists() else set[str]()
    shown = progress and world.is_main
    bar = tqdm(world.share(jobs), desc="segment", unit="picture", disable=None if shown else True)
    try:
        for file, name in bar:
            for kind in outdated:
                (out / kind / (name + ENDINGS[kind])).unlink(missing_ok=True)
            done.append(_one(segmenter, file, root, out, name, wanted, shown))
    except (OSError, DataError, KeyboardInterrupt):
        # The disk is full, say: leave a list of what is there, when even that has a place; a second try may replace it.
        with contextlib.suppress(OSError):
            _write_list(segmenter, out, done)
        raise
    done = sorted((r for part in world.gather(done) for r in part), key=lambda r: natural(Path(r.file)))
    if world.is_main:
        _write_list(segmenter, out, done)
    return done


def query_files(query: Path, out: Path) -> tuple[Path, list[Path]]:
    """The folder of the queries and its picture files, those below `out` left out.

    Raises:
        DataError: There is no such file or folder, it holds no picture, or it cannot be read.
        ConfigError: `out` would replace the pictures, or is their folder, so that masks would be taken for pictures.
    """
    single = query.is_file()
    if not single and not query.is_dir():
        raise DataError(f"{query}: no such file or folder; expected a picture or a folder of pictures to segment")
    if not single and query.resolve() == out.resolve():
        raise ConfigError(f"--out {out}: got the folder of the pictures, expected another, such as {out / 'out'}")
    found = [query] if single else pictures(query, True, skip=out)
    written = [(out / name).resolve() for name in ENDINGS]
    if any(_within(folder, written) for folder in {file.resolve().parent for file in found}):
        raise ConfigError(f"--out {out}: its masks would replace the pictures of {query}; choose another folder")
    if not found:
        raise DataError(
            f"{query}: no picture in this folder; expected files that end in {', '.join(sorted(PICTURE_SUFFIXES))}"
        )
    return query.parent if single else query, found


def refuse_data_set(out: Path, support: Path) -> None:
    """Look whether answers in `out` would replace or join the files of a data set.

    Raises:
        ConfigError: They lie among those of `support`, or `out` holds pictures with masks that no prediction made.
    """
    kept = [(support / name).resolve() for name in ("images", "masks", "marks")]
    if out.resolve() == support.resolve() or any(_within((out / name).resolve(), kept) for name in ENDINGS):
        raise ConfigError(f"--out {out}: its masks would be among the labelled pictures of {support}; choose another")
    if (out / "images").is_dir() and (out / "masks").is_dir() and not (out / LIST).exists():
        raise ConfigError(
            f"--out {out}: holds images and masks, which would be replaced, expected a new folder or that of an "
            "earlier prediction; choose another"
        )


def _within(folder: Path, places: Sequence[Path]) -> bool:
    """Whether a folder is one of some places or below one."""
    return any(folder == place or place in folder.parents for place in places)


def output_names(files: Sequence[Path]) -> list[str]:
    """A name for the outputs of each file: its path, without its ending where no other file could have that name.

    Example:
        >>> output_names([Path("a.jpg"), Path("b/c.png"), Path("b/c.jpg")])
        ['a', 'b/c.png', 'b/c.jpg']
    """
    stems = [file.with_suffix("").as_posix().lower() for file in files]
    taken = Counter([*stems, *(file.as_posix().lower() for file in files)])
    return [
        (file if taken[stem] > 1 else file.with_suffix("")).as_posix() for file, stem in zip(files, stems, strict=True)
    ]


def _one(
    segmenter: FewShotSegmenter, file: Path, root: Path, out: Path, name: str, wanted: dict[str, str], progress: bool
) -> PictureResult:
    """Segment one picture and write what is wanted; only a picture that cannot be read is forgiven."""
    start = time.perf_counter()
    result = PictureResult(file.relative_to(root).as_posix())
    try:
        rgb = read_image(file)
    except DataError as error:
        result.error = str(error)
        return result
    targets = {kind: out / kind / (name + ending) for kind, ending in wanted.items()}
    mask = _segment(segmenter, rgb, targets.get("probabilities"), progress)
    for target in targets.values():
        target.parent.mkdir(parents=True, exist_ok=True)
    write_palette_mask(targets["masks"], mask)
    if "overlays" in targets:
        write_atomic(targets["overlays"], _jpeg(overlay(rgb, mask)))
    classes = {0: "background", **segmenter.class_names_}
    result.mask = f"masks/{name}.png"
    result.size = (mask.shape[0], mask.shape[1])
    result.classes = {title: int((mask == c).sum()) for c, title in classes.items()}
    result.seconds = round(time.perf_counter() - start, 4)
    return result


def _segment(segmenter: FewShotSegmenter, rgb: np.ndarray, target: Path | None, progress: bool) -> np.ndarray:
    """The mask of a picture (H, W) uint8; its probabilities go to `target`, where there is one."""
    mask = np.empty(rgb.shape[:2], np.uint8)
    shape = (len(segmenter.classes_) + 1, *mask.shape)
    with contextlib.ExitStack() as open_file:
        values: StripWriter | None = None
        for top, strip in segmenter.predict_strips(rgb, progress):
            mask[top : top + strip.shape[1]] = segmenter.mask_of(strip)
            if target is not None:
                if values is None:  # only now: a graph that cannot be made shall leave no folder behind
                    target.parent.mkdir(parents=True, exist_ok=True)
                    values = open_file.enter_context(StripWriter(target, shape))
                values.write(top, strip)
    return mask


def _write_list(segmenter: FewShotSegmenter, out: Path, done: list[PictureResult]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    results = [{k: v for k, v in asdict(r).items() if k in ("file", "error") or not r.error} for r in done]
    content: dict[str, Any] = {
        "pixgraph": __version__,
        **segmenter.description(),
        "classes": {str(c): name for c, name in segmenter.class_names_.items()},
        "failed": sum(bool(r.error) for r in done),
        "pictures": [{k: v for k, v in p.items() if k != "error" or v} for p in results],
    }
    write_json(out / LIST, content)


def _jpeg(rgb: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, format="JPEG", quality=92)
    return buffer.getvalue()
