"""The power mode of a Jetson, which caps clocks and takes cores away."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeexit.device.sysfs import Tree

STATUS = "/var/lib/nvpmodel/status"
CONFIG = "/etc/nvpmodel.conf"
_MODE = re.compile(r"pmode:0*([0-9]+)")


def read_power_mode(tree: Tree) -> str | None:
    """Return number and name of the mode that nvpmodel keeps, for instance "0 (15W)", or None where there is none."""
    found = _MODE.search(tree.read_or_none(STATUS) or "")
    if found is None:
        return None
    name = re.search(rf"POWER_MODEL\s+ID=0*{found[1]}\s+NAME=(\S+)", tree.read_or_none(CONFIG) or "")
    return found[1] if name is None else f"{found[1]} ({name[1]})"
