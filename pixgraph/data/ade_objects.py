"""Object crops of ADE20K in the layout of the folder `ade20k-objects`: one object a picture, with masks of its parts.

Layout: ``images/<class>/<n>.jpg``, ``masks/<class>/<n>.png`` (foreground above 127), ``splits/{train,val,test}.txt``
(class names) and, for parts, ``parts/<class>/<n>.png`` (0 background, 255 object without a part label) with
``parts.json`` that names their numbers.

Zhou et al., "Semantic understanding of scenes through the ADE20K dataset", IJCV 2019; parts: Wei et al., "OV-PARTS",
NeurIPS 2023. The ADE20K terms of use apply: non-commercial research and education.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from pixgraph.config import SourceConfig
from pixgraph.data.base import FewShotDataset, Sample
from pixgraph.data.images import read_foreground, read_mask
from pixgraph.data.layout import folders, need, pictures, read_lines, some
from pixgraph.errors import DataError

NAME = "ade20k-objects"
HINT = (
    "Nobody distributes these crops: cut single objects out of ADE20K (ade20k.csail.mit.edu), 1.5 times as wide as the "
    "longer side of the object's box and shrunk to 256 pixels, into images/<class>/<n>.jpg with masks/<class>/<n>.png "
    "(255 on the object), list the classes in splits/train.txt, val.txt and test.txt, and set data.root to the folder"
)


class AdeObjects(FewShotDataset):
    """Crops around single objects; class ids are the positions of the class folders, the same in every split.

    Args:
        root: The data set's folder.
        split: ``"train"``, ``"val"`` or ``"test"``: a list of classes.
        parts: Show part classes, named ``"bench/leg"``, instead of whole objects.

    Raises:
        DataError: Folders, lists or masks are missing.
    """

    def __init__(self, root: str | Path | None, split: str = "train", parts: bool = False) -> None:
        masks = "parts" if parts else "masks"
        folder = need(NAME, root, "images", masks, f"splits/{split}.txt", *(["parts.json"] if parts else []), hint=HINT)
        numbers = {path.name: i for i, path in enumerate(folders(folder / "images"), start=1)}
        wanted = read_lines(folder / "splits" / f"{split}.txt")
        unknown = sorted(set(wanted) - set(numbers))
        if unknown:
            raise DataError(
                f"{folder}/splits/{split}.txt: no folder images/{unknown[0]}; expected one for each class of the list "
                f"(missing: {some(unknown)}); correct the list or add the pictures"
            )
        samples = [s for name in sorted(set(wanted)) for s in _samples(folder, name, masks)]
        names = _part_names(folder / "parts.json", wanted) if parts else {numbers[name]: name for name in wanted}
        super().__init__(NAME, split, names, samples)
        self.parts = parts
        self._ids = numbers

    def read_mask(self, index: int) -> np.ndarray:
        """Class ids, or part ids, uint8 (H, W); the mask is of ONE object, others of its class are background."""
        path = self.mask_path(index)
        if self.parts:
            return self.checked_size(index, read_mask(path))
        number = self._ids[path.parent.name]
        return self.checked_size(index, read_foreground(path).astype(np.uint8) * np.uint8(number))


def open_split(source: SourceConfig, split: str) -> AdeObjects:
    """The split as the configuration describes it."""
    return AdeObjects(source.root, split, source.parts)


def _samples(folder: Path, name: str, masks: str) -> list[Sample]:
    found = []
    for image in pictures(folder / "images" / name):
        mask = folder / masks / name / f"{image.stem}.png"
        if not mask.is_file():
            raise DataError(f"{image}: no mask {mask}; expected one for each picture, add it or remove the picture")
        found.append(Sample(f"{name}/{image.stem}", image, mask))
    if not found:
        raise DataError(f"{folder}/images/{name}: no pictures; expected at least one JPEG or PNG file, add some")
    return found


def _part_names(path: Path, classes: list[str]) -> dict[int, str]:
    """Part number to ``object/part``, for the parts of the given objects."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        named = {int(number): (entry["object"].replace(" ", "_"), entry["part"]) for number, entry in table.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f'{path}: cannot read the part names ({error!r}); expected {{"1": {{"object": "person", "part": "arm"}}}}'
        ) from error
    return {number: f"{thing}/{part}" for number, (thing, part) in named.items() if thing in classes}
