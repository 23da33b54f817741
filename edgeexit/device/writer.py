"""Sets clocks from a thread of its own, so that no inference waits while a driver changes its frequency.

A write to cpufreq or devfreq returns when the change is done, 0.3 to 10 ms later, and a read of the same clock waits
for it. So an inference hands its wish over, and sees the clocks as they were read last.
"""

from __future__ import annotations

import logging
import os
import threading
from types import TracebackType
from typing import TYPE_CHECKING

from edgeexit.errors import DeviceError
from edgeexit.protocols import Clocks

if TYPE_CHECKING:
    from typing_extensions import Self

    from edgeexit.device.lease import Lease

log = logging.getLogger(__name__)

REFRESH_S = 0.05
"""The clocks are read again so often while somebody asks for them: others may change them too."""
QUIET_S = 1.0
"""How often the thread looks whether somebody has asked, when nobody had."""


class ClockWriter:
    """A lease that is driven from its own thread; it stands wherever a lease does.

    Of several requests that come while a write is under way, the last one for each domain counts.

    Args:
        lease: Hold on the clocks; it is closed with the writer.
        names: The clock domains there are.
    """

    def __init__(self, lease: Lease, names: tuple[str, ...]) -> None:
        self._lease = lease
        self._names = frozenset(names)
        self._clocks: Clocks = lease.read_clocks()
        self._wanted: dict[str, int] = {}
        self._asked = False
        self._closed = False
        self._busy = False
        self._pid = os.getpid()
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None

    @property
    def switch_count(self) -> int:
        """How often a frequency really changed so far."""
        return self._lease.switch_count

    def set(self, clocks: Clocks) -> tuple[()]:
        """Hand a wish over; returns at once, before any clock has changed.

        Raises:
            DeviceError: If the writer is closed or a domain is unknown.
        """
        unknown = clocks.keys() - self._names
        if unknown:
            known = ", ".join(sorted(self._names)) or "none"
            raise DeviceError(f"no clock domain is called {sorted(unknown)[0]!r}; there are: {known}")
        self._notice_fork()
        with self._change:
            if self._closed:
                raise DeviceError("the lease on the clocks is closed: no clock can be set")
            self._wanted.update(clocks)
            self._start()
            self._change.notify_all()
        return ()

    def read_clocks(self) -> Clocks:
        """Return the clocks in Hz as they were read last; never waits for the kernel."""
        self._asked = True
        self._notice_fork()
        if self._thread is None and not self._closed:
            with self._change:
                self._start()
        return self._clocks

    def wait(self) -> None:
        """Return once everything that was handed over has been written."""
        self._notice_fork()
        with self._change:
            self._change.wait_for(lambda: not self._wanted and not self._busy)

    def close(self) -> None:
        """Write what is still wanted, end the thread, and give the clocks back; a second call does nothing."""
        self._notice_fork()
        with self._change:
            self._closed = True
            self._change.notify_all()
        if self._thread is not None:
            self._thread.join()
        self._lease.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _notice_fork(self) -> None:
        """Begin anew in a forked child: it has no thread, and its parent's may have held the lock."""
        if os.getpid() != self._pid:
            self._pid = os.getpid()
            self._change = threading.Condition()
            self._thread, self._wanted, self._busy = None, {}, False

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="edgeexit-clocks", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        pause_s = QUIET_S
        while True:
            with self._change:
                self._change.wait_for(lambda: self._wanted or self._closed, timeout=pause_s)
                wanted, self._wanted = self._wanted, {}
                self._busy = bool(wanted)
                if self._closed and not wanted:
                    return
            try:
                if wanted:
                    self._lease.set(wanted)
                pause_s = REFRESH_S if self._asked else QUIET_S
                if wanted or self._asked:
                    self._asked = False
                    self._clocks = self._lease.read_clocks()
            except DeviceError as error:
                log.info("no clock is set any more: %s", error)
                with self._change:
                    self._closed, self._wanted = True, {}
                return
            except Exception:  # whatever it is, inference goes on
                log.exception("clocks could not be set")
            finally:
                with self._change:
                    self._busy = False
                    self._change.notify_all()
