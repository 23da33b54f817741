"""What clients are told when something goes wrong: the one place where errors become HTTP statuses."""

from __future__ import annotations

import logging
from math import ceil
from typing import TYPE_CHECKING, Final, NamedTuple

from starlette.exceptions import HTTPException
from starlette.responses import Response

from edgeexit.daemon.http.body import ClientLeft
from edgeexit.daemon.http.refusal import error_body
from edgeexit.errors import (
    BundleError,
    DeadlinePassed,
    Denied,
    EdgeExitError,
    InferenceCancelled,
    InputError,
    MalformedMessage,
    ModelNotFound,
    ModelNotReady,
    OptionError,
    PluginNotFound,
    Refused,
    TooLarge,
    UnknownEncoding,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request

    Handler = Callable[[Request, Exception], Awaitable[Response]]

_STATUSES: Final[tuple[tuple[type[Exception], int], ...]] = (
    (TooLarge, 413),
    (UnknownEncoding, 415),
    (MalformedMessage, 400),
    (ClientLeft, 400),
    (InputError, 400),
    (OptionError, 400),
    (PluginNotFound, 400),
    (ModelNotFound, 404),
    (ModelNotReady, 503),
    (InferenceCancelled, 503),
    (DeadlinePassed, 504),
    (BundleError, 409),
)
"""The first class that fits counts. What is not here is no fault of the client's: 500."""
INTERNAL: Final = 500

log = logging.getLogger(__name__)


class Failure(NamedTuple):
    """An answer that says no."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    """Beside type and length of the body."""


def failure_of(error: Exception) -> Failure:
    """Return what a client is told of an error; one that nobody foresaw is logged, and told without its text."""
    status, headers = _status_of(error)
    if status == INTERNAL and not isinstance(error, EdgeExitError):
        log.error("a request failed for a reason that nobody foresaw", exc_info=error)
        return Failure(status, error_body("internal error: the daemon's log says more"), ())
    text = error.detail if isinstance(error, HTTPException) else str(error)
    retry_after_s = error.retry_after_s if isinstance(error, Refused) else None
    return Failure(status, error_body(text.encode("utf-8", "replace").decode(), retry_after_s), headers)


def _status_of(error: Exception) -> tuple[int, tuple[tuple[bytes, bytes], ...]]:
    if isinstance(error, HTTPException):
        pairs = (error.headers or {}).items()
        return error.status_code, tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs)
    if isinstance(error, Refused):
        if error.retry_after_s is None:
            return 422, ()
        return 503, ((b"retry-after", b"%d" % max(1, ceil(error.retry_after_s))),)
    if isinstance(error, Denied):
        return (401, ((b"www-authenticate", b"Bearer"),)) if error.token_helps else (403, ())
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), INTERNAL), ()


def response_of(error: Exception) -> Response:
    """Return the answer for an error."""
    failure = failure_of(error)
    response = Response(failure.body, failure.status, media_type="application/json")
    response.raw_headers.extend(failure.headers)
    return response


def exception_handlers() -> Mapping[type[Exception], Handler]:
    """Return what a Starlette application needs in order to answer errors of all its routes in this way."""

    async def answer(_: Request, error: Exception) -> Response:
        return response_of(error)

    return {EdgeExitError: answer, HTTPException: answer, Exception: answer}
