"""The daemon's description of its routes: OpenAPI 3.1, at /openapi.json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.responses import Response
from starlette.routing import Route

import edgeexit
from edgeexit.daemon.http.openapi_schemas import Schema, ref, schemas
from edgeexit.open_inference.framing import HEADER

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

_JSON: Final = "application/json"
_BINARY: Final = "application/octet-stream"
_TEXTS: Final = {
    "400": "Something about the request is wrong.",
    "401": "The token is needed.",
    "403": "It is not allowed, token or not.",
    "404": "There is no such model, version or path.",
    "409": "The bundle is damaged.",
    "413": "The body is beyond a limit.",
    "415": "The body is encoded in a way that is not known here.",
    "422": "No deadline like this one can be met.",
    "500": "The engine failed.",
    "503": "The model is not ready, or the queue is full.",
    "504": "The deadline passed before the request was begun.",
}
_EVERYWHERE: Final = ("400", "401", "403")
_OF_A_MODEL: Final = (*_EVERYWHERE, "404", "503")
_OF_INFER: Final = (*_OF_A_MODEL, "413", "415", "422", "500", "504")
_OF_CONTROL: Final = (*_EVERYWHERE, "404", "409", "500")


def document() -> dict[str, Any]:
    """Return the description."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "edgeexit",
            "version": edgeexit.__version__,
            "description": "The Open Inference Protocol, version 2, and what the daemon shows of itself.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": _protocol_paths() | _daemon_paths(),
        "components": {
            "schemas": schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def routes() -> list[BaseRoute]:
    """Return the route of the description."""
    text = msgspec.json.encode(document())

    async def describe(_: Request) -> Response:
        return Response(text, media_type=_JSON)

    return [Route("/openapi.json", describe)]


def _protocol_paths() -> dict[str, Any]:
    return {
        "/v2": {"get": _get("Name, version and extensions", "Server", _EVERYWHERE)},
        "/v2/health/live": {"get": _get("Whether the server answers", "Live")},
        "/v2/health/ready": {"get": _ready("Whether every model can be used", ())},
        "/v2/models/stats": {"get": _get("How often and how long every model was asked", "Statistics", _EVERYWHERE)},
        **_model_paths("/v2/models/{name}", [_in_path("name")]),
        **_model_paths("/v2/models/{name}/versions/{version}", [_in_path("name"), _in_path("version")]),
        "/v2/repository/index": {"post": _post("Models and versions", "IndexRequest", "Index", _EVERYWHERE)},
        "/v2/repository/models/{name}/load": _control("Load a model, or load it anew"),
        "/v2/repository/models/{name}/unload": _control("Unload a model"),
        "/openapi.json": {"get": _get("This description", "Nothing", _EVERYWHERE)},
    }


def _daemon_paths() -> dict[str, Any]:
    settings = _post("Take another governor or deadline", "Settings", "State", _EVERYWHERE, required=True)
    return {
        "/": {"get": _page("The dashboard", "text/html")},
        "/metrics": {"get": _page("Figures for Prometheus", "text/plain")},
        "/edgeexit/v1/state": {"get": _get("How the daemon is doing", "State", _EVERYWHERE)},
        "/edgeexit/v1/settings": {"post": {**settings, "security": [{"token": []}]}},
    }


def _model_paths(path: str, parameters: list[Schema]) -> dict[str, Any]:
    operations = {
        "/infer": {"post": _infer()},
        "": {"get": _get("Versions, inputs and outputs", "Model", _OF_A_MODEL)},
        "/ready": {"get": _ready("Whether it can be used", (*_EVERYWHERE, "404"))},
        "/config": {"get": _get("Its configuration", "ModelConfig", _OF_A_MODEL)},
        "/stats": {"get": _get("How often and how long it was asked", "Statistics", (*_EVERYWHERE, "404"))},
    }
    return {f"{path}{end}": {"parameters": parameters, **operation} for end, operation in operations.items()}


def _in_path(name: str) -> Schema:
    pattern = r"^[0-9]{1,18}$" if name == "version" else r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": pattern}}


def _get(summary: str, schema: str, errors: tuple[str, ...] = ()) -> Schema:
    return {"summary": summary, "responses": {"200": _content("As asked.", schema), **_errors(errors)}}


def _ready(summary: str, errors: tuple[str, ...]) -> Schema:
    responses = {"200": _content("It is.", "Ready"), "503": _content("It is not.", "Ready")}
    return {"summary": summary, "responses": responses | _errors(errors)}


def _page(summary: str, kind: str) -> Schema:
    found = {"description": "As asked.", "content": {kind: {"schema": {"type": "string"}}}}
    return {"summary": summary, "responses": {"200": found, **_errors(_EVERYWHERE)}}


def _post(summary: str, asked: str, answer: str, errors: tuple[str, ...], *, required: bool = False) -> Schema:
    body = {"required": required, "content": {_JSON: {"schema": ref(asked)}}}
    return {**_get(summary, answer, (*errors, "413")), "requestBody": body}


def _control(summary: str) -> Schema:
    post = _post(summary, "LoadRequest", "Nothing", _OF_CONTROL)
    return {"parameters": [_in_path("name")], "post": {**post, "security": [{"token": []}]}}


def _infer() -> Schema:
    raw = {"schema": {"type": "string", "format": "binary"}}
    header = {HEADER: {"description": "Bytes of JSON before raw outputs.", "schema": {"type": "integer"}}}
    found = _content("The outputs.", "InferAnswer")
    found["content"][_BINARY] = raw
    return {
        "summary": "Infer",
        "description": f"JSON, or JSON and raw tensors with the header {HEADER}; no Content-Type is needed.",
        "parameters": [{"name": HEADER, "in": "header", "schema": {"type": "integer", "minimum": 1}}],
        "requestBody": {"required": True, "content": {_JSON: {"schema": ref("InferRequest")}, _BINARY: raw}},
        "responses": {"200": {**found, "headers": header}, **_errors(_OF_INFER)},
    }


def _content(text: str, schema: str) -> Schema:
    return {"description": text, "content": {_JSON: {"schema": ref(schema)}}}


def _errors(statuses: tuple[str, ...]) -> dict[str, Schema]:
    return {status: _content(_TEXTS[status], "Error") for status in statuses}
