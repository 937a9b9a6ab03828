"""PASCAL VOC 2012 with the SBD annotations as PASCAL-5i.

Shaban et al., "One-Shot Learning for Semantic Segmentation", BMVC 2017; SBD: Hariharan et al., "Semantic Contours
from Inverse Detectors", ICCV 2011.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pixgraph.config import SourceConfig
from pixgraph.data.base import IGNORE, Sample
from pixgraph.data.label_maps import LabelMaps
from pixgraph.data.layout import need, read_lines
from pixgraph.data.official import check_fold, check_split, files_by_stem, first_existing, refuse_missing
from pixgraph.errors import DataError

_NAMES = (
    "aeroplane bicycle bird boat bottle bus car cat chair cow "
    "diningtable dog horse motorbike person pottedplant sheep sofa train tvmonitor"
)
CLASSES = tuple(_NAMES.split())
"""The 20 classes; class id = position + 1, as in the mask files. 0 is background, 255 the contour to ignore."""

FOLDS = 4
HINT = (
    "Run `python -m pixgraph.data.download pascal5i ROOT`, or set data.root to the folder that holds VOCdevkit/VOC2012."
)


def fold_classes(fold: int) -> dict[int, str]:
    """The five test classes of a fold: ids 5i+1 to 5i+5.

    Example:
        >>> list(fold_classes(1).items())[:2]
        [(6, 'bus'), (7, 'car')]

    Raises:
        ConfigError: `fold` is not in 0..3.
    """
    check_fold("pascal5i", fold, FOLDS)
    return {c: CLASSES[c - 1] for c in range(5 * fold + 1, 5 * fold + 6)}


class Pascal5i(LabelMaps):
    """One split of one fold of PASCAL-5i.

    - ``train``: the 15 other classes on the training pictures of VOC and SBD ("trainaug"). No picture is dropped:
      pixels of the fold's own classes become background (HSNet's rule; BAM drops those pictures and scores higher).
    - ``val``: the 15 training classes on VOC's validation pictures, to choose a checkpoint without a look at the
      test classes.
    - ``test``: the fold's five classes on VOC's validation pictures.

    Layout: ``JPEGImages``, ``SegmentationClass``, ``ImageSets/Segmentation`` of VOC 2012 at the root, in ``VOC2012`` or
    in ``VOCdevkit/VOC2012``; SBD as ``SegmentationClassAug/*.png``, or its own ``cls/*.mat`` in
    ``benchmark_RELEASE/dataset``, ``SBD`` or ``sbd``. VOC's masks come first where both exist: they know the contour
    (255). Where the root holds lists ``splits/{train,val}/fold<i>.txt`` (or ``splits/pascal5i/...``) of
    ``<picture>__<class>`` lines, they choose the pictures and the classes each is drawn for.
    """

    def __init__(
        self, split: str, fold: int, samples: Sequence[Sample], pairs: Mapping[str, set[int]] | None = None
    ) -> None:
        novel = fold_classes(fold)
        shown = novel if split == "test" else {c: n for c, n in enumerate(CLASSES, 1) if c not in novel}
        table = {c: c for c in (*range(len(CLASSES) + 1), IGNORE)}
        super().__init__("pascal5i", split, shown, samples, table)
        self.fold = fold
        self.pairs = pairs

    def read_numbers(self, path: Path) -> np.ndarray:
        """The numbers of a PNG or of one of SBD's MATLAB files, uint8 (H, W)."""
        return read_sbd_mask(path) if path.suffix == ".mat" else super().read_numbers(path)


def open_split(source: SourceConfig, split: str) -> Pascal5i:
    """Open a split of PASCAL-5i.

    Args:
        source: `root` and `fold` count.
        split: ``"train"``, ``"val"`` or ``"test"``; see `Pascal5i`.

    Raises:
        ConfigError: The fold or the split does not exist, or no root is given.
        DataError: The layout is not VOC's, or listed pictures or masks are missing.
    """
    check_split("pascal5i", split)
    check_fold("pascal5i", source.fold, FOLDS)
    root = need("pascal5i", source.root, hint=HINT)
    places = [root, root / "VOC2012", root / "VOCdevkit" / "VOC2012"]
    voc = first_existing("pascal5i", "ImageSets/Segmentation", [p / "ImageSets/Segmentation" for p in places], HINT)
    voc = voc.parent.parent
    masks = _masks(root, voc)
    listed = _listed_pairs(root, split, source.fold)
    if listed is not None:
        names = list(listed)
    elif split == "train":
        names = _training_names(voc, masks)
    else:
        names = read_lines(voc / "ImageSets/Segmentation/val.txt")
    pictures = files_by_stem(voc / "JPEGImages", (".jpg", ".png"))
    lacking = [n for n in names if n not in pictures]
    refuse_missing("pascal5i", "pictures", lacking, str(voc / "JPEGImages"), HINT)
    lacking = [n for n in names if n not in masks]
    places_of_masks = f"{voc / 'SegmentationClass'}, SegmentationClassAug and SBD's cls folder"
    refuse_missing("pascal5i", "masks", lacking, places_of_masks, HINT)
    return Pascal5i(split, source.fold, [Sample(n, pictures[n], masks[n]) for n in names], listed)


def read_sbd_mask(path: Path) -> np.ndarray:
    """The class segmentation of one of SBD's ``cls/*.mat`` files, uint8 (H, W).

    Raises:
        DataError: The file is missing, broken, or holds no ``GTcls.Segmentation``.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        found = loadmat(path)["GTcls"]["Segmentation"][0, 0]
    except (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, MatReadError, zlib.error) as error:
        raise DataError(
            f"{path}: cannot read GTcls.Segmentation ({type(error).__name__}: {error}); expected one of SBD's "
            "cls/*.mat files, extract benchmark.tgz again"
        ) from error
    return np.asarray(found, np.uint8)


def _masks(root: Path, voc: Path) -> dict[str, Path]:
    """Name of a picture -> its mask; VOC's own masks win over SBD's."""
    found: dict[str, Path] = {}
    for folder in (root, voc):
        for sbd in ("benchmark_RELEASE/dataset", "SBD", "sbd", "SBD/dataset", "."):
            found.update(files_by_stem(folder / sbd / "cls", (".mat",)))
    for folder in (root, voc):
        found.update(files_by_stem(folder / "SegmentationClassAug", (".png",)))
    found.update(files_by_stem(voc / "SegmentationClass", (".png",)))
    return found


def _training_names(voc: Path, masks: Mapping[str, Path]) -> list[str]:
    """The names of "trainaug": listed, or else everything that has a mask and is not in VOC's validation list."""
    lists = voc / "ImageSets/Segmentation"
    if (lists / "trainaug.txt").is_file():
        # Some copies list "/JPEGImages/<name>.jpg /SegmentationClassAug/<name>.png".
        return [Path(line.split()[0]).stem for line in read_lines(lists / "trainaug.txt")]
    own, held_out = read_lines(lists / "train.txt"), set(read_lines(lists / "val.txt"))
    names = sorted({*own, *masks} - held_out)
    if len(names) == len(own):
        warnings.warn(
            f"pascal5i: found no SBD annotations beside {voc}; training on VOC's own {len(own)} pictures, which makes "
            "numbers that do not compare with published ones",
            stacklevel=3,
        )
    return names


def _listed_pairs(root: Path, split: str, fold: int) -> dict[str, set[int]] | None:
    """Picture -> classes from the fold lists, in their order; `None` where the root has no such lists.

    The list of fold i holds the pictures of the classes OF fold i, so that training reads the lists of the other folds;
    so does "val", from the validation lists.
    """
    for base in (root / "splits" / "pascal5i", root / "splits"):
        files = [base / ("train" if split == "train" else "val") / f"fold{i}.txt" for i in range(FOLDS)]
        if all(f.is_file() for f in files):
            break
    else:
        return None
    pairs: dict[str, set[int]] = {}
    for i, file in enumerate(files):
        if (i == fold) == (split == "test"):
            for line in read_lines(file):
                name, _, number = line.rpartition("__")
                if not name or not number.isdigit() or int(number) not in fold_classes(i):
                    raise DataError(
                        f"{file}: got the line {line!r}, expected <picture>__<class of fold {i}>; restore it"
                    )
                pairs.setdefault(name, set()).add(int(number))
    return pairs
