"""Takes idle time for shadow runs, without being in the way of an inference.

A thread begins when the session has been quiet for a while, runs no segment that would not be done when the next
inference is expected, as far as both are known, and stands aside as soon as one is asked for. So an answer is later by
the rest of one segment at most.
"""

from __future__ import annotations

import logging
import threading
from math import inf
from typing import TYPE_CHECKING

from edgeexit.errors import EngineError

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from edgeexit.protocols import Clock
    from edgeexit.runtime.shadow import ShadowRuns

log = logging.getLogger(__name__)


class Turn:
    """Whose turn it is: the session's, which only says that it wants it and gets it next, or idle work's.

    Attributes:
        ended_s: When the last inference ended, on the device's clock.
        next_request_s: When the next is expected; None if there is no telling.
    """

    def __init__(self) -> None:
        self._wanted = False
        self.ended_s = -inf
        self.next_request_s: float | None = None
        self._lock = threading.Lock()

    def is_wanted(self) -> bool:
        """Return whether the session waits for its turn or has it."""
        return self._wanted

    def take_if_free(self) -> bool:
        """Take the turn for idle work, if the session does not want it; `give_back` it soon."""
        if self.is_wanted() or not self._lock.acquire(blocking=False):
            return False
        if self.is_wanted():
            self._lock.release()
            return False
        return True

    def give_back(self) -> None:
        """End idle work."""
        self._lock.release()

    def __enter__(self) -> Self:
        self._wanted = True
        self._lock.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wanted = False
        self._lock.release()


class IdleWorker:
    """The thread; it is started by the first sample that waits.

    Args:
        runs: What is to be run.
        turn: Shared with the session.
        clock: The device's.
        quiet_s: For how long no inference may have run before it begins.
    """

    def __init__(self, runs: ShadowRuns, turn: Turn, clock: Clock, quiet_s: float) -> None:
        self._runs = runs
        self._turn = turn
        self._clock = clock
        self._quiet_s = quiet_s
        self._awake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Say that a sample waits; returns at once."""
        if self._thread is None and not self._closing.is_set():
            self._thread = threading.Thread(target=self._work, name="edgeexit-shadow", daemon=True)
            self._thread.start()
        self._awake.set()

    def close(self) -> None:
        """Stop after the segment that is running; may be called more than once."""
        self._closing.set()
        self._awake.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while not self._closing.is_set():
            self._awake.wait()
            self._awake.clear()
            while self._runs.waiting and not self._closing.wait(self._quiet_s):
                until_s = self._free_until_s()
                if until_s is not None and self._turn.take_if_free():
                    self._run(until_s)

    def _run(self, until_s: float) -> None:
        try:
            self._runs.work(until_s, self._interrupted)
        except EngineError as error:
            log.warning("a shadow run failed, its sample is dropped: %s", error)
        finally:
            self._turn.give_back()

    def _interrupted(self) -> bool:
        return self._turn.is_wanted() or self._closing.is_set()

    def _free_until_s(self) -> float | None:
        """Return until when there is time; None if there is none now.

        A request that does not come when it was expected may come at any moment: that takes as long to be quiet as
        one that was not expected.
        """
        now_s, due_s = self._clock.now_s(), self._turn.next_request_s
        if due_s is not None and now_s < due_s:
            return due_s
        quiet_since_s = self._turn.ended_s if due_s is None else max(self._turn.ended_s, due_s)
        return inf if now_s - quiet_since_s >= self._quiet_s else None
