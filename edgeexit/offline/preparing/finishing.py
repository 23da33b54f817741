"""From a draft of a bundle to the one that is written: rules, certificate, figures, times and the verdict."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgeexit.bundle.load import PREDICTOR, RULES
from edgeexit.bundle.write import write_bundle
from edgeexit.offline.known_samples import FILE, known_samples_file
from edgeexit.offline.preparing.as_given import compare_as_given, in_other_precision
from edgeexit.offline.preparing.calibrating import Calibrated, calibrate
from edgeexit.offline.preparing.judging import exit_figures, rule_figures, time_bundle
from edgeexit.offline.preparing.options import LEARNT_FROM
from edgeexit.offline.preparing.worth import judge_worth

if TYPE_CHECKING:
    from edgeexit.bundle import Bundle
    from edgeexit.offline.preparing.bench import Bench
    from edgeexit.offline.preparing.options import PrepareOptions
    from edgeexit.offline.preparing.preparation import Preparation
    from edgeexit.offline.preparing.sources import Network
    from edgeexit.offline.traces import Trace

SHOWN_DROPS: Final = (0.0, 0.5, 1.0)
"""Allowed drops that are reported, in percentage points, besides the one that the user names."""


def finish(
    found: Preparation, draft: Bundle, traces: Mapping[str, Trace], network: Network, out: Path, bench: Bench
) -> Preparation:
    """Calibrate a draft, say what it came to, and write it to `out` as the last step.

    Args:
        found: What is known so far.
        draft: The bundle without rules, in the work folder.
        traces: Of its exits, on the parts "fit", "select" and "certify".
        network: The model as it was given, to compare with.
        out: Folder of the bundle.
        bench: What every step works with.
    """
    allowed, test = bench.options.max_accuracy_drop, traces["certify"]
    found = replace(found, quantised=in_other_precision(draft))
    done = calibrate(draft, traces, found.full_name, bench)
    known = known_samples_file(bench.material.parts[part] for part in LEARNT_FROM)
    ready = _write(draft, done, known, found.steps, bench.work.path / "calibrated", replace_old=True)
    figures = rule_figures(ready, test, sorted({*SHOWN_DROPS, allowed}))
    own = [rule for rule in figures if rule.allowed_drop == allowed]
    own.sort(key=lambda rule: rule.setting != done.certified.setting)
    times = time_bundle(ready, network.model.SerializeToString(), own[0].setting, allowed, bench)
    worth = judge_worth(
        own,
        float(test.accuracies[-1]),
        allowed,
        certified=done.certified,
        times=times,
        by_labels=bench.material.by_labels,
        faster=_faster(bench.options, draft.exit_count - 1),
        full=found.judge_name,
    )
    setting, changed = own[0].setting, bool(found.steps) or found.quantised
    as_given = compare_as_given(network, ready, test, setting, allowed, bench) if changed else None
    return replace(
        found,
        exits=exit_figures(ready, test),
        rules=figures,
        reported=setting,
        certified=done.certified,
        as_given=as_given,
        times=times,
        worth=worth,
        bundle=_write(draft, done, known, found.steps, out, replace_old=bench.options.replace),
    )


def _faster(options: PrepareOptions, exits: int) -> str:
    """Return options, not used yet, with which pieces are fewer or chosen by time; "" if the user has fixed them."""
    if options.cuts or options.place == "all":
        return ""
    ways = {f"--exits {min(2, exits - 1)}": exits > 1, "--cost time": options.cost != "time"}
    return " or ".join(way for way, there in ways.items() if there)


def _write(
    draft: Bundle, done: Calibrated, known: bytes, steps: tuple[str, ...], folder: Path, *, replace_old: bool
) -> Bundle:
    files = {name: draft.read_file(name) for name in draft.manifest.files}
    files |= {PREDICTOR: _json(done.predictor), RULES: _json(done.rules), FILE: known}
    manifest = replace(draft.manifest, certificates=done.certificates, compression=steps)
    return write_bundle(folder, manifest, files, replace=replace_old)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()
