"""Options of the commands that learn from a user's samples."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from edgeexit.cli.numbers import FiniteRange

FILE: Final = click.Path(dir_okay=False, path_type=Path)

data = click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Samples: .npz, a folder of .npy, or a folder of images (a class a folder, or labels.csv).",
)
labels = click.option("--labels", type=FILE, metavar="FILE", help="Labels, where they are not within the data.")
confidence = click.option(
    "--confidence",
    type=FiniteRange(min=0.5, max=1.0, max_open=True),
    default=0.95,
    show_default=True,
    metavar="SHARE",
    help="With which the certificate holds.",
)
against = click.option(
    "--against",
    type=click.Choice(["labels", "full"]),
    help="What is right: what the labels say, or what the full network says [default: labels, if there are some].",
)
limit = click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Take at most so many samples.")
seed = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="Of all chance."
)
replace = click.option("--replace", is_flag=True, help="Take the place of a bundle that is at -o already.")
