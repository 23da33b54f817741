"""From an HTTP status and the text with it to an error of `edgeexit.errors`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Any, Final

import msgspec

from edgeexit.errors import (
    BundleError,
    DeadlinePassed,
    Denied,
    EdgeExitError,
    InputError,
    ModelNotFound,
    ModelNotReady,
    Refused,
    ServeError,
)

_LONGEST_TEXT: Final = 500


def failure_of(
    status: int, headers: Mapping[str, str], body: bytes, invalid: type[EdgeExitError] = InputError
) -> EdgeExitError:
    """Return the error that a reply other than 200 stands for; `invalid` is what 400 means."""
    told = _told(body)
    text = told.get("error")
    if not isinstance(text, str) or not text:
        text = f"the server answers with status {status}: {body[:_LONGEST_TEXT].decode('utf-8', 'replace')!r}"
    if status == 503:
        return _unavailable(text, _retry_after_s(told, headers))
    if status == 400:
        return invalid(text)
    return _BY_STATUS.get(status, ServeError)(text)


def _unavailable(text: str, retry_after_s: float | None) -> EdgeExitError:
    return ModelNotReady(text) if retry_after_s is None else Refused(text, retry_after_s)


def _told(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _retry_after_s(told: Mapping[str, Any], headers: Mapping[str, str]) -> float | None:
    """Return the exact seconds of the body, else the whole ones of the header; None if there are none."""
    exact = told.get("retry_after_s")
    if isinstance(exact, (int, float)) and 0.0 <= exact < inf:
        return float(exact)
    text = headers.get("retry-after", "")
    return float(text) if text.isdecimal() else None


_BY_STATUS: Final[Mapping[int, Callable[[str], EdgeExitError]]] = {
    401: lambda text: Denied(text, token_helps=True),
    403: lambda text: Denied(text, token_helps=False),
    404: ModelNotFound,
    409: BundleError,
    413: InputError,
    422: Refused,
    504: DeadlinePassed,
}
