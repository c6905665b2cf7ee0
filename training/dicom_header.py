"""What a DICOM header says of its picture, checked before any pixel is decoded.

No sentence of an error quotes the header, but for sizes, bits, the photometric interpretation and
the transfer syntax, and these only where they are among those that the standard knows.

Limits, said plainly: a picture of floating point, a segmented or a supplemental palette, and a
video are refused. The pixel padding value is shown as any other. Overlays are not drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from qc.errors import DataError
from training.dicom_grey import LINEAR, Greyscale, Interest, Table

MAX_FRAMES = 100_000
"""A header that claims more frames is refused."""

KEYWORDS = (
    "SpecificCharacterSet",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "VOILUTSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "PixelPresentation",
    *(
        f"{colour}PaletteColorLookupTable{part}"
        for colour in ("Red", "Green", "Blue")
        for part in ("Descriptor", "Data")
    ),
)
"""All that is read of a header, but for what is asked for by name."""

_JPEG, _OPENJPEG = ("gdcm", "gdcm", "python-gdcm"), ("pylibjpeg", "openjpeg", "pylibjpeg-openjpeg")

DECODERS: dict[str, tuple[str, str, str] | None] = {
    "1.2.840.10008.1.2": None,
    "1.2.840.10008.1.2.1": None,
    "1.2.840.10008.1.2.1.99": None,
    "1.2.840.10008.1.2.2": None,
    "1.2.840.10008.1.2.5": None,
    **{f"1.2.840.10008.1.2.4.{n}": _JPEG for n in (50, 51, 57, 70, 80, 81)},
    **{f"1.2.840.10008.1.2.4.{n}": _OPENJPEG for n in (90, 91, 201, 202, 203)},
}
"""Transfer syntaxes that are read, each with pydicom's name of its decoder, the module, and the
package that brings it; None: pydicom itself."""

DEFLATED = "1.2.840.10008.1.2.1.99"
_RLE, _JPEG_EXTENDED = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.51"
_DIRECTORY = "1.2.840.10008.1.3.10"
_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a header says of its picture, checked.

    Args:
        rows, columns, frames, samples: of the picture.
        photometric: one of those that are read.
        bits: of a stored value.
        signed: whether stored values may be negative.
        syntax: UID of the transfer syntax, one of those that are read.
        least_bytes: of all frames where they are not compressed.
    """

    rows: int
    columns: int
    frames: int
    samples: int
    photometric: str
    bits: int
    signed: bool
    syntax: str
    least_bytes: int

    @property
    def is_plain(self) -> bool:
        """Whether the pixels stand uncompressed in the pixel data."""
        return DECODERS[self.syntax] is None and self.syntax != _RLE


def facts_of(dataset: Any, max_pixels: int, size: int) -> Facts:
    """The header's picture, checked against what is read and what a file of `size` can hold.

    Raises:
        DataError: a value is missing, not legal, too large, or of a kind that is not read.
    """
    syntax = str(getattr(dataset, "file_meta", {}).get("TransferSyntaxUID", ""))
    if syntax not in DECODERS:
        raise DataError(
            "DICOM transfer syntax is not read",
            expected="uncompressed, RLE, JPEG, lossless JPEG, JPEG-LS or JPEG 2000",
            found=_name_of(syntax),
        )
    rows, columns = _whole(dataset, "Rows"), _whole(dataset, "Columns")
    frames = _whole(dataset, "NumberOfFrames", 1)
    if min(rows, columns, frames) < 1 or rows * columns > max_pixels or frames > MAX_FRAMES:
        raise DataError(
            "DICOM header claims a size that is refused",
            expected=f"1 to {max_pixels} pixels in 1 to {MAX_FRAMES} frames",
            found=f"{columns} x {rows} in {frames}",
        )
    samples, allocated = _whole(dataset, "SamplesPerPixel", 1), _whole(dataset, "BitsAllocated")
    bits = _whole(dataset, "BitsStored", allocated)
    high, signed = _whole(dataset, "HighBit", bits - 1), _whole(dataset, "PixelRepresentation", 0)
    photometric = str(dataset.get("PhotometricInterpretation", "")).strip()
    wanted = {**dict.fromkeys((*_GREY, "PALETTE COLOR"), 1), **dict.fromkeys(_COLOUR, 3)}
    if wanted.get(photometric) != samples or (samples == 3 and signed):
        raise DataError(
            "DICOM picture is of a kind that is not read",
            expected=f"one of {', '.join(wanted)} and its samples",
            found=f"{photometric if photometric in wanted else 'another'}, {samples} sample(s)",
        )
    if syntax == _JPEG_EXTENDED and bits > 8:
        raise DataError("extended JPEG of more than 8 bits is not read", found=f"{bits} bits")
    legal = allocated in (1, 8, 16, 32) and 1 <= bits <= allocated and high == bits - 1
    if not legal or signed not in (0, 1):
        raise DataError(
            "DICOM bits are not read",
            expected="1, 8, 16 or 32 bits allocated, the stored ones at their low end",
            found=f"{allocated} allocated, {bits} stored, high bit {high}",
        )
    sampled = 2 if photometric == "YBR_FULL_422" else samples
    facts = Facts(
        rows=rows,
        columns=columns,
        frames=frames,
        samples=samples,
        photometric=photometric,
        bits=bits,
        signed=bool(signed),
        syntax=syntax,
        least_bytes=-(-rows * columns * sampled * allocated * frames // 8),
    )
    if syntax != DEFLATED:
        refuse_short(facts, size, "a file")
    return facts


def refuse_short(facts: Facts, size: int, what: str) -> None:
    """Refuse what is too short for its frames; a compressed one has 10 bytes at the very least.

    Raises:
        DataError: truncated.
    """
    least = facts.least_bytes if facts.is_plain else 10 * facts.frames
    if size < least:
        raise DataError(
            "DICOM file is truncated, or claims more than it holds",
            expected=f"at least {least} bytes for {facts.columns} x {facts.rows} in "
            f"{facts.frames} frame(s)",
            found=f"{what} of {size}",
        )


def kind_of(dataset: Any) -> str:
    """What an object is ("directory", "picture" or "other"), before its picture is judged.

    What calls itself an image is held to be a picture: without rows it is damaged, and not another
    kind of object.
    """
    kind = str(getattr(dataset, "file_meta", {}).get("MediaStorageSOPClassUID", ""))
    if kind == _DIRECTORY:
        return "directory"
    is_image = "Rows" in dataset or "Columns" in dataset or "Image Storage" in _name_of(kind)
    return "picture" if is_image else "other"


def greyscale_of(dataset: Any, facts: Facts, frame: int) -> Greyscale:
    """Rescale and window of a frame; functional groups of its own come before shared ones."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    places = [*per_frame[frame - 1 : frame], *shared[:1]]

    def place(group: str, keyword: str) -> Any:
        for item in places:
            inner = item.get(group) or []
            if inner and keyword in inner[0]:
                return inner[0]
        return dataset

    scale = place("PixelValueTransformationSequence", "RescaleSlope")
    shown = place("FrameVOILUTSequence", "WindowCenter")
    modality = dataset.get("ModalityLUTSequence") or []
    tables = dataset.get("VOILUTSequence") or []
    centre, width = (_number(shown, k) for k in ("WindowCenter", "WindowWidth"))
    if (centre is None) != (width is None):
        raise DataError("DICOM window has a centre or a width, and not both")
    interest = None
    if centre is not None and width is not None:
        interest = Interest(centre, width, str(shown.get("VOILUTFunction") or LINEAR).strip())
    slope, intercept = (_number(scale, k) for k in ("RescaleSlope", "RescaleIntercept"))
    return Greyscale(
        bits=facts.bits,
        signed=facts.signed,
        inverted=facts.photometric == "MONOCHROME1",
        slope=1.0 if slope is None else slope,
        intercept=0.0 if intercept is None else intercept,
        modality=table_of(modality[0], "LUTDescriptor", "LUTData") if modality else None,
        interest=interest,
        interest_table=table_of(tables[0], "LUTDescriptor", "LUTData") if tables else None,
    )


def table_of(dataset: Any, descriptor: str, data: str) -> Table:
    """A look-up table: numbers, or bytes of one or two for each entry."""
    try:
        length, first, bits = (int(v) for v in dataset[descriptor].value)
        raw = dataset[data].value
        length = length or 65536
        if isinstance(raw, bytes):
            wide = len(raw) >= 2 * length
            order = "<" if dataset.is_little_endian is not False else ">"
            entries = np.frombuffer(raw, f"{order}u2" if wide else "u1")
        else:
            entries = np.asarray(raw)
    except (KeyError, TypeError, ValueError):
        raise DataError("look-up table of the DICOM header is not valid") from None
    if len(entries) < length:
        raise DataError(
            "look-up table of the DICOM header is too short", expected=length, found=len(entries)
        )
    return Table(first, bits, entries[:length].astype(np.uint16))


def _whole(dataset: Any, keyword: str, absent: int | None = None) -> int:
    value = dataset.get(keyword)
    if value is None or value == "":
        if absent is None:
            raise DataError(f"DICOM header lacks {keyword}")
        return absent
    try:
        return int(value)
    except (TypeError, ValueError):
        raise DataError(f"DICOM header has no whole number in {keyword}") from None


def _number(dataset: Any, keyword: str) -> float | None:
    """A number, the first of several; None where there is none."""
    from pydicom.multival import MultiValue

    value = dataset.get(keyword)
    if isinstance(value, MultiValue):
        value = value[0] if value else None
    if value is None or value == "":
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise DataError(f"DICOM header has no number in {keyword}") from None


def text_of(value: Any) -> str:
    return "" if value is None else str(value).strip().strip("\0")


def _name_of(uid: str) -> str:
    """What the standard calls a UID; one that it does not know is not quoted."""
    from pydicom.uid import UID

    name = UID(uid, validation_mode=0).name
    return name if uid and name != uid else "one that is missing or unknown"
