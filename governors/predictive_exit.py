"""The clocks of Predictive Exit: the lowest that finishes the forecast work in time."""

from __future__ import annotations

from math import ceil

from edgeexit.errors import OptionError
from edgeexit.protocols import Decision, Observation

FORECASTS = ("most-probable", "expected")


class PredictiveExit:
    """Sets the lowest clock that finishes the forecast work within the deadline.

    After Li et al., "Predictive Exit", arXiv 2206.04685: the exit that will answer is forecast, so the work that
    remains is known, and dynamic energy falls with f V(f)^2 while time grows with 1/f only. As in the paper nothing
    protects the deadline when the forecast was too short, switches are free, and power that does not scale with the
    clock is not considered; the governor "deadline" does all three.

    The forecast exit is taken from the exit distribution. Without one it is the next exit if the rule skips exits (the
    paper's rule jumps to its forecast), and the last if it looks at every exit, which is no forecast at all.

    Times are all it needs: it decides alike with a cost table that has no energy figures.

    Where the paper is silent: if no clock finishes in time the highest is set; no deadline is one that every clock
    keeps, so the lowest is set; without a cost table the highest is set for a deadline and the lowest for none.

    Args:
        forecast: "most-probable", the paper's single exit (the earliest of equals), or "expected", the mean exit
            rounded up.

    Raises:
        OptionError: If `forecast` is neither.
    """

    name = "predictive-exit"

    def __init__(self, *, forecast: str = "most-probable") -> None:
        if forecast not in FORECASTS:
            raise OptionError(
                f"forecast of governor 'predictive-exit' is one of {', '.join(FORECASTS)}, not {forecast!r}"
            )
        self._expected = forecast == "expected"

    def decide(self, observation: Observation) -> Decision:
        """Return the lowest clocks that finish the forecast work in time."""
        if observation.deadline_s is None:
            lowest = {name: points[0] for name, points in observation.operating_points.items() if points}
            return Decision(lowest, reason="no deadline: lowest clocks")
        table = observation.cost_table
        points = table.allowed_points(observation.operating_points) if table is not None else []
        if table is None or not points:
            highest = {name: points[-1] for name, points in observation.operating_points.items() if points}
            return Decision(highest, reason="no cost table: highest clocks for the deadline")
        left_s = observation.deadline_s - observation.now_s
        forecast = self._forecast(observation)
        first_head = observation.next_exit if observation.looks_at_every_exit else None
        for index in points:
            work = table.work(index, observation.segments_done, forecast, first_head=first_head)
            if work.latency_s <= left_s:
                return Decision(table.points[index].clocks, reason=f"lowest in time for exit {forecast}")
        return Decision(table.points[points[-1]].clocks, reason=f"highest: exit {forecast} is late at every clock")

    def _forecast(self, observation: Observation) -> int:
        first, distribution = observation.next_exit, observation.exit_distribution
        if distribution is None:
            return observation.exit_count - 1 if observation.looks_at_every_exit else first
        ahead = distribution[first:]
        if not self._expected:
            return first + max(range(len(ahead)), key=ahead.__getitem__)
        total = sum(ahead)
        mean = sum(index * probability for index, probability in enumerate(ahead)) / total if total > 0.0 else 0.0
        return min(first + ceil(mean - 1e-9), observation.exit_count - 1)
