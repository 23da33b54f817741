"""All of a machine's files that set clocks, and the kernel's own account of the clocks there were."""

import re
import time

from board.answers import CPUFREQ, DEVFREQ, read, write

SETTLED_S = 0.005
CPUFREQ_SETS = ("scaling_governor", "scaling_min_freq", "scaling_max_freq", "scaling_setspeed")
DEVFREQ_SETS = ("governor", "min_freq", "max_freq", "userspace/set_freq")
CPU_STATES = (
    {},
    {"scaling_governor": "performance"},
    {"scaling_governor": "powersave", "scaling_max_freq": "1200000"},
    {"scaling_governor": "ondemand", "scaling_min_freq": "900000", "../ondemand/up_threshold": "50"},
    {"scaling_governor": "userspace", "scaling_setspeed": "600000"},
    {"scaling_governor": "userspace", "scaling_min_freq": "700000", "scaling_setspeed": "1500000"},
)
"""What a user may have set a policy to before us; {} is as at boot."""
GPU_STATES = (
    {},
    {"max_freq": "650250000"},
    {"min_freq": "325125000"},
    {"userspace/set_freq": "650250000"},
    {"max_freq": "162562500"},
    {"max_freq": "1300500000", "min_freq": "162562500"},
)
AT_BOOT = {
    "scaling_max_freq": "1500000",
    "scaling_min_freq": "600000",
    "scaling_governor": "schedutil",
    "../schedutil/rate_limit_us": "4321",
}
"""The last is no kernel's default: it is lost when another kernel governor takes the place of schedutil."""
GPU_AT_BOOT = {"governor": "userspace", "max_freq": "0", "min_freq": "0", "userspace/set_freq": "1300500000"}


def policies(tree):
    """Return the folders of the cpufreq policies."""
    return [f"{CPUFREQ}/{name}" for name in tree.names(CPUFREQ) if re.fullmatch(r"policy\d+", name)]


def nodes(tree):
    """Return the folders of the devfreq devices."""
    return [f"{DEVFREQ}/{name}" for name in tree.names(DEVFREQ)]


def read_files(tree):
    """Return what every file holds that sets a clock."""
    files = [f"{folder}/{name}" for folder in policies(tree) for name in CPUFREQ_SETS]
    files += [f"{folder}/{name}" for folder in nodes(tree) for name in DEVFREQ_SETS]
    governors = [f"{CPUFREQ}/{name}" for name in tree.names(CPUFREQ) if not name.startswith("policy")]
    files += [f"{folder}/{name}" for folder in governors for name in tree.names(folder)]
    return {path: read(tree, path).strip() for path in files}


def set_state(tree, cpu, gpu):
    """Lead every policy and device to a state, by way of the one at boot."""
    for folder, states in ((policies(tree), (AT_BOOT, cpu)), (nodes(tree), (GPU_AT_BOOT, gpu))):
        for each in folder:
            for state in states:
                for name, text in state.items():
                    code = write(tree, f"{each}/{name}", text)
                    assert code is None, f"{text} > {each}/{name}: {code}"
                settle()


def differences(before, after):
    """Return path -> [before, after] of the files that differ."""
    paths = before.keys() | after.keys()
    return {path: [before.get(path), after.get(path)] for path in paths if before.get(path) != after.get(path)}


def settle():
    """Wait until the kernel has put new limits to work, which it does after the write has returned."""
    time.sleep(SETTLED_S)


def read_account(tree, domain):
    """Return {Hz: seconds at it} and the number of changes, by the kernel's account of a clock domain's first clock."""
    if hasattr(domain, "node"):
        return _trans_stat(tree.read(f"{DEVFREQ}/{domain.node}/trans_stat"))
    folder = f"{CPUFREQ}/{domain.policies[0]}/stats"
    times = (line.split() for line in tree.read(f"{folder}/time_in_state").splitlines())
    return {int(khz) * 1000: int(ticks) / 100 for khz, ticks in times}, int(tree.read(f"{folder}/total_trans"))


def _trans_stat(text):
    """Read a devfreq device's table: a line a frequency, its last number the milliseconds at it."""
    rows = re.findall(r"^\*?\s*(\d+):(.*)$", text, re.MULTILINE)
    times = {int(hz): int(row.split()[-1]) / 1000 for hz, row in rows}
    return times, int(re.search(r"Total transition : (\d+)", text)[1])
