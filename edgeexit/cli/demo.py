"""`edgeexit demo`: real images, a simulated board, and the policies side by side."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeexit.cli.failures import show_line
from edgeexit.cli.numbers import FiniteRange, take_factor_or
from edgeexit.errors import MissingExtra

if TYPE_CHECKING:
    from edgeexit.offline.demo_report import DemoReport

_DEFAULT_PNG = Path("edgeexit-demo.png")
_INSTALL = "needs Matplotlib: pip install 'edgeexit[report]'"


@click.command("demo", short_help="Compare exit settings and governors on real images.")
@click.option("--bundle", metavar="NAME", default="fashion-resnet", show_default=True, help="Bundle, by name or path.")
@click.option("--board", metavar="NAME", default="jetson-tx2", show_default=True, help="Board to simulate.")
@click.option("--images", type=click.IntRange(min=1), metavar="N", help="How many images [default: all].")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Images of your own: .npz with images and labels [default: Fashion-MNIST test images that ship].",
)
@click.option(
    "--deadline",
    type=FiniteRange(min=0.0, min_open=True),
    default=1.25,
    show_default=True,
    metavar="FACTOR",
    help="Time for an image, in times of the full network at the highest clock.",
)
@click.option(
    "--allowed-drop",
    type=FiniteRange(min=0.0),
    default=0.0,
    show_default=True,
    metavar="POINTS",
    help="Accuracy that the exit settings may cost, in percentage points: one of the drops that the "
    "bundle is calibrated for; `edgeexit info` lists them.",
)
@click.option(
    "--work-scale",
    callback=take_factor_or("auto"),
    default="auto",
    show_default=True,
    metavar="auto|FACTOR",
    help="How much each multiply-accumulate counts on the simulated board.",
)
@click.option(
    "--threads", type=click.IntRange(min=1), metavar="N", default=1, show_default=True, help="For ONNX Runtime."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; no picture unless --png asks for it.")
@click.option(
    "--png", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help=f"Picture [default: {_DEFAULT_PNG}]."
)
@click.option("--no-png", is_flag=True, help="Draw no picture.")
def command(
    bundle: str,
    board: str,
    images: int | None,
    data: Path | None,
    deadline: float,
    allowed_drop: float,
    work_scale: float | None,
    threads: int,
    as_json: bool,
    png: Path | None,
    no_png: bool,
) -> int:
    """Answer real images with every policy, and compare accuracy, work and energy.

    The answers are real: ONNX Runtime runs the network on this machine. Clocks, latency and energy are simulated.
    """
    if png is not None and no_png:
        raise click.UsageError("--png and --no-png exclude each other")
    if png is not None and find_spec("matplotlib") is None:
        raise MissingExtra(f"the picture {png} {_INSTALL}")
    wanted = png is not None or not (as_json or no_png)
    drawn = wanted and find_spec("matplotlib") is not None
    with _progress(quiet=as_json) as progress:
        report = _run(bundle, board, images, data, deadline, allowed_drop, work_scale, threads, drawn, progress)
    _print(report, as_json)
    if drawn:
        _draw(report, _DEFAULT_PNG if png is None else png)
    elif wanted:
        show_line("note", f"no picture: it {_INSTALL}")
    return 0


def _run(
    bundle: str,
    board: str,
    images: int | None,
    data: Path | None,
    deadline: float,
    allowed_drop: float,
    work_scale: float | None,
    threads: int,
    curves: bool,
    progress: Callable[[str, int, int], None],
) -> DemoReport:
    # These load NumPy and ONNX Runtime.
    from edgeexit.bundle import load_bundle  # noqa: PLC0415
    from edgeexit.device import load_profile  # noqa: PLC0415
    from edgeexit.offline.demo import run_demo  # noqa: PLC0415
    from edgeexit.offline.demo_images import load_demo_images  # noqa: PLC0415

    loaded = load_bundle(bundle)
    profile = load_profile(board.removeprefix("simulated:"))
    inputs, labels = load_demo_images(loaded, data, count=images)
    return run_demo(
        loaded,
        profile,
        inputs,
        labels,
        deadline_factor=deadline,
        allowed_drop=allowed_drop,
        work_scale=work_scale,
        threads=threads,
        curves=curves,
        progress=progress,
    )


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Give a function (what runs, images done since, images in all) that draws a bar with the time left."""
    if quiet or not sys.stderr.isatty():
        yield lambda policy, done, total: None
        return
    with click.progressbar(length=1, label="loading", file=sys.stderr, width=30) as bar:

        def show(policy: str, done: int, total: int) -> None:
            bar.length, bar.label = total, f"{policy:<33}"
            bar.update(done)

        yield show


def _print(report: DemoReport, as_json: bool) -> None:
    from edgeexit.offline.demo_text import report_text  # noqa: PLC0415

    click.echo(json.dumps(report.as_dict(), indent=1) if as_json else report_text(report))


def _draw(report: DemoReport, path: Path) -> None:
    from edgeexit.offline.plots import draw_demo  # noqa: PLC0415  loads Matplotlib

    draw_demo(report, path)
    click.echo(f"Picture: {path}", err=True)
