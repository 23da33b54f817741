"""Choose the precision of a bundle's segments."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from edgeexit.bundle.load import Bundle
from edgeexit.bundle.manifest import FLOAT32, VARIANTS, manifest_bytes
from edgeexit.errors import OptionError


def with_precision(bundle: Bundle, precision: str | Sequence[str] | None) -> Bundle:
    """Return the same bundle with other variants of its segments in use.

    Its digest is that of a bundle written so: optimised pieces and cost tables of the two are kept apart.

    Args:
        bundle: Its rules and certificates are for the precisions that its manifest names; they are not changed.
        precision: One for each segment; or "float32" for all; or "int8" for all that have it. None changes nothing.

    Raises:
        OptionError: If there is no such precision, or the bundle does not have it.
    """
    if precision is None:
        return bundle
    wanted = _for_all(bundle, precision) if isinstance(precision, str) else tuple(precision)
    if len(wanted) != len(bundle.segments):
        raise OptionError(f"precision: {len(wanted)} were given for the {len(bundle.segments)} segments of the bundle")
    for index, (name, segment) in enumerate(zip(wanted, bundle.segments, strict=True)):
        if name not in segment.precisions:
            there = ", ".join(segment.precisions)
            raise OptionError(f"precision: segment {index} of bundle {bundle.name!r} has {there}, not {name!r}")
    segments = tuple(replace(s, precision=name) for s, name in zip(bundle.segments, wanted, strict=True))
    if segments == bundle.segments:
        return bundle
    manifest = replace(bundle.manifest, segments=segments)
    return Bundle(bundle.path, manifest, hashlib.sha256(manifest_bytes(manifest)).hexdigest())


def _for_all(bundle: Bundle, precision: str) -> tuple[str, ...]:
    if precision != FLOAT32 and precision not in VARIANTS:
        raise OptionError(f"precision must be {FLOAT32} or {', '.join(sorted(VARIANTS))}, not {precision!r}")
    wanted = tuple(precision if precision in s.precisions else FLOAT32 for s in bundle.segments)
    if precision not in wanted:
        raise OptionError(
            f"precision: no segment of bundle {bundle.name!r} has {precision!r}; prepare it anew with --quantise"
        )
    return wanted
