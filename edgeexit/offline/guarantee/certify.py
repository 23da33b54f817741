"""Learn-then-Test: certify the cheapest setting of a path whose risk is provably below a bound.

Every setting is a hypothesis, "the risk is the bound or more", with an exact p-value on samples that took no part in
choosing the path. They are tested in the path's order, each at the full level, until the first that fails (fixed
sequence testing), so that with the stated confidence none of those that passed is a mistake (Angelopoulos, Bates,
Candes, Jordan and Lei, arXiv 2110.01052).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timezone
from math import ceil
from typing import Any, Final, NamedTuple

from edgeexit import __version__
from edgeexit.bundle.certificates import CERTIFIED, LABELS, Certificate, parameters_sha256
from edgeexit.errors import DataError, OptionError
from edgeexit.offline.guarantee.counts import Counts, against, count_setting
from edgeexit.offline.guarantee.p_values import METHODS, least_samples, samples_needed
from edgeexit.offline.guarantee.paths import Bound, SettingPath
from edgeexit.offline.traces import Trace

_MOST_SAMPLES: Final = 10_000_000


class Certified(NamedTuple):
    """A setting that passed.

    Attributes:
        certificate: Of the setting.
        parameters: As they stand in rules.json.
        tests: Counts of the settings that were tested, in order; all but perhaps the last passed.
        step: Index into them, and into the path's steps, of the setting.
    """

    certificate: Certificate
    parameters: Mapping[str, Any]
    tests: tuple[Counts, ...]
    step: int


class NotEnough(NamedTuple):
    """No setting of the path passed.

    Attributes:
        samples: How many there were to certify with.
        samples_needed: At least so many would be; None if the safest setting lost too much for any number.
        bound: What was to be guaranteed.
        tested: Counts of the safest setting; None if there were too few samples to test any.
        whole: How many samples there were in all, of which a part was kept to certify with; None if not known.
    """

    samples: int
    samples_needed: int | None
    bound: Bound
    tested: Counts | None
    whole: int | None = None

    @property
    def whole_needed(self) -> int | None:
        """How many samples would be needed in all, if the same share is kept to certify with; None if not known."""
        if self.whole is None or self.samples_needed is None:
            return None
        return ceil(self.samples_needed * self.whole / self.samples)

    @property
    def message(self) -> str:
        """Say in one line what was asked, what was found, and what to do."""
        asked = f"drop {self.bound.max_drop:g} points at confidence {self.bound.confidence:g}"
        if self.samples_needed is None and self.tested is not None:
            return (
                f"No setting can be certified for {asked}: the safest one lost {self.tested.drop_points:.2f} points on "
                f"{self.samples} samples; allow a larger drop, or improve the exits"
            )
        seen = "" if self.tested is None else f", judging by the safest setting's {self.tested.drop_points:.2f} points"
        if self.whole is None:
            given = f"{self.samples} in the part that is kept for it"
            return f"Too few samples to certify with: {given}, at least {self.samples_needed} needed for {asked}{seen}"
        return (
            f"Too few samples: {self.whole} given, of which {self.samples} are kept to certify with; at least "
            f"{self.whole_needed} needed, of which {self.samples_needed} to certify with, for {asked}{seen}"
        )


def check_bound(bound: Bound) -> Bound:
    """Return `bound` if it can be asked for.

    Raises:
        OptionError: If the drop is not between 0 and 100 points, or the confidence not between 0.5 and 1.
    """
    if not 0.0 < bound.max_drop < 100.0:
        raise OptionError(f"the accuracy drop must lie between 0 and 100 points, not {bound.max_drop:g}")
    if not 0.5 <= bound.confidence < 1.0:
        raise OptionError(f"the confidence must be from 0.5 to below 1, not {bound.confidence:g}")
    return bound


def check_samples(samples: int, bound: Bound, whole: int | None = None) -> NotEnough | None:
    """Return what is wrong if there are too few samples to certify a setting even if it lost nothing, else None.

    Args:
        samples: How many there are to certify with.
        bound: What is to be guaranteed.
        whole: How many there are in all, for the message.
    """
    needed = samples_needed(bound.share, bound.confidence, bound.risk)
    return NotEnough(samples, needed, bound, None, whole) if samples < needed else None


def certify(
    path: SettingPath,
    trace: Trace,
    *,
    max_drop: float,
    confidence: float,
    risk: str = LABELS,
    network_sha256: str,
    data_sha256: str | None = None,
    date: str | None = None,
    whole: int | None = None,
) -> Certified | NotEnough:
    """Test a path's settings and return the cheapest that passed.

    Args:
        path: Chosen on other samples than those of `trace`.
        trace: Samples that no part of the network and of the path was trained or chosen on.
        max_drop: What may be lost, in points.
        confidence: That it is not more, between 0.5 and 1.
        risk: "labels" for accuracy lost, "full" for answers that differ from the full network's.
        network_sha256: Of the network, see `edgeexit.bundle.manifest.network_sha256`.
        data_sha256: Of the samples; that of the trace by default.
        date: As 2026-01-31; today by default.
        whole: How many samples there are in all, of which those of `trace` are a part; for messages.

    Raises:
        OptionError: If drop, confidence or risk are out of their range, or the path is empty.
    """
    bound = check_bound(Bound(max_drop, confidence, risk))
    too_few = check_samples(len(trace), bound, whole)
    if too_few is not None:
        return too_few
    if not path.steps:
        raise OptionError(f"the setting {path.name!r} has no parameters that its rule takes: calibrate the bundle")
    tests = _test_in_turn(path, against(trace, risk), bound)
    passed = len(tests) - (not bound.holds(tests[-1]))
    if not passed:
        return NotEnough(len(trace), _needed(tests[0], bound), bound, tests[0], whole)
    step = passed - 1
    certificate = Certificate(
        setting=CERTIFIED[risk],
        allowed_drop=max_drop,
        rule=path.rule,
        risk=risk,
        bound_points=max_drop,
        confidence=confidence,
        samples=len(trace),
        lost=tests[step].lost,
        gained=tests[step].gained,
        p_value=float(f"{bound.p_value(tests[step]):.4g}"),
        method=f"Learn-then-Test, fixed sequence; {METHODS[risk]}",
        macs_share=round(tests[step].macs_share, 6),
        date=date or datetime.now(timezone.utc).date().isoformat(),
        data_sha256=data_sha256 or trace_sha256(trace),
        parameters_sha256=parameters_sha256(path.steps[step].parameters, path.predictor),
        network_sha256=network_sha256,
        created_by=f"edgeexit {__version__}",
    )
    return Certified(certificate, path.steps[step].parameters, tests, step)


def _test_in_turn(path: SettingPath, judged: Trace, bound: Bound) -> tuple[Counts, ...]:
    """Return the counts of a path's settings up to the first that fails."""
    tests: list[Counts] = []
    for step in path.steps:
        tests.append(count_setting(path.rule, step.parameters, path.predictor, judged, path.workload))
        if not bound.holds(tests[-1]):
            break
    return tuple(tests)


def trace_sha256(trace: Trace) -> str:
    """Return the sha256 of a trace's logits and labels."""
    digest = hashlib.sha256(trace.logits.tobytes())
    digest.update(trace.labels.tobytes())
    return digest.hexdigest()


def check_apart(select: Trace, test: Trace) -> None:
    """Check that no sample of one trace is in the other, as far as their logits can tell.

    Raises:
        DataError: If the same logits are in both.
    """
    seen = {sample.tobytes() for sample in select.logits}
    both = sum(sample.tobytes() in seen for sample in test.logits)
    if both:
        raise DataError(
            f"{both} of the {len(test)} samples to certify on were used to choose the settings as well; "
            "keep the two apart, or the certificate would be worth nothing"
        )


def _needed(counts: Counts, bound: Bound) -> int | None:
    """Return with about how many samples of the same kind the bound would be shown; None if that is out of reach."""
    if counts.drop_points >= bound.max_drop:
        return None

    def enough(samples: int) -> bool:
        return samples >= _MOST_SAMPLES or bound.holds(counts.scaled(samples))

    needed = least_samples(enough, counts.samples + 1)
    return needed if needed < _MOST_SAMPLES else None
