"""What each virtual board is booted for."""

from board import guests
from board.answers import CPUFREQ, DEVFREQ, NODE

CPU_FILES = tuple(f"{CPUFREQ}/policy0/{name}" for name in ("scaling_governor", "scaling_max_freq", "scaling_setspeed"))
ARM64_FILES = (*CPU_FILES, f"{CPUFREQ}/policy0/cpuinfo_cur_freq", f"{DEVFREQ}/{NODE}/max_freq")
IMAGES = 20
KILLS = 20
PHASE_S = 15.0
GOVERNORS = ("powersave", "performance", "stepping")


def run_x86(folder):
    parts = {
        "machine": ("in_guest_machine", {}),
        "answers": ("in_guest_answers", {"board": "x86", "paths": CPU_FILES}),
        "user": ("in_guest_user", {}),
        "kill": ("in_guest_kill", {"rounds": KILLS, "seed": 1}),
        "clocks": ("in_guest_clocks", {}),
    }
    return guests.run(guests.x86_board(), parts, folder)


def run_arm64(folder):
    parts = {
        "machine": ("in_guest_machine", {}),
        "answers": ("in_guest_answers", {"board": "arm64", "paths": ARM64_FILES}),
        "inference": (
            "in_guest_inference",
            {"count": IMAGES, "governors": GOVERNORS},
        ),
        "user": ("in_guest_user", {}),
        "kill": ("in_guest_kill", {"rounds": KILLS, "seed": 2}),
        "clockd": ("in_guest_clockd", {"seed": 3}),
        "daemon": ("in_guest_daemon", {"count": IMAGES, "phase_s": PHASE_S}),
        "clocks": ("in_guest_clocks", {}),
    }
    (folder / "wheel").mkdir()
    (folder / "job").mkdir()
    return guests.run(guests.arm64_board(guests.project_wheel(folder / "wheel")), parts, folder / "job")


RUNS = {"x86_guest": run_x86, "arm64_guest": run_arm64}
