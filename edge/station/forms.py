"""The form of a decision: read from a request, judged, and never taken from another site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from fastapi import HTTPException, Request

from qc.types import Verdict

MAX_FORM_BYTES = 64 * 1024
MAX_NOTE = 2000


@dataclass(frozen=True, slots=True)
class Typed:
    """What a person typed into the form, kept when it cannot be saved."""

    decision: str = ""
    defect_class: str = ""
    note: str = ""
    csrf: str = ""
    seen: str = ""


async def read_fields(request: Request) -> dict[str, str]:
    """The fields of a posted form: urlencoded and small."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise HTTPException(415, "The form came in a format that is not read.")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise HTTPException(413, f"The form is larger than {MAX_FORM_BYTES} bytes.")
    try:
        pairs = parse_qsl(body.decode("latin-1"), keep_blank_values=True, max_num_fields=20)
    except ValueError as error:
        raise HTTPException(400, "The form has too many fields.") from error
    return dict(pairs)


async def read_form(request: Request) -> Typed:
    """The posted form of a decision: known fields only."""
    fields = await read_fields(request)
    return Typed(
        decision=fields.get("decision", ""),
        defect_class=fields.get("defect_class", ""),
        note=fields.get("note", "").replace("\r\n", "\n").strip(),
        csrf=fields.get("csrf", ""),
        seen=fields.get("seen", ""),
    )


def require_same_origin(request: Request) -> None:
    """Refuse a form that another site made a browser send."""
    host = request.headers.get("host", "")
    origin = request.headers.get("origin") or request.headers.get("referer")
    site = request.headers.get("sec-fetch-site", "same-origin")
    if site != "same-origin" or (origin is not None and urlsplit(origin).netloc != host):
        raise HTTPException(403, "The form came from another site. Nothing was saved.")


def form_problem(typed: Typed, classes: Sequence[str]) -> str | None:
    """What keeps a form from being saved, in words; None where it is complete."""
    if len(typed.note) > MAX_NOTE:
        return f"Not saved: at most {MAX_NOTE} letters of note."
    if typed.decision not in ("OK", "NG"):
        return "Not saved: decide OK or NG."
    if typed.decision == "NG" and typed.defect_class not in classes:
        if typed.defect_class:
            return f"Not saved: the bundle knows no defect class {typed.defect_class!r}."
        if not typed.note:
            return "Not saved: choose the defect class, or name the defect in the note."
    return None


def buttons(verdict: Verdict) -> list[dict[str, str]]:
    """The two decisions, and what each means beside the verdict."""
    if verdict in (Verdict.NG, Verdict.OK):
        labels = {"NG": "It is NG", "OK": "It is OK"}
        return [
            {
                "decision": decision,
                "label": "Confirm" if decision == verdict else "Overrule",
                "meaning": labels[decision],
            }
            for decision in ("NG", "OK")
        ]
    return [
        {"decision": "NG", "label": "It is NG", "meaning": "reject the part"},
        {"decision": "OK", "label": "It is OK", "meaning": "accept the part"},
    ]
