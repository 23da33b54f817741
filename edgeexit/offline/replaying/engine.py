"""Replay one rule and one governor on one board: the live session's loop, without the network and for many at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeexit.errors import DataError, OptionError
from edgeexit.offline.replaying.arrivals import Arrivals
from edgeexit.offline.replaying.asking import Asker
from edgeexit.offline.replaying.board import Board, RailPower
from edgeexit.offline.replaying.noise import Noise
from edgeexit.offline.replaying.paths import Paths
from edgeexit.offline.replaying.resting import Resting
from edgeexit.offline.replaying.results import GovernorRun
from edgeexit.offline.replaying.streams import OffPaths, Streams
from edgeexit.offline.replaying.summing_up import Tally
from edgeexit.offline.replaying.timeline import Timeline
from edgeexit.protocols import Clocks, CostTable, Distribution, Governor, PreparesAhead, SetsClocksAtRest, Workload

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

WARM_UP = 10
"""Inferences of each stream that are not counted: a governor that follows the load has settled by then."""
MOST_STREAMS = 4000
LEAST_STREAM = 50
"""A stream has at least so many inferences beside the warm-up."""
SHOWN = 4
"""Inferences in the timeline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """How a replay is run; what is counted is the same for every choice of `streams` and `seed`, up to chance.

    Attributes:
        noise: How latencies vary; None: they do not.
        guard: What a governor multiplies latencies by where a deadline must hold.
        inferences: How many; by default each sample once.
        order: (N,) samples to ask for, in place of random ones that come up equally often.
        streams: How many boards run side by side; by default enough to be quick.
        warm_up: Inferences of each stream that are not counted.
        start_clocks: Clocks before the first inference; the lowest by default, where an idle board is.
        seed: Of the order and the arrivals.
        next_request_known: Tell the governor when the next request comes, where arrivals are periodic.
        usual_exits: How often each exit answers, as the governor is told; by default what the rule expects before
            the first look.
        looked_share: How many of the exits on the way the rule looks at, as the governor is told; by default what it
            does on these samples.
        floor_exit: The governor may not cut a sample short before this exit.
        rails: Power of single rails.
        rest_at_lowest: Set the lowest clocks while the board idles ("race to idle"), and do not ask the governor then.
        operating_points: The frequencies that may be set; those of the cost table by default.
        shown: Inferences in the timeline.
    """

    noise: Noise | None = None
    guard: float = 1.0
    inferences: int | None = None
    order: IntArray | None = None
    streams: int | None = None
    warm_up: int = WARM_UP
    start_clocks: Clocks | None = None
    seed: int = 0
    next_request_known: bool = True
    usual_exits: Distribution | None = None
    looked_share: float | None = None
    floor_exit: int = 0
    rails: Mapping[str, RailPower] = field(default_factory=dict)
    rest_at_lowest: bool = False
    operating_points: Mapping[str, tuple[int, ...]] | None = None
    shown: int = SHOWN


def replay_governor(
    paths: Paths,
    table: CostTable,
    workload: Workload,
    governor: Governor,
    *,
    arrivals: Arrivals,
    deadline_s: float | None,
    options: ReplayOptions | None = None,
    rule_name: str | None = None,
    governor_name: str | None = None,
) -> GovernorRun:
    """Replay a governor over the paths of a rule, as a session with ``anytime=False`` on the simulated board would go.

    A late answer delays the next inference, and its request waits. Before the warm-up each board is at its lowest
    clocks, later an inference starts at the clocks at which the one before ended, or that the governor then set until
    the next request (`edgeexit.protocols.SetsClocksAtRest`: where that is known); after the warm-up no request waits.

    Args:
        paths: What the rule does with each sample of the trace.
        table: Costs of the bundle on the board, energies included.
        workload: MACs of the bundle's pieces.
        governor: Pure; asked as a session asks it, time 0 being the request.
        arrivals: When inferences are asked for.
        deadline_s: From the request on; None for none.
        options: All else.
        rule_name: For the result; the rule's own name by default.
        governor_name: For the result; the governor's own name by default.

    Raises:
        OptionError: If the table has no energy figures, or an option is out of range.
        DataError: If table, workload and paths are of different networks.
    """
    options = ReplayOptions() if options is None else options
    board = Board(table, options.operating_points)
    _check(paths, board, workload, deadline_s, options)
    order = _order(len(paths), options)
    count = _stream_count(len(order), options)
    if isinstance(governor, PreparesAhead):
        governor.prepare(table, board.operating_points, paths.rule.looks_at_every_exit)
    streams = _make_streams(paths, board, workload, governor, arrivals, deadline_s, options, count)
    timeline = Timeline(board, options.shown)
    tally = Tally(paths, board, workload, order, tuple(options.rails))
    generator = np.random.default_rng([options.seed, 1])
    draw = _Draws(options.noise, board.segment_count + paths.exit_count)
    for _ in range(options.warm_up):
        gap_s = arrivals.gaps_s(count, 1, generator)[:, 0]
        streams.run(generator.integers(0, len(paths), count), gap_s, draw.factors(count))
    streams.forget_warm_up()
    steps = -(-len(order) // count)
    gaps_s = arrivals.gaps_s(count, steps, generator)
    for step in range(steps):
        sample = order[step * count : (step + 1) * count]
        noted = None if timeline.full else timeline
        tally.add(streams.run(sample, gaps_s[: len(sample), step], draw.factors(len(sample)), noted))
    return tally.sum_up(
        rule=paths.rule.name if rule_name is None else rule_name,
        governor=governor.name if governor_name is None else governor_name,
        deadline_s=deadline_s,
        arrivals=arrivals.text,
        noise=options.noise,
        guard=options.guard,
        seconds=streams.seconds,
        timeline=timeline.steps,
    )


class _Draws:
    """Draws the factors of latencies.

    Args:
        noise: How they vary; None: they do not.
        pieces: How many segments and heads there are.
    """

    def __init__(self, noise: Noise | None, pieces: int) -> None:
        self._noise = noise if noise is not None and noise.relative > 0.0 else None
        self._pieces = pieces
        self._generator = np.random.default_rng(0 if noise is None else noise.seed)

    def factors(self, count: int) -> FloatArray | None:
        """Return (count, pieces) factors, or None if all are 1."""
        return None if self._noise is None else self._noise.draw((count, self._pieces), self._generator)


def _make_streams(
    paths: Paths,
    board: Board,
    workload: Workload,
    governor: Governor,
    arrivals: Arrivals,
    deadline_s: float | None,
    options: ReplayOptions,
    count: int,
) -> Streams:
    off_paths = OffPaths(paths)
    constants = _constants(paths, board, arrivals, deadline_s, options)
    exact = options.noise is None and arrivals.period_s is not None
    resting = None
    if isinstance(governor, SetsClocksAtRest) and constants["next_request_s"] is not None:
        resting = Resting(governor, board, constants, remembers=exact)
    return Streams(
        paths,
        off_paths,
        board,
        Asker(governor, board, constants, off_paths.verdicts, remembers=exact),
        count,
        start_point=_start_point(board, options),
        rails=options.rails,
        rest_point=board.lowest_point if options.rest_at_lowest else None,
        resting=resting,
        head_macs=np.array(workload.head_macs, dtype=np.float64),
    )


def _start_point(board: Board, options: ReplayOptions) -> int:
    lowest = board.lowest_point
    return lowest if options.start_clocks is None else board.apply(options.start_clocks, lowest)[0]


def _constants(
    paths: Paths, board: Board, arrivals: Arrivals, deadline_s: float | None, options: ReplayOptions
) -> dict[str, Any]:
    """Return what all observations of a replay have in common."""
    usual = paths.verdicts[0].distribution if options.usual_exits is None else options.usual_exits
    return {
        "exit_count": paths.exit_count,
        "looks_at_every_exit": paths.rule.looks_at_every_exit,
        "operating_points": board.operating_points,
        "cost_table": board.table,
        "deadline_s": deadline_s,
        "requested_s": 0.0,
        "next_request_s": arrivals.period_s if options.next_request_known else None,
        "usual_exits": usual,
        "looked_share": paths.looked_share if options.looked_share is None else options.looked_share,
        "latency_guard": options.guard,
        "floor_exit": options.floor_exit,
    }


def _order(samples: int, options: ReplayOptions) -> IntArray:
    """Return (N,) the samples to ask for: random orders of all of them, one after the other."""
    if options.order is not None:
        return np.asarray(options.order, dtype=np.int64)
    wanted = samples if options.inferences is None else options.inferences
    generator = np.random.default_rng([options.seed, 0])
    rounds = [generator.permutation(samples) for _ in range(-(-wanted // samples))]
    return np.concatenate(rounds)[:wanted]


def _stream_count(inferences: int, options: ReplayOptions) -> int:
    if options.streams is not None:
        return min(options.streams, inferences)
    return max(1, min(MOST_STREAMS, inferences // LEAST_STREAM))


def _check(paths: Paths, board: Board, workload: Workload, deadline_s: float | None, options: ReplayOptions) -> None:
    exits = len(board.exit_segments), len(workload.exit_segments)
    if exits != (paths.exit_count, paths.exit_count):
        raise DataError(f"the cost table and the workload have {exits} exits, the trace has {paths.exit_count}")
    if deadline_s is not None and not deadline_s > 0.0:
        raise OptionError(f"a deadline must be above 0, not {deadline_s}")
    if not 1.0 <= options.guard < np.inf:
        raise OptionError(f"guard must be finite and at least 1, not {options.guard}")
    counts = [options.inferences, options.streams, None if options.order is None else len(options.order)]
    if any(count is not None and count < 1 for count in counts) or options.warm_up < 0:
        raise OptionError("inferences and streams must be at least 1, and warm_up not negative")
    if options.order is not None and not 0 <= min(options.order) <= max(options.order) < len(paths):
        raise DataError(f"order must be indices of the {len(paths)} samples of the trace")
