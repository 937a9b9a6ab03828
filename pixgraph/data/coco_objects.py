"""COCO's object outlines: read from ``instances_*.json`` and drawn as masks of class ids."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pixgraph.data.base import IGNORE
from pixgraph.errors import DataError, DependencyError


@dataclass
class Objects:
    """The objects in one picture.

    Attributes:
        file: The annotation file, named in errors.
        name: The picture's file name.
        size: Height and width in pixels.
        outlines: Class id, area in pixels, and outline of each object: a list of polygons, each float64 (2n,) of x, y,
            x, y, ..., or COCO's run lengths (a dict).
        crowds: Outlines of regions in which objects of a class were not separated.
    """

    file: Path
    name: str
    size: tuple[int, int]
    outlines: list[tuple[int, float, Any]] = field(default_factory=list)
    crowds: list[Any] = field(default_factory=list)

    @property
    def classes(self) -> set[int]:
        """Ids of the classes with at least one object."""
        return {c for c, _, _ in self.outlines}

    def state(self) -> list[float]:
        """Numbers that change with the outlines, cheap to compute."""
        return [len(self.crowds), *(x for c, area, _ in self.outlines for x in (c, area))]


def read_objects(file: Path, classes: Sequence[str]) -> dict[str, Objects]:
    """Read an annotation file.

    Args:
        file: ``instances_*.json``.
        classes: Class names; class id = position + 1.

    Returns:
        Name of the picture without ending -> its objects, in the order of the file; pictures without objects too.

    Raises:
        DataError: The file is not COCO's JSON, or has a category that `classes` does not have.
    """
    try:
        content = json.loads(file.read_bytes())
        ids = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
        pictures = {
            entry["id"]: Objects(file, str(entry["file_name"]), (int(entry["height"]), int(entry["width"])))
            for entry in content["images"]
        }
        unknown = sorted(set(ids.values()) - set(classes))
        if unknown:
            raise DataError(f"{file}: got the unknown category {unknown[0]!r}; expected COCO's {len(classes)} classes")
        numbers = {i: classes.index(name) + 1 for i, name in ids.items()}
        for entry in content["annotations"]:
            objects = pictures[entry["image_id"]]
            if entry.get("iscrowd", 0):
                objects.crowds.append(_compact(entry["segmentation"]))
            else:
                outline = _compact(entry["segmentation"])
                objects.outlines.append((numbers[entry["category_id"]], float(entry["area"]), outline))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{file}: not a COCO annotation file ({type(error).__name__}: {error}); expected the objects images, "
            "annotations, categories; extract annotations_trainval2014.zip again"
        ) from error
    return {Path(objects.name).stem: objects for objects in pictures.values()}


def draw(objects: Objects) -> np.ndarray:
    """Class ids uint8 (H, W): crowd regions (255) first, then the objects from the largest to the smallest.

    Raises:
        DataError: An outline is malformed.
        DependencyError: pycocotools is not installed.
    """
    mask = np.zeros(objects.size, np.uint8)
    # sorted() is stable: among equal areas the later annotation is on top.
    drawn = sorted(objects.outlines, key=lambda o: -o[1])
    for c, outline in [*((IGNORE, crowd) for crowd in objects.crowds), *((c, outline) for c, _, outline in drawn)]:
        top, left, pixels = inside(outline, objects)
        mask[top : top + pixels.shape[0], left : left + pixels.shape[1]][pixels] = c
    return mask


def inside(outline: Any, objects: Objects) -> tuple[int, int, np.ndarray]:
    """Pixels of an outline, drawn by COCO's own code so that masks agree with published ones.

    Returns:
        Top and left of its box, and bool (h, w) within the box, which is many times smaller than the picture.

    Raises:
        DataError: The outline is malformed or of another size than the picture.
        DependencyError: pycocotools is not installed.
    """
    try:
        from pycocotools import mask as coco  # type: ignore[import-untyped]
    except ImportError as error:
        raise DependencyError(
            "coco20i: drawing the masks of instances_*.json needs the package pycocotools, which is not installed; run "
            "`pip install pycocotools`, or use ready masks in annotations/<set>/*.png"
        ) from error
    height, width = objects.size
    try:
        if isinstance(outline, list):
            # A polygon needs three corners; COCO itself holds a few with two, which cover nothing.
            polygons = [p.tolist() for p in outline if len(p) >= 6] or [[0.0] * 6]
            runs = coco.frPyObjects(polygons, height, width)
        elif isinstance(outline["counts"], list):
            if tuple(outline["size"]) == objects.size and sum(outline["counts"]) != height * width:
                raise ValueError(f"run lengths of {sum(outline['counts'])} pixels")
            runs = [coco.frPyObjects(outline, height, width)]
        else:
            runs = [outline]
        whole = coco.merge(runs)
        left, top, width_inside, height_inside = (int(v) for v in coco.toBbox(whole))
        drawn = coco.decode(whole)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise DataError(
            f"{objects.file}: malformed outline of an object in {objects.name} ({type(error).__name__}: {error}); "
            "extract the annotations again"
        ) from error
    if drawn.shape != objects.size:
        raise DataError(
            f"{objects.file}: an object in {objects.name} has {drawn.shape[1]} x {drawn.shape[0]} pixels, expected "
            f"{width} x {height}; extract the annotations again"
        )
    box = drawn[top : top + height_inside, left : left + width_inside]
    return top, left, np.ascontiguousarray(box, bool)


def _compact(outline: Any) -> Any:
    """Polygons as arrays: a quarter of the memory of lists of numbers, of which COCO has tens of millions."""
    return [np.asarray(polygon, np.float64) for polygon in outline] if isinstance(outline, list) else outline
