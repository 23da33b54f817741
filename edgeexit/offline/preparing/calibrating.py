"""Rules and their certificate: chosen on the part "select", proved on the part "certify"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeexit.bundle.certificates import Certificate
from edgeexit.bundle.manifest import network_sha256
from edgeexit.offline.calibrate import DROPS, fit_and_calibrate
from edgeexit.offline.guarantee.certified_rules import certify_rules
from edgeexit.offline.guarantee.certify import NotEnough, check_samples
from edgeexit.offline.guarantee.paths import Bound
from edgeexit.offline.preparing.options import PrepareOptions
from edgeexit.offline.preparing.preparation import Certified

if TYPE_CHECKING:
    from edgeexit.bundle import Bundle
    from edgeexit.offline.preparing.bench import Bench
    from edgeexit.offline.preparing.sources import Material
    from edgeexit.offline.traces import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """What calibration came to.

    Attributes:
        predictor: For predictor.json.
        rules: For rules.json.
        certificates: For the manifest.
        certified: The same for the report.
    """

    predictor: Mapping[str, Any]
    rules: Mapping[str, Any]
    certificates: tuple[Certificate, ...]
    certified: Certified


def calibrate(draft: Bundle, traces: Mapping[str, Trace], full: str, bench: Bench) -> Calibrated:
    """Fit the predictor, choose all settings, and certify one for the drop that the user allows.

    Args:
        draft: The bundle without rules.
        traces: Of its exits, on the parts "fit", "select" and "certify".
        full: What the full network is called.
        bench: What every step works with.
    """
    drops = sorted({*DROPS, bench.options.max_accuracy_drop})

    def make() -> dict[str, Any]:
        predictor, rules = fit_and_calibrate(traces, draft.workload, drops=drops)
        return {"predictor": predictor, "rules": rules}

    made = bench.work.keep_json("rules", bench.key(draft.digest, drops, bench.material.against), make)
    return _certify(made["predictor"], made["rules"], draft, traces, full, bench)


def _certify(
    predictor: Any, rules: Any, draft: Bundle, traces: Mapping[str, Trace], full: str, bench: Bench
) -> Calibrated:
    bound = bound_of(bench.options, bench.material)
    if bound.max_drop == 0.0:
        none = Certified(text="none, because no number of samples shows that nothing at all is lost")
        return Calibrated(predictor=predictor, rules=rules, certificates=(), certified=none)
    done = certify_rules(
        rules,
        predictor,
        traces,
        draft.workload,
        [bound],
        network_sha256=network_sha256(draft.manifest),
        data_sha256=bench.material.parts["certify"].sha256,
        whole=_given(bench.material),
        certify_rule=bench.options.certify_rule,
    )
    found = done.proofs[0].found
    certified = Certified(text=found.message) if isinstance(found, NotEnough) else _said(found.certificate, full)
    return Calibrated(predictor=predictor, rules=done.rules, certificates=done.certificates, certified=certified)


def bound_of(options: PrepareOptions, material: Material) -> Bound:
    """Return what is to be certified."""
    return Bound(options.max_accuracy_drop, options.confidence, material.against)


def foresee_certificate(bound: Bound, material: Material) -> str | None:
    """Say at once if the samples are too few for a certificate even if nothing is lost; None if they are not."""
    if not bound.max_drop:
        return None
    problem = check_samples(len(material.parts["certify"]), bound, whole=_given(material))
    return None if problem is None else f"there will be no certificate. {problem.message}"


def _given(material: Material) -> int:
    """Return how many samples there are in all parts."""
    return sum(map(len, material.parts.values()))


def _said(certificate: Certificate, full: str) -> Certified:
    by_labels = certificate.risk == "labels"
    what = f"accuracy lost against the {full}" if by_labels else f"answers other than those of the {full}"
    gained = f" and {certificate.gained} gained" if certificate.gained else ""
    return Certified(
        text=f"setting {certificate.setting!r} at {certificate.allowed_drop:g}: less than {certificate.bound_points:g} "
        f"points of {what}, with a confidence of {certificate.confidence:.0%} ({certificate.lost} lost{gained} on "
        f"{certificate.samples:,} samples), with {certificate.macs_share:.0%} of the work, by the rule "
        f"{certificate.rule!r}",
        setting=certificate.setting,
        max_drop=certificate.bound_points,
        macs_share=certificate.macs_share,
    )
