"""Tables and text of Markdown, from texts that may hold any character."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_SPACES = re.compile(r"\s+")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")


def plain(text: str) -> str:
    """Text in which < is a character and no tag; what stands in backquotes is kept."""
    pieces = text.split("`")  # every other one is code
    pieces[::2] = [_TAG.sub(r"\\<", piece) for piece in pieces[::2]]
    return "`".join(pieces)


def cell(text: str) -> str:
    """Text of one cell: on one line, and a bar is a character."""
    return _SPACES.sub(" ", plain(text)).strip().replace("|", "\\|")


def code(*texts: str) -> str:
    """Each text as code, for a cell."""
    shown = (_SPACES.sub(" ", text).replace("`", "'").replace("|", "\\|") for text in texts)
    return " ".join(f"`{text}`" for text in shown)


def grid(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table of cells; a column that is empty in every line is left out."""
    lines = list(lines)
    kept = [i for i in range(len(head)) if any(line[i] for line in lines)]
    shown = [[head[i] for i in kept], ["---"] * len(kept)]
    shown += [[line[i] for i in kept] for line in lines]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in shown)


def joined(parts: Iterable[str]) -> str:
    """A page of its paragraphs; empty ones are left out."""
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"
