"""Power of a Raspberry Pi 5, by the measurements of its power management chip (PMIC).

The firmware's command pmic_read_adc gives voltage and current of 12 rails. It costs about 23 ms of firmware time, so
it is asked 10 times a second at most: energy of windows, never of one inference. Earlier boards answer that they do
not know the command.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from edgeexit.device.sampler import SampledMeter

if TYPE_CHECKING:
    from edgeexit.protocols import Clock

COMMAND = "pmic_read_adc"
INTERVAL_S = 0.1
RAILS = (
    "3V7_WL_SW",
    "3V3_SYS",
    "1V8_SYS",
    "DDR_VDD2",
    "DDR_VDDQ",
    "1V1_SYS",
    "0V8_SW",
    "VDD_CORE",
    "3V3_DAC",
    "3V3_ADC",
    "0V8_AON",
    "HDMI",
)
INPUT_SLOPE = 1.1451
INPUT_OFFSET_W = 0.5879
"""Board input = slope * sum of the rails + offset: a linear fit against a USB-C power meter (jfikar/RPi5-power)."""
INPUT_RELATIVE_ERROR = 0.10
"""Of the fit. Its source gives no residuals, and it leaves out what hangs on the 5 V rail: 10 % is assumed."""
RAIL_RELATIVE_ERROR = 0.05
"""Of one rail. The chip's errors are not published: 5 % is assumed."""
_LINE = re.compile(r"(\S+)_([AV]) (?:current|volt)\([0-9]+\)=(-?[0-9]+(?:\.[0-9]+)?)[AV]")


def parse_rails(answer: str) -> dict[str, float]:
    """Return the power of each rail that has both a voltage and a current, in watts."""
    volts: dict[str, float] = {}
    amperes: dict[str, float] = {}
    for line in answer.splitlines():
        found = _LINE.fullmatch(line.strip())
        if found:
            (amperes if found[2] == "A" else volts)[found[1]] = float(found[3])
    return {name: volts[name] * current_a for name, current_a in amperes.items() if name in volts}


def estimate_input_w(rails_w: Mapping[str, float]) -> float | None:
    """Return the power at the board's input in watts, or None if one of the 12 rails is missing.

    `INPUT_SLOPE` times their sum, plus `INPUT_OFFSET_W`.
    """
    if any(name not in rails_w for name in RAILS):
        return None
    return INPUT_SLOPE * sum(rails_w[name] for name in RAILS) + INPUT_OFFSET_W


class PmicReader:
    """Asks the chip, at most every `INTERVAL_S` seconds however many ask.

    Args:
        ask: Gives the firmware's answer to a command, or None.
        clock: Tells how old the last answer is.
    """

    def __init__(self, ask: Callable[[str], str | None], clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._lock = threading.Lock()
        self._rails_w: dict[str, float] = {}
        self._asked_s: float | None = None

    def read_rails_w(self) -> Mapping[str, float]:
        """Return the power of each rail in watts; none if the chip does not answer."""
        with self._lock:
            now_s = self._clock.now_s()
            if self._asked_s is None or now_s - self._asked_s >= INTERVAL_S:
                self._asked_s = now_s
                self._rails_w = parse_rails(self._ask(COMMAND) or "")
            return self._rails_w

    def read_input_w(self) -> float | None:
        """Return the estimated power at the board's input in watts, or None."""
        return estimate_input_w(self.read_rails_w())

    def input_meter(self) -> SampledMeter:
        """Return a meter of the board's input."""
        return SampledMeter(
            "board input, estimated from 12 rails (PMIC)",
            self.read_input_w,
            interval_s=INTERVAL_S,
            relative_error=INPUT_RELATIVE_ERROR,
            clock=self._clock,
        )

    def rail_meter(self, rail: str) -> SampledMeter:
        """Return a meter of one rail."""
        return SampledMeter(
            f"{rail} (PMIC)",
            lambda: self.read_rails_w().get(rail),
            interval_s=INTERVAL_S,
            relative_error=RAIL_RELATIVE_ERROR,
            clock=self._clock,
        )
