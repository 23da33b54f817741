"""One call with its retries, without a socket: `Client` and `AsyncClient` do what `persist` asks for, step by step."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Final, NamedTuple, TypeVar

from edgeexit.client.failures import failure_of
from edgeexit.errors import EdgeExitError, InputError, OptionError, Refused, ServeError

T = TypeVar("T")


class Send(NamedTuple):
    """Send this request, and come back with a `Reply` or `Unreached`."""

    method: str
    path: str
    timeout_s: float
    """How long the server may be silent."""
    headers: Mapping[str, str]
    body: bytes


class Wait(NamedTuple):
    """Come back after so many seconds."""

    for_s: float


class Reply(NamedTuple):
    """What the server sent."""

    status: int
    headers: Mapping[str, str]
    """Names in whatever case the mapping understands; httpx's understands all."""
    body: bytes


class Unreached(NamedTuple):
    """There was no reply."""

    reason: str
    never_sent: bool
    """True if no connection came about, so that the server cannot have seen the request."""


Outcome = Reply | Unreached | None
"""None comes back after a `Wait`."""
Steps = Generator[Send | Wait, Outcome, T]


class Call(NamedTuple):
    """What to ask."""

    method: str
    path: str
    prepare: Callable[[float | None], tuple[Mapping[str, str], bytes]] | None = None
    """Makes headers and body, given the seconds until the answer is due (None: no deadline); None: no body."""
    latency_budget_s: float | None = None
    """Time until the answer is due, from now."""
    invalid: type[EdgeExitError] = InputError
    """What is wrong if the server takes it for invalid (400)."""


@dataclass(frozen=True, slots=True)
class Persistence:
    """How long and how often a call is tried.

    A retry comes only after what cannot have had an effect: no connection, or an answer 503 that says when to come
    back. Never does one begin when the answer would already be due, or `timeout_s` is over.

    Attributes:
        timeout_s: Until a call is given up, in seconds, all its retries included.
        retries: How often it is tried again.
        first_wait_s: Upper bound of the first wait; each further one may be twice as long. The wait itself is drawn
            evenly from 0 to the bound ("full jitter", Brooker, Exponential Backoff And Jitter, AWS 2015), on top of
            what the server asks for.
        longest_wait_s: Upper bound of all waits.
        now_s: A clock that only goes forward, in seconds.
        draw: Returns evenly distributed numbers from 0 to 1.
    """

    timeout_s: float = 30.0
    retries: int = 3
    first_wait_s: float = 0.05
    longest_wait_s: float = 1.0
    now_s: Callable[[], float] = field(default=time.monotonic, repr=False)
    draw: Callable[[], float] = field(default=random.random, repr=False)

    def __post_init__(self) -> None:
        if not 0.0 < self.timeout_s < inf:
            raise OptionError(f"timeout_s must be seconds above 0, not {self.timeout_s!r}")
        if self.retries < 0:
            raise OptionError(f"retries must be 0 or more, not {self.retries!r}")

    def wait_s(self, failed: int, asked_s: float) -> float:
        """Return how long to wait after `failed` tries, where the server asks for `asked_s` at least."""
        return asked_s + self.draw() * min(self.longest_wait_s, self.first_wait_s * 2.0 ** (failed - 1))


NO_BODY: Final[tuple[Mapping[str, str], bytes]] = ({}, b"")


def persist(call: Call, persistence: Persistence) -> Steps[Reply]:
    """Ask until there is an answer, or no further try makes sense.

    Raises:
        EdgeExitError: What the server says is wrong, see `failures`; ServeError if it cannot be reached.
    """
    start_s = persistence.now_s()
    end_s = start_s + persistence.timeout_s
    due_s = inf if call.latency_budget_s is None else start_s + call.latency_budget_s
    for failed in range(1, persistence.retries + 2):
        outcome = yield _send(call, persistence.now_s(), due_s, end_s)
        if isinstance(outcome, Reply) and outcome.status == 200:
            return outcome
        error, again_in_s = _judge(outcome, call.invalid)
        if again_in_s is None or failed > persistence.retries:
            raise error
        wait_s = persistence.wait_s(failed, again_in_s)
        if persistence.now_s() + wait_s >= min(due_s, end_s):
            raise error
        yield Wait(wait_s)
    raise AssertionError("the last try returns or raises")


def _send(call: Call, now_s: float, due_s: float, end_s: float) -> Send:
    """Return the request as it is now: its time to the deadline is what is left of it."""
    left_s = None if due_s == inf else max(due_s - now_s, 1e-6)
    headers, body = NO_BODY if call.prepare is None else call.prepare(left_s)
    return Send(call.method, call.path, max(end_s - now_s, 1e-6), headers, body)


def _judge(outcome: Outcome, invalid: type[EdgeExitError]) -> tuple[EdgeExitError, float | None]:
    """Return what is wrong, and after how many seconds another try is worth it; None: never."""
    if isinstance(outcome, Reply):
        error = failure_of(outcome.status, outcome.headers, outcome.body, invalid)
        return error, error.retry_after_s if isinstance(error, Refused) else None
    assert outcome is not None, "a request comes back with an outcome"
    return ServeError(outcome.reason), 0.0 if outcome.never_sent else None
