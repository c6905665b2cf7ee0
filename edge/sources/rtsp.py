"""A network camera: RTSP through OpenCV's FFmpeg, always the newest picture.

User and password stand in environment variables that the line file names; they are in no file, no
log and no error. Set the camera to a key frame at least every second: a picture can be had only
from a key frame on, and that is what taking it up again waits for.

Limits, said plainly: the time of a frame is when it was decoded; what lies between the camera's
sensor and that, its own buffer and the network, is not known here.
"""

from __future__ import annotations

import os
import socket
from typing import Literal, Self
from urllib.parse import quote, urlsplit, urlunsplit

import cv2
from pydantic import Field

from edge.sources._ffmpeg import open_ffmpeg
from edge.sources._frames import Framer
from edge.sources._newest import Newest, NewestSource
from qc.errors import FaultError, UsageError
from qc.tables import Table


class Options(Table):
    """Keys of this source in a line file; see `Source`."""

    url: str
    transport: Literal["tcp", "udp"] = "tcp"
    user_env: str | None = None
    password_env: str | None = None
    open_timeout_s: float = Field(default=3.0, gt=0)
    read_timeout_s: float = Field(default=1.5, gt=0)


class Source(NewestSource):
    """One network camera; a context manager that yields frames, always the newest.

    Args:
        url: "rtsp://host:554/path" or rtsps, without user and password; a camera that wants them in
            the path gets them where `{user}` and `{password}` stand.
        transport: "tcp" loses nothing; "udp" where the camera knows nothing else.
        user_env: environment variable that holds the user; None: the camera asks for none.
        password_env: the same for the password.
        open_timeout_s: seconds for the connection.
        read_timeout_s: seconds of silence after which the connection is given up.
        source_id: the name of this source in the journal.

    Raises:
        UsageError: the address is not one of RTSP, or holds a password.
        FaultError: an environment variable is not set.
    """

    is_live = True
    expects_frames = True

    def __init__(
        self,
        *,
        url: str,
        transport: Literal["tcp", "udp"] = "tcp",
        user_env: str | None = None,
        password_env: str | None = None,
        open_timeout_s: float = 3.0,
        read_timeout_s: float = 1.5,
        source_id: str = "rtsp",
    ) -> None:
        self.transport = transport
        self.open_timeout_s, self.read_timeout_s = open_timeout_s, read_timeout_s
        self.source_id = source_id
        where, self._url = _address(url, user_env, password_env, source_id)
        super().__init__(where)

    def __enter__(self) -> Self:
        """Connect and wait for the first picture.

        Raises:
            FaultError: no connection, the camera refuses, or no picture comes.
        """
        capture = self._connected()
        if not (capture.isOpened() and capture.grab()):
            capture.release()
            raise FaultError(
                "there is no picture to be had",
                where=self.where,
                expected="a camera that is on, this path, and the right user and password",
            )
        framer = Framer(self.source_id, self.where)
        self._newest = Newest(capture, framer, silence_s=self.read_timeout_s)
        return self

    def _connected(self) -> cv2.VideoCapture:
        host = urlsplit(self._url)
        try:  # before FFmpeg does: it has no limit for this and keeps other sources waiting
            socket.getaddrinfo(host.hostname, host.port or 554)
        except OSError as error:
            raise FaultError(
                "the name of the camera is not known", where=self.where, found=error.strerror
            ) from error
        parameters = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(self.open_timeout_s * 1000)),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(self.read_timeout_s * 1000)),
            *(cv2.CAP_PROP_N_THREADS, 1),  # each more holds back one picture
        ]
        options = f"rtsp_transport;{self.transport}|fflags;nobuffer+discardcorrupt|flags;low_delay"
        return open_ffmpeg(self._url, parameters, options, timeout_s=self.open_timeout_s)


def _address(
    url: str, user_env: str | None, password_env: str | None, source_id: str
) -> tuple[str, str]:
    """The source in words that may be shown, and the address with user and password."""
    parts = urlsplit(url)
    name = f"source '{source_id}'"
    if "@" in parts.netloc:
        raise UsageError(
            "the address holds a user or password",
            where=name,
            expected="user_env and password_env, the environment variables that hold them",
        )
    if parts.scheme not in ("rtsp", "rtsps") or not parts.hostname:
        raise UsageError("no address of RTSP", where=name, expected="rtsp://host/path", found=url)
    if user_env is None and password_env is None:
        return f"{name}, {url}", url
    user, password = (_secret(env, name) for env in (user_env, password_env))
    if "{password}" in url or "{user}" in url:
        filled = url.replace("{user}", quote(user, safe=""))
        return f"{name}, {url}", filled.replace("{password}", quote(password, safe=""))
    login = ":".join(quote(word, safe="") for word in (user, password))
    return f"{name}, {url}", urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc}"))


def _secret(env: str | None, name: str) -> str:
    if env is None:
        return ""
    value = os.environ.get(env)
    if not value:
        raise FaultError(f"the environment variable '{env}' is not set", where=name)
    return value
