"""Requests for the fuzzer of the daemon's protocol: valid ones, and what chance makes of them."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final

import numpy as np

from edgeexit.daemon.config import LimitsConfig
from edgeexit.open_inference import RequestedOutput, encode_request
from edgeexit.open_inference.datatypes import BYTES, DATATYPES
from edgeexit.open_inference.framing import HEADER

Header = tuple[bytes, bytes]

MODEL: Final = "fashion-resnet"
LIMITS: Final = LimitsConfig(body_bytes=400_000, json_bytes=200_000, tensor_elements=10_000, all_bodies_bytes=450_000)
"""Of the daemon that is asked: small, so that going beyond them takes no time."""
_SIDE: Final = 28
_LENGTH: Final = HEADER.lower().encode()
_TOKENS: Final = (
    b"NaN Infinity -Infinity null true false 1e999 -0 1e-999 0x1 01 18446744073709551616 9223372036854775808 -1 "
    b'"\\ud800" "\\udc00\\ud800" "" [] {} [[[[]]]] {"":{}} , : " \\ \x00 \xff \xed\xa0\x80 \xef\xbb\xbf /* // ; '
    b"4611686018427387904 1.5 99999999999999999999999999999999 1E400 \r\n 0.1e 2e+"
).split(b" ")
_VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**32, 2**62, 2**63, 2**64, 10**40, -(2**63) - 1, 0.5, -0.0, 1e308),
    *(float("nan"), float("inf"), "", "x", "FP16", "BF16", "BYTES", "INT64", "UINT64", "BOOL", "x" * 300, "\x00", "é"),
    *(
        [],
        {},
        [[]],
        [None],
        [1],
        [1, 1, 28, 28],
        [0, 1, 28, 28],
        [2**62, 2**62],
        {"binary_data_size": 3136},
        [[[[0.5]]]],
    ),
    *("image", "logits", "label", "fixed", "threshold", {"classification": 3}, {"shared_memory_region": "r"}, [{}, {}]),
)
_KEYS: Final = (
    *("name", "shape", "datatype", "data", "parameters", "inputs", "outputs", "id", "binary_data_size", "binary_data"),
    *(
        "classification",
        "latency_budget_s",
        "timeout",
        "priority",
        "exit_rule",
        "allowed_drop",
        "energy_budget_j",
        "",
        "x",
    ),
)
_NAMES: Final = (
    MODEL,
    MODEL,
    MODEL,
    "nobody",
    "",
    ".",
    "..",
    "../../etc/passwd",
    "%2e%2e",
    "a/b",
    "é",
    "\x00",
    "n" * 3000,
)
_ENDS: Final = (
    *(
        "/infer",
        "/infer",
        "/infer",
        "",
        "/ready",
        "/config",
        "/stats",
        "/versions/1/infer",
        "/versions/1",
        "/versions/",
    ),
    *("/versions/999/ready", "/versions/-1/infer", "/trace/setting", "/versions/1/stats", "/infer/", "/generate"),
)
_OTHERS: Final = (
    f"/v2/repository/models/{MODEL}/load",
    *(
        "/v2",
        "/v2/",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/stats",
        "/v2/repository/index",
        "/openapi.json",
    ),
    *(
        "/v2/systemsharedmemory/region/r/register",
        "/v2/cudasharedmemory/status",
        "/v2/logging",
        "/v2/trace/setting",
        "/",
    ),
    *(
        "/v2/repository/models/nobody/load",
        f"/v2/repository/models/{MODEL}/unload",
        "/v2/repository/models//load",
        "//",
        "*",
    ),
)
_ENCODINGS: Final = (b"gzip", b"deflate", b"identity", b"br", b"", b"GZIP", b"gzip, deflate", b"\xff", b"x" * 500)
_LENGTHS: Final = (
    b"",
    b"0",
    b"1",
    b"-1",
    b"+1",
    b"1.0",
    b"1e3",
    b"9" * 19,
    b"9" * 5000,
    b" 7",
    b"\xd9\xa3",
    b"\xff",
    b"0x10",
)


@dataclass(frozen=True, slots=True)
class FuzzRequest:
    """A request as the application sees it."""

    method: str = "POST"
    path: str = f"/v2/models/{MODEL}/infer"
    headers: tuple[Header, ...] = ()
    chunks: tuple[bytes, ...] = (b"",)
    leaves: bool = False
    """True if the client leaves before the last chunk."""
    document: Any = field(default=None, compare=False)
    """The JSON of the body while that is still well formed."""
    raw: bytes = b""
    """What stands behind it."""

    def built(self, rng: random.Random) -> FuzzRequest:
        """Return it with the body made of document and raw values, for the cases that have them."""
        if self.document is None:
            return self
        text = json.dumps(self.document, separators=rng.choice(((",", ":"), (", ", ": ")))).encode()
        headers = (*self.headers, (_LENGTH, b"%d" % len(text))) if self.raw else self.headers
        return replace(self, headers=headers, chunks=(text + self.raw,), document=None, raw=b"")


def draw(rng: random.Random) -> FuzzRequest:
    """Return a request: a valid one, one to four times changed."""
    request = rng.choice(_VALID)(rng)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        request = _change_document(request, rng)
    request = request.built(rng)
    for change in rng.sample(_CHANGES, rng.choice((0, 0, 1, 1, 1, 2))):
        request = change(request, rng)
    return request


# --- valid requests ---------------------------------------------------------------------------------


def _image(rng: random.Random, samples: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.full((samples, 1, _SIDE, _SIDE), rng.random(), np.float32)


def _parsed(rng: random.Random, *, binary: bool, samples: int, **more: Any) -> FuzzRequest:
    frame = encode_request({"image": _image(rng, samples)}, binary=binary, **more)
    end = len(frame.body) if frame.json_length is None else frame.json_length
    return FuzzRequest(document=json.loads(frame.body[:end]), raw=frame.body[end:])


def _raw(rng: random.Random) -> FuzzRequest:
    return _parsed(rng, binary=True, samples=rng.choice((1, 1, 1, 0, 3)))


def _small_json(rng: random.Random) -> FuzzRequest:
    """A request that is too small for the model: what chance makes of it is tried faster."""
    tensor = {"name": "image", "shape": [1, 1, 2, 2], "datatype": "FP32", "data": [0.5, 1, 2, 3.25]}
    return FuzzRequest(document={"inputs": [tensor], "outputs": [{"name": "label"}], "id": "7", "parameters": {}})


def _json(rng: random.Random) -> FuzzRequest:
    return _parsed(rng, binary=False, samples=1)


def _with_everything(rng: random.Random) -> FuzzRequest:
    outputs = [
        RequestedOutput("probabilities", binary=rng.random() < 0.5, classes=rng.randrange(4)),
        RequestedOutput("label", binary=True),
    ]
    parameters: dict[str, Any] = {"exit_rule": "threshold", "allowed_drop": 0.0, "priority": 2, "sequence_id": 3}
    return _parsed(rng, binary=True, samples=1, outputs=outputs, parameters=parameters, request_id="é")


def _strings(rng: random.Random) -> FuzzRequest:
    frame = encode_request({"image": np.array([["a", "bc", ""]], object)})
    end = frame.json_length or 0
    return FuzzRequest(document=json.loads(frame.body[:end]), raw=frame.body[end:])


def _compressed(rng: random.Random) -> FuzzRequest:
    request = _raw(rng).built(rng)
    encoding, pack = rng.choice(((b"gzip", gzip.compress), (b"deflate", zlib.compress)))
    headers = (*request.headers, (b"content-encoding", encoding), (b"accept-encoding", encoding))
    return replace(request, headers=headers, chunks=(pack(request.chunks[0]),))


def _other(rng: random.Random) -> FuzzRequest:
    path = rng.choice((*_OTHERS, f"/v2/models/{rng.choice(_NAMES)}{rng.choice(_ENDS)}"))
    body = rng.choice((b"", b"{}", b'{"ready":true}', b'{"parameters":{"unload_dependents":true,"config":"{}"}}'))
    return FuzzRequest(method=rng.choice(("GET", "POST")), path=path, chunks=(body,))


def _of_any_datatype(rng: random.Random) -> FuzzRequest:
    kind = rng.choice([kind for name, kind in DATATYPES.items() if name != BYTES])
    array = rng.choice((_image(rng, 1), np.zeros((2, 3), np.float32))).astype(kind.dtype)
    frame = encode_request({"image": array}, datatypes={"image": kind.name})
    end = frame.json_length or 0
    return FuzzRequest(document=json.loads(frame.body[:end]), raw=frame.body[end:])


def _nested(rng: random.Random) -> FuzzRequest:
    shape = rng.choice(((1, 1, 2, 2), (2, 3), (1, 0), (3, 1)))
    kind = rng.choice(("FP32", "INT64", "BYTES", "BOOL"))
    fill = {"BYTES": "a", "BOOL": True}.get(kind, 1)
    tensor = {"name": "image", "shape": list(shape), "datatype": kind, "data": np.full(shape, fill).tolist()}
    return FuzzRequest(document={"inputs": [tensor]})


def _with_parameters(rng: random.Random) -> FuzzRequest:
    request = _raw(rng)
    request.document["parameters"] = {
        "latency_budget_s": rng.choice((1e-9, 0, -1, 60.0, 1e300)),
        rng.choice(("timeout", "energy_budget_j", "allowed_drop")): rng.choice((0, 1, 2**62, 0.5, 1e-300, -1)),
    }
    return request


@cache
def _packed_zeros(pack: Callable[[bytes], bytes]) -> bytes:
    return pack(bytes(LIMITS.body_bytes + 1))


def _bomb(rng: random.Random) -> FuzzRequest:
    encoding, pack = rng.choice(((b"gzip", gzip.compress), (b"deflate", zlib.compress)))
    return FuzzRequest(headers=((b"content-encoding", encoding),), chunks=(_packed_zeros(pack),))


def _too_large(rng: random.Random) -> FuzzRequest:
    text = b'{"inputs":[' + b" " * rng.choice((LIMITS.json_bytes, LIMITS.body_bytes))
    return FuzzRequest(chunks=(text, b"]}"))


_VALID: Final[Sequence[Callable[[random.Random], FuzzRequest]]] = (
    *(_small_json, _small_json, _small_json, _small_json, _raw, _raw, _json),
    *(_with_everything, _with_everything, _strings, _strings, _compressed, _other, _other, _of_any_datatype, _nested),
    *(_with_parameters, _bomb, _too_large),
)


# --- what chance makes of the document --------------------------------------------------------------


def _change_document(request: FuzzRequest, rng: random.Random) -> FuzzRequest:
    if request.document is None:
        return request
    places = list(_places(request.document))
    if not places:
        return replace(request, document=deepcopy(rng.choice(_VALUES)))
    holder, key = rng.choice(places)
    what = rng.randrange(6)
    if what == 0:
        del holder[key]
    elif what == 1 and isinstance(holder, list):
        holder.insert(key, holder[key])
    elif what == 1:
        holder[rng.choice(_KEYS)] = holder[key]
    elif what == 2:
        holder[key] = [holder[key]] * rng.choice((1, 1, 2, 70))
    else:
        holder[key] = _value(rng, holder[key])
    return request


def _value(rng: random.Random, before: Any) -> Any:
    if isinstance(before, int) and rng.random() < 0.5:
        return before + rng.choice((-1, 1, 2, -2, 2**32, 2**64))
    if rng.random() < 0.1:
        return [_value(rng, None) for _ in range(rng.randrange(4))]
    return deepcopy(rng.choice(_VALUES))


def _places(node: Any, most: int = 12) -> Iterator[tuple[Any, Any]]:
    """Yield where the values of a document are; of long lists the first few."""
    keys = list(node) if isinstance(node, dict) else range(min(len(node), most)) if isinstance(node, list) else ()
    for key in keys:
        yield node, key
        yield from _places(node[key], most)


# --- what chance makes of bytes and headers ---------------------------------------------------------


def _change_bytes(request: FuzzRequest, rng: random.Random) -> FuzzRequest:
    body = bytearray(b"".join(request.chunks))
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(min(len(body), rng.choice((60, 300, 10**6))) + 1)
        more = rng.randrange(1, 9)
        change = rng.randrange(6)
        if change == 0:
            body[at : at + 1] = bytes([rng.randrange(256)])
        elif change == 1:
            del body[at : at + more]
        elif change == 2:
            body[at:at] = rng.choice(_TOKENS)
        elif change == 3:
            body[at : at + more] = rng.choice(_TOKENS)
        elif change == 4:
            body[at:at] = body[at : at + more] * rng.choice((1, 2, 200))
        else:
            del body[at:]
    return replace(request, chunks=(bytes(body),))


def _nest(request: FuzzRequest, rng: random.Random) -> FuzzRequest:
    body = b"".join(request.chunks)
    at = rng.randrange(min(len(body), 300) + 1)
    deep = rng.choice((b"[", b'{"a":', b'[{"inputs":')) * rng.choice((10, 1000, 30_000))
    return replace(request, chunks=(body[:at] + deep + body[at:],))


def _change_length(request: FuzzRequest, rng: random.Random) -> FuzzRequest:
    kept = [header for header in request.headers if header[0] != _LENGTH]
    old = next((int(value) for name, value in request.headers if name == _LENGTH and value.isdigit()), 100)
    near = b"%d" % (old + rng.choice((-64, -8, -1, 1, 2, 8, 64)))
    added = rng.choice(((), ((_LENGTH, near),), ((_LENGTH, near),), ((_LENGTH, rng.choice(_LENGTHS)),)))
    return replace(request, headers=(*kept, *added))


def _change_encoding(request: FuzzRequest, rng: random.Random) -> FuzzRequest:
    name = rng.choice((b"content-encoding", b"accept-encoding"))
    return replace(request, headers=(*request.headers, (name, rng.choice(_ENCODINGS))))


def _change_headers(request: FuzzRequest, rng: random.Random) -> FuzzRequest:
    name = rng.choice((b"content-type", b"content-length", b"transfer-encoding", b"origin", b"authorization", b"x"))
    value = rng.choice((b"", b"application/json", b"7", b"99999999999", b"chunked", b"null", b"Bearer x", b"\xff" * 9))
    if name == b"content-length" and not value.isdigit():  # the HTTP parser lets digits alone pass
        value = b"5"
    return replace(request, headers=(*request.headers, (name, value)))


def _change_path(request: FuzzRequest, rng: random.Random) -> FuzzRequest:
    return replace(request, path=f"/v2/models/{rng.choice(_NAMES)}{rng.choice(_ENDS)}")


def _change_method(request: FuzzRequest, rng: random.Random) -> FuzzRequest:
    return replace(request, method=rng.choice(("GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "", "post")))


def _split(request: FuzzRequest, rng: random.Random) -> FuzzRequest:
    body = b"".join(request.chunks)
    ends = sorted(rng.randrange(len(body) + 1) for _ in range(rng.randrange(1, 4)))
    chunks = [body[start:end] for start, end in zip([0, *ends], [*ends, len(body)], strict=True)]
    return replace(request, chunks=tuple(chunks), leaves=rng.random() < 0.2)


_CHANGES: Final[Sequence[Callable[[FuzzRequest, random.Random], FuzzRequest]]] = (
    *(_change_bytes, _change_length, _change_encoding, _change_headers, _change_path, _change_method, _split, _nest),
)
