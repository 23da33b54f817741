"""`edgeexit replay`: recorded samples through exit rules, governors and a simulated board, without the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeexit.cli.extras import needing_prepare
from edgeexit.cli.numbers import FiniteRange, take_factor_or, take_factors_or

if TYPE_CHECKING:
    from edgeexit.offline.replaying.arrivals import Arrivals

_BURST = 4.0
"""Requests in a burst on average; within it they come twice as often as on average."""


@click.command("replay", short_help="Compare rules, governors and deadlines on recorded samples.")
@click.argument("bundle")
@click.option("--board", metavar="NAME", default="jetson-tx2", show_default=True, help="Device profile to simulate.")
@click.option(
    "--rule",
    "rules",
    multiple=True,
    metavar="NAME[@POINTS]",
    help="Calibrated exit setting, and the accuracy that it may cost, as forecast@0.5; can be given again "
    "[default: last, thresholds and the one the bundle recommends].",
)
@click.option(
    "--governor",
    "governors",
    multiple=True,
    metavar="NAME[:KEY=VALUE,...]",
    help="Governor with options, or best-fixed, race-to-idle or plan-population; can be given again "
    "[default: plan and what it is compared with].",
)
@click.option(
    "--deadline",
    "factors",
    multiple=True,
    callback=take_factors_or("none"),
    metavar="FACTOR|none",
    help="In times of the full network at the highest clock; can be given again [default: 1 1.1 1.25 1.5 2 4].",
)
@click.option(
    "--arrivals",
    default="periodic",
    show_default=True,
    metavar="periodic|poisson|bursts|FILE",
    help="When inferences are asked for; FILE has one time in seconds a line.",
)
@click.option(
    "--gap",
    type=FiniteRange(min=0.0, min_open=True),
    default=1.0,
    show_default=True,
    metavar="FACTOR",
    help="Mean time from one request to the next, in deadlines.",
)
@click.option(
    "--noise", type=FiniteRange(min=0.0), metavar="SHARE", help="Spread of latencies, as 0.1 [default: none]."
)
@click.option(
    "--noise-kind",
    type=click.Choice(["truncated-normal", "lognormal"]),
    default="truncated-normal",
    show_default=True,
    help="How latencies are distributed.",
)
@click.option(
    "--guard",
    type=FiniteRange(min=1.0),
    metavar="FACTOR",
    help="What governors multiply latencies by where a deadline must hold [default: what covers the noise].",
)
@click.option("--inferences", type=click.IntRange(min=1), metavar="N", help="For each run [default: each sample once].")
@click.option(
    "--traces",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Recorded traces (.npz) [default: run the images].",
)
@click.option("--split", default="test", show_default=True, metavar="NAME", help="Split of the traces.")
@click.option(
    "--data",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Images to run: .npz with images and labels [default: Fashion-MNIST test images].",
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
    "--static-share",
    type=FiniteRange(min=0.0, max=1.0, max_open=True),
    metavar="SHARE",
    help="Share of the highest power that is drawn also when idle [default: as the profile has it].",
)
@click.option(
    "--optimum/--no-optimum", default=True, show_default=True, help="Work out the best governor there can be."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="Of all chance.")
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write results there."
)
def command(
    bundle: str,
    board: str,
    rules: tuple[str, ...],
    governors: tuple[str, ...],
    factors: tuple[float | None, ...],
    arrivals: str,
    gap: float,
    traces: Path | None,
    split: str,
    data: Path | None,
    json_file: Path | None,
    **settings: Any,
) -> int:
    """Replay recorded samples of BUNDLE through exit rules and governors on a simulated board.

    What every exit says about every sample is recorded once, or read from --traces; then no network runs, and tens of
    thousands of samples take a second. Every energy is simulated. `edgeexit report` makes pictures of what --json
    writes.

    In the table "late" are answers after the deadline, and "early" samples that the governor did not let go as deep as
    the rule wanted. "above bounds" is how far the energy lies above three bounds: what a clairvoyant would need for the
    answers that this run gave; for the exits of the rule, with its looks; and the best that any governor with the same
    knowledge could do. The last two are in brackets where the run was late, cut short or sent on: its work was another.
    """
    import edgeexit  # noqa: PLC0415  its names load NumPy and ONNX Runtime
    from edgeexit.cli.measure import ProgressBar  # noqa: PLC0415

    with needing_prepare("replay"):
        from edgeexit.offline.replaying.results import save_replays  # noqa: PLC0415
        from edgeexit.offline.replaying.sources import DEFAULT_GOVERNORS, default_rules, read_trace  # noqa: PLC0415
        from edgeexit.offline.replaying.study import FACTORS, replay_board  # noqa: PLC0415
        from edgeexit.offline.replaying.text import replay_text  # noqa: PLC0415

    loaded, profile = edgeexit.load_bundle(bundle), edgeexit.load_profile(board)
    make_arrivals = _arrivals(arrivals, gap)
    trace = read_trace(loaded, traces=traces, split=split, data=data)
    with ProgressBar(quiet=False) as bar:
        options = _options(factors or FACTORS, make_arrivals, bar.show, **settings)
        found = replay_board(
            loaded, profile, trace, rules or default_rules(loaded), governors or DEFAULT_GOVERNORS, options
        )
    click.echo(replay_text(found))
    if json_file is not None:
        save_replays(json_file, (found,))
    return 0


def _options(
    factors: Sequence[float | None],
    arrivals: Callable[[float], Arrivals],
    progress: Callable[[str, float], None],
    *,
    noise: float | None,
    noise_kind: str,
    seed: int,
    **others: Any,
) -> Any:
    from edgeexit.offline.replaying.noise import Noise  # noqa: PLC0415  loads NumPy
    from edgeexit.offline.replaying.study import StudyOptions  # noqa: PLC0415

    return StudyOptions(
        deadline_factors=factors,
        arrivals=arrivals,
        noise=Noise(noise, noise_kind, seed) if noise else None,
        seed=seed,
        progress=progress,
        **others,
    )


def _arrivals(kind: str, gap: float) -> Callable[[float], Arrivals]:
    """Return from a deadline in seconds to when inferences are asked for."""
    from edgeexit.offline.replaying.arrivals import Bursts, Periodic, Poisson, load_recorded  # noqa: PLC0415

    if kind == "periodic":
        return lambda deadline_s: Periodic(gap * deadline_s)
    if kind == "poisson":
        return lambda deadline_s: Poisson(1.0 / (gap * deadline_s))
    if kind == "bursts":
        pause = _BURST - 0.5 * (_BURST - 1.0)  # so that all gaps together have the mean that was asked for
        return lambda deadline_s: Bursts(0.5 * gap * deadline_s, pause * gap * deadline_s, _BURST)
    recorded = load_recorded(Path(kind))
    return lambda deadline_s: recorded
