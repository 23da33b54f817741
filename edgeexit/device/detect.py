"""Which machine this is, and which profile describes it.

A board says what it is in the "compatible" texts of its device tree, the most exact first; a PC in its DMI tables. A
profile lists the texts it is for. Profiles lie in the folders of `edgeexit.device.profile.default_roots`:

* two files of one name: the earlier folder's is taken, so what ships cannot be replaced unnoticed; the other is told;
* two profiles for one board: the one for the more exact text wins, and of equals the later folder's, so a profile of
  one's own (in /etc/edgeexit/profiles or $EDGEEXIT_PROFILES) goes before the one that ships;
* a damaged file, what is no file and a folder that is not there are told and left out: they never keep edgeexit from
  starting.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgeexit.device.finding import Finding
from edgeexit.device.profile import (
    DeviceProfile,
    default_roots,
    environment_roots,
    is_file,
    load_profile,
    profile_files,
)
from edgeexit.errors import ProfileError

if TYPE_CHECKING:
    from edgeexit.device.sysfs import Tree

log = logging.getLogger(__name__)

GENERIC: Final = "generic-linux"
GENERIC_NVIDIA: Final = "generic-nvidia-gpu"
DMI: Final = "dmi:"
"""Stands before a PC's maker and product in a profile's `match`: "dmi:LENOVO 21AH00BSGE"."""
_DEVICE_TREES = ("/proc/device-tree", "/sys/firmware/devicetree/base")
_DMI = "/sys/class/dmi/id"
_L4T = re.compile(r"# R([0-9]+) \(release\), REVISION: ([0-9.]+)")
_CORES: Final = {
    ("0x41", "0xd03"): "Cortex-A53",
    ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd42"): "Cortex-A78AE",
    ("0x4e", "0x003"): "Denver 2",
    ("0x4e", "0x004"): "Carmel",
}
"""Implementer and part of a core (Linux arch/arm64/include/asm/cputype.h)."""


@dataclass(frozen=True, slots=True)
class BoardFacts:
    """What a machine says of itself; None where it does not say."""

    model: str | None
    """The device tree's model, for instance "Raspberry Pi 4 Model B Rev 1.4"."""
    compatible: tuple[str, ...]
    """The device tree's "compatible" texts, the most exact first; empty on a PC."""
    product: str | None
    """Maker and product by the DMI tables of a PC, for instance "LENOVO 21AH00BSGE"."""
    kernel: str | None
    """Its release, for instance "6.1.0-rpi7-rpi-v8"."""
    cpu: str | None
    cores: int | None
    """Logical processors that are there, online or not."""
    l4t: str | None
    """Release of NVIDIA's Linux for Tegra, for instance "36.4.3"."""

    @property
    def identities(self) -> tuple[str, ...]:
        """Return the texts by which a profile may name this machine, the most exact first."""
        return (*self.compatible, *(() if self.product is None else (f"{DMI}{self.product}",)))

    @property
    def title(self) -> str:
        """Return what to call the machine."""
        return self.model or self.product or self.cpu or "unknown machine"


@dataclass(frozen=True, slots=True)
class StoredProfile:
    """A profile and the file it is from."""

    profile: DeviceProfile
    path: Path
    root: int
    """Which of the folders searched, counted from 0."""


@dataclass(frozen=True, slots=True)
class Detection:
    """Which machine this is, and the profile for it."""

    facts: BoardFacts
    profile: DeviceProfile
    path: Path
    """The profile's file."""
    matched: str | None
    """The text by which the profile was found; None for a generic one."""
    problems: tuple[Finding, ...]
    """Profiles, and folders of profiles, that could not be used."""


def read_board_facts(tree: Tree) -> BoardFacts:
    """Read what a machine says of itself.

    Args:
        tree: The machine's files.
    """
    cpuinfo = tree.read_or_none("/proc/cpuinfo") or ""
    return BoardFacts(
        model=_device_tree(tree, "model"),
        compatible=tuple(text for text in (_device_tree(tree, "compatible") or "").split("\0") if text),
        product=_product(tree),
        kernel=tree.read_or_none("/proc/sys/kernel/osrelease") or None,
        cpu=_cpu_name(cpuinfo),
        cores=_core_count(tree, cpuinfo),
        l4t=_l4t_release(tree),
    )


def detect_profile(tree: Tree, roots: Sequence[Path] | None = None, *, nvidia_gpu: bool = False) -> DeviceProfile:
    """Return the profile for a machine: its own if there is one, else a generic one.

    Args:
        tree: The machine's files.
        roots: Folders to search; `default_roots` if None.
        nvidia_gpu: Whether NVML has a GPU that it can do something with (a Jetson's NVML has one that it cannot).
    """
    return detect(tree, roots, nvidia_gpu=nvidia_gpu).profile


def detect(tree: Tree, roots: Sequence[Path] | None = None, *, nvidia_gpu: bool = False) -> Detection:
    """Return which machine it is, the profile for it, and the profiles that could not be used.

    Args:
        tree: The machine's files.
        roots: Folders to search; `default_roots` if None.
        nvidia_gpu: Whether NVML has a GPU that it can do something with.
    """
    facts = read_board_facts(tree)
    stored, problems = find_profiles(roots)
    found = _best_match(facts.identities, stored)
    if found is not None:
        matched, choice = found
        return Detection(facts, choice.profile, choice.path, matched, problems)
    choice = _generic(GENERIC_NVIDIA if nvidia_gpu else GENERIC, stored)
    return Detection(facts, choice.profile, choice.path, None, problems)


def find_profiles(roots: Sequence[Path] | None = None) -> tuple[tuple[StoredProfile, ...], tuple[Finding, ...]]:
    """Return every profile that can be used, and a finding for all that cannot; those are logged too.

    Args:
        roots: Folders to search; `default_roots` if None, and then those of $EDGEEXIT_PROFILES have to be there.
    """
    stored: dict[str, StoredProfile] = {}
    found = [_judge_folder(root) for root in environment_roots()] if roots is None else []
    for number, root in enumerate(default_roots() if roots is None else roots):
        found += [_take(path, number, stored) for path in profile_files(root)]
    problems = tuple(problem for problem in found if problem is not None)
    for problem in problems:
        log.warning("%s: %s", problem.what, problem.why)
    return tuple(stored.values()), problems


def _judge_folder(root: Path) -> Finding | None:
    what = f"profiles in {root}"
    if not root.is_dir():
        return Finding(what, "EDGEEXIT_PROFILES names this folder, and it is not there", "make it, or correct the name")
    if not os.access(root, os.R_OK | os.X_OK):
        return Finding(what, "EDGEEXIT_PROFILES names this folder, and this user may not read it", f"chmod a+rx {root}")
    return None


def _take(path: Path, root: int, stored: dict[str, StoredProfile]) -> Finding | None:
    what = f"profile {path}"
    if path.stem in stored:
        why = f"has the name of {stored[path.stem].path}, which is taken"
        return Finding(what, why, f'give it another name: its file\'s and its "name", for instance my-{path.stem}')
    if not is_file(path):
        return Finding(what, "cannot be used: it is no file, or a link to nowhere", f"rename or delete {path}")
    try:
        stored[path.stem] = StoredProfile(load_profile(path), path, root)
    except ProfileError as error:
        return Finding(what, f"cannot be used: {error}", f"mend or delete {path}")
    return None


def _best_match(identities: Sequence[str], stored: Sequence[StoredProfile]) -> tuple[str, StoredProfile] | None:
    matches = [
        ((rank, choice.profile.match.index(text), -choice.root), text, choice)
        for rank, text in enumerate(identities)
        for choice in stored
        if text in choice.profile.match
    ]
    if not matches:
        return None
    _, matched, choice = min(matches, key=lambda match: match[0])
    return matched, choice


def _generic(name: str, stored: Sequence[StoredProfile]) -> StoredProfile:
    """Return a generic profile, the packaged one if the folders searched have none."""
    for choice in stored:
        if choice.path.stem == name:
            return choice
    path = default_roots()[0] / f"{name}.json"
    return StoredProfile(load_profile(path), path, 0)


def _device_tree(tree: Tree, name: str) -> str | None:
    return next((text for folder in _DEVICE_TREES if (text := tree.read_or_none(f"{folder}/{name}"))), None)


def _product(tree: Tree) -> str | None:
    words = [tree.read_or_none(f"{_DMI}/{name}") or "" for name in ("sys_vendor", "product_name")]
    return " ".join(word for word in words if word) or None


def _l4t_release(tree: Tree) -> str | None:
    found = _L4T.match(tree.read_or_none("/etc/nv_tegra_release") or "")
    return None if found is None else f"{found[1]}.{found[2]}"


def _cpu_name(cpuinfo: str) -> str | None:
    """Return the "model name" (x86), or the names of the kinds of cores (Arm), or None."""
    values: dict[str, list[str]] = {}
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        values.setdefault(key.strip(), []).append(value.strip())
    names = values.get("model name", [])
    if not names or values.get("CPU part"):
        codes = zip(values.get("CPU implementer", []), values.get("CPU part", []), strict=False)
        names = [_CORES[code] for code in codes if code in _CORES] or names
    return " and ".join(dict.fromkeys(name for name in names if name)) or None


def _core_count(tree: Tree, cpuinfo: str) -> int | None:
    """Return how many processors the kernel lists as present, for instance 6 for "0-5"."""
    count = 0
    for part in (tree.read_or_none("/sys/devices/system/cpu/present") or "").split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            count += (int(last) if last.isdigit() else int(first)) - int(first) + 1
    return count or len(re.findall(r"^processor\s*:", cpuinfo, re.MULTILINE)) or None
