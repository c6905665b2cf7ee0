"""Layout NPZ: pictures and labels as arrays in one `.npz` file, as MedMNIST and Keras pack them.

Members go in pairs: `train_images` with `train_labels`, the same with `val` and `test` (also
`x_train` with `y_train`), or `images` with `labels` (`x` with `y`) where nothing says a split. A
split in the names is kept. Images are `(N, H, W)`, `(N, H, W, 1)` or `(N, H, W, 3)`, uint8; uint16
is scaled by the range that the option `range` declares, never by the values. Labels are class
numbers `(N,)` or `(N, 1)`, or `(N, K)` of 0 and 1; a row without a 1 is "good".

Nothing is unpickled, and an array's header is judged before its data is loaded. An array is
decompressed once, as a whole, and kept for the pictures that follow; the last four stay in memory.

Source: Yang et al., "MedMNIST v2", Scientific Data 10, 2023; the format is NumPy's (NEP 1).
"""

from __future__ import annotations

import lzma
import math
import struct
import threading
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from qc.errors import DataError
from qc.types import Image, Sample
from training.datasets._annotated import GOOD, Scan

MAX_ARRAY_BYTES = 4 * 1024**3
"""An array whose header claims more is refused before loading."""

_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_NAMES: list[tuple[str, str, str | None]]
_NAMES = [(f"{s}_images", f"{s}_labels", s) for s in _SPLITS]
_NAMES += [(f"x_{s}", f"y_{s}", s) for s in _SPLITS]
_NAMES += [("images", "labels", None), ("x", "y", None)]

_DAMAGE = (  # what numpy and zipfile raise on damaged bytes
    *(OSError, EOFError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError),
    *(AttributeError, SyntaxError, MemoryError, struct.error, tokenize.TokenError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
_ARRAYS_KEPT = 4
_loading = threading.Lock()


class Options(BaseModel):
    """What this layout can be told.

    Args:
        classes: class names by number, one after another with commas; without: the numbers.
        range: `LOW,HIGH` of 16-bit images: LOW becomes black and HIGH white.
    """

    model_config = ConfigDict(extra="forbid")

    classes: list[str] = Field(default_factory=list)
    range: tuple[float, float] | None = None

    @field_validator("classes", "range", mode="before")
    @classmethod
    def _parts(cls, value: object) -> object:
        return [p.strip() for p in value.split(",")] if isinstance(value, str) else value

    @field_validator("classes")
    @classmethod
    def _named(cls, value: list[str]) -> list[str]:
        if not all(value) or len(set(value)) < len(value):
            raise ValueError("every class needs a name of its own")
        return value

    @field_validator("range")
    @classmethod
    def _rising(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 <= value[0] < value[1] <= 65535:
            raise ValueError("range must be LOW,HIGH with 0 <= LOW < HIGH <= 65535")
        return value


@dataclass(frozen=True, slots=True)
class ArrayPicture:
    """One picture of an array in an `.npz` file.

    Args:
        path: the file.
        member: the array's name without `.npy`.
        index: its row.
        range: values of a 16-bit array that become 0 and 255; None: the array is uint8.
    """

    path: Path
    member: str
    index: int
    range: tuple[float, float] | None = None

    def read(self) -> Image:
        """The picture, RGB `(H, W, 3)` uint8; raises DataError where it cannot be read."""
        array = _images(self.path, self.member, self.range)
        if self.index >= len(array):
            raise DataError(
                "array has lost rows since it was listed",
                where=_place(self.path, self.member),
                expected=f"more than {self.index}",
                found=len(array),
            )
        pixels: NDArray[Any] = array[self.index]
        if self.range is not None:
            low, high = self.range
            scaled = (pixels.astype(np.float64) - low) * (255 / (high - low))
            pixels = np.rint(np.clip(scaled, 0, 255))
        pixels = pixels.reshape(*pixels.shape[:2], -1).astype(np.uint8)
        grey = pixels.shape[2] == 1
        return np.ascontiguousarray(np.repeat(pixels, 3, axis=2) if grey else pixels)


def detect(path: Path) -> bool:
    """Whether `path` is an `.npz` file, or a folder with exactly one that holds such arrays."""
    if not path.is_dir():
        return path.is_file() and path.suffix.lower() == ".npz"
    try:
        files = _npz_files(path)
    except DataError:
        return False
    try:
        return len(files) == 1 and bool(_pairs(_members(files[0])))
    except DataError:
        return True  # damaged: reading it says so


def samples(path: Path, options: Options | None = None) -> Iterator[Sample]:
    """One sample a row, named `train/000012`, in the order train, val, test.

    Args:
        path: the `.npz` file, or a folder with exactly one.
        options: class names, and the range of 16-bit images.

    Raises:
        DataError: none or several files, a damaged one, images without labels, arrays of another
            type, shape or length, labels out of range, or a wrong `groups.csv`.
    """
    yield from scan(path, options).grouped_samples()


def scan(path: Path, options: Options | None = None) -> Scan:
    """The samples, and every pair of arrays that is wrong.

    Args:
        path: the `.npz` file, or a folder with exactly one.
        options: class names, and the range of 16-bit images.

    Raises:
        DataError: none or several files, a damaged one, or one without such arrays.
    """
    told = options or Options()
    file = _located(path)
    members = _members(file)
    pairs = _pairs(members)
    if not pairs:
        raise DataError(
            "file holds no images that are read",
            where=file,
            expected="arrays train_images and train_labels, x_train and y_train, or images, labels",
            found=", ".join(sorted(members))[:200] or "nothing",
        )
    scan = Scan(file.parent)
    taken: dict[str | None, str] = {}
    for images, labels, named in pairs:
        split = _SPLITS[named] if named else None
        try:
            if split in taken:
                found = f"{taken[split]} and {images}"
                raise DataError("two arrays of images for one split", where=file, found=found)
            taken[split] = images
            classes = _classes(file, images, labels, members, told)
        except DataError as error:
            scan.refuse(images, error)
            continue
        for index, names in enumerate(classes):
            name = f"{index:06d}" if named is None else f"{named}/{index:06d}"
            source = ArrayPicture(file, members[images], index, told.range)
            scan.samples.append(Sample(name, file, names, split=split, source=source))
    if len(taken) > 1 and None in taken:
        mixed = DataError("some images have a split in their name, others not", where=file)
        scan.refuse(file.name, mixed)
    return scan


def _npz_files(folder: Path) -> list[Path]:
    try:
        found = sorted(f for f in folder.iterdir() if f.suffix.lower() == ".npz" and f.is_file())
    except OSError as error:
        raise DataError(f"folder cannot be read ({error.strerror})", where=folder) from error
    return [f for f in found if not f.name.startswith(".")]


def _located(path: Path) -> Path:
    if not path.is_dir():
        if not path.is_file():
            raise DataError("dataset does not exist", where=path)
        return path
    found = _npz_files(path)
    if len(found) != 1:
        raise DataError(
            "folder must hold one .npz file; or name the file itself",
            where=path,
            found=", ".join(f.name for f in found) or "none",
        )
    return found[0]


def _place(file: Path, member: str) -> str:
    return f"{file} member {member}"


def _members(file: Path) -> dict[str, str]:
    """Names of the arrays as they are written, by their names in small letters."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = [n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy")]
    except _DAMAGE as error:
        raise DataError(
            f"file is not readable as .npz ({error})", where=file, expected="a whole zip file"
        ) from error
    return {name.lower(): name for name in names}


def _pairs(members: dict[str, str]) -> list[tuple[str, str, str | None]]:
    """Names of the arrays of images that are there, of their labels, and of the split."""
    return [pair for pair in _NAMES if pair[0] in members]


def _classes(
    file: Path, images: str, labels: str, members: dict[str, str], told: Options
) -> list[tuple[str, ...]]:
    """The class names of each row, once both arrays are found to fit."""
    if labels not in members:
        found = ", ".join(sorted(members))[:200]
        expected = f"an array {labels}"
        raise DataError(f"{images} has no labels", where=file, expected=expected, found=found)
    count = len(_images(file, members[images], told.range))
    where = _place(file, members[labels])
    dtype = _checked(file, members[labels])[1]
    if dtype.kind not in "biu":
        expected = "class numbers: an integer type"
        raise DataError("labels have another type", where=where, expected=expected, found=dtype)
    numbers = _load(file, members[labels])
    if numbers.ndim == 2 and numbers.shape[1] == 1:
        numbers = numbers[:, 0]
    if numbers.ndim not in (1, 2) or len(numbers) != count:
        raise DataError(
            "labels do not fit their images",
            where=where,
            expected=f"({count},), ({count}, 1) or ({count}, K)",
            found=numbers.shape,
        )
    return _of_columns(numbers, told, where) if numbers.ndim == 2 else _named(numbers, told, where)


def _named(numbers: NDArray[Any], told: Options, where: str) -> list[tuple[str, ...]]:
    count = len(told.classes) or None
    wrong = np.flatnonzero((numbers < 0) | (numbers >= (count or math.inf)))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"label out of range in {len(wrong)} row(s)",
            where=where,
            expected=f"0 to {count - 1} ({', '.join(told.classes)})" if count else "0 or more",
            found=f"{int(numbers[row])} in row {row}",
        )
    return [(told.classes[int(n)] if count else str(int(n)),) for n in numbers]


def _of_columns(numbers: NDArray[Any], told: Options, where: str) -> list[tuple[str, ...]]:
    width = numbers.shape[1]
    names = told.classes or [str(k) for k in range(width)]
    if len(names) != width:
        expected = f"{width} classes, one a column"
        raise DataError("classes do not fit", where=where, expected=expected, found=len(names))
    wrong = np.argwhere((numbers != 0) & (numbers != 1))
    if len(wrong):
        row, column = (int(i) for i in wrong[0])
        found = f"{int(numbers[row, column])} in row {row}"
        raise DataError("labels of several columns", where=where, expected="0 or 1", found=found)
    return [
        tuple(name for name, holds in zip(names, row, strict=True) if holds) or (GOOD,)
        for row in numbers
    ]


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type as the `.npy` header claims them."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise ValueError(f"version {version} of the .npy format")
    return shape, dtype


def _checked(file: Path, member: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array that can be loaded: of plain numbers, not too large, and whole."""
    where = _place(file, member)
    try:
        with zipfile.ZipFile(file) as archive, archive.open(f"{member}.npy") as stream:
            shape, dtype = _header(stream)
            held = archive.getinfo(f"{member}.npy").file_size - stream.tell()
    except _DAMAGE as error:
        raise DataError(f"array is damaged ({error})", where=where) from error
    if dtype.hasobject or dtype.names is not None:
        expected = "an array of plain numbers (nothing is unpickled)"
        raise DataError("array is refused", where=where, expected=expected, found=dtype)
    claimed = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or claimed > MAX_ARRAY_BYTES:
        expected = f"<= {MAX_ARRAY_BYTES} bytes"
        raise DataError("array is refused", where=where, expected=expected, found=f"shape {shape}")
    if held < claimed:
        found, expected = f"{held} bytes", f"at least {claimed} for shape {shape}"
        raise DataError("array is cut off", where=where, expected=expected, found=found)
    return shape, dtype


def _load(file: Path, member: str) -> NDArray[Any]:
    """A whole array, judged by its header first."""
    _checked(file, member)
    try:
        with zipfile.ZipFile(file) as archive, archive.open(f"{member}.npy") as stream:
            array = np.lib.format.read_array(stream, allow_pickle=False)
            while stream.read(1 << 16):  # to the end: only there is the checksum compared
                pass
    except _DAMAGE as error:
        raise DataError(f"array is damaged ({error})", where=_place(file, member)) from error
    return np.asarray(array)


def _images(file: Path, member: str, range: tuple[float, float] | None) -> NDArray[Any]:
    """A whole array of images, kept for the next call while the file stays the same."""
    try:
        found = file.stat()
    except OSError as error:
        raise DataError(f"file cannot be read ({error.strerror})", where=file) from error
    with _loading:  # two threads must not load one array twice
        return _kept(file, member, range is not None, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=_ARRAYS_KEPT)
def _kept(file: Path, member: str, deep: bool, mtime_ns: int, size: int) -> NDArray[Any]:
    """The array; time and size of the file are part of the key, so a changed file is loaded."""
    where = _place(file, member)
    shape, dtype = _checked(file, member)
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3)):
        expected = "(N, H, W), (N, H, W, 1) or (N, H, W, 3)"
        raise DataError("array does not hold images", where=where, expected=expected, found=shape)
    if 0 in shape[1:]:
        raise DataError("images have no pixel", where=where, found=shape)
    if dtype != (np.uint16 if deep else np.uint8):
        expected = "uint16, as a range is given" if deep else "uint8, or uint16 with a range given"
        expected += " (--option range=LOW,HIGH)"
        raise DataError("images have another type", where=where, expected=expected, found=dtype)
    array = _load(file, member)
    array.setflags(write=False)
    return array
