"""The people and the tokens of programs, for an engineer."""

from __future__ import annotations

from typing import get_args

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import HTMLResponse

from edge.station.login import Fields, LoginGate, checked
from edge.station.people import MIN_PASSWORD, fold
from edge.station.sessions import TOKEN_ROLES
from edge.station.station import Station
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
        if asked in ("disable", "role") and fold(name) == fold(by):
            raise UsageError("an engineer changes another person, not oneself")
        match asked:
            case "add":
                role, password = fields.get("role", ""), fields.get("password", "")
                people.add(name, role, password, by=by)
                return {"done": f"{name} was added."}
            case "disable" | "enable":
                people.disable(name, disabled=asked == "disable", by=by)
                return {"done": f"{name} was {asked}d."}
            case "role":
                people.change_role(name, fields.get("role", ""), by=by)
                return {"done": f"{name} has the role {fields['role']}."}
            case "password":
                people.change_password(name, fields.get("password", ""), by=by)
                return {"done": f"{name} has a new password."}
            case "token":
                secret = gate.sessions.make_token(name, fields.get("role", ""), by=by)
                return {"done": f"The token of {name}:", "secret": secret}
            case "revoke":
                number = fields.get("n", "")
                gate.sessions.revoke_token(int(number) if number.isdecimal() else 0, by=by)
                return {"done": "The token was revoked."}
        raise HTTPException(422, "The form asks for nothing that is known.")

    @pages.get("")
    def people_page(request: Request) -> Response:
        return page(request, {})

    @pages.post("")
    def people(request: Request, fields: Fields) -> Response:
        checked(station, request, fields)
        try:
            return page(request, change(request, fields))
        except (UsageError, DataError) as error:
            return page(request, {"problem": f"Not done: {error.message}."}, 422)

    return pages
