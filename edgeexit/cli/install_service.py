"""`edgeexit install-service`: the daemon and clockd as services of systemd."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from edgeexit.cli.failures import show_line
from edgeexit.errors import ServeError

_BOOTED = Path("/run/systemd/system")
"""Is there where systemd runs the machine (man 3 sd_booted)."""


@click.command("install-service", short_help="Install the daemon and clockd as services of systemd.")
@click.option("--dry-run", is_flag=True, help="Only print every file and command; nothing is changed.")
@click.option("--remove", is_flag=True, help="Undo everything that install-service has done.")
def command(dry_run: bool, remove: bool) -> int:
    """Install edgeexit-server and edgeexit-clockd as services that start at boot, and start them.

    The server runs as the user edgeexit and answers on port 8000 of this machine and on a Unix socket; clockd runs as
    root without capabilities and sets the clocks for it. /etc/edgeexit/serve.toml says what is served, and
    /etc/edgeexit/token holds the token that changes need.
    """
    from edgeexit.daemon import service_files  # noqa: PLC0415  keeps the command light to import

    plan = service_files.install_plan((sys.executable, "-I", "-m", "edgeexit"))
    unreachable = service_files.why_unreachable(sys.executable, sys.prefix)
    if dry_run:
        if remove:
            raise click.UsageError("--dry-run prints what would be installed: leave out --remove")
        for text in service_files.printed(plan):
            click.echo(text)
        if unreachable is not None:
            show_line("warning", unreachable)
        return 0
    _check_machine("--remove" if remove else "install-service")
    if remove:
        lines = service_files.remove(plan, _run)
    elif unreachable is not None:
        raise ServeError(unreachable)
    else:
        lines = service_files.install(plan, _run)
    for line in lines:
        click.echo(line)
    return 0


def _check_machine(what: str) -> None:
    if os.geteuid() != 0:
        raise ServeError(
            f"{what} changes files of the system and must be run by root: sudo {sys.executable} -m edgeexit "
            f"install-service{' --remove' if what == '--remove' else ''}; --dry-run shows what it would do"
        )
    if not _BOOTED.is_dir():
        raise ServeError("this machine is not run by systemd: start 'edgeexit clockd' and 'edgeexit serve' otherwise")


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ServeError(f"{' '.join(command)} cannot be run: {error.strerror}") from error
    if done.returncode:
        reason = (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
        raise ServeError(f"{' '.join(command)} failed: {reason}")
