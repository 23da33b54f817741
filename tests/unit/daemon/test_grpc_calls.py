"""Calls over gRPC: who may make them, how long they may take, and what they are told when something goes wrong."""

import logging
import threading

import grpc
import numpy as np
import pytest
from grpc_here import Caller, grpc_served, infer_request
from session_service import SessionService

from edgeexit.daemon.access import Access
from edgeexit.daemon.config import LimitsConfig, TimeoutsConfig
from edgeexit.errors import (
    BundleError,
    DeadlinePassed,
    EngineError,
    InferenceCancelled,
    InputError,
    ModelNotReady,
    OptionError,
    Refused,
    ServeError,
)

NET = "fashion-resnet"
BLANK = np.zeros((1, 1, 28, 28), np.float32)
REQUEST = infer_request(BLANK)
TOKEN = b"0123456789abcdef"


def bearer(token=TOKEN):
    return (("authorization", f"Bearer {token.decode()}"),)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with SessionService(cache_dir=tmp_path_factory.getbasetemp() / "cache") as service:
        yield service


@pytest.fixture(scope="module")
def call(service):
    limits = LimitsConfig(body_bytes=200_000, all_bodies_bytes=400_000)
    with grpc_served(service, Access(TOKEN), limits=limits, timeouts=TimeoutsConfig(body_read_s=0.1)) as (target,):
        yield Caller(target)


@pytest.fixture
def failing(service):
    """Have the service fail with an error."""

    def fail_with(error):
        service.failure = error

    yield fail_with
    service.failure = None


def told(request):
    """Return status, text and trailers of a call that is refused."""
    with pytest.raises(grpc.RpcError) as caught:
        request()
    return caught.value.code().name, caught.value.details(), dict(caught.value.trailing_metadata())


def test_typed_values_are_answered_typed_and_raw_ones_raw(call):
    typed = call("ModelInfer", infer_request(BLANK, raw=False))
    raw = call("ModelInfer", REQUEST)
    assert not typed.raw_output_contents
    assert np.frombuffer(raw.raw_output_contents[0], np.float32).tolist() == list(
        typed.outputs[0].contents.fp32_contents
    )
    assert list(typed.outputs[2].contents.int64_contents) == np.frombuffer(raw.raw_output_contents[2], "<i8").tolist()


def test_typed_values_are_answered_raw_where_that_is_wanted(call):
    request = infer_request(BLANK, raw=False)
    request.parameters["binary_data_output"].bool_param = True
    assert len(call("ModelInfer", request).raw_output_contents) == 4


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InputError("x"), "INVALID_ARGUMENT"),
        (OptionError("x"), "INVALID_ARGUMENT"),
        (ModelNotReady("x"), "UNAVAILABLE"),
        (InferenceCancelled("x"), "UNAVAILABLE"),
        (DeadlinePassed("x"), "DEADLINE_EXCEEDED"),
        (BundleError("x"), "FAILED_PRECONDITION"),
        (EngineError("x"), "INTERNAL"),
        (ServeError("x"), "INTERNAL"),
    ],
)
def test_each_kind_of_error_has_its_status(call, failing, error, status):
    failing(error)
    assert told(lambda: call("ModelInfer", REQUEST))[:2] == (status, "x")


def test_a_refusal_says_when_to_try_again(call, failing):
    failing(Refused("full", 0.0125))
    status, text, trailers = told(lambda: call("ModelInfer", REQUEST))
    assert (status, text, trailers["grpc-retry-pushback-ms"]) == ("UNAVAILABLE", "full", "13")


def test_a_refusal_for_good_says_not_to_try_again(call, failing):
    failing(Refused("never in time"))
    status, text, trailers = told(lambda: call("ModelInfer", REQUEST))
    assert (status, text, trailers["grpc-retry-pushback-ms"]) == ("DEADLINE_EXCEEDED", "never in time", "-1")


def test_an_error_that_nobody_foresaw_is_logged_and_told_without_its_text(call, failing, caplog):
    failing(ZeroDivisionError("secret"))
    with caplog.at_level(logging.ERROR):
        status, text, _ = told(lambda: call("ModelInfer", REQUEST))
    assert (status, text) == ("INTERNAL", "internal error: the daemon's log says more")
    assert "secret" in caplog.text


def test_a_long_text_does_not_break_the_answer(call, failing):
    failing(OptionError("\udcff" + "ä" * 5000))
    status, text, _ = told(lambda: call("ModelInfer", REQUEST))
    assert (status, text) == ("INVALID_ARGUMENT", "?" + "ä" * 999)


@pytest.mark.parametrize("method", ["ModelInfer", "ServerLive", "RepositoryIndex"])
def test_what_is_no_message_is_the_clients_fault(call, method):
    status, text, _ = told(lambda: call.method(method)(b"\xff", timeout=30.0))
    assert (status, text[:14]) == ("INVALID_ARGUMENT", "the message is")


def test_a_message_beyond_the_limit_is_refused(call):
    assert told(lambda: call("ModelInfer", infer_request(np.zeros((1, 50_001), np.float32))))[0] == "RESOURCE_EXHAUSTED"


def test_a_large_message_is_refused_where_there_are_no_tensors(call):
    status, text, _ = told(lambda: call("ModelReady", name="x" * 70_000))
    assert (status, "65536 are allowed" in text) == ("RESOURCE_EXHAUSTED", True)


def test_a_message_that_does_not_come_is_not_waited_for(call):
    ended = threading.Event()

    def silent():
        ended.wait(30.0)
        yield from ()

    method = call.channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
    assert told(lambda: method(silent(), timeout=30.0))[:2] == (
        "DEADLINE_EXCEEDED",
        "the message did not come within 0.1 s",
    )
    ended.set()


def test_a_call_without_a_message_is_refused(call):
    method = call.channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
    assert told(lambda: method(iter(()), timeout=30.0))[:2] == ("INVALID_ARGUMENT", "the request has no message")


# --- deadlines and clients that leave --------------------------------------------------------------


def test_a_calls_deadline_is_the_requests(call, service):
    call("ModelInfer", REQUEST, timeout=20.0)
    assert 0.0 < service.asked[-1].latency_budget_s < 21.0  # gRPC rounds the deadlines that it sends up


def test_a_calls_deadline_does_not_lengthen_what_the_request_says(call, service):
    request = infer_request(BLANK)
    request.parameters["latency_budget_s"].double_param = 5.0
    call("ModelInfer", request, timeout=20.0)
    assert service.asked[-1].latency_budget_s == 5.0


def test_a_calls_deadline_shortens_what_the_request_says(call, service):
    request = infer_request(BLANK)
    request.parameters["latency_budget_s"].double_param = 500.0
    call("ModelInfer", request, timeout=20.0)
    assert service.asked[-1].latency_budget_s < 21.0


def test_a_calls_deadline_does_not_lengthen_what_the_daemon_is_told(service):
    with grpc_served(service, default_budget_s=5.0) as (target,):
        Caller(target)("ModelInfer", REQUEST, timeout=20.0)
    assert service.asked[-1].latency_budget_s == 5.0


def test_without_any_deadline_there_is_none(call, service):
    call("ModelInfer", REQUEST, timeout=None)
    assert service.asked[-1].latency_budget_s is None


def test_a_request_is_given_up_when_its_client_leaves(call, service):
    before = service.cancelled
    service.gate.clear()
    try:
        answer = call.method("ModelInfer").future(REQUEST.SerializeToString(), timeout=30.0)
        wait_until(lambda: service.status().queue_length or service._waiting)
        answer.cancel()
        wait_until(lambda: service.cancelled == before + 1)
    finally:
        service.gate.set()


def wait_until(true):
    for _ in range(3000):
        if true():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not become true within 30 s")


# --- access ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["RepositoryModelLoad", "RepositoryModelUnload"])
def test_changes_need_the_token(call, method):
    status, text, _ = told(lambda: call(method, model_name=NET))
    assert (status, text) == (
        "UNAUTHENTICATED",
        f"calling {method} needs the token: send 'Authorization: Bearer TOKEN'",
    )
    wrong = told(lambda: call(method, model_name=NET, metadata=bearer(TOKEN[::-1])))
    assert wrong[:2] == ("UNAUTHENTICATED", "the token is wrong")
    twice = told(lambda: call(method, model_name=NET, metadata=bearer() + bearer()))
    assert twice[0] == "UNAUTHENTICATED"


def test_who_has_the_token_may_change(call):
    call("RepositoryModelUnload", model_name=NET, metadata=bearer())
    assert not call("ModelReady", name=NET).ready
    assert told(lambda: call("ModelInfer", REQUEST))[0] == "UNAVAILABLE"
    call("RepositoryModelLoad", model_name=NET, metadata=bearer())
    assert call("ModelReady", name=NET).ready


def test_a_model_is_not_loaded_from_what_a_client_sends(call):
    status, text, _ = told(
        lambda: call("RepositoryModelLoad", model_name=NET, parameters={"file:1/m.onnx": {}}, metadata=bearer())
    )
    assert (status, "is its bundle as it is on the device" in text) == ("INVALID_ARGUMENT", True)


def test_without_a_token_nobody_may_change_anything(service):
    with grpc_served(service) as (target,):
        assert told(lambda: Caller(target)("RepositoryModelLoad", model_name=NET))[0] == "PERMISSION_DENIED"


def test_beyond_loopback_all_but_health_needs_the_token(service):
    with grpc_served(service, Access(TOKEN, loopback=False)) as (target,):
        call = Caller(target)
        assert call("ServerLive").live
        assert call("ServerReady").ready
        for request in (lambda: call("ModelInfer", REQUEST), lambda: call("ModelReady", name=NET)):
            assert told(request)[0] == "UNAUTHENTICATED"
        assert call("ModelInfer", REQUEST, metadata=bearer()).model_name == NET


def test_the_unix_socket_allows_everything_to_who_may_open_it(service, tmp_path):
    path = tmp_path / "a b%41.sock"
    with grpc_served(service, Access(TOKEN, loopback=False), grpc_port=None, grpc_unix=path, unix_mode="600") as (
        target,
    ):
        assert path.stat().st_mode & 0o777 == 0o600
        call = Caller(target)
        call("RepositoryModelLoad", model_name=NET)
        assert call("ModelInfer", REQUEST).model_name == NET
    assert not path.exists()


def test_a_port_that_is_taken_is_not_shared(service):
    with grpc_served(service) as (target,):
        port = int(target.rpartition(":")[2])
        with pytest.raises(ServeError, match="--grpc-port names another"):
            start_alone(service, grpc_port=port)


def test_a_unix_socket_that_is_listened_on_is_left_alone(service, tmp_path):
    with grpc_served(service, grpc_port=None, grpc_unix=tmp_path / "s") as (target,):
        with pytest.raises(ServeError, match="another process listens on"):
            start_alone(service, grpc_unix=tmp_path / "s")
        assert Caller(target)("ServerLive").live


def start_alone(service, **config):
    import asyncio

    from edgeexit.daemon.config import ServeConfig
    from edgeexit.daemon.grpc.server import start_grpc

    asyncio.run(start_grpc(service, ServeConfig(**config), Access(None), lambda: None))
