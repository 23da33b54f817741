"""Answers to requests to infer, to bytes and from bytes."""

import json

import numpy as np
import pytest

from edgeexit.errors import MalformedMessage
from edgeexit.open_inference import OutputTensor, decode_response, encode_response

LOGITS = np.array([[0.5, np.inf]], np.float32)


def answer(*outputs, **more):
    return encode_response("net", "2", outputs, parameters={"latency_s": 0.25, "deadline_met": True}, **more)


def test_an_answer_in_json_has_no_length_of_it():
    frame = answer(OutputTensor("label", np.array([3]), False), request_id="a")
    assert frame.json_length is None
    assert json.loads(frame.body) == {
        "model_name": "net",
        "model_version": "2",
        "id": "a",
        "parameters": {"latency_s": 0.25, "deadline_met": True},
        "outputs": [{"name": "label", "shape": [1], "datatype": "INT64", "data": [3]}],
    }


def test_raw_outputs_have_their_size_and_no_data():
    frame = answer(OutputTensor("label", np.array([3]), True))
    head = json.loads(frame.body[: frame.json_length])
    assert head["outputs"] == [
        {"name": "label", "shape": [1], "datatype": "INT64", "parameters": {"binary_data_size": 8}}
    ]
    assert frame.body[frame.json_length :] == b"\3\0\0\0\0\0\0\0"


def test_an_empty_raw_output_still_has_the_length_of_the_json():
    frame = answer(OutputTensor("label", np.empty(0, np.int64), True))
    assert frame.json_length == len(frame.body)


def test_raw_outputs_begin_at_a_multiple_of_64():
    assert answer(OutputTensor("label", np.array([3]), True)).json_length % 64 == 0


def test_an_answer_comes_back_as_it_was_sent():
    names = OutputTensor("names", np.array([["a", "b"]], object), True)
    frame = answer(OutputTensor("logits", LOGITS, True), OutputTensor("label", np.array([1]), False), names)
    response = decode_response(*frame)
    np.testing.assert_array_equal(response.outputs["logits"], LOGITS)
    assert response.outputs["label"].tolist() == [1]
    assert response.outputs["names"].tolist() == [[b"a", b"b"]]
    assert (response.model_name, response.model_version, response.id) == ("net", "2", None)
    assert response.parameters == {"latency_s": 0.25, "deadline_met": True}


def test_infinity_comes_back_from_json():
    response = decode_response(*answer(OutputTensor("logits", LOGITS, False)))
    np.testing.assert_array_equal(response.outputs["logits"], LOGITS)


def test_a_string_that_is_not_utf8_has_to_be_raw():
    with pytest.raises(MalformedMessage, match="ask for it in binary"):
        answer(OutputTensor("names", np.array([b"\xff"], object), False))


def test_what_is_no_answer_is_refused():
    with pytest.raises(MalformedMessage, match="model_name"):
        decode_response(b'{"outputs": []}', None)


def with_values(datatype, values):
    output = {"name": "y", "datatype": datatype, "shape": [2], "data": values}
    return json.dumps({"model_name": "net", "outputs": [output]}).encode()


@pytest.mark.parametrize(("datatype", "values"), [("INT32", [float("nan"), 1]), ("BYTES", [1, float("nan")])])
def test_nan_is_no_value_of_another_datatype(datatype, values):
    with pytest.raises(MalformedMessage, match=f"are not {datatype}"):
        decode_response(with_values(datatype, values), None)


@pytest.mark.parametrize(
    "body",
    [
        b"NaN",
        b'{"outputs": NaN}',
        b'{"outputs":[' + b"[" * 100_000 + b"NaN",
        b'{"outputs":[],"id":"\\ud800","x":NaN}',
        b'{"outputs":[],"id":"\xed\xa0\x80","x":NaN}',
    ],
)
def test_what_holds_nan_and_is_no_answer_is_refused(body):
    with pytest.raises(MalformedMessage):
        decode_response(body, None)
