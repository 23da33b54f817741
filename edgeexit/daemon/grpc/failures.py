"""What clients are told when something goes wrong: the one place where errors become statuses of gRPC."""

from __future__ import annotations

import logging
from math import ceil
from typing import Final, NamedTuple

from grpc import StatusCode

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
)

PUSHBACK: Final = "grpc-retry-pushback-ms"
"""Tells clients that try again by themselves when to; below 0 not at all.

Source: https://github.com/grpc/proposal/blob/master/A6-client-retries.md.
"""
_MS_PER_S: Final = 1e3
_MOST_CHARACTERS: Final = 1000
"""Of a text: it goes as a header, of which clients take 8 KiB."""
_CODES: Final[tuple[tuple[type[Exception], StatusCode], ...]] = (
    (TooLarge, StatusCode.RESOURCE_EXHAUSTED),
    (MalformedMessage, StatusCode.INVALID_ARGUMENT),
    (InputError, StatusCode.INVALID_ARGUMENT),
    (OptionError, StatusCode.INVALID_ARGUMENT),
    (PluginNotFound, StatusCode.INVALID_ARGUMENT),
    (ModelNotFound, StatusCode.NOT_FOUND),
    (ModelNotReady, StatusCode.UNAVAILABLE),
    (InferenceCancelled, StatusCode.UNAVAILABLE),
    (DeadlinePassed, StatusCode.DEADLINE_EXCEEDED),
    (BundleError, StatusCode.FAILED_PRECONDITION),
)
"""The first class that fits counts. What is not here is no fault of the client's: INTERNAL."""

log = logging.getLogger(__name__)


class Failure(NamedTuple):
    """An answer that says no."""

    code: StatusCode
    text: str
    trailers: tuple[tuple[str, str], ...] = ()


def failure_of(error: Exception) -> Failure:
    """Return what a client is told of an error; one that nobody foresaw is logged, and told without its text."""
    text = str(error).encode("utf-8", "replace").decode()[:_MOST_CHARACTERS]
    if isinstance(error, Refused):
        return _refusal(error, text)
    if isinstance(error, Denied):
        return Failure(StatusCode.UNAUTHENTICATED if error.token_helps else StatusCode.PERMISSION_DENIED, text)
    code = next((code for kind, code in _CODES if isinstance(error, kind)), StatusCode.INTERNAL)
    if code is StatusCode.INTERNAL and not isinstance(error, EdgeExitError):
        log.error("a request failed for a reason that nobody foresaw", exc_info=error)
        return Failure(code, "internal error: the daemon's log says more")
    return Failure(code, text)


def _refusal(error: Refused, text: str) -> Failure:
    """Say when another try is worth it: UNAVAILABLE is what clients try again, and Triton says of a full queue."""
    if error.retry_after_s is None:
        return Failure(StatusCode.DEADLINE_EXCEEDED, text, ((PUSHBACK, "-1"),))
    return Failure(StatusCode.UNAVAILABLE, text, ((PUSHBACK, str(max(1, ceil(error.retry_after_s * _MS_PER_S)))),))
