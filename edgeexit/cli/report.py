"""`edgeexit report`: what replays found, as one HTML file and as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from edgeexit.cli.extras import needing
from edgeexit.cli.numbers import FiniteRange

if TYPE_CHECKING:
    from edgeexit.offline.replaying.results import BoardReplay

DEFAULT_PAGE: Final = Path("edgeexit-report.html")


@click.command("report", short_help="Report on replays: a verdict in words, pictures, tables.")
@click.argument("sources", metavar="RESULTS.json...|BUNDLE", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    default=DEFAULT_PAGE,
    show_default=True,
    help="The HTML file to write.",
)
@click.option(
    "--png",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Write each picture as a PNG file too.",
)
@click.option("--board", metavar="NAME", help="Replay BUNDLE on this simulated board first.")
@click.option("--rule", "rules", multiple=True, metavar="NAME[@POINTS]", help="With --board: as for `edgeexit replay`.")
@click.option("--governor", "governors", multiple=True, metavar="NAME[:KEY=VALUE,...]", help="With --board: the same.")
@click.option(
    "--deadline",
    "factors",
    multiple=True,
    type=FiniteRange(min=0.0, min_open=True),
    metavar="FACTOR",
    help="With --board: the same.",
)
@click.option(
    "--traces",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help='With --board: recorded traces (.npz), of which the split "test" is taken [default: run the images].',
)
@click.option(
    "--data",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --board: images to run, .npz with images and labels [default: Fashion-MNIST test images].",
)
def command(sources: tuple[str, ...], output: Path, png: Path | None, board: str | None, **asked: Any) -> int:
    """Say in words, pictures and tables what replays found.

    RESULTS.json are files that `edgeexit replay --json` wrote, of any bundles and boards. The report is one HTML file
    that needs nothing else. It begins with three answers: is early exit worth it here, is clock control, is the
    forecast of every sample; each with the figures that say so.

    With --board there is one BUNDLE instead, by name or path, and it is replayed first.
    """
    with needing("report", "report"):
        from edgeexit.offline.reporting.files import require_drawing, write_report  # noqa: PLC0415  loads NumPy

        require_drawing()
        _check(sources, board, asked)
        for path in write_report(_results(sources, board, asked), output, png):
            click.echo(path)
    return 0


def _check(sources: tuple[str, ...], board: str | None, asked: Mapping[str, Any]) -> None:
    given = [name for name, value in asked.items() if value]
    if board is None and given:
        raise click.UsageError("--rule, --governor, --deadline, --traces and --data are for a BUNDLE with --board")
    if board is not None and len(sources) != 1:
        raise click.UsageError(f"--board replays one bundle, not {len(sources)}: give one, or results without --board")


def _results(sources: tuple[str, ...], board: str | None, asked: Mapping[str, Any]) -> dict[str, BoardReplay]:
    from edgeexit.offline.reporting.files import read_results  # noqa: PLC0415  loads NumPy

    if board is None:
        return read_results(map(Path, sources))
    return {sources[0]: _replay(sources[0], board, **asked)}


def _replay(
    name: str,
    board: str,
    *,
    rules: tuple[str, ...],
    governors: tuple[str, ...],
    factors: tuple[float, ...],
    traces: Path | None,
    data: Path | None,
) -> BoardReplay:
    import edgeexit  # noqa: PLC0415  its names load NumPy and ONNX Runtime
    from edgeexit.cli.measure import ProgressBar  # noqa: PLC0415
    from edgeexit.offline.replaying.sources import DEFAULT_GOVERNORS, default_rules, read_trace  # noqa: PLC0415
    from edgeexit.offline.replaying.study import FACTORS, StudyOptions, replay_board  # noqa: PLC0415

    bundle, profile = edgeexit.load_bundle(name), edgeexit.load_profile(board)
    trace = read_trace(bundle, traces=traces, data=data)
    with ProgressBar(quiet=False) as bar:
        options = StudyOptions(deadline_factors=factors or FACTORS, progress=bar.show)
        return replay_board(
            bundle, profile, trace, rules or default_rules(bundle), governors or DEFAULT_GOVERNORS, options
        )
