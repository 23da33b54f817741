"""The lease: our hold on a board's clocks, and the only place that sets them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgeexit.errors import ClockNotWritable, ClocksUnavailable, DeviceError
from edgeexit.protocols import Applied, ClockDomain, Clocks

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

log = logging.getLogger(__name__)


class Lease:
    """Sets clocks, checks what became of it, and puts back what was when it is closed.

    A clock that cannot be set never stops an inference: one warning, and from then on the lease only observes.

    Args:
        domains: The clock domains by name, as `Device.domains` gives them.
    """

    def __init__(self, domains: Mapping[str, ClockDomain]) -> None:
        self._domains = domains
        self._saved_hz: dict[str, int] = {}
        self._requested_hz: dict[str, int] = {}
        self._held_hz: dict[str, int] = {}
        self._observe_only = False
        self._closed = False
        self._clamped_count = 0
        self._switch_count = 0

    @property
    def observe_only(self) -> bool:
        """True once a clock turned out not to be writable: no clock is set any more."""
        return self._observe_only

    @property
    def clamped_count(self) -> int:
        """How often a domain took another frequency than it was asked for."""
        return self._clamped_count

    @property
    def switch_count(self) -> int:
        """How often a frequency really changed, the restoring at the end not counted."""
        return self._switch_count

    def set(self, clocks: Clocks) -> tuple[Applied, ...]:
        """Ask for `clocks` and read back what came of it.

        Returns:
            One entry for each domain that was written to: a request equal to the one before is skipped.

        Raises:
            DeviceError: If the lease is closed or a domain is unknown; then no clock is touched.

        Warns:
            ClocksUnavailable: Once, if a clock cannot be set.
        """
        if self._closed:
            raise DeviceError("the lease on the clocks is closed: no clock can be set")
        if self._observe_only:
            return ()
        requested = self._requested_hz
        changes = [(name, hz) for name, hz in clocks.items() if requested.get(name) != hz]
        for name, _ in changes:
            if name not in self._domains:
                known = ", ".join(self._domains) or "none"
                raise DeviceError(f"no clock domain is called {name!r}; there are: {known}")
        applied: list[Applied] = []
        for name, frequency_hz in changes:
            try:
                applied.append(self._set_one(name, frequency_hz))
            except ClockNotWritable as error:
                self._give_up(name, error)
                break
        return tuple(applied)

    def restore(self) -> None:
        """Put back what was, but only where a domain still holds the value that we set."""
        for name, saved_hz in self._saved_hz.items():
            held_hz = self._held_hz.get(name)
            try:
                found_hz = self._domains[name].read_hz()
                if held_hz is not None and found_hz == held_hz:
                    self._domains[name].set_hz(saved_hz)
                elif held_hz is not None:
                    log.info("clock %s is left at %d Hz: somebody else has set it since", name, found_hz)
            except DeviceError as error:
                log.warning("clock %s could not be put back to %d Hz: %s", name, saved_hz, error)
        self._saved_hz.clear()
        self._requested_hz.clear()
        self._held_hz.clear()

    def close(self) -> None:
        """Restore the clocks and set none from now on; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self.restore()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _set_one(self, name: str, frequency_hz: int) -> Applied:
        domain = self._domains[name]
        if name not in self._saved_hz:
            self._saved_hz[name] = domain.read_hz()
        before_hz = self._held_hz.get(name)
        self._held_hz[name] = frequency_hz  # before the write: an interrupt in it must not hide it from restore
        try:
            applied = domain.set_hz(frequency_hz)
        except ClockNotWritable:
            self._forget_write(name, before_hz)
            raise
        self._held_hz[name] = applied.effective_hz
        effective_hz = domain.read_hz()
        self._requested_hz[name] = frequency_hz
        self._held_hz[name] = effective_hz
        self._clamped_count += effective_hz != frequency_hz
        self._switch_count += effective_hz != (self._saved_hz[name] if before_hz is None else before_hz)
        return Applied(frequency_hz, effective_hz, "read back", applied.elapsed_s)

    def _forget_write(self, name: str, before_hz: int | None) -> None:
        if before_hz is None:
            del self._held_hz[name]
        else:
            self._held_hz[name] = before_hz

    def _give_up(self, name: str, error: ClockNotWritable) -> None:
        self._observe_only = True
        warnings.warn(
            f"clock {name!r} cannot be set ({error}); inference goes on at the clocks as they are",
            ClocksUnavailable,
            stacklevel=3,
        )
