import subprocess
import sys

import numpy as np
import pytest
from fake_own import MemoryDataset, fake_ade, fake_index_folder
from fakes import rectangles

from pixgraph.config import SourceConfig
from pixgraph.data.catalog import DESCRIPTIONS, dataset_names, open_dataset
from pixgraph.data.crops import ObjectCrops
from pixgraph.data.excluding import Excluding
from pixgraph.errors import ConfigError, DataError


def test_the_names_and_their_lines():
    assert dataset_names()[:3] == ["synthetic", "folder", "ade20k-objects"]
    assert set(DESCRIPTIONS) == set(dataset_names())
    assert all(0 < len(line) < 90 for line in DESCRIPTIONS.values())


@pytest.mark.parametrize("name", sorted(set(DESCRIPTIONS) - {"synthetic"}))
def test_every_data_set_opens_or_says_what_is_missing(name, tmp_path):
    with pytest.raises(DataError, match=name.split("2")[0][:4]):
        open_dataset(SourceConfig(name, str(tmp_path)), "train")


def test_a_source_is_opened_as_it_says(tmp_path):
    root = str(fake_ade(tmp_path))
    assert open_dataset(SourceConfig("ade20k-objects", root), "val").class_names == {3: "desk"}
    parts = open_dataset(SourceConfig("ade20k-objects", root, parts=True), "val")
    assert list(parts.class_names.values()) == ["desk/part 1", "desk/part 2"]
    crops = open_dataset(SourceConfig("ade20k-objects", root, crops=True), "val")
    assert isinstance(crops, ObjectCrops)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            SourceConfig("pascal"),
            r"data\.name: got 'pascal', expected one of synthetic, folder, .*; did you mean 'pascal5i'",
        ),
        (SourceConfig("xyz"), r"data\.name: got 'xyz', expected one of [^;]*$"),
        (SourceConfig("camvid"), r"data\.root: got nothing, expected the folder of camvid; set data\.root"),
        (SourceConfig("folder", "x", parts=True), r"data\.parts: folder has no parts, expected false; only ade20k"),
    ],
)
def test_sources_that_make_no_sense_are_refused(source, message):
    with pytest.raises(ConfigError, match=message):
        open_dataset(source, "train")


def test_excluded_classes_are_neither_example_nor_counter_example(tmp_path):
    source = SourceConfig("folder", str(fake_index_folder(tmp_path)), exclude=["Cat", "of no interest"])
    dataset = open_dataset(source, "all")
    assert dataset.class_names == {2: "dog"}
    np.testing.assert_array_equal(dataset.read_mask(0), rectangles((255, 2, 2, 12, 14), (2, 14, 16, 22, 30)))
    assert dataset.areas == {2: dict.fromkeys(range(4), 112)}
    assert dataset.fingerprint(0) == dataset.dataset.fingerprint(0)
    assert dataset.read_image(0).shape == (24, 32, 3)
    assert dataset.has_mask(0)


def test_excluded_names_match_whatever_their_spelling():
    names = {1: "traffic light", 2: "kitchen_island/top", 3: "light"}
    dataset = Excluding(MemoryDataset({}, names), ["Traffic-Light", "kitchen island"])
    assert dataset.class_names == {3: "light"}


def test_excluding_everything_is_refused(tmp_path):
    source = SourceConfig("folder", str(fake_index_folder(tmp_path)), exclude=["cat", "dog"])
    with pytest.raises(
        ConfigError, match=r"data\.exclude: it names all 2 classes of folder \(all\), expected at least one"
    ):
        open_dataset(source, "all")


def test_listing_the_data_sets_imports_none_of_them():
    code = (
        "import sys; from pixgraph.data.catalog import dataset_names; dataset_names(); "
        "print([m for m in sys.modules if m.startswith('pixgraph.data.') and m.split('.')[2] in "
        "('pascal', 'coco', 'synthetic', 'folder')] + [m for m in ('torch', 'scipy', 'skimage') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
