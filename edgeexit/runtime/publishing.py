"""Has a governor prepare for a new cost table before the table is used."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from edgeexit.protocols import PreparesAhead

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeexit.protocols import Governor
    from edgeexit.runtime.learning import Correction

log = logging.getLogger(__name__)


def as_preparing(governor: object) -> PreparesAhead | None:
    """Return the governor if it can prepare ahead, else None."""
    return governor if isinstance(governor, PreparesAhead) else None


class Publisher:
    """Prepares a governor for one table at a time, in a thread of its own where somebody waits for answers.

    Args:
        governor: Who plans with the table; one that does not prepare has every table at once.
        operating_points: From the board, frequencies by clock domain.
        background: True to prepare in a thread, while inference goes on with the table before.
    """

    def __init__(
        self, governor: Governor | None, operating_points: Mapping[str, tuple[int, ...]], *, background: bool
    ) -> None:
        self._governor = as_preparing(governor)
        self._points = operating_points
        self._background = background
        self._ready: Correction | None = None
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """True while a table is being prepared, or waits to be taken."""
        return self._ready is not None or (self._thread is not None and self._thread.is_alive())

    def offer(self, correction: Correction, looks_at_every_exit: bool) -> None:
        """Have a table prepared; it can be taken once it is ready."""
        if self._governor is None or not self._background:
            self._prepare(correction, looks_at_every_exit)
            return
        self._thread = threading.Thread(
            target=self._prepare, args=(correction, looks_at_every_exit), name="edgeexit-costs", daemon=True
        )
        self._thread.start()

    def take(self) -> Correction | None:
        """Return a table that is ready, once; None if there is none."""
        ready, self._ready = self._ready, None
        return ready

    def close(self) -> None:
        """Wait until nothing is prepared any more."""
        if self._thread is not None:
            self._thread.join()

    def _prepare(self, correction: Correction, looks_at_every_exit: bool) -> None:
        try:
            if self._governor is not None:
                self._governor.prepare(correction.table, self._points, looks_at_every_exit)
        except Exception:  # whatever it is, decisions are the same with and without
            log.exception("the governor could not prepare for a corrected cost table")
        self._ready = correction
