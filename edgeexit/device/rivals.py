"""Programs that set clocks too: who is running, and how to make them leave the clocks to edgeexit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edgeexit.device.sysfs import Tree


@dataclass(frozen=True, slots=True)
class Rival:
    """A running program that may change a clock under us."""

    name: str
    pid: int | None
    """None for one that is not a process: what it set is still in force."""
    why: str
    """What it does to the clocks."""
    mend: str
    """The command that stops it for now."""


_DAEMONS: Final[Mapping[str, str]] = {
    "auto-cpufreq": "sets kernel governor and turbo by load and power supply, every few seconds",
    "cpufreqd": "sets kernel governor and limits by rules",
    "cpupower-gui-helper": "sets kernel governor and limits when asked",
    "gamemoded": "sets the kernel governor while a game runs",
    "power-profiles-daemon": "sets the energy preference and the platform profile",
    "slimbookbattery": "sets kernel governor and limits by power supply",
    "system76-power": "sets kernel governor and limits by profile",
    "thermald": "lowers limits when the machine gets hot",
    "tlp": "sets kernel governor and limits by power supply",
    "tlp-pd": "sets kernel governor and limits by power supply",
    "tuned": "sets kernel governor and limits by profile, and again when it is reloaded",
}
_UNITS: Final[Mapping[str, str]] = {"gamemoded": "--user stop gamemoded", "tlp-pd": "stop tlp-pd"}
_COMM_LENGTH = 15
"""The kernel keeps this much of a process's name (TASK_COMM_LEN less the final NUL)."""
_INTERPRETERS = ("python", "bash", "sh", "perl")


def find_rivals(tree: Tree) -> tuple[Rival, ...]:
    """Return what else sets clocks on this machine just now, by name.

    TLP and NVIDIA's jetson_clocks are no daemons: they are told by what they leave behind.
    """
    found = {name: pid for pid, name in _running(tree) if name in _DAEMONS}
    rivals = [
        Rival(name, pid, _DAEMONS[name], f"sudo systemctl {_UNITS.get(name, f'stop {name}')}")
        for name, pid in sorted(found.items())
    ]
    if "tlp" not in found and tree.exists("/run/tlp/last_pwr"):
        rivals.append(Rival("tlp", None, _DAEMONS["tlp"], "sudo systemctl mask --now tlp"))
    if tree.exists("/root/l4t_dfs.conf"):
        why = "has pinned the clocks (it stored the old ones in /root/l4t_dfs.conf)"
        rivals.append(Rival("jetson_clocks", None, why, "sudo jetson_clocks --restore"))
    return tuple(rivals)


def _running(tree: Tree) -> list[tuple[int, str]]:
    """Return process id and full name of every process whose name is known here."""
    short = {name[:_COMM_LENGTH]: name for name in _DAEMONS}
    found = []
    for entry in tree.names("/proc"):
        if not entry.isdigit():
            continue
        comm = tree.read_or_none(f"/proc/{entry}/comm") or ""
        if comm in short:
            found.append((int(entry), short[comm]))
        elif comm.startswith(_INTERPRETERS):
            name = _script_name(tree, entry)
            found += [(int(entry), name)] if name in _DAEMONS else []
    return found


def _script_name(tree: Tree, pid: str) -> str:
    """Return the base name of what an interpreter runs: tuned and auto-cpufreq are Python scripts."""
    arguments = (tree.read_or_none(f"/proc/{pid}/cmdline") or "").split("\0")[1:]
    script = next((argument for argument in arguments if argument and not argument.startswith("-")), "")
    return script.rsplit("/", 1)[-1]
