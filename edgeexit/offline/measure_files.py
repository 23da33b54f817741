"""What a measurement has found so far, kept in a file beside its output so that it can go on after an interrupt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from edgeexit.bundle.costs import PointRecord, point_document, read_json, read_point, write_json
from edgeexit.bundle.strict_json import JsonNode
from edgeexit.errors import CostTableError, OptionError
from edgeexit.offline.measure_point import Measured
from edgeexit.protocols import Clocks

FORMAT: Final = 1


class PartialFile:
    """The points of one measurement that are finished.

    Args:
        path: The file; it need not exist.
        settings: All that must be the same for its points to belong together.
        segments: How many segments a point has.
        heads: How many heads.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], *, segments: int, heads: int) -> None:
        self.path = path
        self._settings = dict(settings)
        self._pieces = segments, heads
        self.finished: list[Measured] = []

    def read(self) -> None:
        """Take the points that an earlier run finished; none if there is no file.

        Raises:
            OptionError: If the file is damaged or of a measurement with other settings.
        """
        if not self.path.exists():
            return
        advice = f"give --fresh to begin anew (that removes {self.path}), or another folder with -o"
        try:
            settings, points = self._read()
        except CostTableError as error:
            raise OptionError(f"an unfinished measurement cannot be continued ({error}); {advice}") from error
        other = [key for key in {**self._settings, **settings} if self._settings.get(key) != settings.get(key)]
        if other:
            differing = ", ".join(f"{key} {settings.get(key)}, now {self._settings.get(key)}" for key in other)
            raise OptionError(f"an unfinished measurement was begun with other settings ({differing}): {advice}")
        self.finished = points

    def find(self, clocks: Clocks) -> Measured | None:
        """Return the finished point with these clocks, if there is one."""
        return next((each for each in self.finished if each.record.costs.clocks == clocks), None)

    def add(self, measured: Measured) -> None:
        """Keep a finished point.

        Raises:
            OSError: If it cannot be written.
        """
        finished = [*self.finished, measured]
        points = [{"record": point_document(each.record), "rail_power_w": dict(each.rail_power_w)} for each in finished]
        write_json(self.path, {"format": FORMAT, "settings": self._settings, "points": points})
        self.finished = finished

    def remove(self) -> None:
        """Remove the file: the measurement is finished, or begins anew."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> tuple[dict[str, Any], list[Measured]]:
        version, settings, points = read_json(self.path).record("format", "settings", "points")
        if version.count() != FORMAT:
            raise version.refuse(f"this version reads format {FORMAT}")
        if not isinstance(settings.value, dict):
            raise settings.refuse("expected an object")
        own = settings.value == self._settings
        return settings.value, list(points.items(self._measured)) if own else []

    def _measured(self, node: JsonNode) -> Measured:
        record, rails = node.record("record", "rail_power_w")
        found: PointRecord = read_point(record, *self._pieces)
        return Measured(found, rails.table(JsonNode.amount))
