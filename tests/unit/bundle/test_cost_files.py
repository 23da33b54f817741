import json
from dataclasses import replace

import pytest

from edgeexit.bundle.costs import (
    CostProvenance,
    Figure,
    LeftOut,
    PointRecord,
    SwitchRecord,
    load_cost_file,
    load_cost_table,
    save_cost_table,
)
from edgeexit.errors import CostTableError
from edgeexit.protocols import CostTable, EnergySource, PointCosts


def record(mhz, *, metered=True):
    """One of a bundle with two segments and two heads."""
    figure = Figure(2.5, 0.1, 3)
    costs = PointCosts(
        clocks={"cpu": mhz * 1_000_000},
        idle_power_w=1.25 if metered else None,
        segment_latency_s=(0.3 / mhz, 0.1),
        segment_energy_j=(0.01, 0.02) if metered else None,
        head_latency_s=(0.003, 0.0),
        head_energy_j=(0.001, 0.0) if metered else None,
    )
    return PointRecord(
        costs=costs,
        verified_by="read back",
        repeats=40,
        segment_latency_spread=(0.01, 0.02),
        head_latency_spread=(0.03, 0.0),
        whole_latency_s=Figure(0.4 / mhz, 0.02, 40),
        idle_power_w=figure if metered else None,
        load_power_w=figure if metered else None,
        whole_energy_j=figure if metered else None,
        energy_method="3 windows" if metered else None,
        temperature_c=41.5,
        cpu_load=None,
    )


def make(bundle, *, metered=True):
    records = (record(600, metered=metered), record(1500, metered=metered))
    table = CostTable(
        points=tuple(each.costs for each in records),
        exit_segments=bundle.workload.exit_segments,
        switch_latency_s=0.00035,
        switch_energy_j=0.001 if metered else None,
        source="measured",
    )
    provenance = CostProvenance(
        bundle=bundle.name,
        bundle_digest=bundle.digest,
        board="raspberry-pi-4",
        simulated=False,
        measured_at="2026-01-02T03:04:05+00:00",
        edgeexit_version="0.1.0",
        engine="onnxruntime 1.22.0",
        providers=("CPUExecutionProvider",),
        threads=2,
        optimised=True,
        meter="VDD_IN (INA3221)" if metered else None,
        energy_source=EnergySource.INTEGRATED if metered else None,
        kernel_governors={"cpu": "ondemand"},
        switch=SwitchRecord(Figure(0.00035, 0.1, 6), None, "a window of 60 switches" if metered else None),
        points=records,
        left_out=(LeftOut({"cpu": 1_400_000_000}, "throttled: heat"),),
        notes=("No other work.",),
    )
    return table, provenance


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.costs.json"


@pytest.fixture
def document(sound_bundle, path):
    """A sound file's content, to be damaged."""
    save_cost_table(path, *make(sound_bundle))
    return json.loads(path.read_text())


def load_damaged(path, document, bundle):
    path.write_text(json.dumps(document))
    return load_cost_table(path, bundle)


@pytest.mark.parametrize("metered", [True, False])
def test_what_was_saved_is_loaded_to_the_last_digit(sound_bundle, path, metered):
    table, provenance = make(sound_bundle, metered=metered)
    save_cost_table(path, table, provenance)
    assert load_cost_file(path, sound_bundle) == (table, provenance)
    assert load_cost_table(path, sound_bundle).has_energy is metered


def test_a_missing_energy_is_null_in_the_file_and_never_0(sound_bundle, path):
    save_cost_table(path, *make(sound_bundle, metered=False))
    document = json.loads(path.read_text())
    assert document["switch_energy_j"] is None
    assert document["points"][0]["costs"]["segment_energy_j"] is None
    assert document["provenance"]["meter"] is None


def test_the_table_of_another_bundle_is_refused_by_name(sound_bundle, path):
    table, provenance = make(sound_bundle)
    save_cost_table(path, table, replace(provenance, bundle="other", bundle_digest="0" * 64))
    with pytest.raises(CostTableError, match="is for bundle 'other' with digest 000000000000, this is 'net'") as error:
        load_cost_table(path, sound_bundle)
    assert "edgeexit measure" in str(error.value)


def test_records_of_other_points_are_not_saved(sound_bundle, path):
    table, provenance = make(sound_bundle)
    with pytest.raises(CostTableError, match="do not describe the points"):
        save_cost_table(path, table, replace(provenance, points=provenance.points[:1]))
    assert not path.exists()


def test_a_table_that_cannot_be_written_leaves_the_old_one_and_nothing_else(sound_bundle, path):
    save_cost_table(path, *make(sound_bundle))
    before = path.read_bytes()
    table, provenance = make(sound_bundle)
    with pytest.raises(ValueError, match="JSON compliant"):
        save_cost_table(path, replace(table, switch_latency_s=float("nan")), provenance)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("format",), 2, "format: this version reads format 1, found 2"),
        (("bundle", "digest"), "", "bundle: digest: expected a text"),
        (("source",), "guessed", "source: expected one of measured, modelled"),
        (("exit_segments",), [0], r"exit_segments: expected the bundle's \["),
        (("switch_latency_s",), -0.1, "switch_latency_s: expected a number that is not negative"),
        (("switch_energy_j",), "0.1", "switch_energy_j: expected a number"),
        (("points",), [], "points: expected a list of 1 or more"),
        (("points",), [None] * 4097, "points: expected no more than 4096 points"),
        (("points", 0, "costs", "clocks_hz", "cpu"), 0, r"clocks_hz\['cpu'\]: expected a frequency in Hz above 0"),
        (("points", 0, "costs", "segment_latency_s"), [0.1], "segment_latency_s: expected 2 numbers"),
        (("points", 1, "costs", "head_energy_j"), [0.1, 0.1, 0.1], r"points\[1\]: costs: head_energy_j: expected 2"),
        (("points", 0, "costs", "idle_power_w"), -1, "idle_power_w: expected a number that is not negative"),
        (("points", 0, "whole_latency_s", "repeats"), 1.5, "whole_latency_s: repeats: expected a whole number"),
        (("points", 1, "costs", "clocks_hz"), {"gpu": 5}, "points: expected the same clocks at every point"),
        (("points", 1, "costs", "clocks_hz"), {"cpu": 600_000_000}, "from the slowest to the fastest, each once"),
        (("provenance", "simulated"), 0, "provenance: simulated: expected true or false"),
        (("provenance", "energy_source"), "felt", "energy_source: expected one of counter, integrated"),
        (("provenance", "left_out", 0, "reason"), None, r"left_out\[0\]: reason: expected a text"),
        (("provenance", "switch", "set_s"), {"median": 1.0}, "set_s: the key 'spread' is missing; measure again"),
    ],
)
def test_a_wrong_value_is_refused_with_file_and_key(sound_bundle, path, document, keys, value, message):
    place = document
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    with pytest.raises(CostTableError, match=message) as error:
        load_damaged(path, document, sound_bundle)
    assert str(error.value).startswith(str(path))


def test_unknown_and_missing_keys_are_refused(sound_bundle, path, document):
    with pytest.raises(CostTableError, match="unknown key 'colour'"):
        load_damaged(path, {**document, "colour": 1}, sound_bundle)
    del document["provenance"]["board"]
    with pytest.raises(CostTableError, match="provenance: the key 'board' is missing; measure again"):
        load_damaged(path, document, sound_bundle)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": NaN}', '{"format": 1, "format": 1}', '{"format": 1e999}'])
def test_what_is_no_such_json_is_refused(sound_bundle, path, text):
    path.write_text(text)
    with pytest.raises(CostTableError, match=r"net.costs.json: "):
        load_cost_table(path, sound_bundle)


def test_a_file_that_is_not_there_is_refused(sound_bundle, tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(CostTableError, match="there is no such file; 'edgeexit measure' writes cost tables"):
            load_cost_table(path, sound_bundle)


def test_a_file_of_any_size_is_not_read(sound_bundle, path):
    with path.open("wb") as file:
        file.truncate(17 * 2**20)
    with pytest.raises(CostTableError, match="larger than 16777216 bytes"):
        load_cost_table(path, sound_bundle)


def test_points_of_two_clocks_may_stand_in_any_order_in_which_none_is_above_a_later_one(sound_bundle, path, document):
    def with_clocks(*settings):
        points = [json.loads(json.dumps(document["points"][0])) for _ in settings]
        for point, (cpu, gpu) in zip(points, settings, strict=True):
            point["costs"]["clocks_hz"] = {"cpu": cpu, "gpu": gpu}
        return {**document, "points": points}

    table = load_damaged(path, with_clocks((1, 1), (2, 1), (1, 2), (2, 2)), sound_bundle)
    assert [tuple(point.clocks.values()) for point in table.points] == [(1, 1), (2, 1), (1, 2), (2, 2)]
    with pytest.raises(CostTableError, match="from the slowest to the fastest"):
        load_damaged(path, with_clocks((1, 1), (2, 2), (2, 1)), sound_bundle)


def test_costs_at_the_clocks_as_they_are_have_no_clock(sound_bundle, path, document):
    document["points"] = document["points"][:1]
    document["points"][0]["costs"]["clocks_hz"] = {}
    assert load_damaged(path, document, sound_bundle).points[0].clocks == {}
