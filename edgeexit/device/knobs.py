"""Finds the knob that a journal names, whichever driver it is of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeexit.device import cpufreq, devfreq
from edgeexit.errors import DeviceError

if TYPE_CHECKING:
    from edgeexit.device.knob import OpenedKnob
    from edgeexit.device.sysfs import Tree


def open_knob(tree: Tree, key: str) -> OpenedKnob:
    """Return the knob of a journal's key; the caller closes it.

    A key names a driver, a device and a knob, never a path: a journal cannot make anybody write another file.

    Raises:
        DeviceError: If there is no such knob.
    """
    kind = key.partition("/")[0]
    if kind == "cpufreq":
        return cpufreq.open_knob(tree, key)
    if kind == "devfreq":
        return devfreq.open_knob(tree, key)
    if kind == "nvml":
        from edgeexit.device import nvml  # noqa: PLC0415  loads NVIDIA's library

        return nvml.open_knob(key)
    raise DeviceError(f"no kind of clock is called {kind!r} (in the journal's {key!r})")
