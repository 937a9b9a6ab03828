"""How good labels of pixels made from image tags are, step by step: activation maps, random walk, refined outlines.

    python benchmarks/tag_labels.py --data ROOT

The masks of the training pictures are read to score the labels, and for the tags themselves, never to make a label.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from recording import percent, provenance, script_parser, table, write_result
from workbench import WEIGHTS, add_output_arguments, data_folder, guarded

from pixgraph.data.base import IGNORE, UNLABELLED

if TYPE_CHECKING:
    from pixgraph.data.semantic import SemanticSplit
    from pixgraph.pretrain.spml.tag_labels import TagLabeller
    from pixgraph.probe.confusion import Confusion

STEPS = ("activation maps", "random walk", "refined by colours")


def main(argv: Sequence[str] | None = None) -> int:
    """Fit the classifier of the tags, label pictures, score them and write the table."""
    args = parser().parse_args(argv)
    from pixgraph.data.semantic import open_semantic
    from pixgraph.pretrain.segmentation_network import build_segmentation_network
    from pixgraph.pretrain.spml.tag_labels import TagLabeller

    folder = data_folder(args)
    place = args.dataset if folder is None else f"{args.dataset}:{folder / args.dataset}"
    split = open_semantic(place, "train")
    weights = args.weights or (None if folder is None else str(folder / WEIGHTS))
    network = build_segmentation_network(args.network, weights, split.classes, 64)
    labeller = TagLabeller(network, split.classes, split.background, args.short_side)

    def tags(index: int) -> np.ndarray:
        """Classes of a picture."""
        return np.isin(np.arange(split.classes), split.read_label(index))

    order = np.random.default_rng(0).permutation(len(split)).tolist()
    start = time.perf_counter()
    labeller.fit(split, order[: args.fit], tags)
    fitted = time.perf_counter() - start
    start = time.perf_counter()
    scores = scored(labeller, split, order[: args.pictures], tags)
    each = (time.perf_counter() - start) / args.pictures
    settings = {key: getattr(args, key) for key in ("dataset", "network", "fit", "pictures", "short_side")}
    result = {
        **provenance(args.data),
        "settings": settings,
        "weights": Path(weights).name if weights else "ImageNet-1k",
        "seconds": {"fit": round(fitted, 1), "picture": round(each, 3)},
        "steps": {name: score.to_dict(split.names) for name, score in zip(STEPS, scores, strict=True)},
    }
    rows = [[name, percent(score.miou()), percent(score.accuracy())] for name, score in zip(STEPS, scores, strict=True)]
    note = (
        f"Labels of {args.pictures} training pictures of {split.name}, {split.classes} classes, against their masks; "
        f"tags of {args.fit} pictures. {fitted:.0f} s to fit, {each:.2f} s a picture. Unlabelled pixels do not count."
    )
    body = f"{table(['labels from tags', 'mIoU %', 'pixels right %'], rows)}\n\n{note}"
    print(write_result(args.name or "tag_labels", result, body, args.out))
    return 0


def scored(
    labeller: TagLabeller, split: SemanticSplit, indices: Sequence[int], tags: Callable[[int], np.ndarray]
) -> list[Confusion]:
    """Counts of (truth, label) after each of `STEPS`, over the labelled pixels of some pictures."""
    from pixgraph.probe.confusion import Confusion

    scores = [Confusion(range(split.classes)) for _ in STEPS]
    for index in indices:
        rgb, truth = split.read(index)
        truth = np.where(truth == UNLABELLED, IGNORE, truth)
        for score, found in zip(scores, labeller(rgb, tags(index)), strict=True):
            known = np.where(found == UNLABELLED, IGNORE, truth)
            score.add(np.where(found == UNLABELLED, 0, found), known)
    return scores


def parser() -> argparse.ArgumentParser:
    """The script's arguments."""
    made = script_parser(__doc__)
    add = made.add_argument
    add("--data", metavar="ROOT", help="folder that holds the data set")
    add("--dataset", default="ade20k-objects", help="name of the catalog (default: %(default)s)")
    add("--network", default="deeplabv3plus:mobilenet_v2", help="gives the features (default: %(default)s)")
    add("--weights", metavar="FILE", help=f"its weights (default: {WEIGHTS} in ROOT)")
    add("--fit", type=int, default=400, help="pictures whose tags are learnt (default: %(default)s)")
    add("--pictures", type=int, default=120, help="pictures that are labelled (default: %(default)s)")
    add("--short_side", type=int, default=160, help="pictures are shrunk to it (default: %(default)s)")
    add_output_arguments(made)
    return made


if __name__ == "__main__":
    raise SystemExit(guarded(main))
