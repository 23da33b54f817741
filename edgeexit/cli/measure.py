"""`edgeexit measure`: what a bundle costs on a board, at each of its operating points."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from edgeexit.cli.failures import show_line
from edgeexit.cli.numbers import FiniteRange
from edgeexit.errors import OptionError

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

DEFAULT_FOLDER: Final = Path("edgeexit-measured")
_BAR_STEPS: Final = 1000


def _take_points(ctx: click.Context, parameter: click.Parameter, value: str) -> int | None:
    if value == "all":
        return None
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter('must be "all" or a whole number above 0', ctx, parameter)
    return int(value)


@click.command("measure", short_help="Measure a bundle on a board, at every clock.")
@click.argument("bundle")
@click.option(
    "--device",
    metavar="NAME",
    help='"host"; the name or file of a device profile to take this machine for, as "jetson-tx2"; or '
    '"simulated:jetson-tx2" [default: $EDGEEXIT_DEVICE or host].',
)
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(file_okay=False, writable=True, path_type=Path),
    metavar="FOLDER",
    default=DEFAULT_FOLDER,
    show_default=True,
    help="Where the cost table and the device profile are written.",
)
@click.option(
    "--threads", type=click.IntRange(min=1), metavar="N", default=1, show_default=True, help="For ONNX Runtime."
)
@click.option(
    "--seconds-per-point",
    type=FiniteRange(min=0.0, max=3599.0, min_open=True),
    metavar="S",
    default=5.0,
    show_default=True,
    help="Time for each operating point; longer makes figures steadier.",
)
@click.option(
    "--points",
    callback=_take_points,
    default="all",
    show_default=True,
    metavar="all|N",
    help="How many frequencies of each clock are measured.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--resume/--fresh",
    default=True,
    show_default=True,
    help="Go on with a measurement that was interrupted, or begin anew.",
)
def command(
    bundle: str,
    device: str | None,
    folder: Path,
    threads: int,
    seconds_per_point: float,
    points: int | None,
    as_json: bool,
    resume: bool,
) -> int:
    """Measure BUNDLE on this board: latency, power and energy of each piece at each clock.

    BUNDLE is the name of a bundle that ships (fashion-resnet, fashion-vgg) or the path of a folder. Clocks are pinned
    while it runs and given back at the end. What the board lacks is done without: latencies alone where there is no
    meter, the clocks as they are where none can be set. Let the machine do nothing else meanwhile.

    Two files are written: BUNDLE.costs.json for `edgeexit run --costs`, and a device profile.
    """
    import edgeexit  # noqa: PLC0415  its names load NumPy and ONNX Runtime
    from edgeexit.offline.measure import measure_device  # noqa: PLC0415
    from edgeexit.offline.measure_text import measurement_document, measurement_text  # noqa: PLC0415

    loaded = edgeexit.load_bundle(bundle)
    _make_folder(folder)
    with edgeexit.open_device(device) as board, _quiet_interrupt(), ProgressBar(quiet=as_json) as bar:
        measurement = measure_device(
            loaded,
            board,
            folder,
            threads=threads,
            seconds_per_point=seconds_per_point,
            points=points,
            fresh=not resume,
            progress=bar.show,
            tell=bar.tell,
        )
    click.echo(json.dumps(measurement_document(measurement), indent=1) if as_json else measurement_text(measurement))
    return 0


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"the folder {folder} of -o cannot be made: {error.strerror or error}") from error


@contextmanager
def _quiet_interrupt() -> Iterator[None]:
    """Pass an interrupt on as click's own, which adds no empty line to what was told last."""
    try:
        yield
    except KeyboardInterrupt:
        raise click.Abort from None


class ProgressBar:
    """A bar with what is being done and the time left, on a terminal only.

    Args:
        quiet: True draws none there either.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._drawn = not quiet and sys.stderr.isatty()
        self._stack = ExitStack()
        self._bar: Any = None  # click exports no type for it

    def show(self, what: str, share: float) -> None:
        """Show what is being done, and the share of all that is done."""
        if self._drawn:
            bar = self._begin() if self._bar is None else self._bar
            bar.label = f"{what:<28}"
            bar.update(max(0, round(share * _BAR_STEPS) - bar.pos))

    def tell(self, text: str) -> None:
        """Print a line of its own; the bar goes on below it."""
        self.close()
        show_line("note", text)

    def close(self) -> None:
        """End the bar's line, if there is one."""
        self._stack.close()
        self._bar = None

    def __enter__(self) -> Self:
        if self._drawn:
            self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self) -> Any:
        bar = click.progressbar(length=_BAR_STEPS, label="preparing", file=sys.stderr, width=30, show_percent=True)
        self._bar = self._stack.enter_context(bar)
        return self._bar
