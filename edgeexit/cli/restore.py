"""`edgeexit restore`: give back clocks that a process left changed when it was killed."""

from __future__ import annotations

import json

import click

from edgeexit.cli.failures import EXIT_DEVICE

_GONE = "gone"
"""What stands for the value of a knob whose file is no more, see `edgeexit.device.restoring`."""


@click.command("restore", short_help="Give back clocks that a killed edgeexit left changed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool) -> int:
    """Put the clocks back that an edgeexit left changed because it was killed.

    Only what still holds the value that edgeexit wrote is put back; what somebody else has changed since is left
    alone. Where there is nothing to do it says so and succeeds. The clocks of a process that lives are its own: stop it
    first. A service runs this as ExecStopPost.
    """
    from edgeexit.device.host import machine_journal  # noqa: PLC0415  loads the drivers

    done = machine_journal().restore_abandoned()
    if as_json:
        click.echo(json.dumps({"restored": done.restored, "left": done.left, "failed": done.failed}, indent=1))
    else:
        for key in done.restored:
            click.echo(f"put back   {key}")
        for key, found in done.left.items():
            why = "its device is gone" if found == _GONE else f"it is {found}, set by somebody else since"
            click.echo(f"left alone {key}: {why}")
        for key, problem in done.failed.items():
            click.echo(f"failed     {key}: {problem}")
        if not (done.restored or done.left or done.failed):
            click.echo("nothing to put back: no edgeexit left clocks changed")
    return EXIT_DEVICE if done.failed else 0
