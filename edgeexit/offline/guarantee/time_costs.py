"""Choose settings by time in place of work: what the pieces take at the fastest operating point of a board."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeexit.offline.guarantee.counts import run_setting
from edgeexit.offline.replay import summarise
from edgeexit.offline.traces import Trace
from edgeexit.protocols import CostTable, Workload


def time_workload(table: CostTable) -> Workload:
    """Return whole picoseconds in the place of MACs: shares of the full network are then shares of its time.

    They hold the least that a modelled board can need for a small head.
    """
    point = table.points[-1]
    return Workload(
        segment_macs=tuple(round(1e12 * latency_s) for latency_s in point.segment_latency_s),
        head_macs=tuple(round(1e12 * latency_s) for latency_s in point.head_latency_s),
        exit_segments=table.exit_segments,
    )


def with_macs(
    rules: Mapping[str, Any], predictor: Mapping[str, Any] | None, select: Trace, workload: Workload
) -> dict[str, Any]:
    """Return rules that were chosen by time with their shares of MACs measured too; the time is "time_share".

    Args:
        rules: In the form of rules.json, their "macs_share" being of picoseconds.
        predictor: The predictor's JSON form.
        select: The split that they were chosen on.
        workload: MACs of the network's pieces.
    """
    settings = {}
    for name, setting in rules["settings"].items():
        chosen_on = {}
        for drop, figures in setting["chosen_on"].items():
            run = run_setting(setting["rule"], setting["parameters"][drop], predictor, select, workload)
            share = round(summarise(run).macs_share, 6)
            chosen_on[drop] = {**figures, "macs_share": share, "time_share": figures["macs_share"]}
        settings[name] = {**setting, "chosen_on": chosen_on}
    return {**rules, "settings": settings}
