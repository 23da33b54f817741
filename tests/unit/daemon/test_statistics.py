"""One count of requests, whatever they come over."""

import httpx
import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict
from grpc_here import Caller, grpc_served, infer_request
from http_here import served
from session_service import SessionService

from edgeexit.daemon.access import Access
from edgeexit.daemon.config import ServeConfig
from edgeexit.daemon.http.app import make_app
from edgeexit.daemon.statistics import Statistics

NET = "fashion-resnet"
BLANK = np.zeros((1, 1, 28, 28), np.float32)
BODY = {"inputs": [{"name": "image", "datatype": "FP32", "shape": list(BLANK.shape), "data": BLANK.ravel().tolist()}]}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with SessionService(cache_dir=tmp_path_factory.getbasetemp() / "cache") as service:
        yield service


def as_numbers(tree):
    """Return what protobuf's JSON says, whose 64-bit numbers are strings."""
    if isinstance(tree, dict):
        return {key: as_numbers(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [as_numbers(value) for value in tree]
    return int(tree) if isinstance(tree, str) and tree.isdecimal() else tree


def test_http_and_grpc_tell_the_same_of_a_model(service):
    statistics = Statistics()
    app = make_app(service, ServeConfig(), Access(None), statistics=statistics)
    with served(app) as address, grpc_served(service, statistics=statistics) as (target,):
        model = f"http://{address}/v2/models/{NET}"
        httpx.post(f"{model}/infer", json=BODY).raise_for_status()
        call = Caller(target)
        call("ModelInfer", infer_request(BLANK))
        (over_http,) = httpx.get(f"{model}/versions/1/stats").json()["model_stats"]
        (over_grpc,) = call("ModelStatistics", name=NET, version="1").model_stats
    assert over_http["execution_count"] == over_http["inference_stats"]["success"]["count"] == 2
    told = as_numbers(
        MessageToDict(over_grpc, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    )
    assert told["inference_stats"] == over_http["inference_stats"]
    assert (told["inference_count"], told["last_inference"]) == (2, over_http["last_inference"])
