"""Both clients against the daemon's routes on a real HTTP server, over TCP."""

import asyncio
import threading

import numpy as np
import pytest
from http_here import protocol_app, served
from session_service import SessionService

import edgeexit
from edgeexit.daemon.contracts import InferOptions
from edgeexit.errors import DeadlinePassed, Denied, InputError, ModelNotFound, ModelNotReady, Refused, ServeError

MODEL = "fashion-resnet"
IMAGES = np.random.default_rng(3).random((3, 1, 28, 28), dtype=np.float32)


@pytest.fixture(scope="module")
def service():
    with SessionService() as made:
        yield made


@pytest.fixture(scope="module")
def url(service):
    with served(protocol_app(service)) as address:
        yield f"http://{address}"


@pytest.fixture
def client(url):
    with edgeexit.Client(url, retries=0) as made:
        yield made


@pytest.fixture
def failing(service):
    """Returns what makes the service fail with an error until the test ends."""

    def fail(error):
        service.failure = error

    yield fail
    service.failure = None


def test_an_answer_is_that_of_a_session(client):
    answer = client.infer(MODEL, IMAGES, exit_rule="threshold")
    with edgeexit.open_device("simulated:jetson-tx2") as device:
        session = edgeexit.Session(edgeexit.load_bundle(MODEL), device, exit_rule="threshold")
        expected = session.infer_batch(IMAGES)
        session.close()
    assert answer.labels.tolist() == [result.label for result in expected]
    assert answer.exit_index.tolist() == [result.exit_index for result in expected]
    np.testing.assert_allclose(answer.probabilities, [result.probabilities for result in expected], atol=1e-6)


def test_an_answer_tells_model_time_energy_and_clocks(client):
    answer = client.infer(MODEL, IMAGES[:1], latency_budget_s=5.0)
    assert (answer.model, answer.version) == (MODEL, "1")
    assert answer.latency_s > 0.0
    assert answer.deadline_met is True
    assert answer.energy_j > 0.0
    assert answer.energy_source == "simulated"
    assert set(answer.clocks) == {"gpu"}


def test_options_reach_the_service(client, service):
    client.infer(MODEL, IMAGES[:1], exit_rule="threshold", allowed_drop=0.0, energy_budget_j=2.0, priority=1)
    assert service.asked[-1] == InferOptions(
        exit_rule="threshold", allowed_drop=0.0, energy_budget_j=2.0, priority=1, latency_budget_s=None
    )


def test_an_array_by_name_is_the_same_as_the_only_input(client):
    by_name = client.infer(MODEL, {"image": IMAGES[:1]})
    assert by_name.labels.tolist() == client.infer(MODEL, IMAGES[:1]).labels.tolist()


def test_several_threads_share_a_client(client):
    labels = []
    threads = [
        threading.Thread(target=lambda: labels.append(client.infer(MODEL, IMAGES[:1]).labels.tolist()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(labels) == 4
    assert all(one == labels[0] for one in labels)


def test_lists_models_and_what_they_take(client):
    assert [(model.name, model.version, model.ready) for model in client.models()] == [(MODEL, "1", True)]
    metadata = client.metadata(MODEL)
    assert [(each.name, each.datatype, each.shape) for each in metadata.inputs] == [("image", "FP32", (-1, 1, 28, 28))]
    assert client.ready()
    assert client.ready(MODEL, version="1")


def test_a_model_that_was_unloaded_is_not_ready_until_it_is_loaded_again(client):
    client.unload(MODEL)
    assert not client.ready(MODEL)
    with pytest.raises(ModelNotReady):
        client.infer(MODEL, IMAGES[:1])
    client.load(MODEL)
    assert client.ready(MODEL)
    assert client.infer(MODEL, IMAGES[:1]).model == MODEL


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(ModelNotFound, match="nobody"):
        client.infer("nobody? 100 %", IMAGES[:1])


def test_a_wrong_shape_is_an_input_error(client):
    with pytest.raises(InputError, match="shape"):
        client.infer(MODEL, np.zeros((1, 3), np.float32))


@pytest.mark.parametrize(
    "error",
    [Refused("the queue is full", 0.5), Refused("never in time"), DeadlinePassed("too late"), ServeError("stopped")],
)
def test_what_the_service_raises_is_raised_here(client, failing, error):
    failing(error)
    with pytest.raises(type(error), match=str(error)) as caught:
        client.infer(MODEL, IMAGES[:1])
    assert (getattr(caught.value, "retry_after_s", None) is None) == (getattr(error, "retry_after_s", None) is None)


def test_a_refused_request_is_tried_again(url, service, failing):
    failing(Refused("the queue is full", 0.001))
    clear = threading.Timer(0.3, lambda: setattr(service, "failure", None))
    clear.start()
    with edgeexit.Client(url, retries=10) as client:
        assert client.infer(MODEL, IMAGES[:1]).model == MODEL
    clear.join()


def test_no_retry_goes_beyond_the_deadline(url, service, failing):
    failing(Refused("the queue is full", 60.0))
    with edgeexit.Client(url, retries=10) as client, pytest.raises(Refused):
        client.infer(MODEL, IMAGES[:1], latency_budget_s=0.5)


def test_the_token_is_sent_as_the_daemon_reads_it(service):
    def with_token(request):
        if request.headers.get("authorization") != "Bearer open sesame":
            raise Denied("the token is wrong", token_helps=True)

    with served(protocol_app(service, require_control=with_token)) as address:
        with edgeexit.Client(f"http://{address}", token="open sesame") as client:
            client.load(MODEL)
        with edgeexit.Client(f"http://{address}", token="guess") as client, pytest.raises(Denied):
            client.load(MODEL)


def test_the_asynchronous_client_gives_the_same_answers_many_at_a_time(url, client):
    async def ask():
        async with edgeexit.AsyncClient(url) as asking:
            return await asyncio.gather(*(asking.infer(MODEL, IMAGES[i % 3][None]) for i in range(12)))

    alone = [client.infer(MODEL, image[None]).labels.tolist() for image in IMAGES]
    assert [answer.labels.tolist() for answer in asyncio.run(ask())] == [alone[i % 3] for i in range(12)]


def test_every_call_of_the_asynchronous_client_works(url):
    async def ask():
        async with edgeexit.AsyncClient(url) as asking:
            await asking.unload(MODEL)
            before = await asking.ready(MODEL)
            await asking.load(MODEL)
            names = [model.name for model in await asking.models()]
            return before, await asking.ready(MODEL), names, (await asking.metadata(MODEL)).name

    assert asyncio.run(ask()) == (False, True, [MODEL], MODEL)


def test_the_asynchronous_client_raises_the_same_errors(url):
    async def ask():
        async with edgeexit.AsyncClient(url) as asking:
            await asking.infer("nobody", IMAGES[:1])

    with pytest.raises(ModelNotFound):
        asyncio.run(ask())


def test_a_cancelled_call_withdraws_the_request(url, service):
    async def ask():
        async with edgeexit.AsyncClient(url) as asking:
            await asking.metadata(MODEL)
            call = asyncio.ensure_future(asking.infer(MODEL, IMAGES[:1]))
            while len(service.asked) == asked:
                await asyncio.sleep(0.005)
            call.cancel()
            while service.cancelled == cancelled:
                await asyncio.sleep(0.005)

    asked, cancelled = len(service.asked), service.cancelled
    service.gate.clear()
    try:
        asyncio.run(asyncio.wait_for(ask(), 20))
    finally:
        service.gate.set()
    assert service.cancelled == cancelled + 1


def test_nobody_at_the_address_is_a_server_error_that_says_what_to_do():
    with edgeexit.Client("http://127.0.0.1:1", retries=0) as client, pytest.raises(ServeError, match="edgeexit serve"):
        client.models()
