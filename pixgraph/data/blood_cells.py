"""White blood cells, nucleus and cytoplasm (Zheng et al., Micron 2018)."""

from __future__ import annotations

from pixgraph.config import SourceConfig
from pixgraph.data.base import Sample
from pixgraph.data.label_maps import LabelMaps
from pixgraph.data.layout import PICTURE_SUFFIXES, need
from pixgraph.data.official import check_split, files_by_stem, first_existing, refuse_empty, refuse_missing

CLASSES = {1: "cytoplasm", 2: "nucleus"}
"""Class ids; red blood cells are background, and there is no ignore label."""

NUMBERS = {0: 0, 1: 1, 2: 2, 128: 1, 255: 2}
"""Number in a mask file -> class id: 0, 128, 255 as published, or 0, 1, 2."""

HINT = (
    "Get github.com/zxaoyou/segmentation_WBC and set data.root to its folder `Dataset 1`, or arrange it as "
    "images/<n>.png, masks/<n>.png."
)


def open_split(source: SourceConfig, split: str) -> LabelMaps:
    """Open all pictures, whatever the split: none is published.

    Layouts: ``<n>.bmp`` with ``<n>.png``, as published, or ``images/<n>.png`` with ``masks/<n>.png``.

    Raises:
        ConfigError: The split does not exist, or no root is given.
        DataError: Neither layout is there, or a picture has no mask.
    """
    check_split("blood_cells", split)
    root = need("blood_cells", source.root, hint=HINT)
    if (root / "images").is_dir():
        labels = first_existing("blood_cells", "the masks", [root / "masks"], HINT)
        pictures = files_by_stem(root / "images", PICTURE_SUFFIXES)
    else:
        labels, pictures = root, files_by_stem(root, (".bmp",))
    masks = files_by_stem(labels, (".png",))
    refuse_empty("blood_cells", "pictures", pictures, f"{root} and {root / 'images'}", HINT)
    refuse_missing("blood_cells", "masks", [n for n in pictures if n not in masks], str(labels), HINT)
    samples = [Sample(n, path, masks[n]) for n, path in pictures.items()]
    return LabelMaps("blood_cells", split, CLASSES, samples, NUMBERS)
