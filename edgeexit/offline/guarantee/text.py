"""What a calibration came to, in words."""

from __future__ import annotations

from collections.abc import Iterator

from edgeexit.bundle.certificates import FULL, Certificate
from edgeexit.offline.guarantee.budget import ENERGY, LATENCY, Budget
from edgeexit.offline.guarantee.certified_rules import Proof
from edgeexit.offline.guarantee.certify import Certified
from edgeexit.offline.guarantee.recalibrate import KeptBudget, Recalibrated

_NORMAL_95 = 1.96


def calibration_text(done: Recalibrated, full: str = "full network") -> str:
    """Return a report of a calibration, as the command line prints it.

    Args:
        done: What it came to.
        full: What the bundle's full network is called.
    """
    return "\n".join(_lines(done, full))


def certificate_text(certificate: Certificate, full: str) -> str:
    """Return a certificate in one sentence; `full` is what the bundle's full network is called."""
    what = f"answers other than those of the {full}" if certificate.risk == FULL else "accuracy lost"
    return (
        f"{what} below {certificate.bound_points:g} points with confidence {certificate.confidence:g}: "
        f"{certificate.observed_points:.2f} points on {certificate.samples:,} samples, p = {certificate.p_value:.3g}, "
        f"{100 * certificate.macs_share:.1f} % of the MACs"
    )


def _lines(done: Recalibrated, full: str) -> Iterator[str]:
    sizes = ", ".join(f"{name} {count:,}" for name, count in done.samples.items())
    right = "the labels" if done.risk != FULL else f"the {full}"
    yield f"samples: {sizes}; right is what {right} say{'s' if done.risk == FULL else ''}"
    yield f"recommended setting: {done.rules['recommended']}; on the samples of certify, which chose nothing:"
    for drop, counts in sorted(done.unseen.items()):
        yield (
            f"  calibrated for a drop of {drop:g} points: {counts.drop_points:+.2f} points lost, "
            f"{100 * counts.macs_share:.1f} % of the MACs"
        )
    for proof in done.proofs:
        yield from _proof_lines(proof, full)
    if done.budget is not None:
        yield from _budget_lines(done.budget, done)


def _proof_lines(proof: Proof, full: str) -> Iterator[str]:
    if not isinstance(proof.found, Certified):
        yield proof.found.message
        return
    found = proof.found
    yield f"certified: {certificate_text(found.certificate, full)}"
    yield (
        f"  setting {found.certificate.setting!r} (from {proof.path.name!r}, {len(found.tests)} of "
        f"{len(proof.path.steps)} settings tested, safe to cheap); use it with "
        f"--exit-rule {found.certificate.setting} --allowed-drop {found.certificate.allowed_drop:g}"
    )


def _budget_lines(kept: KeptBudget, done: Recalibrated) -> Iterator[str]:
    check = kept.check
    yield (
        f"budget of {amount_text(kept.budget, kept.budget.amount)}: {amount_text(kept.budget, check.cost)} on "
        f"{check.samples:,} unseen samples (95 % interval +-{amount_text(kept.budget, _NORMAL_95 * check.error)}), "
        f"{100 * (check.full_accuracy - check.accuracy):+.2f} points lost"
    )
    yield f"  setting 'budget'; use it with --exit-rule budget --allowed-drop {kept.allowed_drop:g}"


def amount_text(budget: Budget, amount: float) -> str:
    """Return an amount of a budget's kind with its unit."""
    if budget.kind == LATENCY:
        return f"{1e3 * amount:.4g} ms"
    return f"{1e3 * amount:.4g} mJ" if budget.kind == ENERGY else f"{100 * amount:.1f} % of the MACs"
