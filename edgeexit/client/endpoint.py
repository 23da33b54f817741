"""Where a daemon listens, and how httpx is to reach it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from edgeexit.client.exchange import Reply, Unreached
from edgeexit.errors import OptionError

DEFAULT_URL: Final = "http://127.0.0.1:8000"
_OVER_UNIX: Final = "http://localhost"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a daemon listens.

    Attributes:
        url: Of TCP; None for the daemon's usual address on this machine.
        unix: Path of its Unix socket instead.
        token: What allows everything; never shown.

    Raises:
        OptionError: If both are given, or the URL is none of HTTP, or the token cannot be sent.
    """

    url: str | None = None
    unix: str | Path | None = None
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.url is not None and self.unix is not None:
            raise OptionError("give either url or unix, not both")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise OptionError(f"url must begin with http:// or https://, for instance {DEFAULT_URL}, not {self.url!r}")
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and self.token):
            raise OptionError("the token must be printable ASCII characters")

    def __str__(self) -> str:
        return f"unix:{self.unix}" if self.unix is not None else self.base_url

    @property
    def base_url(self) -> str:
        """What paths are appended to."""
        return _OVER_UNIX if self.unix is not None else (self.url or DEFAULT_URL).rstrip("/")

    @property
    def socket(self) -> str | None:
        """Path of the Unix socket, or None."""
        return None if self.unix is None else str(self.unix)

    @property
    def headers(self) -> dict[str, str]:
        """What goes with every request."""
        plain = {"accept-encoding": "identity"}  # compressing costs more than the wire beside a device
        return plain if self.token is None else plain | {"authorization": f"Bearer {self.token}"}

    def unreached(self, error: httpx.TransportError, timeout_s: float) -> Unreached:
        """Say in one line why there is no reply."""
        if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
            return Unreached(f"no daemon answers at {self}: {_why(error)}; start one: edgeexit serve BUNDLE", True)
        if isinstance(error, httpx.TimeoutException):
            return Unreached(
                f"no answer came from {self} within {timeout_s:.3g} s", isinstance(error, httpx.PoolTimeout)
            )
        return Unreached(f"the connection to {self} broke before the answer came: {_why(error)}", False)


def reply_of(response: httpx.Response) -> Reply:
    """Return what the calls need of a response."""
    return Reply(response.status_code, response.headers, response.content)


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__
