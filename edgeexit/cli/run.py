"""`edgeexit run`: answers for the samples of files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeexit.cli.failures import exit_code, show_error, show_line
from edgeexit.errors import DataError, InputError, OptionError

MEASURED = "-measured"
"""What `edgeexit measure` adds to the name of a board's profile: it is the same board."""

if TYPE_CHECKING:
    from edgeexit.bundle import Bundle
    from edgeexit.protocols import CostTable, Device, PowerMeter
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
@click.option(
    "--allowed-drop",
    type=click.FloatRange(min=0.0),
    default=0.0,
    show_default=True,
    metavar="POINTS",
    help="Accuracy that the exit setting may cost, in percentage points: one of the drops that the "
    "bundle is calibrated for; `edgeexit info` lists them.",
)
@click.option("--governor", metavar="NAME", default="deadline", show_default=True, help="Chooses the clocks.")
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
    "--costs",
    "cost_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Cost table from `edgeexit measure` [default: none; a simulated board's own].",
)
@click.option(
    "--deadline-ms",
    type=click.FloatRange(min=0.0, min_open=True),
    metavar="MS",
    help="When an answer is due; the best exit so far answers if it comes.",
)
@click.option(
    "--threads", type=click.IntRange(min=1), metavar="N", default=1, show_default=True, help="For ONNX Runtime."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line for each sample.")
def command(
    bundle: str,
    files: tuple[str, ...],
    exit_rule: str | None,
    allowed_drop: float,
    governor: str,
    governor_options: dict[str, int | float | str],
    device: str | None,
    cost_file: Path | None,
    deadline_ms: float | None,
    threads: int,
    as_json: bool,
) -> int:
    """Answer for every sample in the INPUT files with BUNDLE.

    BUNDLE is the name of a bundle that ships (fashion-resnet, fashion-vgg) or the path of a folder. INPUT is a .npy
    file (one sample or a batch), a .npz file (an array named like the network's input, or only one array) or an image.
    A file that is bad is reported and left out; the exit code is then 3.
    """
    import edgeexit  # noqa: PLC0415  its names load NumPy and ONNX Runtime

    with ExitStack() as stack:
        loaded = edgeexit.load_bundle(bundle)
        board = stack.enter_context(edgeexit.open_device(device))
        session = edgeexit.Session(
            loaded,
            board,
            edgeexit.load_governor(governor, **governor_options),
            exit_rule=exit_rule,
            allowed_drop=allowed_drop,
            threads=threads,
            cost_table=None if cost_file is None else _load_costs(cost_file, loaded, board, threads),
        )
        stack.enter_context(session)
        budget_s = None if deadline_ms is None else deadline_ms / 1000.0
        return _answer_files(session, files, budget_s, as_json)


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


def _answer_files(session: Session, files: tuple[str, ...], budget_s: float | None, as_json: bool) -> int:
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
                    _answer(session, sample, None)
                    warm = True
                    window = EnergyWindow(device.meter, device.clock)
                count += 1
                click.echo(show(sample, _answer(session, sample, budget_s), session.bundle.exit_count))
        except (DataError, InputError) as error:
            show_error(error)
            code = exit_code(error)
    if count > 1 and not as_json and not device.simulated:
        _show_whole_energy(window.read(), device.meter, count)
    return code


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


def _answer(session: Session, sample: Sample, budget_s: float | None) -> Result:
    try:
        return session.infer(sample.inputs, latency_budget_s=budget_s)
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
    }
    return json.dumps(document)
