"""The route that everything is for: a plain ASGI application, so that little stands between socket and engine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from edgeexit.daemon.http.body import CancelledIfClientLeaves, ClientLeft, read_body
from edgeexit.daemon.http.failures import failure_of
from edgeexit.daemon.parameters import options_of
from edgeexit.errors import UnknownEncoding
from edgeexit.open_inference import decode_request, encode_response
from edgeexit.open_inference.compression import ENCODINGS, compress, decompress
from edgeexit.open_inference.framing import HEADER, json_length

if TYPE_CHECKING:
    from edgeexit.daemon.contracts import Service
    from edgeexit.daemon.http.refusal import Header, Receive, Scope, Send
    from edgeexit.daemon.inference import Answered, Inference
    from edgeexit.open_inference import InferRequest, WireLimits
    from edgeexit.open_inference.framing import Frame

_JSON_LENGTH: Final = HEADER.lower().encode()
_TYPE: Final = {True: (b"content-type", b"application/octet-stream"), False: (b"content-type", b"application/json")}


class _Reply(NamedTuple):
    status: int
    headers: list[Header]
    body: bytes


class _Asked(NamedTuple):
    """What the headers of a request say."""

    json_length: str | None = None
    encoding: str | None = None
    """Of its body; None if that is plain."""
    answer_encoding: str | None = None


class Infer:
    """Answers requests to infer.

    Args:
        service: Who has the models.
        limits: On requests.
        inference: Answers them.
    """

    def __init__(self, service: Service, limits: WireLimits, inference: Inference) -> None:
        self._service = service
        self._limits = limits
        self._inference = inference

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one; nobody is answered who has left."""
        try:
            reply = await self._reply(scope, receive)
        except ClientLeft:
            return
        except Exception as error:  # whatever it is, the client is told
            failure = failure_of(error)
            reply = _Reply(failure.status, [_TYPE[False], *failure.headers], failure.body)
        reply.headers.append((b"content-length", b"%d" % len(reply.body)))
        await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
        await send({"type": "http.response.body", "body": reply.body})

    async def _reply(self, scope: Scope, receive: Receive) -> _Reply:
        path = scope["path_params"]
        name, version = path["name"], path.get("version")
        try:
            view = self._service.model(name, version)
            asked = _asked(scope)
            request = await self._read(scope, receive, asked)
            options = options_of(request.parameters)
        except ClientLeft:
            raise
        except Exception as error:
            self._service.turned_away(name, error)
            raise
        with CancelledIfClientLeaves(receive):
            answer = await self._inference.answer(view, version, request, options)
            return await _reply_with(_frame(answer, request.id), asked.answer_encoding)
        raise ClientLeft("the client left before it had its answer")

    async def _read(self, scope: Scope, receive: Receive, asked: _Asked) -> InferRequest:
        body = await read_body(scope, receive, self._limits.body_bytes)
        if asked.encoding is not None:
            body = await asyncio.to_thread(decompress, body, asked.encoding, self._limits.body_bytes)
        return decode_request(body, json_length(asked.json_length), self._limits)


def _asked(scope: Scope) -> _Asked:
    length = encoding = answer = None
    for name, value in scope["headers"]:
        if name == _JSON_LENGTH:
            length = value.decode("latin-1")
        elif name == b"content-encoding":
            encoding = _body_encoding(value)
        elif name == b"accept-encoding":
            answer = _answer_encoding(value)
    return _Asked(length, encoding, answer)


def _body_encoding(header: bytes) -> str | None:
    name = header.strip().lower().decode("latin-1")
    if name in ("", "identity"):
        return None
    if name not in ENCODINGS:
        raise UnknownEncoding(f"the body may be plain or {' or '.join(ENCODINGS)}, not {name[:40]!r}")
    return name


def _answer_encoding(header: bytes) -> str | None:
    """Return the one encoding that a client asks for.

    HTTP libraries offer several with every request, unasked; to take one up would cost more than it saves. Who really
    wants an answer compressed, as NVIDIA's client if told so, names one alone.
    """
    name = header.strip().lower().decode("latin-1")
    return name if name in ENCODINGS else None


def _frame(answer: Answered, request_id: str | None) -> Frame:
    return encode_response(
        answer.model, answer.version, answer.outputs, parameters=answer.parameters, request_id=request_id
    )


async def _reply_with(frame: Frame, encoding: str | None) -> _Reply:
    headers = [_TYPE[frame.json_length is not None]]
    if frame.json_length is not None:
        headers.append((_JSON_LENGTH, b"%d" % frame.json_length))
    if encoding is None:
        return _Reply(200, headers, frame.body)
    headers.append((b"content-encoding", encoding.encode()))
    return _Reply(200, headers, await asyncio.to_thread(compress, frame.body, encoding))
