"""Replay several rules, governors and deadlines on one board, with the bounds beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeexit import __version__
from edgeexit.device.costs import CostModel, reference_scale
from edgeexit.device.static_share import with_static_share
from edgeexit.errors import DataError, OptionError
from edgeexit.exits.settings import make_rule
from edgeexit.offline.clairvoyant import clairvoyant_energies
from edgeexit.offline.optimum import Optimum, optimum
from edgeexit.offline.replaying.arrivals import Arrivals, Periodic
from edgeexit.offline.replaying.board import Board, rails_of
from edgeexit.offline.replaying.engine import ReplayOptions, replay_governor
from edgeexit.offline.replaying.forecasts import forecast_row
from edgeexit.offline.replaying.noise import Noise
from edgeexit.offline.replaying.paths import Paths, trace_paths
from edgeexit.offline.replaying.policies import Policy, make_policy
from edgeexit.offline.replaying.results import BoardReplay, Bounds, GovernorRun
from edgeexit.offline.verdict_states import count_states
from edgeexit.protocols import CostTable, ExitRule

if TYPE_CHECKING:
    from edgeexit.bundle import Bundle
    from edgeexit.device.profile import DeviceProfile
    from edgeexit.offline.traces import Trace

FACTORS = (1.0, 1.1, 1.25, 1.5, 2.0, 4.0)
"""Deadlines in times of the full network at the highest clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOptions:
    """How a study is run.

    Attributes:
        deadline_factors: Deadlines in times of the full network at the highest clock; None for no deadline.
        arrivals: From the deadline (without one: the full network's latency) in seconds to when inferences are asked
            for; by default periodically, the next when the answer is due.
        noise: How latencies vary; None: they do not.
        guard: What governors multiply latencies by where a deadline must hold; None takes the noise's own, or 1.
        inferences: For each run; by default each sample once.
        seed: Of the order and the arrivals.
        work_scale: Every multiply-accumulate counts as so many; None takes the scale at which the network costs as
            much as one frame of the profile's reference workload.
        optimum: Work out the non-anticipating optimum beside the clairvoyant bound, where requests are periodic and
            latencies do not vary; also left out where the deadline is too short for the rule's first look.
        static_share: Share of the highest point's power that is static, in place of the profile's own: see
            `edgeexit.device.static_share`.
        progress: Called with what is done next, and the share of all that is done.
    """

    deadline_factors: Sequence[float | None] = FACTORS
    arrivals: Callable[[float], Arrivals] = Periodic
    noise: Noise | None = None
    guard: float | None = None
    inferences: int | None = None
    seed: int = 0
    work_scale: float | None = None
    optimum: bool = True
    static_share: float | None = None
    progress: Callable[[str, float], None] | None = None

    @property
    def latency_guard(self) -> float:
        """The guard that governors get."""
        if self.guard is not None:
            return self.guard
        return 1.0 if self.noise is None else self.noise.guard or 1.0


def replay_board(
    bundle: Bundle,
    profile: DeviceProfile,
    trace: Trace,
    rules: Sequence[str],
    governors: Sequence[str],
    options: StudyOptions | None = None,
) -> BoardReplay:
    """Replay every governor with every rule at every deadline.

    Args:
        bundle: Whose network it is.
        profile: The board; it needs a model with power.
        trace: What every exit says about every sample.
        rules: Calibrated settings: "forecast", or "forecast@0.5" for the one that may cost half a point of accuracy;
            "last" is the full network.
        governors: See `edgeexit.offline.replaying.policies.make_policy`.
        options: All else.

    Raises:
        OptionError: If a rule, a governor or an option is unknown or wrong.
        DataError: If the trace is of another network.
        ProfileError: If the profile has no model.
    """
    options = StudyOptions() if options is None else options
    if options.static_share is not None:
        profile = with_static_share(profile, options.static_share)
    study = _Study(bundle, profile, options)
    made = {name: make_setting(name, bundle) for name in rules}
    governors = tuple(dict.fromkeys(governors))
    total = len(made) * len(options.deadline_factors) * len(governors)
    runs: list[GovernorRun] = []
    bounds: list[Bounds] = []
    rows = []
    for name, rule in made.items():
        paths = trace_paths(rule, trace)
        rows.append(forecast_row(name, paths))
        for factor in options.deadline_factors:
            for governor in governors:
                study.tell(f"{name}, {governor}, deadline {factor}", len(runs) / total)
                runs.append(study.run(name, paths, governor, factor))
            bounds += study.bounds(name, paths, factor)
    return BoardReplay(
        board=profile.name,
        bundle=bundle.name,
        samples=len(trace),
        work_scale=study.work_scale,
        static_share=options.static_share,
        full_latency_s=study.board.full_latency_s,
        runs=tuple(runs),
        bounds=tuple(bounds),
        forecast=tuple(row for row in rows if row is not None),
        provenance=" ".join(filter(None, map(profile.provenance.get, ("operating_points", "static_share")))),
        seed=options.seed,
        edgeexit_version=__version__,
    )


def make_setting(name: str, bundle: Bundle) -> ExitRule:
    """Make the exit rule of a setting such as "forecast@0.5": its name, and the accuracy it may cost in points (0).

    Raises:
        OptionError: If the bundle has no such setting.
    """
    setting, at, drop = name.partition("@")
    try:
        allowed_drop = float(drop) if at else 0.0
    except ValueError:
        raise OptionError(f"an exit rule is NAME or NAME@POINTS, as forecast@0.5, not {name!r}") from None
    rules: Mapping[str, Any] = bundle.read_rules()
    return make_rule(setting, bundle.exit_count, rules, bundle.read_predictor(), allowed_drop)


class _Study:
    """What all runs of a study have in common."""

    def __init__(self, bundle: Bundle, profile: DeviceProfile, options: StudyOptions) -> None:
        workload, scale = bundle.workload, options.work_scale
        self.work_scale = reference_scale(profile, workload) if scale is None else scale
        self.table: CostTable = CostModel(profile, work_scale=self.work_scale).cost_table(workload)
        self.board = Board(self.table)
        self._least_idle_w = float(self.board.idle_w.min())
        self._workload = workload
        self._rails = rails_of(profile)
        self._options = options

    def tell(self, what: str, share: float) -> None:
        """Report progress."""
        if self._options.progress is not None:
            self._options.progress(what, share)

    def run(self, name: str, paths: Paths, governor: str, factor: float | None) -> GovernorRun:
        """Replay one governor."""
        deadline_s = self._deadline_s(factor)
        policy = make_policy(governor, self.table, deadline_s, looks_at_every_exit=paths.rule.looks_at_every_exit)
        run = replay_governor(
            paths,
            self.table,
            self._workload,
            policy.governor,
            arrivals=self._arrivals(deadline_s),
            deadline_s=deadline_s,
            options=self._replay_options(policy),
            rule_name=name,
            governor_name=governor,
        )
        return replace(run, deadline_factor=factor, clairvoyant_j=self._own_clairvoyant_j(run))

    def _own_clairvoyant_j(self, run: GovernorRun) -> float | None:
        """Return the clairvoyant energy of what a run answered; None where there is no such bound.

        Late answers had all the time that the latest of them took, and with more time nobody needs more.
        """
        deadline_s, samples = run.deadline_s, run.samples
        period_s = self._arrivals(deadline_s).period_s
        if deadline_s is None or period_s is None or samples is None or self._options.noise:
            return None
        late = samples.latency_s > deadline_s
        energy_j = 0.0
        for members, due_s in ((~late, deadline_s), (late, max(deadline_s, run.latency_s["max"]))):
            energies_j = clairvoyant_energies(self.table, samples.exit_index[members], due_s)
            energy_j += float((energies_j + self._least_idle_w * (period_s - due_s)).sum())
        return energy_j / run.inferences

    def _replay_options(self, policy: Policy) -> ReplayOptions:
        options = self._options
        return ReplayOptions(
            noise=options.noise,
            guard=options.latency_guard,
            inferences=options.inferences,
            seed=options.seed,
            rails=self._rails,
            rest_at_lowest=policy.rest_at_lowest,
        )

    def bounds(self, name: str, paths: Paths, factor: float | None) -> list[Bounds]:
        """Return the bounds at one deadline; none where a period has no fixed length or latencies vary."""
        deadline_s = self._deadline_s(factor)
        period_s = self._arrivals(deadline_s).period_s
        if factor is None or deadline_s is None or period_s is None or period_s < deadline_s or self._options.noise:
            return []
        found = self._optimum(paths, deadline_s, period_s) if self._options.optimum else None
        return [
            Bounds(
                rule=name,
                deadline_factor=factor,
                clairvoyant_j=self._clairvoyant_j(paths, deadline_s, period_s, paths.next_exit),
                without_looks_j=self._clairvoyant_j(paths, deadline_s, period_s),
                optimum_j=None if found is None else found.lower_j,
                optimum_reached_j=None if found is None else found.upper_j,
                cap=None if found is None else found.cap,
            )
        ]

    def _clairvoyant_j(
        self, paths: Paths, deadline_s: float, period_s: float, looks: NDArray[np.int64] | None = None
    ) -> float:
        """Return the mean clairvoyant energy, with the least idle power after the deadline."""
        energies_j = clairvoyant_energies(self.table, paths.exit_index, deadline_s, looks=looks)
        return float(energies_j.mean() + self._least_idle_w * (period_s - deadline_s))

    def _optimum(self, paths: Paths, deadline_s: float, period_s: float) -> Optimum | None:
        """Return the optimum; None where the deadline is too short for any, or the rule's forecasts allow none."""
        states = count_states(paths.verdicts, paths.verdict, paths.asks, exit_count=paths.exit_count)
        every = paths.rule.looks_at_every_exit
        try:
            return optimum(states, self.table, deadline_s, period_s, looks_at_every_exit=every)
        except (OptionError, DataError):
            return None

    def _deadline_s(self, factor: float | None) -> float | None:
        return None if factor is None else factor * self.board.full_latency_s

    def _arrivals(self, deadline_s: float | None) -> Arrivals:
        return self._options.arrivals(self.board.full_latency_s if deadline_s is None else deadline_s)
