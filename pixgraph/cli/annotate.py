"""``pixgraph data annotate``: write weak annotations of a data set whose masks are known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pixgraph.errors import ConfigError, DataError, PixgraphError

if TYPE_CHECKING:
    from pixgraph.data.mark_types import Annotation
    from pixgraph.data.semantic import SemanticSplit


@dataclass
class AnnotateOptions:
    """Write points, scribbles, boxes, tags or partial labels of a data set, so that others can use the same ones.

    Attributes:
        data: NAME:FOLDER of a data set of `pixgraph data list`, or a folder of your own; may also be given first.
        split: Which split.
        kind: What to write: marks and tags as JSON, masks and partial labels (p0: one pixel a class; p1, p5, p25: a
            region of that many per cent) as PNG.
        out: The new folder.
        seed: Seed of the draws.
        num_points: Points of each class in a picture.
        width: Width of scribbles, in pixels.
        one_box: One box around all parts of a class instead of one around each.
        num_labeled: Annotate so many pictures, chosen so that all classes are shown; 0: all.
        sheet: A PNG to write that shows some of the pictures with their annotations.
    """

    data: str = ""
    split: Literal["train", "val", "test", "all"] = "train"
    kind: Literal["points", "scribbles", "boxes", "tags", "masks", "p0", "p1", "p5", "p25"] = "points"
    out: str = ""
    seed: int = 0
    num_points: int = 5
    width: int = 3
    one_box: bool = False
    num_labeled: int = 0
    sheet: str = ""


def annotate(options: AnnotateOptions) -> int:
    """Write the annotations and print where they are; where the sheet fails, they are taken back.

    Raises:
        ConfigError: No data set or no folder is named, the folder is not empty, or the sheet has no place.
        DataError: A mask is missing or broken, or none has anything to annotate.
    """
    import shutil

    from pixgraph.data.annotation_sets import write_annotations
    from pixgraph.data.budget import choose_labelled
    from pixgraph.data.semantic import open_semantic

    for name in ("data", "out"):
        if not getattr(options, name):
            wanted = "--data NAME:FOLDER" if name == "data" else "--out FOLDER"
            raise ConfigError(f"data annotate: {name} is missing, expected {wanted}; add it")
    _check_sheet(options)
    split = open_semantic(options.data, options.split)
    chosen = choose_labelled(split, options.num_labeled or None, seed=options.seed)
    how = {name: value for name, value in asdict(options).items() if name not in ("data", "split", "out", "sheet")}
    how["pictures_chosen"] = chosen.rule
    written = write_annotations(options.out, split, _made(split, chosen.indices(split), options), how)
    if options.sheet:
        try:
            _write_sheet(options, split)
        except (PixgraphError, OSError):
            shutil.rmtree(Path(options.out).expanduser(), ignore_errors=True)
            raise
    print(f"{written} of {len(split)} pictures of {split.name} ({split.split}), {options.kind}: {options.out}")
    return 0


def _check_sheet(options: AnnotateOptions) -> None:
    """Look for what would keep the sheet from being written, before anything is.

    Raises:
        ConfigError: It is a folder or the annotations' own, or there can be no file in its place.
    """
    import os

    path = Path(options.sheet)
    if not options.sheet:
        return
    if path.is_dir() or path.resolve() == Path(options.out).expanduser().resolve():
        raise ConfigError(f"sheet: got the folder {path}, expected a PNG file to write; name one, as {path}/sheet.png")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        what = "may not be written to" if folder.is_dir() else "is no folder"
        raise ConfigError(f"sheet: got {path}, but {folder} {what}; choose another place")


def _write_sheet(options: AnnotateOptions, split: SemanticSplit) -> None:
    import io

    from pixgraph.annotation_sheet import annotation_sheet
    from pixgraph.data.annotation_sets import SavedAnnotations
    from pixgraph.training.atomic import write_atomic

    buffer = io.BytesIO()
    annotation_sheet(SavedAnnotations(options.out, split), seed=options.seed).save(buffer, format="PNG")
    path = Path(options.sheet)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, buffer.getvalue())
    print(f"sheet: {path}")


def _made(split: SemanticSplit, indices: list[int], options: AnnotateOptions) -> Iterator[tuple[int, Annotation]]:
    """Index and annotation of each picture of which anything is known.

    Raises:
        DataError: A mask is missing or broken, or there is nothing to annotate in any.
    """
    from tqdm import tqdm

    from pixgraph.data.annotations import make_annotation
    from pixgraph.data.base import UNLABELLED
    from pixgraph.data.mark_types import Annotation
    from pixgraph.data.partial import SHARES, partial_label

    empty = True
    for index in tqdm(indices, desc="annotate", unit="picture", disable=None):
        label, key = split.read_label(index), split.keys[index]
        if not (label < UNLABELLED).any():
            continue
        empty = False
        if options.kind in SHARES:
            yield index, Annotation(partial_label(label, options.kind, options.seed, key))
        else:
            yield (
                index,
                make_annotation(
                    label,
                    options.kind,  # type: ignore[arg-type]
                    options.seed,
                    key,
                    options.num_points,
                    options.width,
                    split.background,
                    options.one_box,
                ),
            )
    if empty:
        raise DataError(
            f"{split.name} ({split.split}): got {len(indices)} masks without a pixel of any class, expected something "
            "to annotate; check the masks, or choose another split"
        )
