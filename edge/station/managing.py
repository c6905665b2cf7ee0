"""The people and the tokens of programs, for an engineer."""

from __future__ import annotations

from typing import get_args

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse

from edge.station.login import Fields, LoginGate, checked
from edge.station.people import MIN_PASSWORD, fold
from edge.station.refusal import Refused, SaidUsageError, in_words
from edge.station.sessions import TOKEN_ROLES
from edge.station.station import Station
from edge.station.strings import Words, language_of
from edge.station.users import Role, require, user_of
from qc.errors import DataError, UsageError


def router(station: Station) -> APIRouter:
    """The routes under /people; none where one person is alone."""
    manages = Depends(require("manage"))
    pages = APIRouter(prefix="/people", include_in_schema=False, dependencies=[manages])
    gate = station.gate
    if not isinstance(gate, LoginGate):
        return pages

    def page(request: Request, values: dict[str, str], status: int = 200) -> HTMLResponse:
        return station.page(
            "people.html",
            status,
            request=request,
            people=gate.people.list(),
            tokens=gate.sessions.tokens(),
            roles=get_args(Role),
            token_roles=TOKEN_ROLES,
            least=MIN_PASSWORD,
            **{"problem": "", "done": "", "secret": "", **values},
        )

    def change(request: Request, fields: dict[str, str]) -> dict[str, str]:
        """What a form asks for, done; words for the page."""
        by, people = user_of(request).name, gate.people
        asked, name = fields.get("do", ""), fields.get("name", "")
        t = Words(language_of(request))
        if asked in ("disable", "role") and fold(name) == fold(by):
            raise SaidUsageError("people.not_oneself")
        match asked:
            case "add":
                role, password = fields.get("role", ""), fields.get("password", "")
                people.add(name, role, password, by=by)
                return {"done": t("people.added", name=name)}
            case "disable" | "enable":
                people.disable(name, disabled=asked == "disable", by=by)
                return {
                    "done": t(
                        "people.disabled" if asked == "disable" else "people.enabled", name=name
                    )
                }
            case "role":
                people.change_role(name, fields.get("role", ""), by=by)
                return {"done": t("people.has_role", name=name, role=t(f"role.{fields['role']}"))}
            case "password":
                people.change_password(name, fields.get("password", ""), by=by)
                return {"done": t("people.has_password", name=name)}
            case "token":
                secret = gate.sessions.make_token(name, fields.get("role", ""), by=by)
                return {"done": t("tokens.of", name=name), "secret": secret}
            case "revoke":
                number = fields.get("n", "")
                gate.sessions.revoke_token(int(number) if number.isdecimal() else 0, by=by)
                return {"done": t("tokens.gone")}
        raise Refused(422, "refused.form")

    @pages.get("")
    def people_page(request: Request) -> Response:
        return page(request, {})

    @pages.post("")
    def people(request: Request, fields: Fields) -> Response:
        checked(station, request, fields)
        try:
            return page(request, change(request, fields))
        except (UsageError, DataError) as error:
            t = Words(language_of(request))
            words = t("people.not_done", message=in_words(error, t))
            return page(request, {"problem": words}, 422)

    return pages
