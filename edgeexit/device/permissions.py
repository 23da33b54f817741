"""How an ordinary user gets the right to set clocks and read energy counters: a group, tmpfiles.d lines, a udev rule.

Nothing here changes a machine: `edgeexit doctor --fix` prints these texts. Who may write a sysfs file is decided by
its mode alone (the kernel asks for no capability), and the mode lasts until the file goes away. Two ways together:

* tmpfiles.d, at boot: the simple and sure one, for all files that are there by then. It also makes /run/edgeexit, where
  the journal of the clocks lies.
* udev, for what appears later: a core that comes online, a GPU's devfreq node, an energy counter. The
  kernel announces cores, devfreq devices and powercap zones, but never a cpufreq policy: it is no device, so its event
  is dropped (drivers/base/core.c, dev_uevent_filter). So the rule goes by the core, to which the policy is linked. A
  cpufreq driver that is loaded by hand brings files without these rights and no event but that of the module (seen on
  Linux 6.1): then run `sudo systemd-tmpfiles --create edgeexit.conf`.
"""

from __future__ import annotations

from typing import Final

from edgeexit.device.cpufreq import FOLDER
from edgeexit.device.devfreq import CLASS, GPU_NODES
from edgeexit.device.finding import own_command
from edgeexit.device.journal import LOCK_NAME, RUN_FOLDER

GROUP: Final = "edgeexit"
TMPFILES_PATH: Final = "/etc/tmpfiles.d/edgeexit.conf"
UDEV_PATH: Final = "/etc/udev/rules.d/99-edgeexit.rules"
_POLICIES: Final = f"{FOLDER}/policy*"
_CPUFREQ: Final = ("scaling_governor", "scaling_setspeed", "scaling_min_freq", "scaling_max_freq")
_DEVFREQ: Final = ("min_freq", "max_freq")
_ZONES: Final = "intel-rapl*:*"


def tmpfiles_text() -> str:
    """Return the file for /etc/tmpfiles.d: who may write what, at boot."""
    clocks = [f"{_POLICIES}/{name}" for name in _CPUFREQ]
    clocks += [f"{CLASS}/{node}/{name}" for node in GPU_NODES for name in _DEVFREQ]
    lines = [
        f"# The group {GROUP} may set the clocks of processor and GPU, and read the processor's energy counters.",
        f"# Install as {TMPFILES_PATH}; it is in force from the next boot on, or at once by",
        "# systemd-tmpfiles --create edgeexit.conf. What is not there is passed over.",
        f"d {RUN_FOLDER} 2775 root {GROUP} -",
        f"f {RUN_FOLDER}/{LOCK_NAME} 0664 root {GROUP} -",
        *(f"z {path} 0664 root {GROUP} -" for path in clocks),
        f"z /sys/class/powercap/{_ZONES}/energy_uj 0440 root {GROUP} -",
    ]
    return "\n".join(lines) + "\n"


def udev_text() -> str:
    """Return the file for /etc/udev/rules.d: the same for what appears after boot."""
    clocks, limits = " ".join(_CPUFREQ), " ".join(f"/sys%p/{name}" for name in _DEVFREQ)
    lines = [
        f"# The group {GROUP} may set the clocks of processor and GPU, and read the processor's energy counters.",
        f"# Install as {UDEV_PATH}, beside {TMPFILES_PATH}: this one is for what appears after",
        "# boot. A cpufreq policy announces nothing itself, hence the rule goes by the core that is linked to it.",
        'ACTION=="add|change|online", SUBSYSTEM=="cpu", RUN+="/bin/sh -c \'cd /sys%p/cpufreq 2>/dev/null || exit 0; '
        f"chgrp {GROUP} {clocks}; chmod 0664 {clocks}'\"",
        f'ACTION=="add|change", SUBSYSTEM=="devfreq", KERNEL=="{"|".join(GPU_NODES)}", '
        f"RUN+=\"/bin/sh -c 'chgrp {GROUP} {limits}; chmod 0664 {limits}'\"",
        f'ACTION=="add|change", SUBSYSTEM=="powercap", KERNEL=="{_ZONES}", '
        f"RUN+=\"/bin/sh -c 'chgrp {GROUP} /sys%p/energy_uj; chmod 0440 /sys%p/energy_uj'\"",
    ]
    return "\n".join(lines) + "\n"


def fix_script() -> str:
    """Return a shell script that gives a user these rights, to be read and then run by root."""
    return f"""\
#!/bin/sh
# Lets a user set clocks and read energy counters without being root. Nothing has been changed yet: read this, then run
#     edgeexit doctor --fix | sudo sh
# To undo it, delete the two files and the group, and reboot.
set -e
user="${{SUDO_USER:-$(id -un)}}"
groupadd --system --force {GROUP}
usermod --append --groups {GROUP} "$user"
if [ -e /dev/vcio ] && getent group video >/dev/null; then usermod --append --groups video "$user"; fi

mkdir -p {TMPFILES_PATH.rpartition("/")[0]} {UDEV_PATH.rpartition("/")[0]}
cat >{TMPFILES_PATH} <<'END'
{tmpfiles_text()}END
cat >{UDEV_PATH} <<'END'
{udev_text()}END

systemd-tmpfiles --create {TMPFILES_PATH}
if command -v udevadm >/dev/null; then
    udevadm control --reload
    udevadm trigger --action=change --subsystem-match=cpu --subsystem-match=devfreq --subsystem-match=powercap
fi
echo "done: $user is in the group {GROUP} from the next login on; 'edgeexit doctor' shows what works then"

# A systemd service that sets clocks as that user needs these lines in its [Service] section (the files of processors
# and GPUs truly lie below /sys/devices); the last one gives the clocks back also after the service was killed:
#     SupplementaryGroups={GROUP}
#     ReadWritePaths=/sys/devices {RUN_FOLDER}
#     ExecStopPost={own_command("restore")}
"""
