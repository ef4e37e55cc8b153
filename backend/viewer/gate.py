"""Who may see the page: whoever has the address that `legs4d view` printed, which holds a token of this start.

viser answers everybody who reaches its port: other users of the machine, and any web page open in the same browser,
since browsers let pages of strangers open WebSockets to 127.0.0.1. So every request has to bring the token (as the
address, which is exchanged for a cookie at once, or as that cookie), and a WebSocket must come from our own page.
"""

from __future__ import annotations

import hmac
import http
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

import websockets.asyncio.server
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

MAX_MESSAGE = 1 << 20
"""Bytes of what a browser may send at once: it sends key strokes, not files."""

REFUSED = "This page needs the address that `legs4d view` printed when it started, token included.\n"

_Answer = Callable[[ServerConnection, Request], Response | None]


class Gate:
    """Lets in who knows the token."""

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(24)

    def answer(self, request: Request) -> Response | None:
        """What to say instead of what was asked for; None lets the request pass."""
        host = request.headers.get("Host", "")
        cookie = cookie_name(host)
        if self._is_token(_cookie(request.headers, cookie)):
            origin = request.headers.get("Origin")
            if request.headers.get("Upgrade") is not None and origin != f"http://{host}":
                return _refuse()
            return None
        if self._is_token(parse_qs(urlsplit(request.path).query).get("token", [""])[0]):
            # On to the page itself, so that the token does not stay in the address bar.
            value = f"{cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict"
            return Response(http.HTTPStatus.SEE_OTHER, "See Other", Headers({"Location": "/", "Set-Cookie": value}))
        return _refuse()

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())

    @contextmanager
    def guarding(self) -> Iterator[None]:
        """Servers that start listening inside ask this gate first.

        viser has no place to say so, hence the listener that it calls is exchanged while it starts.
        """
        serve = websockets.asyncio.server.serve

        def guarded(*arguments: Any, process_request: _Answer, **options: Any) -> Any:
            def decide(connection: ServerConnection, request: Request) -> Response | None:
                return self.answer(request) or process_request(connection, request)

            return serve(*arguments, process_request=decide, **{**options, "max_size": MAX_MESSAGE})

        websockets.asyncio.server.serve = guarded  # type: ignore[assignment, misc]
        try:
            yield
        finally:
            websockets.asyncio.server.serve = serve  # type: ignore[misc]


def cookie_name(host: str) -> str:
    """Cookies know no ports: two pages on one machine keep theirs apart by name."""
    return f"legs4d-view-{urlsplit(f'//{host}').port or 80}"


def _cookie(headers: Headers, name: str) -> str:
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load("; ".join(headers.get_all("Cookie")))
    except CookieError:
        return ""
    return jar[name].value if name in jar else ""


def _refuse() -> Response:
    body = REFUSED.encode()
    headers = Headers({"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body))})
    return Response(http.HTTPStatus.FORBIDDEN, "Forbidden", headers, body)
