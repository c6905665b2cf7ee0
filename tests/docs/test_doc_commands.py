"""Every command in the documents is run as a reader runs it, or is held against the real parser.

A document is typed from top to bottom in a folder of its own (`doc_home` says what is in it); it
ends at the first command that does not do as it is told to.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from doc_blocks import LANGUAGES, Block, Typed, blocks, complaint, documents, spans, typed_in
from doc_parser import problems
from doc_shell import Shell

ROOT = Path(__file__).parents[2]
DOCUMENTS = documents(ROOT)


def _text(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def _blocks(document: str) -> list[Block]:
    return [b for b in blocks(_text(document), document) if b.language in LANGUAGES]


def _typed(document: str) -> list[Typed]:
    return [t for b in _blocks(document) if b.why_not is None for t in typed_in(b)]


def test_there_are_documents_with_commands() -> None:
    assert {"README.md", "docs/guide.md", "docs/line.md", "docs/reference/cli.md"} <= {*DOCUMENTS}
    assert sum(len(_typed(d)) for d in DOCUMENTS) >= 10


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_block_of_commands_is_accounted_for(document: str) -> None:
    found = [why for b in blocks(_text(document), document) if (why := complaint(b)) is not None]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_is_legal(document: str) -> None:
    whole = [t for b in _blocks(document) for t in typed_in(b)]
    found = [f"{t.where}: {why}" for t in whole for why in problems(t.text)]
    pieces = spans(_text(document), document)
    found += [f"{t.where}: {why}" for t in pieces for why in problems(t.text, whole=False)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if _typed(d)])
def test_every_command_works(document: str, reader: Path) -> None:
    shell = Shell(reader)
    failed = None
    try:
        for typed in _typed(document):
            failed = shell.type(typed)
            if failed is not None:
                break
    finally:
        stopped = shell.close()
    found = [why for why in (failed, *stopped) if why is not None]
    assert not found, "\n" + "\n\n".join(found)
