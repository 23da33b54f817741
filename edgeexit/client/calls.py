"""What each call sends, and how its answer is read; the same for both clients.

Each call is a generator of `exchange.Steps`: whoever runs it sends what it yields and hands back what came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import quote

import msgspec

from edgeexit.client.answers import Answer, ModelMetadata, ServedModel, TensorMetadata
from edgeexit.client.exchange import Call, Persistence, Reply, Steps, persist
from edgeexit.client.inference import Question, read_answer
from edgeexit.errors import InputError, ModelNotFound, ModelNotReady, OptionError, ServeError

T = TypeVar("T")
Known = dict[tuple[str, str | None], ModelMetadata]
"""Metadata by model and version, as far as it was asked for."""

STATE: Final = "/edgeexit/v1/state"
SETTINGS: Final = "/edgeexit/v1/settings"
_JSON: Final[Mapping[str, str]] = {"content-type": "application/json"}


def infer(question: Question, known: Known, persistence: Persistence) -> Steps[Answer]:
    """Ask a model; what it takes and how its classes are called is asked once before.

    Raises:
        EdgeExitError: As `exchange.persist`.
    """
    budget_s = question.latency_budget_s
    if budget_s is not None and not budget_s > 0:
        raise OptionError(f"latency_budget_s must be seconds above 0, not {budget_s!r}")
    key = (question.model, question.version)
    about = known.get(key)
    if about is None:
        about = known[key] = yield from metadata(*key, persistence)
    call = Call("POST", f"{_model_path(*key)}/infer", question.preparer(about), question.latency_budget_s)
    try:
        reply = yield from persist(call, persistence)
    except (InputError, ModelNotFound):  # it may be another model by now
        known.pop(key, None)
        raise
    return read_answer(reply.headers, reply.body, about)


def metadata(model: str, version: str | None, persistence: Persistence) -> Steps[ModelMetadata]:
    """Ask what a model takes and returns."""
    reply = yield from persist(Call("GET", _model_path(model, version)), persistence)
    told = _read(reply, _Metadata)
    return ModelMetadata(
        name=told.name,
        versions=tuple(told.versions),
        platform=told.platform,
        inputs=tuple(TensorMetadata(each.name, each.datatype, tuple(each.shape)) for each in told.inputs),
        outputs=tuple(TensorMetadata(each.name, each.datatype, tuple(each.shape)) for each in told.outputs),
        parameters=told.parameters,
    )


def models(persistence: Persistence) -> Steps[tuple[ServedModel, ...]]:
    """Ask which models are served."""
    reply = yield from persist(Call("POST", "/v2/repository/index", _body_of({})), persistence)
    return tuple(ServedModel(each.name, each.version, each.state, each.reason) for each in _read(reply, list[_Indexed]))


def ready(model: str | None, version: str | None, persistence: Persistence) -> Steps[bool]:
    """Ask whether the daemon, or one model, can answer."""
    path = "/v2/health/ready" if model is None else f"{_model_path(model, version)}/ready"
    try:
        yield from persist(Call("GET", path), persistence)
    except ModelNotReady:
        return False
    return True


def repository(model: str, what: str, persistence: Persistence) -> Steps[None]:
    """Have a model loaded or unloaded: `what` is "load" or "unload"."""
    path = f"/v2/repository/models/{quote(model, safe='')}/{what}"
    yield from persist(Call("POST", path, _body_of({})), persistence)


def state(persistence: Persistence) -> Steps[dict[str, Any]]:
    """Ask how the daemon is doing."""
    return _read((yield from persist(Call("GET", STATE), persistence)), dict[str, Any])


def change(settings: Mapping[str, Any], persistence: Persistence) -> Steps[None]:
    """Have the daemon take other settings."""
    yield from persist(Call("POST", SETTINGS, _body_of(settings), invalid=OptionError), persistence)


def settings_of(governor: str | None, latency_budget_s: float | None, *, no_deadline: bool) -> dict[str, Any]:
    """Return the settings that are to change.

    Raises:
        OptionError: If nothing is, or a deadline is set and taken away at once.
    """
    if no_deadline and latency_budget_s is not None:
        raise OptionError("give either latency_budget_s or no_deadline, not both")
    settings: dict[str, Any] = {} if governor is None else {"governor": governor}
    if no_deadline or latency_budget_s is not None:
        settings["latency_budget_s"] = latency_budget_s
    if not settings:
        raise OptionError("nothing to change: give governor, latency_budget_s or no_deadline")
    return settings


class _Tensor(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]


class _Metadata(msgspec.Struct):
    name: str
    versions: list[str] = []
    platform: str = ""
    inputs: list[_Tensor] = []
    outputs: list[_Tensor] = []
    parameters: dict[str, Any] = {}


class _Indexed(msgspec.Struct):
    name: str
    version: str = ""
    state: str = ""
    reason: str = ""


def _model_path(model: str, version: str | None) -> str:
    versions = "" if version is None else f"/versions/{quote(version, safe='')}"
    return f"/v2/models/{quote(model, safe='')}{versions}"


def _body_of(content: Mapping[str, Any]) -> Any:
    body = msgspec.json.encode(content)
    return lambda _budget_s: (_JSON, body)


def _read(reply: Reply, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ServeError(f"the server's answer is not what the protocol says: {error}") from error
