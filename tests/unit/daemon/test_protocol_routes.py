"""The protocol's routes: what is told beside answers, and what becomes of requests that go wrong."""

import asyncio
import gzip
import http.client
import json
import logging
import threading

import httpx
import numpy as np
import pytest
from http_here import protocol_app, served
from session_service import SessionService

from edgeexit.daemon.seeing.reasons import reason_of
from edgeexit.errors import (
    BundleError,
    DeadlinePassed,
    Denied,
    EngineError,
    InferenceCancelled,
    ModelNotReady,
    Refused,
    ServeError,
)
from edgeexit.open_inference import RequestedOutput, WireLimits, decode_response, encode_request

NET = "fashion-resnet"
INFER = f"/v2/models/{NET}/infer"
BLANK = np.zeros((1, 1, 28, 28), np.float32)
FRAME = encode_request({"image": BLANK})
LENGTH = {"Inference-Header-Content-Length": str(FRAME.json_length)}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with SessionService(cache_dir=tmp_path_factory.getbasetemp() / "cache") as service:
        yield service


@pytest.fixture(scope="module")
def app(service):
    return protocol_app(service, WireLimits(body_bytes=200_000))


@pytest.fixture(scope="module")
def address(app):
    with served(app) as address:
        yield address


@pytest.fixture(scope="module")
def client(address):
    with httpx.Client(base_url=f"http://{address}") as client:
        yield client


@pytest.fixture
def failing(service):
    """Have the service fail with an error."""

    def fail_with(error):
        service.failure = error

    yield fail_with
    service.failure = None


def infer(client, body=FRAME.body, **headers):
    return client.post(INFER, content=body, headers=LENGTH | {k.replace("_", "-"): v for k, v in headers.items()})


def told(answer):
    """Return status and text of an answer that says no."""
    assert answer.headers["content-type"] == "application/json"
    text = answer.json()["error"]
    assert answer.json().keys() <= {"error", "retry_after_s"}
    return answer.status_code, text


def test_json_alone_is_answered_in_json(client):
    document = {"inputs": [{"name": "image", "shape": [1, 1, 28, 28], "datatype": "FP32", "data": BLANK.tolist()}]}
    answer = client.post(INFER, json=document)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert "inference-header-content-length" not in answer.headers
    assert answer.json()["outputs"][2]["name"] == "label"


def test_raw_tensors_are_answered_raw(client):
    answer = infer(client)
    assert answer.headers["content-type"] == "application/octet-stream"
    response = decode_response(answer.content, int(answer.headers["inference-header-content-length"]))
    assert response.outputs["logits"].shape == (1, 10)


def test_an_empty_batch_is_answered_with_empty_outputs(client):
    frame = encode_request({"image": BLANK[:0]}, binary=False)
    outputs = client.post(INFER, content=frame.body).json()["outputs"]
    assert [output["shape"] for output in outputs] == [[0, 10], [0, 10], [0], [0]]


def test_an_encoding_that_a_library_offers_among_others_is_not_taken_up(client):
    assert "content-encoding" not in infer(client, accept_encoding="gzip, deflate, br").headers
    assert "content-encoding" not in infer(client, accept_encoding="br").headers


def test_an_encoding_that_is_asked_for_alone_is_taken(client):
    assert infer(client, accept_encoding="gzip").headers["content-encoding"] == "gzip"
    assert infer(client, accept_encoding="deflate").headers["content-encoding"] == "deflate"


def test_a_compressed_request_is_read(client):
    assert infer(client, gzip.compress(FRAME.body), content_encoding="gzip").status_code == 200
    assert infer(client, content_encoding="identity").status_code == 200


def test_an_unknown_encoding_is_refused(client):
    status, text = told(infer(client, content_encoding="br"))
    assert (status, text) == (415, "the body may be plain or gzip or deflate, not 'br'")


@pytest.mark.parametrize("body", [gzip.compress(bytes(300_000)), bytes(300_000)])
def test_a_body_beyond_the_limit_is_refused_compressed_or_not(client, body):
    encoding = {"content_encoding": "gzip"} if len(body) < 300_000 else {}
    assert told(infer(client, body, **encoding))[0] == 413


def test_a_body_without_a_length_is_counted_as_it_comes(client):
    answer = client.post(INFER, content=iter([bytes(90_000)] * 3))
    assert told(answer) == (413, "the body is larger than the 200000 bytes that are allowed")


def test_the_connection_can_be_used_again_after_a_body_that_nobody_read(address):
    connection = http.client.HTTPConnection(address)
    connection.request("POST", "/v2/models/nobody/infer", bytes(190_000))
    answer = connection.getresponse()
    assert (answer.status, len(answer.read()) > 0) == (404, True)
    connection.request("POST", INFER, FRAME.body, LENGTH)
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize("header", ["x", "0", "-5", "999999", "5"])
def test_a_wrong_length_of_the_json_is_refused(client, header):
    answer = client.post(INFER, content=FRAME.body, headers={"Inference-Header-Content-Length": header})
    assert told(answer)[0] == 400


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"latency_budget_s": 0}, "latency_budget_s must be seconds above 0, not 0.0"),
        ({"energy_budget_j": -1}, "energy_budget_j must be joules above 0, not -1.0"),
        ({"allowed_drop": -0.5}, "allowed_drop must be points of accuracy, 0 or more, not -0.5"),
    ],
)
def test_a_parameter_out_of_its_range_is_refused(client, parameters, text):
    frame = encode_request({"image": BLANK}, binary=False, parameters=parameters)
    assert told(client.post(INFER, content=frame.body)) == (400, text)


class Refusals:
    """An observer that notes who was not answered."""

    def __init__(self):
        self.seen = []

    def refused(self, model, error):
        self.seen.append((model, reason_of(error)))


@pytest.mark.parametrize(
    ("path", "body", "noted"),
    [
        (INFER, b"{", (NET, "bad_request")),
        (INFER, bytes(300_000), (NET, "bad_request")),
        (INFER, encode_request({"image": BLANK}, parameters={"timeout": -1}).body, (NET, "bad_request")),
        (
            INFER,
            encode_request({"image": BLANK}, outputs=[RequestedOutput("x", binary=False)]).body,
            (NET, "bad_request"),
        ),
        ("/v2/models/nobody/infer", FRAME.body, ("nobody", "model_not_found")),
    ],
)
def test_what_never_comes_to_the_service_is_told_to_its_observers(client, service, path, body, noted):
    refusals = Refusals()
    service.observers.append(refusals)
    try:
        assert client.post(path, content=body).status_code >= 400
    finally:
        service.observers.remove(refusals)
    assert refusals.seen == [noted]


def test_the_shorter_of_two_budgets_counts(client, service):
    frame = encode_request({"image": BLANK}, binary=False, parameters={"latency_budget_s": 0.5, "timeout": 750_000})
    assert client.post(INFER, content=frame.body).status_code == 200
    assert service.asked[-1].latency_budget_s == 0.5


def test_classes_of_an_output_without_classes_are_refused(client):
    frame = encode_request({"image": BLANK}, outputs=[RequestedOutput("label", binary=False, classes=1)], binary=False)
    assert told(client.post(INFER, content=frame.body))[0] == 400


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ModelNotReady("not loaded"), 503),
        (InferenceCancelled("the daemon ends"), 503),
        (Refused("never in time"), 422),
        (DeadlinePassed("too late"), 504),
        (EngineError("ONNX Runtime failed"), 500),
        (ServeError("broken"), 500),
        (Denied("no", token_helps=False), 403),
    ],
)
def test_errors_of_the_service_have_their_status(client, failing, error, status):
    failing(error)
    assert told(infer(client)) == (status, str(error))


def test_a_full_queue_says_when_to_come_again(client, failing):
    failing(Refused("the queue is full", retry_after_s=1.2))
    answer = infer(client)
    assert (*told(answer), answer.headers["retry-after"]) == (503, "the queue is full", "2")


def test_a_missing_token_is_asked_for(client, failing):
    failing(Denied("the token is missing", token_helps=True))
    answer = infer(client)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_an_error_that_nobody_foresaw_is_logged_and_not_told(client, failing, caplog):
    failing(RuntimeError("secret"))
    with caplog.at_level(logging.ERROR, logger="edgeexit"):
        assert told(infer(client)) == (500, "internal error: the daemon's log says more")
    assert "secret" in caplog.text


def test_a_damaged_bundle_is_told_when_it_is_loaded(client, failing):
    failing(BundleError("manifest.json: is damaged"))
    answer = client.post(f"/v2/repository/models/{NET}/load")
    assert told(answer) == (409, "manifest.json: is damaged")


def test_a_bundle_is_not_changed_by_a_request(client):
    answer = client.post(f"/v2/repository/models/{NET}/load", json={"parameters": {"file:1/model.onnx": "AAAA"}})
    assert told(answer)[0] == 400


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"ready": 1}', b"[" * 50_000, b"\xff"])
def test_an_index_request_that_is_none_is_refused(client, body):
    assert told(client.post("/v2/repository/index", content=body))[0] == 400


def test_the_index_lists_models(client):
    entry = {"name": NET, "version": "1", "state": "READY", "reason": ""}
    assert client.post("/v2/repository/index").json() == [entry]
    assert client.post("/v2/repository/index", json={"ready": True}).json() == [entry]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/nothing", 404),
        ("GET", INFER, 405),
        ("POST", "/v2", 405),
        ("GET", f"/v2/models/{NET}/versions/7", 404),
    ],
)
def test_paths_and_methods_that_are_not_there_are_told_in_json(client, method, path, status):
    assert told(client.request(method, path))[0] == status


def test_names_may_be_quoted_and_queries_are_ignored(client):
    assert client.get("/v2/models/fashion%2Dresnet?x=1&y").json()["name"] == NET
    assert client.post(INFER + "?a=b", content=FRAME.body, headers=LENGTH).status_code == 200


def test_loading_needs_the_right_to_it(service):
    def nobody(_):
        raise Denied("the token is missing", token_helps=True)

    async def ask():
        transport = httpx.ASGITransport(protocol_app(service, require_control=nobody))
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            paths = [f"/v2/repository/models/{NET}/{what}" for what in ("load", "unload")]
            return [await client.post(path) for path in paths], await client.post("/v2/repository/index")

    changes, index = asyncio.run(ask())
    assert [told(change) for change in changes] == [(401, "the token is missing")] * 2
    assert index.status_code == 200


def test_versions_are_served_side_by_side():
    with SessionService({"net": {"1": NET, "10": NET}}) as service, served(protocol_app(service)) as address:
        client = httpx.Client(base_url=f"http://{address}")
        assert client.get("/v2/models/net").json()["versions"] == ["1", "10"]
        asked = [
            client.post(f"/v2/models/net{v}/infer", content=FRAME.body, headers=LENGTH) for v in ("", "/versions/1")
        ]
        answers = [decode_response(a.content, int(a.headers["inference-header-content-length"])) for a in asked]
        assert [answer.model_version for answer in answers] == ["10", "1"]
        assert [one["version"] for one in client.get("/v2/models/net/stats").json()["model_stats"]] == ["1", "10"]
        assert [one["version"] for one in client.get("/v2/models/net/versions/1/stats").json()["model_stats"]] == ["1"]


def test_a_model_that_is_not_loaded_is_told_of():
    with SessionService(loaded=False) as service, served(protocol_app(service)) as address:
        client = httpx.Client(base_url=f"http://{address}")
        assert client.get("/v2/health/ready").status_code == 200
        assert client.get(f"/v2/models/{NET}/ready").status_code == 503
        assert told(client.get(f"/v2/models/{NET}")) == (503, f"model {NET!r} version 1 is unloaded")
        assert told(infer(client)) == (503, f"model {NET!r} version 1 is unloaded")
        assert client.post("/v2/repository/index", json={"ready": True}).json() == []


def test_a_client_that_leaves_cancels_its_request(service, address):
    service.gate.clear()
    cancelled, asked = service.cancelled, len(service.asked)
    connection = http.client.HTTPConnection(address)
    connection.request("POST", INFER, FRAME.body, LENGTH)
    wait_until(lambda: len(service.asked) > asked)
    connection.close()
    wait_until(lambda: service.cancelled > cancelled)
    service.gate.set()


def test_others_are_answered_when_a_client_has_left(client, service, address):
    test_a_client_that_leaves_cancels_its_request(service, address)
    assert infer(client).status_code == 200


def test_a_slow_answer_comes_although_the_client_is_watched(client, service):
    service.gate.clear()
    asked = len(service.asked)
    opener = threading.Thread(
        target=lambda: (wait_until(lambda: len(service.asked) > asked), pause(), service.gate.set())
    )
    opener.start()
    assert infer(client).status_code == 200
    opener.join()


def test_a_client_that_leaves_within_its_body_is_not_answered(app):
    sent = asyncio.run(ask_in_process(app, [{"type": "http.request", "body": b"{", "more_body": True}, GONE]))
    assert sent == []


GONE = {"type": "http.disconnect"}


async def ask_in_process(app, messages):
    """Return what the application sends for a request to infer."""
    sent, left = [], iter(messages)

    async def receive():
        return next(left)

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": INFER, "root_path": "", "headers": [], "query_string": b""}
    await app(scope, receive, send)
    return sent


def pause():
    """Let longer pass than an answer takes before its client is watched."""
    threading.Event().wait(0.05)


def wait_until(holds):
    """Wait for something that happens in another thread."""
    for _ in range(2000):
        if holds():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it did not happen within 10 s")


def test_the_description_names_every_route_of_the_protocol(client, app):
    paths = client.get("/openapi.json").json()["paths"]
    described = {(path, method.upper()) for path, item in paths.items() for method in item if method != "parameters"}
    routes = {(route.path, method) for route in app.routes for method in route.methods - {"HEAD"}}
    unsupported = (
        "/v2/systemsharedmemory",
        "/v2/cudasharedmemory",
        "/v2/trace",
        "/v2/models/{name}/trace",
        "/v2/logging",
    )
    assert {route for route in routes if not route[0].startswith(unsupported)} <= described


def test_everything_of_the_description_that_refers_to_a_schema_finds_it(client):
    document = client.get("/openapi.json").json()
    there = {f'"#/components/schemas/{name}"' for name in document["components"]["schemas"]}
    text = json.dumps(document)
    assert {part.split("}")[0] for part in text.split('"$ref": ')[1:]} <= there
