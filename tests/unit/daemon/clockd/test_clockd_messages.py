"""What goes over clockd's socket is read strictly: anything else than a request is refused, and says why."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeexit.daemon.clockd.messages import (
    MAX_REQUEST_BYTES,
    Op,
    Request,
    parse_reply,
    parse_request,
    refusal_bytes,
    reply_bytes,
    request_bytes,
)
from edgeexit.errors import ClockdRefused

REQUESTS = [
    Request(Op.HELLO, version=1),
    Request(Op.SET, clocks={"cpu": 1_500_000_000, "gpu0": 306_000_000}),
    Request(Op.READ),
    Request(Op.ALIVE),
    Request(Op.RELEASE),
]
MALFORMED = {
    "empty": b"",
    "no JSON": b"set cpu 5",
    "not an object": b"5",
    "a list": b'["read"]',
    "null": b"null",
    "no op": b"{}",
    "unknown op": b'{"op": "restore"}',
    "op is no text": b'{"op": 1}',
    "op is an object": b'{"op": {"op": "read"}}',
    "op is true": b'{"op": true}',
    "unknown key": b'{"op": "read", "path": "/etc/passwd"}',
    "a key that belongs to another op": b'{"op": "read", "version": 1}',
    "no version": b'{"op": "hello"}',
    "no clocks": b'{"op": "set"}',
    "clocks are empty": b'{"op": "set", "clocks": {}}',
    "clocks are no object": b'{"op": "set", "clocks": 5}',
    "op twice": b'{"op": "read", "op": "set"}',
    "a domain twice": b'{"op": "set", "clocks": {"cpu": 600000000, "cpu": 750000000}}',
    "NaN": b'{"op": "set", "clocks": {"cpu": NaN}}',
    "Infinity": b'{"op": "set", "clocks": {"cpu": Infinity}}',
    "a fraction": b'{"op": "set", "clocks": {"cpu": 6e8}}',
    "a whole number with a point": b'{"op": "set", "clocks": {"cpu": 600000000.0}}',
    "true": b'{"op": "set", "clocks": {"cpu": true}}',
    "a text": b'{"op": "set", "clocks": {"cpu": "600000000"}}',
    "null for a number": b'{"op": "set", "clocks": {"cpu": null}}',
    "negative": b'{"op": "set", "clocks": {"cpu": -600000000}}',
    "zero": b'{"op": "set", "clocks": {"cpu": 0}}',
    "larger than any clock": b'{"op": "set", "clocks": {"cpu": 1000000000000}}',
    "digits without end": b'{"op": "set", "clocks": {"cpu": ' + b"9" * 4000 + b"}}",
    "a name that leads elsewhere": b'{"op": "set", "clocks": {"../../etc": 600000000}}',
    "a name with a NUL": b'{"op": "set", "clocks": {"cpu\\u0000": 600000000}}',
    "an empty name": b'{"op": "set", "clocks": {"": 600000000}}',
    "a long name": b'{"op": "set", "clocks": {"' + b"a" * 33 + b'": 600000000}}',
    "nested": b'{"op": "set", "clocks": {"cpu": {"hz": 600000000}}}',
    "nested deep": b'{"op":' * 680,
    "lists without end": b"[" * 4096,
    "not ASCII": '{"op": "r\u00e9ad"}'.encode(),
    "UTF-16": '{"op": "read"}'.encode("utf-16"),
    "with a byte order mark": b'\xef\xbb\xbf{"op": "read"}',
    "two objects": b'{"op": "read"}{"op": "read"}',
    "cut off": b'{"op": "set", "clocks": {"cpu": 6000',
    "too long": b'{"op": "read"' + b" " * MAX_REQUEST_BYTES + b"}",
}


def fault_of(data):
    try:
        assert isinstance(parse_request(data), Request)
    except ClockdRefused as error:
        return error.fault
    return None


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.op.value)
def test_a_request_is_read_as_it_was_written(request_):
    assert parse_request(request_bytes(request_)) == request_


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_anything_else_is_malformed(data):
    with pytest.raises(ClockdRefused) as caught:
        parse_request(data)
    assert caught.value.fault == "malformed"


@given(st.binary(max_size=MAX_REQUEST_BYTES + 1))
def test_bytes_are_a_request_or_malformed(data):
    assert fault_of(data) in (None, "malformed")


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@given(op=st.sampled_from([op.value for op in Op]), rest=st.dictionaries(st.text(max_size=10), ANY_JSON, max_size=3))
def test_only_the_two_requests_with_arguments_take_any(op, rest):
    rest.pop("op", None)
    fault = fault_of(json.dumps({"op": op, **rest}).encode())
    takes = {"hello": {"version"}, "set": {"clocks"}}.get(op, set())
    assert fault == "malformed" or rest.keys() == takes
    assert fault is None or takes or rest


def test_a_long_complaint_is_cut():
    assert len(json.loads(refusal_bytes("busy", "x" * 10_000))["error"]) == 500


def test_a_refusal_is_raised_with_its_fault_and_text():
    with pytest.raises(ClockdRefused, match="process 5 holds the clocks") as caught:
        parse_reply(refusal_bytes("busy", "process 5 holds the clocks", Op.SET), Op.SET)
    assert caught.value.fault == "busy"


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"{}", b"[" * 60_000, reply_bytes(Op.READ, clocks={})])
def test_what_is_no_answer_to_the_question_is_refused(data):
    with pytest.raises(ClockdRefused):
        parse_reply(data, Op.ALIVE)
