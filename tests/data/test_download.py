import hashlib
import http.server
import io
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest

from pixgraph.data import download as module
from pixgraph.data.download import ARCHIVES, BY_HAND, Archive, download, extract, fetch, main
from pixgraph.errors import ConfigError, DataError

CONTENT = bytes(range(256)) * 4000
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(module.time, "sleep", lambda _: None)


@pytest.fixture
def server():
    """A server of CONTENT that understands ranges; `cut` bytes end an answer early, `requests` are noted."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            wanted = self.headers.get("Range")
            state.requests.append(wanted)
            if self.path == "/absent":
                self.send_error(404)
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and state.ranges else 0
            if start >= len(CONTENT):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            self.wfile.write(CONTENT[start : start + state.cut] if state.cut else CONTENT[start:])

        def log_message(self, *_):
            pass

    state = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.requests, state.cut, state.ranges = [], 0, True
    state.url = f"http://127.0.0.1:{state.server_port}/data.bin"
    thread = threading.Thread(target=state.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    state.shutdown()
    thread.join()
    state.server_close()


def make_archive(path: Path, members: dict[str, bytes]) -> Archive:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as tar:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return Archive(path.as_uri(), hashlib.md5(path.read_bytes()).hexdigest())


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tgz"])
def test_archives_are_fetched_checked_extracted_and_removed(tmp_path, monkeypatch, name):
    archive = make_archive(tmp_path / name, {"VOC/JPEGImages/1.jpg": b"picture", "VOC/list.txt": b"1"})
    monkeypatch.setitem(ARCHIVES, "toy", (archive,))
    root = download("toy", tmp_path / "new" / "root")
    assert (root / "VOC/JPEGImages/1.jpg").read_bytes() == b"picture"
    assert sorted(p.name for p in root.iterdir()) == [f".{name}.done", "VOC"]
    (tmp_path / name).unlink()
    download("toy", root)  # finished: the publisher is not asked again


def test_archives_are_kept_on_request(tmp_path, monkeypatch):
    monkeypatch.setitem(ARCHIVES, "toy", (make_archive(tmp_path / "a.zip", {"x": b"1"}),))
    assert (download("toy", tmp_path / "root", keep=True) / "a.zip").exists()


def test_a_wrong_checksum_is_refused_and_deleted(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"something else")
    with pytest.raises(DataError, match=rf"a.bin: got a file with MD5 \w+, expected {MD5}; deleted it"):
        fetch((tmp_path / "a.bin").as_uri(), tmp_path / "b.bin", MD5)
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_a_file_that_is_there_is_not_fetched_again(tmp_path, server):
    (tmp_path / "data.bin").write_bytes(CONTENT)
    fetch(server.url, tmp_path / "data.bin", MD5)
    assert server.requests == []
    (tmp_path / "data.bin").write_bytes(b"damaged")
    assert fetch(server.url, tmp_path / "data.bin", MD5).read_bytes() == CONTENT


@pytest.mark.parametrize("ranges", [True, False])
def test_a_later_call_goes_on_where_the_last_one_broke(tmp_path, server, ranges):
    server.ranges = ranges
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:1000])
    assert fetch(server.url, tmp_path / "data.bin", MD5).read_bytes() == CONTENT
    assert server.requests == ["bytes=1000-"]
    assert not (tmp_path / "data.bin.part").exists()


def test_a_broken_connection_is_taken_up_again(tmp_path, server):
    server.cut = 400_000
    assert fetch(server.url, tmp_path / "data.bin", MD5).read_bytes() == CONTENT
    assert server.requests == [None, "bytes=400000-", "bytes=800000-"]


def test_a_connection_that_breaks_for_good_keeps_what_came(tmp_path, server):
    server.cut = 1000
    with pytest.raises(
        DataError, match=r"no connection \(.*broke after 4,000 of 1,024,000 bytes\); run the same command"
    ):
        fetch(server.url, tmp_path / "data.bin", MD5)
    assert (tmp_path / "data.bin.part").stat().st_size == 4000


def test_a_complete_part_is_used_and_a_foreign_one_is_deleted(tmp_path, server):
    (tmp_path / "data.bin.part").write_bytes(CONTENT)
    assert fetch(server.url, tmp_path / "data.bin", MD5).read_bytes() == CONTENT
    (tmp_path / "other.part").write_bytes(CONTENT + b"more")
    with pytest.raises(DataError, match="got a file with MD5"):
        fetch(server.url, tmp_path / "other", MD5)
    assert not (tmp_path / "other.part").exists()


def test_refusals_and_silence_are_told(tmp_path, server):
    with pytest.raises(DataError, match=r"/absent: the server answers 404 Not Found; try later or by hand"):
        fetch(server.url.replace("data.bin", "absent"), tmp_path / "x", MD5)
    with pytest.raises(DataError, match=r"http://127.0.0.1:9/x: no connection \(.*refused.*put the file at .* by hand"):
        fetch("http://127.0.0.1:9/x", tmp_path / "x", MD5)


def test_a_full_disk_is_told_before_the_download(tmp_path, server, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(DataError, match=r"needs 1,024,000 bytes in .*, 1,000 are free; make room"):
        fetch(server.url, tmp_path / "data.bin", MD5)


def test_a_root_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"coco20i: cannot write to .*file/root \(Not a directory\)"):
        download("coco20i", tmp_path / "file" / "root")


def test_broken_and_unsafe_archives_are_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"a.zip: cannot extract .*delete the file and run the same command"):
        extract(tmp_path / "a.zip", tmp_path / "out")
    make_archive(tmp_path / "b.tar", {"../outside": b"1"})
    with pytest.raises(DataError, match=r"b.tar: cannot extract .*outside"):
        extract(tmp_path / "b.tar", tmp_path / "out")
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_data_sets_without_direct_download_say_where_to_ask(tmp_path, name):
    with pytest.raises(DataError, match=rf"{name}: there is no direct download\. .*data.root"):
        download(name, tmp_path)


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match=r"got the data set 'voc', expected one of pascal5i, coco20i"):
        download("voc", tmp_path)


def test_the_table_is_well_formed():
    for archives in ARCHIVES.values():
        for archive in archives:
            assert archive.url.startswith(("http://", "https://"))
            assert len(archive.md5) == 32
            assert Path(archive.filename).suffix in (".tar", ".tgz", ".zip")


def test_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(ARCHIVES, "toy", (make_archive(tmp_path / "a.zip", {"x": b"1"}),))
    assert main(["toy", str(tmp_path / "root")]) == 0
    assert (tmp_path / "root" / "x").exists()
    assert main(["cityscapes", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
