"""Requests made at random, right and wrong: nothing but a refusal ever comes of them."""

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgeexit.errors import MalformedMessage
from edgeexit.open_inference import (
    OutputTensor,
    WireLimits,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)
from edgeexit.open_inference.compression import decompress
from edgeexit.open_inference.datatypes import DATATYPES

LIMITS = WireLimits(body_bytes=100_000, json_bytes=50_000, elements=10_000, strings=100)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)
SHAPES = st.lists(st.integers(-1, 5) | st.sampled_from([2**31, 2**62, 2**63, 2**64]), max_size=4)
TENSORS = st.fixed_dictionaries(
    {"name": st.sampled_from(["x", "y"]) | VALUES, "shape": SHAPES | VALUES, "datatype": st.sampled_from([*DATATYPES])},
    optional={"data": VALUES, "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 40)}) | VALUES},
)
MESSAGES = st.fixed_dictionaries(
    {"inputs": st.lists(TENSORS, max_size=3) | VALUES},
    optional={"id": VALUES, "outputs": VALUES, "parameters": VALUES, "model_name": VALUES},
)


def read(function, *arguments):
    """Call a function that may refuse."""
    try:
        return function(*arguments)
    except MalformedMessage as refusal:
        return str(refusal)


@settings(deadline=None, max_examples=300)
@given(MESSAGES, st.binary(max_size=50), st.integers(-3, 3) | st.integers(0, 1000) | st.none())
def test_any_message_is_read_or_refused(message, raw, off):
    text = json.dumps(message).encode()
    read(decode_request, text + raw, None if off is None else len(text) + off, LIMITS)
    read(decode_response, text.replace(b'"inputs"', b'"outputs"') + raw, len(text) + 1, LIMITS)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200), st.integers(1, 200) | st.none())
def test_any_bytes_are_read_or_refused(body, length):
    read(decode_request, body, length, LIMITS)
    read(decompress, body, "gzip", 1000)
    read(decompress, body, "deflate", 1000)


@settings(deadline=None, max_examples=200)
@given(arrays.arrays(st.sampled_from("?bBhHiIqQefd"), arrays.array_shapes(min_dims=0, min_side=0)), st.booleans())
def test_any_array_of_numbers_comes_back_from_an_answer(array, binary):
    frame = encode_response("m", "1", [OutputTensor("x", array, binary)], parameters={})
    back = decode_response(*frame).outputs["x"]
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@settings(deadline=None, max_examples=200)
@given(arrays.arrays(st.sampled_from("?bBhHiIqQefd"), arrays.array_shapes(min_dims=0, min_side=0)), st.booleans())
def test_any_array_of_finite_numbers_comes_back_from_a_request(array, binary):
    array = np.nan_to_num(array)
    back = decode_request(*encode_request({"x": array}, binary=binary)).inputs["x"]
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@settings(deadline=None, max_examples=200)
@given(arrays.arrays(object, arrays.array_shapes(min_side=0), elements=st.binary(max_size=8)))
def test_any_array_of_bytes_comes_back_raw(array):
    back = decode_request(*encode_request({"x": array})).inputs["x"]
    assert back.shape == array.shape
    assert back.tolist() == array.tolist()
