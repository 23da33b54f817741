"""A board with clocks and a meter whose figures are easy to work out by hand, and an engine that takes its time.

Work of one multiply-accumulate takes 1 ms at 100 MHz, and less in proportion at higher clocks. The board draws 1 W
when idle, and 2, 3 and 7 W under load at 100, 200 and 400 MHz; setting a clock takes 2 ms and 5 mJ. The tiny bundle's
segments are 16, 16 and 28 multiply-accumulates, its heads 12, 12 and 0, so the whole network takes 60 ms at 100 MHz.
"""

import numpy as np

from edgeexit.clock import ManualClock
from edgeexit.device.profile import ClockSpec, DeviceProfile
from edgeexit.errors import ClockNotWritable
from edgeexit.protocols import Applied, Conditions, EnergySource, Look

MHZ = 1_000_000
LOAD_W = {100: 2.0, 200: 3.0, 400: 7.0}


class Meter:
    """A running sum that anything may be added to."""

    name = "VIN"
    source = EnergySource.INTEGRATED

    def __init__(self, min_window_s=0.001):
        self.min_window_s = min_window_s
        self.energy_j = 0.0
        self.broken = False

    def uncertainty_j(self, energy_j, duration_s):
        return 0.02 * energy_j

    def read_energy_j(self):
        return None if self.broken else self.energy_j


class Domain:
    """A clock domain; it can refuse, and clamp."""

    knobs = ()

    def __init__(self, board, name="gpu", points=(100, 200, 400)):
        self.name = name
        self.operating_points_hz = tuple(mhz * MHZ for mhz in points)
        self.hz = self.operating_points_hz[0]
        self.cap_hz = self.operating_points_hz[-1]
        self.writable = True
        self.sets = []
        self._board = board

    def read_kernel_governor(self):
        return "schedutil"

    def read_hz(self):
        return self.hz

    def set_hz(self, frequency_hz):
        if not self.writable:
            raise ClockNotWritable(f"{self.name}: permission denied")
        self.sets.append(frequency_hz // MHZ)
        if frequency_hz != self.hz:
            self._board.spend(0.002, 2.5)
        self.hz = min(frequency_hz, self.cap_hz)
        return Applied(frequency_hz, self.hz, "read back", 0.002)


class BoardClock(ManualClock):
    def __init__(self, board):
        super().__init__()
        self._board = board

    def sleep_s(self, duration_s):
        self._board.spend(max(duration_s, 0.0), 1.0)


class Board:
    """The board; `meter` may be taken away."""

    name = "bench-board"
    simulated = False
    journal = None
    profile = DeviceProfile(
        "bench-board", "A board on the bench", {}, clocks={"gpu": ClockSpec("devfreq"), "cpu": ClockSpec("cpufreq")}
    )

    def __init__(self, *, min_window_s=0.001):
        self.clock = BoardClock(self)
        self.meter = Meter(min_window_s)
        self.rails = {"VDD_GPU": self.meter}
        self.gpu = Domain(self)
        self.domains = {"gpu": self.gpu}
        self.throttled_at_mhz = ()
        self.cpu_load = 0.01

    def spend(self, seconds, watts):
        self.clock.advance_s(seconds)
        if self.meter is not None:
            self.meter.energy_j += seconds * watts

    def work(self, macs):
        mhz = self.gpu.hz // MHZ
        self.spend(macs * 0.001 * 100 / mhz, LOAD_W.get(mhz, 2.0))

    def without_meter(self):
        self.meter, self.rails = None, {}
        return self

    def conditions(self):
        hot = self.gpu.hz // MHZ in self.throttled_at_mhz
        return Conditions(temperature_c=40.0, throttled=("heat",) if hot else (), cpu_load=self.cpu_load)

    def modelled_costs(self, workload):
        return None

    def work_done(self, macs):
        raise AssertionError("a real board is not told of work")

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class Program:
    def __init__(self, bundle, board):
        self._work = bundle.workload
        self._board = board

    def run_segments(self, start, end):
        self._board.work(sum(self._work.segment_macs[start:end]))

    def look(self, exit_index):
        self._board.work(self._work.head_macs[exit_index])
        return Look(exit_index, 0, 1.0, 1.0, np.ones(1, np.float32), np.ones(1, np.float32))


def engine_for(board):
    """Return what stands for `Engine`: its pieces take their time on the board."""

    class Engine:
        providers = ("CPUExecutionProvider",)
        optimised = True

        def __init__(self, bundle, **options):
            self._bundle = bundle

        def program(self, inputs):
            return Program(self._bundle, board)

    return Engine
