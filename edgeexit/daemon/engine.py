"""The engine's thread: runs one job or batch after the other, and gives the clocks back when nobody asks any more."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from math import floor, inf, log2
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import numpy as np

from edgeexit.daemon.contracts import InferAnswer
from edgeexit.daemon.jobs import Arrivals, Job
from edgeexit.daemon.line import LEAST_S, Line, Turn
from edgeexit.errors import DeadlinePassed, EdgeExitError, EngineError, OptionError, Refused, ServeError
from edgeexit.runtime.answering import ROUNDING
from edgeexit.runtime.clocking import SetsClocks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgeexit.daemon.slot import Slot
    from edgeexit.runtime.result import Result
    from edgeexit.runtime.session import Session

    Array = NDArray[Any]

log = logging.getLogger(__name__)

T = TypeVar("T")

BUDGET_STEPS: Final = 32
NEXT_STEPS: Final = 8
"""An octave of times has so many that are told apart: a governor works each situation out once, and then knows it."""
_ROUNDING: Final = 1e-9
MOMENT_S: Final = 0.001
"""After so long without work the clocks are chosen for the time until the next request."""
HUNG_S: Final = 120.0
"""A turn that takes longer will never end: a watchdog may act."""
RESTART_S: Final = 2.0
"""Whoever comes while the daemon is being stopped may try again then: it may have been started anew."""
IDLE_S: Final = 5.0
"""After so long without a request the clocks are given back, until the next one comes."""


class Hold(SetsClocks, Protocol):
    """A hold on the clocks that can be given back for a while."""

    def restore(self) -> None:
        """Put back what was; a later `set` takes the clocks again."""


class EngineThread:
    """Answers jobs, one turn after the other.

    Args:
        queue_limit: So many jobs may wait.
        hold: The clocks; given back while nobody asks.
        slots: Returns all bundles that are loaded.
        simulated: True if the board's time is not the machine's own.
    """

    def __init__(self, queue_limit: int, hold: Hold, slots: Callable[[], Sequence[Slot]], *, simulated: bool) -> None:
        self.line = Line(queue_limit)
        self._hold = hold
        self._slots = slots
        self._simulated = simulated
        self._arrivals = Arrivals()
        self._calls: list[Callable[[], None]] = []
        self._change = threading.Condition()
        self._free_s = 0.0
        self._began_s: float | None = None
        self._closed = False
        self._resting = True
        self._to_rest: Session | None = None
        self._thread = threading.Thread(target=self._run, name="edgeexit-engine", daemon=True)

    @property
    def alive(self) -> bool:
        """True while the thread runs, and does not hang in one turn."""
        began_s = self._began_s
        return self._thread.is_alive() and (began_s is None or time.perf_counter() - began_s < HUNG_S)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Let a job wait for its turn; its `deliver` is called once.

        Raises:
            Refused: As `Line.join`, and while the engine is being closed.
        """
        with self._change:
            if self._closed:
                raise _stopping()
            now_s = time.perf_counter()
            self._arrivals.came(now_s)
            job.expected_s = job.samples * job.slot.expected_s
            job.spread_s = job.samples * job.slot.pace.spread
            job.least_s = job.slot.least_s
            self.line.join(job, now_s, self._free_s)
            self._change.notify()

    def withdraw(self, job: Job) -> None:
        """Answer a job no more: its client has left."""
        job.cancel.set()
        with self._change:
            waited = self.line.leave(job)
        if waited:
            job.deliver(job, ServeError("the client has left"))

    def call(self, function: Callable[[], T]) -> Future[T]:
        """Have the thread call a function between two turns."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(function())
            except Exception as error:
                future.set_exception(error)

        with self._change:
            if self._closed:
                future.set_exception(ServeError("the daemon is being stopped"))
                return future
            self._calls.append(run)
            self._change.notify()
        return future

    def close(self) -> None:
        """Finish what runs, refuse what waits, and end the thread; a second call does nothing."""
        with self._change:
            self._closed = True
            waiting = self.line.drain()
            self._change.notify()
        for job in waiting:
            job.deliver(job, _stopping())
        if self._thread.is_alive():
            self._thread.join(HUNG_S)

    def _run(self) -> None:
        while True:
            with self._change:
                self._free_s = 0.0
                ready = self._wait()
                if self._closed and not self._calls:
                    return
                calls, self._calls = self._calls, []
                now_s = time.perf_counter()
                turn = self.line.next(now_s) if len(self.line) else None
                if turn is not None:
                    self._free_s = now_s + sum(job.expected_s for job in turn.jobs)
            self._began_s = time.perf_counter()
            for call in calls:
                call()
            if turn is not None:
                self._resting = False
                self._answer(turn)
            elif not ready:
                self._rest()
            self._began_s = None

    def _wait(self) -> bool:
        """Wait for work; once none has come for a moment, let the governor choose the clocks for the wait.

        It is asked so late as whoever waits for an answer comes first, and nobody rests with work at the door.
        """
        if self._to_rest is not None:
            if self._change.wait_for(self._has_work, timeout=MOMENT_S):
                self._to_rest = None
                return True
            session, self._to_rest = self._to_rest, None
            try:
                session.rest()
            except Exception:
                log.exception("the clocks could not be set for the time until the next request")
        return self._change.wait_for(self._has_work, timeout=None if self._resting else IDLE_S)

    def _has_work(self) -> bool:
        return bool(len(self.line) or self._calls or self._closed)

    def _rest(self) -> None:
        self._resting = True
        try:
            self._hold.restore()
        except Exception:
            log.exception("the clocks could not be given back")

    def _answer(self, turn: Turn) -> None:
        start_s = time.perf_counter()
        jobs = [job for job in turn.jobs if self._in_time(job, start_s)]
        if not jobs:
            return
        try:
            results = self._infer(jobs, start_s, turn.wanted_in_s)
        except EdgeExitError as error:  # without its traceback: that holds this frame, which holds the inputs
            outcomes: Sequence[InferAnswer | Exception] = [error.with_traceback(None)] * len(jobs)
        except Exception as error:
            log.exception("an inference failed")
            outcomes = [EngineError(f"the inference failed: {error}")] * len(jobs)
        else:
            end_s = time.perf_counter()
            self._to_rest = jobs[0].slot.session
            self._learn(jobs, end_s - start_s)
            outcomes = self._outcomes(jobs, results, start_s, end_s)
        for job, outcome in zip(jobs, outcomes, strict=True):
            job.deliver(job, outcome)

    def _learn(self, jobs: list[Job], busy_s: float) -> None:
        """Note how long the bundle took; to the others it was no time of idling."""
        slot = jobs[0].slot
        slot.pace.add(busy_s / sum(job.samples for job in jobs))
        for other in self._slots():
            if other is not slot:
                other.session.worked_apart(busy_s)

    @staticmethod
    def _in_time(job: Job, now_s: float) -> bool:
        if job.cancel.is_set():
            job.deliver(job, ServeError("the client has left"))
            return False
        if job.deadline_s is not None and now_s + job.least_s > job.deadline_s:
            waited_ms = 1e3 * (now_s - job.submitted_s)
            job.deliver(
                job, DeadlinePassed(f"the answer cannot be in time any more after {waited_ms:.3g} ms of waiting")
            )
            return False
        return True

    def _infer(self, jobs: list[Job], now_s: float, wanted_in_s: float | None) -> list[Result]:
        first = jobs[0]
        deadline_s = min(inf if job.deadline_s is None else job.deadline_s for job in jobs)
        budget_s = None if deadline_s == inf else graded(max(deadline_s - now_s, LEAST_S), BUDGET_STEPS)
        wanted_in_s = None if wanted_in_s is None else graded(wanted_in_s, BUDGET_STEPS)
        next_s = self._next_in_s(now_s) if wanted_in_s is None else wanted_in_s
        session, options = first.slot.session, first.options
        if len(jobs) == 1 and first.samples == 1:
            return [
                session.infer(
                    first.inputs,
                    latency_budget_s=budget_s,
                    energy_budget_j=options.energy_budget_j,
                    next_request_in_s=next_s,
                    wanted_in_s=wanted_in_s,
                    exit_rule=options.exit_rule,
                    allowed_drop=options.allowed_drop,
                    rest=False,
                    cancel=first.cancel,
                )
            ]
        if options.energy_budget_j is not None:
            raise OptionError("energy_budget_j is for one sample; this request has several")
        return session.infer_batch(
            _joined(jobs),
            latency_budget_s=budget_s,
            next_request_in_s=next_s,
            wanted_in_s=wanted_in_s,
            exit_rule=options.exit_rule,
            allowed_drop=options.allowed_drop,
            rest=False,
            cancel=first.cancel if len(jobs) == 1 else None,
        )

    def _next_in_s(self, now_s: float) -> float | None:
        next_s = self._arrivals.next_in_s(now_s)
        return None if next_s is None else graded(next_s, NEXT_STEPS)

    def _outcomes(self, jobs: list[Job], results: list[Result], start_s: float, end_s: float) -> list[InferAnswer]:
        answers, done = [], 0
        for job in jobs:
            own = results[done : done + job.samples]
            done += job.samples
            queue_s = start_s - job.submitted_s
            run_s = max(result.latency_s for result in own) if self._simulated and own else end_s - start_s
            budget_s = job.options.latency_budget_s
            met = None if budget_s is None else queue_s + run_s <= budget_s * ROUNDING
            served = job.slot.served
            answers.append(InferAnswer(served.name, served.version, own, queue_s, queue_s + run_s, met))
        return answers


def _stopping() -> Refused:
    return Refused("the daemon is being stopped", RESTART_S)


def graded(duration_s: float, steps: int) -> float:
    """Return the next shorter time of which an octave has `steps`."""
    return float(2.0 ** (floor(log2(duration_s) * steps + _ROUNDING) / steps))


def _joined(jobs: list[Job]) -> Mapping[str, Array]:
    if len(jobs) == 1:
        return jobs[0].inputs
    return {name: np.concatenate([job.inputs[name] for job in jobs]) for name in jobs[0].inputs}
