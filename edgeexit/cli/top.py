"""`edgeexit top`: how a daemon is doing, in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from edgeexit.cli.extras import needing
from edgeexit.cli.numbers import FiniteRange
from edgeexit.cli.screen import draw, key_within, whole_screen
from edgeexit.errors import Denied, EdgeExitError

if TYPE_CHECKING:
    from edgeexit.client import Client

DEFAULT_URL: Final = "http://127.0.0.1:8000"
_BAR: Final = 24
_RECENT: Final = 8
_ENDING: Final = frozenset("qQ\x1b\x04")
"""Keys that end the view: q, Escape alone, Ctrl-D."""
_PATIENCE_S: Final = 5.0
"""Within this a daemon that is well has told its state."""
_NOT_KNOWN: Final = "-"
_SETTERS: Final = {"in process": "the daemon itself, as on any simulated board"}


@click.command("top", short_help="Watch a daemon: requests, exits, clocks, energy.")
@click.option("--url", metavar="URL", help=f"Where it listens [{DEFAULT_URL}].")
@click.option("--unix", type=click.Path(path_type=Path), metavar="PATH", help="Its Unix socket.")
@click.option("--token-file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Holds the token.")
@click.option(
    "--every",
    "every_s",
    type=FiniteRange(min=0.1),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How often it is asked.",
)
@click.option("--once", is_flag=True, help="Print once and stop; also without a terminal.")
def command(url: str | None, unix: Path | None, token_file: Path | None, every_s: float, once: bool) -> int:
    """Show how a daemon is doing until you press q; once, if the output is no terminal."""
    if url is not None and unix is not None:
        raise click.UsageError("give --url or --unix, not both")
    with needing("top", "client"):
        from edgeexit.client import Client  # noqa: PLC0415
    token = None if token_file is None else token_file.read_text(encoding="ascii").strip()
    where = {"unix": unix} if unix is not None else {"url": url or DEFAULT_URL}
    with Client(**where, token=token, timeout_s=_PATIENCE_S) as client:
        try:
            if once or not sys.stdout.isatty():
                click.echo("\n".join(_printable(lines_of(client.state()))))
            else:
                _watch(client, every_s)
        except Denied as error:
            how = "; --token-file FILE names the file that holds it" if error.token_helps else ""
            raise Denied(f"{error}{how}", token_helps=error.token_helps) from error
    return 0


def _watch(client: Client, every_s: float) -> None:
    with whole_screen():
        while True:
            draw(_printable(_present(client, every_s)), footer="q ends this")
            if key_within(every_s) in _ENDING:
                return


def _present(client: Client, every_s: float) -> Iterator[str]:
    try:
        yield from lines_of(client.state())
    except Denied:
        raise
    except EdgeExitError as error:
        yield f"{error}"
        yield f"trying again every {every_s:g} s"


def _printable(lines: Iterable[str]) -> list[str]:
    """Return lines without what could steer a terminal: the daemon may be anybody's."""
    return ["".join(char if char.isprintable() else "?" for char in line) for line in lines]


def lines_of(state: dict[str, Any]) -> Iterator[str]:
    """Yield a state as lines of text.

    Args:
        state: What the daemon answers at /edgeexit/v1/state.
    """
    minute = state["minute"]
    governor = state["governor"] or "none"
    deadline = "none" if state["latency_budget_s"] is None else _seconds(state["latency_budget_s"])
    yield f"{state['device']}, up {state['uptime_s']:.0f} s; governor {governor}, default deadline {deadline}"
    yield _board(state)
    yield ""
    queue = state["queue"]
    yield (
        f"last minute  {minute['answered']} answered ({minute['rate_hz']:.1f}/s), {_refused(minute['refused'])}, "
        f"queue {queue['length']} of {queue['limit']}"
    )
    late, due = minute["deadlines_missed"], minute["deadlines_met"] + minute["deadlines_missed"]
    quantiles = ", ".join(f"{name} {_seconds(value)}" for name, value in minute["latency_s"].items())
    yield f"latency      {quantiles}; {late} of {due} answers late"
    yield f"energy       {_energy(minute, state['energy_source'])}"
    yield from _clocks(state)
    yield from _exits(minute["exits"])
    yield from _models(state["models"])
    yield from _recent(state["recent"])


def _refused(counts: Mapping[str, int]) -> str:
    if not counts:
        return "none refused"
    reasons = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in counts.items())
    return f"{sum(counts.values())} not ({reasons})"


def _board(state: dict[str, Any]) -> str:
    parts = []
    if state["temperature_c"] is not None:
        parts.append(f"{state['temperature_c']:.1f} °C")
    if state["power_w"] is not None:
        parts.append(f"{state['power_w']:.2f} W")
    if state["throttled"] is not None:
        parts.append("throttled: " + ", ".join(state["throttled"]) if state["throttled"] else "not throttled")
    if state["cpu_load"] is not None:
        parts.append(f"load {state['cpu_load']:.0%}")
    return ", ".join(parts) or "no sensors"


def _clocks(state: dict[str, Any]) -> Iterator[str]:
    why = f": {state['clocks_reason']}" if state["clocks_reason"] else ""
    yield f"clocks       set by {_SETTERS.get(state['clocks_set_by'], state['clocks_set_by'])}{why}"
    for name, clock in state["clocks"].items():
        points, hertz = clock["points_hz"], clock["hz"]
        if hertz is None:
            yield f"  {name:10} not known"
            continue
        top = points[-1] if points else hertz
        yield f"  {name:10} {_bar(hertz / top)} {hertz / 1e6:.0f} of {top / 1e6:.0f} MHz"


def _exits(exits: dict[str, dict[str, int]]) -> Iterator[str]:
    for model, counts in exits.items():
        yield f"exits of {model}"
        total = sum(counts.values())
        for index, count in counts.items():
            yield f"  exit {index:5} {_bar(count / total)} {count / total:.1%}"


def _models(models: list[dict[str, Any]]) -> Iterator[str]:
    for model in models:
        if not model["ready"] or model["reason"] or model["drifted"]:
            drift = "; its exits have drifted from calibration" if model["drifted"] else ""
            why = f": {model['reason']}" if model["reason"] else ""
            yield f"! {model['name']} version {model['version']} is {model['state']}{why}{drift}"


def _recent(recent: list[dict[str, Any]]) -> Iterator[str]:
    if recent:
        yield "newest answers"
    for each in reversed(recent[-_RECENT:]):
        clocks = " ".join(f"{name} {hertz / 1e6:.0f} MHz" for name, hertz in each["clocks"].items())
        yield (
            f"  {each['model']:20.20} exit {each['exit_index']:<3} {_seconds(each['latency_s']):>9}"
            f"  {clocks}  {each['reason']}".rstrip()
        )


def _bar(share: float) -> str:
    filled = round(min(max(share, 0.0), 1.0) * _BAR)
    return "#" * filled + "." * (_BAR - filled)


def _seconds(value: float | None) -> str:
    if value is None:
        return _NOT_KNOWN
    return f"{value:.3g} s" if value >= 1.0 else f"{1e3 * value:.3g} ms"


def _energy(minute: dict[str, Any], source: str | None) -> str:
    value = minute["energy_per_sample_j"]
    if value is None:
        return "no meter tells it" if minute["answered"] else _NOT_KNOWN
    return f"{1e3 * value:.3g} mJ a sample ({source or 'modelled'})"
