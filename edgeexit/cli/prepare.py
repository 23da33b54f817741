"""`edgeexit prepare`: from an ONNX model and samples to a calibrated bundle with early exits."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from edgeexit.cli import sample_options
from edgeexit.cli.ending import EndedBySignal
from edgeexit.cli.extras import needing_prepare
from edgeexit.cli.failures import show_line
from edgeexit.cli.numbers import FiniteRange
from edgeexit.errors import OptionError

_DISK_FULL: Final = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


@click.command("prepare", short_help="Make a calibrated bundle of an ONNX model and samples.")
@click.argument("model", type=sample_options.FILE)
@sample_options.data
@click.option(
    "-o",
    "--output",
    "out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="The bundle to make [default: the model's name beside it].",
)
@sample_options.labels
@click.option(
    "--preprocess", type=sample_options.FILE, metavar="FILE", help="JSON: how an image becomes the model's input."
)
@click.option("--model-output", metavar="NAME", help="The output with the classes, where the model has several.")
@click.option("--multi-label", is_flag=True, help="A sample can have several labels [default: as the labels say].")
@click.option("--exits", type=click.IntRange(min=1), metavar="N", help="Early exits to keep [default: as many as pay].")
@click.option("--cut", "cuts", multiple=True, metavar="TENSOR", help="Put an exit behind it; can be given again.")
@click.option(
    "--head",
    type=click.Choice(["ridge", "logistic", "conv"]),
    default="logistic",
    show_default=True,
    help="How heads are fitted; ridge is faster where there are hundreds of classes, conv trains heads with layers of "
    "their own (needs PyTorch).",
)
@click.option(
    "--place",
    type=click.Choice(["dp", "paper", "all"]),
    default="dp",
    show_default=True,
    help="Which exits are kept: those of least expected cost; by the Predictive Exit paper's rule; all.",
)
@click.option(
    "--cost",
    type=click.Choice(["macs", "time"]),
    default="macs",
    show_default=True,
    help="What placement counts: the work, or the time that pieces take on this machine.",
)
@sample_options.against
@click.option(
    "--max-accuracy-drop",
    type=FiniteRange(min=0.0, max=100.0, max_open=True),
    default=0.5,
    show_default=True,
    metavar="POINTS",
    help="Accuracy (or agreement) that the certified setting may cost.",
)
@sample_options.confidence
@sample_options.certify_rule
@click.option("--quantise", is_flag=True, help="Try int8 variants of the segments; what gains nothing is undone.")
@click.option(
    "--prune",
    type=FiniteRange(min=0.0, max=1.0, min_open=True, max_open=True),
    metavar="SHARE",
    help="Take out this share of the channels of convolutions first.",
)
@click.option("--search-order", is_flag=True, help="Try compression steps in each order, and take the best.")
@sample_options.limit
@sample_options.seed
@sample_options.replace
@click.option("--keep-work", is_flag=True, help="Leave the folder with the unfinished work where it is at the end.")
@click.option("--dry-run", is_flag=True, help="Show where the model can be cut and what that costs, and stop.")
def command(model: Path, data: Path, out: Path | None, **asked: Any) -> int:
    """Make a bundle with early exits of MODEL, an ONNX classifier, and say honestly whether it is worth it.

    The model is not changed and needs no training: small heads are fitted to samples at places where it can be cut,
    those that pay are kept, and the settings of every exit rule are chosen and certified on samples of their own.

    What is finished is kept in FOLDER.prepare until the end, so a run that was interrupted goes on where it stopped:
    give the same command again.
    """
    with needing_prepare("prepare"):
        from edgeexit.offline.preparing.options import PrepareOptions  # noqa: PLC0415  loads NumPy
        from edgeexit.offline.preparing.prepare import prepare_bundle, work_path  # noqa: PLC0415
        from edgeexit.offline.preparing.text import preparation_text  # noqa: PLC0415

    folder = model.with_suffix("") if out is None else out
    if folder == model:
        raise OptionError(f"name the bundle's folder with -o: {model} is the model itself")
    options = PrepareOptions(**asked)
    with _telling_how_to_go_on(work_path(folder)):
        done = prepare_bundle(
            model, data, folder, options, progress=sys.stderr.isatty(), tell=partial(show_line, "note")
        )
    click.echo(preparation_text(done))
    return 0


@contextmanager
def _telling_how_to_go_on(work: Path) -> Iterator[None]:
    """Say where the finished work is, if a signal or a full disk ends it; an interrupt prints no empty line."""
    try:
        yield
    except (KeyboardInterrupt, EndedBySignal) as end:
        if work.is_dir():
            show_line("note", f"what is finished is in {work}; the same command goes on from there")
        if isinstance(end, KeyboardInterrupt):
            raise click.Abort from None
        raise
    except OSError as error:
        if error.errno in _DISK_FULL:
            kept = f": what is finished is kept in {work}" if work.is_dir() else ""
            show_line("note", f"free space and give the same command again{kept}")
        raise
