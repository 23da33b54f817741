"""What compression and early exits together cost against the model as the user gave it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgeexit.bundle.manifest import FLOAT32
from edgeexit.exits.settings import make_rule
from edgeexit.offline.heads import record_features
from edgeexit.offline.preparing.preparation import AsGiven
from edgeexit.offline.replay import replay
from edgeexit.offline.traces import Trace

if TYPE_CHECKING:
    from edgeexit.bundle import Bundle
    from edgeexit.offline.preparing.bench import Bench
    from edgeexit.offline.preparing.sources import Network


def in_other_precision(bundle: Bundle) -> bool:
    """Return whether a segment of a bundle runs in another precision than it was given in."""
    return any(segment.precision != FLOAT32 for segment in bundle.segments)


def compare_as_given(
    network: Network, bundle: Bundle, trace: Trace, setting: str, allowed_drop: float, bench: Bench
) -> AsGiven:
    """Compare the full network of a bundle, and one of its settings, with the model as it was given.

    Args:
        network: The model before anything was done to it; it is run over the part "certify".
        bundle: Calibrated.
        trace: Of its exits, on the part "certify".
        setting: Name of a calibrated setting.
        allowed_drop: Of that setting, in percentage points.
        bench: What every step works with.
    """
    by_labels = bench.material.by_labels
    given = _record(network, trace, bench)
    judged = trace if by_labels else replace(trace, labels=given.label[:, -1])
    rule = make_rule(setting, bundle.exit_count, bundle.read_rules(), bundle.read_predictor(), allowed_drop)
    return AsGiven(
        given=float(given.accuracies[-1]) if by_labels else None,
        full=float(judged.accuracies[-1]),
        setting=float(replay(rule, judged, bundle.workload).correct.mean()),
    )


def _record(network: Network, trace: Trace, bench: Bench) -> Trace:
    """Return what a network says about the part "certify", with the same labels as `trace`."""
    found = record_features(
        network.model,
        (),
        bench.material.parts["certify"],
        task=bench.material.task,
        progress=bench.progress,
        store=bench.work.folder("as-given-certify", bench.key(network.digest)),
    )
    return Trace(found.logits[:, None], trace.labels, trace.task)
