"""Keeps foreign web pages away from the server, and its own page to what it ships with."""

from __future__ import annotations

import ipaddress
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from accelstack_workloads.serve.answers import error_answer

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """ASGI middleware: refuses foreign hosts and origins, and sets the security headers.

    Args:
        app: what it guards.
        loopback: whether the server is bound to this machine only. Then the Host header must name this machine too,
            or a foreign site could reach it by letting its own name resolve to 127.0.0.1 (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, *, loopback: bool) -> None:
        self._app = app
        self._loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
            await send(message)

        app = self._refusal(Headers(scope=scope), scope["method"]) or self._app
        await app(scope, receive, send_secured)

    def _refusal(self, headers: Headers, method: str) -> ASGIApp | None:
        host = headers.get("host", "")
        if self._loopback and not is_loopback(_name(host)):
            return error_answer(
                f"Host: {host[:80]!r} is not this machine, to which the server is bound; use localhost",
                HTTPStatus.MISDIRECTED_REQUEST,
            )
        origin = headers.get("origin")
        if method not in ("GET", "HEAD") and origin is not None and origin.partition("://")[2] != host:
            return error_answer(
                f"Origin: {origin[:80]!r} is another site than {host[:80]!r}; use the server's own page",
                HTTPStatus.FORBIDDEN,
            )
        return None


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    """The host without its port and brackets, in lower case."""
    name, _, port = host.lower().rpartition(":")
    name = name if name and port.isdecimal() else host.lower()
    return name[1:-1] if name.startswith("[") and name.endswith("]") else name
