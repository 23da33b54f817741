"""`edgeexit doctor`: what this machine has, what will work, and what mends the rest."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Final

import click

from edgeexit.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from edgeexit.device.clock_reports import ClockReport
    from edgeexit.device.doctor import Examination, MeterReport

_WIDTH: Final = 96
_COLUMN: Final = 12
_MARKS: Final = {True: "yes", False: "no ", None: "?  "}
_MAX_LISTED: Final = 8
_NO_BREAK: Final = "\N{NO-BREAK SPACE}"


@click.command("doctor", short_help="Examine this machine: clocks, sensors, permissions.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--record",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write a recording of this machine's clock and sensor files, to make a test board of; it holds no serial "
    "numbers and no addresses.",
)
@click.option(
    "--fix",
    is_flag=True,
    help="Only print the shell script that lets this user set clocks without being root; nothing is changed.",
)
def command(as_json: bool, record: Path | None, fix: bool) -> int:
    """Examine this machine: what it is, which clocks and sensors it has, what will work, and what mends the rest.

    Nothing is changed. The exit code is 0 whenever the machine could be examined, however little it has.
    """
    if fix:
        if as_json or record is not None:
            raise click.UsageError("--fix stands alone: it prints a script and examines nothing")
        from edgeexit.device.permissions import fix_script  # noqa: PLC0415

        click.echo(fix_script(), nl=False)
        return 0
    examination = _examine()
    click.echo(json.dumps(examination.as_dict(), indent=1) if as_json else as_text(examination))
    if record is not None:
        _record(record, examination.board.title)
    return 0


def _examine() -> Examination:
    from edgeexit.device.doctor import examine  # noqa: PLC0415
    from edgeexit.device.nvml import find_gpus  # noqa: PLC0415
    from edgeexit.device.sysfs import Tree  # noqa: PLC0415

    with find_gpus() as found:
        return examine(Tree(), gpus=found.gpus, nvml_reason=found.reason)


def _record(path: Path, title: str) -> None:
    from edgeexit.device.recording import record_board  # noqa: PLC0415
    from edgeexit.device.sysfs import Tree  # noqa: PLC0415

    note = f"{title}, recorded by edgeexit doctor on {datetime.now(timezone.utc):%Y-%m-%d}"
    try:
        path.write_text(record_board(Tree(), note), encoding="utf-8")
    except OSError as error:
        raise OptionError(f"--record {path} cannot be written: {error.strerror or error}") from error
    click.echo(f"Recording: {path} (read it before you send it to anybody)", err=True)


def as_text(examination: Examination) -> str:
    """Return an examination for people to read, in lines of at most 96 columns."""
    sections = (
        _board_lines(examination),
        (*_clock_lines(examination.clocks), *_card_lines(examination)),
        _sensor_lines(examination),
        _state_lines(examination),
        _verdict_lines(examination),
        _problem_lines(examination),
        _note_lines(examination.notes),
    )
    return "\n\n".join("\n".join(lines) for section in sections if (lines := list(section)))


def _board_lines(examination: Examination) -> Iterator[str]:
    board, profile, software = examination.board, examination.profile, examination.software
    yield from _entry("Machine", board.title)
    cores = None if board.cores is None else f"{board.cores} core{'' if board.cores == 1 else 's'}"
    cpu = None if board.cpu == board.title else board.cpu
    kernel = None if board.kernel is None else f"Linux {board.kernel}"
    l4t = None if board.l4t is None else f"Jetson Linux (L4T) {board.l4t}"
    yield from _entry("", ", ".join(part for part in (cpu, cores, kernel, l4t) if part))
    how = f"by {examination.matched}" if examination.matched else "no profile is for this very machine"
    yield from _entry("Profile", f"{profile.name} ({how})")
    yield from _entry("", examination.profile_path)
    versions = [_tied(f"{name} {number or '(not installed)'}") for name, number in software.items()]
    yield from _entry("Software", ", ".join(versions))
    if examination.memory_bytes is not None and examination.memory_available_bytes is not None:
        available, total = examination.memory_available_bytes / 1e6, examination.memory_bytes / 1e6
        yield from _entry("Memory", f"{available:,.0f} of {total:,.0f} MB are available")


def _clock_lines(clocks: Sequence[ClockReport]) -> Iterator[str]:
    if not clocks:
        yield from _entry("Clocks", "none that could be set")
    for clock in clocks:
        yield from _entry(f"Clock {clock.name}", _points_text(clock))
        now = "not known" if clock.present_hz is None else _mhz(clock.present_hz)
        governor = "" if clock.kernel_governor is None else f", kernel governor {clock.kernel_governor}"
        yield from _entry("", f"now {now}{governor}; driver {clock.driver}, {_parts_text(clock)}")
        yield from _entry("", clock.how_in_words + {False: "; this user may not", True: "", None: ""}[clock.writable])


def _card_lines(examination: Examination) -> Iterator[str]:
    if examination.cards:
        yield from _entry("NVML", ", ".join(examination.cards))
    if examination.nvml_reason is not None:
        yield from _entry("NVML" if not examination.cards else "", examination.nvml_reason)


def _points_text(clock: ClockReport) -> str:
    points = clock.operating_points_hz
    if not points:
        return "no operating point between its limits"
    text = f"{len(points)} operating point{'' if len(points) == 1 else 's'}"
    if len(points) <= _MAX_LISTED:
        text += f": {', '.join(f'{hz / 1e6:g}' for hz in points)} MHz"
    else:
        text += f" from {points[0] / 1e6:g} to {_mhz(points[-1])}"
    return text + ("" if clock.from_table else " (a grid: the driver lists none)") + _range_text(clock)


def _range_text(clock: ClockReport) -> str:
    if clock.hardware_range_hz is None or clock.limits_hz is None:
        return ""
    (low, high), (lowest, highest) = clock.limits_hz, clock.hardware_range_hz
    if (low, high) == (lowest, highest):
        return ""
    return f"; limits {low / 1e6:g} to {_mhz(high)}, the chip can {lowest / 1e6:g} to {_mhz(highest)}"


def _parts_text(clock: ClockReport) -> str:
    if clock.kind != "cpufreq":
        return ", ".join(clock.parts) or "no id"
    numbers = _numbers([int(part.removeprefix("policy")) for part in clock.parts])
    policies = f"policy{numbers}" if len(clock.parts) == 1 else f"policies {numbers}"
    cores = _tied(f"core{'' if len(clock.cpus) == 1 else 's'} {_numbers(clock.cpus)}")
    return f"{policies}, {cores}"


def _sensor_lines(examination: Examination) -> Iterator[str]:
    total, extent = examination.total, examination.total_extent
    yield from _entry("Energy", "no meter of the whole" if total is None else f"of {extent}: {_meter_text(total)}")
    for rail in examination.rails.values():
        if total is None or rail.name != total.name:
            yield from _entry("", _meter_text(rail))
    if examination.temperature_c is not None:
        each = ", ".join(_tied(f"{name} {celsius:.0f}") for name, celsius in examination.temperatures)
        yield from _entry("Temperature", f"{examination.temperature_c:.1f} C at the hottest part ({each})")
    else:
        yield from _entry("Temperature", "no sensor")
    yield from _entry("Throttled", _throttled_text(examination.throttled, examination.throttled_before))


def _meter_text(meter: MeterReport) -> str:
    power = "" if meter.power_w is None else ", " + _tied(f"now {meter.power_w:.2f} W")
    window = _tied(f"windows from {meter.min_window_s:g} s")
    return f"{meter.name}, {meter.source}, {window}{power}"


def _throttled_text(now: tuple[str, ...] | None, before: tuple[str, ...] | None) -> str:
    if now is None and before is None:
        return "nothing on this machine tells"
    now_text = "not known" if now is None else ", ".join(now) or "no"
    before_text = "not known" if before is None else ", ".join(before) or "never"
    return f"now: {now_text}; since boot: {before_text}"


def _state_lines(examination: Examination) -> Iterator[str]:
    rivals = [rival.name if rival.pid is None else f"{rival.name} ({rival.pid})" for rival in examination.rivals]
    yield from _entry("Rivals", ", ".join(rivals) or "no other program that is known to set clocks is running")
    journal = examination.journal
    text = {
        "none": "clean: no clocks were left changed",
        "held": f"process {journal.pid} holds the clocks",
        "abandoned": f"process {journal.pid} died and left clocks changed",
        "unreadable": "cannot be read",
    }
    yield from _entry("Journal", text[journal.state])
    if examination.power_mode is not None:
        yield from _entry("Power mode", f"{examination.power_mode}, kept by nvpmodel")


def _verdict_lines(examination: Examination) -> Iterator[str]:
    yield "What will work"
    for verdict in examination.verdicts:
        why = f": {verdict.why}" if verdict.why else ""
        yield from _wrapped(f"{verdict.what}{why}", f"  {_MARKS[verdict.works]} ", 6)


def _problem_lines(examination: Examination) -> Iterator[str]:
    if not examination.problems:
        yield "Problems: none found"
        return
    yield "Problems, and what mends them"
    for number, problem in enumerate(examination.problems, 1):
        yield from _wrapped(f"{problem.what}: {problem.why}", f"  {number}. ", 5)
        if problem.mend is not None:  # a command is never broken: it is there to be copied
            yield f"     > {problem.mend}"


def _note_lines(notes: Iterable[str]) -> Iterator[str]:
    lines = [line for note in notes for line in _wrapped(note, "  - ", 4)]
    if lines:
        yield "Good to know"
        yield from lines


def _entry(title: str, text: str) -> Iterator[str]:
    if text:
        yield from _wrapped(text, f"{title:<{_COLUMN}}", _COLUMN)


def _wrapped(text: str, first: str, indent: int) -> list[str]:
    lines = wrap(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_NO_BREAK, " ") for line in lines]


def _tied(text: str) -> str:
    """Return a text that is not broken into lines."""
    return text.replace(" ", _NO_BREAK)


def _mhz(hz: int) -> str:
    return _tied(f"{hz / 1e6:g} MHz")


def _numbers(cpus: Sequence[int]) -> str:
    """Return ascending numbers as the kernel lists them: "0-3,6"."""
    runs: list[list[int]] = []
    for cpu in cpus:
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)
