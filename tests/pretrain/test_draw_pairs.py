import numpy as np
import pytest
import torch
from fakes import picture
from PIL import Image

from pixgraph.errors import DataError
from pixgraph.pretrain.config import PretrainConfig, ViewConfig
from pixgraph.pretrain.draw_pairs import BLUE, GREEN, RED, draw_pairs, write_pair_pictures
from pixgraph.pretrain.pairs import positive_pairs
from pixgraph.pretrain.pictures import Pictures
from pixgraph.pretrain.views import View

LEFT, RIGHT = torch.tensor([0.0, 0.0, 0.6, 1.0]), torch.tensor([1.0, 0.0, 0.4, 1.0])
BLACK = torch.zeros(3, 30, 40, dtype=torch.uint8)


def drawn(rect1, rect2, side=64):
    views = [View(torch.zeros(3, 16, 16), rect) for rect in (rect1, rect2)]
    pairs = positive_pairs(rect1[None], rect2[None], (4, 4), 0.7)[0]
    return np.asarray(draw_pairs(BLACK, *views, pairs, (4, 4), side)), pairs


def has(panel, colour):
    return bool((panel == np.array(colour)).all(-1).any())


def test_a_sheet_shows_rectangles_grids_and_matched_cells():
    sheet, pairs = drawn(LEFT, RIGHT)
    assert sheet.shape == (64 + 16, 96 + 12 + 64 + 40 + 64, 3)
    places, first, second = sheet[16:, :96], sheet[16:, 108:172], sheet[16:, 212:276]
    assert has(places, RED)
    assert has(places, BLUE)
    assert has(places, GREEN)
    between = sheet[16:, 172:212]
    assert has(between, GREEN)  # lines from view to view
    # The tint of a matched cell, sampled beside its middle and off the grid.
    for panel, matched in ((first, pairs.any(1)), (second, pairs.any(0))):
        for cell, has_partner in enumerate(matched.tolist()):
            row, column = divmod(cell, 4)
            block = panel[16 * row + 2 : 16 * row + 15, 16 * column + 2 : 16 * column + 15]
            assert (block[..., 1] > 30).all() == has_partner


def test_views_apart_have_no_green():
    sheet, pairs = drawn(torch.tensor([0.0, 0.0, 0.3, 0.3]), torch.tensor([0.7, 0.7, 1.0, 1.0]))
    assert not pairs.any()
    assert not has(sheet, GREEN)


def test_a_file_with_a_row_a_picture(tmp_path):
    pictures = Pictures([picture(tmp_path / f"{i}.png", i, (20 + i, 40)) for i in range(3)], 0.0)
    config = PretrainConfig(data=[str(tmp_path)], views=ViewConfig(size=16))
    out = tmp_path / "new" / "pairs.png"
    write_pair_pictures(config, pictures, out, count=2, cells=4)
    with Image.open(out) as sheet:
        assert sheet.size == (384 + 12 + 256 + 40 + 256, 2 * 272 + 12)
    assert [path.name for path in out.parent.iterdir()] == ["pairs.png"]
    before = out.read_bytes()
    write_pair_pictures(config, pictures, out, count=2, cells=4)
    assert out.read_bytes() == before
    write_pair_pictures(config, pictures, out, count=9, cells=4)  # there are three
    with Image.open(out) as sheet:
        assert sheet.height == 3 * 272 + 24


def test_a_file_that_cannot_be_written_is_said(tmp_path):
    pictures = Pictures([picture(tmp_path / "a.png")], 0.0)
    with pytest.raises(DataError, match="cannot write the picture"):
        write_pair_pictures(PretrainConfig(views=ViewConfig(size=16)), pictures, tmp_path / "a.png" / "out.png", 1)
