"""What compression steps came to: what was kept, what was undone, and why."""

from __future__ import annotations

from dataclasses import dataclass

from edgeexit.offline.compress.steps import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of a network before or after a step.

    Attributes:
        latency_s: Least time of the whole network for one sample.
        accuracy: Share of right answers of the network's own output, 0 to 1: by the labels, or by what the network
            said before any step where there are none.
        macs: Multiply-accumulates of the network for one sample; None where they were not counted.
    """

    latency_s: float
    accuracy: float
    macs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one step came to.

    Attributes:
        step: Which.
        kept: False if it was undone, because it lost more than it gained or could not be done.
        why: What it did, or why it was undone.
        before: Figures before it; None where it came to no measurement.
        after: Figures after it.
    """

    step: Step
    kept: bool
    why: str
    before: Figures | None = None
    after: Figures | None = None

    @property
    def line(self) -> str:
        """The outcome in one line."""
        return f"{self.step.value}: {'kept' if self.kept else 'undone'}, {self.why}{self._figures()}"

    def _figures(self) -> str:
        if self.before is None or self.after is None:
            return ""
        points = 100.0 * (self.after.accuracy - self.before.accuracy)
        times = f"{1e3 * self.before.latency_s:.3f} ms -> {1e3 * self.after.latency_s:.3f} ms"
        return f" ({times}{self._work()}, accuracy {100 * self.after.accuracy:.2f} %, {points:+.2f} points)"

    def _work(self) -> str:
        if self.before is None or self.after is None or None in (self.before.macs, self.after.macs):
            return ""
        same = self.before.macs == self.after.macs
        return "" if same else f", {self.before.macs:,} -> {self.after.macs:,} MACs"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionReport:
    """What all steps came to, in the order in which they were done."""

    outcomes: tuple[Outcome, ...]
    notes: tuple[str, ...] = ()
    """Warnings, for instance of an unusual order."""

    @property
    def lines(self) -> tuple[str, ...]:
        """The report, line by line."""
        return (*(outcome.line for outcome in self.outcomes), *self.notes)
