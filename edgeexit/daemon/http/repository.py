"""The protocol's model repository: which models there are, and loading and unloading them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct
from starlette.responses import Response

from edgeexit.daemon.descriptions import describe_index
from edgeexit.daemon.http.body import read_body
from edgeexit.daemon.http.metadata import json_response
from edgeexit.daemon.parameters import check_load_parameters
from edgeexit.errors import MalformedMessage

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import HTTPConnection, Request

    from edgeexit.daemon.contracts import Service

    Check = Callable[[HTTPConnection], None]

MAX_BODY_BYTES: Final = 65_536


class _Index(Struct):
    ready: bool = False


class _Change(Struct):
    parameters: Annotated[dict[str, Any], Meta(max_length=64)] | None = None


class Repository:
    """Lists, loads and unloads models.

    Args:
        service: Who has them.
        require_control: Raises `Denied` for who may not load or unload.
    """

    def __init__(self, service: Service, require_control: Check) -> None:
        self._service = service
        self._require_control = require_control

    async def index(self, request: Request) -> Response:
        """List every model and version, or those alone that are ready."""
        asked = await _read(request, _Index)
        return json_response(describe_index(self._service, ready=asked.ready))

    async def load(self, request: Request) -> Response:
        """Load a model, or load it anew."""
        self._require_control(request)
        asked = await _read(request, _Change)
        check_load_parameters(asked.parameters or ())
        await self._service.load(request.path_params["name"])
        return json_response({})

    async def unload(self, request: Request) -> Response:
        """Unload a model."""
        self._require_control(request)
        await _read(request, _Change)
        await self._service.unload(request.path_params["name"])
        return json_response({})


async def _read(request: Request, kind: Callable[..., Any]) -> Any:
    body = await read_body(request.scope, request.receive, MAX_BODY_BYTES)
    if not body.strip():
        return kind()
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessage(f"the JSON is not as the protocol says: {error}") from None
