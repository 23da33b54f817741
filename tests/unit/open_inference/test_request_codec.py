"""Requests to infer, from bytes and to bytes."""

import json
import struct

import msgspec
import numpy as np
import pytest

from edgeexit.errors import MalformedMessage, TooLarge
from edgeexit.open_inference import RequestedOutput, WireLimits, decode_request, encode_request
from edgeexit.open_inference.datatypes import DATATYPES, datatype_name
from edgeexit.open_inference.framing import json_length

NUMBERS = [name for name in DATATYPES if name != "BYTES"]


def message(**changes):
    tensor = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1.0, 2.0]} | changes
    return json.dumps({"inputs": [{key: value for key, value in tensor.items() if value is not None}]}).encode()


def refusal(body, length=None, limits=None):
    with pytest.raises(MalformedMessage) as caught:
        decode_request(body, length, limits or WireLimits())
    return str(caught.value)


def with_raw(raw, **changes):
    text = message(data=None, parameters={"binary_data_size": len(raw)}, **changes)
    return text + raw, len(text)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("datatype", NUMBERS)
def test_every_datatype_comes_back_as_it_was_sent(datatype, binary):
    array = np.array([[1, 0, 1]]).astype(DATATYPES[datatype].dtype)
    frame = encode_request({"x": array}, binary=binary, datatypes={"x": datatype})
    back = decode_request(*frame).inputs["x"]
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("binary", [True, False])
def test_strings_come_back_as_bytes(binary):
    array = np.array([["a", "", "grün"]], object)
    back = decode_request(*encode_request({"x": array}, binary=binary)).inputs["x"]
    assert back.tolist() == [[b"a", b"", "grün".encode()]]


def test_raw_values_are_little_endian_behind_the_json():
    body, length = with_raw(struct.pack("<2f", 1.5, -2.0))
    assert decode_request(body, length).inputs["x"].tolist() == [1.5, -2.0]


def test_a_big_endian_array_is_sent_as_the_protocol_says():
    frame = encode_request({"x": np.array([1.5, -2.0], ">f4")})
    assert frame.body[frame.json_length :] == struct.pack("<2f", 1.5, -2.0)


def test_raw_values_that_are_aligned_are_used_where_they_lie():
    frame = encode_request({"x": np.zeros(3, np.float32)})
    array = decode_request(*frame).inputs["x"]
    assert np.shares_memory(array, np.frombuffer(frame.body, np.uint8))


def test_raw_values_that_are_not_aligned_are_copied_to_where_they_are():
    text = message(data=None, parameters={"binary_data_size": 8})
    text += b" " * ((1 - len(text)) % 4)
    array = decode_request(text + struct.pack("<2f", 1.5, -2.0), len(text)).inputs["x"]
    assert array.flags.aligned
    assert array.tolist() == [1.5, -2.0]


def test_several_raw_inputs_follow_in_the_order_of_the_json():
    arrays = {"a": np.array([1], np.uint8), "b": np.array([2.0], np.float64), "c": np.array([[3, 4]], np.int16)}
    inputs = decode_request(*encode_request(arrays)).inputs
    assert {name: array.tolist() for name, array in inputs.items()} == {"a": [1], "b": [2.0], "c": [[3, 4]]}


def test_bfloat16_is_the_upper_half_of_a_float32():
    body, length = with_raw(bytes.fromhex("803f40c0"), datatype="BF16")  # 0x3f80 is 1.0, 0xc040 is -3.0
    array = decode_request(body, length).inputs["x"]
    assert array.dtype == np.float32
    assert array.tolist() == [1.0, -3.0]


def test_a_raw_truth_value_is_true_unless_it_is_0():
    body, length = with_raw(bytes([0, 2]), datatype="BOOL")
    assert decode_request(body, length).inputs["x"].tolist() == [False, True]


def test_json_values_may_be_nested_as_the_shape():
    body = message(shape=[2, 1, 2], data=[[[1, 2]], [[3, 4.5]]])
    assert decode_request(body, None).inputs["x"].tolist() == [[[1.0, 2.0]], [[3.0, 4.5]]]


def test_json_values_may_be_flat_for_any_shape():
    assert decode_request(message(shape=[2, 2], data=[1, 2, 3, 4]), None).inputs["x"].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("data", [[[1, 2], [3]], [[1], 2], [[1, 2, 3, 4]], [[[1, 2]], [[3, 4]]], [[1, 2], "ab"]])
def test_json_values_nested_otherwise_than_the_shape_are_refused(data):
    assert "tensor 'x'" in refusal(message(shape=[2, 2], data=data))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_bare_nan_and_infinity_are_refused_with_the_reason(value):
    assert "NaN and Infinity are no JSON" in refusal(message(shape=[1], data=[value]))


def test_the_reason_is_not_given_where_it_is_another():
    assert "NaN" not in refusal(message(name="NaN", shape="x"))


def test_nan_in_an_array_is_sent_bare():
    frame = encode_request({"x": np.array([np.nan, 1.0], np.float32)}, binary=False)
    assert b"[NaN,1.0]" in frame.body


def test_a_string_that_is_not_utf8_is_refused():
    assert "are not BYTES" in refusal(message(datatype="BYTES", data=["a", "?"]).replace(b"?", b"\xff"))


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("UINT8", [256, 0]),
        ("INT8", [-129, 0]),
        ("UINT64", [2**64, 0]),
        ("UINT64", [-1, 0]),
        ("INT64", [2**63, 0]),
        ("INT32", [1.5, 0]),
        ("FP32", ["1", 0]),
        ("FP32", [True, 0]),
        ("FP32", [None, 0]),
        ("BOOL", [1, 0]),
        ("BYTES", [1, 0]),
    ],
)
def test_a_value_that_is_not_of_the_datatype_is_refused(datatype, data):
    assert f"are not {datatype}" in refusal(message(datatype=datatype, data=data))


def test_the_largest_uint64_is_read():
    array = decode_request(message(datatype="UINT64", data=[2**64 - 1, 2**63]), None).inputs["x"]
    assert array.tolist() == [2**64 - 1, 2**63]


@pytest.mark.parametrize("data", [[1.0], [1.0, 2.0, 3.0], []])
def test_too_few_and_too_many_values_are_refused(data):
    assert refusal(message(data=data)) == f"tensor 'x' of [2] has {len(data)} values, not 2"


def test_raw_values_of_another_size_than_the_shape_are_refused():
    assert refusal(*with_raw(bytes(12))) == "tensor 'x' of FP32 [2] takes 8 bytes, not 12"


def test_a_body_that_ends_before_its_tensors_is_refused():
    body, length = with_raw(bytes(8))
    assert refusal(body[:-1], length) == "tensor 'x' has 8 bytes, but 7 are left of the body"


def test_a_body_that_goes_on_behind_its_tensors_is_refused():
    body, length = with_raw(bytes(8))
    assert refusal(body + b"!", length) == "the body has 1 bytes behind its last tensor"


def test_a_body_that_is_shorter_than_its_json_is_refused():
    assert refusal(b"{}", 3) == "Inference-Header-Content-Length is 3, but the body has 2 bytes"


@pytest.mark.parametrize(
    "raw", [b"", b"\1\0\0", b"\2\0\0\0a", b"\xff\xff\xff\xffa", b"\0\0\0\0", b"\0\0\0\0\0\0\0\0\0"]
)
def test_strings_whose_lengths_do_not_fit_are_refused(raw):
    assert "tensor 'x'" in refusal(*with_raw(raw, datatype="BYTES"))


def test_a_tensor_needs_its_values_once():
    both = message(parameters={"binary_data_size": 8})
    assert "either 'data' or" in refusal(both + bytes(8), len(both))
    assert "either 'data' or" in refusal(message(data=None))


def test_an_input_may_not_come_twice():
    tensor = {"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}
    assert refusal(json.dumps({"inputs": [tensor, tensor]}).encode()) == "tensor 'x' is given twice"


def test_shared_memory_is_refused():
    assert "shared memory" in refusal(message(data=None, parameters={"shared_memory_region": "r"}))


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": "n" * 257},
        {"name": 1},
        {"datatype": "FP31"},
        {"shape": [-1]},
        {"shape": [2.5]},
        {"shape": "2"},
        {"shape": [1] * 17},
        {"shape": [10**30]},
        {"parameters": {"binary_data_size": -1}},
        {"parameters": []},
    ],
)
def test_a_tensor_that_is_not_as_the_protocol_says_is_refused(changes):
    refusal(message(**changes))


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"{}", b'{"inputs": 1}', b"\xff", b"NaN", b'{"inputs": NaN}']
)
def test_what_is_no_request_is_refused(body):
    refusal(body)


@pytest.mark.parametrize("opening", [b"[", b'{"inputs":[', b'{"inputs":[{"data":['])
@pytest.mark.parametrize("ending", [b"", b"NaN"])
def test_json_that_is_nested_deeply_is_refused(opening, ending):
    refusal(opening + b"[" * 100_000 + ending)


def test_values_that_are_nested_deeply_are_refused():
    refusal(message(data="DEEP").replace(b'"DEEP"', b"[" * 100_000 + b"]" * 100_000))


@pytest.mark.parametrize("shape", [[2**62, 2**62], [2**40, 0], [3, 3, 3]])
def test_a_shape_of_too_many_elements_is_refused_before_anything_is_allocated(shape):
    limits = WireLimits(elements=26)
    with pytest.raises(TooLarge, match="26 are allowed"):
        decode_request(message(shape=shape, data=[]), None, limits)
    with pytest.raises(TooLarge, match="26 are allowed"):
        decode_request(*with_raw(b"", shape=shape), limits)


def test_strings_have_a_limit_of_their_own():
    with pytest.raises(TooLarge, match="1 are allowed"):
        decode_request(*with_raw(bytes(8), datatype="BYTES"), WireLimits(strings=1))


def test_body_and_json_have_limits():
    body, length = with_raw(bytes(8))
    assert decode_request(body, length, WireLimits(body_bytes=len(body), json_bytes=length))
    with pytest.raises(TooLarge, match="the body has"):
        decode_request(body, length, WireLimits(body_bytes=len(body) - 1))
    with pytest.raises(TooLarge, match="the JSON has"):
        decode_request(body, length, WireLimits(json_bytes=length - 1))


def test_no_more_than_64_inputs_are_read():
    tensors = [{"name": f"x{i}", "shape": [0], "datatype": "FP32", "data": []} for i in range(65)]
    assert len(decode_request(json.dumps({"inputs": tensors[:64]}).encode(), None).inputs) == 64
    refusal(json.dumps({"inputs": tensors}).encode())


def test_an_empty_batch_is_a_request():
    assert decode_request(*with_raw(b"", shape=[0, 3])).inputs["x"].shape == (0, 3)
    assert decode_request(message(shape=[0, 3], data=[]), None).inputs["x"].shape == (0, 3)


def test_what_is_wanted_comes_back():
    wanted = [RequestedOutput("a", binary=True, classes=3), RequestedOutput("b", binary=False)]
    frame = encode_request({"x": np.zeros(1)}, outputs=wanted, parameters={"exit_rule": "margin"}, request_id="7")
    request = decode_request(*frame)
    assert request.outputs == wanted
    assert request.parameters.exit_rule == "margin"
    assert request.id == "7"


def test_without_outputs_all_are_wanted_as_the_request_says():
    raw = decode_request(*encode_request({"x": np.zeros(1)}))
    plain = decode_request(*encode_request({"x": np.zeros(1)}, binary=False))
    assert (raw.outputs, raw.all_binary, plain.outputs, plain.all_binary) == (None, True, None, False)


def test_outputs_are_raw_as_the_request_says_unless_they_say_otherwise():
    outputs = [{"name": "a"}, {"name": "b", "parameters": {"binary_data": False}}]
    document = {"inputs": [], "outputs": outputs, "parameters": {"binary_data_output": True}}
    request = decode_request(json.dumps(document).encode(), None)
    assert [output.binary for output in request.outputs] == [True, False]


def test_unknown_parameters_and_keys_are_ignored():
    body = b'{"inputs":[],"more":1,"parameters":{"sequence_id":3,"mine":{"a":[]}},"id":null,"outputs":null}'
    assert decode_request(body, None).id is None


@pytest.mark.parametrize(
    "parameters", [{"latency_budget_s": "1"}, {"exit_rule": 1}, {"priority": 1.5}, {"timeout": -1}, {"timeout": "x"}]
)
def test_parameters_of_the_wrong_type_are_refused(parameters):
    assert next(iter(parameters)) in refusal(json.dumps({"inputs": [], "parameters": parameters}).encode())


def test_an_id_that_could_not_be_sent_back_is_refused():
    refusal(b'{"inputs":[],"id":"\\ud800"}')
    refusal(b'{"inputs":[],"id":"\\ud800","x":NaN}')
    refusal(b'{"inputs":[],"id":"\xed\xa0\x80","x":NaN}')


@pytest.mark.parametrize("header", ["", "0", "-1", "+1", "1.0", "1e3", "x", "٣", "9" * 30, " 1"])
def test_a_header_that_is_no_length_is_refused(header):
    with pytest.raises(MalformedMessage, match="must be the length"):
        json_length(header)


def test_a_header_is_read_as_a_length():
    assert json_length("187") == 187
    assert json_length(None) is None


def test_dtypes_of_bundles_have_names_in_the_protocol():
    assert [datatype_name(dtype) for dtype in ("float16", "bfloat16", "bool", "uint64")] == [
        "FP16",
        "BF16",
        "BOOL",
        "UINT64",
    ]
    with pytest.raises(MalformedMessage, match="complex64"):
        datatype_name("complex64")


def test_a_request_is_json_of_the_protocol():
    frame = encode_request({"x": np.array([[1, 2]], np.int8)}, binary=False, parameters={"priority": 1})
    assert msgspec.json.decode(frame.body) == {
        "inputs": [{"name": "x", "shape": [1, 2], "datatype": "INT8", "data": [1, 2]}],
        "parameters": {"priority": 1},
    }
