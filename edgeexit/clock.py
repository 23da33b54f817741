"""Time, passed in so that a simulated board and a test can bring their own."""

from __future__ import annotations

import time


class MonotonicClock:
    """The machine's own steady clock, in seconds since an arbitrary start."""

    now_s = staticmethod(time.perf_counter)

    def sleep_s(self, duration_s: float) -> None:
        """Wait for `duration_s` seconds; zero or less returns at once."""
        if duration_s > 0.0:
            time.sleep(duration_s)


class ManualClock:
    """A clock that stands still until it is told to move: for tests and simulated boards.

    Args:
        start_s: The time it shows at first, in seconds.
    """

    def __init__(self, start_s: float = 0.0) -> None:
        self._now_s = start_s

    def now_s(self) -> float:
        """Return the time it was last moved to, in seconds."""
        return self._now_s

    def advance_s(self, duration_s: float) -> None:
        """Move forward by `duration_s` seconds.

        Raises:
            ValueError: If `duration_s` is negative: time does not run backwards.
        """
        if duration_s < 0.0:
            raise ValueError(f"cannot move a clock back by {-duration_s} s")
        self._now_s += duration_s

    def sleep_s(self, duration_s: float) -> None:
        """Move forward by `duration_s` seconds without waiting; zero or less does nothing."""
        if duration_s > 0.0:
            self.advance_s(duration_s)
