"""Certificates: what calibration has proved of an exit setting, and on which data.

A certificate is of one network and one setting's parameters. It carries the sha256 of both, so that whoever reads it
can tell whether it still speaks of what is in the bundle.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from edgeexit.bundle.strict_json import JsonNode

LABELS: Final = "labels"
FULL: Final = "full"
RISKS: Final = (LABELS, FULL)
"""What is bounded: "labels", the accuracy lost against the full network, by true labels; "full", how often the answer
is another than the full network's."""
CERTIFIED: Final = {LABELS: "certified", FULL: "certified-agreement"}
"""Name in rules.json of the setting that was certified, by risk."""
FORECASTING: Final = ("prior", "answers")
"""Parameters of exit rules with which they forecast; no answer depends on them."""

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}\Z")
_SHA256: Final = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class Certificate:
    """A bound on what a setting costs, which holds with the stated confidence.

    The confidence is over the choice of the samples: they must be drawn like those that the network will see, and none
    of them may have been used to train or to choose anything. Shares are in percentage points.

    Attributes:
        setting: Its name in rules.json.
        allowed_drop: Under which of its accuracy drops it stands there, in points.
        rule: Name of its exit rule.
        risk: What is bounded, one of `RISKS`.
        bound_points: What the risk is less than.
        confidence: Between 0 and 1.
        samples: How many it was tested on.
        lost: Answers that differ from the full network's; for the risk "labels" only those where it was right and
            the setting wrong.
        gained: Samples on which the setting was right and the full network wrong; 0 for the risk "full".
        p_value: Chance of figures as good as these or better, if the bound did not hold.
        method: How the p-value was computed, in words.
        macs_share: Mean work on these samples as a share of the full network.
        date: Of the test, as 2026-01-31.
        data_sha256: Of the samples.
        parameters_sha256: Of the setting's parameters, see `parameters_sha256`.
        network_sha256: Of the segments and heads, see `edgeexit.bundle.manifest.network_sha256`.
        created_by: Program and version.
    """

    setting: str
    allowed_drop: float
    rule: str
    risk: str
    bound_points: float
    confidence: float
    samples: int
    lost: int
    gained: int
    p_value: float
    method: str
    macs_share: float
    date: str
    data_sha256: str
    parameters_sha256: str
    network_sha256: str
    created_by: str

    @property
    def observed_points(self) -> float:
        """The risk on the samples, in points."""
        return 100.0 * (self.lost - self.gained) / self.samples


def certificate_json(certificate: Certificate) -> dict[str, Any]:
    """Return a certificate as manifest.json has it."""
    return asdict(certificate)


def read_certificate(node: JsonNode) -> Certificate:
    """Read a certificate.

    Raises:
        BundleError: If a key is missing or unknown, or a value impossible.
    """
    keys = tuple(Certificate.__dataclass_fields__)
    values = dict(zip(keys, node.record(*keys), strict=True))
    if values["samples"].count() == 0 or not 0.0 < values["confidence"].number() < 1.0:
        raise node.refuse("expected samples, and a confidence between 0 and 1")
    return Certificate(
        setting=values["setting"].text(),
        allowed_drop=values["allowed_drop"].number(),
        rule=values["rule"].text(),
        risk=values["risk"].one_of(RISKS),
        bound_points=values["bound_points"].amount(),
        confidence=values["confidence"].number(),
        samples=values["samples"].count(),
        lost=values["lost"].count(),
        gained=values["gained"].count(),
        p_value=values["p_value"].amount(),
        method=values["method"].text(),
        macs_share=values["macs_share"].amount(),
        date=values["date"].matching(_DATE, "a date as 2026-01-31"),
        **{key: values[key].matching(_SHA256, "64 hexadecimal digits") for key in _DIGESTS},
        created_by=values["created_by"].text(),
    )


def parameters_sha256(parameters: Mapping[str, Any], predictor: Mapping[str, Any] | None) -> str:
    """Return what stands for a setting's parameters in a certificate.

    Args:
        parameters: As rules.json has them; those of `FORECASTING` do not count.
        predictor: The bundle's predictor; it counts where the parameters name it.
    """
    content = {key: value for key, value in parameters.items() if key not in FORECASTING}
    if "predictor" in content:
        content["predictor"] = predictor
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


_DIGESTS: Final = ("data_sha256", "parameters_sha256", "network_sha256")
