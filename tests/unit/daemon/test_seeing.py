"""Metrics, the last minute, clock residency and the state, from answers that are made up."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from made_up_daemon import MODELS, answer, result, status
from prometheus_client.parser import text_string_to_metric_families

from edgeexit.daemon.contracts import InferOptions
from edgeexit.daemon.residency import Residency
from edgeexit.daemon.seeing.metrics import Metrics
from edgeexit.daemon.seeing.minute import LastMinute
from edgeexit.daemon.seeing.state import state_of
from edgeexit.errors import DeadlinePassed, EngineError, InputError, ModelNotFound, Refused
from edgeexit.protocols import Conditions

DOCS = Path(__file__).parents[3] / "docs"


def values(metrics):
    """Return every sample as (name, labels) -> value."""
    found = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


def metrics_of(*answers, failures=(), **changes):
    metrics = Metrics(lambda: status(**changes), lambda: MODELS)
    for each in answers:
        metrics.answered(each, InferOptions())
    for model, error in failures:
        metrics.refused(model, error)
    return metrics


M = (("model", "m"), ("version", "1"))


def test_answers_exits_looks_and_deadlines_are_counted():
    found = values(
        metrics_of(
            answer(result(0, (0,))),
            answer(result(2, (0, 2))),
            answer(result(2, (0, 1, 2)), met=False),
            answer(result(1, (1,)), met=None),
        )
    )
    assert found["edgeexit_answers_total", M] == 4
    assert found["edgeexit_exits_total", (("exit", "2"), *M)] == 2
    assert found["edgeexit_looks_total", M] == 7
    assert found["edgeexit_forecast_hits_total", M] == 3
    assert found["edgeexit_deadlines_total", (("met", "yes"), *M)] == 2
    assert found["edgeexit_deadlines_total", (("met", "no"), *M)] == 1
    assert found["edgeexit_latency_seconds_sum", M] == pytest.approx(0.08)


def test_energy_is_counted_by_its_source():
    found = values(metrics_of(answer(), answer(result(energy_j=None, source=None))))
    assert found["edgeexit_energy_joules_total", (("model", "m"), ("source", "simulated"), ("version", "1"))] == 0.5


def test_the_energy_of_a_batch_is_counted_once():
    batch = answer(result(energy_j=0.2, latency_s=0.1), result(energy_j=0.5, latency_s=0.3), result(energy_j=0.4))
    found = values(metrics_of(batch))
    assert found["edgeexit_energy_joules_total", (("model", "m"), ("source", "simulated"), ("version", "1"))] == 0.5


def test_failures_are_counted_by_reason_and_names_that_clients_make_up_share_one_label():
    found = values(
        metrics_of(
            failures=[
                ("m", Refused("full", 1.0)),
                ("m", DeadlinePassed("late")),
                ("m", InputError("shape")),
                ("m", EngineError("broken")),
                ("m", KeyError("nobody foresaw this")),
                ("made-up-1", ModelNotFound("?")),
                ("made-up-2", ModelNotFound("?")),
            ]
        )
    )
    counted = {
        dict(labels)["reason"]: (dict(labels)["model"], value)
        for (name, labels), value in found.items()
        if name == "edgeexit_failures_total"
    }
    assert counted == {
        "refused": ("m", 1),
        "deadline_passed": ("m", 1),
        "bad_request": ("m", 1),
        "engine_error": ("m", 1),
        "error": ("m", 1),
        "model_not_found": ("unknown", 2),
    }


def test_the_present_is_told_when_it_is_asked_for():
    found = values(metrics_of())
    assert found["edgeexit_queue_length", ()] == 2
    assert found["edgeexit_clock_hertz", (("domain", "cpu"),)] == 600
    assert found["edgeexit_clock_residency_seconds_total", (("domain", "cpu"), ("hertz", "1500"))] == 1.5
    assert found["edgeexit_temperature_celsius", ()] == 51.5
    assert found["edgeexit_throttled", ()] == 1
    assert found["edgeexit_model_ready", M] == 1
    assert found["edgeexit_model_drifted", (("model", "m"),)] == 1


def test_what_no_sensor_tells_is_left_out():
    names = {name for name, _ in values(metrics_of(conditions=Conditions()))}
    assert not names & {"edgeexit_temperature_celsius", "edgeexit_power_watts", "edgeexit_throttled"}


def test_every_metric_of_the_grafana_dashboard_exists():
    used = set(re.findall(r"edgeexit_[a-z_]+", (DOCS / "grafana" / "edgeexit.json").read_text()))
    there = {name for name, _ in values(metrics_of(answer(), failures=[("m", InputError("x"))]))}
    assert len(used) > 10
    assert used <= there


class Time:
    def __init__(self):
        self.s = 100.0

    def __call__(self):
        return self.s


def test_the_last_minute_forgets_what_is_older():
    now = Time()
    minute = LastMinute(now)
    minute.answered(answer(latency_s=9.0), InferOptions())
    minute.refused("m", Refused("full", 1.0))
    now.s += 61.0
    for latency_s in (0.01, 0.02, 0.03, 0.04):
        minute.answered(answer(latency_s=latency_s, met=latency_s < 0.035), InferOptions())
    summary = minute.summary()
    assert summary["answered"] == 4
    assert summary["refused"] == {}
    assert summary["latency_s"] == pytest.approx({"p50": 0.02, "p95": 0.04, "p99": 0.04}, rel=0.01)
    assert (summary["deadlines_met"], summary["deadlines_missed"]) == (3, 1)
    assert summary["exits"] == {"m": {"0": 4}}
    assert summary["energy_per_sample_j"] == 0.5


def test_a_minute_without_answers_knows_nothing():
    summary = LastMinute(Time()).summary()
    assert summary["latency_s"] == {"p50": None, "p95": None, "p99": None}
    assert summary["energy_per_sample_j"] is None


def test_the_rate_of_a_full_minute_counts_every_answer_however_many():
    now = Time()
    minute = LastMinute(now)
    for _ in range(120):
        for _ in range(500):
            minute.answered(answer(), InferOptions())
        now.s += 1.0
    now.s -= 0.5
    summary = minute.summary()
    assert summary["answered"] == 60 * 500
    assert summary["rate_hz"] == pytest.approx(30_000 / 59.5)


def test_what_is_remembered_of_a_minute_does_not_grow_with_its_answers():
    now = Time()
    minute = LastMinute(now)
    for index in range(5000):
        minute.answered(answer(latency_s=0.001 + 0.0001 * (index % 100)), InferOptions())
    (second,) = minute._seconds
    assert len(second.sizes) <= 121  # from 1 to 10.9 ms there are ln(10.9) / ln(1.02) = 120.6 steps


def test_quantiles_are_right_to_a_percent_from_microseconds_to_minutes():
    for latency_s in (0.00005, 0.00123, 0.5, 77.0):
        minute = LastMinute(Time())
        minute.answered(answer(latency_s=latency_s), InferOptions())
        assert minute.summary()["latency_s"]["p50"] == pytest.approx(latency_s, rel=0.01)


def test_the_energy_of_a_sample_in_a_batch_is_its_share():
    minute = LastMinute(Time())
    minute.answered(answer(result(energy_j=0.2), result(energy_j=0.6), result(energy_j=0.4)), InferOptions())
    minute.answered(answer(result(energy_j=1.0)), InferOptions())
    minute.answered(answer(result(energy_j=None, source=None)), InferOptions())
    assert minute.summary()["energy_per_sample_j"] == pytest.approx((0.6 + 1.0) / 4)


def test_refusals_of_the_minute_go_by_the_reasons_of_the_metrics():
    minute = LastMinute(Time())
    for error in (Refused("full", 1.0), Refused("full", 1.0), DeadlinePassed("late"), RuntimeError("a mistake")):
        minute.refused("m", error)
    assert minute.summary()["refused"] == {"refused": 2, "deadline_passed": 1, "error": 1}


def test_the_rate_of_a_daemon_that_has_just_begun_is_that_of_its_own_time():
    now = Time()
    minute = LastMinute(now)
    for _ in range(20):
        minute.answered(answer(), InferOptions())
    now.s += 10.0
    assert minute.summary()["rate_hz"] == 2.0


def test_time_between_two_looks_counts_half_for_each_clock():
    now = Time()
    residency = Residency(now)
    points = {"cpu": (600, 1000, 1500)}
    residency.look({"cpu": 600}, points)
    now.s += 0.5
    residency.look({"cpu": 600}, points)
    now.s += 0.5
    residency.look({"cpu": 1450}, points)
    assert residency.seconds == {("cpu", 600): 0.75, ("cpu", 1500): 0.25}


def test_time_in_which_nobody_looked_is_of_no_clock():
    now = Time()
    residency = Residency(now)
    residency.look({"cpu": 600}, {"cpu": (600,)})
    now.s += 3600.0
    residency.look({"cpu": 600}, {"cpu": (600,)})
    assert residency.seconds == {}


def test_a_clock_that_is_between_two_points_counts_for_the_nearer():
    now = Time()
    residency = Residency(now)
    for _ in range(2):
        residency.look({"cpu": 1100, "other": 5}, {"cpu": (600, 1000, 1500)})
        now.s += 0.25
    assert residency.seconds == {("cpu", 1000): 0.25}


def test_the_state_is_json_and_holds_what_the_dashboard_shows():
    service = SimpleNamespace(status=status, models=lambda: MODELS)
    state = json.loads(json.dumps(state_of(service, LastMinute(Time()))))
    assert state["clocks"] == {"cpu": {"hz": 600, "points_hz": [600, 1500]}}
    assert state["models"][0] == {
        "name": "m",
        "version": "1",
        "ready": True,
        "state": "ready",
        "reason": "",
        "exits": 3,
        "drifted": True,
    }
    assert state["recent"][0]["reason"] == "why"
    assert state["throttled"] == ["under-voltage"]
