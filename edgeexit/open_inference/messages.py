"""What stands in the JSON of the protocol's messages, with limits that msgspec checks as it reads."""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta, Raw, Struct

MOST_TENSORS: Final = 64
MOST_AXES: Final = 16
MOST_CHARACTERS: Final = 256
MOST_ID_CHARACTERS: Final = 1024

Name = Annotated[str, Meta(min_length=1, max_length=MOST_CHARACTERS)]
Identity = Annotated[str, Meta(max_length=MOST_ID_CHARACTERS)]
Size = Annotated[int, Meta(ge=0, le=2**62)]
Shape = Annotated[list[Size], Meta(max_length=MOST_AXES)]
Scalar = str | int | float | bool


class TensorParameters(Struct, omit_defaults=True):
    """Parameters of a tensor that comes with its values; others are ignored."""

    binary_data_size: Size | None = None
    """Bytes of its values behind the JSON; None if they stand in `data`."""
    shared_memory_region: str | None = None


class TensorMessage(Struct, omit_defaults=True):
    """A tensor with its values: an input of a request, or an output of a response."""

    name: Name
    shape: Shape
    datatype: Name
    parameters: TensorParameters | None = None
    data: Raw = Raw()
    """Its values as JSON text, which is read once the datatype is known; empty if there are none."""


class OutputParameters(Struct, omit_defaults=True):
    """How an output is wanted; other parameters are ignored."""

    binary_data: bool | None = None
    classification: Annotated[int, Meta(ge=0)] | None = None
    """So many classes, the likeliest first, instead of the values."""
    shared_memory_region: str | None = None


class OutputMessage(Struct, omit_defaults=True):
    """An output that a request wants."""

    name: Name
    parameters: OutputParameters | None = None


class RequestParameters(Struct, omit_defaults=True):
    """Parameters of a request; others are ignored.

    Attributes:
        latency_budget_s: Time until the answer is due.
        energy_budget_j: What the inference may draw.
        exit_rule: Name of one of the bundle's calibrated settings.
        allowed_drop: Accuracy that it may cost, in points.
        priority: Above 0 goes before, below 0 after.
        timeout: Time until the answer is due, in microseconds, as NVIDIA's clients give it; 0 for none.
        binary_data_output: True if outputs that do not say otherwise are wanted raw.
    """

    latency_budget_s: float | None = None
    energy_budget_j: float | None = None
    exit_rule: Name | None = None
    allowed_drop: float | None = None
    priority: int | None = None
    timeout: Annotated[int, Meta(ge=0)] | None = None
    binary_data_output: bool | None = None


class RequestMessage(Struct, omit_defaults=True):
    """JSON of a request to infer."""

    inputs: Annotated[list[TensorMessage], Meta(max_length=MOST_TENSORS)]
    id: Identity | None = None
    parameters: RequestParameters | None = None
    outputs: Annotated[list[OutputMessage], Meta(max_length=MOST_TENSORS)] | None = None


class ResponseMessage(Struct, omit_defaults=True):
    """JSON of the answer to it."""

    model_name: str
    outputs: Annotated[list[TensorMessage], Meta(max_length=MOST_TENSORS)]
    model_version: str | None = None
    id: str | None = None
    parameters: dict[str, Any] | None = None
