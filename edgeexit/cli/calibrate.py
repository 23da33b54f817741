"""`edgeexit calibrate`: choose and certify a bundle's exit settings on a user's samples."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from edgeexit.cli import sample_options
from edgeexit.cli.extras import needing_prepare
from edgeexit.cli.numbers import FiniteRange
from edgeexit.errors import OptionError

if TYPE_CHECKING:
    from edgeexit.bundle import Bundle
    from edgeexit.offline.guarantee.budget import Budget
    from edgeexit.offline.guarantee.recalibrate import Recalibrated
    from edgeexit.protocols import CostTable

_PREFIXES: Final = {"": 1.0, "m": 1e-3, "u": 1e-6, "µ": 1e-6, "n": 1e-9}


def _take_quantity(unit: str) -> Callable[[click.Context, click.Parameter, str | None], float | None]:
    """Return a callback for an option that is a number with its unit, for instance "5ms", which makes it SI."""
    pattern = re.compile(rf"([0-9.eE+-]+)\s*([muµn]?){unit}\Z")

    def take(ctx: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
        if text is None:
            return None
        found = pattern.match(text)
        try:
            amount = float(found[1]) * _PREFIXES[found[2]] if found else 0.0
        except ValueError:
            amount = 0.0
        if not 0.0 < amount < inf:
            wanted = f"must be a number above 0 with its unit, as 5m{unit} or 0.005{unit}, not {text!r}"
            raise click.BadParameter(wanted, ctx, parameter)
        return amount

    return take


@click.command("calibrate", short_help="Choose and certify a bundle's settings on own samples.")
@click.argument("bundle")
@sample_options.data
@click.option(
    "-o",
    "--output",
    "out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Write the calibrated bundle there [default: in place].",
)
@sample_options.labels
@click.option(
    "--max-accuracy-drop",
    "max_drops",
    multiple=True,
    type=FiniteRange(min=0.0, max=100.0, min_open=True, max_open=True),
    metavar="POINTS",
    help="Certify a setting that loses less than this; can be given again.",
)
@sample_options.confidence
@sample_options.certify_rule
@sample_options.against
@click.option(
    "--budget-macs",
    type=FiniteRange(min=0.0, max=1.0, min_open=True),
    metavar="SHARE",
    help="Keep the mean work within this share of the full network's.",
)
@click.option(
    "--budget-latency", callback=_take_quantity("s"), metavar="5ms", help="Keep the mean latency within this."
)
@click.option(
    "--budget-energy",
    callback=_take_quantity("J"),
    metavar="5mJ",
    help="Keep the mean energy of an inference within this.",
)
@click.option(
    "--cost",
    type=click.Choice(["macs", "time"]),
    default="macs",
    show_default=True,
    help="What settings are chosen by; time is that of the highest clock.",
)
@click.option(
    "--costs", "cost_file", type=sample_options.FILE, metavar="FILE", help="Cost table from `edgeexit measure`."
)
@click.option("--board", metavar="NAME", help="Device profile to take costs from, in place of a cost table.")
@sample_options.limit
@sample_options.seed
@sample_options.replace
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(bundle: str, data: Path, out: Path | None, replace: bool, as_json: bool, **asked: Any) -> int:
    """Calibrate BUNDLE anew on samples that its network was not trained on.

    The samples are divided: a quarter fits the predictor, a third chooses the settings of every exit rule, and with
    the rest, on which nothing is chosen, a setting is certified: with the confidence asked for it loses less than
    --max-accuracy-drop against the full network. The certificate is kept in the bundle; `edgeexit info` shows it.
    All settings that the bundle had are replaced, in one step at the end.
    """
    import edgeexit  # noqa: PLC0415  its names load NumPy and ONNX Runtime
    from edgeexit.cli.measure import ProgressBar  # noqa: PLC0415

    with needing_prepare("calibrate"):
        from edgeexit.offline.data import load_samples  # noqa: PLC0415
        from edgeexit.offline.guarantee.recalibrate import (  # noqa: PLC0415
            CalibrateOptions,
            recalibrate,
            write_recalibrated,
        )
        from edgeexit.offline.guarantee.text import calibration_text  # noqa: PLC0415

    loaded = edgeexit.load_bundle(bundle)
    target = _target(bundle, loaded, out)
    options = CalibrateOptions(
        max_drops=tuple(sorted(set(asked["max_drops"]))),
        confidence=asked["confidence"],
        against=asked["against"],
        certify_rule=asked["certify_rule"],
        budgets=_budgets(asked["budget_macs"], asked["budget_latency"], asked["budget_energy"]),
        cost=asked["cost"],
        cost_table=_cost_table(loaded, asked["cost_file"], asked["board"]),
        seed=asked["seed"],
    )
    _check_place(target, loaded, out, replace)
    samples = load_samples(
        data, loaded.inputs, labels=asked["labels"], preprocess=loaded.preprocess, limit=asked["limit"],
        seed=asked["seed"],
    )  # fmt: skip
    with ProgressBar(quiet=as_json) as bar:
        done = recalibrate(loaded, samples, options, bar.show, bar.tell)
    written = write_recalibrated(loaded, done, target, replace_there=out is None or replace)
    click.echo(json.dumps(_document(done, written), indent=1) if as_json else calibration_text(done, loaded.full_name))
    if not as_json:
        click.echo(f"written to {written.path}")
    return 0


def _target(name: str, bundle: Bundle, out: Path | None) -> Path:
    """Return where the bundle goes; one that ships is not changed where it is."""
    if out is None and os.sep not in name:
        raise OptionError(f"{name!r} ships with edgeexit and is left as it is: name a folder for the new one with -o")
    return bundle.path if out is None else out


def _check_place(target: Path, bundle: Bundle, out: Path | None, replace: bool) -> None:
    """Refuse a place that can't be written to before the network runs."""
    from edgeexit.bundle.write import check_target  # noqa: PLC0415

    check_target(target, replace=out is None or replace)


def _budgets(share: float | None, latency_s: float | None, energy_j: float | None) -> tuple[Budget, ...]:
    from edgeexit.offline.guarantee.budget import ENERGY, LATENCY, MACS, Budget  # noqa: PLC0415

    asked = ((MACS, share), (LATENCY, latency_s), (ENERGY, energy_j))
    return tuple(Budget(kind, amount) for kind, amount in asked if amount is not None)


def _cost_table(bundle: Bundle, file: Path | None, board: str | None) -> CostTable | None:
    """Read a cost table, or work it out from a device profile."""
    if file is not None and board is not None:
        raise OptionError("give --costs or --board, not both")
    if file is not None:
        from edgeexit.bundle.costs import load_cost_table  # noqa: PLC0415

        return load_cost_table(file, bundle)
    if board is None:
        return None
    import edgeexit  # noqa: PLC0415
    from edgeexit.device.costs import CostModel  # noqa: PLC0415

    return CostModel(edgeexit.load_profile(board)).cost_table(bundle.workload)


def _document(done: Recalibrated, written: Bundle) -> dict[str, Any]:
    kept = done.budget
    return {
        "path": str(written.path),
        "digest": written.digest,
        "risk": done.risk,
        "samples": dict(done.samples),
        "recommended": done.rules["recommended"],
        "full_accuracy": done.full_accuracy,
        "unseen": {
            f"{drop:g}": {"drop_points": counts.drop_points, "macs_share": counts.macs_share}
            for drop, counts in done.unseen.items()
        },
        "certificates": [
            {**asdict(certificate), "observed_points": certificate.observed_points} for certificate in done.certificates
        ],
        "budget": None
        if kept is None
        else {
            "kind": kept.budget.kind,
            "amount": kept.budget.amount,
            "allowed_drop": kept.allowed_drop,
            "unseen_cost": kept.check.cost,
            "standard_error": kept.check.error,
            "drop_points": 100 * (kept.check.full_accuracy - kept.check.accuracy),
        },
    }
