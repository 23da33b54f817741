"""`edgeexit export`: a bundle and one exit setting as one ONNX file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeexit.cli.extras import needing_prepare
from edgeexit.cli.setting_options import allowed_drop as allowed_drop_option
from edgeexit.cli.setting_options import warn_of_missed_drop

if TYPE_CHECKING:
    from edgeexit.bundle import Bundle
    from edgeexit.offline.if_export import IfExport


@click.command("export", short_help="Write a bundle as one ONNX file with If nodes.")
@click.argument("bundle")
@click.option(
    "-o",
    "--output",
    "out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    required=True,
    help="ONNX file to write; one that is there is replaced.",
)
@click.option(
    "--exit-rule",
    metavar="NAME",
    default="thresholds",
    show_default=True,
    help="Exit setting of the bundle: one whose rule is threshold, check-and-cap, fixed or last.",
)
@allowed_drop_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(bundle: str, out: Path, exit_rule: str, allowed_drop: float | None, as_json: bool) -> int:
    """Write BUNDLE with one exit setting as one ONNX file, for runtimes without edgeexit.

    BUNDLE is the name of a bundle that ships (fashion-resnet, fashion-vgg) or the path of a folder. The file holds
    nested If nodes: what lies behind an exit that answers is not computed. Its outputs are label, probabilities and
    exit_index, and it gives the answers that `edgeexit run` gives with the same setting.

    An If takes one decision for a whole run, so the file takes one sample at a time: a batch of 1.
    """
    import edgeexit  # noqa: PLC0415  its names load NumPy

    with needing_prepare("export"):
        from edgeexit.offline.if_export import export_with_ifs  # noqa: PLC0415
    loaded = edgeexit.load_bundle(bundle)
    written = export_with_ifs(loaded, out, exit_rule=exit_rule, allowed_drop=allowed_drop)
    warn_of_missed_drop(loaded, exit_rule, allowed_drop)
    click.echo(json.dumps(_document(written), indent=1) if as_json else _text(loaded, written))
    return 0


def _text(bundle: Bundle, written: IfExport) -> str:
    last = written.looks[-1].exit_index
    lines = [
        f"{written.path}: {bundle.name} with {len(written.looks) - 1} If nodes, {written.size / 1e6:.3g} MB",
        f"  takes   {', '.join(written.inputs)}: a batch of 1, for an If decides for a whole run",
        f"  gives   {', '.join(written.outputs)}",
        *(
            f"  exit {look.exit_index:<3} answers if its largest probability is at least {look.least_confidence:g}"
            for look in written.looks[:-1]
        ),
        f"  exit {last:<3} answers in any case",
    ]
    return "\n".join(lines)


def _document(written: IfExport) -> dict[str, Any]:
    return {
        "file": str(written.path),
        "bytes": written.size,
        "inputs": list(written.inputs),
        "outputs": list(written.outputs),
        "batch": 1,
        "looks": [look._asdict() for look in written.looks],
    }
