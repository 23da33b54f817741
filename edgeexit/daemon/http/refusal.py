"""Short answers that say no, for what stands before the routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

import msgspec

from edgeexit.errors import Denied

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
_CHALLENGES: Final = (
    (b"www-authenticate", b"Bearer"),
    (b"www-authenticate", b'Basic realm="edgeexit", charset="UTF-8"'),
)


def error_body(text: str, retry_after_s: float | None = None) -> bytes:
    """Return the JSON that clients of the protocol look for in every answer that says no.

    Args:
        text: What is wrong.
        retry_after_s: When another try may be worth it, more exactly than in whole seconds, as the header has it.
    """
    return msgspec.json.encode({"error": text} | ({} if retry_after_s is None else {"retry_after_s": retry_after_s}))


async def refuse(send: Send, status: int, text: str, headers: Iterable[Header] = ()) -> None:
    """Answer with an error."""
    body = error_body(text)
    own = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": body})


async def deny(send: Send, error: Denied, *, to_browser: bool) -> None:
    """Answer to who may not ask.

    Args:
        send: Of the request.
        error: Why not.
        to_browser: True to have a browser ask its user for the token.
    """
    challenges = _CHALLENGES if to_browser else _CHALLENGES[:1]
    headers = challenges if error.token_helps else ()
    await refuse(send, UNAUTHORIZED if error.token_helps else FORBIDDEN, str(error), headers)
