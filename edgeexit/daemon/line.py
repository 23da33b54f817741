"""Who waits for the engine, in which order, and who may join: decided without threads, at times that are given."""

from __future__ import annotations

from bisect import bisect, insort
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from edgeexit.errors import Refused

if TYPE_CHECKING:
    from edgeexit.daemon.jobs import Job

LEAST_S = 1e-6
"""A time that is up counts as so much: budgets must lie above 0."""
CAUTION = 2.0
"""So many spreads later than expected an accepted job must still be in time; spreads of those before it add as chance
does."""

_turn = attrgetter("turn")


class Turn(NamedTuple):
    """What the engine runs next."""

    jobs: list[Job]
    """All of one bundle; several run as one batch."""
    wanted_in_s: float | None
    """When those that wait need it done; None if nobody waits."""


class Line:
    """The queue: within one priority the earliest deadline goes first.

    Args:
        limit: So many may wait.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._jobs: list[Job] = []

    def __len__(self) -> int:
        return len(self._jobs)

    def join(self, job: Job, now_s: float, free_s: float) -> None:
        """Let a job wait.

        Args:
            job: The newcomer.
            now_s: The time now.
            free_s: When the engine will be done with what it runs.

        Raises:
            Refused: If the queue is full, or the job, or by its coming another one that was accepted, cannot be
                answered in time.
        """
        if len(self._jobs) >= self.limit:
            wait_s = free_s - now_s + sum(each.expected_s for each in self._jobs)
            raise Refused(f"the queue is full: {self.limit} requests wait already; try again later", max(wait_s, 0.0))
        place = bisect(self._jobs, job.turn, key=_turn)
        start_s = max(now_s, free_s)
        before = self._jobs[:place]
        for each in before:
            start_s += each.expected_s if each.deadline_s is None or start_s + each.least_s <= each.deadline_s else 0.0
        care_s = CAUTION * sum(each.spread_s**2 for each in (*before, job)) ** 0.5
        self._check_in_time(job, now_s, start_s, care_s)
        self._check_others(job, now_s, start_s, self._jobs[place:])
        insort(self._jobs, job, key=_turn)

    @staticmethod
    def _check_in_time(job: Job, now_s: float, start_s: float, care_s: float) -> None:
        if job.deadline_s is None or start_s + job.least_s + care_s <= job.deadline_s:
            return
        due, wait_s = _ms(job.deadline_s - job.submitted_s), start_s - now_s
        if now_s + job.least_s > job.deadline_s:
            raise Refused(f"an answer takes at least {_ms(job.least_s)}, and is due in {due}: ask for more time")
        if wait_s <= 0.0 and start_s + job.least_s <= job.deadline_s:
            return  # nobody is before it: it may be in time, and another try will not be safer
        taken, work = _ms(wait_s), _ms(job.least_s + care_s)
        text = f"it is due in {due}, the engine is taken for {taken}, and the work takes {work}"
        raise Refused(f"the answer cannot be in time: {text}", wait_s)

    @staticmethod
    def _check_others(job: Job, now_s: float, start_s: float, behind: list[Job]) -> None:
        for each in behind:
            if each.deadline_s is not None and start_s + each.least_s > each.deadline_s:
                continue
            if each.deadline_s is not None and start_s + job.expected_s + each.least_s > each.deadline_s:
                raise Refused("it would make a request late that was accepted before", start_s - now_s)
            start_s += each.expected_s

    def leave(self, job: Job) -> bool:
        """Take a job out that will not be answered; False if it does not wait any more."""
        if job not in self._jobs:
            return False
        self._jobs.remove(job)
        return True

    def next(self, now_s: float) -> Turn:
        """Take out what runs next: the first, and those that can run in one batch with it.

        Requires:
            Somebody waits.
        """
        first = self._jobs.pop(0)
        jobs, samples = [first], first.samples
        for each in list(self._jobs):
            if samples + each.samples > first.slot.served.max_batch:
                break
            if first.joins(each):
                self._jobs.remove(each)
                jobs.append(each)
                samples += each.samples
        return Turn(jobs, self._wanted_in_s(now_s))

    def _wanted_in_s(self, now_s: float) -> float | None:
        """Return when those that wait need the engine; at once if one of them has no deadline, which always waits."""
        if not self._jobs:
            return None
        need_s, taken_s = float("inf"), 0.0
        for each in self._jobs:
            if each.deadline_s is None:
                return LEAST_S
            need_s = min(need_s, each.deadline_s - now_s - taken_s - max(each.least_s, each.expected_s))
            taken_s += each.expected_s
        return max(need_s, LEAST_S)

    def drain(self) -> list[Job]:
        """Take all out."""
        jobs, self._jobs = self._jobs, []
        return jobs


def _ms(duration_s: float) -> str:
    return f"{1e3 * duration_s:.6g} ms"
