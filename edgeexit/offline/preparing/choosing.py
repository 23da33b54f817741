"""Where the network is cut, and which of those places get an exit."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from edgeexit.errors import GraphError, OptionError
from edgeexit.offline.graph.cut_candidates import CutCandidate, CutSearch, find_cuts, shortlist
from edgeexit.offline.graph.piece_times import measure_segments, time_heads
from edgeexit.offline.placement import paper_rule, place_exits
from edgeexit.offline.preparing.options import MOST_CANDIDATES, PrepareOptions
from edgeexit.offline.preparing.preparation import place_name

if TYPE_CHECKING:
    from edgeexit.offline.heads import Head
    from edgeexit.offline.preparing.bench import Bench
    from edgeexit.offline.preparing.sources import Network
    from edgeexit.offline.traces import Trace


def find_places(network: Network, options: PrepareOptions) -> tuple[CutSearch, tuple[CutCandidate, ...]]:
    """Find all places to cut at, and those to try: the ones that the user names, or a shortlist.

    Raises:
        GraphError: If the model cannot be cut; the message says why.
        OptionError: If a named tensor is no place to cut at, or there are fewer places than exits are asked for.
    """
    search = find_cuts(network.model)
    if not search.candidates:
        raise GraphError(f"the model cannot be cut: {search.why}")
    limit = max(MOST_CANDIDATES, options.exits or 0)
    tried = _named(search, options.cuts) or shortlist(search.candidates, search.whole_macs, limit)
    if options.exits is not None and options.exits > len(tried):
        raise OptionError(f"{options.exits} exits were asked for, and there are {len(tried)} places that suit one")
    return search, tuple(tried)


def _named(search: CutSearch, names: Sequence[str]) -> list[CutCandidate]:
    wanted = [_one_place(search, name) for name in names]
    return [candidate for candidate in search.candidates if candidate in wanted]


def _one_place(search: CutSearch, name: str) -> CutCandidate:
    """Return the place with a name: all its tensors as a dry run shows them, or one that crosses at no other place."""
    shown = {place_name(candidate.tensors): candidate for candidate in search.candidates}
    holding = [candidate for candidate in search.candidates if name in candidate.tensors]
    if name in shown or len(holding) == 1:
        return shown.get(name) or holding[0]
    if holding:
        there = ", ".join(place_name(candidate.tensors) for candidate in holding)
        raise OptionError(f"{name!r} crosses at {len(holding)} places: name one as a dry run shows it: {there}")
    names = [*shown, *(tensor for candidate in search.candidates for tensor in candidate.tensors)]
    near = difflib.get_close_matches(name, dict.fromkeys(names), n=3) or names[:3]
    raise OptionError(
        f"the model cannot be cut at {name!r}; of {len(search.candidates)} places the nearest names are "
        f"{', '.join(near)} (a dry run lists them)"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceCosts:
    """What placement counts, in MACs or in seconds, for E places and the network's own output.

    Attributes:
        segments: (E + 1) from one place to the next, the last to the output.
        heads: (E + 1) a head at each; that of the output is within its segment: 0.
        in_seconds: True if they were measured on this machine, False for MACs.
    """

    segments: tuple[float, ...]
    heads: tuple[float, ...]
    in_seconds: bool


def place_costs(
    network: Network,
    search: CutSearch,
    tried: Sequence[CutCandidate],
    heads: Sequence[Head],
    bench: Bench,
) -> PlaceCosts:
    """Return what the pieces cost that placement chooses among: counted, or measured where the user asks for time."""
    if bench.options.cost == "time":
        return _measured(network, tried, heads, bench)
    ends = (0, *(place.macs_before for place in tried), search.whole_macs)
    segments = tuple(float(end - start) for start, end in pairwise(ends))
    return PlaceCosts(segments=segments, heads=(*(float(head.macs) for head in heads), 0.0), in_seconds=False)


def _measured(network: Network, tried: Sequence[CutCandidate], heads: Sequence[Head], bench: Bench) -> PlaceCosts:
    inputs = bench.material.samples.read(np.arange(1))

    def measure() -> Mapping[str, Sequence[float]]:
        return {
            "segments_s": measure_segments(network.model, tried, inputs),
            "heads_s": time_heads(network.model, tried, heads, inputs),
        }

    macs = [head.macs for head in heads]
    key = bench.key(network.digest, [str(place) for place in tried], macs, "times")
    times = bench.work.keep_json("times", key, measure)
    return PlaceCosts(segments=tuple(times["segments_s"]), heads=(*times["heads_s"], 0.0), in_seconds=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which places get an exit: their positions, ascending, and why the others have none."""

    kept: tuple[int, ...]
    refused: Mapping[int, str]


def choose_exits(trace: Trace, costs: PlaceCosts, options: PrepareOptions) -> Choice:
    """Choose which places get an exit.

    Args:
        trace: What heads at all places, and the network's own output, say about samples they were not fitted on.
        costs: Of the pieces.
        options: What the user asked for.
    """
    if options.cuts or options.place == "all":
        return Choice(kept=tuple(range(trace.exit_count - 1)), refused={})
    place = paper_rule if options.place == "paper" else place_exits
    found = place(trace, costs.segments, costs.heads, allowed_drop=options.max_accuracy_drop, count=options.exits)
    return Choice(kept=tuple(found.kept), refused=dict(found.refused))
