import pickle

import numpy as np
import pytest
import torch
from fakes import fake_camvid, picture
from PIL import Image
from torch.utils.data import DataLoader

from pixgraph.errors import ConfigError, DataError
from pixgraph.pretrain.pictures import Pictures, find_pictures


def files(folder, count, size=(20, 30)):
    return [picture(folder / f"{i}.png", seed=i, size=size) for i in range(count)]


def broken(path):
    path.write_bytes(path.read_bytes()[:100])
    return path


def test_folders_are_searched_sorted_and_read_once(tmp_path):
    wanted = [picture(tmp_path / name) for name in ("b/2.png", "a/1.JPG", "a/deep/3.webp")]
    (tmp_path / "a" / "notes.txt").write_text("no picture")
    picture(tmp_path / ".hidden" / "4.png")
    picture(tmp_path / "a" / ".5.png")
    found = find_pictures([str(tmp_path), str(tmp_path / "a"), str(tmp_path / "b" / ".." / "a")])
    assert found == sorted(path.resolve() for path in wanted)


def test_a_data_set_gives_its_training_pictures_without_reading_masks(tmp_path):
    fake_camvid(tmp_path)
    for mask in (tmp_path / "trainannot").iterdir():
        mask.write_bytes(b"no mask")
    assert [path.name for path in find_pictures([f"camvid:{tmp_path}"])] == ["train_0.png", "train_1.png"]


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        ([], ConfigError, "data: got nothing, expected folders of pictures"),
        (["{tmp}/none"], DataError, "data: no folder .*none; give a folder of pictures"),
        (["camwid:{tmp}"], DataError, "data: no folder camwid:"),
        (["{tmp}"], DataError, "holds no pictures, expected JPEG"),
        (["camvid:{tmp}/none"], DataError, "camvid: no folder"),
        (["synthetic:"], ConfigError, "synthetic generates its pictures, expected files"),
    ],
)
def test_what_cannot_be_found_is_said(tmp_path, data, error, words):
    with pytest.raises(error, match=words):
        find_pictures([place.format(tmp=tmp_path) for place in data])


def test_pictures_come_upright_as_rgb(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.fromarray(rgb).save(tmp_path / "a.png", exif=exif)
    Image.fromarray(rgb[:, :, 0]).save(tmp_path / "b.png")
    pictures = Pictures(find_pictures([str(tmp_path)]), 0.0)
    assert torch.equal(pictures[0], torch.from_numpy(np.rot90(rgb, -1).copy()).permute(2, 0, 1))
    assert torch.equal(pictures[1], torch.from_numpy(rgb[:, :, 0]).expand(3, -1, -1))
    assert pictures[0].dtype == torch.uint8
    assert repr(pictures) == "Pictures(2, broken=0)"
    with pytest.raises(IndexError, match="picture 2 of 2"):
        pictures[2]


def test_pictures_are_shrunk_to_a_short_side_and_never_enlarged(tmp_path):
    paths = [picture(tmp_path / "large.png", size=(40, 60)), picture(tmp_path / "small.png", size=(8, 9))]
    pictures = Pictures(paths, 0.0, short_side=10)
    assert [tuple(p.shape) for p in pictures] == [(3, 10, 15), (3, 8, 9)]


def test_memory_is_bounded_and_what_it_holds_is_not_read_again(tmp_path):
    paths = files(tmp_path, 4)
    pictures = Pictures(paths, 0.5, cache_bytes=2 * 20 * 30 * 3 + 100)
    before = [pictures[i].clone() for i in range(4)]
    for path in paths:
        path.unlink()
    assert torch.equal(pictures[0], before[0])
    assert torch.equal(pictures[1], before[1])
    with pytest.raises(DataError, match="got 1 unreadable of 4"):
        [Pictures(paths, 0.0, cache_bytes=0)[i] for i in (2, 3)]


def test_a_broken_picture_is_named_once_and_replaced_by_the_next(tmp_path, capsys):
    paths = files(tmp_path, 5)
    broken(paths[1])
    broken(paths[2])
    pictures = Pictures(paths, broken_limit=0.4)
    for _ in range(3):
        assert torch.equal(pictures[1], pictures[3])
    said = capsys.readouterr().err
    assert said.count("1.png") == said.count("2.png") == 1
    assert "left out: " in said
    assert "replace or remove it" in said
    assert pictures.broken == 2


def test_the_last_is_followed_by_the_first(tmp_path):
    paths = files(tmp_path, 3)
    broken(paths[2])
    pictures = Pictures(paths, 0.5)
    assert torch.equal(pictures[2], pictures[0])


def test_too_many_broken_pictures_stop_it(tmp_path):
    paths = files(tmp_path, 10)
    for path in paths[3:6]:
        broken(path)
    pictures = Pictures(paths, broken_limit=0.2)
    words = r"got 3 unreadable of 10 \(.*3.png, .*4.png, .*5.png\), expected at most a share"
    with pytest.raises(DataError, match=words):
        pictures[3]
    for path in paths:
        path.write_bytes(b"")
    with pytest.raises(DataError, match="none of 10 files can be read"):
        Pictures(paths, broken_limit=1.0)[0]


def test_workers_count_broken_pictures_together(tmp_path):
    paths = files(tmp_path, 8)
    broken(paths[0])
    broken(paths[1])
    pictures = Pictures(paths, broken_limit=0.25)
    shared = [p.sum() for p in DataLoader(pictures, batch_size=None, num_workers=2)]
    assert pictures.broken == 2
    assert shared == [pictures[i].sum() for i in range(8)]


def test_a_copy_for_another_process_starts_with_an_empty_memory(tmp_path):
    pictures = Pictures(files(tmp_path, 2, size=(60, 60)), 0.0)
    assert pictures[0].nbytes > 10_000
    copy = pickle.dumps(pictures)
    assert len(copy) < 3_000
    assert torch.equal(pickle.loads(copy)[0], pictures[0])


def test_no_picture_large_enough_is_refused_and_one_suffices(tmp_path):
    paths = files(tmp_path, 3, size=(20, 30))
    with pytest.raises(DataError, match="got 3 whose short sides are at most 20 pixels, expected 32; give larger"):
        Pictures(paths, 0.0, least_side=32)
    assert len(Pictures([*paths, picture(tmp_path / "x.png", size=(32, 40))], 0.0, least_side=32)) == 4
    with pytest.raises(DataError, match="pictures: got none, expected at least one file"):
        Pictures([], 0.0)
