"""Streets of three flat colours in the layout of CamVid, and maps with known values."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pixgraph.data.picture import Picture

HEIGHT, WIDTH = 48, 64
SKY, ROAD, CAR, VOID = 0, 3, 8, 11  # numbers in the files; class ids are one more


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def street(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Blue sky above a grey road with a red car on it, and a column of void: picture and numbers of the mask."""
    rng = np.random.default_rng(seed)
    horizon = int(rng.integers(14, 26))
    mask = np.full((HEIGHT, WIDTH), ROAD, np.uint8)
    mask[:horizon] = SKY
    top, left = int(rng.integers(horizon, 34)), int(rng.integers(0, WIDTH - 18))
    mask[top : top + 12, left : left + 16] = CAR
    colours = {SKY: (90, 150, 230), ROAD: (110, 110, 110), CAR: (200, 40, 40)}
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.int64)
    for number, colour in colours.items():
        rgb[mask == number] = colour
    rgb += rng.integers(-15, 16, rgb.shape)
    mask[:, -3:] = VOID
    return np.clip(rgb, 0, 255).astype(np.uint8), mask


@pytest.fixture(scope="session")
def streets(tmp_path_factory) -> Path:
    """Six training, three validation and two test pictures."""
    root = tmp_path_factory.mktemp("streets")
    for first, (split, count) in enumerate({"train": 6, "val": 3, "test": 2}.items()):
        for folder in (root / split, root / f"{split}annot"):
            folder.mkdir()
        for i in range(count):
            rgb, mask = street(100 * first + i)
            Image.fromarray(rgb).save(root / split / f"{i}.png")
            Image.fromarray(mask).save(root / f"{split}annot" / f"{i}.png")
    return root


@pytest.fixture
def noise_picture():
    """Makes a picture whose two maps (3 channels at stride 4, 5 at stride 8) hold noise."""

    def make(seed: int = 0, height: int = 32, width: int = 48) -> Picture:
        generator = torch.Generator().manual_seed(seed)
        maps = [torch.randn(c, height // s, width // s, generator=generator) for c, s in ((3, 4), (5, 8))]
        return Picture(f"noise {seed}", torch.rand(3, height, width, generator=generator), maps, (height, width))

    return make
