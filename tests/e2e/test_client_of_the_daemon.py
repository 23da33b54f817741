"""`edgeexit.Client` and `edgeexit serve` as a user meets them: over TCP, over the Unix socket, with the token."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from serving_process import serving

import edgeexit
from edgeexit.errors import Denied, OptionError, Refused, ServeError

MODEL = "fashion-resnet"
IMAGES = np.random.default_rng(5).random((4, 1, 28, 28), dtype=np.float32)
TOKEN = "a-token-of-24-characters"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    folder = tmp_path_factory.mktemp("daemon")
    (folder / "token").write_text(TOKEN)
    (folder / "token").chmod(0o600)
    with serving(MODEL, "--unix", str(folder / "s"), "--token-file", str(folder / "token")) as running:
        running.unix = folder / "s"
        running.url = f"http://127.0.0.1:{running.port}"
        yield running


@pytest.fixture
def client(daemon):
    with edgeexit.Client(daemon.url, token=TOKEN) as made:
        yield made


def test_both_ways_in_give_the_answers_of_a_session(daemon, client):
    with (
        edgeexit.open_device("simulated:jetson-tx2") as board,
        edgeexit.Session(edgeexit.load_bundle(MODEL), board) as session,
    ):
        own = [session.infer(image[None]) for image in IMAGES]
    with edgeexit.Client(unix=daemon.unix) as by_unix:
        for asking in (client, by_unix):
            answers = [asking.infer(MODEL, image[None], latency_budget_s=10.0) for image in IMAGES]
            assert [answer.labels.tolist() for answer in answers] == [[result.label] for result in own]
            assert [answer.exit_index.tolist() for answer in answers] == [[result.exit_index] for result in own]
            assert all(answer.deadline_met for answer in answers)


def test_many_requests_at_once_are_all_answered_right(daemon, client):
    async def ask():
        async with edgeexit.AsyncClient(unix=daemon.unix) as asking:
            return await asyncio.gather(*(asking.infer(MODEL, IMAGES[i % 4][None]) for i in range(32)))

    alone = [client.infer(MODEL, image[None]).labels.tolist() for image in IMAGES]
    assert [answer.labels.tolist() for answer in asyncio.run(ask())] == [alone[i % 4] for i in range(32)]


def test_an_answer_that_can_never_be_in_time_is_refused_for_good(client):
    with pytest.raises(Refused) as caught:
        client.infer(MODEL, IMAGES[:1], latency_budget_s=1e-7)
    assert caught.value.retry_after_s is None


def test_loading_takes_the_token_or_the_unix_socket(daemon, client):
    client.load(MODEL)
    with edgeexit.Client(unix=daemon.unix) as by_unix:
        by_unix.load(MODEL)
    with edgeexit.Client(daemon.url) as without, pytest.raises(Denied, match="token"):
        without.load(MODEL)


def test_governor_and_deadline_can_be_changed_and_seen(client):
    client.change(governor="performance", latency_budget_s=0.25)
    state = client.state()
    assert (state["governor"], state["latency_budget_s"]) == ("performance", 0.25)
    assert client.infer(MODEL, IMAGES[:1]).deadline_met is True
    client.change(governor="plan", no_deadline=True)
    assert client.state()["latency_budget_s"] is None
    assert client.infer(MODEL, IMAGES[:1]).deadline_met is None


def test_an_unknown_governor_changes_nothing(client):
    before = client.state()["governor"]
    with pytest.raises(OptionError, match="nobody"):
        client.change(governor="nobody", latency_budget_s=0.25)
    assert client.state()["governor"] == before
    assert client.state()["latency_budget_s"] is None


def test_changes_over_tcp_need_the_token(daemon):
    with edgeexit.Client(daemon.url) as without, pytest.raises(Denied):
        without.change(governor="performance")


def test_a_client_that_is_there_before_the_daemon_waits_for_it(tmp_path):
    with edgeexit.Client(unix=tmp_path / "s", retries=1000) as early, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(early.infer, MODEL, IMAGES[:1])
        with serving(MODEL, "--unix", str(tmp_path / "s"), "--no-tcp", tcp=False):
            assert answer.result(timeout=30.0).model == MODEL


def test_nobody_there_is_said_with_what_to_do(tmp_path):
    with edgeexit.Client(unix=tmp_path / "s", retries=0) as client, pytest.raises(ServeError, match="edgeexit serve"):
        client.ready()
