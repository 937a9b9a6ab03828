import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from pixgraph.data import images
from pixgraph.data.images import (
    image_size,
    load_image,
    load_mask,
    palette,
    read_foreground,
    read_image,
    read_mask,
    resize_image,
    resize_mask,
    write_palette_mask,
)
from pixgraph.errors import DataError

RGB = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
IDS = np.random.default_rng(1).choice([0, 1, 2, 3, 15, 255], (8, 12)).astype(np.uint8)


def saved(path, array, mode=None, **options):
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return path


def grey_png(path, values, bits):
    """A grey PNG of 1, 2, 4 or 16 bits, which Pillow does not write itself."""
    height, width = values.shape

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    if bits == 16:
        rows = [b"\0" + row.astype(">u2").tobytes() for row in values]
    else:
        wide = ((values[:, :, None] >> np.arange(bits)[::-1]) & 1).reshape(height, -1)
        rows = [b"\0" + np.packbits(row).tobytes() for row in wide]
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"".join(rows))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp", "ppm"])
def test_lossless_formats_come_back_unchanged(tmp_path, suffix):
    path = saved(tmp_path / f"a b é.{suffix}", RGB, **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(read_image(path), RGB)
    assert image_size(path) == (8, 12)


@pytest.mark.parametrize(("mode", "suffix"), [("L", "png"), ("1", "png"), ("P", "png"), ("CMYK", "jpg"), ("LA", "png")])
def test_every_mode_becomes_rgb(tmp_path, mode, suffix):
    flat = np.full((8, 12, 3), 255, np.uint8)
    image = read_image(saved(tmp_path / f"x.{suffix}", flat, mode))
    assert image.shape == (8, 12, 3)
    assert image.dtype == np.uint8
    assert image.min() >= 250  # white stays white: no inverted CMYK


def test_cmyk_keeps_its_colours(tmp_path):
    red = np.zeros((8, 12, 3), np.uint8) + np.array([250, 10, 10], np.uint8)
    image = read_image(saved(tmp_path / "x.jpg", red, "CMYK", quality=95))
    assert np.abs(image.astype(int) - red).max() < 15


def test_transparent_pixels_turn_white(tmp_path):
    rgba = np.dstack([RGB, np.full((8, 12), 255, np.uint8)])
    rgba[:4, :, 3] = 0
    image = read_image(saved(tmp_path / "x.png", rgba))
    assert (image[:4] == 255).all()
    np.testing.assert_array_equal(image[4:], RGB[4:])


@pytest.mark.parametrize(("top", "expected"), [(65535, 255), (4095, 255), (255, 255), (32768, 128)])
def test_sixteen_bits_are_scaled_to_eight(tmp_path, top, expected):
    values = np.zeros((8, 12), np.uint16)
    values[0, 0] = top
    path = grey_png(tmp_path / "x.png", values, 16)
    np.testing.assert_array_equal(read_image(path)[0, 0], [expected] * 3)
    np.testing.assert_array_equal(load_image(values)[0, 0], [expected] * 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_picture_and_mask_alike(tmp_path, orientation):
    # What a viewer shows of a stored array, by the definition of the tag (row 0 is top, left, ...).
    turned = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: np.swapaxes(a, 0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.swapaxes(a[::-1, ::-1], 0, 1),
        8: lambda a: np.rot90(a),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "x.png", RGB, exif=exif)
    np.testing.assert_array_equal(read_image(path), turned(RGB))
    assert image_size(path) == turned(RGB).shape[:2]
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "m.png", IDS, exif=exif)), turned(IDS))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"x\.png: the file is empty \(0 bytes\); replace"),
        (b"hello", r"x\.png: not a picture; expected one of JPEG, PNG"),
        (None, r"x\.png: no such file; expected a picture"),
    ],
)
@pytest.mark.parametrize("reader", [read_image, read_mask, read_foreground, image_size])
def test_empty_missing_and_foreign_files_are_named(tmp_path, content, message, reader):
    path = tmp_path / "x.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        reader(path)


@pytest.mark.parametrize("where", ["PIL.Image.open", "pathlib.Path.stat"])
def test_what_may_not_be_read_is_not_called_broken(tmp_path, monkeypatch, where):
    path = saved(tmp_path / "x.png", RGB)

    def refused(*args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(where, refused)
        with pytest.raises(DataError, match=r"x\.png: cannot read it \(Permission denied\); check its permissions"):
            read_image(path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "bmp", "webp"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_truncated_files_are_named(tmp_path, suffix, share):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = saved(tmp_path / f"x.{suffix}", noise)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(DataError, match=rf"x\.{suffix}: (broken or truncated|not a) picture"):
        read_image(path)


def complaint(reader, path) -> str | None:
    """The message of a DataError; any other exception passes through."""
    try:
        assert reader(path).dtype == np.uint8
    except DataError as error:
        return str(error)
    return None  # most damage is survived


def test_random_damage_never_raises_anything_else(tmp_path):
    rng = np.random.default_rng(0)
    for suffix in ("jpg", "png", "tif", "gif", "bmp"):
        whole = np.frombuffer(saved(tmp_path / f"x.{suffix}", RGB).read_bytes(), np.uint8)
        for i in range(60):
            broken = whole.copy()
            broken[rng.integers(0, len(broken), 6)] = rng.integers(0, 256, 6)
            path = tmp_path / f"{i}.{suffix}"
            path.write_bytes(broken.tobytes())
            for reader in (read_image, read_mask):
                message = complaint(reader, path)
                assert message is None or (str(path) in message and "\n" not in message)


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path, recwarn):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    for side in (9_000, 14_000, 60_000):
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        path = tmp_path / f"{side}.png"
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
        for reader in (read_image, read_mask, image_size):
            with pytest.raises(DataError, match=rf"{side}\.png: got .*, expected at most 80,000,000 in all; scale"):
                reader(path)
    assert not recwarn.list


def test_masks_are_read_as_numbers_not_colours(tmp_path):
    write_palette_mask(tmp_path / "p.png", IDS)
    with Image.open(tmp_path / "p.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.array(image.convert("RGB")), palette()[IDS])
    np.testing.assert_array_equal(read_mask(tmp_path / "p.png"), IDS)
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "l.png", IDS)), IDS)
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "rgb.png", np.dstack([IDS] * 3))), IDS)
    np.testing.assert_array_equal(read_mask(grey_png(tmp_path / "16.png", IDS.astype(np.uint16), 16)), IDS)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_are_not_stretched(tmp_path, bits):
    values = np.arange(32).reshape(4, 8) % 2**bits
    np.testing.assert_array_equal(read_mask(grey_png(tmp_path / "x.png", values, bits)), values)


def test_foreground_of_any_kind_of_mask(tmp_path):
    thing = IDS > 2
    for name, array in (
        ("255", np.uint8(255) * thing),
        ("1", np.uint8(1) * thing),
        (
            "rgba",
            np.dstack([np.uint8(200) * thing, np.uint8(180) * thing, thing * 0, thing * 0 + 255]).astype(np.uint8),
        ),
    ):
        np.testing.assert_array_equal(read_foreground(saved(tmp_path / f"{name}.png", array)), thing)
    assert not read_foreground(saved(tmp_path / "none.png", np.zeros_like(IDS))).any()


def test_masks_that_are_no_masks_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"c\.png: got a coloured mask \(mode RGB\), expected one number a pixel; save"):
        read_mask(saved(tmp_path / "c.png", RGB))
    with pytest.raises(DataError, match=r"n\.png: got numbers 0\.\.300, expected class ids in 0\.\.255"):
        read_mask(grey_png(tmp_path / "n.png", np.array([[0, 300]]), 16))


def test_whatever_the_caller_holds_gives_the_same_picture(tmp_path):
    path = saved(tmp_path / "x.png", RGB)
    channels_first = torch.from_numpy(RGB).permute(2, 0, 1)
    for source in (path, str(path), Image.open(path), RGB, RGB / 255, RGB.astype(np.int64), channels_first):
        np.testing.assert_array_equal(load_image(source), RGB)
    np.testing.assert_array_equal(load_image(channels_first.float() / 255), RGB)
    np.testing.assert_array_equal(load_image(RGB[:, :, 0]), np.dstack([RGB[:, :, 0]] * 3))
    np.testing.assert_array_equal(load_image(np.dstack([RGB, np.full((8, 12), 255, np.uint8)])), RGB)
    for source in (IDS, Image.fromarray(IDS), torch.from_numpy(IDS), torch.from_numpy(IDS)[None], IDS.astype(float)):
        np.testing.assert_array_equal(load_mask(source), IDS)
    np.testing.assert_array_equal(load_mask(IDS > 0), IDS > 0)


@pytest.mark.parametrize(
    ("loader", "source", "message"),
    [
        (load_image, [[1, 2]], r"picture: got list, expected a path, a PIL image"),
        (load_image, np.zeros((5, 5, 2)), r"picture: got shape \(5, 5, 2\), expected \(H, W\) or"),
        (load_image, np.zeros((0, 4, 3)), r"picture: got shape \(0, 4, 3\)"),
        (
            load_image,
            np.full((4, 4, 3), 200.0),
            r"picture: got values 200\.\.200, expected integers in 0\.\.255 or floats",
        ),
        (load_image, np.full((4, 4, 3), np.nan), r"picture: got values nan\.\.nan"),
        (load_image, np.full((4, 4, 3), -1), r"picture: got values -1\.\.-1"),
        (load_mask, np.zeros((4, 4, 3), np.uint8), r"mask: got shape \(4, 4, 3\), expected \(H, W\)"),
        (load_mask, np.full((4, 4), 0.5), r"mask: got fractions, expected whole numbers; save the class ids"),
        (load_mask, np.full((4, 4), 256), r"mask: got numbers 256\.\.256, expected class ids in 0\.\.255"),
        (load_mask, np.array([["a"]]), r"mask: got values of type <U1"),
    ],
)
def test_arrays_that_are_neither_are_refused(loader, source, message):
    with pytest.raises(DataError, match=message):
        loader(source)


def test_resizing():
    big = np.kron(IDS, np.ones((5, 5), np.uint8))
    np.testing.assert_array_equal(resize_mask(big, IDS.shape), IDS)
    assert set(np.unique(resize_mask(IDS, (5, 31)))) <= set(np.unique(IDS))
    assert resize_mask(IDS, IDS.shape) is IDS
    assert resize_image(RGB, 16).shape == (16, 16, 3)
    # Antialiased: a fine chequerboard shrinks to grey, not to black or white.
    board = np.repeat((np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)[:, :, None], 3, axis=2)
    assert np.abs(resize_image(board, 8).astype(int) - 127).max() < 12


def test_the_palette_is_that_of_pascal_voc():
    assert palette()[[0, 1, 2, 15, 20]].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [192, 128, 128], [0, 64, 128]]
    assert len({tuple(c) for c in palette().tolist()}) == 256


def test_a_mask_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"m\.png: cannot write the mask \(No such file or directory\); check folder"):
        write_palette_mask(tmp_path / "none" / "m.png", IDS)
    write_palette_mask(tmp_path / "m.png", IDS)
    before = (tmp_path / "m.png").read_bytes()

    def full(self, fp, format=None, **params):  # noqa: A002 - Pillow's own name
        fp.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(DataError, match=r"m\.png: cannot write the mask \(No space left on device\)"):
        write_palette_mask(tmp_path / "m.png", 0 * IDS)
    assert (tmp_path / "m.png").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.png"]


def test_files_in_memory_orientation_is_honoured():
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "PNG", exif=exif)
    np.testing.assert_array_equal(load_image(Image.open(buffer)), np.rot90(RGB, -1))


def test_the_limit_holds_below_pillows_own_warning():
    assert Image.MAX_IMAGE_PIXELS is None or images.MAX_PIXELS < Image.MAX_IMAGE_PIXELS
