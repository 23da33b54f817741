"""The clocks of this machine as clockd holds them: by a lease that lasts as long as a client's hold."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from edgeexit.daemon.clockd.messages import Fault
from edgeexit.device.journal import FileJournal
from edgeexit.device.knobs import open_knob
from edgeexit.device.lease import Lease
from edgeexit.device.thermal import check_no_heat
from edgeexit.errors import ClockdRefused, DeviceError, EdgeExitError, LeaseTaken

if TYPE_CHECKING:
    from edgeexit.device.guardian import Guardian
    from edgeexit.device.host import HostDevice
    from edgeexit.protocols import Clocks

log = logging.getLogger(__name__)

RETRY_S: Final = 1.0
"""After no clock could be set at all, or not all could be given back, it is not tried again for so long."""


@dataclass(slots=True)
class Outcome:
    """What became of a request.

    Attributes:
        applied: What each domain that was set, or was as asked already, is set to now, in Hz.
        not_set: Why the others were not.
        switches: How many clocks really changed.
    """

    applied: dict[str, int] = field(default_factory=dict)
    not_set: dict[str, str] = field(default_factory=dict)
    switches: int = 0


class BoardClocks:
    """Sets clocks from the first request until they are given back; then begins anew.

    Args:
        device: The machine; the caller closes it.
        now_s: Reads a steady clock, in seconds.
        watch: Returns a guardian over this process; None leaves it to a service manager what becomes of the clocks if
            this process is killed.

    Attributes:
        due_s: When `tidy` is to be called, on that clock; None if all that was taken has been given back.
    """

    def __init__(
        self, device: HostDevice, now_s: Callable[[], float], *, watch: Callable[[], Guardian] | None = None
    ) -> None:
        self._device = device
        self._watch = watch
        self._now_s = now_s
        self._lease: Lease | None = None
        self._closing: Lease | None = None
        self._applied: dict[str, tuple[int, int]] = {}
        self._problem = "no clock of this machine can be set"
        self._left_behind = ""
        self._refuse_until_s = float("-inf")
        self.due_s: float | None = None

    def operating_points_hz(self) -> Mapping[str, tuple[int, ...]]:
        """Return what each domain may be asked for, ascending; a GPU may appear long after boot."""
        return {name: domain.operating_points_hz for name, domain in self._device.domains.items()}

    def read(self) -> dict[str, int]:
        """Return the present frequency of each domain in Hz; what cannot be read is left out."""
        if self._lease is not None:
            return self._lease.read_clocks()
        clocks = {}
        for name, domain in self._device.domains.items():
            try:
                clocks[name] = domain.read_hz()
            except DeviceError as error:
                log.debug("clock %s cannot be read: %s", name, error)
        return clocks

    def set(self, wanted: Clocks) -> Outcome:
        """Set clocks whose names and frequencies have been checked.

        Raises:
            ClockdRefused: With `Fault.UNAVAILABLE` if no clock can be set at all: another edgeexit holds them, nothing
                can be journalled, or this process may not. Then nothing is held.
        """
        if self._closing is not None:
            raise ClockdRefused(Fault.UNAVAILABLE.value, self._left_behind)
        if self._now_s() < self._refuse_until_s:
            raise ClockdRefused(Fault.UNAVAILABLE.value, self._problem)
        lease = self._lease = self._lease or self._open_lease()
        outcome, before = Outcome(), lease.switch_count
        for name, frequency_hz in wanted.items():
            self._set_one(lease, name, frequency_hz, outcome)
            if lease.observe_only:
                self.give_back()
                self._refuse_until_s = self._now_s() + RETRY_S  # each try costs a journal and a guardian
                raise ClockdRefused(Fault.UNAVAILABLE.value, self._problem)
        outcome.switches = lease.switch_count - before
        return outcome

    def give_back(self) -> None:
        """Put back what was before the first request; what cannot be put back now `tidy` tries again."""
        if self._lease is not None:
            self._closing, self._lease = self._lease, None
            self._applied.clear()
            self.tidy()

    def tidy(self) -> None:
        """Give back what is still to be given back."""
        self.due_s = None
        try:
            if self._closing is not None:
                self._closing.close()
                self._closing = None
            failed = self._journal().restore_abandoned().failed
        except LeaseTaken:  # what there is to give back is another edgeexit's
            return
        except EdgeExitError as error:
            failed = {"journal": str(error)}
        except Exception as error:
            log.exception("clocks could not be given back")
            failed = {"lease": repr(error)}
        if failed:
            self._try_again(failed)

    def _try_again(self, failed: Mapping[str, str]) -> None:
        problem = "; ".join(f"{key}: {why}" for key, why in failed.items())
        text = f"clocks that were set before cannot be given back yet ({problem})"
        if text != self._left_behind:
            log.warning("%s; it is tried again", text)
        self._left_behind = text
        self.due_s = self._now_s() + RETRY_S

    def _open_lease(self) -> Lease:
        return Lease(self._device.domains, journal=self._journal(), clock=self._device.clock)

    def _journal(self) -> FileJournal:
        tree = self._device.tree
        return FileJournal(
            lambda key: open_knob(tree, key),
            self._device.run_folder,
            check=partial(check_no_heat, tree),
            watch=self._watch,
        )

    def _set_one(self, lease: Lease, name: str, frequency_hz: int, outcome: Outcome) -> None:
        failed = lease.failed_count
        try:
            done = self._ask(lease, name, frequency_hz)
        except DeviceError as error:
            outcome.not_set[name] = str(error)
            return
        if done is not None:
            self._applied[name] = (frequency_hz, done)
        asked_hz, effective_hz = self._applied.get(name, (None, 0))
        if lease.failed_count > failed:
            self._applied.pop(name, None)
            outcome.not_set[name] = "it cannot be set for now: busy, refused, or its device away"
        elif asked_hz == frequency_hz:
            outcome.applied[name] = effective_hz
        else:
            outcome.not_set[name] = "it is left alone: somebody else has set it since, or this process may not"

    def _ask(self, lease: Lease, name: str, frequency_hz: int) -> int | None:
        """Return what a clock was set to; None if it was not touched. The lease warns but once, so keep that."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            done = lease.set({name: frequency_hz})
        for warning in caught:
            self._problem = str(warning.message)
            log.warning("%s", self._problem)
        return done[0].effective_hz if done else None
