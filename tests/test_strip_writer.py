import numpy as np
import pytest

from pixgraph.strip_writer import StripWriter


def test_strips_in_any_order_make_the_file_of_numpy(tmp_path):
    values = np.random.default_rng(0).random((3, 20, 7), np.float32)
    np.save(tmp_path / "expected.npy", values.astype(np.float16))
    with StripWriter(tmp_path / "x.npy", values.shape) as writer:
        for top, stop in ((12, 20), (0, 5), (5, 12)):
            writer.write(top, values[:, top:stop])
        assert not (tmp_path / "x.npy").exists()
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), values.astype(np.float16))
    assert (tmp_path / "x.npy").stat().st_size == (tmp_path / "expected.npy").stat().st_size


def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    (tmp_path / "x.npy").write_bytes(b"old")

    def interrupted():
        with StripWriter(tmp_path / "x.npy", (1, 4, 4)) as writer:
            writer.write(0, np.zeros((1, 2, 4)))
            raise KeyboardInterrupt("stop")

    with pytest.raises(KeyboardInterrupt, match="stop"):
        interrupted()
    assert [p.name for p in tmp_path.iterdir()] == ["x.npy"]
    assert (tmp_path / "x.npy").read_bytes() == b"old"
