from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COLOURS = {
    "apple": (220, 40, 40),
    "bread": (200, 160, 60),
    "cup": (40, 60, 220),
    "dish": (40, 200, 90),
    "egg": (240, 240, 200),
}


def picture(colour, seed, height=48, width=64):
    """A square of the colour on noise: picture (H, W, 3) and mask (H, W) of 0 and 1."""
    rng = np.random.default_rng(seed)
    rgb = rng.integers(0, 90, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), np.uint8)
    row, column = rng.integers(2, height - 26), rng.integers(2, width - 26)
    mask[row : row + 24, column : column + 24] = 1
    rgb[mask == 1] = colour
    return rgb, mask


def make_folder(root: Path, pictures: int = 3) -> Path:
    """A folder data set of five classes, a folder a class: apple, bread and cup train, dish validates, egg tests."""
    for number, (name, colour) in enumerate(COLOURS.items()):
        for folder in (root / "images" / name, root / "masks" / name):
            folder.mkdir(parents=True)
        for k in range(pictures):
            rgb, mask = picture(colour, 100 * number + k)
            Image.fromarray(rgb).save(root / "images" / name / f"{k}.png")
            Image.fromarray(mask * 255).save(root / "masks" / name / f"{k}.png")
    return root


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory):
    """A folder data set that tests read and never change."""
    return make_folder(tmp_path_factory.mktemp("shared") / "things")


@pytest.fixture
def folder(tmp_path):
    """A folder data set of the test's own."""
    return make_folder(tmp_path / "things")


@pytest.fixture
def support(tmp_path):
    """Two labelled pictures of an apple."""
    for k in range(2):
        rgb, mask = picture(COLOURS["apple"], k)
        for kind, array in (("images", rgb), ("masks", mask * 255)):
            target = tmp_path / "support" / kind / "apple"
            target.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(target / f"{k}.png")
    return tmp_path / "support"


@pytest.fixture
def query(tmp_path):
    """Three pictures of apples, of two sizes, one of them in a subfolder."""
    target = tmp_path / "query"
    (target / "more").mkdir(parents=True)
    for k, (name, size) in enumerate({"a.png": (48, 64), "b c.jpg": (70, 50), "more/ä.png": (48, 64)}.items()):
        Image.fromarray(picture(COLOURS["apple"], 10 + k, *size)[0]).save(target / name)
    return target


@pytest.fixture
def fails(capsys):
    """Runs a command that must end with exit code 2 and one line on stderr; gives that line."""
    from pixgraph.cli.main import main

    def run(*argv) -> str:
        assert main([str(a) for a in argv]) == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("pixgraph: error: ")]
        assert len(lines) == 1
        return lines[0]

    return run
