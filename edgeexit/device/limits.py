"""Pinning a clock by its limits, minimum = maximum: it works with every kernel governor and every driver."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from edgeexit.errors import DeviceError
from edgeexit.protocols import Clock, Knob

SETTLE_S = 0.05
"""Seen: up to 32 ms on an emulated machine whose processors were busy, next to none on an idle one."""
SETTLE_STEP_S = 0.0002


def read_number(knob: Knob) -> int:
    """Return a knob's whole number, in the kernel's unit.

    Raises:
        DeviceError: If it holds none.
    """
    text = knob.read()
    try:
        return int(text or "")
    except ValueError as error:
        raise DeviceError(f"{knob.key} holds {text!r}, not a number") from error


def pin(minimum: Knob, maximum: Knob, value: int, clock: Clock, *, top: int | None = None) -> None:
    """Write both limits, in the order that never crosses them, and wait until they read so.

    Up: maximum first. Down: minimum first. Kernels before 5.3 answer EINVAL to a crossing, later ones clamp the minimum
    and remember it. Both are always written: where the kernel caps a clock (heat), a limit reads as the cap and not as
    what was asked for.

    Since 5.3 cpufreq applies a limit a moment after the write has returned (cpufreq_notifier_max schedules it). If it
    does not read so after `SETTLE_S`, something else holds it.

    Args:
        minimum: The lower limit.
        maximum: The upper limit.
        value: For both, in the kernel's unit.
        clock: To wait by.
        top: For the maximum, where it is another: what keeps coarser steps than there are frequencies.

    Raises:
        DeviceError: If a limit cannot be read or written.
    """
    low, high = str(value), str(value if top is None else top)
    wanted = ((maximum, high), (minimum, low))
    for knob, text in wanted if value > read_number(maximum) else reversed(wanted):
        knob.write(text)
    end_s = clock.now_s() + SETTLE_S
    while not (minimum.read() == low and maximum.read() == high) and clock.now_s() < end_s:
        clock.sleep_s(SETTLE_STEP_S)


def read_settled(knob: Knob, written: str, clock: Clock) -> str | None:
    """Return what a limit reads after a write, whose effect is waited for.

    Raises:
        DeviceError: If it cannot be read.
    """
    end_s = clock.now_s() + SETTLE_S
    while (found := knob.read()) != written and clock.now_s() < end_s:
        clock.sleep_s(SETTLE_STEP_S)
    return found


@contextmanager
def held_down(maximum: Knob, ours: Sequence[str], clock: Clock) -> Iterator[bool | None]:
    """Find out who holds a maximum below ours: the machine itself (heat, power supply), or somebody else.

    Within the with statement it is True for the machine, whose cap does not follow what is written; False for somebody
    else, whose value did follow and reads as ours now, until they get it back at the end; None if nobody does.

    Args:
        maximum: The upper limit.
        ours: What it may hold because of us.
        clock: To wait by.

    Raises:
        DeviceError: If it cannot be read or written.
        ValueError: If it holds no number.
    """
    found = maximum.read() or ""
    higher = [value for value in ours if int(value) > int(found)]
    if found in ours or not higher:
        yield None
        return
    written = min(higher, key=int)
    maximum.write(written)
    if read_settled(maximum, written, clock) != written:
        yield True
        return
    try:
        yield False
    finally:
        maximum.write(found)
        read_settled(maximum, found, clock)
