"""Options of the commands that learn from a user's samples."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import click

from edgeexit.cli.numbers import FiniteRange
from edgeexit.errors import DataError


class InputPath(click.Path):
    """Something to read. If it is not there, that is bad data, as it is if it cannot be read, and no wrong usage."""

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """Take a path.

        Raises:
            DataError: If nothing is there.
        """
        path = super().convert(value, param, ctx)
        if not os.path.exists(path):  # noqa: PTH110  click may pass bytes
            raise DataError(f"{os.fsdecode(path)} does not exist")
        return path


FILE: Final = InputPath(dir_okay=False, path_type=Path)
CERTIFIABLE: Final = (
    *("thresholds", "threshold", "check-and-cap", "gate", "ensemble", "forecast"),
    *("margin", "entropy", "patience", "predictive-exit"),
)
"""Settings that calibration chooses and whose variants a path can be made of."""

data = click.option(
    "--data",
    required=True,
    type=InputPath(path_type=Path),
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
certify_rule = click.option(
    "--certify-rule",
    type=click.Choice(CERTIFIABLE),
    metavar="SETTING",
    help=f"Certify a setting of this kind: {', '.join(CERTIFIABLE)}; "
    "those with threshold or check-and-cap in the name can be exported [default: the one that comes out cheapest].",
)
limit = click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Take at most so many samples.")
seed = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="Of all chance."
)
replace = click.option("--replace", is_flag=True, help="Take the place of a bundle that is at -o already.")
