"""What a kernel's clock files answer, case by case: the same questions go to a real kernel and to the fake.

A case is a name and steps; a step writes a text to a file, or asks for a file's text. What each step gives (an errno's
name or None) and what all files of the board read afterwards is the transcript.
"""

import errno
import os
from contextlib import suppress

CPUFREQ = "/sys/devices/system/cpu/cpufreq"
DEVFREQ = "/sys/class/devfreq"
NODE = "gpu@17000000"
CPUFREQ_FILES = (
    *("affected_cpus", "cpuinfo_cur_freq", "cpuinfo_max_freq", "cpuinfo_min_freq", "cpuinfo_transition_latency"),
    *("related_cpus", "scaling_available_frequencies", "scaling_available_governors", "scaling_cur_freq"),
    *("scaling_driver", "scaling_governor", "scaling_max_freq", "scaling_min_freq", "scaling_setspeed"),
)
DEVFREQ_FILES = (
    *("available_frequencies", "available_governors", "cur_freq", "governor", "max_freq", "min_freq", "name"),
    *("polling_interval", "target_freq", "userspace/set_freq"),
)
JUNK = ("banana", "-5", "+700000", " 1000000", "1000000 junk", "0x10", "0x16E360", "010", "1e6", "750000.5", "\n", "")
BY_LOAD = ("conservative", "ondemand", "schedutil", "simple_ondemand")
"""Kernel governors that follow the load: which clock they choose is no answer to what was written."""
PRESENT = ("cpuinfo_cur_freq", "scaling_cur_freq", "cur_freq", "target_freq")
LIMITS = ("min_freq", "max_freq")
HUGE = (
    *("99999999", "2147483647", "2147483648", "4294967294", "4294967295", "4294967296", "4295967296"),
    *("18446744073709551615", "18446744073709551616", "9" * 30),
)


def cpufreq_cases(policy="policy0"):
    """Return the cases of a cpufreq policy whose driver has the frequencies 600 to 1500 MHz."""
    governor, low, high, speed = (
        f"{CPUFREQ}/{policy}/scaling_{part}" for part in ("governor", "min_freq", "max_freq", "setspeed")
    )
    userspace = (governor, "userspace")
    cases = {
        "userspace: the clock stays": [(governor, "powersave"), userspace],
        "setspeed at an operating point": [userspace, (speed, "1500000"), (speed, "600000"), (speed, "1500000\n")],
        "setspeed between operating points": [userspace, (speed, "1234567"), (speed, "800000"), (speed, "600001")],
        "setspeed outside the range": [userspace, (speed, "99"), (speed, "99999999"), (speed, "0")],
        "setspeed within limits": [
            userspace,
            (low, "800000"),
            (high, "1300000"),
            (speed, "600000"),
            (speed, "1500000"),
        ],
        "setspeed without userspace": [(governor, "performance"), (speed, "600000"), (governor, "schedutil")],
        "limits round": [(high, "1400000"), (low, "700000"), (high, "1100000"), (low, "1000000")],
        "limits at a frequency": [(high, "1000000"), (low, "1000000"), (high, "1500000"), (low, "600000")],
        "limits outside the range": [(high, "99999999"), (low, "1"), (low, "999999999"), (low, "0"), (high, "1")],
        "no maximum": [(high, "0"), (high, "1500000")],
        "a huge minimum": [(low, "999999999"), (high, "700000"), (high, "1500000"), (low, "600000")],
        "a minimum above the maximum is remembered": [(high, "750000"), (low, "1500000"), (high, "1500000")],
        "a maximum below the minimum": [(low, "1500000"), (high, "700000"), (low, "600000"), (high, "1500000")],
        "a maximum below the range, then a minimum": [(high, "300000"), (low, "900000"), (high, "1000000")],
        "userspace remembers its speed behind a limit": [
            *(userspace, (speed, "1500000"), (high, "1000000"), (high, "1500000")),
            *((speed, "600000"), (low, "1000000"), (low, "600000"), (governor, "performance"), userspace),
        ],
        "equal writes": [(governor, "performance"), (governor, "performance"), (high, "1500000"), (high, "1500000")],
        "every kernel governor": [(governor, name) for name in ("powersave", "conservative", "ondemand", "schedutil")],
        "an unknown kernel governor": [(governor, "banana"), (governor, ""), (governor, "\n"), (governor, "user")],
        "a kernel governor's name with more": [
            *((governor, text) for text in ("powersave\n", "performance ", " powersave", "powersave junk")),
            *(
                (governor, text)
                for text in ("POWERSAVE", "userspacer", "performancepowersave", "powersave\nperformance")
            ),
        ],
        "what cannot be written": [(f"{CPUFREQ}/{policy}/{name}", "1000000") for name in CPUFREQ_FILES[:10]],
        "what is not there": [
            (f"{CPUFREQ}/{policy}/scaling_banana", "1"),
            (f"{CPUFREQ}/policy9/scaling_governor", "x"),
        ],
        "a folder": [(f"{CPUFREQ}/{policy}", "1")],
    }
    for text in (*JUNK, *HUGE):
        cases[f"setspeed {text!r}"] = [userspace, (speed, "1500000"), (speed, text)]
        cases[f"maximum {text!r}"] = [(high, text)]
        cases[f"minimum {text!r}"] = [(low, text)]
    return cases


def offline_cases():
    """Return the cases of a policy whose only CPU goes offline and comes back."""
    online = "/sys/devices/system/cpu/cpu1/online"
    governor, low, high, speed = (
        f"{CPUFREQ}/policy1/scaling_{part}" for part in ("governor", "min_freq", "max_freq", "setspeed")
    )
    return {
        "its CPU is offline": [
            *((governor, "userspace"), (speed, "1000000"), (online, "0"), (speed, "600000"), (governor, "performance")),
            *((low, "600000"), (high, "1500000"), (online, "1"), (speed, "600000")),
        ],
        "its CPU is offline, with limits": [
            *((low, "750000"), (high, "1000000"), (online, "0"), (online, "0"), (online, "1"), (online, "1")),
        ],
    }


def devfreq_cases(node):
    """Return the cases of a devfreq device with the frequencies 162.5625 to 1300.5 MHz."""
    governor, low, high, speed = (
        f"{DEVFREQ}/{node}/{part}" for part in ("governor", "min_freq", "max_freq", "userspace/set_freq")
    )
    userspace = (governor, "userspace")
    cases = {
        "set_freq after another governor": [(speed, "325125000"), (governor, "simple_ondemand"), userspace],
        "set_freq without userspace": [(governor, "simple_ondemand"), (speed, "325125000")],
        "set_freq between operating points": [userspace, (speed, "400000000"), (speed, "650250001"), (speed, "1")],
        "set_freq at each operating point": [
            userspace,
            *((speed, text) for text in ("162562500", "325125000", "650250000", "1300500000")),
        ],
        "set_freq outside the range": [userspace, (speed, "0"), (speed, "9999999999")],
        "set_freq within limits": [userspace, (high, "650250000"), (speed, "1300500000"), (high, "1300500000")],
        "limits at an operating point": [(high, "325125000"), (low, "325125000"), (high, "1300500000"), (low, "0")],
        "the lowest operating point is no whole number of kHz": [(low, "162562500"), (high, "162562500"), (high, "0")],
        "limits between operating points": [(high, "700000000"), (low, "500000000"), (high, "500000001"), (low, "1")],
        "limits that hold no operating point": [(low, "400000000"), (high, "500000000")],
        "limits outside the range": [(low, "1"), (high, "9999999999"), (low, "9999999999"), (high, "1"), (low, "0")],
        "no maximum": [(high, "325125000"), (high, "0")],
        "no minimum": [(low, "650250000"), (low, "0")],
        "a minimum above the maximum is remembered": [(high, "325125000"), (low, "900000000"), (high, "1300500000")],
        "a maximum below the minimum": [(low, "900000000"), (high, "700000000"), (low, "0"), (high, "0")],
        "every kernel governor": [(governor, "simple_ondemand"), userspace, userspace],
        "an unknown kernel governor": [(governor, "banana"), (governor, ""), (governor, "\n"), (governor, "user")],
        "a kernel governor that is not loaded": [(governor, "performance"), (governor, "powersave")],
        "a kernel governor's name with more": [
            *((governor, text) for text in ("simple_ondemand\n", "userspace ", " simple_ondemand", "userspace junk")),
            *((governor, text) for text in ("USERSPACE", "userspacer", "simple_ondemanduserspace")),
        ],
        "what cannot be written": [(f"{DEVFREQ}/{node}/{name}", "1") for name in ("cur_freq", "target_freq", "name")],
    }
    for text in (*JUNK, *HUGE, "1300500000 junk", "162562500\n"):
        cases[f"set_freq {text!r}"] = [userspace, (speed, "650250000"), (speed, text)]
        cases[f"maximum {text!r}"] = [(high, text)]
        cases[f"minimum {text!r}"] = [(low, text)]
    return cases


def transcribe(tree, cases, reset, folders, settle):
    """Return {case: [[step, errno or None, what all files read], ...]}.

    Args:
        tree: The machine's files, real or fake.
        cases: Name -> steps.
        reset: Steps that lead back to where every case starts; they are not part of the transcript.
        folders: Folder -> names of the files in it to read after each step.
        settle: Called between the write of a limit and the reading: the kernel puts it to work after the write has
            returned (cpufreq_notifier_max schedules it).
    """
    transcript = {}
    for name, steps in cases.items():
        for path, text in reset:
            write(tree, path, text)
        settle()
        transcript[name] = [["start", None, read_all(tree, folders)]]
        for path, text in steps:
            code = write(tree, path, text)
            if path.endswith(LIMITS):
                settle()
            transcript[name].append([f"{text!r} > {path}", code, read_all(tree, folders)])
    return transcript


def write(tree, path, text):
    """Write as `echo` does, and return the errno's name if it fails."""
    try:
        descriptor = tree.sys_open(path, os.O_WRONLY)
    except OSError as error:
        return f"open: {errno.errorcode[error.errno]}"
    try:
        tree.sys_write(descriptor, text.encode())
    except OSError as error:
        return errno.errorcode[error.errno]
    finally:
        with suppress(OSError):
            tree.sys_close(descriptor)
    return None


def read_all(tree, folders):
    """Return path -> text, or the errno's name; not the clock where the kernel governor follows the load."""
    texts = {}
    for folder, names in folders.items():
        governor = {read(tree, f"{folder}/{name}").strip() for name in ("scaling_governor", "governor")}
        left_out = PRESENT if governor & {*BY_LOAD} else ()
        texts.update({f"{folder}/{name}": read(tree, f"{folder}/{name}") for name in names if name not in left_out})
    return texts


def read(tree, path):
    """Return a file's bytes as text, white space included, or the errno's name."""
    try:
        descriptor = tree.sys_open(path, os.O_RDONLY)
    except OSError as error:
        return f"open: {errno.errorcode[error.errno]}"
    try:
        return tree.sys_read(descriptor).decode()
    except OSError as error:
        return errno.errorcode[error.errno]
    finally:
        tree.sys_close(descriptor)


def cpufreq_reset(policies=("policy0",)):
    """Return steps to a policy's start: all limits away, the highest clock."""
    files = (("scaling_max_freq", "1500000"), ("scaling_min_freq", "600000"), ("scaling_governor", "performance"))
    return [(f"{CPUFREQ}/{policy}/{name}", text) for policy in policies for name, text in files]


def devfreq_reset(node):
    """Return steps to a device's start: all limits away, the highest clock asked for."""
    files = (("governor", "userspace"), ("max_freq", "0"), ("min_freq", "0"), ("userspace/set_freq", "1300500000"))
    return [(f"{DEVFREQ}/{node}/{name}", text) for name, text in files]


def x86_questions():
    """Return part -> (cases, steps that lead back to their start, files to read) of the x86 board."""
    files = {f"{CPUFREQ}/policy0": CPUFREQ_FILES}
    both = {f"{CPUFREQ}/{policy}": CPUFREQ_FILES for policy in ("policy0", "policy1")}
    both["/sys/devices/system/cpu"] = ("online", "cpu1/online")
    reset = [("/sys/devices/system/cpu/cpu1/online", "1"), *cpufreq_reset(("policy0", "policy1"))]
    return {"cpufreq": (cpufreq_cases(), cpufreq_reset(), files), "offline": (offline_cases(), reset, both)}


def arm64_questions():
    """Return part -> (cases, steps that lead back to their start, files to read) of the arm64 board."""
    cpu, gpu = {f"{CPUFREQ}/policy0": CPUFREQ_FILES}, {f"{DEVFREQ}/{NODE}": DEVFREQ_FILES}
    first = {"set_freq as at boot": [(f"{DEVFREQ}/{NODE}/userspace/set_freq", "1300500000")]}
    return {
        "devfreq at boot": (first, (), gpu),
        "devfreq": (devfreq_cases(NODE), devfreq_reset(NODE), gpu),
        "cpufreq": (cpufreq_cases(), cpufreq_reset(), cpu),
    }


QUESTIONS = {"x86": x86_questions, "arm64": arm64_questions}


def transcripts(board, tree, settle):
    """Return part -> transcript of all that is asked of a board."""
    return {
        part: transcribe(tree, cases, reset, files, settle)
        for part, (cases, reset, files) in QUESTIONS[board]().items()
    }


def as_user_answers(tree, paths):
    """Return what an ordinary user is told: path -> [errno of a write, text or errno, may write, may read]."""
    return {
        path: [write(tree, path, "1"), read(tree, path), tree.can_write(path), tree.can_read(path)] for path in paths
    }
