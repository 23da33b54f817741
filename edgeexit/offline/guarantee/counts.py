"""What a setting lost and gained against the full network on some samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from edgeexit.bundle.certificates import FULL
from edgeexit.offline.replay import Replay, replay
from edgeexit.offline.traces import Trace
from edgeexit.protocols import Workload
from edgeexit.registry import load_exit_rule


class Counts(NamedTuple):
    """Answers of a setting beside those of the full network.

    Attributes:
        samples: How many.
        lost: The full network is right and the setting wrong.
        gained: The setting is right and the full network wrong.
        macs_share: Mean work as a share of the full network.
    """

    samples: int
    lost: int
    gained: int
    macs_share: float

    @property
    def drop_points(self) -> float:
        """Accuracy lost, in points."""
        return 100.0 * (self.lost - self.gained) / self.samples

    def scaled(self, samples: int) -> Counts:
        """Return what `samples` of the same kind would show."""
        factor = samples / self.samples
        return Counts(samples, round(factor * self.lost), round(factor * self.gained), self.macs_share)


def against(trace: Trace, risk: str) -> Trace:
    """Return `trace` with what counts as right for a risk: for "full" it is what the full network says."""
    return replace(trace, labels=trace.label[:, -1]) if risk == FULL else trace


def join_traces(traces: Sequence[Trace]) -> Trace:
    """Return the samples of all traces, which must be of one network, in one."""
    logits, labels = (np.concatenate([getattr(t, part) for t in traces]) for part in ("logits", "labels"))
    return replace(traces[0], logits=logits, labels=labels)


def run_setting(
    rule: str, parameters: Mapping[str, Any], predictor: Mapping[str, Any] | None, trace: Trace, workload: Workload
) -> Replay:
    """Let a setting's rule judge every sample.

    Args:
        rule: Name of the exit rule.
        parameters: As rules.json has them.
        predictor: What takes the place of the predictor's file name in them.
        trace: Recorded logits.
        workload: Work in the network's pieces.

    Raises:
        OptionError: If the rule refuses the parameters.
    """
    resolved = {**parameters, "predictor": predictor} if "predictor" in parameters else parameters
    return replay(load_exit_rule(rule, trace.exit_count, **resolved), trace, workload)


def count_setting(
    rule: str, parameters: Mapping[str, Any], predictor: Mapping[str, Any] | None, judged: Trace, workload: Workload
) -> Counts:
    """Return a setting's counts on `judged`, a trace whose labels are what counts as right; see `run_setting`."""
    run = run_setting(rule, parameters, predictor, judged, workload)
    full_right = judged.correct[:, -1]
    lost, gained = int((full_right & ~run.correct).sum()), int((~full_right & run.correct).sum())
    return Counts(len(judged), lost, gained, float(run.macs.mean()) / run.full_macs)
