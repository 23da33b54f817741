"""Energy-aware early-exit runtime for neural networks on small computers.

A bundle is a network cut into segments with exits. A session runs it segment by segment, asks an exit rule
after each look whether the answer is good enough, and a governor at which clocks the next piece shall run:

* ``load_bundle`` (`edgeexit.bundle`): what `edgeexit.offline` prepared from an ONNX model;
* ``open_device``, ``load_profile`` (`edgeexit.device`): the board, real or simulated;
* ``load_exit_rule`` (`edgeexit.exits`), ``load_governor`` (`governors/`): policies, found by name;
* ``Session`` (`edgeexit.runtime`): runs all of them together and returns a ``Result``;
* ``Client``, ``AsyncClient`` (`edgeexit.client`): ask a daemon that ``edgeexit serve`` started.

`edgeexit.protocols` holds the contracts between them. Names here are loaded when they are first used, so
that ``import edgeexit`` costs next to nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeexit.bundle import Bundle, load_bundle
    from edgeexit.client import AsyncClient, Client
    from edgeexit.device import DeviceProfile, load_profile, open_device
    from edgeexit.errors import EdgeExitError
    from edgeexit.protocols import Decision, Device, Evidence, ExitRule, Governor, Observation, Verdict
    from edgeexit.registry import load_exit_rule, load_governor
    from edgeexit.runtime import Result, Session

__version__ = "0.1.0"

if not os.path.isdir(os.path.join(__path__[0], "governors")):  # noqa: PTH112, PTH118  pathlib takes long to import
    __path__.append(os.path.dirname(__path__[0]))  # noqa: PTH120  in the source tree they stand beside this folder

_HOME = {
    "AsyncClient": "client",
    "Bundle": "bundle",
    "Client": "client",
    "Decision": "protocols",
    "Device": "protocols",
    "DeviceProfile": "device",
    "EdgeExitError": "errors",
    "Evidence": "protocols",
    "ExitRule": "protocols",
    "Governor": "protocols",
    "Observation": "protocols",
    "Result": "runtime",
    "Session": "runtime",
    "Verdict": "protocols",
    "load_bundle": "bundle",
    "load_exit_rule": "registry",
    "load_governor": "registry",
    "load_profile": "device",
    "open_device": "device",
}

__all__ = [
    "AsyncClient",
    "Bundle",
    "Client",
    "Decision",
    "Device",
    "DeviceProfile",
    "EdgeExitError",
    "Evidence",
    "ExitRule",
    "Governor",
    "Observation",
    "Result",
    "Session",
    "Verdict",
    "__version__",
    "load_bundle",
    "load_exit_rule",
    "load_governor",
    "load_profile",
    "open_device",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'edgeexit' has no attribute {name!r}")
    value = getattr(import_module(f"edgeexit.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
