"""The pieces of a bundle on a board, ready to be timed and metered one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import ceil, sqrt
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edgeexit.bundle.costs import Figure
from edgeexit.runtime.engine import Engine
from edgeexit.runtime.inputs import made_up_inputs

if TYPE_CHECKING:
    from pathlib import Path

    from edgeexit.bundle import Bundle
    from edgeexit.protocols import Device, PowerMeter

SIMULATED_MACS: Final = 1_000_000_000
"""Multiply-accumulates that a simulated board is told of at once: its time is exact but for rounding, and many repeats
keep the rounding of a clock that shows seconds off the figures of pieces that take nanoseconds."""


class Piece(NamedTuple):
    """A segment, a head, or the whole network."""

    run: Callable[[], object]
    macs: int


class Power(NamedTuple):
    """What was drawn in a stretch of time."""

    board_w: Figure | None
    energy_j: Figure | None
    """For one run of what ran."""
    rail_w: Mapping[str, float]


class Bench:
    """Runs the pieces of a bundle, and says what they take.

    Every segment and head is a session of its own, except the last head, which always belongs to the last segment.

    Args:
        bundle: The network.
        device: The board; the clocks are somebody else's concern.
        threads: For ONNX Runtime.
        providers: ONNX Runtime's execution providers; the CPU by default.
        optimise: Optimise the whole graph on this device first, as a session does.
        cache_dir: Folder for optimised pieces; by default that of every session.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: Device,
        *,
        threads: int = 1,
        providers: Sequence[str] | None = None,
        optimise: bool = True,
        cache_dir: Path | None = None,
    ) -> None:
        engine = Engine(bundle, threads=threads, providers=providers, optimise=optimise, cache_dir=cache_dir)
        self.providers = engine.providers
        self.optimised = engine.optimised
        self.device = device
        self._now_s = device.clock.now_s
        self._program = program = engine.program(made_up_inputs(bundle))
        work = bundle.workload
        self.segments = tuple(
            Piece(partial(program.run_segments, index, index + 1), macs) for index, macs in enumerate(work.segment_macs)
        )
        self.heads = tuple(Piece(partial(program.look, index), macs) for index, macs in enumerate(work.head_macs))
        self.whole = Piece(self._run_whole, sum(work.segment_macs) + work.head_macs[-1])
        self._heads_after = {segment: exit_index for exit_index, segment in enumerate(work.exit_segments)}

    def _run_whole(self) -> None:
        self._program.run_segments(0, len(self.segments))
        self._program.look(len(self.heads) - 1)

    def time_s(self, piece: Piece) -> float:
        """Run a piece and return how long it took."""
        start_s = self._now_s()
        repeats = self._run(piece)
        return (self._now_s() - start_s) / repeats

    def time_all_s(self) -> tuple[list[float], list[float], float]:
        """Run every segment with the head behind it, in the network's order, then the whole network in one go.

        In this order a piece finds the processor's caches as it does in an inference.

        Returns:
            Latencies of the segments, of the heads, and of the whole network.
        """
        segments, heads = [], []
        for index, piece in enumerate(self.segments):
            segments.append(self.time_s(piece))
            if index in self._heads_after:
                heads.append(self.time_s(self.heads[self._heads_after[index]]))
        return segments, heads, self.time_s(self.whole)

    def meter_load(self, piece: Piece, window_s: float, windows: int) -> Power:
        """Run a piece over and over and meter it, in so many windows of at least `window_s`."""
        return self._meter(lambda: self._run_for(piece, window_s), windows)

    def meter_idle(self, window_s: float, windows: int) -> Power:
        """Meter the board while it waits."""

        def wait() -> tuple[float, int]:
            start_s = self._now_s()
            self.device.clock.sleep_s(window_s)
            return self._now_s() - start_s, 1

        return self._meter(wait, windows)

    def _meter(self, work: Callable[[], tuple[float, int]], windows: int) -> Power:
        watts, joules = [], []
        rails: dict[str, list[float]] = {name: [] for name in self.device.rails}
        for _ in range(windows):
            before_j, rails_before_j = _read(self.device.meter), self._read_rails()
            duration_s, runs = work()
            energy_j = _difference(_read(self.device.meter), before_j)
            if energy_j is not None:
                joules.append(energy_j / runs)
            if energy_j is not None and duration_s > 0.0:
                watts.append(energy_j / duration_s)
            for name, after_j in self._read_rails().items():
                rail_j = _difference(after_j, rails_before_j[name])
                if rail_j is not None and duration_s > 0.0:
                    rails[name].append(rail_j / duration_s)
        rail_w = {name: float(np.median(found)) for name, found in rails.items() if found}
        return Power(figure(watts) if watts else None, figure(joules) if joules else None, rail_w)

    def _read_rails(self) -> dict[str, float | None]:
        return {name: _read(meter) for name, meter in self.device.rails.items()}

    def _run_for(self, piece: Piece, window_s: float) -> tuple[float, int]:
        start_s, runs = self._now_s(), 0
        while True:
            runs += self._run(piece)
            duration_s = self._now_s() - start_s
            if duration_s >= window_s or duration_s <= 0.0:  # no time: a head that is part of its segment
                return duration_s, runs

    def _run(self, piece: Piece) -> int:
        """Run a piece and return how often it counts as run."""
        piece.run()
        if not self.device.simulated:
            return 1
        repeats = ceil(SIMULATED_MACS / piece.macs) if piece.macs else 1
        self.device.work_done(repeats * piece.macs)
        return repeats


def figure(values: Sequence[float]) -> Figure:
    """Return the median of measurements, and what they differ by."""
    low, middle, high = (float(x) for x in np.percentile(values, (25, 50, 75)))
    return Figure(middle, (high - low) / middle if middle > 0.0 else 0.0, len(values))


def median_error(values: Figure) -> float:
    """Return the standard error of a median, as a share of it: 1.25 R / (1.35 sqrt(N)), R the interquartile range.

    McGill, Tukey and Larsen, "Variations of box plots", The American Statistician 32 (1978), page 16.
    """
    return 1.25 * values.spread / (1.35 * sqrt(values.repeats))


def _read(meter: PowerMeter | None) -> float | None:
    return None if meter is None else meter.read_energy_j()


def _difference(after_j: float | None, before_j: float | None) -> float | None:
    """Return the energy between two readings; None where one is missing or the sum ran backwards."""
    if after_j is None or before_j is None or after_j < before_j:
        return None
    return after_j - before_j
