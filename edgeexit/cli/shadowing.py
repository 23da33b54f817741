"""What `edgeexit run --shadow` prints: how often the full network agrees with the samples that exited early."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeexit.runtime import Session, Shadow, ShadowReport


def shadow_options(share: float | None) -> Shadow | None:
    """Return the options for a session that is given its idle time by the command, for there is no other work."""
    if share is None:
        return None
    from edgeexit.runtime import Shadow  # noqa: PLC0415  keeps the command light to import

    return Shadow(share, background=False)


def shadow_text(session: Session) -> str | None:
    """Return a line on the shadow runs; None without any."""
    report = session.shadow_report()
    if report is None:
        return None
    if report.agreement is None:
        return f"shadow: none of the {report.exited} samples that exited early was checked"
    dropped = f", {report.dropped} more had no time" if report.dropped else ""
    return (
        f"shadow: {report.checked} of {report.exited} samples that exited early were run to the end{dropped}; "
        f"the full network agrees with {report.agreed} of them, {report.agreement:.1%} "
        f"(95 % interval {report.low:.1%} to {report.high:.1%}){_expected_text(report)}; "
        f"{report.busy_s * 1e3:.3g} ms, {_energy_text(session, report)}"
    )


def shadow_document(session: Session) -> str | None:
    """Return the report as one JSON object in a line; None without shadow runs."""
    report = session.shadow_report()
    return None if report is None else json.dumps({"shadow": report._asdict()})


def _expected_text(report: ShadowReport) -> str:
    if report.expected is None:
        return ", in calibration not known"
    drifted = ": drifted, calibrate anew with samples like these" if report.drift else ""
    return f", in calibration {report.expected:.1%}{drifted}"


def _energy_text(session: Session, report: ShadowReport) -> str:
    if report.energy_j is None:
        return "energy not known"
    return f"{report.energy_j * 1e3:.3g} mJ{' (simulated)' if session.device.simulated else ''}"
