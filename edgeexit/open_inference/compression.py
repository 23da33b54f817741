"""gzip and deflate, of bodies as a whole."""

from __future__ import annotations

import zlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from edgeexit.errors import MalformedMessage, TooLarge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeexit.open_inference.framing import Buffer

_WINDOW: Final[Mapping[str, int]] = MappingProxyType({"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS})
"""zlib's `wbits`; HTTP's deflate is the zlib format (RFC 9110, 8.4.1.2)."""
ENCODINGS: Final = tuple(_WINDOW)


def compress(data: Buffer, encoding: str) -> bytes:
    """Compress a body.

    Args:
        data: JSON and raw tensors.
        encoding: One of `ENCODINGS`.
    """
    packer = zlib.compressobj(wbits=_WINDOW[encoding])
    return packer.compress(data) + packer.flush()


def decompress(data: Buffer, encoding: str, max_bytes: int) -> bytes:
    """Decompress a body, and stop where it gets too large.

    Args:
        data: One gzip member or zlib stream.
        encoding: One of `ENCODINGS`.
        max_bytes: That the result may have.

    Raises:
        MalformedMessage: If the data is damaged, cut off, or followed by more.
        TooLarge: If the result would be.
    """
    unpacker = zlib.decompressobj(wbits=_WINDOW[encoding])
    try:
        plain = unpacker.decompress(data, max_bytes + 1)
    except zlib.error as error:
        raise MalformedMessage(f"the body is not {encoding}: {error}") from None
    if len(plain) > max_bytes:
        raise TooLarge(f"the body has more than {max_bytes} bytes once it is decompressed")
    if not unpacker.eof or unpacker.unused_data:
        raise MalformedMessage(f"the body is not one whole {encoding} stream")
    return plain
