"""Names of written images: as near to the sample id as is safe, and never two alike.

No two images of a folder share a stem, whatever their case: a label file or a mask goes by it.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from pathlib import PurePosixPath

from qc.imageio import IMAGE_SUFFIXES
from qc.types import Sample

UNSAFE = '<>:"/\\|?*'
"""Characters that no file name may hold on one of the usual file systems."""

_REPLACED = re.compile(f"[{re.escape(UNSAFE)}#%]")
_CARRIERS = frozenset(["images", "imgs", "jpegimages"])
_SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_LONGEST = 150  # bytes; file systems allow 255, and endings come on top
_STARTS = {b"\xff\xd8": ".jpg", b"BM": ".bmp", b"II*\0": ".tif", b"MM\0*": ".tif"}


def parts_of(sample: Sample) -> tuple[list[str], str, str]:
    """Folders, stem and ending of an image, from its sample id.

    Folders that only say that images are in them, and the folder of the sample's split, are left
    out; what a file system or a layout may not take is replaced.
    """
    parts = [p for p in PurePosixPath(sample.sample_id).parts if p not in ("/", ".", "..")]
    *folders, name = parts or ["image"]
    pure = PurePosixPath(name)
    suffix = pure.suffix
    own = suffix.lower() in (*IMAGE_SUFFIXES, sample.image_path.suffix.lower())
    stem = pure.stem if suffix and own else name
    folders = [f for f in folders if f.casefold() not in _CARRIERS]
    if folders and sample.split and _SPLIT_NAMES.get(folders[0].casefold()) == sample.split:
        folders = folders[1:]
    kept = [_safe(f).lstrip("_. ") or "x" for f in folders]
    return kept, _safe(stem).lstrip(". ") or "x", _ending(sample)


def shortened(text: str) -> str:
    """The name, or the start of a long one with a digest of the whole."""
    data = text.encode()
    if len(data) <= _LONGEST:
        return text
    digest = hashlib.sha256(data).hexdigest()[:8]
    return f"{data[: _LONGEST - 9].decode(errors='ignore')}-{digest}"


class Names:
    """Hands out paths, each stem of a folder once: a second `a.jpg` becomes `a-2.jpg`."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, folders: list[str], stem: str, suffix: str, avoid: str = "") -> PurePosixPath:
        """A free path.

        Args:
            folders: from the root.
            stem, suffix: of the wished name.
            avoid: an ending that the stem may not have; "": any.
        """
        folder = PurePosixPath(*folders)
        wished, number = stem, 1
        while True:
            path = folder / (stem + suffix)
            key = (folder / stem).as_posix().casefold()
            if key not in self._taken and not (avoid and stem.casefold().endswith(avoid)):
                self._taken.add(key)
                return path
            number += 1
            stem = f"{wished}-{number}"


def in_images_folder(samples: Sequence[Sample], with_splits: bool) -> list[PurePosixPath]:
    """Paths below `images`, and below the split's folder where every sample has a split."""
    names = Names()
    paths = []
    for sample in samples:
        folders, stem, suffix = parts_of(sample)
        split = [str(sample.split)] if with_splits else []
        paths.append(names.take(["images", *split, *folders], stem, suffix))
    return paths


def _safe(text: str) -> str:
    composed = unicodedata.normalize("NFC", text)
    printable = "".join(c if c.isprintable() else "_" for c in composed)
    return shortened(_REPLACED.sub("_", printable).strip(" ."))


def _ending(sample: Sample) -> str:
    """As it is, where it is an image's; else by the first bytes."""
    if sample.source is not None:
        return ".png"
    if sample.image_path.suffix.lower() in IMAGE_SUFFIXES:
        return sample.image_path.suffix
    try:
        with sample.image_path.open("rb") as file:
            head = file.read(4)
    except OSError:
        return ".png"  # reading the image will say why
    return next((ending for start, ending in _STARTS.items() if head.startswith(start)), ".png")
