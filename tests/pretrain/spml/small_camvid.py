"""CamVid with three small frames a split, all classes in each, and settings that train on it within a second."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "data"))
from fakes import lines, mask_file, picture, rectangles

from pixgraph.data.camvid import CLASSES

SIZE = (48, 64)
TINY = {
    "network": "unet-small",
    "weights": "random",
    "embedding": 8,
    "views.size": 32,
    "spml.grid": "[2, 2]",
    "spml.bank_segments": 64,
    "spml.num_regions": 6,
    "spml.hidden": 6,
    "spml.final_steps": 2,
    "optim.steps": 3,
    "optim.batch": 2,
    "optim.val_every": 2,
    "optim.log_every": 1,
    "optim.save_every": 1,
    "val_pictures": 1,
    "device": "cpu",
}


def small_camvid(root, varied=False, pictures=3):
    """The data set; where it is varied, frame i lacks class 10 - i."""
    boxes = [(c, 4 * c, 0, 4 * c + 4, SIZE[1]) for c in range(len(CLASSES))]
    for split in ("train", "val"):
        for i in range(pictures):
            shown = [box for box in boxes if not varied or box[0] != 10 - i]
            mask = rectangles((11, 0, 0, *SIZE), *shown, size=SIZE)
            picture(root / split / f"{split}_{i}.png", i, SIZE)
            mask_file(root / f"{split}annot" / f"{split}_{i}.png", mask)
        lines(root / f"{split}.txt", *(f"/{split}/{split}_{i}.png" for i in range(pictures)))
    return root


def options(settings):
    return [f"--{key}={value}" for key, value in {**TINY, **settings}.items()]
