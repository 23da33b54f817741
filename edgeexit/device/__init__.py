"""Boards, real and simulated: what they offer, what is known of them, and the lease that sets their clocks.

* `open_device`: the board to run on, by argument, environment or detection;
* `load_profile`, `DeviceProfile` (`profile`): what is known of a board, from a JSON file;
* `SimulatedDevice` (`simulated`), `HostDevice` (`host`): a board from a profile, and the machine edgeexit runs on;
* `CostModel`, `reference_scale` (`costs`): latency and energy that a profile predicts;
* `Lease` (`lease`): the only place that sets clocks; `journal`, `restoring`, `guardian`: how they are given back, come
  what may; `writer`: setting them from a thread;
* `Tree` (`sysfs`): the kernel's files; `cpufreq`, `devfreq`, `nvml`: clocks, one file a kind;
* `hwmon`, `rapl`, `pmic`, `battery`, `meters`: power and energy; `thermal`, `conditions`: heat, throttling, load;
* `detect`, `doctor`, `rivals`, `recording`: which board this is, and what works on it.
"""

from __future__ import annotations

import os
import warnings
from importlib import import_module
from typing import TYPE_CHECKING

from edgeexit.errors import ClocksUnavailable, DeviceNotFound, OptionError, ProfileMismatch

if TYPE_CHECKING:
    from edgeexit.device.costs import CostModel, reference_scale
    from edgeexit.device.host import HostDevice
    from edgeexit.device.lease import Lease
    from edgeexit.device.profile import DeviceProfile, list_profiles, load_profile
    from edgeexit.device.simulated import SimulatedDevice
    from edgeexit.device.sysfs import Tree
    from edgeexit.protocols import Device

_HOME = {
    "CostModel": "costs",
    "DeviceProfile": "profile",
    "HostDevice": "host",
    "Lease": "lease",
    "SimulatedDevice": "simulated",
    "list_profiles": "profile",
    "load_profile": "profile",
    "reference_scale": "costs",
}

__all__ = [
    "CostModel",
    "DeviceProfile",
    "HostDevice",
    "Lease",
    "SimulatedDevice",
    "list_devices",
    "list_profiles",
    "load_profile",
    "open_device",
    "reference_scale",
]

_SIMULATED = "simulated:"


def open_device(name: str | None = None, *, work_scale: float = 1.0, looks_only: bool = False) -> Device:
    """Open the board to run on.

    Args:
        name: "host" for this machine, whatever it is; the name or path of a device profile to take this machine for,
            for instance "raspberry-pi-4"; or "simulated:" with the name or path of a profile. If None, the
            environment variable EDGEEXIT_DEVICE decides, and without it the machine is looked at; a simulated board is
            never chosen that way.
        work_scale: Only for a simulated board: every multiply-accumulate counts as so many there.
        looks_only: True writes no clock, not even to give back what a dead process left: another process holds them.

    Raises:
        DeviceNotFound: If there is no device of this name.
        ProfileError: If the profile is damaged, or has no model to simulate.
        OptionError: If `work_scale` is given for a board that is not simulated, or out of range.

    Warns:
        ClocksUnavailable: If the machine was found by looking and has no clock that this process may set.
        ProfileMismatch: If the machine is to be taken for a board that it does not say it is.
    """
    wanted = name or os.environ.get("EDGEEXIT_DEVICE")
    if wanted:
        return _open(wanted, work_scale, looks_only=looks_only)
    device = _open("host", work_scale, looks_only=looks_only)
    problem = _why_no_clocks(device)
    if problem:
        warnings.warn(
            f"{problem}; inference runs at the clocks as they are (`edgeexit doctor` says why and what mends it)",
            ClocksUnavailable,
            stacklevel=2,
        )
    return device


def _why_no_clocks(device: Device) -> str | None:
    domains = device.domains.values()
    if not domains:
        return "this machine shows no clock that could be set"
    if not any(getattr(domain, "writable", True) for domain in domains):
        return "this user may not set the clocks of this machine"
    return None


def list_devices() -> tuple[str, ...]:
    """List the names that `open_device` takes."""
    from edgeexit.device.detect import find_profiles  # noqa: PLC0415  keeps this package light to import

    profiles = sorted((stored.profile for stored in find_profiles()[0]), key=lambda profile: profile.name)
    modelled = [profile for profile in profiles if profile.model is not None and profile.model.has_power]
    return ("host", *(p.name for p in profiles), *(_SIMULATED + p.name for p in modelled))


def _open(name: str, work_scale: float, *, looks_only: bool) -> Device:
    if name.startswith(_SIMULATED):
        from edgeexit.device.profile import load_profile  # noqa: PLC0415
        from edgeexit.device.simulated import SimulatedDevice  # noqa: PLC0415

        return SimulatedDevice(load_profile(name[len(_SIMULATED) :]), work_scale=work_scale)
    if work_scale != 1.0:
        raise OptionError(f"work_scale={work_scale} needs a simulated board; {name!r} does real work")
    from edgeexit.device.host import HostDevice  # noqa: PLC0415
    from edgeexit.device.profile import load_profile  # noqa: PLC0415
    from edgeexit.device.sysfs import Tree  # noqa: PLC0415

    if name == "host":
        return HostDevice(looks_only=looks_only)
    try:
        profile = load_profile(name)
    except DeviceNotFound as error:
        raise DeviceNotFound(f"no device is called {name!r}; there are: {', '.join(list_devices())}") from error
    tree = Tree()
    mismatch = _why_mismatch(profile, tree)
    if mismatch:
        warnings.warn(mismatch, ProfileMismatch, stacklevel=3)
    return HostDevice(profile, tree=tree, looks_only=looks_only)


def _why_mismatch(profile: DeviceProfile, tree: Tree) -> str | None:
    """Return what is wrong with taking a machine for a profile's board; a profile for no board in particular fits."""
    from edgeexit.device.detect import read_board_facts  # noqa: PLC0415

    facts = read_board_facts(tree)
    if not profile.match or set(profile.match) & set(facts.identities):
        return None
    says = f"this machine says it is {facts.title!r}" if facts.identities else "this machine does not say what it is"
    return (
        f"the profile {profile.name!r} is asked for, but {says}: its clocks and sensors are used, and all else is "
        f"taken from that profile ('host' looks which profile fits, 'simulated:{profile.name}' simulates that board)"
    )


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'edgeexit.device' has no attribute {name!r}")
    value = getattr(import_module(f"edgeexit.device.{_HOME[name]}"), name)
    globals()[name] = value
    return value
