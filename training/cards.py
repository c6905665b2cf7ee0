"""Cards of public datasets: one TOML file each, facts and addresses, never an image.

A card says where a set comes from, under which licence, which classes it holds, what must stay
together in one split and what is known to be wrong with it. A fact that is not known is left out.
Beside a fetched set stands `fetched.toml`, the record of what was downloaded by the card.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from qc.errors import DataError, RecipeError, nearest
from qc.tables import read_toml

SCHEMES = ("http", "https", "file")
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

SHA256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
MD5 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CardFile(_Table):
    """`[[files]]`: one file to download.

    Args:
        url: http, https or file.
        save_as: the file's name on disk; the last part of the address where not given.
        sha256: as the source or a verified copy has it; None: the first download's is recorded.
        md5: where the source publishes no better checksum.
        bytes: length of the file.
        unpack: what the file is unpacked as, into a folder of its name without the ending.
        unpacked_bytes: most that its content may take; 20 times the file and 64 MiB where None.
    """

    url: str
    save_as: str | None = None
    sha256: SHA256 | None = None
    md5: MD5 | None = None
    bytes: int | None = Field(default=None, ge=0)
    unpack: Literal["none", "zip", "tar"] = "none"
    unpacked_bytes: int | None = Field(default=None, ge=0)

    @property
    def name(self) -> str:
        """The file's name on disk."""
        return self.save_as or unquote(urlsplit(self.url).path).rsplit("/", 1)[-1]

    @property
    def folder(self) -> str | None:
        """The name of the folder it is unpacked into; None where it is not an archive."""
        if self.unpack == "none":
            return None
        return next(self.name[: -len(e)] for e in _longest_first() if self.name.endswith(e))

    @model_validator(mode="after")
    def _plain(self) -> CardFile:
        if urlsplit(self.url).scheme not in SCHEMES or re.search(r"[^!-~]", self.url):
            raise ValueError(f"url must be ASCII and begin with one of {', '.join(SCHEMES)}")
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", self.name):
            raise ValueError(f"'{self.name}' is not a plain file name; set save_as")
        if self.name == "fetched.toml" or self.name.endswith((".part", ".part.json")):
            raise ValueError(f"the file name '{self.name}' is taken; set save_as")
        ends = [e for e in ARCHIVES if self.name.endswith(e) and self.name != e]
        if self.unpack != "none" and not ends:
            raise ValueError(f"an archive's name must end with one of {', '.join(ARCHIVES)}")
        return self


def _longest_first() -> list[str]:
    return sorted(ARCHIVES, key=len, reverse=True)


class Grouping(_Table):
    """`[grouping]`: what belongs to one thing and must stand in one split.

    Args:
        unit: the thing, and how an image tells which one it shows.
        groups: how many there are, where known.
        note: what else matters.
    """

    unit: str
    groups: int | None = Field(default=None, ge=1)
    note: str | None = None


class Flaw(_Table):
    """`[[flaws]]`: something known to be wrong, or not known.

    Args:
        what: the flaw.
        effect: what it does to a model or a figure.
    """

    what: str
    effect: str


class Card(_Table):
    """One public dataset.

    Args:
        name: of the card and of the folder the set is fetched into.
        title, source: what it is, and who published it where.
        licence: as the source states it.
        homepage: where a person reads on.
        images: how many.
        sha256: over all images, by the command that the card's comment names.
        size: of the images, in words.
        layout: how the files lie, in words.
        good: the class of good parts, where there is one.
        counts: what the numbers of `classes` count; labels: an image may bear several.
        classes: class -> how many, or "unknown".
        split: CSV of this project's own split.
        source_split: the split that the source itself makes.
        grouping: what must stand in one split.
        note: what else matters.
        obtain: how a person gets a set that no program may fetch.
        files: what to download; none where the set needs a login or a form.
        flaws: what is known to be wrong with it.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    title: str
    source: str
    licence: str = Field(min_length=1)
    homepage: str | None = None
    images: int | None = Field(default=None, ge=1)
    sha256: SHA256 | None = None
    size: str | None = None
    layout: str | None = None
    good: str | None = None
    counts: Literal["images", "boxes", "labels"] = "images"
    classes: dict[str, Annotated[int, Field(ge=0)] | Literal["unknown"]] = {}
    split: str | None = None
    source_split: str | None = None
    grouping: Grouping | None = None
    note: str | None = None
    obtain: str | None = None
    files: tuple[CardFile, ...] = ()
    flaws: tuple[Flaw, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Card:
        if not self.files and not self.obtain:
            raise ValueError("a card without files says in 'obtain' how to get the set")
        if self.good is not None and self.good not in self.classes:
            raise ValueError(f"good is '{self.good}', which is not among the classes")
        taken = [n for f in self.files for n in (f.name, f.folder) if n is not None]
        if len(set(taken)) != len(taken):
            raise ValueError("two files would be saved under one name; set save_as")
        return self


class RecordedFile(_Table):
    """`[files."NAME"]` of `fetched.toml`: one downloaded file.

    Args:
        url: where it came from.
        sha256, bytes: its checksum and length.
    """

    url: str
    sha256: SHA256
    bytes: int


class Record(_Table):
    """`fetched.toml`: what later downloads are compared with where the card has no checksum."""

    files: dict[str, RecordedFile] = {}


def write_record(record: Record, path: Path) -> None:
    """Write `fetched.toml`, whole or not at all; raises OSError."""
    lines = ["# What was fetched, and the checksums that later downloads are compared with."]
    for name, file in sorted(record.files.items()):
        lines += ["", f'[files."{name}"]', f"url = {json.dumps(file.url)}"]
        lines += [f'sha256 = "{file.sha256}"', f"bytes = {file.bytes}"]
    whole = path.with_name(path.name + ".part")
    whole.write_text("\n".join(lines) + "\n", encoding="utf-8")
    whole.replace(path)


def card_folders() -> list[Path]:
    """Where cards are looked for, in this order.

    The cards are no part of the installed package: `data/cards` under the current folder comes
    first, then `data/cards` beside the package, which is there in a checkout.
    """
    return [Path("data/cards"), Path(__file__).resolve().parent.parent / "data" / "cards"]


def read_card(name: str | Path) -> Card:
    """Read a card.

    Args:
        name: the path of a card (it ends with .toml), or a card's name, looked for in
            `card_folders`.

    Raises:
        DataError: no card has that name; the nearest is suggested, never taken.
        RecipeError: the card cannot be read, or a key or value is wrong.
    """
    path = Path(name) if str(name).endswith(".toml") else _find(str(name))
    card = read_toml(path, Card)
    if card.name != path.stem:
        raise RecipeError(
            "a card is named as its file", where=path, expected=path.stem, found=card.name
        )
    return card


def _find(name: str) -> Path:
    folders = card_folders()
    known: dict[str, Path] = {}
    for folder in reversed(folders):
        known.update({path.stem: path for path in sorted(folder.glob("*.toml"))})
    if name in known:
        return known[name]
    places = " or ".join(str(folder) for folder in folders)
    if not known:
        raise DataError(
            "no cards were found; give the path of one, or go to a folder that holds data/cards",
            where=name,
            found=f"nothing in {places}",
        )
    near = nearest(name, known)
    raise DataError(
        "no card has this name" + (f", did you mean '{near}'?" if near else ""),
        where=name,
        expected=f"one of {', '.join(sorted(known))}, or the path of a card",
    )
