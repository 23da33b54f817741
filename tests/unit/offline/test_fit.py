import json

import numpy as np
import pytest
from synthetic_traces import make_trace

from edgeexit.errors import DataError
from edgeexit.exits.predictor import FEATURES, Predictor
from edgeexit.offline.fit import NO_LOOK, ForecastTable, features, fit_exit, fit_predictor
from edgeexit.offline.traces import Trace

STEPS = [(NO_LOOK, 0), (NO_LOOK, 2), (0, 1), (0, 2), (1, 2)]


@pytest.fixture(scope="module")
def fit_trace():
    return make_trace(samples=800)


@pytest.fixture(scope="module")
def form(fit_trace):
    return json.loads(json.dumps(fit_predictor(fit_trace)))


def looks_of(trace, sample, before, exit_index):
    look = trace.make_look()
    return [look(sample, e) for e in (before, exit_index) if e != NO_LOOK]


@pytest.mark.parametrize("exit_index", [0, 1, 2])
def test_the_predictor_equals_scikit_learn(fit_trace, form, exit_index):
    generator = np.random.default_rng(0)
    befores = [generator.integers(NO_LOOK, exit_index, len(fit_trace)) for _ in range(3 if exit_index else 1)]
    pipeline = fit_exit(fit_trace, exit_index, befores, 0.1)
    entry = fit_predictor_with(fit_trace, exit_index, befores)
    predictor = Predictor({**form, "exits": [entry if e == exit_index else x for e, x in enumerate(form["exits"])]})
    unseen = make_trace(samples=100, seed=5)
    for before in {NO_LOOK, exit_index - 1}:
        expected = np.zeros((len(unseen), unseen.exit_count - exit_index))
        columns = features(unseen, exit_index, np.full(len(unseen), before))
        expected[:, pipeline[-1].classes_] = pipeline.predict_proba(columns)
        for sample in range(len(unseen)):
            forecast = predictor.forecast(looks_of(unseen, sample, before, exit_index))
            assert forecast == pytest.approx(expected[sample], abs=1e-6)


def fit_predictor_with(trace, exit_index, befores):
    from edgeexit.offline.fit import _fold

    return _fold(fit_exit(trace, exit_index, befores, 0.1), trace, exit_index)


@pytest.mark.parametrize(("before", "exit_index"), STEPS)
def test_the_table_equals_the_predictor(form, before, exit_index):
    trace = make_trace(samples=50, seed=3)
    predictor, table = Predictor(form), ForecastTable(form, trace).distribution(before, exit_index)
    assert not table[:, :exit_index].any()
    for sample in range(len(trace)):
        forecast = predictor.forecast(looks_of(trace, sample, before, exit_index))
        assert forecast == pytest.approx(table[sample, exit_index:], abs=1e-12)


def test_features_have_the_order_of_their_names():
    trace = make_trace(samples=3)
    columns = dict(zip(FEATURES, features(trace, 2, np.array([0, 1, NO_LOOK])).T, strict=True))
    assert columns["confidence"] == pytest.approx(trace.confidence[:, 2])
    assert columns["1 if there is a look before"].tolist() == [1.0, 1.0, 0.0]
    assert columns["its confidence"] == pytest.approx([trace.confidence[0, 0], trace.confidence[1, 1], 0.0])
    assert columns["exits from it to this one, as a share of all"] == pytest.approx([2 / 4, 1 / 4, 0.0])


def test_the_forecast_knows_more_than_the_frequencies(form):
    trace = make_trace(samples=2000, seed=9)
    forecast = ForecastTable(form, trace).distribution(NO_LOOK, 0)
    frequencies = np.bincount(trace.settled_exit, minlength=4) / len(trace)
    surprise = -np.log(forecast[np.arange(len(trace)), trace.settled_exit]).mean()
    assert surprise < -np.log(frequencies[trace.settled_exit]).mean() - 0.05


def test_fitting_twice_gives_the_same(fit_trace, form):
    assert json.loads(json.dumps(fit_predictor(fit_trace))) == form


def test_an_exit_where_no_sample_settles_stays_possible():
    logits = np.repeat(make_trace(samples=200, exits=1).logits, 3, axis=1)
    logits[:100, 0] = logits[:100, 0, ::-1]  # half the samples settle at exit 1, none at exit 2
    forecast = ForecastTable(fit_predictor(Trace(logits, np.zeros(200, int))), Trace(logits, np.zeros(200, int)))
    assert 0 < forecast.distribution(NO_LOOK, 0)[:, 2].max() < 1e-6


def test_exits_that_always_agree_are_certain():
    logits = np.repeat(make_trace(samples=200, exits=1).logits, 3, axis=1)
    trace = Trace(logits, np.zeros(200, int))
    assert ForecastTable(fit_predictor(trace), trace).distribution(NO_LOOK, 0)[:, 0].min() > 1 - 1e-9


def test_too_few_samples_are_refused():
    with pytest.raises(DataError, match="at least 100 samples to be fitted on, there are 99"):
        fit_predictor(make_trace(samples=99))


def test_a_predictor_of_exits_that_hardly_ever_differ_can_be_read_again():
    generator = np.random.default_rng(0)
    logits = 1e-5 * generator.standard_normal((400, 3, 4)).astype(np.float32)
    form = fit_predictor(Trace(logits, generator.integers(0, 4, 400)))
    assert Predictor(json.loads(json.dumps(form))).exit_count == 3
