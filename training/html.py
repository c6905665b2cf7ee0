"""A page of training: a template of this package, filled in, in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from qc.errors import FaultError, printable


def fill_page(path: Path, template: str, **values: Any) -> None:
    """Fill in a template and write it.

    Args:
        path: the HTML file.
        template: its file name in training/templates.
        values: what the template names.

    Raises:
        FaultError: the file cannot be written.
    """
    page = Environment(
        loader=PackageLoader("training"),
        autoescape=select_autoescape(),
        trim_blocks=True,
        undefined=StrictUndefined,
    ).get_template(template)
    text = page.render(values)
    try:
        path.write_text(printable(text), encoding="utf-8")
    except OSError as error:
        raise FaultError("the page cannot be written", where=path, found=error.strerror) from error
