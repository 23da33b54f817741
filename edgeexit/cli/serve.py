"""`edgeexit serve`: bundles behind the Open Inference Protocol."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from edgeexit.cli.extras import needing
from edgeexit.errors import OptionError

if TYPE_CHECKING:
    from edgeexit.daemon.config_sources import Told
    from edgeexit.daemon.serving import CheckedBundle

F = TypeVar("F", bound=Callable[..., Any])

_FLAGS: Final = (
    ("host", "ADDRESS", "Address to listen on; any other than this machine's own needs a token [127.0.0.1]."),
    ("port", "N", "TCP port; 0 lets the kernel choose one [8000]."),
    ("unix", "PATH", "Also listen on a Unix socket; who may write to it may change the daemon's state."),
    ("unix_mode", "MODE", "Its permissions in octal digits [0660]."),
    ("grpc_port", "N", "TCP port for gRPC, beside HTTP on the same address; needs the extra grpc."),
    ("grpc_unix", "PATH", "Unix socket for gRPC, with the same permissions."),
    ("token_file", "FILE", "Holds the token that is needed for changes over TCP; only its owner may read it."),
    ("device", "NAME", 'As for `edgeexit run`: "host", a profile, or "simulated:jetson-tx2" [host].'),
    ("work_scale", "FACTOR", "As for `edgeexit run`: makes a network slower on a simulated board [1]."),
    ("governor", "NAME", 'Chooses the clocks; "none" leaves them alone [plan].'),
    ("governor_options", "KEY=VALUE...", "For the governor: one text with spaces between."),
    ("latency_budget_s", "SECONDS", "When an answer is due, where the request does not say."),
    ("queue_limit", "N", "So many requests may wait; one more is refused [64]."),
    ("exit_rule", "NAME", "Exit setting of the bundles [the one that each recommends]."),
    ("allowed_drop", "POINTS", "Accuracy that it may cost [0, or the least that it is calibrated for]."),
    ("threads", "N", "Threads for ONNX Runtime [1]."),
    ("max_batch", "N", "So many waiting requests may run as one batch [1]."),
    ("shadow", "SHARE", "Run this share of early answers to the end when there is time, to see whether they agree."),
    (
        "clockd_socket",
        "PATH",
        'Where `edgeexit clockd` listens; "none" never sets a clock [/run/edgeexit/clockd.sock].',
    ),
    ("log.level", "LEVEL", "debug, info, warning or error; debug has a line for every request [info]."),
    ("log.format", "FORMAT", "text or json [text]."),
)
"""Settings that have a flag of their own; the values are read like those of the environment."""


def _flag_of(key: str) -> str:
    return "--" + key.replace("_", "-").replace(".", "-")


def _setting_flags(function: F) -> F:
    for key, metavar, text in reversed(_FLAGS):
        name = key.replace(".", "_")
        function = click.option(_flag_of(key), name, metavar=metavar, help=text)(function)
    return function


@click.command("serve", short_help="Serve bundles over HTTP (Open Inference Protocol v2).")
@click.argument("bundles", metavar="BUNDLE...", nargs=-1)
@click.option(
    "--config",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="EDGEEXIT_CONFIG",
    metavar="FILE",
    help="TOML or JSON file with any setting [$EDGEEXIT_CONFIG].",
)
@_setting_flags
@click.option("--no-tcp", is_flag=True, help="Listen on the Unix socket alone.")
@click.option(
    "--set",
    "others",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any other setting, for instance limits.body_bytes=1000000; can be given again.",
)
@click.option("--check", is_flag=True, help="Only print what would run and where each setting is from, then stop.")
def command(
    bundles: tuple[str, ...], file: Path | None, no_tcp: bool, others: tuple[str, ...], check: bool, **given: str | None
) -> int:
    """Serve every BUNDLE over HTTP until SIGTERM or Ctrl-C; SIGHUP loads them anew.

    BUNDLE is the name of a bundle that ships, the path of a folder, NAME=PATH, or NAME@VERSION=PATH. Settings come from
    --config, over them those of the environment (EDGEEXIT_PORT, EDGEEXIT_LIMITS_BODY_BYTES), over them flags.
    """
    with needing("serve", "serve"):
        from edgeexit.daemon.config_sources import read_config  # noqa: PLC0415  loads msgspec
        from edgeexit.daemon.serving import serve  # noqa: PLC0415  loads NumPy

    flags = list(_flags(bundles, no_tcp, others, given))
    told = read_config(file=file, environment=os.environ, flags=flags)
    if check:
        _check(told)
    else:
        with needing("serve", "serve"):
            serve(told, sys.stderr)
    return 0


def _flags(
    bundles: Sequence[str], no_tcp: bool, others: Sequence[str], given: dict[str, str | None]
) -> Iterator[tuple[str, str, Any]]:
    """Return the flags that were given: key, flag, value."""
    for pair in others:
        key, equals, value = pair.partition("=")
        if not equals:
            raise OptionError(f"--set takes KEY=VALUE, not {pair!r}")
        yield key, f"--set {key}", value
    for key, _, _ in _FLAGS:
        text = given[key.replace(".", "_")]
        if text is not None:
            yield key, _flag_of(key), text
    if no_tcp:
        yield "tcp", "--no-tcp", False
    if bundles:
        yield "bundles", "BUNDLE", list(bundles)


def _check(told: Told) -> None:
    """Print what would run."""
    from edgeexit.daemon.serving import check, remarks_on, settings_with_origins  # noqa: PLC0415  loads NumPy

    checked = check(told)
    click.echo("Bundles")
    for each in checked:
        click.echo(f"  {_bundle_text(each)}")
    click.echo("Settings")
    for key, value, origin in settings_with_origins(told):
        if key != "bundles":
            click.echo(f"  {key} = {_value_text(value)}  ({origin})")
    for remark in remarks_on(told):
        click.echo(f"Remark: {remark}")


def _bundle_text(checked: CheckedBundle) -> str:
    served, bundle = checked.served, checked.bundle
    return (
        f"{served.name} version {served.version}: {bundle.path}, {bundle.exit_count} exits, {bundle.class_count} "
        f"classes, exit setting {checked.setting}, sha256 {bundle.digest[:12]}, "
        f"costs {'of the device profile' if served.cost_file is None else served.cost_file}"
    )


def _value_text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, dict):
        return " ".join(f"{key}={each}" for key, each in value.items()) or "none"
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
