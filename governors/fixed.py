"""The same clocks, always."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping

from edgeexit.errors import OptionError
from edgeexit.protocols import Decision, Observation


class Fixed:
    """Sets frequencies given by hand.

    Where a frequency is not among those allowed now, the nearest allowed one below it is set, and the lowest where
    there is none below: a cap that comes for heat is respected, and no more is set than was asked for if less can be.

    Args:
        frequency_hz: One frequency for every clock domain, or a mapping of domain name to frequency; domains that it
            does not name are left as they are.

    Raises:
        OptionError: If a frequency is not a whole number of hertz above 0.
    """

    name = "fixed"

    def __init__(self, *, frequency_hz: int | Mapping[str, int]) -> None:
        given = dict(frequency_hz) if isinstance(frequency_hz, Mapping) else {"": frequency_hz}
        for value in given.values():
            if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
                raise OptionError(f"frequency_hz of governor 'fixed' must be a whole number above 0, not {value!r}")
        self._one_hz = None if isinstance(frequency_hz, Mapping) else frequency_hz
        self._each_hz = given

    def decide(self, observation: Observation) -> Decision:
        """Return the frequencies given, or the nearest allowed ones below."""
        clocks, exact = {}, True
        for name, points in observation.operating_points.items():
            wanted_hz = self._each_hz.get(name) if self._one_hz is None else self._one_hz
            if wanted_hz is not None and points:
                clocks[name] = points[max(bisect_right(points, wanted_hz) - 1, 0)]
                exact = exact and clocks[name] == wanted_hz
        return Decision(clocks, reason="fixed clocks" if exact else "fixed clocks, nearest allowed")
