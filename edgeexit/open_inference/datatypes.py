"""The protocol's datatypes and numpy's."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from edgeexit.errors import MalformedMessage

if TYPE_CHECKING:
    from collections.abc import Mapping


class Datatype(NamedTuple):
    """One of the protocol's datatypes."""

    name: str
    dtype: np.dtype[Any]
    """Of its arrays here; BF16, which numpy has not, becomes float32, and BYTES objects."""
    size: int
    """Bytes of an element on the wire; 0 for BYTES, whose elements bring their lengths."""


BYTES: Final = "BYTES"
BOOL: Final = "BOOL"
BF16: Final = "BF16"
_NUMPY: Final = {
    BOOL: "?",
    **{f"{sign}INT{8 * size}": f"<{kind}{size}" for sign, kind in (("", "i"), ("U", "u")) for size in (1, 2, 4, 8)},
    **{f"FP{8 * size}": f"<f{size}" for size in (2, 4, 8)},
}
DATATYPES: Final[Mapping[str, Datatype]] = MappingProxyType(
    {name: Datatype(name, np.dtype(code), np.dtype(code).itemsize) for name, code in _NUMPY.items()}
    | {BF16: Datatype(BF16, np.dtype("<f4"), 2), BYTES: Datatype(BYTES, np.dtype(object), 0)}
)
_BY_DTYPE: Final = {np.dtype(code): name for name, code in _NUMPY.items()}


def datatype(name: str) -> Datatype:
    """Return a datatype by its name.

    Raises:
        MalformedMessage: If the protocol has none of this name.
    """
    try:
        return DATATYPES[name]
    except KeyError:
        raise MalformedMessage(f"unknown datatype {name!r}: there are {', '.join(DATATYPES)}") from None


def datatype_name(dtype: np.dtype[Any] | str) -> str:
    """Return the protocol's name of a numpy dtype, or of a dtype that a bundle names ("bfloat16").

    Raises:
        MalformedMessage: If the protocol has none for it.
    """
    if isinstance(dtype, str):
        return BF16 if dtype == "bfloat16" else datatype_name(np.dtype(dtype))
    if dtype.kind in "OSU":
        return BYTES
    try:
        return _BY_DTYPE[dtype.newbyteorder("<")]
    except KeyError:
        raise MalformedMessage(f"the protocol has no datatype for {dtype}: convert the array") from None
