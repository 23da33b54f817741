"""What a preparation came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeexit.bundle.load import full_name

if TYPE_CHECKING:
    from edgeexit.bundle import Bundle


def place_name(tensors: Sequence[str]) -> str:
    """Return how a place where `tensors` cross is shown, and may be named."""
    return " + ".join(tensors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place where the network can be cut.

    Attributes:
        tensors: All that crosses it.
        kind: What the tensor that a head reads is, for instance "map_nchw".
        macs_share: Work up to there, in parts of the whole network.
        boundary_bytes: What crosses for one sample.
        segment_s: Seconds from the place before to this one, None if not measured.
        accuracy: Of a head there on the part "fit", None where none was fitted.
        refusal: Why it has no exit; None if it has one, "" if that was not asked.
    """

    tensors: tuple[str, ...]
    kind: str
    macs_share: float
    boundary_bytes: int
    segment_s: float | None = None
    accuracy: float | None = None
    refusal: str | None = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitFigures:
    """One exit of the bundle.

    Attributes:
        behind: The tensors behind which it stands; those of the model's output for the last.
        macs_share: Segments up to it and its own head, in parts of the whole network.
        head_share: Its head alone.
        accuracy: On the part "certify", which nothing was chosen on.
    """

    behind: tuple[str, ...]
    macs_share: float
    head_share: float
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFigures:
    """What a calibrated setting does with the part "certify", which nothing was chosen on.

    Attributes:
        setting: Its name.
        allowed_drop: In percentage points.
        accuracy: Share of right answers.
        macs_share: Mean work in parts of the whole network, heads included.
        looks: Mean number of exits looked at.
        loss_error: Standard error of the accuracy lost against the full network, sample by sample; None if not known.
    """

    setting: str
    allowed_drop: float
    accuracy: float
    macs_share: float
    looks: float
    loss_error: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Mean seconds of an inference on this machine, one thread, batch 1.

    Attributes:
        whole_s: The model as it was, in one ONNX Runtime session.
        exits_s: The bundle with the setting that the report is about.
        samples: How many were timed.
    """

    whole_s: float
    exits_s: float
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Certified:
    """What the certificate says.

    Attributes:
        text: One sentence, also where there is none: then it says what is missing.
        setting: The setting that holds the bound, None without a certificate.
        max_drop: The bound in points, None without a certificate.
        macs_share: Mean work of that setting on the part "certify", None without a certificate.
    """

    text: str
    setting: str | None = None
    max_drop: float | None = None
    macs_share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AsGiven:
    """What compression and exits together cost on the part "certify", against the model as the user gave it.

    Right is what the labels say, or where agreement counts what the model as given says.

    Attributes:
        given: Share of samples for which the model as given is right; None where agreement counts.
        full: Share for which the full network is right, compressed.
        setting: Share for which the setting that the report is about is right.
    """

    given: float | None
    full: float
    setting: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """Whether early exit is worth it for a model, and why."""

    yes: bool
    because: str

    @property
    def sentence(self) -> str:
        """The verdict in one sentence."""
        return f"Early exit is {'' if self.yes else 'not '}worth it for this model because {self.because}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What a preparation came to.

    Attributes:
        model: The file's name.
        macs: Of the whole network, for one sample.
        class_count: Number of classes.
        samples: Number of samples in each part.
        by_labels: True if right means as labelled; False: as the full network says.
        found: How many places there are to cut at.
        places: Those that were tried.
        side_inputs: Inputs that every segment reads.
        bundle: None after a dry run, and where the network cannot be cut.
        exits: Of the bundle.
        rules: At each allowed drop the settings of least work, best first, and the best single exit.
        allowed_drop: What the user allows, in percentage points.
        reported: The setting that times and verdict are about: that of least work at the drop that the user allows.
        certified: The certificate, None without a bundle.
        steps: Names of the compression steps before the exits that were kept; with one the full network is not the
            model as it was given, and where agreement counts it is agreement with the compressed one.
        quantised: True if segments of the bundle run in int8.
        as_given: What that costs, None where no step was kept or there is no bundle.
        compression: What was kept and undone, line by line.
        times: None if they were not measured.
        worth: The verdict, None after a dry run.
        notes: What the user should know besides.
    """

    model: str
    macs: int
    class_count: int
    samples: Mapping[str, int]
    by_labels: bool
    found: int
    places: tuple[Place, ...]
    side_inputs: tuple[str, ...] = ()
    bundle: Bundle | None = None
    exits: tuple[ExitFigures, ...] = ()
    rules: tuple[RuleFigures, ...] = ()
    allowed_drop: float = 0.0
    reported: str | None = None
    certified: Certified | None = None
    steps: tuple[str, ...] = ()
    quantised: bool = False
    as_given: AsGiven | None = None
    compression: tuple[str, ...] = ()
    times: Times | None = None
    worth: Worth | None = None
    notes: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """What the report calls the full network: all of the bundle's segments."""
        return full_name(compressed=bool(self.steps) or self.quantised)

    @property
    def judge_name(self) -> str:
        """What it calls the network whose answers are right where agreement counts: the one that got the exits."""
        return full_name(compressed=bool(self.steps))
