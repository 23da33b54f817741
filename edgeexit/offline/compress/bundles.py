"""int8 for a bundle, kept where it gains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from edgeexit.bundle.manifest import INT8, Manifest, Segment
from edgeexit.bundle.write import write_bundle
from edgeexit.errors import DataError
from edgeexit.offline.compress.precisions import ALLOWED_DROP, PrecisionChoice, choose_precisions
from edgeexit.offline.compress.report import CompressionReport, Outcome
from edgeexit.offline.compress.segments import CALIBRATION_SAMPLES, Variants, quantise_segments
from edgeexit.offline.compress.steps import Step

if TYPE_CHECKING:
    from edgeexit.bundle import Bundle
    from edgeexit.offline.data import Samples

FEWEST_SAMPLES = 100
"""Fewer cannot tell what int8 costs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantisedBundle:
    """A bundle with int8 variants of those segments that gain from them, ready for `write_bundle`.

    Attributes:
        manifest: With the variants in it and in use.
        files: All files of the bundle.
        choice: What was measured.
        report: The same in words.
    """

    manifest: Manifest
    files: Mapping[str, bytes]
    choice: PrecisionChoice
    report: CompressionReport


def quantise_bundle(
    bundle: Bundle,
    samples: Samples,
    *,
    allowed_drop: float = ALLOWED_DROP,
    narrow_weights: bool = False,
    progress: bool = False,
) -> QuantisedBundle:
    """Give a bundle int8 variants of its segments, in use where they gain time and cost next to no accuracy.

    What gains nothing is undone: no file of it is kept. Where something is kept, certificates are taken out, since they
    are for the network as it was; rules and predictor are too: calibrate the result anew.

    Args:
        bundle: Split from a float network; it is not changed.
        samples: Half of them, at most `CALIBRATION_SAMPLES`, calibrate; accuracy is measured on the others. None may be
            of the part that certifies rules.
        allowed_drop: Percentage points of accuracy that all of it may cost.
        narrow_weights: See `quantise_model`.
        progress: True for a progress bar on stderr.

    Raises:
        DataError: If there are too few samples.
        EngineError: If ONNX Runtime fails on the network in float.
        OSError: If there is no room for a temporary copy.
    """
    if len(samples) < FEWEST_SAMPLES:
        raise DataError(f"{len(samples)} samples are too few for int8: {FEWEST_SAMPLES} or more are needed")
    first = min(CALIBRATION_SAMPLES, len(samples) // 2)
    calibration, others = samples.take(np.arange(first)), samples.take(np.arange(first, len(samples)))
    variants = quantise_segments(bundle, calibration, narrow_weights=narrow_weights, progress=progress)
    files = {name: bundle.read_file(name) for name in bundle.manifest.files}
    with TemporaryDirectory(prefix="edgeexit-") as folder:
        trial = write_bundle(Path(folder) / "trial", variants.manifest, {**files, **variants.files})
        choice = choose_precisions(trial, others, refused=variants.refused, allowed_drop=allowed_drop)
    manifest, own = _keep(variants, choice)
    return QuantisedBundle(manifest=manifest, files={**files, **own}, choice=choice, report=_report(choice))


def _keep(variants: Variants, choice: PrecisionChoice) -> tuple[Manifest, dict[str, bytes]]:
    segments, files = [], dict[str, bytes]()
    for segment, precision in zip(variants.manifest.segments, choice.precisions, strict=True):
        if precision == INT8:
            file = segment.variants[INT8].file
            files[file] = variants.files[file]
            segments.append(replace(segment, precision=INT8))
        else:
            segments.append(_without_int8(segment))
    certificates = () if choice.kept else variants.manifest.certificates
    return replace(variants.manifest, segments=tuple(segments), certificates=certificates), files


def _without_int8(segment: Segment) -> Segment:
    return replace(segment, variants={k: v for k, v in segment.variants.items() if k != INT8})


def _report(choice: PrecisionChoice) -> CompressionReport:
    kept = [str(i) for i, segment in enumerate(choice.segments) if segment.kept]
    text = f"int8 in segments {', '.join(kept)}" if kept else "int8 gains nothing here"
    outcome = Outcome(step=Step.QUANTISE, kept=choice.kept, why=text, before=choice.before, after=choice.after)
    return CompressionReport(outcomes=(outcome,), notes=tuple(_lines(choice)))


def _lines(choice: PrecisionChoice) -> list[str]:
    lines = []
    for index, segment in enumerate(choice.segments):
        int8 = "" if segment.int8_s is None else f" -> {1e6 * segment.int8_s:.0f} us"
        word = INT8 if segment.kept else "float"
        lines.append(f"segment {index}: {word}, {segment.why} ({1e6 * segment.float_s:.0f} us{int8})")
    return lines
