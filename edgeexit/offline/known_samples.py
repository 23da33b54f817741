"""Samples that a bundle's heads and exits were made from: no certificate may count them.

A prepared bundle keeps the first bytes of each such sample's hash in a file of its own. So calibration finds a sample
that the heads have seen, as long as it is stored as it was then: the same image file, or the same row of an array. A
picture that was saved anew, or read from another kind of file, is not found.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import numpy as np

from edgeexit.bundle.strict_json import JsonNode, parse_json

if TYPE_CHECKING:
    from edgeexit.bundle import Bundle
    from edgeexit.offline.data import Samples
    from edgeexit.protocols import IntArray

FILE: Final = "learnt-from.json"
FORMAT: Final = 1
DIGEST_BYTES: Final = 4
"""Of each hash. Two different samples look the same once in 2**32 pairs: of 10,000 samples that are new to heads that
have seen 10,000 others, one is taken for known in one of 43 calibrations, and left out for nothing."""

_DIGESTS: Final = re.compile(r"([0-9a-f]{8})*\Z")


def known_samples_file(parts: Iterable[Samples]) -> bytes:
    """Return the file that keeps which samples a bundle's heads and exits were made from.

    Args:
        parts: Those samples.
    """
    digests = {digest[:DIGEST_BYTES].hex() for part in parts for digest in part.digests}
    document = {"format": FORMAT, "digests": "".join(sorted(digests))}
    return (json.dumps(document, indent=1) + "\n").encode()


def new_samples(bundle: Bundle, samples: Samples) -> IntArray:
    """Return the indices of those samples, in ascending order, that a bundle's heads and exits were not made from.

    Args:
        bundle: One that does not say what it was made from knows no sample.
        samples: To be looked at.

    Raises:
        BundleError: If what the bundle says of it cannot be read.
    """
    known = _known(bundle)
    if not known:
        return np.arange(len(samples))
    return np.array([i for i, digest in enumerate(samples.digests) if digest[:DIGEST_BYTES] not in known], np.int64)


def _known(bundle: Bundle) -> frozenset[bytes]:
    if FILE not in bundle.manifest.files:
        return frozenset()
    where = str(bundle.path / FILE)
    number, digests = JsonNode(parse_json(bundle.read_file(FILE), where), where).record("format", "digests")
    if number.value != FORMAT:
        raise number.refuse(f"expected {FORMAT}")
    data = bytes.fromhex(digests.matching(_DIGESTS, f"hashes of {2 * DIGEST_BYTES} hexadecimal digits each"))
    return frozenset(data[i : i + DIGEST_BYTES] for i in range(0, len(data), DIGEST_BYTES))
