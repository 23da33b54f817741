"""The server: binds, listens and stops."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import grpc.aio

from edgeexit.daemon.grpc.calls import Calls
from edgeexit.daemon.grpc.intake import Intake
from edgeexit.daemon.grpc.methods import Methods
from edgeexit.daemon.inference import wire_limits
from edgeexit.daemon.listening import bind_tcp, close_all, unix_path
from edgeexit.daemon.statistics import Statistics
from edgeexit.errors import ServeError

if TYPE_CHECKING:
    from edgeexit.daemon.access import Access
    from edgeexit.daemon.config import ServeConfig
    from edgeexit.daemon.contracts import Service

_MS_PER_S: Final = 1e3
_IDENTITY: Final = 1
"""Bit of messages that are not compressed: of a small message that unpacks to a large one, versions of gRPC before 1.81
only see the size once it is unpacked."""


class GrpcServer:
    """A server of the protocol over gRPC.

    Args:
        calls: What it answers.
        config: Where it listens, and limits and timeouts.

    Attributes:
        targets: What it listens on, as clients name it: "127.0.0.1:8001", "unix:/run/edgeexit/grpc.sock".
    """

    def __init__(self, calls: Calls, config: ServeConfig) -> None:
        self.targets: list[str] = []
        self._config = config
        self._bound = contextlib.ExitStack()
        most = config.limits.connections
        self._server = grpc.aio.server(options=_options(config), maximum_concurrent_rpcs=most)
        self._server.add_generic_rpc_handlers((calls.handler(),))

    async def start(self) -> None:
        """Bind and listen.

        Raises:
            ServeError: If a port or path is taken, or not allowed.
        """
        config = self._config
        try:
            if config.grpc_port is not None:
                self._bind_tcp(config.host, config.grpc_port)
            if config.grpc_unix is not None:
                self._bind_unix(config.grpc_unix, int(config.unix_mode, 8))
            await self._server.start()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Take no more calls, finish those in flight within the time that there is for it, and stop."""
        await self._server.stop(self._config.timeouts.shutdown_s)
        self._bound.close()

    def _bind_tcp(self, host: str, port: int) -> None:
        """Bind to every address of a host; gRPC opens its sockets itself, so these only try and choose them."""
        tried = bind_tcp(host, port, flag="--grpc-port")
        addresses = [each.getsockname()[:2] for each in tried]
        close_all(tried)
        for address, chosen in addresses:
            self._bind(f"[{address}]:{chosen}" if ":" in address else f"{address}:{chosen}")

    def _bind_unix(self, path: Path, mode: int) -> None:
        self._bound.enter_context(unix_path(path, mode, lambda: self._bind(f"unix:{quote(str(path))}")))

    def _bind(self, target: str) -> None:
        try:
            self._server.add_insecure_port(target)
        except RuntimeError as error:
            raise ServeError(f"gRPC cannot listen on {target}: {error}") from error
        self.targets.append(target)


async def start_grpc(
    service: Service,
    config: ServeConfig,
    access: Access,
    default_budget_s: Callable[[], float | None],
    statistics: Statistics | None = None,
) -> GrpcServer:
    """Serve the protocol over gRPC, on the running event loop.

    Args:
        service: Who answers.
        config: `grpc_port` and `grpc_unix` say where to listen.
        access: Who may ask what: the rules that hold for HTTP.
        default_budget_s: Returns when an answer is due where the client does not say.
        statistics: Counts requests, also those of other transports; None for one of its own.

    Raises:
        ServeError: If a port or path is taken, or not allowed.
    """
    limits = config.limits
    intake = Intake(each_bytes=limits.body_bytes, all_bytes=limits.all_bodies_bytes, read_s=config.timeouts.body_read_s)
    methods = Methods(service, wire_limits(limits), statistics or Statistics(), default_budget_s)
    server = GrpcServer(Calls(methods.all(), access, intake), config)
    await server.start()
    return server


def _options(config: ServeConfig) -> list[tuple[str, int]]:
    """Return limits and timeouts as gRPC calls them; a version that does not know one yet leaves it out.

    Source: https://github.com/grpc/grpc/blob/master/include/grpc/impl/channel_arg_names.h.
    """
    limits, timeouts = config.limits, config.timeouts
    return [
        ("grpc.so_reuseport", 0),  # otherwise two servers can have the same port, and clients get either
        ("grpc.http2.bdp_probe", 0),  # widens a connection's window: much comes that nobody has asked to read yet
        ("grpc.compression_enabled_algorithms_bitset", _IDENTITY),
        ("grpc.max_receive_message_length", limits.body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", limits.header_bytes),
        ("grpc.absolute_max_metadata_size", limits.header_bytes),
        ("grpc.max_concurrent_streams", limits.connections),
        ("grpc.max_allowed_incoming_connections", limits.connections),
        ("grpc.server_handshake_timeout_ms", round(timeouts.header_read_s * _MS_PER_S)),
        ("grpc.max_connection_idle_ms", round(timeouts.keep_alive_s * _MS_PER_S)),
    ]
