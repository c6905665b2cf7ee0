"""Fetch a public dataset by its card: consent, download, checksum, unpack.

A file is written as `<name>.part` until its length and checksum are right, and an archive is
unpacked into `<folder>.unpacking` until it is whole, so nothing that looks complete is not. Only
the standard library is used. One fetch at a time may write into one folder.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import shutil
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from lzma import LZMAError
from pathlib import Path
from typing import IO, Any, Literal
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener, url2pathname

import typer

from qc.console import Command
from qc.errors import DataError, FaultError, UsageError
from qc.tables import read_toml
from training.cards import Card, CardFile, Record, RecordedFile, read_card, write_record

CHUNK = 1 << 18
TIMEOUT_S = 30.0
LARGEST_BYTES = 64 << 30
MOST_MEMBERS = 500_000

Tell = Callable[[str, int, int], None]
Checked = Literal["card", "recorded", "first"]


@dataclass(frozen=True)
class Fetched:
    """One file of a set on disk.

    Args:
        path, bytes, sha256: the file.
        checked: against the card, against the record of an earlier download, or the first time.
        unpacked: the folder of its content, None where it is not an archive.
    """

    path: str
    bytes: int
    sha256: str
    checked: Checked
    unpacked: str | None


class _BrokenError(Exception):
    """A connection that may work when it is tried again."""


def fetch_command(running: Command, name: str, out: Path, yes: bool) -> None:
    """`qc data fetch`: show the licence, ask, and fetch a set into OUT/<name>.

    Args:
        name: a card's name or path.
        out: folder of the sets.
        yes: the licence is agreed to, do not ask.

    Raises:
        UsageError: the set cannot be fetched by a program, or the licence was not agreed to.
    """
    card = read_card(name)
    for line in (card.title, f"source: {card.source}", f"licence: {card.licence}"):
        running.say(line)
    if not card.files:
        raise UsageError(f"this set is not fetched by a program: {card.obtain}", where=card.name)
    missing = [f.url for f in card.files if not (out / card.name / f.name).exists()]
    if missing and not yes:
        running.say("to fetch: " + ", ".join(missing))
        _ask(card)
    with running.bar(card.name) as show:
        found = fetch(card, out, tell=lambda file, done, total: show(done, total, file))
    head = {"name": card.name, "licence": card.licence, "out": str(out / card.name)}
    running.result({**head, "files": [asdict(f) for f in found]})
    for file in found:
        where = file.unpacked or file.path
        running.say(f"{where}: {file.bytes} bytes, sha256 {file.sha256} ({file.checked})")


def _ask(card: Card) -> None:
    try:
        agreed = typer.confirm("Fetch it under this licence?", err=True)
    except typer.Abort:
        agreed = False
    if not agreed:
        raise UsageError("the licence was not agreed to; --yes agrees to it", where=card.name)


def fetch(
    card: Card, out: Path, *, tell: Tell | None = None, tries: int = 6, pause_s: float = 1.0
) -> list[Fetched]:
    """Download, check and unpack the files of a card into OUT/<name>; what is there is kept.

    Args:
        out: folder of the sets.
        tell: called with file name, bytes done, and bytes in all (0: not known).
        tries: connections for one file.
        pause_s: wait before the second try, doubled for each further one, at most 30 s.

    Raises:
        DataError: a length, checksum or archive is wrong.
        FaultError: the network or the disk failed.
    """
    folder = out / card.name
    with _disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
    download = partial(_download, folder=folder, tell=tell, tries=tries, pause_s=pause_s)
    return [_fetch_file(file, folder, download) for file in card.files]


def _fetch_file(file: CardFile, folder: Path, download: Callable[[CardFile], Path]) -> Fetched:
    record_path = folder / "fetched.toml"
    record = read_toml(record_path, Record) if record_path.exists() else Record()
    known = record.files.get(file.name)
    target = folder / file.name
    path = target if target.exists() else download(file)
    with _disk(path):
        size = path.stat().st_size
        sha256, md5 = _digest(path, "sha256"), _digest(path, "md5")
    recorded = known.sha256 if known and not file.sha256 else None
    for what, expected, found in (
        ("length", file.bytes, size),
        ("SHA-256", file.sha256 or recorded, sha256),
        ("MD5", file.md5, md5),
    ):
        if expected not in (None, found):
            hint = "remove it to fetch it again" if path == target else "it was not kept"
            if recorded:
                hint += "; to accept other content remove its table from fetched.toml"
            if path != target:
                _discard(path)
            where = f"{file.url} as {target}"
            what = f"the file has the wrong {what}, {hint}"
            raise DataError(what, where=where, expected=expected, found=found)
    with _disk(target):
        if known is None or known.sha256 != sha256:
            new = RecordedFile(url=file.url, sha256=sha256, bytes=size)
            write_record(Record(files={**record.files, file.name: new}), record_path)
        path.replace(target)
        _beside(folder / f"{file.name}.part").unlink(missing_ok=True)
    checked: Checked = "card" if file.sha256 or file.md5 else "recorded" if known else "first"
    return Fetched(str(target), size, sha256, checked, _unpacked(file, target))


def _digest(path: Path, name: str) -> str:
    with path.open("rb") as stream:
        new = partial(hashlib.new, name, usedforsecurity=False)
        return hashlib.file_digest(stream, new).hexdigest()


def _fault(path: Path, error: OSError) -> FaultError:
    return FaultError("the disk failed", where=path, found=error.strerror or str(error))


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _fault(path, error) from error


def _beside(part: Path) -> Path:
    """Where it is kept what a `.part` is a part of."""
    return part.with_name(part.name + ".json")


def _discard(part: Path) -> None:
    with _disk(part):
        part.unlink(missing_ok=True)
        _beside(part).unlink(missing_ok=True)


def _download(file: CardFile, folder: Path, tell: Tell | None, tries: int, pause_s: float) -> Path:
    part = folder / f"{file.name}.part"
    why = "no try"
    for number in range(tries):
        if number:
            time.sleep(min(pause_s * 2 ** (number - 1), 30.0))
        try:
            _transfer(file, part, tell)
            return part
        except _BrokenError as error:
            why = str(error)
    tried = f"a whole file within {tries} connections"
    raise FaultError("the download broke off", where=file.url, expected=tried, found=why)


def _resumable(file: CardFile, part: Path) -> tuple[int, dict[str, Any]]:
    """Bytes that need not be fetched again, and what was said of the file when they came."""
    try:
        said = json.loads(_beside(part).read_text(encoding="utf-8"))
        done = part.stat().st_size
        sure = bool(said["validator"] or file.sha256 or file.md5)
        if said["url"] == file.url and sure and said["total"] and done <= said["total"]:
            return done, said
    except (OSError, ValueError, KeyError, TypeError):
        pass  # nothing usable is there: begin at the first byte
    return 0, {}


def _transfer(file: CardFile, part: Path, tell: Tell | None) -> None:
    """Fetch what is missing; raises _BrokenError where the file is not whole at the end."""
    start, said = _resumable(file, part)
    if start and start == said["total"]:
        return
    with _connect(file, part, start, said) as (stream, begin, total, validator):
        if file.bytes is not None and total not in (None, file.bytes):
            _discard(part)
            what = "the file has another length than the card says"
            raise DataError(what, where=file.url, expected=file.bytes, found=total)
        with _disk(part.parent):
            free = shutil.disk_usage(part.parent).free
        if total is not None and total - begin > free:
            needed = f"{total - begin} bytes free"
            raise FaultError("the disk is too full", where=part, expected=needed, found=free)
        most = total or file.bytes or LARGEST_BYTES
        said = {"url": file.url, "total": total, "validator": validator}
        with _disk(part):
            whole = part.open("ab" if begin else "wb")
            _beside(part).write_text(json.dumps(said), encoding="utf-8")
        done = begin
        with _disk(part), whole:
            while chunk := _read(stream, CHUNK):
                done += len(chunk)
                if done > most:
                    _discard(part)
                    raise DataError("the file is too long", where=file.url, expected=most)
                whole.write(chunk)
                if tell is not None:
                    tell(file.name, done, total or 0)
    if total is not None and done < total:
        raise _BrokenError(f"{done} of {total} bytes")


def _read(stream: IO[bytes] | http.client.HTTPResponse, size: int) -> bytes:
    try:
        return stream.read(size)
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(f"{type(error).__name__}: {error}") from error


class _Redirect(HTTPRedirectHandler):
    """Follows http and https only, and never from https to http."""

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        scheme = urlsplit(newurl).scheme
        if scheme != "https" and (scheme != "http" or req.type == "https"):
            raise FaultError("the address leads elsewhere", where=req.full_url, found=newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_Answer = tuple[Any, int, int | None, str | None]


@contextmanager
def _connect(file: CardFile, part: Path, start: int, said: dict[str, Any]) -> Iterator[_Answer]:
    """The stream, the byte it begins at, bytes in all, and what tells this version of the file."""
    if urlsplit(file.url).scheme == "file":
        source = Path(url2pathname(urlsplit(file.url).path))
        with _disk(source):
            local = source.open("rb")
        with local:
            yield local, 0, source.stat().st_size, None
        return
    headers = {"User-Agent": "attention-qc", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if said["validator"]:
            headers["If-Range"] = said["validator"]
    try:
        answer = build_opener(_Redirect).open(Request(file.url, headers=headers), timeout=TIMEOUT_S)
    except HTTPError as error:
        error.close()
        if error.code == 416:  # the part does not fit the file any more
            _discard(part)
        if error.code in (408, 416, 429) or error.code >= 500:
            raise _BrokenError(f"{error.code} {error.reason}") from error
        why = f"{error.code} {error.reason}"
        what = "the server does not give the file"
        raise FaultError(what, where=file.url, expected="200 OK", found=why) from error
    except (URLError, OSError, http.client.HTTPException) as error:
        raise _BrokenError(str(error)) from error
    with answer:
        tag = answer.headers.get("ETag", "")
        strong = tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified")
        if answer.status == 206:
            span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
            if span is None or (int(span[1]), int(span[2])) != (start, said.get("total")):
                _discard(part)
                raise _BrokenError("the server went on with another file")
            yield answer, start, int(span[2]), strong
            return
        length = answer.headers.get("Content-Length")
        yield answer, 0, int(length) if length and length.isdigit() else None, strong


def _unpacked(file: CardFile, archive: Path) -> str | None:
    """Unpack an archive beside itself, once; only folders and plain files are accepted."""
    if file.folder is None:
        return None
    final = archive.with_name(file.folder)
    if final.is_dir():
        return str(final)
    whole = archive.with_name(file.folder + ".unpacking")
    most = file.unpacked_bytes
    if most is None:
        most = 20 * archive.stat().st_size + (64 << 20)
    members = _zip_members if file.unpack == "zip" else _tar_members
    try:
        shutil.rmtree(whole, ignore_errors=True)
        whole.mkdir()
        _write_members(members(archive), whole, archive, most)
        whole.replace(final)
    except (OSError, *_UNREADABLE) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise _fault(whole, error) from error
        what = f"the {file.unpack} archive cannot be read"
        raise DataError(what, where=archive, found=str(error)) from error
    finally:
        shutil.rmtree(whole, ignore_errors=True)
    return str(final)


# NotImplementedError, a RuntimeError: a compression that zipfile does not know; or a password
_ZIP_ERRORS = (zipfile.BadZipFile, RuntimeError, zlib.error)
_UNREADABLE = (*_ZIP_ERRORS, tarfile.TarError, LZMAError, EOFError, ValueError)

# name, declared bytes (None: a folder), what opens it
_Member = tuple[str, int | None, Callable[[], Any]]


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _hostile(archive, info.filename, "a link or device")
            size = None if info.is_dir() else info.file_size
            yield info.filename, size, partial(opened.open, info)


def _tar_members(archive: Path) -> Iterator[_Member]:
    with tarfile.open(archive, "r:*") as opened:
        for info in opened:
            if not (info.isreg() or info.isdir()):
                raise _hostile(archive, info.name, "a link or device")
            size = None if info.isdir() else info.size
            yield info.name, size, partial(opened.extractfile, info)


def _write_members(members: Iterator[_Member], whole: Path, archive: Path, most: int) -> None:
    total = 0
    for number, (name, size, opener) in enumerate(members, 1):
        if number > MOST_MEMBERS:
            raise _hostile(archive, name, f"more than {MOST_MEMBERS} files")
        parts = name.rstrip("/").split("/")
        if name.startswith("/") or "\\" in name or ":" in parts[0] or ".." in parts:
            raise _hostile(archive, name, "a path that leaves the folder")
        path = whole.joinpath(*parts)
        try:
            (path if size is None else path.parent).mkdir(parents=True, exist_ok=True)
            if size is None:
                continue
            if total + size > most:
                raise _hostile(archive, name, f"more than {most} bytes unpacked")
            with opener() as source, path.open("xb") as written:
                while chunk := source.read(CHUNK):
                    total += len(chunk)
                    if total > most:
                        raise _hostile(archive, name, f"more than {most} bytes unpacked")
                    written.write(chunk)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise _hostile(archive, name, "two entries of one name") from error


def _hostile(archive: Path, name: str, found: str) -> DataError:
    what = f"the archive is not unpacked because of its entry '{name}'"
    expected = "folders and plain files inside one folder, of bounded size"
    return DataError(what, where=archive, expected=expected, found=found)
