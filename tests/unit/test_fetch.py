"""Fetching by card, against a server on loopback that fails in every way a server can."""

from __future__ import annotations

import hashlib
import http.server
import io
import resource
import shutil
import stat
import tarfile
import threading
import zipfile
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from qc.errors import DataError, FaultError
from training.cards import Card, CardFile
from training.fetch import fetch

BODY = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(BODY).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves `bodies`; a step of `plan`: bytes until the connection ends, or minus a status."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: dict[str, bytes] = {"/set.bin": BODY}
        self.plan: list[int] = []
        self.tag: str | None = '"one"'
        self.ranges = True
        self.length_lie = 0
        self.redirect: str | None = None
        self.asked: list[tuple[str, str | None]] = []

    def url(self, path: str = "/set.bin") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.asked.append((self.path, self.headers.get("Range")))
        step = server.plan.pop(0) if server.plan else len(BODY) * 2
        if server.redirect is not None:
            self.send_response(302)
            self.send_header("Location", server.redirect)
            self.end_headers()
            return
        if step < 0 or self.path not in server.bodies:
            self.send_error(-step if step < 0 else 404)
            return
        body, start = server.bodies[self.path], 0
        same = self.headers.get("If-Range") in (None, server.tag)
        if server.ranges and same and (asked := self.headers.get("Range")):
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if server.tag:
            self.send_header("ETag", server.tag)
        self.send_header("Content-Length", str(len(body) - start + server.length_lie))
        self.end_headers()
        self.wfile.write(body[start : start + step])

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of one test."""
    running = Server()
    thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join(5)


def card(url: str, **fields: Any) -> Card:
    file = CardFile.model_validate({"url": url, **fields})
    return Card(name="small", title="Small", source="nobody", licence="CC0", files=(file,))


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_a_file_is_fetched_and_checked(server: Server, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    wanted = card(server.url(), sha256=SHA256, bytes=len(BODY))
    [found] = fetch(wanted, tmp_path, tell=lambda *step: told.append(step))
    assert (found.bytes, found.sha256, found.checked) == (len(BODY), SHA256, "card")
    assert (tmp_path / "small" / "set.bin").read_bytes() == BODY
    assert names(tmp_path / "small") == ["fetched.toml", "set.bin"]
    assert told[-1] == ("set.bin", len(BODY), len(BODY))


def test_a_finished_download_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    wanted = card(server.url())
    assert fetch(wanted, tmp_path)[0].checked == "first"
    assert fetch(wanted, tmp_path)[0].checked == "recorded"
    assert len(server.asked) == 1


def test_a_connection_that_breaks_off_is_resumed(server: Server, tmp_path: Path) -> None:
    server.plan = [100_000, 50_000]
    fetch(card(server.url(), sha256=SHA256), tmp_path, pause_s=0)
    assert (tmp_path / "small" / "set.bin").read_bytes() == BODY
    assert [asked for _, asked in server.asked] == [None, "bytes=100000-", "bytes=150000-"]


def test_a_later_command_goes_on_where_the_last_ended(server: Server, tmp_path: Path) -> None:
    server.plan = [70_000]
    with pytest.raises(FaultError, match="70000 of 512000 bytes") as caught:
        fetch(card(server.url()), tmp_path, tries=1)
    assert server.url() in str(caught.value)
    assert names(tmp_path / "small") == ["set.bin.part", "set.bin.part.json"]
    fetch(card(server.url()), tmp_path)
    assert server.asked[-1][1] == "bytes=70000-"
    assert (tmp_path / "small" / "set.bin").read_bytes() == BODY


@pytest.mark.parametrize("how", ["changed", "no ranges", "no tag"])
def test_what_cannot_be_resumed_begins_again(server: Server, tmp_path: Path, how: str) -> None:
    server.plan = [70_000]
    server.tag = None if how == "no tag" else server.tag
    with pytest.raises(FaultError):
        fetch(card(server.url()), tmp_path, tries=1)
    whole = BODY
    if how == "changed":  # another file of the same length: nothing of the first may remain
        server.tag, server.bodies["/set.bin"] = '"two"', BODY[::-1]
        whole = BODY[::-1]
    server.ranges = how != "no ranges"
    fetch(card(server.url()), tmp_path)
    assert (tmp_path / "small" / "set.bin").read_bytes() == whole


def test_a_part_that_fits_no_more_is_dropped(server: Server, tmp_path: Path) -> None:
    server.plan = [70_000, -416]
    fetch(card(server.url()), tmp_path, pause_s=0)
    assert [asked for _, asked in server.asked] == [None, "bytes=70000-", None]


def test_tries_are_bounded(server: Server, tmp_path: Path) -> None:
    server.plan = [1000, 0, -503, 1000, 1000]
    with pytest.raises(FaultError, match="within 4 connections"):
        fetch(card(server.url()), tmp_path, tries=4, pause_s=0)
    assert len(server.asked) == 4
    assert not (tmp_path / "small" / "set.bin").exists()


def test_a_server_that_promises_more_than_it_has(server: Server, tmp_path: Path) -> None:
    server.length_lie = 10
    with pytest.raises(FaultError, match="broke off"):
        fetch(card(server.url()), tmp_path, tries=2, pause_s=0)
    assert not (tmp_path / "small" / "set.bin").exists()


def test_another_length_than_the_card_says(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"expected {len(BODY) + 1}; found {len(BODY)}"):
        fetch(card(server.url(), bytes=len(BODY) + 1), tmp_path)
    assert names(tmp_path / "small") == []


@pytest.mark.parametrize(("field", "value"), [("sha256", "0" * 64), ("md5", "0" * 32)])
def test_a_wrong_file_is_not_kept(server: Server, tmp_path: Path, field: str, value: str) -> None:
    with pytest.raises(DataError) as caught:
        fetch(card(server.url(), **{field: value}), tmp_path)
    assert server.url() in str(caught.value)
    assert value in str(caught.value)
    assert names(tmp_path / "small") == []


def test_a_later_download_is_compared_with_the_first(server: Server, tmp_path: Path) -> None:
    fetch(card(server.url()), tmp_path)
    (tmp_path / "small" / "set.bin").unlink()
    server.bodies["/set.bin"] = BODY[::-1]
    with pytest.raises(DataError, match="remove its table from fetched"):
        fetch(card(server.url()), tmp_path)
    assert names(tmp_path / "small") == ["fetched.toml"]
    server.bodies["/set.bin"] = BODY
    assert fetch(card(server.url()), tmp_path)[0].checked == "recorded"


def test_a_file_altered_on_disk_is_refused_and_left_alone(server: Server, tmp_path: Path) -> None:
    fetch(card(server.url()), tmp_path)
    (tmp_path / "small" / "set.bin").write_bytes(b"mine")
    with pytest.raises(DataError, match="remove it to fetch it again"):
        fetch(card(server.url()), tmp_path)
    assert (tmp_path / "small" / "set.bin").read_bytes() == b"mine"


def test_a_file_that_is_not_there(server: Server, tmp_path: Path) -> None:
    with pytest.raises(FaultError, match="expected 200 OK; found 404"):
        fetch(card(server.url("/other.bin")), tmp_path)
    assert len(server.asked) == 1
    assert names(tmp_path / "small") == []


def test_a_server_that_is_not_there(server: Server, tmp_path: Path) -> None:
    url = server.url()
    server.server_close()
    with pytest.raises(FaultError, match="broke off"):
        fetch(card(url), tmp_path, tries=2, pause_s=0)


@pytest.mark.parametrize(
    ("target", "why"), [("ftp://127.0.0.1/x", "leads elsewhere"), ("file:///x", "found 302")]
)
def test_a_redirect_to_another_scheme(
    server: Server, tmp_path: Path, target: str, why: str
) -> None:
    server.redirect = target
    with pytest.raises(FaultError, match=why):
        fetch(card(server.url()), tmp_path, tries=1)
    assert names(tmp_path / "small") == []


def test_a_file_on_this_machine(tmp_path: Path) -> None:
    (tmp_path / "a set.bin").write_bytes(BODY)
    url = (tmp_path / "a set.bin").as_uri()
    wanted = card(url, save_as="set.bin", sha256=SHA256)
    assert fetch(wanted, tmp_path / "out")[0].checked == "card"
    with pytest.raises(FaultError, match="No such file"):
        fetch(card((tmp_path / "none.bin").as_uri()), tmp_path / "out")


def test_a_full_disk(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")(10, 9, 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(FaultError, match="too full"):
        fetch(card(server.url()), tmp_path)


def test_a_disk_that_fails_while_writing(server: Server, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(FaultError, match="the disk failed"):
            fetch(card(server.url()), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "small" / "set.bin").exists()
    fetch(card(server.url()), tmp_path)  # and goes on when there is room again
    assert (tmp_path / "small" / "set.bin").read_bytes() == BODY


def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(FaultError) as caught:
        fetch(card(server.url()), tmp_path / "out")
    assert str(tmp_path / "out") in str(caught.value)


# a zip and a tar of the same members: name, content, and the kind where it is no plain file
Members = list[tuple[str, bytes, int]]
LINK, PIPE = stat.S_IFLNK, stat.S_IFIFO


def zipped(members: Members) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, kind in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = ((kind or stat.S_IFREG) | 0o644) << 16
            archive.writestr(info, content)
    return stream.getvalue()


def tarred(members: Members) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content, kind in members:
            info = tarfile.TarInfo(name)
            info.type = {LINK: tarfile.SYMTYPE, PIPE: tarfile.FIFOTYPE}.get(kind, tarfile.REGTYPE)
            info.linkname = content.decode() if kind == LINK else ""
            info.size = 0 if kind else len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


Archive = tuple[str, str, Callable[[Members], bytes]]


@pytest.fixture(params=[("zip", "a.zip", zipped), ("tar", "a.tar.gz", tarred)], ids=lambda p: p[0])
def archive(request: pytest.FixtureRequest) -> Archive:
    """What the card calls the kind, a file's name, and what packs it."""
    kind: Archive = request.param
    return kind


def test_an_archive_is_unpacked_once(server: Server, tmp_path: Path, archive: Archive) -> None:
    kind, name, pack = archive
    server.bodies[f"/{name}"] = pack([("x/good/1.png", b"one", 0), ("./x/2.png", b"two", 0)])
    wanted = card(server.url(f"/{name}"), unpack=kind)
    folder = tmp_path / "small" / "a"
    assert fetch(wanted, tmp_path)[0].unpacked == str(folder)
    assert names(folder) == ["x", "x/2.png", "x/good", "x/good/1.png"]
    assert (folder / "x" / "good" / "1.png").read_bytes() == b"one"
    (folder / "x" / "2.png").unlink()
    fetch(wanted, tmp_path)  # what is there is left as it is
    assert not (folder / "x" / "2.png").exists()
    assert names(tmp_path / "small")[:2] == ["a", f"{name}"]


HOSTILE = {
    "climbs": ("../../out.txt", b"x", 0),
    "climbs inside": ("a/../../out.txt", b"x", 0),
    "absolute": ("/out.txt", b"x", 0),
    "backslash": ("..\\out.txt", b"x", 0),
    "drive": ("C:/out.txt", b"x", 0),
    "link": ("link", b"../..", LINK),
    "pipe": ("pipe", b"", PIPE),
    "again": ("fine.txt", b"x", 0),
    "below a file": ("fine.txt/x", b"x", 0),
    "bomb": ("bomb.bin", bytes(4 << 20), 0),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive(server: Server, tmp_path: Path, archive: Archive, what: str) -> None:
    kind, name, pack = archive
    out = tmp_path / "deep" / "out"
    with pytest.warns() if (kind, what) == ("zip", "again") else nullcontext():
        server.bodies[f"/{name}"] = pack([("fine.txt", b"fine", 0), HOSTILE[what]])
    with pytest.raises(DataError, match="is not unpacked because of its entry"):
        fetch(card(server.url(f"/{name}"), unpack=kind, unpacked_bytes=1 << 20), out)
    assert names(out / "small") == [name, "fetched.toml"]
    assert len(names(tmp_path)) == 5, "the two files, the set's folder and the two above it"


def test_a_bomb_is_found_without_a_limit_in_the_card(server: Server, tmp_path: Path) -> None:
    server.bodies["/a.zip"] = zipped([("bomb.bin", bytes(80 << 20), 0)])
    assert len(server.bodies["/a.zip"]) < 1 << 20
    with pytest.raises(DataError, match="bytes unpacked"):
        fetch(card(server.url("/a.zip"), unpack="zip"), tmp_path)
    assert not (tmp_path / "small" / "a").exists()


def test_a_zip_that_lies_about_its_sizes_is_stopped(server: Server, tmp_path: Path) -> None:
    body = bytearray(zipped([("bomb.bin", bytes(4 << 20), 0)]))
    at = body.index(b"PK\x01\x02")
    body[at + 24 : at + 28] = (10).to_bytes(4, "little")  # the declared length
    server.bodies["/a.zip"] = bytes(body)
    with pytest.raises(DataError):
        fetch(card(server.url("/a.zip"), unpack="zip", unpacked_bytes=1 << 20), tmp_path)
    assert names(tmp_path / "small") == ["a.zip", "fetched.toml"]


def test_too_many_members(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.fetch.MOST_MEMBERS", 3)
    server.bodies["/a.zip"] = zipped([(f"{n}.txt", b"x", 0) for n in range(4)])
    with pytest.raises(DataError, match="more than 3 files"):
        fetch(card(server.url("/a.zip"), unpack="zip"), tmp_path)


@pytest.mark.parametrize("keep", [0, 20, 150])
def test_a_damaged_archive(server: Server, tmp_path: Path, archive: Archive, keep: int) -> None:
    kind, name, pack = archive
    content = hashlib.sha512(b"x").digest() * 40
    server.bodies[f"/{name}"] = pack([("x.bin", content, 0)])[:keep]
    with pytest.raises(DataError, match="cannot be read"):
        fetch(card(server.url(f"/{name}"), unpack=kind), tmp_path)
    assert not (tmp_path / "small" / "a").exists()
    assert not (tmp_path / "small" / "a.unpacking").exists()
