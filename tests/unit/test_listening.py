"""What the pages and the doors of a line listen on."""

from __future__ import annotations

import http.client
import time

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from edge.listening import ServingThread, bound
from qc.errors import UsageError


async def _echo(request: Request) -> JSONResponse:
    return JSONResponse({"size": len(await request.body()), "more": "m" * 500})


def test_an_answer_on_a_kept_connection_waits_for_nobody() -> None:
    app = Starlette(routes=[Route("/", _echo, methods=["POST"])])
    listener = bound("127.0.0.1", 0, "the test")
    port = listener.getsockname()[1]
    thread = ServingThread(app, listener, name="test", connections=5)
    thread.start()
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    took = []
    try:
        for _ in range(20):
            start = time.perf_counter()
            asked.request("POST", "/", b"x" * 300)
            answer = asked.getresponse()
            assert answer.status == 200 and b'"size":300' in answer.read()
            took.append(time.perf_counter() - start)
    finally:
        asked.close()
        thread.stop()
    # where small pieces are held back, each takes 40 ms, the time of a delayed confirmation
    assert sorted(took)[5] < 0.03


def test_a_port_in_use_is_told_with_its_address() -> None:
    with bound("127.0.0.1", 0, "the page") as listener:
        port = listener.getsockname()[1]
        with pytest.raises(UsageError, match="the page cannot listen there") as told:
            bound("127.0.0.1", port, "the page")
    assert f"127.0.0.1:{port}" in str(told.value)
