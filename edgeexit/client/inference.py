"""A question to a model as a request of the Open Inference Protocol, and the answer to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from edgeexit.client.answers import Answer, ModelMetadata
from edgeexit.errors import InputError, MalformedMessage, ServeError, TooLarge
from edgeexit.open_inference import RequestedOutput, decode_response, encode_request
from edgeexit.open_inference.framing import HEADER, json_length

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgeexit.open_inference import InferResponse

    Array = NDArray[Any]
    Inputs = Array | Mapping[str, Array]

T = TypeVar("T")

PROBABILITIES: Final = "probabilities"
LABEL: Final = "label"
EXIT_INDEX: Final = "exit_index"
_OUTPUTS: Final = tuple(RequestedOutput(name, binary=True) for name in (PROBABILITIES, LABEL, EXIT_INDEX))
_OCTETS: Final = "application/octet-stream"
_LABEL_SET: Final = "labels"
"""The task of a bundle of whose labels several can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a model is asked; the options are those of `Client.infer`."""

    model: str
    inputs: Inputs
    version: str | None = None
    latency_budget_s: float | None = None
    energy_budget_j: float | None = None
    exit_rule: str | None = None
    allowed_drop: float | None = None
    priority: int = 0

    def preparer(self, metadata: ModelMetadata) -> Callable[[float | None], tuple[dict[str, str], bytes]]:
        """Return what makes headers and body, given the seconds that are left until the answer is due.

        Raises:
            InputError: If the model has several inputs, and one array was given; later if the protocol has no datatype
                for an array.
        """
        inputs = self._by_name(metadata)

        def prepare(left_s: float | None) -> tuple[dict[str, str], bytes]:
            try:
                frame = encode_request(inputs, outputs=_OUTPUTS, parameters=self._parameters(left_s))
            except MalformedMessage as error:
                raise InputError(str(error)) from error
            headers = {"content-type": _OCTETS}
            if frame.json_length is not None:
                headers[HEADER] = str(frame.json_length)
            return headers, frame.body

        return prepare

    def _by_name(self, metadata: ModelMetadata) -> dict[str, Array]:
        if isinstance(self.inputs, Mapping):
            return {name: np.asarray(array) for name, array in self.inputs.items()}
        names = [each.name for each in metadata.inputs]
        if len(names) != 1:
            raise InputError(f"model {self.model!r} has the inputs {', '.join(names)}: give a mapping by name")
        return {names[0]: np.asarray(self.inputs)}

    def _parameters(self, left_s: float | None) -> dict[str, str | int | float | bool]:
        asked = {
            "latency_budget_s": left_s,
            "energy_budget_j": self.energy_budget_j,
            "exit_rule": self.exit_rule,
            "allowed_drop": self.allowed_drop,
            "priority": self.priority or None,
        }
        return {name: value for name, value in asked.items() if value is not None}


def read_answer(headers: Mapping[str, str], body: bytes, metadata: ModelMetadata) -> Answer:
    """Read what a model has answered.

    Args:
        headers: Of the reply.
        body: Of the reply.
        metadata: Of the model, for the names of its classes.

    Raises:
        ServeError: If it is not as the protocol says.
    """
    try:
        response = decode_response(body, json_length(headers.get(HEADER)))
    except (MalformedMessage, TooLarge) as error:
        raise ServeError(f"the server's answer cannot be read: {error}") from error
    labels = _output(response, LABEL, "i", 1)
    told = response.parameters
    return Answer(
        model=response.model_name,
        version=response.model_version or "",
        labels=labels,
        class_names=_names(labels, metadata.parameters),
        probabilities=_output(response, PROBABILITIES, "f", 2),
        exit_index=_output(response, EXIT_INDEX, "i", 1),
        exits_looked_at=_looked_at(_told(told, "exits_looked_at", str)),
        reason=_told(told, "reason", str) or "",
        latency_s=_told(told, "latency_s", float),
        queue_s=_told(told, "queue_s", float),
        energy_j=_told(told, "energy_j", float),
        energy_source=_told(told, "energy_source", str),
        energy_uncertainty_j=_told(told, "energy_uncertainty_j", float),
        deadline_met=_told(told, "deadline_met", bool),
        clocks=_clocks(_told(told, "clocks", str)),
    )


def _output(response: InferResponse, name: str, kind: str, rank: int) -> Array:
    array = response.outputs.get(name)
    if array is None or array.dtype.kind != kind or array.ndim != rank:
        raise ServeError(
            f"model {response.model_name!r} has no output {name!r} as edgeexit's daemon gives it: "
            "ask a server of another kind by a client of its own"
        )
    return array


def _told(parameters: Mapping[str, Any], name: str, kind: type[T]) -> T | None:
    """Return a parameter of the response if it is there and of its kind; a whole number will do for a float."""
    value = parameters.get(name)
    if kind is float and type(value) is int:
        value = float(value)
    return value if type(value) is kind else None


def _looked_at(text: str | None) -> tuple[int, ...] | None:
    if not text:
        return None
    return tuple(int(part) for part in text.split(",") if part.isdecimal())


def _clocks(text: str | None) -> dict[str, int]:
    """Read "gpu=1300500000,cpu=2035200000"; domains that stand there without a whole number are left out."""
    pairs = (part.partition("=") for part in (text or "").split(","))
    return {name.strip(): int(hz) for name, _, hz in pairs if hz.isdecimal()}


def _names(labels: Sequence[int] | Array, parameters: Mapping[str, Any]) -> tuple[str, ...] | None:
    names = parameters.get("labels")
    if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
        return None
    if parameters.get("task") == _LABEL_SET:
        return tuple(_set_name(names, int(label)) for label in labels)
    return tuple(names[label] if 0 <= label < len(names) else str(label) for label in labels)


def _set_name(names: Sequence[str], label: int) -> str:
    """Return the names of all labels that hold, as `edgeexit.Result.class_name` has them."""
    return " + ".join(name for bit, name in enumerate(names) if label >> bit & 1) or "none"
