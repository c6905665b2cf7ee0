"""Makes damaged bytes of whole ones, and holds a reader to its promise on them.

The promise: any bytes give a valid result or one error of this project that names the file, in
bounded time. Without `QC_EXAMPLES` the examples follow from the code alone, so that a run can be
repeated; with it that many new ones are tried.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from qc.errors import QCError

T = TypeVar("T")
HANGS_S = 30
"""Every reading here takes milliseconds; a busy machine may stretch that a thousandfold."""

_MORE = os.environ.get("QC_EXAMPLES")


def bounded(examples: int) -> settings:
    """So many examples, or those that `QC_EXAMPLES` asks for."""
    return settings(
        max_examples=int(_MORE or examples),
        derandomize=_MORE is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@contextmanager
def no_hang(seconds: float = HANGS_S) -> Iterator[None]:
    """Raise TimeoutError inside what does not end; only in the main thread."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"no answer within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def answer(read: Callable[[], T], names: str) -> T | QCError:
    """What a reader gives, or its error, which must say something and name the file."""
    with no_hang():
        try:
            return read()
        except QCError as error:
            assert error.message and error.kind != "fault", error
            assert names in str(error), f"{names} is not named: {error}"
            return error


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder: a reader leaves it as it was."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """Bytes that were cut off, altered in places, repeated in part, or added to."""
    mended = bytearray(data)
    for _ in range(draw(st.integers(1, 3))):
        size = len(mended)
        at = draw(st.integers(0, max(size - 1, 0)))
        way = draw(st.sampled_from(["alter", "alter", "cut", "lose", "repeat", "add"]))
        if way == "alter" and size:
            mended[at] = draw(st.integers(0, 255))
        elif way == "cut":
            del mended[at:]
        elif way == "lose":
            del mended[at : at + draw(st.integers(1, 40))]
        elif way == "repeat":
            mended[at:at] = mended[at : at + draw(st.integers(1, 40))] * draw(st.integers(1, 50))
        elif way == "add":
            mended[at:at] = draw(st.binary(max_size=20))
    return bytes(mended)


_WORD = re.compile(r"[^\s=,;:<>\"'\[\]{}]+")
_ODD = [
    *("", " ", "nan", "inf", "-1", "0", "1.5", "1e308", "-1e999", "9" * 22, "9" * 5000, "true"),
    *(
        "[]",
        "{}",
        "[[]]",
        '""',
        '"x"',
        "'",
        '"',
        "[" * 3000,
        "{a=" * 500,
        "a." * 300,
        "0x" + "f" * 5000,
    ),
    *(
        "1979-05-27",
        "..",
        "../../x.png",
        "/dev/zero",
        "a.png",
        "x" * 3000,
        "\0",
        "\u0663",
        "\ufeff",
    ),
    *(
        "&amp;",
        "&#0;",
        "&x;",
        "<a>",
        "</a>",
        "!!bool q",
        "!!int ''",
        "*a",
        "&a",
        "- ",
        "? ",
        "\\ud800",
    ),
]
"""In place of a word: numbers that are none, what nests, what leads out, other tongues' marks."""


@st.composite
def damaged_text(draw: st.DrawFn, text: str) -> bytes:
    """A text of which words, or whole lines, were lost, doubled, or replaced by odd ones."""
    for _ in range(draw(st.integers(1, 3))):
        words = list(_WORD.finditer(text))
        if draw(st.booleans()) and words:
            word = words[draw(st.integers(0, len(words) - 1))]
            odd = draw(st.sampled_from(_ODD) | st.text(max_size=8))
            text = text[: word.start()] + odd + text[word.end() :]
            continue
        lines = text.splitlines(keepends=True) or [""]
        at = draw(st.integers(0, len(lines) - 1))
        lines[at : at + 1] = draw(
            st.sampled_from([[], [lines[at]] * 2, [draw(st.sampled_from(_ODD)) + "\n", lines[at]]])
        )
        text = "".join(lines)
    return text.encode("utf-8", "surrogatepass")


def any_bytes(*whole: bytes) -> st.SearchStrategy[bytes]:
    """Noise, or one of these files after damage to its bytes or, where it is a text, its words."""
    kinds = [st.binary(max_size=300)]
    for data in whole:
        kinds.append(damaged(data))
        try:
            kinds.append(damaged_text(data.decode()))
        except UnicodeDecodeError:
            continue
    return st.one_of(*kinds)
