"""Puts the daemon together from its configuration, and runs it; or says what would run."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from edgeexit.bundle import load_bundle
from edgeexit.bundle.costs import load_cost_table
from edgeexit.daemon.access import Access, read_token
from edgeexit.daemon.config import ServeConfig, as_mapping, served_bundles, service_settings
from edgeexit.daemon.listening import all_loopback, bind_tcp, close_all, open_unix
from edgeexit.daemon.notify import Notifier
from edgeexit.daemon.running import Daemon
from edgeexit.daemon.seeing.logs import RefusalLog, logging_to
from edgeexit.daemon.service import DaemonService
from edgeexit.daemon.slot import make_governor
from edgeexit.daemon.standard_files import fill_standard_files
from edgeexit.daemon.statistics import Statistics
from edgeexit.device import open_device
from edgeexit.errors import MissingExtra, OptionError
from edgeexit.runtime.settings import one_setting

if TYPE_CHECKING:
    import socket

    from edgeexit.bundle import Bundle
    from edgeexit.daemon.config_sources import Told
    from edgeexit.daemon.http.refusal import App
    from edgeexit.daemon.settings import ServedBundle

log = logging.getLogger(__name__)


class CheckedBundle(NamedTuple):
    """A bundle that would be served."""

    served: ServedBundle
    bundle: Bundle
    setting: str
    """Exit rule and allowed drop that requests get which ask for none."""


def check(told: Told) -> list[CheckedBundle]:
    """Check all that can be checked without listening and without writing a clock, and load every bundle.

    Raises:
        OptionError: If a setting cannot be used.
        PluginNotFound: If there is no such governor.
        BundleError: If a bundle or its cost table is damaged, or there is none.
        DeviceError: If there is no such device.
        MissingExtra: If gRPC is asked for and not installed.
    """
    config = told.config
    served = served_bundles(config)
    open_access(config)
    check_grpc(config)
    make_governor(config.governor, config.governor_options)
    if config.device not in (None, "host"):  # what this machine itself can do is told when it starts
        open_device(config.device, work_scale=config.work_scale, looks_only=True).close()
    return [_checked(each) for each in served]


def remarks_on(told: Told) -> list[str]:
    """Return what is no mistake, and may still not be as it was meant."""
    config = told.config
    sockets = [path for path in (config.unix, config.grpc_unix) if path is not None]
    absent = (
        f"the folder of the Unix socket {path} is not there now: it must be once the daemon starts"
        for path in sockets
        if not path.parent.is_dir()
    )
    return [*told.remarks, *absent]


def settings_with_origins(told: Told) -> Iterator[tuple[str, Any, str]]:
    """Return every setting's key, value and origin."""
    for key, value in as_mapping(told.config).items():
        yield key, value, told.origins[key]


def open_access(config: ServeConfig) -> Access:
    """Return the rules for who may ask what, with the token read.

    Raises:
        OptionError: If the token cannot be used, or there is none although others than this machine can connect.
    """
    loopback = not config.tcp or all_loopback(config.host)
    token = None if config.token_file is None else read_token(config.token_file)
    if token is None and not loopback:
        raise OptionError(
            f"{config.host} can be reached from other machines, and there is no token: make one with "
            "(umask 077; openssl rand -hex 32 > FILE) and name it with --token-file FILE, or listen on 127.0.0.1"
        )
    return Access(token, loopback=loopback, hosts=frozenset(name.lower() for name in config.hosts))


def check_grpc(config: ServeConfig) -> None:
    """Check that there can be gRPC, if it is asked for.

    Raises:
        OptionError: If it is to listen on TCP, which is switched off.
        MissingExtra: If its package is not installed.
    """
    if config.grpc_port is not None and not config.tcp:
        raise OptionError("grpc_port is of TCP: leave out --no-tcp, or give --grpc-unix PATH instead")
    if _wants_grpc(config) and find_spec("grpc") is None:
        raise MissingExtra(
            "gRPC needs grpcio: pip install 'edgeexit[serve,grpc]', or leave out grpc_port and grpc_unix"
        )


def _wants_grpc(config: ServeConfig) -> bool:
    return config.grpc_port is not None or config.grpc_unix is not None


def serve(told: Told, stream: TextIO | None, environment: Mapping[str, str] = os.environ) -> None:
    """Serve until SIGTERM or SIGINT comes.

    Args:
        told: The configuration.
        stream: Where logs go; None if standard error is closed.
        environment: Where systemd's variables are looked for.

    Raises:
        OptionError: If a setting cannot be used.
        ServeError: If a socket cannot be listened on.
        MissingExtra: If gRPC is asked for and not installed.
        EdgeExitError: If the device or a bundle cannot be used.
    """
    config = told.config
    check_grpc(config)
    fill_standard_files()
    with logging_to(stream, config.log.level, config.log.format), _open_sockets(config) as sockets:
        for remark in told.remarks:
            log.warning("%s", remark)
        access = open_access(config)
        if access.token is None and config.tcp:
            log.info("there is no token: what changes the daemon's state is refused over TCP")
        from edgeexit.daemon.http.server import run  # noqa: PLC0415  only once the settings are known to be right

        run(_run(config, access, sockets, Notifier.from_environment(environment)))


async def _run(config: ServeConfig, access: Access, sockets: list[socket.socket], notifier: Notifier) -> None:
    service = DaemonService(served_bundles(config), service_settings(config), [RefusalLog()])

    statistics = Statistics()

    def app() -> App:
        from edgeexit.daemon.http.app import make_app  # noqa: PLC0415  while the bundles are being loaded
        from edgeexit.daemon.http.seeing import look_at  # noqa: PLC0415

        return make_app(service, config, access, look_at(service), statistics)

    def beside() -> AbstractAsyncContextManager[None]:
        return _grpc(service, config, access, statistics) if _wants_grpc(config) else contextlib.nullcontext()

    await Daemon(service, app, config, notifier, beside).run(sockets)


@contextlib.asynccontextmanager
async def _grpc(
    service: DaemonService, config: ServeConfig, access: Access, statistics: Statistics
) -> AsyncIterator[None]:
    """Serve over gRPC too, whose library is kept from writing a line of its own for every mistake of a client."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from edgeexit.daemon.grpc.server import start_grpc  # noqa: PLC0415  few want it, and it takes time and memory

    server = await start_grpc(service, config, access, lambda: service.settings.latency_budget_s, statistics)
    log.info("listening for gRPC on %s", ", ".join(server.targets))
    try:
        yield
    finally:
        await server.close()


def _checked(served: ServedBundle) -> CheckedBundle:
    bundle = load_bundle(served.path)
    try:
        setting = one_setting(bundle, served.exit_rule, served.allowed_drop)
    except OptionError as error:
        raise OptionError(f"model {served.name!r}: {error}") from error
    if served.cost_file is not None:
        load_cost_table(served.cost_file, bundle)
    drop = "" if setting.allowed_drop is None else f" at {setting.allowed_drop:g} points"
    return CheckedBundle(served, bundle, f"{setting.name or setting.rule.name}{drop}")


@contextlib.contextmanager
def _open_sockets(config: ServeConfig) -> Iterator[list[socket.socket]]:
    if not (config.tcp or config.unix):
        raise OptionError("there is nothing to listen on: give --unix PATH, or leave out --no-tcp")
    with contextlib.ExitStack() as stack:
        sockets: list[socket.socket] = []
        stack.callback(close_all, sockets)
        if config.tcp:
            open_access(config)
            sockets += bind_tcp(config.host, config.port)
            log.info("listening on %s", ", ".join(_url(each) for each in sockets))
        if config.unix is not None:
            sockets.append(stack.enter_context(open_unix(config.unix, int(config.unix_mode, 8))))
            log.info("listening on unix:%s", config.unix)
        yield sockets


def _url(bound: socket.socket) -> str:
    address, port = bound.getsockname()[:2]
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
