"""Messages of the Open Inference Protocol, version 2, with NVIDIA's binary tensor extension.

* `requests`, `responses`: bytes to typed values and back, for the daemon and for clients;
* `messages`: what stands in their JSON; `framing`: where the JSON ends and the raw tensors begin;
* `tensor_list`, `tensors`: all tensors, and one, raw or in JSON; `datatypes`: the protocol's names of dtypes;
* `loose_json`: bare NaN and Infinity, which JSON has not: answers may hold them, requests may not;
* `compression`: gzip and deflate, never more than a limit; `limits`: the limits.

Sources: inference_rest.md in https://github.com/kserve/open-inference-protocol, and the extensions for binary tensor
data, classification and parameters in https://github.com/triton-inference-server/server/tree/main/docs/protocol.
"""

from __future__ import annotations

from edgeexit.open_inference.limits import WireLimits
from edgeexit.open_inference.requests import InferRequest, RequestedOutput, decode_request, encode_request, read_request
from edgeexit.open_inference.responses import InferResponse, OutputTensor, decode_response, encode_response

__all__ = [
    "InferRequest",
    "InferResponse",
    "OutputTensor",
    "RequestedOutput",
    "WireLimits",
    "decode_request",
    "decode_response",
    "encode_request",
    "encode_response",
    "read_request",
]
