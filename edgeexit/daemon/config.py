"""What the daemon is told: every setting with its default and its range; `config_sources` reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, field

from edgeexit.daemon.settings import CLOCKD_SOCKET, FIRST_VERSION, ServedBundle, ServiceSettings
from edgeexit.errors import OptionError

DEFAULT_PORT: Final = 8000
"""That of NVIDIA's Triton, which clients of the protocol try first."""
MODEL_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,127}"

Positive = Annotated[float, Meta(gt=0.0, le=1e9)]
Amount = Annotated[float, Meta(ge=0.0, le=1e9)]
Share = Annotated[float, Meta(gt=0.0, le=1.0)]
Count = Annotated[int, Meta(ge=1, le=2**31)]
Threads = Annotated[int, Meta(ge=1, le=1024)]
Port = Annotated[int, Meta(ge=0, le=65535)]
Text = Annotated[str, Meta(min_length=1, max_length=4096)]
ModelName = Annotated[str, Meta(pattern=f"^{MODEL_NAME}$")]
Version = Annotated[str, Meta(pattern=r"^(0|[1-9][0-9]{0,8})$")]


class BundleConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bundle to serve; what it leaves open is as the top of the configuration says.

    Attributes:
        path: Folder, with a slash in it, or the name of a bundle that ships with edgeexit.
        name: What clients call it; by default the last part of `path`.
        version: A whole number; a client that names none gets the highest.
        exit_rule: One of the bundle's calibrated settings.
        allowed_drop: Accuracy that it may cost, in points.
        threads: Threads for ONNX Runtime.
        max_batch: So many waiting requests may run as one batch.
        shadow: Share of early answers that are run to the end in idle time.
        cost_file: Cost table from `edgeexit measure`.
    """

    path: Text
    name: ModelName | None = None
    version: Version = FIRST_VERSION
    exit_rule: Text | None = None
    allowed_drop: Amount | None = None
    threads: Threads | None = None
    max_batch: Count | None = None
    shadow: Share | None = None
    cost_file: Path | None = None


class LimitsConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of a thing a client may ask for.

    Attributes:
        body_bytes: Of one request's body, and of what it unpacks to.
        all_bodies_bytes: Of all bodies that are being received or worked on.
        header_bytes: Of one request's line and headers.
        headers: Headers of one request.
        json_bytes: Of its JSON part.
        tensor_elements: Of one tensor.
        models: Bundles, each version counted.
        connections: Open at the same time, both sockets together.
    """

    body_bytes: Count = 32 * 2**20
    all_bodies_bytes: Count = 128 * 2**20
    header_bytes: Annotated[int, Meta(ge=256, le=2**20)] = 16 * 2**10
    headers: Count = 64
    json_bytes: Count = 16 * 2**20
    tensor_elements: Count = 16 * 2**20
    models: Count = 32
    connections: Count = 256


class TimeoutsConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the daemon waits for a client, in seconds.

    Attributes:
        header_read_s: For all headers, from a connection's start or a request's first byte.
        body_read_s: For all of a body.
        keep_alive_s: For the next request of a connection.
        shutdown_s: For requests in flight when the daemon is stopped.
    """

    header_read_s: Positive = 10.0
    body_read_s: Positive = 30.0
    keep_alive_s: Positive = 75.0
    shutdown_s: Amount = 10.0


class LogConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is logged on standard error.

    Attributes:
        level: The least that is logged; "debug" has a line for every request.
        format: "text", or "json" for one JSON object a line.
    """

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class ServeConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it; docs/serve.md explains each.

    Attributes:
        bundles: What to serve.
        tcp: False for the Unix socket alone.
        host: Address to listen on; any other than loopback's needs a token.
        port: TCP port; 0 lets the kernel choose one.
        hosts: Names beside localhost by which clients may call the daemon on loopback.
        unix: Path of the Unix socket; None for none.
        unix_mode: Its permissions, in octal digits.
        grpc_port: TCP port for gRPC, on the same host; 0 lets the kernel choose one, None is for none.
        grpc_unix: Path of a Unix socket for gRPC, with the same permissions; None for none.
        token_file: File with the token; None: nobody may change anything over TCP.
        device: As for `edgeexit.open_device`.
        work_scale: As for `edgeexit.open_device`.
        governor: Name of the governor; None leaves the clocks alone.
        governor_options: For its factory.
        latency_budget_s: Until an answer is due where the request does not say.
        queue_limit: So many requests may wait.
        clockd_socket: Where `edgeexit clockd` listens; None never sets a clock of a real board.
        watch_s: How often the bundles' folders are looked at for a new version of them; None never.
        cache_dir: Folder for optimised pieces; by default the user's cache.
        exit_rule: For bundles that do not say.
        allowed_drop: For bundles that do not say.
        threads: For bundles that do not say.
        max_batch: For bundles that do not say.
        shadow: For bundles that do not say.
        limits: How much of a thing a client may ask for.
        timeouts: How long the daemon waits for a client.
        log: What is logged.
    """

    bundles: tuple[BundleConfig, ...] = ()
    tcp: bool = True
    host: Text = "127.0.0.1"
    port: Port = DEFAULT_PORT
    hosts: tuple[Text, ...] = ()
    unix: Path | None = None
    unix_mode: Annotated[str, Meta(pattern="^0?[0-7]{3}$")] = "0660"
    grpc_port: Port | None = None
    grpc_unix: Path | None = None
    token_file: Path | None = None
    device: Text | None = None
    work_scale: Positive = 1.0
    governor: Text | None = "plan"
    governor_options: dict[str, int | float | str] = field(default_factory=dict)
    latency_budget_s: Positive | None = None
    queue_limit: Count = 64
    clockd_socket: Path | None = CLOCKD_SOCKET
    watch_s: Positive | None = 2.0
    cache_dir: Path | None = None
    exit_rule: Text | None = None
    allowed_drop: Amount | None = None
    threads: Threads = 1
    max_batch: Count = 1
    shadow: Share | None = None
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    timeouts: TimeoutsConfig = field(default_factory=TimeoutsConfig)
    log: LogConfig = field(default_factory=LogConfig)


def served_bundles(config: ServeConfig) -> tuple[ServedBundle, ...]:
    """Return what to serve, each bundle with all that is to be known of it.

    Raises:
        OptionError: If there is nothing to serve, too much, or one name and version twice.
    """
    served = tuple(_served(each, config) for each in config.bundles)
    if not served:
        raise OptionError("there is nothing to serve: name a bundle, for instance 'edgeexit serve fashion-resnet'")
    if len(served) > config.limits.models:
        raise OptionError(f"{len(served)} bundles are more than limits.models = {config.limits.models}")
    seen: set[tuple[str, str]] = set()
    for each in served:
        if (each.name, each.version) in seen:
            raise OptionError(
                f"model {each.name!r} version {each.version} is given twice: call one NAME=PATH or NAME@VERSION=PATH"
            )
        seen.add((each.name, each.version))
    return served


def service_settings(config: ServeConfig) -> ServiceSettings:
    """Return how they are served."""
    return ServiceSettings(
        device=config.device,
        work_scale=config.work_scale,
        governor=config.governor,
        governor_options=config.governor_options,
        latency_budget_s=config.latency_budget_s,
        queue_limit=config.queue_limit,
        clockd_socket=config.clockd_socket,
        watch_s=config.watch_s,
        cache_dir=config.cache_dir,
    )


def parse_bundle(text: str) -> dict[str, Any]:
    """Return the settings that a BUNDLE of the command line stands for: PATH, NAME=PATH or NAME@VERSION=PATH.

    A reference bundle's name is a path too. What stands before "=" is a name only if it holds no slash.
    """
    label, equals, path = text.partition("=")
    if not equals or "/" in label:
        return {"path": text}
    name, at, version = label.partition("@")
    return {"path": path, "name": name, **({"version": version} if at else {})}


def _served(bundle: BundleConfig, config: ServeConfig) -> ServedBundle:
    return ServedBundle(
        name=_name(bundle),
        path=bundle.path,
        version=bundle.version,
        exit_rule=_first(bundle.exit_rule, config.exit_rule),
        allowed_drop=_first(bundle.allowed_drop, config.allowed_drop),
        threads=config.threads if bundle.threads is None else bundle.threads,
        max_batch=config.max_batch if bundle.max_batch is None else bundle.max_batch,
        shadow=_first(bundle.shadow, config.shadow),
        cost_file=bundle.cost_file,
    )


def _name(bundle: BundleConfig) -> str:
    name = bundle.name or Path(bundle.path).name or Path(bundle.path).resolve().name
    if name == "stats" or not re.fullmatch(MODEL_NAME, name):  # /v2/models/stats is the protocol's own
        raise OptionError(f"a model cannot be called {name!r}: give it another name with NAME={bundle.path}")
    return name


def _first(value: Any, otherwise: Any) -> Any:
    return otherwise if value is None else value


def as_mapping(config: ServeConfig) -> Mapping[str, Any]:
    """Return every setting by its dotted key, in the order of the definitions."""
    found: dict[str, Any] = {}
    for name in config.__struct_fields__:
        value = getattr(config, name)
        if isinstance(value, Struct):
            found |= {f"{name}.{key}": getattr(value, key) for key in value.__struct_fields__}
        else:
            found[name] = value
    return found
