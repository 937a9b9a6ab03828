import numpy as np
import pytest
from fakes import mask_file, picture, rectangles

from pixgraph.data import label_maps
from pixgraph.data.base import Sample
from pixgraph.data.label_maps import LabelMaps


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    monkeypatch.setenv("PIXGRAPH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(label_maps, "KEEP_COUNTS_FROM", 2)

    def build(shown=(1, 2)):
        samples = [Sample(str(i), tmp_path / f"{i}.jpg", tmp_path / f"{i}.png") for i in range(3)]
        table = {0: 0, 1: 1, 2: 2, 3: 3, 9: 255}
        return LabelMaps("toy", "train", {c: f"c{c}" for c in shown}, samples, table)

    for i in range(3):
        picture(tmp_path / f"{i}.jpg")
        mask_file(tmp_path / f"{i}.png", rectangles((1, 0, 0, 2, 2), (2, 4, 4, 4 + i, 6), (9, 20, 0, 24, 32)))
    return build


def test_areas_agree_with_the_masks(dataset):
    data = dataset()
    expected = {c: {i: n for i in range(3) if (n := int((data.read_mask(i) == c).sum()))} for c in (1, 2)}
    assert data.areas == expected == {1: {0: 4, 1: 4, 2: 4}, 2: {1: 2, 2: 4}}


def test_counts_are_kept_on_disk_for_every_choice_of_classes(dataset, monkeypatch):
    expected = dataset().areas
    monkeypatch.setattr(LabelMaps, "read_labels", lambda *_: pytest.fail("a mask was read again"))
    assert dataset().areas == expected
    assert dataset(shown=(2, 3)).areas == {2: expected[2], 3: {}}


def test_a_changed_mask_is_counted_again(dataset, tmp_path):
    assert dataset().areas[1][0] == 4
    mask_file(tmp_path / "0.png", rectangles((1, 0, 0, 5, 7)))
    assert dataset().areas[1][0] == 35


@pytest.mark.parametrize("content", ["", "[", '{"a": 1}', "[1]"])
def test_broken_counts_are_made_again(dataset, tmp_path, content):
    expected = dataset().areas
    (file,) = (tmp_path / "cache" / "areas").iterdir()
    file.write_text(content)
    assert dataset().areas == expected


def test_a_cache_that_cannot_be_written_does_not_matter(dataset, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert dataset().areas[1][0] == 4


def test_hidden_classes_become_background_and_ignore_stays(dataset):
    mask = dataset(shown=(2,)).read_mask(2)
    assert np.unique(mask).tolist() == [0, 2, 255]
