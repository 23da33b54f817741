"""`edgeexit clockd`: the small process that alone may write clocks."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from edgeexit.cli.failures import debugging
from edgeexit.errors import OptionError

_SOCKET = Path("/run/edgeexit/clockd.sock")


@click.command("clockd", short_help="Set clocks for processes that may not: a small privileged service.")
@click.option(
    "--socket",
    type=click.Path(dir_okay=False, path_type=Path),
    default=_SOCKET,
    show_default=True,
    help="Where it listens: a Unix socket of the kind SOCK_SEQPACKET.",
)
@click.option("--device", metavar="NAME", help="Take this machine for that board; by default it is looked at.")
@click.option("--allow-user", "users", multiple=True, metavar="NAME", help="Also this user may set clocks.")
@click.option("--allow-group", "groups", multiple=True, metavar="NAME", help="Also members of this group may.")
@click.option(
    "--silence-s",
    type=float,
    default=1.5,
    show_default=True,
    help="A client that holds the clocks and says nothing for so many seconds loses them.",
)
def command(socket: Path, device: str | None, users: tuple[str, ...], groups: tuple[str, ...], silence_s: float) -> int:
    """Set the clocks of this machine for processes that may not, for instance `edgeexit serve`.

    It runs as root, or as a user of the group that may write the clocks (see `edgeexit doctor --fix`). It takes only
    requests for known clocks within their limits, from one client at a time; only root, its own user, and whom the
    options name may connect. The clocks are given back when that client ends, dies or stays silent, and when clockd
    itself ends, however that may be. It serves until SIGTERM, SIGINT or SIGHUP.
    """
    from edgeexit.daemon.clockd.running import ClockdSettings, run_clockd  # noqa: PLC0415
    from edgeexit.daemon.seeing.logs import logging_to  # noqa: PLC0415
    from edgeexit.daemon.standard_files import fill_standard_files  # noqa: PLC0415
    from edgeexit.device import open_device  # noqa: PLC0415
    from edgeexit.device.host import HostDevice  # noqa: PLC0415

    fill_standard_files()
    with logging_to(sys.stderr, "debug" if debugging() else "info", "text"), open_device(device) as board:
        if not isinstance(board, HostDevice):
            raise OptionError(f"{board.name} is simulated: its clocks are set in process, and clockd has nothing to do")
        run_clockd(board, ClockdSettings(socket=socket, users=users, groups=groups, silence_s=silence_s))
    return 0
