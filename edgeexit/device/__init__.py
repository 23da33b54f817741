"""Boards, real and simulated: what they offer, what is known of them, and the lease that sets their clocks.

* `open_device`: the board to run on, by argument, environment or detection;
* `load_profile`, `DeviceProfile` (`profile`): what is known of a board, from a JSON file;
* `SimulatedDevice` (`simulated`), `HostDevice` (`host`): a board from a profile, and this machine as it is;
* `CostModel`, `reference_scale` (`costs`): latency and energy that a profile predicts;
* `Lease` (`lease`): the only place that sets clocks.
"""

from __future__ import annotations

import os
import warnings
from importlib import import_module
from typing import TYPE_CHECKING

from edgeexit.errors import ClocksUnavailable, DeviceNotFound, OptionError

if TYPE_CHECKING:
    from edgeexit.device.costs import CostModel, reference_scale
    from edgeexit.device.host import HostDevice
    from edgeexit.device.lease import Lease
    from edgeexit.device.profile import DeviceProfile, list_profiles, load_profile
    from edgeexit.device.simulated import SimulatedDevice
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


def open_device(name: str | None = None, *, work_scale: float = 1.0) -> Device:
    """Open the board to run on.

    Args:
        name: "host" for this machine as it is, or "simulated:" with the name or path of a device profile, for instance
            "simulated:jetson-tx2". If None, the environment variable EDGEEXIT_DEVICE decides, and without it the
            machine is looked at; a simulated board is never chosen that way.
        work_scale: Only for a simulated board: every multiply-accumulate counts as so many there.

    Raises:
        DeviceNotFound: If there is no device of this name.
        ProfileError: If the profile of a simulated board is damaged.
        OptionError: If `work_scale` is given for a board that is not simulated, or out of range.

    Warns:
        ClocksUnavailable: If the machine was found by looking: this version leaves the clocks of real boards alone.
    """
    wanted = name or os.environ.get("EDGEEXIT_DEVICE")
    if not wanted:
        warnings.warn(
            "this version of edgeexit does not drive the clocks of real boards yet: this machine runs at its own "
            'clocks; open_device("host") says so without a warning, "simulated:jetson-tx2" is a simulated board',
            ClocksUnavailable,
            stacklevel=2,
        )
        wanted = "host"
    return _open(wanted, work_scale)


def list_devices() -> tuple[str, ...]:
    """List the names that `open_device` takes."""
    from edgeexit.device.profile import list_profiles  # noqa: PLC0415  keeps this package light to import

    return ("host", *(_SIMULATED + profile for profile in list_profiles()))


def _open(name: str, work_scale: float) -> Device:
    if name.startswith(_SIMULATED):
        from edgeexit.device.profile import load_profile  # noqa: PLC0415
        from edgeexit.device.simulated import SimulatedDevice  # noqa: PLC0415

        return SimulatedDevice(load_profile(name[len(_SIMULATED) :]), work_scale=work_scale)
    if name != "host":
        raise DeviceNotFound(f"no device is called {name!r}; there are: {', '.join(list_devices())}")
    if work_scale != 1.0:
        raise OptionError(f"work_scale={work_scale} needs a simulated board; {name!r} does real work")
    from edgeexit.device.host import HostDevice  # noqa: PLC0415

    return HostDevice()


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'edgeexit.device' has no attribute {name!r}")
    value = getattr(import_module(f"edgeexit.device.{_HOME[name]}"), name)
    globals()[name] = value
    return value
