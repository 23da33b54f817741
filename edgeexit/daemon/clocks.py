"""Who sets the clocks for the daemon: clockd on a real board, this process on a simulated one, or nobody."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

from edgeexit.device.lease import Lease
from edgeexit.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edgeexit.daemon.engine import Hold
    from edgeexit.protocols import ClockDomain, Clocks, Device

IN_PROCESS: Final = "in process"
CLOCKD: Final = "clockd"
NOBODY: Final = "nobody"
_FRESH_S: Final = 0.2


class Setter(NamedTuple):
    """Who sets the clocks."""

    hold: Hold
    told: Callable[[], tuple[str, str]]
    """Returns who sets them at present, `IN_PROCESS`, `CLOCKD` or `NOBODY`, and why nobody does."""


class Onlooker:
    """Reads clocks and sets none; one reading is good for a fifth of a second.

    Args:
        domains: The clock domains by name.
    """

    switch_count = 0

    def __init__(self, domains: Mapping[str, ClockDomain]) -> None:
        self._domains = domains
        self._read_s: float | None = None
        self._clocks: dict[str, int] = {}

    def set(self, clocks: Clocks) -> tuple[()]:
        """Leave the clocks as they are."""
        return ()

    def read_clocks(self) -> Clocks:
        """Return the present frequencies in Hz, of the domains that can be read."""
        now_s = time.monotonic()
        if self._read_s is None or now_s - self._read_s > _FRESH_S:
            self._read_s = now_s
            self._clocks = {name: hz for name, domain in self._domains.items() if (hz := _read_hz(domain)) is not None}
        return self._clocks

    def restore(self) -> None:
        """Do nothing: nothing was changed."""

    def close(self) -> None:
        """Do nothing: nothing was changed."""


def choose_setter(device: Device, socket: Path | None) -> Setter:
    """Return who sets the clocks of `device`.

    Args:
        device: The board.
        socket: Where clockd listens; None sets no clock of a real board.
    """
    if device.simulated:
        lease = Lease(device.domains, journal=device.journal, clock=device.clock)
        return Setter(lease, lambda: (IN_PROCESS, ""))
    if not device.domains:
        return Setter(Onlooker({}), lambda: (NOBODY, "this machine shows no clock that could be set"))
    if socket is None:
        return Setter(Onlooker(device.domains), lambda: (NOBODY, "the daemon was told to set no clocks"))
    from edgeexit.daemon.clockd.client import ClockdLease  # noqa: PLC0415  needed on real boards alone

    remote = ClockdLease(socket, device.domains)
    return Setter(remote, lambda: (CLOCKD, "") if remote.state.value == "connected" else (NOBODY, remote.reason))


def _read_hz(domain: ClockDomain) -> int | None:
    try:
        return domain.read_hz()
    except DeviceError:
        return None
