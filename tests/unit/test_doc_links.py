"""Every relative link of the README and of docs leads to a file that is there, and to a heading."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?\s*\)")
_FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


def links(text: str) -> Iterator[str]:
    """Targets of the links and pictures of a page, without those to other sites."""
    for target in _LINK.findall(_FENCE.sub("", text)):
        if not re.match(r"[a-z]+:", target):
            yield target


def anchors(text: str) -> set[str]:
    """What the headings of a page are called in a link, as repository hosts make it."""
    found = set()
    for title in re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.MULTILINE):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title)
        plain = re.sub(r"[^\w\- ]", "", shown.strip().lower())
        found.add(plain.replace(" ", "-"))
    return found


def dead(page: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    wrong = []
    for target in links(page.read_text(encoding="utf-8")):
        name, _, anchor = unquote(target).partition("#")
        file = page if not name else page.parent / name
        if not file.exists() or (
            anchor and anchor not in anchors(file.read_text(encoding="utf-8"))
        ):
            wrong.append(target)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    assert not dead(page)


def test_every_page_of_docs_is_reached_from_the_readme() -> None:
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        for target in links(page.read_text(encoding="utf-8")):
            file = (page.parent / unquote(target).partition("#")[0]).resolve()
            if file.is_dir():
                todo += sorted(file.glob("*.md"))
            elif file.exists():
                todo.append(file)
    missing = [p.relative_to(ROOT).as_posix() for p in PAGES if p not in reached]
    assert not [name for name in missing if name.startswith("docs/")]


def test_every_picture_is_small_and_shown() -> None:
    shown = {
        (page.parent / target).resolve()
        for page in PAGES
        for target in links(page.read_text(encoding="utf-8"))
    }
    pictures = sorted((ROOT / "docs" / "pictures").iterdir())
    assert pictures
    for picture in pictures:
        assert picture.suffix in (".png", ".webp"), picture.name
        assert picture.stat().st_size <= 150_000, f"{picture.name} is larger than 150 kB"
        assert picture in shown, f"no page shows {picture.name}"


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# A `b`, and c\n")
    page = tmp_path / "a.md"
    page.write_text(
        "# Here\n[1](b.md) [2](b.md#a-b-and-c) [3](#here) [4](c.md) [5](b.md#c) [6](#b)\n"
    )
    assert dead(page) == ["c.md", "b.md#c", "#b"]
