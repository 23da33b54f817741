"""Bring a model to an operator set that knows quantisation by channel."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import version_converter

from edgeexit.errors import GraphError
from edgeexit.offline.compress.quantise import OLDEST_OPSET_BY_CHANNEL
from edgeexit.offline.graph.source import opset_version


def with_newer_opset(model: Any, *, at_least: int = OLDEST_OPSET_BY_CHANNEL) -> Any:
    """Return the model in opset `at_least`, by ONNX's own converter; one that is as new already as it is.

    Do so before a model is split: all pieces of a bundle have one opset.

    Args:
        model: onnx.ModelProto with its weights in it; it is not changed.
        at_least: The opset.

    Raises:
        GraphError: If ONNX cannot convert it, or would change what its inputs and outputs are called.
    """
    version = opset_version(model)
    if version >= at_least:
        return model
    try:
        result = version_converter.convert_version(model, at_least)
        onnx.checker.check_model(result)
    except Exception as error:  # the converter raises what its C++ raises
        raise GraphError(f"the model is of opset {version} and cannot be converted to {at_least}: {error}") from error
    if _interface(result) != _interface(model):
        raise GraphError(f"ONNX renames inputs or outputs when it converts from opset {version} to {at_least}")
    return result


def _interface(model: Any) -> tuple[list[str], list[str]]:
    weights = {w.name for w in model.graph.initializer}
    return [v.name for v in model.graph.input if v.name not in weights], [v.name for v in model.graph.output]
