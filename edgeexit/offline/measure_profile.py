"""The device profile that a measurement gives: what the board did and drew while a bundle kept it busy."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import product
from statistics import median
from typing import TYPE_CHECKING

from edgeexit.device.profile import ClockSpec, DeviceProfile, OperatingPoint, PowerModel
from edgeexit.offline.measure_notes import clocks_text

if TYPE_CHECKING:
    from edgeexit.bundle import Bundle
    from edgeexit.bundle.costs import CostProvenance
    from edgeexit.offline.measure_point import Measured
    from edgeexit.protocols import CostTable, Device

NAME_LENGTH = 64
"""Of a profile's name at most."""


def profile_name(device: Device) -> str:
    """Return the name of the profile measured on a board: its own, that no packaged profile has."""
    slug = re.sub(r"[^a-z0-9_.-]+", "-", device.name.lower()).strip("-._") or "board"
    suffix = "" if device.simulated or slug.endswith("-measured") else "-measured"
    return slug[: NAME_LENGTH - len(suffix)] + suffix


def make_profile(
    bundle: Bundle, device: Device, table: CostTable, provenance: CostProvenance, measured: Sequence[Measured]
) -> DeviceProfile:
    """Return the board's profile with what was measured, and with all that its profile said before.

    It has no model where no clock could be set, where it is not known how a clock is found, or where the points that
    were measured are not every combination of the domains' frequencies. One that was simulated matches no board, so
    that it is never detected.
    """
    known = getattr(device, "profile", None)
    base = known if isinstance(known, DeviceProfile) else None
    clocks = _clock_specs(device, {} if base is None else base.clocks)
    model = _model(bundle, table, measured, clocks)
    word = (
        "Simulated, so not a measurement of a real board" if provenance.simulated else "Measured by 'edgeexit measure'"
    )
    how = (
        f"{word}: bundle {bundle.name!r} on {provenance.board}, {provenance.measured_at}, edgeexit "
        f"{provenance.edgeexit_version}, {provenance.engine} ({', '.join(provenance.providers)}), "
        f"{provenance.threads} thread(s)"
    )
    power = "no meter" if provenance.meter is None else f"meter {provenance.meter}"
    notes = [
        *provenance.notes,
        *(f"Left out: {clocks_text(each.clocks)}: {each.reason}." for each in provenance.left_out),
    ]
    if model is None:
        notes.append(
            "No model: it takes a full grid of known clocks; see the bundle's cost table for what was measured."
        )
    return DeviceProfile(
        name=profile_name(device),
        title=f"{device.name if base is None else base.title} ({'simulated' if provenance.simulated else 'measured'})",
        provenance={"model": f"{how}; {power}."},
        match=() if base is None or provenance.simulated else base.match,
        clocks=clocks,
        total_rails=() if base is None else base.total_rails,
        notes=tuple(dict.fromkeys([*(() if base is None else base.notes), *notes])),
        model=model,
    )


def _model(
    bundle: Bundle, table: CostTable, measured: Sequence[Measured], clocks: Mapping[str, ClockSpec]
) -> PowerModel | None:
    macs = sum(bundle.workload.segment_macs) + bundle.workload.head_macs[-1]
    ordered = sorted(measured, key=lambda each: tuple(each.record.costs.clocks.values()))
    settings = [tuple(each.record.costs.clocks.values()) for each in ordered]
    columns = [sorted(set(column)) for column in zip(*settings, strict=True)]
    names = ordered[0].record.costs.clocks
    described = all(name in clocks or name.rstrip("0123456789") in clocks for name in names)
    if macs < 1 or not columns or not described or settings != list(product(*columns)):
        return None
    idle_w = [each.record.costs.idle_power_w for each in ordered]
    known_w = [watts for watts in idle_w if watts is not None]
    return PowerModel(
        reference_name=f"bundle {bundle.name}, the whole network, one sample",
        reference_macs=macs,
        idle_power_w=median(known_w) if len(known_w) == len(idle_w) else None,
        switch_latency_s=table.switch_latency_s,
        switch_energy_j=table.switch_energy_j,
        operating_points=tuple(_operating_point(each) for each in ordered),
    )


def _operating_point(measured: Measured) -> OperatingPoint:
    record = measured.record
    return OperatingPoint(
        clocks=record.costs.clocks,
        input_power_w=None if record.load_power_w is None else record.load_power_w.median,
        rail_power_w=measured.rail_power_w,
        reference_frames_per_s=1.0 / record.whole_latency_s.median,
    )


def _clock_specs(device: Device, known: Mapping[str, ClockSpec]) -> Mapping[str, ClockSpec]:
    """Add to a profile's clocks those that were found beside them; a knob's key says how: "devfreq/<node>/min_freq"."""
    specs = dict(known)
    for name, domain in device.domains.items():
        family = name.rstrip("0123456789")
        keys = [knob.key.split("/") for knob in domain.knobs]
        if name not in specs and family not in specs and keys:
            kind, node = keys[0][0], keys[0][1]
            specs[family] = ClockSpec(kind, (node,) if kind == "devfreq" else ())
    return specs
