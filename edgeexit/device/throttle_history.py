"""Whether a machine held its clocks down at some time since it was booted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edgeexit.device.hwmon import find_hwmon
from edgeexit.device.thermal import CPUS, throttled_words

if TYPE_CHECKING:
    from edgeexit.device.firmware import Firmware
    from edgeexit.device.sysfs import Tree

SINCE_BOOT_SHIFT = 16
"""Bits 16 to 19 of a Raspberry Pi's get_throttled say of the time since boot what 0 to 3 say of now."""
_PLATFORM = "/sys/devices/platform"
_PLACE = re.compile(r"soc.*")


def read_throttled_before(tree: Tree, firmware: Firmware | None = None) -> tuple[str, ...] | None:
    """Return why the clocks were held down since boot, in words; empty if never, None if nothing can tell.

    From a Raspberry Pi's firmware, the counts of hot cores and packages of x86, and a Jetson's over-current counts.

    Args:
        tree: The machine's files.
        firmware: A Raspberry Pi's firmware, asked if the kernel does not show its word.
    """
    answers = (
        _firmware_words(tree, firmware),
        _counted(tree, _heat_counts(tree), "thermal: processor"),
        _counted(tree, _current_counts(tree), "over-current"),
    )
    known = [answer for answer in answers if answer is not None]
    return tuple(word for answer in known for word in answer) if known else None


def _firmware_words(tree: Tree, firmware: Firmware | None) -> tuple[str, ...] | None:
    for soc in filter(_PLACE.fullmatch, tree.names(_PLATFORM)):
        for child in tree.names(f"{_PLATFORM}/{soc}"):
            text = tree.read_or_none(f"{_PLATFORM}/{soc}/{child}/get_throttled") or ""
            if child.endswith(":firmware") and re.fullmatch(r"(0x)?[0-9a-fA-F]{1,8}", text):
                return throttled_words(int(text, 16) >> SINCE_BOOT_SHIFT)
    bits = None if firmware is None else firmware.read_throttled()
    return None if bits is None else throttled_words(bits >> SINCE_BOOT_SHIFT)


def _heat_counts(tree: Tree) -> list[str]:
    folders = [f"{CPUS}/{cpu}/thermal_throttle" for cpu in tree.names(CPUS) if re.fullmatch(r"cpu[0-9]+", cpu)]
    return [f"{folder}/{name}" for folder in folders for name in tree.names(folder) if name.endswith("throttle_count")]


def _current_counts(tree: Tree) -> list[str]:
    folders = find_hwmon(tree, "soctherm_oc")
    return [f"{folder}/{name}" for folder in folders for name in tree.names(folder) if name.endswith("_event_cnt")]


def _counted(tree: Tree, paths: list[str], word: str) -> tuple[str, ...] | None:
    counts = [count for path in paths if (count := tree.read_int_or_none(path)) is not None]
    return ((word,) if any(counts) else ()) if counts else None
