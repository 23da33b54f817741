"""`edgeexit run`: answers for the samples of files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from edgeexit.cli.failures import exit_code, show_error, show_line
from edgeexit.cli.holding import Held, held_text
from edgeexit.cli.numbers import FiniteRange
from edgeexit.cli.setting_options import allowed_drop as allowed_drop_option
from edgeexit.cli.setting_options import warn_of_missed_drop
from edgeexit.cli.shadowing import shadow_document, shadow_options, shadow_text
from edgeexit.errors import DataError, InputError, OptionError

MEASURED = "-measured"
"""What `edgeexit measure` adds to the name of a board's profile: it is the same board."""

if TYPE_CHECKING:
    from edgeexit.bundle import Bundle
    from edgeexit.protocols import CostTable, Device, Governor, PowerMeter
    from edgeexit.runtime import Result, Session
    from edgeexit.runtime.meter import EnergyReading
    from edgeexit.runtime.samples import Sample


def _take_options(ctx: click.Context, parameter: click.Parameter, pairs: Sequence[str]) -> dict[str, int | float | str]:
    options: dict[str, int | float | str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key.isidentifier() and equals):
            raise click.BadParameter(f"must be KEY=VALUE, not {pair!r}", ctx, parameter)
        if key in options:
            raise click.BadParameter(f"{key} is given twice", ctx, parameter)
        options[key] = _number_or_text(value)
    return options


def _number_or_text(value: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


@click.command("run", short_help="Answer for samples from .npy, .npz and image files.")
@click.argument("bundle")
@click.argument("files", metavar="INPUT...", nargs=-1, required=True)
@click.option("--exit-rule", metavar="NAME", help="Exit setting of the bundle [default: the one it recommends].")
@allowed_drop_option
@click.option("--governor", metavar="NAME", default="plan", show_default=True, help="Chooses the clocks.")
@click.option(
    "--governor-option",
    "governor_options",
    multiple=True,
    callback=_take_options,
    metavar="KEY=VALUE",
    help="For the governor, for instance frequency_hz=726750000 for fixed; can be given again.",
)
@click.option(
    "--device",
    metavar="NAME",
    help='"host"; the name or file of a device profile to take this machine for, as "jetson-tx2"; or '
    '"simulated:jetson-tx2" [default: $EDGEEXIT_DEVICE or host].',
)
@click.option(
    "--work-scale",
    type=FiniteRange(min=0.0, min_open=True),
    default=1.0,
    show_default=True,
    metavar="FACTOR",
    help="How much each multiply-accumulate counts on a simulated board: makes a small network as slow as a large one.",
)
@click.option(
    "--costs",
    "cost_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Cost table from `edgeexit measure` [default: none; a simulated board's own].",
)
@click.option(
    "--deadline-ms",
    type=FiniteRange(min=0.0, min_open=True),
    metavar="MS",
    help="When an answer is due; the best exit so far answers if it comes.",
)
@click.option(
    "--frame-rate",
    "frame_rate_hz",
    type=FiniteRange(min=0.0, min_open=True),
    metavar="HZ",
    help="Samples a second: the next is begun a period after the one before, and an answer is due within it.",
)
@click.option(
    "--energy-budget-mj",
    type=FiniteRange(min=0.0, min_open=True),
    metavar="MJ",
    help="What an inference may draw; the governor plan answers from an earlier exit rather than exceed it.",
)
@click.option(
    "--average-budget-mj",
    type=FiniteRange(min=0.0, min_open=True),
    metavar="MJ",
    help="What an inference may draw on average: the exit setting moves along what is calibrated to hold it.",
)
@click.option(
    "--battery-hours",
    type=FiniteRange(min=0.0, min_open=True),
    metavar="H",
    help="How long the battery shall last: sets the average budget by what is left in it.",
)
@click.option(
    "--battery-wh",
    type=FiniteRange(min=0.0, min_open=True),
    metavar="WH",
    help="What is in the battery, less what the device's meter counts from now on [default: what it says itself].",
)
@click.option(
    "--max-drop",
    type=FiniteRange(min=0.0),
    metavar="POINTS",
    help="Accuracy that answering earlier on purpose, for a deadline or a budget, may cost, in percentage points "
    "[default: as much as was calibrated].",
)
@click.option(
    "--latency-guard",
    type=FiniteRange(min=1.0),
    metavar="FACTOR",
    help="What latencies are multiplied by where a deadline must hold [default: learnt on a real board with costs, "
    "else 1].",
)
@click.option(
    "--shadow",
    type=FiniteRange(min=0.0, max=1.0, min_open=True),
    metavar="SHARE",
    help="Run this share of the samples that exit early to the end, between samples, and say in the end how often the "
    "full network agrees.",
)
@click.option(
    "--power-cap-w",
    type=FiniteRange(min=0.0, min_open=True),
    metavar="W",
    help="Leaves the governor those clocks only at which the board draws less, as far as the costs are known.",
)
@click.option(
    "--temperature-ceiling-c",
    "ceiling_c",
    type=float,
    metavar="C",
    help="Leaves the governor lower clocks within a degree of this temperature, if there is a sensor.",
)
@click.option(
    "--threads", type=click.IntRange(min=1), metavar="N", default=1, show_default=True, help="For ONNX Runtime."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line for each sample.")
def command(
    bundle: str,
    files: tuple[str, ...],
    exit_rule: str | None,
    allowed_drop: float | None,
    governor: str,
    governor_options: dict[str, int | float | str],
    device: str | None,
    cost_file: Path | None,
    deadline_ms: float | None,
    frame_rate_hz: float | None,
    energy_budget_mj: float | None,
    average_budget_mj: float | None,
    battery_hours: float | None,
    battery_wh: float | None,
    max_drop: float | None,
    latency_guard: float | None,
    shadow: float | None,
    power_cap_w: float | None,
    ceiling_c: float | None,
    threads: int,
    as_json: bool,
    work_scale: float,
) -> int:
    """Answer for every sample in the INPUT files with BUNDLE.

    BUNDLE is the name of a bundle that ships (fashion-resnet, fashion-vgg) or the path of a folder. INPUT is a .npy
    file (one sample or a batch), a .npz file (an array named like the network's input, or only one array) or an image.
    A file that is bad is reported and left out; the exit code is then 3.
    """
    import edgeexit  # noqa: PLC0415  its names load NumPy and ONNX Runtime

    held = Held(average_budget_mj, battery_hours, battery_wh)
    held.check(allowed_drop)
    with ExitStack() as stack:
        loaded = edgeexit.load_bundle(bundle)
        board = stack.enter_context(edgeexit.open_device(device, work_scale=work_scale))
        session = edgeexit.Session(
            loaded,
            board,
            _load_governor(governor, governor_options, power_cap_w, ceiling_c),
            exit_rule=exit_rule,
            allowed_drop=allowed_drop,
            threads=threads,
            cost_table=None if cost_file is None else _load_costs(cost_file, loaded, board, threads),
            frame_rate_hz=frame_rate_hz,
            budget=held.to_hold(board),
            max_drop=max_drop,
            latency_guard=latency_guard,
            shadow=shadow_options(shadow),
        )
        stack.enter_context(session)
        if session.budget is None:
            warn_of_missed_drop(loaded, exit_rule, allowed_drop)
        demand = _Demand(_thousandth(deadline_ms), _thousandth(energy_budget_mj), frame_rate_hz)
        return _answer_files(session, files, demand, as_json)


class _Demand(NamedTuple):
    """What is asked of each inference."""

    latency_budget_s: float | None = None
    energy_budget_j: float | None = None
    frame_rate_hz: float | None = None


def _thousandth(amount: float | None) -> float | None:
    return None if amount is None else amount / 1000.0


def _load_governor(
    name: str, options: dict[str, int | float | str], power_cap_w: float | None, ceiling_c: float | None
) -> Governor:
    from edgeexit import load_governor  # noqa: PLC0415  keeps the command light to import

    governor = load_governor(name, **options)
    if power_cap_w is not None:
        governor = load_governor("power-cap", power_cap_w=power_cap_w, governor=governor)
    if ceiling_c is not None:
        governor = load_governor("temperature-ceiling", ceiling_c=ceiling_c, governor=governor)
    return governor


def _load_costs(file: Path, bundle: Bundle, board: Device, threads: int) -> CostTable:
    """Load a cost table; say if it was measured elsewhere or otherwise, refuse it if on the other kind of board."""
    from edgeexit.bundle.costs import load_cost_file  # noqa: PLC0415

    table, provenance = load_cost_file(file, bundle)
    if provenance.simulated != board.simulated:
        kind = "simulated" if provenance.simulated else "real"
        raise OptionError(
            f"{file} was measured on the {kind} board {provenance.board!r}, this is {board.name!r}: its figures mean "
            "nothing here; measure this board with 'edgeexit measure'"
        )
    boards = [name.removesuffix(MEASURED) for name in (provenance.board, board.name)]
    for what, then, now in (("board", *boards), ("threads", provenance.threads, threads)):
        if then != now:
            show_line(
                "warning", f"{file} was measured with {what} {then}, this is {now}: its figures may be wrong here"
            )
    return table


def _answer_files(session: Session, files: tuple[str, ...], demand: _Demand, as_json: bool) -> int:
    from edgeexit.runtime.meter import EnergyWindow  # noqa: PLC0415  keeps the command light to import

    code = 0
    count = 0
    show = _as_json if as_json else _as_text
    device = session.device
    warm = device.simulated
    window = EnergyWindow(device.meter, device.clock)
    for file in files:
        try:
            for sample in _samples(session.bundle, file):
                if not warm:  # a real board's first inference also allocates the buffers
                    _answer(session, sample, _Demand())
                    warm = True
                    window = EnergyWindow(device.meter, device.clock)
                count += 1
                begun_s = device.clock.now_s()
                click.echo(show(sample, _answer(session, sample, demand), session.bundle.exit_count))
                _rest(session, begun_s, demand.frame_rate_hz)
        except (DataError, InputError) as error:
            show_error(error)
            code = exit_code(error)
    session.idle()
    if count > 1 and not as_json and not device.simulated:
        _show_whole_energy(window.read(), device.meter, count)
    for text in (shadow_document(session),) if as_json else (held_text(session), shadow_text(session)):
        if text is not None:
            click.echo(text)
    return code


def _rest(session: Session, begun_s: float, frame_rate_hz: float | None) -> None:
    """Wait until the next sample is due; shadow runs get that time, or as much as they want if nothing is due."""
    clock = session.device.clock
    if frame_rate_hz is None:
        session.idle()
        return
    due_s = begun_s + 1.0 / frame_rate_hz
    session.idle(max(0.0, due_s - clock.now_s()))
    clock.sleep_s(due_s - clock.now_s())


def _show_whole_energy(energy: EnergyReading | None, meter: PowerMeter | None, count: int) -> None:
    """Print the energy of all samples: a single one is too short for most meters."""
    if meter is None:
        return
    if energy is None:
        click.echo(f"all {count} samples: too short for the meter {meter.name}")
        return
    spread = "" if energy.uncertainty_j is None else f" +- {energy.uncertainty_j:.2g}"
    click.echo(
        f"all {count} samples, with reading the files: {energy.energy_j:.3g}{spread} J "
        f"({energy.source.value}, {meter.name})"
    )


def _samples(bundle: Bundle, file: str) -> Iterator[Sample]:
    from edgeexit.runtime.samples import load_samples  # noqa: PLC0415

    return load_samples(bundle, file)


def _answer(session: Session, sample: Sample, demand: _Demand) -> Result:
    latency_budget_s, energy_budget_j, _ = demand
    try:
        return session.infer(sample.inputs, latency_budget_s=latency_budget_s, energy_budget_j=energy_budget_j)
    except InputError as error:
        raise InputError(f"{sample.name}: {error}") from error


def _as_text(sample: Sample, result: Result, exit_count: int) -> str:
    name = f"class {result.label}" if result.class_name is None else result.class_name
    looked = ", ".join(map(str, result.exits_looked_at))
    words = [
        f"{name} {result.probabilities[result.label]:.1%}",
        f"exit {result.exit_index} of 0-{exit_count - 1}",
        f"looked at {looked}",
        f"{result.latency_s * 1e3:.3g} ms",
        _energy_text(result),
    ]
    if result.deadline_met is False:
        words.append("deadline missed")
    elif result.reason == "deadline":
        words.append("stopped for the deadline")
    elif result.reason == "deepest exit allowed":
        words.append("stopped at the deepest exit allowed")
    if result.energy_budget_met is False:
        words.append("energy budget exceeded")
    return f"{sample.name}: {'; '.join(words)}"


def _energy_text(result: Result) -> str:
    if result.energy_j is None or result.energy_source is None:
        return "energy not metered"
    return f"{result.energy_j * 1e3:.3g} mJ ({result.energy_source.value})"


def _as_json(sample: Sample, result: Result, exit_count: int) -> str:
    probability = float(result.probabilities[result.label])
    document = {
        "file": str(sample.path),
        "index": sample.index,
        "label": result.label,
        "class_name": result.class_name,
        "probability": probability if math.isfinite(probability) else None,
        "exit_index": result.exit_index,
        "exit_count": exit_count,
        "exits_looked_at": result.exits_looked_at,
        "latency_s": result.latency_s,
        "energy_j": result.energy_j,
        "energy_source": None if result.energy_source is None else result.energy_source.value,
        "energy_uncertainty_j": result.energy_uncertainty_j,
        "clocks_hz": dict(result.clocks),
        "reason": result.reason,
        "deadline_met": result.deadline_met,
        "energy_budget_met": result.energy_budget_met,
    }
    return json.dumps(document)
