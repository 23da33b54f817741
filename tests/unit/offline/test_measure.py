"""On the board of `metered_board` figures are worked out by hand: 60 ms x 2 W at 100 MHz, 30 ms x 3 W at 200 MHz..."""

import json

import pytest
from metered_board import MHZ, Board, Domain, engine_for
from tiny_bundle import make_bundle

from edgeexit import load_bundle, load_governor, open_device
from edgeexit.bundle.costs import load_cost_file, load_cost_table
from edgeexit.device import CostModel, load_profile
from edgeexit.device.profile import ClockSpec
from edgeexit.errors import DeviceError, OptionError
from edgeexit.offline.measure import measure_device
from edgeexit.offline.measure_plan import plan_points, slowest_first, thin
from edgeexit.offline.measure_text import measurement_document, measurement_text
from edgeexit.protocols import EnergySource
from edgeexit.runtime import Session


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("measured"))


@pytest.fixture
def board(monkeypatch):
    made = Board()
    monkeypatch.setattr("edgeexit.offline.measure_bench.Engine", engine_for(made))
    return made


@pytest.fixture
def measure(tiny, board, tmp_path):
    def measure(**options):
        return measure_device(tiny, board, tmp_path, **{"seconds_per_point": 100.0, **options})

    return measure


def mhz(measurement):
    return [point.clocks["gpu"] // MHZ for point in measurement.table.points]


def exactly(values):
    return pytest.approx(values, rel=1e-9)


class Knob:
    """A file that holds whatever one thinks."""

    before_write = None

    def __init__(self, key):
        self.key = key

    def read(self):
        return "0"

    def holds(self, value):
        return True


class Journal:
    """It forgets everything."""

    def open(self, knobs):
        pass

    def note(self, knob, values):
        pass

    def restore(self):
        return ()


class Stop(BaseException):
    """Ctrl-C, so to speak."""


def stop_at(point):
    """Return a progress callback that interrupts when this point has begun to be timed."""

    def progress(what, share):
        if what == f"gpu {point} MHz latency":
            raise Stop

    return progress


# --- What is measured ------------------------------------------------------------------------------


def test_a_simulated_board_yields_the_table_of_its_model(tmp_path):
    bundle = load_bundle("fashion-resnet")
    with open_device("simulated:jetson-tx2") as device:
        table = measure_device(bundle, device, tmp_path).table
        expected = device.modelled_costs(bundle.workload)
    assert [point.clocks for point in table.points] == [point.clocks for point in expected.points]
    for found, want in zip(table.points, expected.points, strict=True):
        assert found.idle_power_w == exactly(want.idle_power_w)
        assert found.segment_latency_s == exactly(want.segment_latency_s)
        assert found.segment_energy_j == exactly(want.segment_energy_j)
        assert found.head_latency_s == exactly(want.head_latency_s)
        assert found.head_energy_j == exactly(want.head_energy_j)
    assert (table.switch_latency_s, table.switch_energy_j) == exactly((0.003, 0.029))


def test_pieces_of_a_few_operations_are_as_exact_on_a_simulated_board(tiny, tmp_path):
    with open_device("simulated:jetson-tx2") as device:
        table = measure_device(tiny, device, tmp_path).table
        expected = device.modelled_costs(tiny.workload)
    for found, want in zip(table.points, expected.points, strict=True):
        assert found.segment_latency_s == exactly(want.segment_latency_s)
        assert found.head_energy_j == exactly(want.head_energy_j)


def test_a_real_machine_without_clocks_and_meter_gives_its_latencies(tiny, tmp_path):
    class Bare(Board):
        def __init__(self):
            super().__init__()
            self.clock = open_device("host").clock
            self.domains = {}

    device = Bare().without_meter()
    measurement = measure_device(tiny, device, tmp_path, seconds_per_point=0.05)
    table = load_cost_table(measurement.cost_path, tiny)
    assert [dict(point.clocks) for point in table.points] == [{}]
    assert min(table.points[0].segment_latency_s) > 0.0
    assert not table.has_energy
    assert measurement.provenance.points[0].repeats >= 9
    assert load_profile(measurement.profile_path).model is None
    assert "No clock was set" in measurement_text(measurement)


def test_a_session_takes_the_table_that_was_measured(tiny, measure):
    path = measure().cost_path
    table = load_cost_table(path, tiny)
    device = open_device("simulated:jetson-tx2")
    with device, Session(tiny, device, load_governor("deadline"), cost_table=table) as session:
        result = session.infer([[[[1.0, 0.0], [0.0, 0.0]]]], latency_budget_s=1.0)
    assert result.label == 0


def test_latency_power_and_energy_at_every_point(measure):
    measurement = measure()
    low, middle, high = measurement.table.points
    assert mhz(measurement) == [100, 200, 400]
    assert low.segment_latency_s == exactly((0.016, 0.016, 0.028))
    assert low.head_latency_s == exactly((0.012, 0.012, 0.0))
    assert middle.segment_latency_s == exactly((0.008, 0.008, 0.014))
    assert low.segment_energy_j == exactly((0.032, 0.032, 0.056))
    assert high.head_energy_j == exactly((0.021, 0.021, 0.0))
    assert [point.idle_power_w for point in measurement.table.points] == exactly([1.0, 1.0, 1.0])
    records = measurement.provenance.points
    assert [record.whole_latency_s.median for record in records] == exactly([0.060, 0.030, 0.015])
    assert [record.load_power_w.median for record in records] == exactly([2.0, 3.0, 7.0])
    assert [record.whole_energy_j.median for record in records] == exactly([0.120, 0.090, 0.105])


def test_the_cheapest_and_the_quickest_point_are_named(measure):
    measurement = measure()
    assert (measurement.cheapest, measurement.quickest) == (1, 2)
    text = measurement_text(measurement)
    assert "Cheapest: gpu 200 MHz, 14% less energy for an inference than the quickest, gpu 400 MHz" in text
    assert "simulated" not in text


def test_a_switch_costs_what_setting_and_reading_back_take(measure):
    measurement = measure()
    assert measurement.table.switch_latency_s == exactly(0.002)
    assert measurement.table.switch_energy_j == exactly(0.005)
    assert measurement.provenance.switch.settle_s.median == exactly(0.002)


def test_where_the_work_runs_at_the_new_speed_only_later_the_switch_takes_as_long(measure, board):
    changed = {"from_mhz": 100, "at_s": -1.0}
    set_hz, work = board.gpu.set_hz, board.work

    def change(frequency_hz):
        if frequency_hz != board.gpu.hz:
            changed.update(from_mhz=board.gpu.hz // MHZ, at_s=board.clock.now_s() + 0.002)
        return set_hz(frequency_hz)

    def slow_to_settle(macs):
        if board.clock.now_s() < changed["at_s"] + 0.020 - 1e-9:
            board.spend(macs * 0.001 * 100 / changed["from_mhz"], 2.0)
        else:
            work(macs)

    board.gpu.set_hz, board.work = change, slow_to_settle
    measurement = measure()
    # A segment shows it. Up: 2 ms to set, two runs of 16 ms at the old speed. Down: 2 ms, five runs of 4 ms.
    settle = measurement.provenance.switch.settle_s
    assert measurement.provenance.switch.set_s.median == exactly(0.002)
    assert settle.median == pytest.approx((0.034 + 0.022) / 2)
    assert measurement.table.switch_latency_s == settle.median


def test_a_meter_that_is_too_slow_for_pieces_gives_the_power_and_the_pieces_their_share(measure, board):
    board.meter.min_window_s = 10.0
    measurement = measure()
    assert measurement.table.points[2].segment_energy_j == exactly((0.028, 0.028, 0.049))
    assert measurement.table.points[2].head_energy_j == exactly((0.021, 0.021, 0.0))
    method = measurement.provenance.points[2].energy_method
    assert method == "power under load x latency, because windows of 1.4 s are too short for this meter"
    assert measurement.provenance.switch.energy_method == "power under load at the higher clocks x latency of a switch"
    assert measurement.table.switch_energy_j == exactly(7.0 * 0.002)


def test_a_meter_that_needs_longer_windows_than_a_point_has_gets_one(measure, board):
    board.meter.min_window_s = 60.0
    assert measure(seconds_per_point=10.0).provenance.points[0].idle_power_w.repeats == 1
    assert board.clock.now_s() > 3 * 2 * 60.0


def test_without_a_meter_there_are_latencies_only(tiny, measure, board):
    board.without_meter()
    measurement = measure()
    table, provenance = load_cost_file(measurement.cost_path, tiny)
    assert table.points[0].segment_latency_s == exactly((0.016, 0.016, 0.028))
    assert table.points[0].segment_energy_j is None
    assert table.switch_energy_j is None
    assert not table.has_energy
    assert (provenance.meter, provenance.energy_source) == (None, None)
    assert measurement.cheapest is None
    assert load_profile(measurement.profile_path).model.operating_points[0].input_power_w is None
    text = measurement_text(measurement)
    assert "Meter: none, so no power and no energy" in text
    assert "Which point is the cheapest is not known: energy was not metered." in text
    assert measurement_document(measurement)["points"][0]["energy_j"] is None


def test_a_meter_that_gives_nothing_leaves_energy_unknown(measure, board):
    board.meter.broken = True
    measurement = measure()
    assert not measurement.table.has_energy
    assert measurement.provenance.points[0].load_power_w is None
    assert "The meter gave nothing at one point or more: energy is not known there." in measurement.provenance.notes


def test_a_meter_that_stands_still_is_not_taken_for_0_watts(measure, board):
    board.meter.read_energy_j = lambda: 5.0
    measurement = measure()
    assert not measurement.table.has_energy
    assert measurement.provenance.points[0].idle_power_w is None


def test_throttling_that_is_over_after_the_rest_does_not_count(measure, board):
    board.throttled_at_mhz = (200,)
    measurement = measure(progress=lambda what, share: setattr(board, "throttled_at_mhz", ()))
    assert mhz(measurement) == [100, 200, 400]


# --- Clocks ----------------------------------------------------------------------------------------


def test_the_clocks_are_given_back(measure, board):
    board.gpu.hz = 200 * MHZ
    measure()
    assert board.gpu.hz == 200 * MHZ


def test_an_interrupt_gives_the_clocks_back(measure, board):
    with pytest.raises(Stop):
        measure(progress=stop_at(400))
    assert board.gpu.hz == 100 * MHZ


def test_a_throttled_point_is_left_out_with_the_reason(measure, board):
    board.throttled_at_mhz = (400,)
    measurement = measure()
    assert mhz(measurement) == [100, 200]
    assert [(dict(each.clocks), each.reason) for each in measurement.provenance.left_out] == [
        ({"gpu": 400 * MHZ}, "throttled: heat")
    ]
    assert "Left out: gpu 400 MHz: throttled: heat." in measurement_text(measurement)


def test_a_clock_that_was_held_down_is_left_out_with_what_it_was(measure, board):
    board.gpu.cap_hz = 200 * MHZ
    measurement = measure()
    assert mhz(measurement) == [100, 200]
    assert measurement.provenance.left_out[0].reason == "clock gpu was asked for 400 MHz and ran at 200 MHz"


def test_a_clock_that_moves_while_it_is_measured_is_left_out(measure, board):
    def somebody_else(what, share):
        if what == "gpu 200 MHz latency":
            board.gpu.hz = 100 * MHZ

    measurement = measure(progress=somebody_else)
    assert mhz(measurement) == [100, 400]
    assert measurement.provenance.left_out[0].reason == "clock gpu was asked for 200 MHz and ran at 100 MHz"


def test_if_no_point_can_be_measured_it_says_why_and_writes_nothing(measure, board, tmp_path):
    board.throttled_at_mhz = (100, 200, 400)
    with pytest.raises(DeviceError, match="no operating point could be measured: gpu 100 MHz: throttled: heat; gpu"):
        measure()
    assert list(tmp_path.iterdir()) == []


def test_clocks_that_cannot_be_set_are_measured_as_they_are_and_it_is_said(measure, board):
    board.gpu.writable = False
    measurement = measure()
    assert [dict(point.clocks) for point in measurement.table.points] == [{}]
    assert measurement.table.points[0].segment_latency_s == exactly((0.016, 0.016, 0.028))
    assert (measurement.table.switch_latency_s, measurement.table.switch_energy_j) == (0.0, 0.0)
    assert measurement.table.has_energy
    assert measurement.provenance.notes[0].startswith("Clock gpu is left as it is: clock 'gpu' cannot be set")
    assert any(note.startswith("No clock was set") for note in measurement.provenance.notes)


def test_a_clock_that_can_be_set_is_measured_beside_one_that_cannot(measure, board):
    board.domains["cpu"] = Domain(board, "cpu", (1000, 2000))
    board.domains["cpu"].writable = False
    assert [dict(point.clocks) for point in measure().table.points] == [
        {"gpu": 100 * MHZ},
        {"gpu": 200 * MHZ},
        {"gpu": 400 * MHZ},
    ]


def test_two_clocks_are_measured_in_every_combination_if_these_are_few(measure, board):
    board.domains["cpu"] = Domain(board, "cpu", (1000, 2000))
    measurement = measure()
    points = [(point.clocks["gpu"] // MHZ, point.clocks["cpu"] // MHZ) for point in measurement.table.points]
    assert points == [(100, 1000), (100, 2000), (200, 1000), (200, 2000), (400, 1000), (400, 2000)]
    assert load_profile(measurement.profile_path).model is not None


def test_many_combinations_are_not_tried_but_each_clock_alone(measure, board):
    board.domains["cpu"] = Domain(board, "cpu", range(1000, 3500, 100))
    measurement = measure(seconds_per_point=1.0)
    points = [(point.clocks["gpu"] // MHZ, point.clocks["cpu"] // MHZ) for point in measurement.table.points]
    assert len(points) == 2 + 24 + 1
    assert points[-1] == (400, 3400)
    assert (100, 3400) in points
    assert (100, 1000) not in points
    assert any(note.startswith("Each clock domain was moved alone") for note in measurement.provenance.notes)
    assert load_profile(measurement.profile_path).model is None


def test_the_number_of_points_can_be_chosen(measure, board):
    assert mhz(measure(points=2)) == [100, 400]
    board.gpu.sets.clear()
    measurement = measure(points=1)
    assert mhz(measurement) == [400]
    assert measurement.provenance.switch.set_s is None
    with pytest.raises(OptionError, match="must be 1 or more, not 0"):
        measure(points=0)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 3600.0, float("nan")])
def test_a_senseless_time_for_a_point_is_refused(measure, seconds):
    with pytest.raises(OptionError, match="seconds for a point must be above 0 and below an hour"):
        measure(seconds_per_point=seconds)


# --- Interrupted and continued ---------------------------------------------------------------------


def test_it_goes_on_where_it_was_interrupted(measure, board, tmp_path):
    with pytest.raises(Stop):
        measure(progress=stop_at(400))
    partial = tmp_path / "bench-board-measured.tiny.partial.json"
    assert [path.name for path in tmp_path.iterdir()] == [partial.name]
    begun = []
    measurement = measure(progress=lambda what, share: begun.append(what))
    assert mhz(measurement) == [100, 200, 400]
    assert {what for what in begun if what.endswith("latency")} == {"gpu 400 MHz latency"}
    assert measurement.table.points[0].segment_latency_s == exactly((0.016, 0.016, 0.028))
    assert not partial.exists()


def test_a_point_that_was_left_out_is_tried_again(measure, board):
    board.throttled_at_mhz = (100,)
    with pytest.raises(Stop):
        measure(progress=stop_at(400))
    board.throttled_at_mhz = ()
    assert mhz(measure()) == [100, 200, 400]


def test_an_unfinished_measurement_with_other_settings_is_refused_with_what_to_do(measure, tmp_path):
    with pytest.raises(Stop):
        measure(progress=stop_at(200))
    with pytest.raises(OptionError, match=r"begun with other settings \(seconds.* 100.0, now 50.0\): give --fresh"):
        measure(seconds_per_point=50.0)
    assert mhz(measure(seconds_per_point=50.0, fresh=True)) == [100, 200, 400]
    assert list(tmp_path.glob("*.partial.json")) == []


def test_a_damaged_unfinished_measurement_is_refused_with_what_to_do(measure, tmp_path):
    with pytest.raises(Stop):
        measure(progress=stop_at(200))
    path = next(tmp_path.glob("*.partial.json"))
    path.write_text(path.read_text()[:-20])
    with pytest.raises(OptionError, match=r"cannot be continued .*no valid JSON.* give --fresh"):
        measure()
    path.write_text(json.dumps({"format": 2, "settings": {}, "points": []}))
    with pytest.raises(OptionError, match="reads format 1"):
        measure()


# --- What is written -------------------------------------------------------------------------------


def test_the_table_says_where_it_is_from(tiny, measure):
    measurement = measure()
    table, provenance = load_cost_file(measurement.cost_path, tiny)
    assert measurement.cost_path.name == "tiny.costs.json"
    assert (table, provenance) == (measurement.table, measurement.provenance)
    assert (provenance.board, provenance.simulated) == ("bench-board", False)
    assert (provenance.meter, provenance.energy_source) == ("VIN", EnergySource.INTEGRATED)
    assert (provenance.threads, provenance.optimised) == (1, True)
    assert provenance.engine.startswith("onnxruntime ")
    assert provenance.kernel_governors == {"gpu": "schedutil"}
    assert provenance.points[0].verified_by == "read back"
    assert provenance.points[0].temperature_c == 40.0
    assert provenance.points[0].repeats == 9
    assert "The meter's own error: about 2.0% of the power under load (one standard deviation)." in provenance.notes


def test_the_profile_holds_the_points_and_predicts_what_was_measured(tiny, measure):
    profile = load_profile(measure().profile_path)
    assert profile.name == "bench-board-measured"
    points = profile.model.operating_points
    assert [point.input_power_w for point in points] == exactly([2.0, 3.0, 7.0])
    assert [point.reference_frames_per_s for point in points] == exactly([1 / 0.06, 1 / 0.03, 1 / 0.015])
    assert points[1].rail_power_w == {"VDD_GPU": exactly(3.0)}
    assert profile.model.idle_power_w == exactly(1.0)
    table = CostModel(profile).cost_table(tiny.workload)
    assert table.work(1, 0, 2) == exactly((0.030, 0.090))
    assert profile.provenance["model"].startswith("Measured by 'edgeexit measure': bundle 'tiny' on bench-board, ")


def test_the_profile_of_a_simulated_board_says_so_and_is_never_detected(tiny, tmp_path):
    with open_device("simulated:jetson-tx2") as device:
        measurement = measure_device(tiny, device, tmp_path, points=2)
    profile = load_profile(measurement.profile_path)
    assert profile.name == "simulated-jetson-tx2"
    assert profile.match == ()
    assert profile.provenance["model"].startswith("Simulated, so not a measurement of a real board")
    text = measurement_text(measurement)
    assert all("(simulated)" in title for title in ("latency ms (simulated)", "power W (simulated)") if title in text)
    assert "energy mJ (simulated)" in text


def test_a_board_without_a_profile_gets_one_without_a_model_if_its_clocks_cannot_be_found_again(measure, board):
    board.profile = None
    profile = load_profile(measure().profile_path)
    assert profile.title == "bench-board (measured)"
    assert profile.model is None
    assert profile.notes[-1].startswith("No model: it takes a full grid of known clocks")


def test_a_clock_is_found_again_by_what_its_knobs_are_called(measure, board):
    board.profile = None
    board.journal = Journal()
    board.gpu.knobs = (Knob("devfreq/17000000.gpu/min_freq"), Knob("devfreq/17000000.gpu/max_freq"))
    profile = load_profile(measure().profile_path)
    assert profile.clocks == {"gpu": ClockSpec("devfreq", ("17000000.gpu",))}
    assert len(profile.model.operating_points) == 3


def test_other_work_on_the_machine_is_pointed_out(measure, board):
    board.cpu_load = 0.6
    assert "Other work kept up to 60% of the cores busy: the figures may be too high." in measure().provenance.notes


def test_a_clock_that_makes_nothing_quicker_is_pointed_out(measure, board):
    quicker = board.work
    board.work = lambda macs: quicker(macs) if board.gpu.hz < 400 * MHZ else board.spend(macs * 0.0005, 7.0)
    assert measure().provenance.notes[-1].startswith("Clock gpu at 400 MHz makes the network no quicker than one step")


def test_a_clock_that_has_nothing_to_do_with_the_work_is_pointed_out_once(measure, board):
    board.domains["cpu"] = Domain(board, "cpu", (1000, 2000))
    notes = [note for note in measure().provenance.notes if "no quicker" in note]
    assert [note.split(" makes")[0] for note in notes] == ["Clock cpu at 2000 MHz"]


def test_progress_goes_from_nothing_to_nearly_all_and_never_back(measure):
    shares = []
    measure(progress=lambda what, share: shares.append(share))
    assert shares[0] == 0.0
    assert shares == sorted(shares)
    assert 0.8 < shares[-1] <= 1.0


# --- The plan --------------------------------------------------------------------------------------


def test_thinning_keeps_both_ends():
    assert thin((1, 2, 3, 4, 5), 3) == (1, 3, 5)
    assert thin((1, 2, 3, 4, 5), 9) == (1, 2, 3, 4, 5)
    assert thin((1, 2, 3), 1) == (3,)


def test_without_clocks_there_is_one_point():
    assert plan_points({}).points == ({},)


def test_points_of_one_clock_stand_by_frequency_even_if_one_was_measured_slower():
    assert slowest_first([({"gpu": 3}, 1.1), ({"gpu": 1}, 3.0), ({"gpu": 2}, 1.0)]) == [1, 2, 0]


def test_points_of_two_clocks_stand_by_latency_as_far_as_clocks_allow():
    points = [({"a": 2, "b": 2}, 1.2), ({"a": 1, "b": 2}, 1.0), ({"a": 2, "b": 1}, 2.0), ({"a": 1, "b": 1}, 4.0)]
    assert slowest_first(points) == [3, 2, 1, 0]
