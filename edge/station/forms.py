"""The form of a decision: read from a request, judged, and never taken from another site."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from fastapi import Request

from edge.station.refusal import Refused
from edge.station.strings import STRINGS, Words
from qc.types import Verdict

MAX_FORM_BYTES = 64 * 1024
MAX_NOTE = 2000

REASONS = ("dust", "light", "tolerance", "outside", "other")
"""Why a rejected part is OK, in the order of their keys."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Typed:
    """What a person typed into the form, kept when it cannot be saved.

    Args:
        decision: OK or NG.
        defect_class: of an NG part; "" for one that the bundle does not know.
        reason: one of `REASONS`, or "".
        note: free words.
        mask: SHA-256 of the mask that goes with it, or "".
        seen: how many reviews of the part the page showed; None: it did not say.
        csrf: the token of the page.
    """

    decision: str = ""
    defect_class: str = ""
    reason: str = ""
    note: str = ""
    mask: str = ""
    seen: int | None = None
    csrf: str = ""

    def noted(self) -> str:
        """The note as it is journaled: an overruling begins with its reason, in English."""
        if self.decision != "OK" or self.reason not in REASONS:
            return self.note
        reason = f"[{STRINGS[f'reason.{self.reason}'][0]}]"
        return f"{reason} {self.note}".strip()


async def read_pairs(request: Request, most: int) -> list[tuple[str, str]]:
    """The fields of a posted form in their order: urlencoded, small, and at most so many."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Refused(415, "refused.kind")
    body = await read_body(request, MAX_FORM_BYTES)
    try:
        return parse_qsl(body.decode("latin-1"), keep_blank_values=True, max_num_fields=most)
    except ValueError as error:
        raise Refused(400, "refused.fields") from error


async def read_fields(request: Request) -> dict[str, str]:
    """The fields of a posted form: urlencoded and small."""
    return dict(await read_pairs(request, 20))


async def read_form(request: Request) -> Typed:
    """The posted form of a decision: known fields only."""
    fields = await read_fields(request)
    seen = fields.get("seen", "")
    return Typed(
        decision=fields.get("decision", ""),
        defect_class=fields.get("defect_class", ""),
        reason=fields.get("reason", ""),
        note=fields.get("note", "").replace("\r\n", "\n").strip(),
        mask=fields.get("mask", ""),
        seen=int(seen) if re.fullmatch(r"[0-9]{1,9}", seen) else None,
        csrf=fields.get("csrf", ""),
    )


async def read_body(request: Request, most: int) -> bytes:
    """The body of a request; refuses (413) one of more bytes than `most`."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise Refused(413, "refused.size", most=most)
    return bytes(body)


def require_same_origin(request: Request) -> None:
    """Refuse a form that another site made a browser send."""
    host = request.headers.get("host", "")
    origin = request.headers.get("origin") or request.headers.get("referer")
    site = request.headers.get("sec-fetch-site", "same-origin")
    if site != "same-origin" or (origin is not None and urlsplit(origin).netloc != host):
        raise Refused(403, "refused.site")


def form_problem(typed: Typed, verdict: Verdict, classes: Sequence[str], t: Words) -> str | None:
    """What keeps a form from being saved, in words; None where it is complete.

    Args:
        typed: the form.
        verdict: of the line; OK on a rejected part overrules it, which needs a reason.
        classes: what the defect may be.
        t: the person's language.
    """
    if len(typed.note) > MAX_NOTE:
        return t("wrong.note", most=MAX_NOTE)
    if typed.decision not in ("OK", "NG"):
        return t("wrong.decision")
    if typed.decision == "OK" and verdict is Verdict.NG and not typed.noted():
        return t("wrong.no_reason")
    if typed.decision == "OK" and typed.reason == "other" and not typed.note:
        return t("wrong.no_reason")
    if typed.decision == "NG" and typed.defect_class not in classes:
        if typed.defect_class:
            return t("wrong.class", name=repr(typed.defect_class))
        if not typed.note:
            return t("wrong.no_class")
    if typed.mask and not _DIGEST.fullmatch(typed.mask):
        return t("wrong.mask")
    return None


def buttons(verdict: Verdict, t: Words) -> list[dict[str, str]]:
    """The two decisions, and what each means beside the verdict."""
    if verdict in (Verdict.NG, Verdict.OK):
        return [
            {
                "decision": decision,
                "label": t("confirm" if decision == verdict else "overrule"),
                "meaning": t(f"it_is_{decision}"),
            }
            for decision in ("NG", "OK")
        ]
    return [
        {"decision": decision, "label": t(f"it_is_{decision}"), "meaning": t(meaning)}
        for decision, meaning in (("NG", "reject"), ("OK", "accept"))
    ]
