"""Logging in and out, and one's own password."""

from __future__ import annotations

import hmac
import secrets
from datetime import timedelta
from hashlib import sha256
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from edge.station.forms import read_fields
from edge.station.people import MAX_PASSWORD, MIN_PASSWORD, People, Person
from edge.station.refusal import Refused, in_words
from edge.station.sessions import Sessions, csrf_of
from edge.station.station import Station
from edge.station.strings import Words, language_of
from edge.station.throttle import Throttle, Waiting
from edge.station.users import User, user_of
from qc.errors import DataError, UsageError

Fields = Annotated[dict[str, str], Depends(read_fields)]


class LoginGate:
    """Knows people by the session that their browser sends, and programs by their token.

    Args:
        people: who may log in.
    """

    login = True

    def __init__(self, people: People) -> None:
        self.people = people
        self.sessions = Sessions(people)
        self.throttle = Throttle(people.file, people.now)
        where = str(people.file.path.absolute())
        self._cookie = f"qc_{sha256(where.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"

    def identify(self, request: Request) -> User | None:
        """The person or program behind a request; None for a stranger."""
        state = request.state
        state.csrf, state.by_token, state.secret = "", False, ""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            user = self.sessions.program(token.strip())
            state.by_token = user is not None
            return user
        secret = request.cookies.get(self.cookie(request), "")
        user = self.sessions.user(secret) if secret else None
        if user is not None:
            state.csrf, state.secret = csrf_of(secret), secret
            return user
        early = request.cookies.get(self.cookie(request, early=True), "")
        state.csrf = csrf_of(early) if early else ""
        return None

    def cookie(self, request: Request, *, early: bool = False) -> str:
        """Name of the cookie: of its own for each journal, for ports share what a host sets.

        Args:
            request: over TLS it is bound to this very host.
            early: the one of a stranger, for the form of the login.
        """
        bound = "__Host-" if request.url.scheme == "https" else ""
        return f"{bound}{self._cookie}{'_early' if early else ''}"

    def set_cookie(
        self, request: Request, answer: Response, secret: str, *, early: bool = False
    ) -> None:
        """Give the browser a secret, for as long as it is open; an empty one takes it away."""
        answer.set_cookie(
            self.cookie(request, early=early),
            secret,
            max_age=None if secret else 0,
            path="/",
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )


def router(station: Station) -> APIRouter:
    """The routes of the login; none where one person is alone."""
    pages = APIRouter(include_in_schema=False)
    gate = station.gate
    if not isinstance(gate, LoginGate):
        return pages

    @pages.get("/login")
    def login_page(request: Request, next: str = "/") -> Response:
        if request.state.user is not None:
            return RedirectResponse(inner(next), 303)
        return _login_page(station, gate, request, next)

    @pages.post("/login")
    def login(request: Request, fields: Fields) -> Response:
        wanted, name = fields.get("next", "/"), fields.get("name", "")
        early = request.cookies.get(gate.cookie(request, early=True), "")
        told = csrf_of(early) if early else ""
        if not told or not hmac.compare_digest(told.encode(), fields.get("csrf", "").encode()):
            return _login_page(station, gate, request, wanted, Refused(403, "login.stale"))
        person = _tried(gate, request, name, fields.get("password", ""))
        if isinstance(person, Refused):
            return _login_page(station, gate, request, wanted, person)
        gate.people.tell("login", {"name": person.name, "address": _address(request)})
        if old := request.cookies.get(gate.cookie(request)):
            gate.sessions.end(old)
        answer = RedirectResponse(inner(wanted), 303)
        gate.set_cookie(request, answer, gate.sessions.begin(person.name, _address(request)))
        gate.set_cookie(request, answer, "", early=True)
        return answer

    @pages.post("/logout")
    def logout(request: Request, fields: Fields) -> Response:
        user = _person(station, request, fields)
        gate.sessions.end(request.state.secret)
        gate.people.tell("logout", {"name": user.name})
        answer = RedirectResponse("/login", 303)
        gate.set_cookie(request, answer, "")
        answer.headers["Clear-Site-Data"] = '"cache"'
        return answer

    @pages.get("/account")
    def account_page(request: Request) -> Response:
        user_of(request)
        return _account_page(station, request)

    @pages.post("/account")
    def account(request: Request, fields: Fields) -> Response:
        user = _person(station, request, fields)
        fresh = fields.get("fresh", "")
        if fresh != fields.get("again", ""):
            return _account_page(station, request, Refused(422, "account.not_same"), 422)
        person = _tried(gate, request, user.name, fields.get("password", ""))
        if isinstance(person, Refused):
            status = 403 if person.status_code == 401 else person.status_code
            return _account_page(station, request, person, status)
        try:
            gate.people.change_password(user.name, fresh, by=user.name)
        except UsageError as error:
            return _account_page(station, request, error, 422)
        answer = RedirectResponse("/account?changed=1", 303)
        gate.set_cookie(request, answer, gate.sessions.begin(user.name, _address(request)))
        return answer

    return pages


def checked(station: Station, request: Request, fields: dict[str, str]) -> None:
    """Refuse a form without the token of this session.

    Raises:
        HTTPException: 403.
    """
    if not station.csrf_ok(request, fields.get("csrf", "")):
        raise Refused(403, "login.stale")


def inner(wanted: str) -> str:
    """Where to go after the login: an address of this station, never of another site."""
    parts = urlsplit(wanted)
    foreign = parts.scheme or parts.netloc or not wanted.startswith("/") or "\\" in wanted
    if foreign or wanted.startswith("//") or not wanted.isprintable():
        return "/"
    return wanted


def _tried(gate: LoginGate, request: Request, name: str, password: str) -> Person | Refused:
    """Whom a name and a password belong to, or why nobody is let in."""
    address = _address(request)
    found = gate.throttle.try_(name, address)
    if isinstance(found, Waiting):
        left = max(timedelta(seconds=1), found.until - gate.people.now())
        minutes, seconds = divmod(-(-left // timedelta(seconds=1)), 60)
        wait = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
        return Refused(429, "login.wait", wait=wait)
    person = gate.people.check(name, password)
    if person is not None:
        gate.throttle.succeeded(name, address)
        return person
    try:
        known: str | None = gate.people.get(name).name
    except DataError:
        known = None  # not journaled: what was typed as the name may be a password
    gate.people.tell("login failed", {"name": known, "address": address})
    if found.locks:
        detail = {"name": known, "address": address, "locked": list(found.locks)}
        gate.people.tell("locked out", detail)
    return Refused(401, "login.wrong")


def _person(station: Station, request: Request, fields: dict[str, str]) -> User:
    """The person who sent a form of their own; a program has no account."""
    user = user_of(request)
    if request.state.by_token:
        raise Refused(403, "refused.token")
    checked(station, request, fields)
    return user


def _login_page(
    station: Station,
    gate: LoginGate,
    request: Request,
    wanted: str,
    problem: Refused | None = None,
) -> HTMLResponse:
    early = request.cookies.get(gate.cookie(request, early=True), "")
    fresh = early or secrets.token_urlsafe(32)
    request.state.csrf = csrf_of(fresh)
    answer = station.page(
        "login.html",
        problem.status_code if problem else 200,
        request=request,
        next=inner(wanted),
        problem=in_words(problem, Words(language_of(request))) if problem else "",
    )
    if not early:
        gate.set_cookie(request, answer, fresh, early=True)
    return answer


def _account_page(
    station: Station,
    request: Request,
    problem: Refused | UsageError | None = None,
    status: int = 200,
) -> HTMLResponse:
    t = Words(language_of(request))
    words = t("account.not_changed", message=in_words(problem, t)) if problem else ""
    return station.page(
        "account.html",
        status,
        request=request,
        problem=words,
        changed="changed" in request.query_params,
        least=MIN_PASSWORD,
        most=MAX_PASSWORD,
    )


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"
