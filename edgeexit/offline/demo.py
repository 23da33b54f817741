"""The demo: exit settings and governors side by side, real answers on a simulated board."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from edgeexit import __version__
from edgeexit.device import SimulatedDevice, reference_scale
from edgeexit.errors import DataError, OptionError
from edgeexit.exits.settings import make_rule
from edgeexit.offline.clairvoyant import ROUNDING, best_fixed_point, clairvoyant_work
from edgeexit.offline.demo_findings import findings
from edgeexit.offline.demo_report import CurvePoint, DemoReport, PolicyCurve, PolicyResult
from edgeexit.registry import load_governor
from edgeexit.runtime import Session
from edgeexit.runtime.engine import Engine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgeexit.bundle import Bundle
    from edgeexit.device import DeviceProfile
    from edgeexit.protocols import Clocks, ExitRule, Governor

    Array = NDArray[Any]

WARM_UP_PERIODS: Final = 10
"""Periods before those that count: a load-following governor has to find its clock, a fixed one is set once."""


class Policy(NamedTuple):
    """How exits and clocks are chosen: an exit setting of the bundle, and a governor by name."""

    setting: str
    governor: str


POLICIES: Final = (
    Policy("last", "stock"),
    Policy("last", "performance"),
    Policy("last", "fixed"),
    Policy("threshold", "stock"),
    Policy("threshold", "performance"),
    Policy("threshold", "fixed"),
    Policy("threshold", "plan"),
    Policy("predictive-exit", "predictive-exit"),
    Policy("check-and-cap", "plan"),
    Policy("thresholds", "plan"),
    Policy("ensemble", "plan"),
    Policy("gate", "plan"),
    Policy("forecast", "plan"),
)
BOUND: Final = Policy("oracle", "clairvoyant")
CURVES: Final = (
    Policy("check-and-cap", "plan"),
    Policy("thresholds", "plan"),
    Policy("forecast", "plan"),
)
"""Policies whose trade-off is drawn; `POLICIES` has them too."""
CURVE_DROPS: Final = 4
"""How many of the calibrated drops a curve takes, from the smallest to the largest: each costs a pass."""


class _Answers(NamedTuple):
    """What one policy answered, one entry an image; energy is that of the whole period."""

    labels: Array
    exits: Array
    looked_at: Array
    macs: Array
    latency_s: Array
    energy_j: Array


def run_demo(
    bundle: Bundle,
    profile: DeviceProfile,
    inputs: Array,
    labels: Array,
    *,
    deadline_factor: float = 1.25,
    allowed_drop: float = 0.0,
    work_scale: float | None = None,
    threads: int = 1,
    curves: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> DemoReport:
    """Answer every image with every policy, and compare.

    Answers come from ONNX Runtime; clocks, latency and energy from a simulated board. Each image has a period of its
    own as long as the deadline; what the answer leaves of it is idled away, and a late answer makes it longer.

    Args:
        bundle: The network, with one input; exit settings that it lacks are left out.
        profile: The board to simulate.
        inputs: (N, ...) input of the bundle.
        labels: (N,) what is right.
        deadline_factor: Length of a period in parts of the whole network's latency at the highest clock.
        allowed_drop: Accuracy that the exit settings may cost, in percentage points: one that the bundle is calibrated
            for.
        work_scale: How many multiply-accumulates each one counts as; by default so many that the whole network costs as
            much as one frame of the profile's reference workload.
        threads: Threads for ONNX Runtime.
        curves: Run the policies in `CURVES` also with exits calibrated for other drops, for their trade-off.
        progress: Called with what runs now, how many images have been answered since the call before, and how many
            times an image will have been answered in the end.

    Raises:
        DataError: If there is no image, or not one label for each.
        InputError: If the images do not fit the bundle.
        OptionError: If an option is out of range.
    """
    if not deadline_factor > 0.0:
        raise OptionError(f"deadline_factor must be above 0, not {deadline_factor}")
    if len(inputs) == 0 or len(inputs) != len(labels):
        raise DataError(f"the demo needs an image, and a label for each: there are {len(inputs)} and {len(labels)}")
    rules, left_out = _make_rules(bundle, allowed_drop)
    other_rules = _make_curve_rules(bundle, rules, allowed_drop) if curves else {}
    passes = sum(policy.setting in rules for policy in POLICIES) + sum(map(len, other_rules.values())) + 1
    scale = reference_scale(profile, bundle.workload) if work_scale is None else work_scale
    tell = None if progress is None else lambda what, images: progress(what, images, passes * len(inputs))
    bench = _Bench(bundle, profile, scale, deadline_factor, inputs, labels, threads, tell)
    for policy in POLICIES:
        if policy.setting in rules:
            bench.run_policy(policy, rules[policy.setting])
    bench.run_bound()
    policies = tuple(bench.results)
    return DemoReport(
        edgeexit_version=__version__,
        onnxruntime_version=version("onnxruntime"),
        bundle=bundle.name,
        bundle_digest=bundle.digest,
        exit_count=bundle.exit_count,
        images=len(inputs),
        board=profile.name,
        board_title=profile.title,
        board_provenance=dict(profile.provenance),
        reference_workload=profile.require_model().reference_name,
        work_scale=scale,
        work_scale_is_reference=work_scale is None,
        deadline_factor=deadline_factor,
        deadline_s=bench.deadline_s,
        allowed_drop=allowed_drop,
        policies=policies,
        left_out=left_out,
        findings=findings(policies, bench.energies_j),
        curves=tuple(bench.run_curve(policy, each, allowed_drop) for policy, each in other_rules.items()),
    )


def _make_rules(bundle: Bundle, allowed_drop: float) -> tuple[dict[str, ExitRule], dict[str, str]]:
    """Return the exit rules by setting, and why there is none of the others."""
    calibrated, predictor = bundle.read_rules(), bundle.read_predictor()
    rules: dict[str, ExitRule] = {}
    left_out: dict[str, str] = {}
    for name in dict.fromkeys(policy.setting for policy in POLICIES):
        try:
            rules[name] = make_rule(name, bundle.exit_count, calibrated, predictor, allowed_drop)
        except OptionError as error:
            left_out[name] = str(error)
    if calibrated and len(rules) == 1:  # the whole network alone: the allowed drop is not one of those there are
        raise OptionError(next(iter(left_out.values())))
    return rules, left_out


def _make_curve_rules(
    bundle: Bundle, rules: Mapping[str, ExitRule], allowed_drop: float
) -> dict[Policy, dict[float, ExitRule]]:
    """Return rules of the policies in `CURVES` for drops other than `allowed_drop`; none where there is no other."""
    calibrated, predictor = bundle.read_rules(), bundle.read_predictor()
    found: dict[Policy, dict[float, ExitRule]] = {}
    for policy in CURVES:
        if policy.setting in rules:
            drops = sorted(map(float, calibrated["settings"][policy.setting]["parameters"]))
            places = np.linspace(0, len(drops) - 1, min(CURVE_DROPS, len(drops))).round().astype(int)
            others = [drops[place] for place in places if f"{drops[place]:g}" != f"{allowed_drop:g}"]
            found[policy] = {
                drop: make_rule(policy.setting, bundle.exit_count, calibrated, predictor, drop) for drop in others
            }
    return {policy: others for policy, others in found.items() if others}


class _Bench:
    """The images, the board, and what the policies have given so far."""

    def __init__(
        self,
        bundle: Bundle,
        profile: DeviceProfile,
        work_scale: float,
        deadline_factor: float,
        inputs: Array,
        labels: Array,
        threads: int,
        progress: Callable[[str, int], None] | None,
    ) -> None:
        self.bundle = bundle
        self.profile = profile
        self.work_scale = work_scale
        self.inputs = inputs
        self.labels = labels
        self.threads = threads
        self.progress = progress
        self.work = bundle.workload
        self.table = self._open_board().modelled_costs(self.work)
        self.whole_macs = self.work.whole_macs
        self.deadline_s = deadline_factor * self.table.work(-1, 0, bundle.exit_count - 1).latency_s
        self.results: list[PolicyResult] = []
        self.energies_j: dict[tuple[str, str], Array] = {}

    def run_policy(self, policy: Policy, rule: ExitRule) -> None:
        """Answer every image with a policy."""
        clocks: Clocks | None = None
        options = {}
        if policy.governor == "fixed":
            point = best_fixed_point(self.table, self.deadline_s, looks_at_every_exit=rule.looks_at_every_exit)
            clocks = options["frequency_hz"] = dict(point.clocks)
        answers = self._answer(load_governor(policy.governor, **options), rule, ", ".join(policy))
        self._add(policy, clocks, answers)

    def run_curve(self, policy: Policy, rules: Mapping[float, ExitRule], allowed_drop: float) -> PolicyCurve:
        """Answer every image with a policy again, for each other drop; the result for `allowed_drop` is there."""
        results = {allowed_drop: self._result_of(policy)}
        for drop, rule in rules.items():
            answers = self._answer(load_governor(policy.governor), rule, f"{', '.join(policy)}, drop {drop:g}")
            results[drop] = self._summarise(policy, None, answers)
        points = tuple(
            CurvePoint(
                allowed_drop=drop,
                accuracy=result.accuracy,
                mean_exit=result.mean_exit,
                macs_share=result.macs_share,
                missed_share=result.missed_share,
                simulated_energy_j=result.simulated_energy_j,
            )
            for drop, result in sorted(results.items())
        )
        return PolicyCurve(policy.setting, policy.governor, points)

    def run_bound(self) -> None:
        """Work out what an oracle would need.

        It knows of each image the first exit that answers as the whole network does, and runs at the clocks that suit
        the work best, switching for free.
        """
        answers = self._labels_of_every_exit()
        exits = np.argmax(answers == answers[:, -1:], axis=1)
        heads = np.asarray(self.work.head_macs)
        segments = np.cumsum(self.work.segment_macs)[np.asarray(self.work.exit_segments)]
        works = [clairvoyant_work(self.table, index, self.deadline_s) for index in range(self.bundle.exit_count)]
        found = _Answers(
            labels=answers[np.arange(len(answers)), exits],
            exits=exits,
            looked_at=np.ones(len(exits)),
            macs=(segments + heads)[exits],
            latency_s=np.array([work.latency_s for work in works])[exits],
            energy_j=np.array([work.energy_j for work in works])[exits],
        )
        self._add(BOUND, None, found)

    def _answer(self, governor: Governor, rule: ExitRule, title: str) -> _Answers:
        keeps_deadlines = governor.name == "plan"  # by an earlier exit if need be; others are let run late, to show it
        with (
            self._open_board() as device,
            Session(
                self.bundle, device, governor, exit_rule=rule, threads=self.threads, anytime=keeps_deadlines
            ) as session,
        ):
            self._tell(title, 0)
            for period in range(WARM_UP_PERIODS):
                self._run_period(session, device, period % len(self.inputs))
            rows = []
            for index in range(len(self.inputs)):
                rows.append(self._run_period(session, device, index))
                self._tell(title, 1)
        return _Answers(*map(np.asarray, zip(*rows, strict=True)))

    def _run_period(self, session: Session, device: SimulatedDevice, index: int) -> tuple[float, ...]:
        start_s, start_j = device.clock.now_s(), device.meter.read_energy_j()
        result = session.infer(self.inputs[index : index + 1], latency_budget_s=self.deadline_s)
        device.clock.sleep_s(start_s + self.deadline_s - device.clock.now_s())
        segments = self.work.segment_macs[: self.work.exit_segments[result.exit_index] + 1]
        heads = [self.work.head_macs[exit_index] for exit_index in result.exits_looked_at]
        return (
            result.label,
            result.exit_index,
            len(result.exits_looked_at),
            sum(segments) + sum(heads),
            result.latency_s,
            device.meter.read_energy_j() - start_j,
        )

    def _labels_of_every_exit(self) -> Array:
        """Return (N, E) what each exit says of each image."""
        name = self.bundle.inputs[0].name
        engine = Engine(self.bundle, fuse_heads=True, threads=self.threads)
        program = engine.program({name: self.inputs[:1]})
        answers = np.zeros((len(self.inputs), self.bundle.exit_count), dtype=np.int64)
        for index in range(len(self.inputs)):
            program.load({name: self.inputs[index : index + 1]})
            program.run_segments(0, len(self.work.segment_macs))
            answers[index] = [program.look(exit_index).label for exit_index in range(self.bundle.exit_count)]
            self._tell(", ".join(BOUND), 1)
        return answers

    def _open_board(self) -> SimulatedDevice:
        return SimulatedDevice(self.profile, work_scale=self.work_scale)

    def _tell(self, title: str, images: int) -> None:
        if self.progress is not None:
            self.progress(title, images)

    def _add(self, policy: Policy, clocks: Clocks | None, answers: _Answers) -> None:
        self.results.append(self._summarise(policy, clocks, answers))
        self.energies_j[policy] = answers.energy_j

    def _result_of(self, policy: Policy) -> PolicyResult:
        return next(result for result in self.results if (result.setting, result.governor) == policy)

    def _summarise(self, policy: Policy, clocks: Clocks | None, answers: _Answers) -> PolicyResult:
        energy_j = float(answers.energy_j.mean())
        first_j = self.results[0].simulated_energy_j if self.results else energy_j
        return PolicyResult(
            setting=policy.setting,
            governor=policy.governor,
            clocks_hz=clocks,
            is_bound=policy is BOUND,
            accuracy=float((answers.labels == self.labels).mean()),
            mean_exit=float(answers.exits.mean()),
            exits_looked_at=float(answers.looked_at.mean()),
            macs_share=float(answers.macs.mean()) / self.whole_macs,
            simulated_latency_s=float(answers.latency_s.mean()),
            missed_share=float((answers.latency_s > self.deadline_s * (1.0 + ROUNDING)).mean()),
            simulated_energy_j=energy_j,
            relative_energy=energy_j / first_j,
            exit_counts=tuple(np.bincount(answers.exits, minlength=self.bundle.exit_count).tolist()),
        )
