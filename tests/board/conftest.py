"""Each virtual board boots once for all its tests; boards that are needed boot side by side."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from board import guests
from board.packages import NotFetchedError
from board.runs import RUNS


@pytest.fixture(scope="session")
def guest_runs(request, tmp_path_factory):
    """The runs of all boards that a test of this session asks for."""
    reason = guests.why_not()
    if reason:
        pytest.skip(reason)
    asked = {name for item in request.session.items for name in asked_for(item)}
    with ThreadPoolExecutor() as pool:
        yield {name: pool.submit(run, tmp_path_factory.mktemp(name)) for name, run in RUNS.items() if name in asked}


def asked_for(item):
    """Return the names of the guests that a test needs."""
    board = getattr(item, "callspec", None) and item.callspec.params.get("guest")
    return (f"{board}_guest",) if board else getattr(item, "fixturenames", ())


def outcome(run):
    try:
        return run.result()
    except NotFetchedError as error:
        pytest.skip(f"no virtual boards here: {error}")


@pytest.fixture(scope="session")
def x86_guest(guest_runs):
    """What the parts returned that ran on the x86 board."""
    return outcome(guest_runs["x86_guest"])


@pytest.fixture(scope="session")
def arm64_guest(guest_runs):
    """What the parts returned that ran on the arm64 board."""
    return outcome(guest_runs["arm64_guest"])


@pytest.fixture(params=["x86", "arm64"])
def guest(request):
    """What the parts returned on each board in turn."""
    return request.getfixturevalue(f"{request.param}_guest")
