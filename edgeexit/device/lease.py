"""The lease: our hold on a board's clocks, and the only place that sets them.

Before the first write it journals what was. It reads back what every write came to, notices if somebody else changes a
clock under us and then leaves that clock to them, and gives everything back when it is closed. Whatever goes wrong with
a clock, inference goes on.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeexit.clock import MonotonicClock
from edgeexit.device.limits import held_down
from edgeexit.errors import ClockNotWritable, ClocksUnavailable, DeviceError, JournalError, LeaseTaken
from edgeexit.protocols import Applied, Clock, ClockDomain, Clocks, Journal, Knob

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

log = logging.getLogger(__name__)

MOST_VALUES = 3
"""So many values of ours may a knob be said to hold (`Journal.note`)."""


@dataclass(slots=True)
class _Hold:
    """What the lease knows of one domain."""

    domain: ClockDomain
    saved_hz: int | None = None
    """Before the first write."""
    requested_hz: int | None = None
    """What was asked for last; a request equal to it is skipped."""
    held_hz: int | None = None
    """What the last write came to, or was to come to."""
    journalled: bool = False
    forbidden: bool = False
    """True once it turned out not to be writable; it is only observed then."""
    yielded: bool = False
    """True while the clock is left to somebody else."""
    troubled: bool = False
    """True once a failure was logged."""
    ours: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Knob's key -> what it may hold because of us, and until the first set has succeeded what it held before us."""


class Lease:
    """Sets clocks, checks what became of it, and puts back what was when it is closed.

    A clock that cannot be set never stops an inference: one warning, and from then on the lease only observes it.

    Args:
        domains: The clock domains by name, as `Device.domains` gives them.
        journal: Where to write down what has to be put back; None where no clock outlives the process.
        clock: To wait by until the machine has done what it was asked for; by default its own.
    """

    def __init__(
        self, domains: Mapping[str, ClockDomain], *, journal: Journal | None = None, clock: Clock | None = None
    ) -> None:
        self._clock: Clock = MonotonicClock() if clock is None else clock
        self._holds = {name: _Hold(domain) for name, domain in domains.items()}
        self._holder_of: dict[str, _Hold] = {}
        self._journal = journal
        self._pid = os.getpid()
        self._lock = threading.RLock()  # a writer thread may be at work when the interpreter ends
        self._observe_only = False
        self._warned = False
        self._closed = False
        self._given_back = False
        self._clamped_count = 0
        self._switch_count = 0
        self._yielded_count = 0
        self._failed_count = 0

    @property
    def observe_only(self) -> bool:
        """True once no clock can be set any more: none is writable, or nothing can be journalled."""
        holds = self._holds.values()
        return self._observe_only or (bool(holds) and all(hold.forbidden for hold in holds))

    @property
    def clamped_count(self) -> int:
        """How often a domain took another frequency than it was asked for."""
        return self._clamped_count

    @property
    def switch_count(self) -> int:
        """How often a frequency really changed, the restoring at the end not counted."""
        return self._switch_count

    @property
    def yielded_count(self) -> int:
        """How often somebody else had changed a clock that we held; it was left to them."""
        return self._yielded_count

    @property
    def failed_count(self) -> int:
        """How often a clock could not be set for now: busy, refused, or its device away."""
        return self._failed_count

    def read_clocks(self) -> dict[str, int]:
        """Return the present frequency of each domain in Hz; one that cannot be read keeps its last, or is left out."""
        clocks = {}
        for name, hold in self._holds.items():
            try:
                clocks[name] = hold.domain.read_hz()
            except DeviceError:
                if hold.held_hz is not None:
                    clocks[name] = hold.held_hz
        return clocks

    def set(self, clocks: Clocks) -> tuple[Applied, ...]:
        """Ask for `clocks` and read back what came of it.

        Returns:
            One entry for each domain that was written to: a request equal to the one before is skipped.

        Raises:
            DeviceError: If the lease is closed or a domain is unknown; then no clock is touched.

        Warns:
            ClocksUnavailable: Once, if a clock cannot be set.
        """
        with self._held_lock():
            return self._set(clocks)

    def restore(self) -> None:
        """Put back what was, but only where a clock still holds the value that we set."""
        with self._held_lock():
            for hold in self._holds.values():
                for knob in hold.domain.knobs if hold.journalled else ():  # another lease's knobs are its own
                    knob.before_write = None
            if self._journal is not None:
                left = [self._holder_of[key] for key in self._journal.restore()]
                self._yielded_count += len({hold.domain.name for hold in left if not hold.yielded})
            for name, hold in self._holds.items():
                if not hold.domain.knobs:
                    self._restore_frequency(name, hold)
                self._holds[name] = _Hold(hold.domain)
            self._holder_of.clear()

    def close(self) -> None:
        """Restore the clocks and set none from now on; a second call does nothing."""
        with self._held_lock():
            self._closed = True
            if not self._given_back:  # an interrupt in the middle leaves it to the next call, or to the end of Python
                self.restore()
                self._given_back = True
                atexit.unregister(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _held_lock(self) -> contextlib.AbstractContextManager[object]:
        """Return the lock; a forked child gets a new one, and holds nothing: what its parent holds is the parent's."""
        if os.getpid() != self._pid:
            self._pid = os.getpid()
            self._lock = threading.RLock()  # a thread of the parent may have held the old one
            self._holds = {name: _Hold(hold.domain) for name, hold in self._holds.items()}
        return self._lock

    def _set(self, clocks: Clocks) -> tuple[Applied, ...]:
        if self._closed:
            raise DeviceError("the lease on the clocks is closed: no clock can be set")
        if self._observe_only:
            return ()
        holds = self._holds
        for name in clocks:
            if name not in holds:
                known = ", ".join(holds) or "none"
                raise DeviceError(f"no clock domain is called {name!r}; there are: {known}")
        applied: list[Applied] = []
        for name, frequency_hz in clocks.items():
            hold = holds[name]
            if hold.requested_hz == frequency_hz or hold.forbidden:
                continue
            try:
                result = self._set_one(hold, frequency_hz)
            except (JournalError, LeaseTaken) as error:
                self._observe_only = True
                self._warn(name, error)
                break
            except ClockNotWritable as error:
                hold.forbidden = True
                self._warn(name, error)
                continue
            except DeviceError as error:
                self._pass_over(name, hold, error)
                continue
            if result is not None:
                applied.append(result)
        return tuple(applied)

    def _set_one(self, hold: _Hold, frequency_hz: int) -> Applied | None:
        domain = hold.domain
        if hold.ours and self._is_somebody_elses(hold):
            return None
        if hold.saved_hz is None:
            self._take(hold)
        before_hz = hold.held_hz
        hold.held_hz = frequency_hz  # before the write: an interrupt in it must not hide it from restore
        hold.requested_hz = None  # after a failure half of it may be done: the next request is not skipped
        try:
            applied = domain.set_hz(frequency_hz)
            effective_hz = domain.read_hz()
        except DeviceError:
            hold.held_hz = before_hz
            raise
        hold.requested_hz, hold.held_hz = frequency_hz, effective_hz
        clamped = effective_hz != frequency_hz
        self._settle(hold, clamped)
        self._clamped_count += clamped
        self._switch_count += effective_hz != (hold.saved_hz if before_hz is None else before_hz)
        return Applied(frequency_hz, effective_hz, applied.verified_by, applied.elapsed_s)

    def _take(self, hold: _Hold) -> None:
        """Write down what the domain is like before it is changed for the first time."""
        knobs = hold.domain.knobs
        if knobs and self._journal is None:
            raise JournalError("there is no journal to write down in what has to be put back")
        if knobs and self._journal is not None and not hold.journalled:
            self._journal.open(knobs)
            hold.journalled = True
            for knob in knobs:
                self._holder_of[knob.key] = hold
                knob.before_write = self._before_write
            atexit.register(self.close)
        hold.saved_hz = hold.domain.read_hz()

    def _before_write(self, knob: Knob, value: str) -> None:
        """Journal that a knob is about to be written: it may hold the old value, or the new one."""
        ours = self._holder_of[knob.key].ours
        before = ours.get(knob.key)
        values = (*_with_room((knob.read() or "",) if before is None else before, knob), value)
        if self._journal is not None:
            self._journal.note(knob, values)
        ours[knob.key] = values

    def _settle(self, hold: _Hold, clamped: bool) -> None:
        """Journal what the knobs hold now, so that an earlier value of ours does not count as ours any more."""
        journal = self._journal
        if journal is None:
            return
        for knob in hold.domain.knobs:
            values = hold.ours.get(knob.key)
            if not values:
                continue
            settled = values[-1:]
            try:
                found = knob.read() if clamped else None
            except DeviceError:  # away just now: it may hold any of them when it comes back
                continue
            if found is not None and found != values[-1]:
                settled = (found, values[-1])
            if settled != values:
                journal.note(knob, settled)
                hold.ours[knob.key] = settled

    def _is_somebody_elses(self, hold: _Hold) -> bool:
        """Return whether somebody else has changed the domain since our last write; until it is as it was."""
        name = hold.domain.name
        for knob in hold.domain.knobs:
            values = hold.ours.get(knob.key)
            if values and not _may_hold(knob, values) and not self._is_held_down(hold, knob, values):
                if not hold.yielded:
                    hold.yielded = True
                    self._yielded_count += 1
                    log.warning("clock %s is left to somebody else: %s is now %s", name, knob.key, knob.read())
                return True
        if hold.yielded:
            hold.yielded = False
            log.info("clock %s is as we left it again", name)
        return False

    def _is_held_down(self, hold: _Hold, knob: Knob, values: tuple[str, ...]) -> bool:
        """Return whether the machine itself holds a maximum down, in the heat: then what it reads counts as ours."""
        if hold.yielded or self._journal is None or not knob.key.endswith("max_freq"):
            return False
        knob.before_write, hook = None, knob.before_write  # it only gets a value that is in the journal
        try:
            with held_down(knob, values, self._clock) as by_the_machine:
                pass
            found = knob.read() if by_the_machine else None
        except (DeviceError, ValueError):
            return False
        finally:
            knob.before_write = hook
        if found is None:
            return False
        hold.ours[knob.key] = (found, values[-1])
        self._journal.note(knob, hold.ours[knob.key])
        log.info("the machine holds clock %s down: %s is %s", hold.domain.name, knob.key, found)
        return True

    def _restore_frequency(self, name: str, hold: _Hold) -> None:
        if hold.saved_hz is None or hold.held_hz is None:
            return
        try:
            found_hz = hold.domain.read_hz()
            if found_hz == hold.held_hz:
                hold.domain.set_hz(hold.saved_hz)
            else:
                self._yielded_count += 1
                log.info("clock %s is left at %d Hz: somebody else has set it since", name, found_hz)
        except DeviceError as error:
            log.warning("clock %s could not be put back to %d Hz: %s", name, hold.saved_hz, error)

    def _pass_over(self, name: str, hold: _Hold, error: DeviceError) -> None:
        """Count a clock that cannot be set for now; the next request tries again."""
        self._failed_count += 1
        if not hold.troubled:
            hold.troubled = True
            log.warning("clock %s cannot be set for now, inference goes on: %s", name, error)

    def _warn(self, name: str, error: DeviceError) -> None:
        """Warn of the first clock that cannot be set, and log the others."""
        message = f"clock {name!r} cannot be set ({error}); inference goes on at the clocks as they are"
        if self._warned:
            log.info("%s", message)
            return
        self._warned = True
        warnings.warn(message, ClocksUnavailable, stacklevel=4)


def _with_room(values: tuple[str, ...], knob: Knob) -> tuple[str, ...]:
    """Return what a knob may hold with room for one more; after failures the newest that it does not hold goes.

    The oldest stays as long as it can: what was settled may show again when heat is over.
    """
    if len(values) < MOST_VALUES:
        return values
    idle = [index for index, value in enumerate(values) if not _may_hold(knob, (value,))] or [len(values) - 1]
    return values[: idle[-1]] + values[idle[-1] + 1 :]


def _may_hold(knob: Knob, values: tuple[str, ...]) -> bool:
    """Return whether a knob holds one of the values; True if it cannot be read now."""
    try:
        return any(knob.holds(value) for value in values)
    except DeviceError:
        return True
