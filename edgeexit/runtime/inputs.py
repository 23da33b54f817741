"""Checks what a user gives before any of it reaches ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeexit.bundle.manifest import ANY_SIZE
from edgeexit.errors import InputError, OptionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgeexit.bundle import Bundle, Tensor

    Array = NDArray[Any]


class InputCheck:
    """Checks the inputs of one bundle.

    Args:
        bundle: Says which inputs there are.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._tensors = bundle.inputs
        self._bundle_name = bundle.name
        self._only = bundle.inputs[0] if len(bundle.inputs) == 1 else None
        self._plain = _plain_sample(self._only)

    def check(self, inputs: Array | Mapping[str, Array], *, samples: int | None) -> dict[str, Array]:
        """Return the inputs by name, of the right dtype, with shapes that the bundle accepts and finite values.

        Args:
            inputs: One array where the bundle has one input, else a mapping from name to array.
            samples: The size that the batch must have; None for any, the same for every input.

        Raises:
            InputError: If a name, shape or dtype is wrong, or a value is not finite.
        """
        only = self._only
        if only is not None and type(inputs) is np.ndarray and (inputs.shape, inputs.dtype) == self._plain:
            check_finite(only.name, inputs)
            return {only.name: inputs}
        arrays = self._by_name(inputs)
        symbols: dict[str, int] = {}
        return {tensor.name: _check(tensor, arrays[tensor.name], samples, symbols) for tensor in self._tensors}

    def _by_name(self, inputs: Array | Mapping[str, Array]) -> Mapping[str, Array]:
        names = [tensor.name for tensor in self._tensors]
        has = f"bundle {self._bundle_name!r} has the inputs {', '.join(names)}"
        if not isinstance(inputs, Mapping):
            if len(names) != 1:
                raise InputError(f"{has}: give a mapping by name")
            return {names[0]: inputs}
        if sorted(inputs) != sorted(names):
            raise InputError(f"{has}, not {', '.join(inputs)}")
        return inputs


def _plain_sample(tensor: Tensor | None) -> tuple[tuple[int, ...], np.dtype[Any]] | None:
    """Return shape and dtype of one sample where both are known, which spares it all checks but that of its values."""
    if tensor is None or tensor.shape is None:
        return None
    sizes = [size for size in tensor.shape[1:] if isinstance(size, int)]
    return ((1, *sizes), np.dtype(tensor.dtype)) if len(sizes) == len(tensor.shape) - 1 else None


def _check(tensor: Tensor, value: Array, samples: int | None, symbols: dict[str, int]) -> Array:
    array = np.asarray(value)
    _check_shape(tensor, array, samples, symbols)
    if array.dtype != tensor.dtype:
        array = _cast(tensor, array)
    check_finite(tensor.name, array)
    return array


def _check_shape(tensor: Tensor, array: Array, samples: int | None, symbols: dict[str, int]) -> None:
    expected = tensor.shape
    if expected is None:
        return
    if len(array.shape) != len(expected):
        raise InputError(f"input {tensor.name!r} must have the shape {_text(expected)}, not {array.shape}")
    for axis, (size, want) in enumerate(zip(array.shape, expected, strict=True)):
        if axis == 0 and samples is None and size == 0:
            continue
        if axis == 0 and samples is not None and isinstance(want, str) and size != samples:
            raise InputError(f"input {tensor.name!r} must hold {samples} sample, not {size}: use infer_batch for more")
        if axis == 0 and samples is None and want == 1:
            continue
        wanted = symbols.setdefault(want, size) if isinstance(want, str) and want != ANY_SIZE else want
        if wanted not in (size, ANY_SIZE) or size == 0:
            raise InputError(f"input {tensor.name!r} must have the shape {_text(expected)}, not {array.shape}")


def _cast(tensor: Tensor, array: Array) -> Array:
    want = np.dtype(tensor.dtype)
    if array.dtype.kind != want.kind or array.dtype.kind not in "fiu":
        raise InputError(
            f"input {tensor.name!r} must be {tensor.dtype}, not {array.dtype}: convert it as the model was trained, "
            "for instance image.astype('float32') / 255"
        )
    return array.astype(want)


def check_budget(
    latency_budget_s: float | None,
    energy_budget_j: float | None = None,
    next_request_in_s: float | None = None,
    wanted_in_s: float | None = None,
) -> None:
    """Refuse a budget that is no time or no energy.

    Raises:
        InputError: If one is not above 0 and finite.
    """
    if latency_budget_s is not None and not 0.0 < latency_budget_s < inf:
        raise InputError(f"latency_budget_s must be seconds above 0, or None for no deadline, not {latency_budget_s!r}")
    if energy_budget_j is not None and not 0.0 < energy_budget_j < inf:
        raise InputError(f"energy_budget_j must be joules above 0, or None for no limit, not {energy_budget_j!r}")
    for name, value in (("next_request_in_s", next_request_in_s), ("wanted_in_s", wanted_in_s)):
        if value is not None and not 0.0 < value < inf:
            raise InputError(f"{name} must be seconds above 0, or None if it is not known, not {value!r}")


def period_of(frame_rate_hz: float | None) -> float | None:
    """Return the seconds from one inference to the next; None where there is no frame rate.

    Raises:
        OptionError: If it is not above 0 and finite.
    """
    if frame_rate_hz is None:
        return None
    if not 0.0 < frame_rate_hz < inf:
        raise OptionError(f"frame_rate_hz must be above 0 and finite, not {frame_rate_hz!r}")
    return 1.0 / frame_rate_hz


def checked_guard(latency_guard: float | None) -> float | None:
    """Return what latencies are multiplied by where a deadline must hold, as it was given.

    Raises:
        OptionError: If it is below 1 or not finite.
    """
    if latency_guard is not None and not 1.0 <= latency_guard < inf:
        raise OptionError(f"latency_guard must be 1 or more, not {latency_guard!r}")
    return latency_guard


def check_finite(name: str, array: Array) -> None:
    """Refuse NaN and infinity; one dot product passes nearly every array at a fraction of the cost of isfinite.

    Raises:
        InputError: If a value is not finite.
    """
    if array.dtype.kind != "f":
        return
    if not isfinite(np.vdot(array, array)) and not np.isfinite(array).all():
        raise InputError(f"input {name!r} holds values that are not finite (NaN or infinity)")


def made_up_inputs(bundle: Bundle) -> dict[str, Array]:
    """Return one sample of random numbers, or ones where the input is of whole numbers; open sizes are 1."""
    generator = np.random.default_rng(0)
    inputs: dict[str, Array] = {}
    for tensor in bundle.inputs:
        shape = tuple(size if isinstance(size, int) else 1 for size in tensor.shape or ())
        floating = np.issubdtype(np.dtype(tensor.dtype), np.floating)
        inputs[tensor.name] = (
            generator.random(shape).astype(tensor.dtype) if floating else np.ones(shape, dtype=tensor.dtype)
        )
    return inputs


def _text(shape: tuple[int | str, ...]) -> str:
    return "(" + ", ".join(str(size) for size in shape) + ")"
