"""Requests and answers in protobuf."""

import contextlib

import numpy as np
import pytest
from grpc_here import infer_request
from hypothesis import given
from hypothesis import strategies as st

from edgeexit.daemon.grpc.requests import read_request
from edgeexit.daemon.grpc.responses import write_response
from edgeexit.daemon.grpc.schema import message_class
from edgeexit.daemon.grpc.wire import MOST_FIELDS, take_out
from edgeexit.daemon.inference import Answered
from edgeexit.errors import MalformedMessage, TooLarge
from edgeexit.open_inference import OutputTensor, RequestedOutput, WireLimits

LIMITS = WireLimits(body_bytes=100_000, json_bytes=10_000, elements=1000, strings=100)


def request_with(**tensor):
    message = message_class("ModelInferRequest")(model_name="m")
    message.inputs.add(**({"name": "x"} | tensor))
    return message


def read(message):
    return read_request(message.SerializeToString(), LIMITS)


def test_raw_values_are_read_and_everything_beside_them():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    message = infer_request(array, model="m", model_version="3", id="7")
    message.parameters["latency_budget_s"].double_param = 0.5
    message.parameters["priority"].uint64_param = 2
    message.parameters["unknown"].string_param = "left alone"
    message.outputs.add(name="label").parameters["classification"].int64_param = 4
    asked = read(message)
    assert (asked.model, asked.version) == ("m", "3")
    np.testing.assert_array_equal(asked.request.inputs["image"], array)
    assert (asked.request.parameters.latency_budget_s, asked.request.parameters.priority) == (0.5, 2)
    assert asked.request.outputs == [RequestedOutput("label", True, 4)]
    assert (asked.request.id, asked.request.all_binary) == ("7", True)


def test_without_a_version_and_an_id_there_are_none():
    asked = read(infer_request(np.zeros((1, 2), np.float32)))
    assert (asked.version, asked.request.id, asked.request.outputs) == (None, None, None)


@pytest.mark.parametrize(
    ("datatype", "field", "values", "expected"),
    [
        ("BOOL", "bool_contents", [True, False], np.array([True, False])),
        ("INT8", "int_contents", [-128, 127], np.array([-128, 127], np.int8)),
        ("INT16", "int_contents", [-32768, 5], np.array([-32768, 5], np.int16)),
        ("INT32", "int_contents", [-(2**31), 5], np.array([-(2**31), 5], np.int32)),
        ("INT64", "int64_contents", [-(2**63), 5], np.array([-(2**63), 5], np.int64)),
        ("UINT8", "uint_contents", [255, 0], np.array([255, 0], np.uint8)),
        ("UINT16", "uint_contents", [65535, 0], np.array([65535, 0], np.uint16)),
        ("UINT32", "uint_contents", [2**32 - 1, 0], np.array([2**32 - 1, 0], np.uint32)),
        ("UINT64", "uint64_contents", [2**64 - 1, 0], np.array([2**64 - 1, 0], np.uint64)),
        ("FP32", "fp32_contents", [0.5, -2.0], np.array([0.5, -2.0], np.float32)),
        ("FP64", "fp64_contents", [0.1, -2.0], np.array([0.1, -2.0], np.float64)),
        ("BYTES", "bytes_contents", [b"\xff\x00", b""], np.array([b"\xff\x00", b""], object)),
    ],
)
def test_typed_values_are_read(datatype, field, values, expected):
    asked = read(request_with(datatype=datatype, shape=[2], contents={field: values}))
    array = asked.request.inputs["x"]
    assert array.dtype == expected.dtype
    assert array.tolist() == expected.tolist()
    assert not asked.request.all_binary


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        ({"datatype": "INT8", "shape": [1], "contents": {"int_contents": [128]}}, "beyond the range of INT8"),
        ({"datatype": "UINT16", "shape": [1], "contents": {"uint_contents": [65536]}}, "beyond the range of UINT16"),
        ({"datatype": "FP16", "shape": [1], "contents": {"fp32_contents": [1]}}, "can only come in raw_input_contents"),
        ({"datatype": "FP32", "shape": [2], "contents": {"fp32_contents": [1]}}, "takes 8 bytes, not 4"),
        ({"datatype": "FP32", "shape": [1], "contents": {"fp64_contents": [1]}}, "takes 4 bytes, not 0"),
        ({"datatype": "FP32", "shape": [-1], "contents": {"fp32_contents": [1]}}, "shape"),
        ({"datatype": "FP33", "shape": [1], "contents": {"fp32_contents": [1]}}, "unknown datatype 'FP33'"),
        ({"datatype": "", "shape": [1]}, "unknown datatype ''"),
        ({"name": "", "datatype": "FP32", "shape": [1], "contents": {"fp32_contents": [1]}}, "name"),
    ],
)
def test_a_tensor_that_is_not_what_it_says_is_refused(tensor, text):
    with pytest.raises(MalformedMessage, match=text):
        read(request_with(**tensor))


def test_a_tensor_has_its_values_in_one_place():
    message = infer_request(np.zeros((1, 2), np.float32))
    message.inputs[0].contents.fp32_contents.extend([1, 2])
    with pytest.raises(MalformedMessage, match="has contents, although there are raw_input_contents"):
        read(message)


def test_every_input_has_values():
    message = infer_request(np.zeros((1, 2), np.float32))
    message.inputs.add(name="y", datatype="FP32", shape=[1])
    with pytest.raises(MalformedMessage, match="1 raw_input_contents came for 2 inputs"):
        read(message)


def test_a_tensor_in_shared_memory_is_refused():
    message = infer_request(np.zeros((1, 2), np.float32))
    message.inputs[0].parameters["shared_memory_region"].string_param = "r"
    with pytest.raises(MalformedMessage, match="shared memory"):
        read(message)


@pytest.mark.parametrize(
    ("choice", "value"), [("string_param", "0.5"), ("bool_param", True), ("double_param", float("nan"))]
)
def test_a_parameter_of_another_type_is_refused(choice, value):
    message = infer_request(np.zeros((1, 2), np.float32))
    setattr(message.parameters["latency_budget_s"], choice, value)
    with pytest.raises(MalformedMessage, match="latency_budget_s"):
        read(message)


def test_a_parameter_without_a_value_is_not_given():
    message = infer_request(np.zeros((1, 2), np.float32))
    message.parameters["latency_budget_s"].SetInParent()
    assert read(message).request.parameters.latency_budget_s is None


def test_a_tensor_beyond_the_limit_is_refused_before_it_is_made():
    with pytest.raises(TooLarge, match="1000 are allowed"):
        read(infer_request(np.zeros((1, 1001), np.float32)))


def test_typed_values_beyond_the_limit_are_refused_before_they_are_read():
    with pytest.raises(TooLarge, match="send tensors in raw_input_contents"):
        read(infer_request(np.zeros((1, 3000), np.float32), raw=False))


def test_a_message_of_many_empty_parts_is_refused_before_it_is_read():
    empty_input = b"\x2a\x00"
    with pytest.raises(TooLarge, match=f"more than {MOST_FIELDS} fields"):
        read_request(empty_input * 5000, LIMITS)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    with contextlib.suppress(MalformedMessage):
        read_request(data, LIMITS)


@given(st.data())
def test_a_damaged_request_is_read_or_refused(data):
    sound = bytearray(infer_request(np.zeros((2, 3), np.float32), id="7").SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        sound[data.draw(st.integers(0, len(sound) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MalformedMessage):
        read_request(bytes(sound[: data.draw(st.integers(0, len(sound)))]), LIMITS)


def test_taking_out_leaves_the_rest_and_shares_the_memory():
    message = infer_request(np.arange(4, dtype=np.float32).reshape(1, 4), model="m", id="7")
    data = message.SerializeToString()
    rest, (raw,) = take_out(data, 7, 1000)
    assert raw.obj is data
    assert np.frombuffer(raw, np.float32).tolist() == [0, 1, 2, 3]
    del message.raw_input_contents[:]
    assert message_class("ModelInferRequest").FromString(rest) == message


def answered(*arrays, raw):
    outputs = [OutputTensor(f"y{index}", array, raw) for index, array in enumerate(arrays)]
    return write_response(Answered("m", "3", outputs, {}), request_id=None)


def test_an_answer_has_all_outputs_raw():
    message = answered(np.array([1.0], np.float32), np.array([[b"ab"]], object), raw=True)
    assert list(message.raw_output_contents) == [b"\x00\x00\x80\x3f", b"\x02\x00\x00\x00ab"]
    assert [(each.name, each.datatype, list(each.shape)) for each in message.outputs] == [
        ("y0", "FP32", [1]),
        ("y1", "BYTES", [1, 1]),
    ]


def test_an_answer_has_all_outputs_typed():
    message = answered(np.array([1.5], np.float32), np.array([[b"\xff"]], object), np.array([-3]), raw=False)
    contents = [each.contents for each in message.outputs]
    assert not message.raw_output_contents
    assert list(contents[0].fp32_contents) == [1.5]
    assert list(contents[1].bytes_contents) == [b"\xff"]
    assert list(contents[2].int64_contents) == [-3]


def test_parameters_of_an_answer_keep_their_types():
    parameters = {"a": True, "b": 2, "c": 0.5, "d": "text"}
    message = write_response(Answered("m", "3", [], parameters), request_id="7")
    choices = {name: value.WhichOneof("parameter_choice") for name, value in message.parameters.items()}
    assert choices == {"a": "bool_param", "b": "int64_param", "c": "double_param", "d": "string_param"}
    assert (message.id, message.model_name, message.model_version) == ("7", "m", "3")
