"""The JSON of the daemon's requests and answers, for its description in OpenAPI."""

from __future__ import annotations

from typing import Any, Final

from edgeexit.daemon.seeing.minute import QUANTILES
from edgeexit.open_inference.datatypes import DATATYPES
from edgeexit.open_inference.messages import MOST_AXES, MOST_CHARACTERS, MOST_ID_CHARACTERS, MOST_TENSORS

Schema = dict[str, Any]

_STRING: Final[Schema] = {"type": "string"}
_NUMBER: Final[Schema] = {"type": "number"}
_INTEGER: Final[Schema] = {"type": "integer"}
_BOOLEAN: Final[Schema] = {"type": "boolean"}
_NAME: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": MOST_CHARACTERS}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_ANY_PARAMETERS: Final[Schema] = {"type": "object"}


def ref(name: str) -> Schema:
    """Return a reference to a schema of `schemas`."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: str = "", **properties: Schema) -> Schema:
    schema: Schema = {"type": "object", "properties": properties}
    return schema | ({"required": required.split()} if required else {})


def _list(items: Schema, **limits: int) -> Schema:
    return {"type": "array", "items": items, **limits}


def _map(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _told(text: str, schema: Schema) -> Schema:
    return {**schema, "description": text}


def schemas() -> dict[str, Schema]:
    """Return every schema by its name."""
    return {
        "Error": _object("error", error=_told("What was asked, found, and what to do.", _STRING)),
        **_of_requests(),
        **_of_answers(),
        **_of_metadata(),
        **_of_the_daemon(),
    }


def _of_requests() -> dict[str, Schema]:
    shape = _list({"type": "integer", "minimum": 0, "maximum": 2**62}, maxItems=MOST_AXES)
    return {
        "Tensor": _object(
            "name shape datatype",
            name=_NAME,
            shape=shape,
            datatype={"enum": list(DATATYPES)},
            parameters=_or_null(ref("TensorParameters")),
            data=_told("Flat, or nested as the shape; left out for raw values.", _list({})),
        ),
        "TensorParameters": _object(
            binary_data_size=_or_null(_told("Bytes of the raw values behind the JSON.", _COUNT)),
            shared_memory_region=_or_null(_told("Not supported.", _STRING)),
        ),
        "RequestedOutput": _object("name", name=_NAME, parameters=_or_null(ref("RequestedOutputParameters"))),
        "RequestedOutputParameters": _object(
            binary_data=_or_null(_BOOLEAN),
            classification=_or_null(_told("So many classes, the likeliest first, instead of the values.", _COUNT)),
            shared_memory_region=_or_null(_told("Not supported.", _STRING)),
        ),
        "InferParameters": _infer_parameters(),
        "InferRequest": _object(
            "inputs",
            inputs=_list(ref("Tensor"), maxItems=MOST_TENSORS),
            id=_or_null({"type": "string", "maxLength": MOST_ID_CHARACTERS}),
            parameters=_or_null(ref("InferParameters")),
            outputs=_or_null(_list(ref("RequestedOutput"), maxItems=MOST_TENSORS)),
        ),
    }


def _infer_parameters() -> Schema:
    above_0: Schema = {"type": "number", "exclusiveMinimum": 0}
    return _object(
        latency_budget_s=_or_null(_told("Time until the answer is due, in seconds.", above_0)),
        energy_budget_j=_or_null(_told("What the inference may draw, in joules.", above_0)),
        exit_rule=_or_null(_told("One of the bundle's calibrated settings.", _NAME)),
        allowed_drop=_or_null(_told("Accuracy that it may cost, in points.", {"type": "number", "minimum": 0})),
        priority=_or_null(_told("Above 0 goes before, below 0 after.", _INTEGER)),
        timeout=_or_null(_told("Time until the answer is due, in microseconds; 0 for none.", _COUNT)),
        binary_data_output=_or_null(_told("True for raw outputs.", _BOOLEAN)),
    )


def _of_answers() -> dict[str, Schema]:
    return {
        "InferAnswer": _object(
            "model_name model_version outputs parameters",
            model_name=_STRING,
            model_version=_STRING,
            id=_STRING,
            parameters=_object(
                "latency_s queue_s",
                latency_s=_NUMBER,
                queue_s=_NUMBER,
                deadline_met=_BOOLEAN,
                exit_index=_told("Of a batch: of the sample that went deepest.", _INTEGER),
                exits_looked_at=_told('For instance "0,2".', _STRING),
                reason=_STRING,
                energy_j=_NUMBER,
                energy_source=_STRING,
                energy_uncertainty_j=_NUMBER,
                energy_budget_met=_told("Without idling, as the cost table has it.", _BOOLEAN),
                clocks=_told('In Hz, for instance "gpu=1300500000".', _STRING),
            ),
            outputs=_list(ref("Tensor")),
        )
    }


def _of_metadata() -> dict[str, Schema]:
    about = _object("name datatype shape", name=_STRING, datatype={"enum": list(DATATYPES)}, shape=_list(_INTEGER))
    entry = _object("name version state reason", name=_STRING, version=_STRING, state=_STRING, reason=_STRING)
    return {
        "Server": _object("name version extensions", name=_STRING, version=_STRING, extensions=_list(_STRING)),
        "Live": _object("live", live=_BOOLEAN),
        "Ready": _object("ready", name=_STRING, ready=_BOOLEAN),
        "Model": _object(
            "name versions platform inputs outputs",
            name=_STRING,
            versions=_list(_STRING),
            platform=_STRING,
            inputs=_list(about),
            outputs=_list(about),
        ),
        "ModelConfig": _object("name platform backend max_batch_size input output", name=_STRING),
        "Statistics": _object("model_stats", model_stats=_list(_object("name version inference_stats", name=_STRING))),
        "IndexRequest": _object(ready=_told("True for models alone that are ready.", _BOOLEAN)),
        "Index": _list(entry),
        "LoadRequest": _object(parameters=_or_null(_ANY_PARAMETERS)),
        "Nothing": _object(),
    }


def _of_the_daemon() -> dict[str, Schema]:
    above_0: Schema = {"type": "number", "exclusiveMinimum": 0}
    settings = _object(
        governor=_told('Its name, or "none"; left out to keep it.', _STRING),
        latency_budget_s=_or_null(_told("Of requests that bring none; null for none; left out to keep it.", above_0)),
    )
    return {
        "State": _state(),
        "StateOfClock": _object("hz points_hz", hz=_or_null(_COUNT), points_hz=_list(_COUNT)),
        "StateOfModel": _state_of_model(),
        "LastMinute": _last_minute(),
        "Recent": _recent(),
        "Settings": {**settings, "additionalProperties": False},
    }


def _state() -> Schema:
    properties = {
        "edgeexit": _told("Version.", _STRING),
        "uptime_s": _NUMBER,
        "device": _STRING,
        "simulated": _told("True if clocks and energy are those of a simulated board.", _BOOLEAN),
        "governor": _or_null(_STRING),
        "governors": _told("Those that the settings take.", _list(_STRING)),
        "latency_budget_s": _or_null(_told("Of requests that bring none.", _NUMBER)),
        "queue": _object("length limit", length=_COUNT, limit=_COUNT),
        "clocks": _told("By the name of their domain.", _map(ref("StateOfClock"))),
        "clocks_set_by": _STRING,
        "clocks_reason": _STRING,
        "temperature_c": _or_null(_NUMBER),
        "power_w": _or_null(_NUMBER),
        "throttled": _or_null(_told("Why the board holds its clocks down; empty if it does not.", _list(_STRING))),
        "cpu_load": _or_null(_told("Busy share of all cores.", {"type": "number", "minimum": 0, "maximum": 1})),
        "energy_source": _or_null(_STRING),
        "models": _list(ref("StateOfModel")),
        "minute": ref("LastMinute"),
        "recent": _told("Answers of late, the newest last.", _list(ref("Recent"))),
    }
    return _told("What is not known is null.", _object(" ".join(properties), **properties))


def _state_of_model() -> Schema:
    return _object(
        "name version ready state reason exits drifted",
        name=_STRING,
        version=_STRING,
        ready=_BOOLEAN,
        state={"enum": ["ready", "loading", "unloaded", "failed"]},
        reason=_told("Why it is not as it should be.", _STRING),
        exits=_or_null(_told("How many it has; null while it has never been loaded.", _COUNT)),
        drifted=_told("True if its exits are no longer distributed as in calibration.", _BOOLEAN),
    )


def _last_minute() -> Schema:
    quantiles = {f"p{100 * share:g}": _or_null(_NUMBER) for share in QUANTILES}
    return _object(
        "answered rate_hz refused latency_s deadlines_met deadlines_missed energy_per_sample_j exits",
        answered=_COUNT,
        rate_hz=_told("Answers a second.", _NUMBER),
        refused=_told("How many, by reason.", _map(_COUNT)),
        latency_s=_object(" ".join(quantiles), **quantiles),
        deadlines_met=_COUNT,
        deadlines_missed=_COUNT,
        energy_per_sample_j=_or_null(_NUMBER),
        exits=_told("Samples by model and exit index.", _map(_map(_COUNT))),
    )


def _recent() -> Schema:
    return _object(
        "model exit_index latency_s latency_budget_s energy_j clocks reason",
        model=_STRING,
        exit_index=_COUNT,
        latency_s=_NUMBER,
        latency_budget_s=_or_null(_NUMBER),
        energy_j=_or_null(_NUMBER),
        clocks=_told("In Hz.", _map(_COUNT)),
        reason=_told("The governor's, for its last step; empty without one.", _STRING),
    )
