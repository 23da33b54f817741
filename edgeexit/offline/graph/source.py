"""Read an ONNX model that shall be split, without its weights where they lie in other files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import onnx
from google.protobuf.message import DecodeError
from onnx import inliner
from onnx.external_data_helper import load_external_data_for_model

from edgeexit.bundle.files import LARGEST_PROTOBUF
from edgeexit.bundle.graph import safety
from edgeexit.errors import GraphError

OLDEST_OPSET: Final = 9


def read_model(path: str | os.PathLike[str]) -> Any:
    """Read a model, inline its functions and check what it consists of.

    Weights in external files are not read: their tensors keep the reference, see `with_weights`.

    Returns:
        onnx.ModelProto.

    Raises:
        FileNotFoundError: If there is no such file.
        GraphError: If it is no ONNX model, older than opset 9, or has custom operators.
    """
    file = Path(path)
    try:
        model = onnx.load(file, load_external_data=False)
    except DecodeError as error:
        raise GraphError(f"{file}: is no ONNX model ({error}); it may be truncated") from error
    if not model.graph.node:
        raise GraphError(f"{file}: holds no graph")
    if model.functions:
        model = inliner.inline_local_functions(model)
    safety.check_operators(model, str(file))
    if opset_version(model) < OLDEST_OPSET:
        raise GraphError(
            f"{file}: is of opset {opset_version(model)}, {OLDEST_OPSET} or newer is needed; "
            "convert it with onnx.version_converter or export it again"
        )
    return model


def opset_version(model: Any) -> int:
    """Return the version of ONNX's own operators that `model` uses; 0 if it imports none."""
    return next((int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)


def with_weights(data: bytes, folder: Path, name: str) -> Any:
    """Read a piece and put the weights inline that its tensors refer to.

    Args:
        data: A serialised ModelProto.
        folder: Where the model that it was cut from lies.
        name: What to call the piece in an error message.

    Returns:
        onnx.ModelProto.

    Raises:
        GraphError: If a file of weights is missing or leads out of `folder`, or if the piece grows beyond what one
            ONNX file holds (2 GiB).
    """
    model = onnx.load_from_string(data)
    try:
        load_external_data_for_model(model, str(folder))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise GraphError(f"{name}: its weights cannot be read from {folder}: {error}") from error
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.DEFAULT:
            tensor.ClearField("data_location")  # so that the same weights give the same bytes
    if model.ByteSize() > LARGEST_PROTOBUF:
        raise GraphError(
            f"{name}: holds {model.ByteSize()} bytes, an ONNX file can hold {LARGEST_PROTOBUF}; cut it in more places"
        )
    return model
