"""A board's power model with another static share: how far do conclusions depend on what the board draws when idle?"""

from __future__ import annotations

import math
from dataclasses import replace

from edgeexit.device.profile import DeviceProfile, PowerModel
from edgeexit.errors import OptionError, ProfileError


def with_static_share(profile: DeviceProfile, share: float) -> DeviceProfile:
    """Return the profile as if a share of the highest point's power were static: drawn also when idle.

    With P(f) the input power at a point, P_top that of the last one, and P_idle idle power::

        P'_idle = share * P_top
        P'(f)   = P'_idle + (P(f) - P_idle) * (P_top - P'_idle) / (P_top - P_idle)

    So the highest point draws what it did, and the active part keeps its shape over frequency. A switch keeps its
    latency; its mean power is rewritten as P(f) is. Assumptions: idle power is what static power is, the same at every
    clock; and the active part does not change its shape with it, though on a real chip leakage also rises with the
    voltage. What single rails draw is not known any more and left out. The figures are modelled, whatever they were.

    Args:
        profile: A board whose model has power.
        share: At least 0, below 1.

    Raises:
        OptionError: If `share` is not such a number.
        ProfileError: If the profile has no model or none with power, or if a point draws no more than the idle board.
    """
    if not (math.isfinite(share) and 0.0 <= share < 1.0):
        raise OptionError(f"a static share must be at least 0 and below 1, not {share}")
    model = profile.require_model()
    powers_w = [point.input_power_w for point in model.operating_points if point.input_power_w is not None]
    if model.idle_power_w is None or len(powers_w) < len(model.operating_points):
        raise ProfileError(f"profile {profile.name!r} has no power figures whose static share could be varied")
    if min(powers_w) <= model.idle_power_w:
        raise ProfileError(
            f"profile {profile.name!r} draws {model.idle_power_w} W when idle and only {min(powers_w)} W at a point "
            "under load: its static share cannot be varied"
        )
    note = f"Assumption: {share:.0%} of the highest point's power is static; see edgeexit.device.static_share."
    return replace(
        profile,
        title=f"{profile.title}, with a static share of {share:.0%}",
        provenance={**profile.provenance, "static_share": note},
        model=_rewrite(model, powers_w, model.idle_power_w, share * powers_w[-1]),
    )


def _rewrite(model: PowerModel, powers_w: list[float], idle_w: float, new_idle_w: float) -> PowerModel:
    scale = (powers_w[-1] - new_idle_w) / (powers_w[-1] - idle_w)

    def rewritten(power_w: float) -> float:
        return new_idle_w + (power_w - idle_w) * scale

    switch_j = model.switch_energy_j
    if switch_j is not None and model.switch_latency_s > 0.0:
        switch_j = max(0.0, rewritten(switch_j / model.switch_latency_s) * model.switch_latency_s)
    points = tuple(
        replace(point, input_power_w=rewritten(power_w), rail_power_w={})
        for point, power_w in zip(model.operating_points, powers_w, strict=True)
    )
    return replace(
        model, idle_power_w=new_idle_w, switch_energy_j=switch_j, operating_points=points, idle_rail_power_w={}
    )
