"""The kernel's own account of the time spent at each frequency, and of the changes between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeexit.protocols import Clock


class Residency:
    """Counts seconds and changes, and shows them as cpufreq's and devfreq's statistics files do.

    Args:
        frequencies: The table, in its driver's order and unit; time at another frequency is not counted.
        current: The frequency at the start.
        clock: What measures the time.
    """

    def __init__(self, frequencies: tuple[int, ...], current: int, clock: Clock) -> None:
        self._frequencies = frequencies
        self._current = current
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Start counting anew."""
        self._seconds = dict.fromkeys(self._frequencies, 0.0)
        self._pairs: dict[tuple[int, int], int] = {}
        self._since_s = self._clock.now_s()
        self.changes = 0

    def change(self, frequency: int) -> None:
        """Take note that the frequency is another one from now on."""
        self._count()
        pair = (self._current, frequency)
        self._pairs[pair] = self._pairs.get(pair, 0) + 1
        self.changes += 1
        self._current = frequency

    def seconds(self) -> dict[int, float]:
        """Return the time spent at each frequency so far, in seconds."""
        self._count()
        return dict(self._seconds)

    def time_in_state(self) -> str:
        """Return cpufreq's stats/time_in_state: frequency in kHz and time in units of 10 ms (cpufreq_stats.c)."""
        return "".join(f"{khz} {int(seconds * 100 + 1e-6)}\n" for khz, seconds in self.seconds().items())

    def trans_stat(self) -> str:
        """Return devfreq's trans_stat: changes from and to each frequency in Hz, and milliseconds (devfreq.c)."""
        rows = ["     From  :   To", "           :" + "".join(f"{hz:10d}" for hz in self._frequencies) + "   time(ms)"]
        for hz, seconds in self.seconds().items():
            counts = "".join(f"{self._pairs.get((hz, to), 0):10d}" for to in self._frequencies)
            rows.append(f"{'*' if hz == self._current else ' '}{hz:10d}:{counts}{int(seconds * 1000 + 1e-6):10d}")
        return "\n".join([*rows, f"Total transition : {self.changes}", ""])

    def _count(self) -> None:
        now_s = self._clock.now_s()
        if self._current in self._seconds:
            self._seconds[self._current] += now_s - self._since_s
        self._since_s = now_s
