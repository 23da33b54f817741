"""The description of the API says what the codec reads."""

import jsonschema_rs
import msgspec
import pytest
from made_up_daemon import MODELS, answer, result, status

from edgeexit.daemon.contracts import InferOptions
from edgeexit.daemon.http.openapi import document
from edgeexit.daemon.http.seeing import Settings
from edgeexit.daemon.seeing.minute import LastMinute
from edgeexit.daemon.seeing.state import state_of
from edgeexit.errors import Refused
from edgeexit.open_inference import messages
from edgeexit.protocols import Conditions


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("InferRequest", messages.RequestMessage),
        ("InferParameters", messages.RequestParameters),
        ("InferAnswer", messages.ResponseMessage),
        ("RequestedOutput", messages.OutputMessage),
        ("RequestedOutputParameters", messages.OutputParameters),
        ("Tensor", messages.TensorMessage),
        ("TensorParameters", messages.TensorParameters),
    ],
)
def test_a_schema_has_the_keys_of_its_message(schema, message):
    properties = document()["components"]["schemas"][schema]["properties"]
    assert set(properties) == {field.name for field in msgspec.structs.fields(message)}


def strict(schema):
    """Return a schema that allows no key but those that it names."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {"additionalProperties": False} if "properties" in schema else {}
    return closed | {key: strict(value) for key, value in schema.items()}


def validator(name):
    """Return what checks against a schema of the description."""
    components = strict(document()["components"])
    return jsonschema_rs.validator_for({"$ref": f"#/components/schemas/{name}", "components": components})


def state_with(minute, **changes):
    """Return the state of a made-up daemon as it goes over the wire."""

    class Service:
        def status(self):
            return status(**changes)

        def models(self):
            return MODELS

    return msgspec.json.decode(msgspec.json.encode(state_of(Service(), minute)))


def test_the_state_is_as_its_schema_says():
    minute = LastMinute()
    minute.answered(answer(result(0), result(2)), InferOptions())
    minute.refused("m", Refused("full", 1.0))
    validator("State").validate(state_with(minute))


def test_the_state_of_a_daemon_that_knows_little_is_as_its_schema_says():
    little = {"governor": None, "conditions": Conditions(), "energy_source": None, "latency_budget_s": None}
    validator("State").validate(state_with(LastMinute(), **little))


@pytest.mark.parametrize("key", list(state_with(LastMinute())))
def test_a_state_that_lacks_something_is_not_as_its_schema_says(key):
    state = state_with(LastMinute())
    del state[key]
    assert not validator("State").is_valid(state)


def test_the_schema_of_settings_has_their_keys():
    properties = document()["components"]["schemas"]["Settings"]["properties"]
    assert set(properties) == set(Settings.__struct_fields__)


@pytest.mark.parametrize("settings", [{"latency_budget_s": 0}, {"governor": None}, {"deadline": 1}])
def test_settings_that_cannot_be_are_not_as_their_schema_says(settings):
    assert not validator("Settings").is_valid(settings)
