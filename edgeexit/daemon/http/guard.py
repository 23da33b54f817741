"""What every request passes before the routes: access, and afterwards the headers that keep browsers in bounds."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from edgeexit.daemon.access import Access
from edgeexit.daemon.http.refusal import App, Header, Message, Receive, Scope, Send, deny
from edgeexit.errors import Denied

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

ACCESS_KEY: Final = "edgeexit.access"
"""Where a request's scope holds the `Access` in force."""

log = logging.getLogger(__name__)

_ALWAYS: Final[tuple[Header, ...]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_ON_PAGES: Final[tuple[Header, ...]] = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)


class Guard:
    """Stands before an application.

    Args:
        app: The application.
        access: The rules in force.
    """

    def __init__(self, app: App, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or say that it is not allowed."""
        answer = _Answer(_logged(scope, send) if log.isEnabledFor(logging.DEBUG) else send)
        try:
            self._access.check(scope)
        except Denied as error:
            await deny(answer.send, error, to_browser=_wants_page(scope))
            return
        scope[ACCESS_KEY] = self._access
        try:
            await self._app(scope, receive, answer.send)
        except Exception:
            if not answer.started:
                raise
            log.debug("the application failed after it had answered", exc_info=True)


def require_read(request: HTTPConnection) -> None:
    """Let a request read or infer, or not; `Guard` has checked it already.

    Raises:
        Denied: If it may not, or no rules are in force.
    """
    _access(request).check(request.scope)


def require_control(request: HTTPConnection) -> None:
    """Let a request change the daemon's state, or not.

    Raises:
        Denied: If it may not, or no rules are in force.
    """
    _access(request).check_control(request.scope)


def _access(request: HTTPConnection) -> Access:
    access = request.scope.get(ACCESS_KEY)
    if not isinstance(access, Access):
        raise Denied("no access rules are in force", token_helps=False)
    return access


class _Answer:
    """An answer with the headers that browsers are to see.

    Starlette raises an error that nobody foresaw once more after it has been logged and answered; it is left at that.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def send(self, message: Message) -> None:
        if not self.started:
            self.started = True
            headers = message.get("headers", ())
            page = any(name == b"content-type" and value.startswith(b"text/html") for name, value in headers)
            message["headers"] = [*headers, *_ALWAYS, *(_ON_PAGES if page else ())]
        await self._send(message)


def _logged(scope: Scope, send: Send) -> Send:
    """Return a `send` that logs one line when the answer begins."""
    start_s = time.perf_counter()

    async def send_and_log(message: Message) -> None:
        if message["type"] == "http.response.start":
            taken_s = time.perf_counter() - start_s
            fields = {"method": scope["method"], "path": scope["path"], "status": message["status"], "taken_s": taken_s}
            line = "%(method)s %(path)s: %(status)d in %(taken_s).6f s"
            log.debug(line, fields, extra={"fields": fields})
        await send(message)

    return send_and_log


def _wants_page(scope: Scope) -> bool:
    """Return whether a browser asks for a page, so that it should ask its user for the token."""
    accepted = b",".join(value for name, value in scope["headers"] if name == b"accept")
    return scope["method"] == "GET" and b"text/html" in accepted
