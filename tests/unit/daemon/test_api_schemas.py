"""The description of the API says what the codec reads."""

import msgspec
import pytest

from edgeexit.daemon.http.openapi import document
from edgeexit.open_inference import messages


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
