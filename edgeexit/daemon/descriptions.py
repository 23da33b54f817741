"""What the protocol tells of server and models, in the shape of its JSON, whatever it goes over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import edgeexit
from edgeexit.daemon.outputs import bundle_of, outputs_of
from edgeexit.errors import ModelNotFound
from edgeexit.open_inference.datatypes import datatype_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeexit.bundle import Tensor
    from edgeexit.daemon.contracts import ModelView, Service

NAME: Final = "edgeexit"
EXTENSIONS: Final = ("classification", "model_configuration", "model_repository", "parameters", "statistics")
"""Those that are there over every transport."""
_BACKEND: Final = "onnxruntime"
_STATES: Final = {"ready": "READY", "loading": "LOADING", "unloaded": "UNAVAILABLE", "failed": "UNAVAILABLE"}


def describe_server(extensions: Sequence[str] = EXTENSIONS) -> dict[str, Any]:
    """Return name, version and extensions."""
    return {"name": NAME, "version": edgeexit.__version__, "extensions": list(extensions)}


def is_ready(service: Service) -> bool:
    """Return whether every model can be used; one that was unloaded on purpose does not count."""
    return all(view.ready or view.state == "unloaded" for view in service.models())


def versions_of(service: Service, name: str) -> list[ModelView]:
    """Return every version of a model, the lowest first.

    Raises:
        ModelNotFound: If there is none.
    """
    views = [view for view in service.models() if view.name == name]
    if not views:
        raise ModelNotFound(f"no model {name!r} is served here")
    return sorted(views, key=lambda view: (int(view.version) if view.version.isdecimal() else -1, view.version))


def describe_model(service: Service, view: ModelView) -> dict[str, Any]:
    """Return versions, inputs and outputs of a model.

    Raises:
        ModelNotReady: If it has never been loaded.
    """
    bundle = bundle_of(view)
    return {
        "name": view.name,
        "versions": [each.version for each in versions_of(service, view.name)],
        "platform": NAME,
        "inputs": [
            {"name": tensor.name, "datatype": datatype_name(tensor.dtype), "shape": _shape(tensor)}
            for tensor in bundle.inputs
        ],
        "outputs": [output._asdict() for output in outputs_of(bundle).values()],
        "parameters": {"task": bundle.task} | ({} if bundle.labels is None else {"labels": bundle.labels}),
    }


def describe_config(view: ModelView) -> dict[str, Any]:
    """Return what NVIDIA's server would have in a model's configuration, as far as there is something to it.

    Raises:
        ModelNotReady: If it has never been loaded.
    """
    bundle = bundle_of(view)
    inputs = [(tensor.name, datatype_name(tensor.dtype), _shape(tensor)) for tensor in bundle.inputs]
    return {
        "name": view.name,
        "platform": NAME,
        "backend": _BACKEND,
        "version_policy": {"all": {}},
        "max_batch_size": 0,
        "input": [_config_tensor(*tensor) for tensor in inputs],
        "output": [_config_tensor(*output) for output in outputs_of(bundle).values()],
    }


def describe_index(service: Service, *, ready: bool = False) -> list[dict[str, str]]:
    """Return every model and version with its state, or those alone that are ready."""
    return [_entry(view) for view in service.models() if view.ready or not ready]


def _entry(view: ModelView) -> dict[str, str]:
    state = "READY" if view.ready else _STATES.get(view.state, "UNAVAILABLE")
    return {"name": view.name, "version": view.version, "state": state, "reason": view.reason}


def _shape(tensor: Tensor) -> list[int]:
    return [size if isinstance(size, int) else -1 for size in tensor.shape or (-1,)]


def _config_tensor(name: str, datatype: str, shape: Sequence[int]) -> dict[str, Any]:
    kind = "STRING" if datatype == "BYTES" else datatype
    return {"name": name, "data_type": f"TYPE_{kind}", "dims": list(shape)}
