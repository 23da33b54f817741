"""Studies: several rules, governors and deadlines on one board, and their results as JSON."""

import json
from dataclasses import replace

import numpy as np
import pytest
from tiny_bundle import make_bundle, network_input

from edgeexit import __version__
from edgeexit.device import load_profile
from edgeexit.errors import DataError, OptionError, PluginNotFound
from edgeexit.offline.bootstrap import Estimate
from edgeexit.offline.record import record_trace
from edgeexit.offline.replaying.arrivals import Poisson
from edgeexit.offline.replaying.noise import Noise
from edgeexit.offline.replaying.policies import list_policies, make_policy, split_options
from edgeexit.offline.replaying.results import Bounds, load_replays, read_replay, save_replays
from edgeexit.offline.replaying.sources import default_rules, read_trace
from edgeexit.offline.replaying.study import StudyOptions, make_setting, replay_board
from edgeexit.offline.replaying.summing_up import mean_over_samples
from edgeexit.offline.replaying.text import replay_text
from edgeexit.offline.traces import save_traces

RULES = ("last", "threshold@0.5")
GOVERNORS = ("performance", "best-fixed", "race-to-idle", "plan")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def trace(bundle):
    return record_trace(bundle, network_input(), np.arange(9) % 3)


@pytest.fixture(scope="module")
def board():
    return load_profile("jetson-tx2")


@pytest.fixture(scope="module")
def study(bundle, trace, board):
    return replay_board(bundle, board, trace, RULES, GOVERNORS, StudyOptions(deadline_factors=(2.0, 4.0)))


def test_every_rule_governor_and_deadline_is_replayed(study):
    found = [(run.rule, run.deadline_factor, run.governor) for run in study.runs]
    assert found == [(rule, factor, governor) for rule in RULES for factor in (2.0, 4.0) for governor in GOVERNORS]


def test_the_network_stands_for_one_frame_of_the_reference_workload(study, board):
    frames_per_s = board.require_model().operating_points[-1].reference_frames_per_s
    assert study.full_latency_s == pytest.approx(1.0 / frames_per_s)
    assert (study.board, study.bundle, study.samples) == ("jetson-tx2", "tiny", 9)
    assert study.source == "simulated"


def test_no_run_needs_less_than_the_bounds(study):
    assert len(study.bounds) == 4
    for bounds in study.bounds:
        assert bounds.without_looks_j <= bounds.clairvoyant_j <= bounds.optimum_reached_j
        for run in study.runs:
            if (run.rule, run.deadline_factor) == (bounds.rule, bounds.deadline_factor):
                assert run.energy_j.value >= bounds.clairvoyant_j * (1 - 1e-9)


def test_every_run_lies_above_the_bound_of_its_own_answers(bundle, trace, board):
    options = StudyOptions(deadline_factors=(0.8, 1.0, 1.5), optimum=False)
    found = replay_board(bundle, board, trace, RULES, [*GOVERNORS, "powersave", "stock"], options)
    assert any(run.misses for run in found.runs)
    assert any(run.cut_short for run in found.runs)
    assert all(run.clairvoyant_j <= run.energy_j.value * (1 + 1e-9) for run in found.runs)


def test_who_answers_as_the_rule_wants_has_the_bound_without_looks_as_its_own(study):
    for run in study.runs:
        bounds = next(b for b in study.bounds if (b.rule, b.deadline_factor) == (run.rule, run.deadline_factor))
        assert (run.misses, run.cut_short) == (0, 0)
        assert run.clairvoyant_j == pytest.approx(bounds.without_looks_j)


def test_the_bounds_say_where_the_deadline_cuts_the_rule_for_everybody(bundle, trace, board):
    options = StudyOptions(deadline_factors=(0.8, 1.0, 2.0))
    found = replay_board(bundle, board, trace, ["last", "threshold@0.5"], ["plan"], options)
    caps = {(bounds.rule, bounds.deadline_factor): bounds.cap for bounds in found.bounds}
    # at the highest clock the looks of the thresholds take 38, 77 and 115 ms, the whole network with one head 82 ms
    assert [caps["threshold@0.5", factor] for factor in (0.8, 1.0, 2.0)] == [0, 1, None]
    assert caps["last", 2.0] is None


def test_where_not_even_the_first_look_is_in_time_there_is_no_optimum(bundle, trace, board):
    found = replay_board(bundle, board, trace, ["last"], ["plan"], StudyOptions(deadline_factors=(0.8,)))
    assert found.bounds[0].optimum_j is None
    assert found.runs[0].cut_short == found.runs[0].inferences


def test_the_results_say_what_made_them(bundle, trace, board, study):
    assert (study.seed, study.edgeexit_version) == (0, __version__)
    varied = StudyOptions(deadline_factors=(2.0,), seed=7, static_share=0.4)
    found = replay_board(bundle, board, trace, ["last"], ["stock"], varied)
    assert (found.seed, found.static_share) == (7, 0.4)
    assert found.provenance.startswith(study.provenance)
    assert "40% of the highest point's power is static" in found.provenance


def test_racing_to_idle_costs_two_switches_more_than_the_highest_clocks(study, board):
    runs = {run.governor: run for run in study.runs if (run.rule, run.deadline_factor) == ("last", 2.0)}
    model = board.require_model()
    expected_j = 2 * (model.switch_energy_j - model.switch_latency_s * model.idle_power_w)
    assert runs["race-to-idle"].energy_j.value - runs["performance"].energy_j.value == pytest.approx(expected_j)


def test_the_forecast_is_judged_where_there_is_one(study):
    assert [row.rule for row in study.forecast] == ["threshold@0.5"]
    row = study.forecast[0]
    assert 0.0 <= row.exact <= 1.0
    assert sum(count for _, _, count in row.reliability) >= row.samples


def test_results_survive_json(study, tmp_path):
    save_replays(tmp_path / "out.json", (study,))
    assert load_replays(tmp_path / "out.json") == (study,)
    save_replays(tmp_path / "two.json", (study, study))
    assert load_replays(tmp_path / "two.json") == (study, study)
    assert "samples" not in json.loads((tmp_path / "out.json").read_text())["runs"][0]


@pytest.mark.parametrize(
    "text", ["{}", "[1]", '{"format": "edgeexit.replay/0"}', '{"format": "edgeexit.replay/1"}', "nonsense"]
)
def test_other_files_are_refused_by_name(tmp_path, text):
    (tmp_path / "out.json").write_text(text)
    with pytest.raises(DataError):
        load_replays(tmp_path / "out.json")


def test_a_damaged_run_is_refused(study):
    document = json.loads(json.dumps(study.as_json()))
    del document["runs"][0]["energy_j"]
    with pytest.raises(DataError, match="damaged"):
        read_replay(document)


def test_a_folder_that_is_not_there_is_refused_by_name(study, tmp_path):
    with pytest.raises(DataError, match=r"no/out\.json"):
        save_replays(tmp_path / "no" / "out.json", (study,))


def test_noise_and_random_arrivals_have_no_bounds(bundle, trace, board):
    for options in ({"noise": Noise(0.1)}, {"arrivals": lambda deadline_s: Poisson(1.0 / deadline_s)}):
        found = replay_board(
            bundle, board, trace, ["last"], ["plan"], StudyOptions(deadline_factors=(2.0,), inferences=90, **options)
        )
        assert found.bounds == ()
        assert found.runs[0].clairvoyant_j is None
        assert found.runs[0].inferences == 90


def test_the_guard_covers_the_noise_unless_another_is_given():
    assert StudyOptions(noise=Noise(0.1)).latency_guard == pytest.approx(1.3)
    assert StudyOptions(noise=Noise(0.1), guard=1.1).latency_guard == 1.1
    assert StudyOptions().latency_guard == 1.0


def test_progress_is_told(bundle, trace, board):
    told = []
    options = StudyOptions(deadline_factors=(None,), progress=lambda what, share: told.append((what, share)))
    replay_board(bundle, board, trace, ["last"], ["performance", "powersave"], options)
    assert told == [("last, performance, deadline None", 0.0), ("last, powersave, deadline None", 0.5)]


def test_the_text_says_simulated_and_names_every_governor(study):
    text = replay_text(study)
    assert "simulated" in text
    assert all(name in text for name in (*GOVERNORS, "last", "threshold@0.5", "2 x"))


def test_bounds_are_in_brackets_for_runs_that_did_not_do_what_they_are_bounds_of(study):
    bounds = Bounds(rule="last", deadline_factor=2.0, clairvoyant_j=0.125, optimum_j=0.2)
    in_time = replace(study.runs[0], energy_j=Estimate(0.25, 0.24, 0.26), clairvoyant_j=0.1)
    runs = in_time, replace(in_time, misses=1), replace(in_time, clairvoyant_j=None)
    lines = replay_text(replace(study, runs=runs, bounds=(bounds,))).splitlines()[-3:]
    assert [line.rpartition("  ")[2] for line in lines] == [
        "+150.00 / +100.00 / +25.00",
        "+150.00 / (+100.00 / +25.00)",
        "- / +100.00 / +25.00",
    ]


def test_a_setting_is_a_name_and_the_accuracy_it_may_cost(bundle):
    assert make_setting("threshold@0.5", bundle).name == "threshold"
    assert make_setting("last", bundle).name == "last"
    for wrong in ("threshold@much", "threshold@7", "nothing"):
        with pytest.raises(OptionError):
            make_setting(wrong, bundle)


def test_options_of_a_governor_are_numbers_truth_values_or_text():
    assert split_options("plan:per_sample=false,joules_per_second=2.5") == (
        "plan",
        {"per_sample": False, "joules_per_second": 2.5},
    )
    assert split_options("fixed:frequency_hz=5") == ("fixed", {"frequency_hz": 5})
    assert split_options("stock") == ("stock", {})
    for wrong in ("plan:", "plan:x", "plan:x=1,x=2", "plan:=3"):
        with pytest.raises(OptionError):
            split_options(wrong)


def test_an_unknown_governor_is_refused(study, bundle, trace, board):
    with pytest.raises(PluginNotFound):
        replay_board(bundle, board, trace, ["last"], ["nothing"])


def test_best_fixed_needs_a_deadline():
    with pytest.raises(OptionError, match="needs a deadline"):
        make_policy("best-fixed", None, None, looks_at_every_exit=True)


def test_policies_are_listed_with_the_governors():
    assert {"best-fixed", "race-to-idle", "plan-population", "plan", "stock"} <= set(list_policies())


def test_the_interval_counts_inferences_of_one_sample_once():
    values, sample = np.array([1.0, 1.0, 3.0, 3.0]), np.array([0, 0, 1, 1])
    found = mean_over_samples(values, sample)
    # sums of residuals -2 and 2: the error is sqrt(8) / 4 = 0.7071
    assert found.value == 2.0
    assert found.high - found.value == pytest.approx(1.959964 * 0.7071068)


def test_traces_are_read_from_a_file(bundle, trace, tmp_path):
    save_traces(tmp_path / "traces.npz", {"test": trace})
    assert read_trace(bundle, traces=tmp_path / "traces.npz").logits.tolist() == trace.logits.tolist()
    with pytest.raises(DataError, match="no split 'select'"):
        read_trace(bundle, traces=tmp_path / "traces.npz", split="select")
    with pytest.raises(OptionError, match="not both"):
        read_trace(bundle, traces=tmp_path / "traces.npz", data=tmp_path / "images.npz")


def test_the_full_network_thresholds_and_the_recommended_rule_are_compared(bundle):
    assert default_rules(bundle) == ("last", "threshold", "thresholds")


def test_what_is_asked_for_twice_is_replayed_once(bundle, board, trace):
    options = StudyOptions(deadline_factors=(2.0,), optimum=False)
    found = replay_board(bundle, board, trace, ["last", "last"], ["plan", "plan"], options)
    assert len(found.runs) == 1
