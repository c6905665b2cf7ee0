"""Blocks of commands in the documents: where they stand, and whether a test may run them.

A block is fenced and says its language: `sh` and `bash` hold commands alone; in `console` a command
begins with `$ `, and what follows is its output. A block that a test cannot run has a comment on
the line before that says why: `<!-- not run: needs root -->`.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

LANGUAGES = ("sh", "bash", "console")

_FENCE = re.compile(r"^ *(`{3,}|~{3,}) *([\w+-]*)")
_NOT_RUN = re.compile(r"^ *<!-- not run: *(.*?) *-->$")
_COMMAND = re.compile(
    r"^(\$ )?(sudo |\w+=\S+ )*(\S*/)?"
    r"(qc|make|pip|pip3|python|python3|curl|podman|docker|git|systemctl|journalctl|cat|cp|cd|ls)\b"
)
_SPAN = re.compile(r"`([^`]+)`")
_FILE = re.compile(
    r"[\w*-]+\.(?:toml|csv|db|sqlite|tflite|png|jpg|html|json|md|pub|key|parquet|txt|h5|keras)\b"
)
_KEY = re.compile(r'"(\w+)" *:')


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Args:
        document: the file, relative to the project.
        line: number of the line with the fence.
        language: after the fence, or "".
        why_not: why it is not run; None: it is run.
        lines: of its text.
    """

    document: str
    line: int
    language: str
    why_not: str | None
    lines: tuple[str, ...]

    @property
    def where(self) -> str:
        """File and line, as an editor opens them."""
        return f"{self.document}:{self.line}"


@dataclass(frozen=True)
class Typed:
    """One command of a block.

    Args:
        where: file and line.
        text: as it is typed, on one or several lines.
        output: what the document shows of its output.
    """

    where: str
    text: str
    output: tuple[str, ...] = ()


def blocks(text: str, document: str) -> list[Block]:
    """Every fenced block of a document."""
    lines = text.splitlines()
    found = []
    number = 0
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        if fence is None:
            number += 1
            continue
        end = number + 1
        while end < len(lines) and lines[end].strip() != fence[1]:
            end += 1
        before = next((line for line in reversed(lines[:number]) if line.strip()), "")
        why = _NOT_RUN.match(before)
        inner = tuple(lines[number + 1 : end])
        found.append(Block(document, number + 1, fence[2], why[1] if why else None, inner))
        number = end + 1
    return found


def complaint(block: Block) -> str | None:
    """What is wrong with how a block says what it is; None where nothing is."""
    if block.language not in LANGUAGES:
        typed = next((line for line in block.lines if _COMMAND.match(line.strip())), None)
        if block.language == "" and typed is not None:
            return f"{block.where}: a block with a command says no language: {typed.strip()!r}"
        if block.why_not is not None:
            return f"{block.where}: 'not run' before a block that is none of {LANGUAGES}"
        return None
    if block.why_not == "":
        return f"{block.where}: 'not run' without a reason"
    if not typed_in(block):
        return f"{block.where}: a block of {block.language} without a command"
    return None


def typed_in(block: Block) -> list[Typed]:
    """The commands of a block, those over several lines whole."""
    found: list[Typed] = []
    pending: list[str] = []
    start, output = 0, []
    console = block.language == "console"
    for number, line in enumerate(block.lines, block.line + 1):
        if pending:
            pending.append(line.removeprefix("> ") if console else line)
        elif console and not line.startswith("$ "):
            output.append(line)
            continue
        elif not console and (not line.strip() or line.lstrip().startswith("#")):
            continue
        else:
            if output and found:
                found[-1] = Typed(found[-1].where, found[-1].text, tuple(output))
            start, output, pending = number, [], [line.removeprefix("$ ") if console else line]
        if is_whole("\n".join(pending)):
            found.append(Typed(f"{block.document}:{start}", "\n".join(pending)))
            pending = []
    if pending:
        found.append(Typed(f"{block.document}:{start}", "\n".join(pending)))
    elif output and found:
        found[-1] = Typed(found[-1].where, found[-1].text, tuple(output))
    return found


def is_whole(text: str) -> bool:
    """Whether a shell would not wait for another line."""
    if text.endswith("\\"):
        return False
    seen = subprocess.run(["bash", "-n", "-c", text], capture_output=True, text=True, check=False)
    return "unexpected end of file" not in seen.stderr and "here-document" not in seen.stderr


def spans(text: str, document: str) -> list[Typed]:
    """The code within sentences that begins with `qc` or `make`."""
    lines = text.splitlines()
    for block in blocks(text, document):
        for number in range(block.line - 1, min(block.line + len(block.lines) + 1, len(lines))):
            lines[number] = ""
    plain = "\n".join(lines)
    found = []
    for span in _SPAN.finditer(plain):
        words = span[1].split()
        if len(words) > 1 and words[0].rsplit("/", 1)[-1] in ("qc", "make"):
            number = plain.count("\n", 0, span.start()) + 1
            found.append(Typed(f"{document}:{number}", " ".join(words)))
    return found


def named_in(output: tuple[str, ...]) -> list[str]:
    """The files and JSON keys that a shown output names, without their folders."""
    text = "\n".join(output)
    return sorted({*_FILE.findall(text), *_KEY.findall(text)})


def documents(root: Path) -> list[str]:
    """README and every page of docs but the decisions, relative to the project."""
    pages = [p for p in sorted((root / "docs").rglob("*.md")) if "decisions" not in p.parts]
    return [p.relative_to(root).as_posix() for p in (root / "README.md", *pages)]
