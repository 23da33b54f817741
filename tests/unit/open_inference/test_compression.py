"""gzip and deflate, with a limit."""

import gzip
import zlib

import pytest

from edgeexit.errors import MalformedMessage, TooLarge
from edgeexit.open_inference.compression import compress, decompress

TEXT = b"0123456789" * 100


@pytest.mark.parametrize(("encoding", "library"), [("gzip", gzip), ("deflate", zlib)])
def test_both_encodings_are_those_of_http(encoding, library):
    assert library.decompress(compress(TEXT, encoding)) == TEXT
    assert decompress(library.compress(TEXT), encoding, 1000) == TEXT


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_what_gets_too_large_is_refused_before_it_is(encoding):
    bomb = compress(bytes(10_000_000), encoding)
    with pytest.raises(TooLarge, match="more than 999 bytes"):
        decompress(bomb, encoding, 999)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_damaged_data_is_refused(encoding):
    packed = compress(TEXT, encoding)
    for damaged in (b"", b"{}", packed[:-1], packed + b"!", packed[:-1] + bytes([packed[-1] ^ 1])):
        with pytest.raises(MalformedMessage):
            decompress(damaged, encoding, 1000)
