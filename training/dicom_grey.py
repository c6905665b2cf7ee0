"""From the stored numbers of a DICOM picture to eight bits: what its header says, in numpy alone.

The order is that of the standard: stored value, Modality (rescale or table), value of interest
(window or table), and last the inversion of MONOCHROME1. Nothing is ever scaled by the smallest and
largest pixel of a picture: the same value gives the same grey in every picture of one window.

Source: DICOM PS3.3, C.11.1 (Modality LUT) and C.11.2 (VOI LUT; the linear formula is C.11.2.1.2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qc.errors import DataError

LINEAR, LINEAR_EXACT, SIGMOID = "LINEAR", "LINEAR_EXACT", "SIGMOID"
"""Names of the functions of a window, as the standard has them."""

_MOST_TABLE_BITS = 16

_Stored = NDArray[np.integer]
_Values = NDArray[np.float64]
_Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Table:
    """A look-up table of the header.

    Args:
        first: the value that the first entry stands for; smaller ones get it too.
        bits: of an entry, so that its range is 0 to `2**bits - 1`.
        entries: `(N,)` uint16.
    """

    first: int
    bits: int
    entries: NDArray[np.uint16]

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 16 or not 1 <= len(self.entries) <= 65536:
            raise DataError(
                "look-up table of the header is not valid",
                expected="1 to 65536 entries of at most 16 bits",
                found=f"{len(self.entries)} of {self.bits} bits",
            )
        if int(self.entries.max()) > self.top:
            raise DataError(
                "look-up table of the header holds more than its bits say",
                expected=f"at most {self.bits} bits",
            )

    @property
    def top(self) -> int:
        """The largest value an entry may have."""
        return (1 << self.bits) - 1

    def at(self, values: NDArray[np.floating] | _Stored) -> NDArray[np.uint16]:
        """The entries of the values; beyond the ends of the table those of its ends."""
        index = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        return np.asarray(self.entries[index.astype(np.int64)])


@dataclass(frozen=True, slots=True)
class Interest:
    """A window: which values are shown between black and white.

    Args:
        centre, width: in values after Modality, such as Hounsfield units.
        function: LINEAR, LINEAR_EXACT or SIGMOID.
    """

    centre: float
    width: float
    function: str = LINEAR

    def __post_init__(self) -> None:
        if self.function not in (LINEAR, LINEAR_EXACT, SIGMOID):
            raise DataError(
                "function of the window is not known",
                expected=f"{LINEAR}, {LINEAR_EXACT} or {SIGMOID}",
            )
        linear = self.function == LINEAR
        allowed = self.width >= 1 if linear else self.width > 0
        if not (math.isfinite(self.centre) and math.isfinite(self.width) and allowed):
            least = "at least 1" if linear else "above 0"
            raise DataError("window is not valid", expected=f"two numbers, the width {least}")

    def share(self, values: _Values) -> _Values:
        """0 where black, 1 where white, and what lies between."""
        if self.function == SIGMOID:
            steep = np.clip(-4 * (values - self.centre) / self.width, -700, 700)
            return np.asarray(1 / (1 + np.exp(steep)))
        if self.function == LINEAR_EXACT:
            return np.clip((values - self.centre) / self.width + 0.5, 0, 1)
        middle = self.centre - 0.5
        if self.width == 1:
            return (values > middle).astype(np.float64)
        return np.clip((values - middle) / (self.width - 1) + 0.5, 0, 1)


@dataclass(frozen=True, slots=True)
class Greyscale:
    """What a header says of the greys of one frame.

    Args:
        bits: that a stored value has.
        signed: whether stored values may be negative.
        inverted: MONOCHROME1, the smallest value is white.
        slope, intercept: of the rescale.
        modality: in place of the rescale, or None.
        interest: the header's window, or None.
        interest_table: the header's table in place of a window, or None.
    """

    bits: int
    signed: bool
    inverted: bool
    slope: float = 1.0
    intercept: float = 0.0
    modality: Table | None = None
    interest: Interest | None = None
    interest_table: Table | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.slope) and math.isfinite(self.intercept) and self.slope):
            raise DataError("rescale is not valid", expected="finite, with a slope other than 0")

    @property
    def stored_range(self) -> tuple[int, int]:
        """The smallest and largest value that can be stored."""
        if self.signed:
            return -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1
        return 0, (1 << self.bits) - 1

    @property
    def value_range(self) -> tuple[float, float]:
        """The smallest and largest value after Modality."""
        if self.modality is not None:
            return 0.0, float(self.modality.top)
        first, second = (v * self.slope + self.intercept for v in self.stored_range)
        return min(first, second), max(first, second)


def parse_window(text: str) -> str | Interest:
    """`voi` or `full` as it is, `CENTER,WIDTH` as a linear window.

    Raises:
        DataError: another text, or a width below 1.
    """
    if text in ("voi", "full"):
        return text
    centre, comma, width = text.partition(",")
    try:
        numbers = float(centre), float(width)
    except ValueError:
        comma = ""
    if not comma:
        raise DataError(
            "window is not known", expected="voi, full or CENTER,WIDTH", found=repr(text)
        )
    return Interest(*numbers)


def to_grey(stored: _Stored, scale: Greyscale, window: str | Interest) -> _Bytes:
    """Stored values `(H, W)` as greys `(H, W)` uint8.

    Args:
        stored: integers within `scale.stored_range`.
        scale: what the header says.
        window: "voi" (the header's own), "full" (all that can be stored), or numbers.

    Raises:
        DataError: values that cannot be, or "voi" where the header has neither window nor table.
    """
    low, high = scale.stored_range
    if int(stored.min()) < low or int(stored.max()) > high:
        raise DataError(
            "pixels lie outside of what the header allows",
            expected=f"{scale.bits} bits, {'signed' if scale.signed else 'unsigned'}",
        )
    if scale.bits > _MOST_TABLE_BITS:
        return _levels(stored, scale, window)
    table = _levels(np.arange(low, high + 1), scale, window)
    return table[stored.astype(np.int64) - low]


def _levels(stored: _Stored, scale: Greyscale, window: str | Interest) -> _Bytes:
    """The grey of each stored value."""
    if scale.modality is not None:
        values = scale.modality.at(stored).astype(np.float64)
    else:
        values = stored * np.float64(scale.slope) + scale.intercept
    share = _share(values, scale, window)
    if scale.inverted:
        share = 1 - share
    return np.floor(share * 255 + 0.5).astype(np.uint8)


def _share(values: _Values, scale: Greyscale, window: str | Interest) -> _Values:
    if isinstance(window, Interest):
        return window.share(values)
    if window == "full":
        low, high = scale.value_range
        return (values - low) / (high - low)
    if scale.interest_table is not None:
        table = scale.interest_table
        return table.at(values) / np.float64(table.top)
    if scale.interest is None:
        raise DataError(
            "the file has no window of its own: choose another",
            expected="window=full, or window=CENTER,WIDTH in the values of this kind of picture",
        )
    return scale.interest.share(values)


def to_eight_bits(pixels: _Stored, bits: int) -> _Bytes:
    """Colours of that many bits as eight, by their full range.

    Raises:
        DataError: a value that these bits cannot hold.
    """
    top = (1 << bits) - 1
    if int(pixels.min()) < 0 or int(pixels.max()) > top:
        raise DataError(
            "pixels lie outside of what the header allows", expected=f"{bits} bits, unsigned"
        )
    if bits == 8:
        return pixels.astype(np.uint8)
    return np.floor(pixels / np.float64(top) * 255 + 0.5).astype(np.uint8)
