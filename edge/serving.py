"""An HTTP application served from a thread of its own, and who may call it.

For the machines beside a line: they send pictures and announce parts. Loopback by default; beyond
it a token is asked for. A page in a browser may never call it.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from edge.listening import LOOPBACK, ServingThread, address, bound
from qc.errors import FaultError, UsageError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    Endpoint = Callable[[Request], Awaitable[Response]]

MAX_CONNECTIONS = 1100
"""Open at one time; somewhat more than the longest queue of a source."""

MAX_NAME = 200
"""Characters of a part's or lot's name."""


class Server:
    """Serves one address, `POST path`, until it is stopped.

    Args:
        path: of the one route.
        endpoint: answers a request; what it raises is answered with 500.
        host: address to bind; beyond loopback only with a token.
        port: TCP port; 0: any free one.
        token_env: environment variable that holds the token, sent as `Authorization: Bearer ...`;
            None: none is asked for.
        what: the plugin, as an error names it.

    Attributes:
        url: where it listens.

    Raises:
        FaultError: the extra `live` is not installed, or the token is not in the environment.
        UsageError: the address cannot be had, or is not of this machine alone and has no token.
    """

    def __init__(
        self,
        path: str,
        endpoint: Endpoint,
        *,
        host: str,
        port: int,
        token_env: str | None,
        what: str,
    ) -> None:
        token = _token(token_env, what)
        if token is None and host not in LOOPBACK:
            raise UsageError(
                "other machines may call it only with a token",
                where=what,
                expected="token_env, the environment variable that holds it, or host 127.0.0.1",
                found=host,
            )
        try:
            import uvicorn  # noqa: F401 - what is missing is told before an address is taken

            app = _guarded(path, endpoint, token, host in LOOPBACK)
        except ModuleNotFoundError as error:
            raise FaultError(
                "it needs the 'live' extra: pip install 'attention-qc[live]'",
                where=what,
                expected=error.name,
                found="not installed",
            ) from error
        listener = bound(host, port, what)
        self.url = address(listener, host) + path.removeprefix("/")
        self._thread = ServingThread(app, listener, name=what, connections=MAX_CONNECTIONS)
        self._thread.start()

    def stop(self) -> None:
        """End within `edge.listening.STOP_S` seconds; stopping again changes nothing."""
        self._thread.stop()


def _token(name: str | None, what: str) -> str | None:
    if name is None:
        return None
    token = os.environ.get(name, "")
    if not token:
        raise FaultError(
            f"the environment variable '{name}' holds no token", where=what, expected="a token"
        )
    return token


def _guarded(path: str, endpoint: Endpoint, token: str | None, local: bool) -> Starlette:
    """The application: a token where one is asked for, no browser, no foreign name of the host."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def guarded(request: Request) -> Response:
        if "origin" in request.headers:
            return JSONResponse(problem("refused", "pages in a browser may not call this"), 403)
        given = request.headers.get("authorization", "").encode("latin-1")
        if token is not None and not hmac.compare_digest(given, f"Bearer {token}".encode()):
            return JSONResponse(
                problem("refused", "the token is missing or wrong"),
                401,
                {"WWW-Authenticate": "Bearer"},
            )
        return await endpoint(request)

    async def broken(request: Request, error: Exception) -> Response:
        return JSONResponse(problem("fault", type(error).__name__), 500)

    hosts = Middleware(
        TrustedHostMiddleware,
        allowed_hosts=["127.0.0.1", "localhost", "[::1]"] if local else ["*"],
        www_redirect=False,
    )
    return Starlette(
        routes=[Route(path, guarded, methods=["POST"])],
        middleware=[hosts],
        exception_handlers={Exception: broken},
    )


class Refused(Exception):  # noqa: N818 - an answer, not a failure of ours
    """A request that is answered with an error.

    Args:
        status: of HTTP.
        kind, message: of the error in the answer.
    """

    def __init__(self, status: int, kind: str, message: str) -> None:
        self.status, self.kind, self.message = status, kind, message


def named_in(request: Request) -> tuple[str | None, str | None]:
    """Part and lot that a request names, in its query or its headers; None where it does not.

    Raises:
        Refused: too long, or not printable.
    """
    return _name(request, "part_id", "x-part-id"), _name(request, "lot", "x-lot")


def _name(request: Request, key: str, header: str) -> str | None:
    name = request.query_params.get(key) or request.headers.get(header)
    if name is not None and (len(name) > MAX_NAME or not name.isprintable()):
        raise Refused(400, "usage", f"{key}: expected up to {MAX_NAME} printable characters")
    return name or None


def problem(kind: str, message: str, **more: Any) -> dict[str, Any]:
    """The body of an answer that is an error: `{"error": {"kind", "message"}}`."""
    return {"error": {"kind": kind, "message": message}, **more}
