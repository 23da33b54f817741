import numpy as np
import pytest
from synthetic_traces import make_trace, make_workload

from edgeexit.offline.ensembles import EnsembleTable
from edgeexit.offline.exit_thresholds import ExitThresholds, Samples
from edgeexit.offline.fitted_candidates import ensemble_candidates
from edgeexit.offline.replay import Costs, replay
from edgeexit.offline.rightness import weigh_truth
from edgeexit.offline.traces import Trace
from edgeexit.registry import load_exit_rule

EXITS = 4
WORKLOAD = make_workload(EXITS)
COSTS = Costs(WORKLOAD)


def independent_exits():
    """Return a trace of exits that err each for itself, so that together they know more than any."""
    traces = [make_trace(samples=500, exits=1, seed=seed) for seed in range(EXITS)]
    labels = traces[0].labels
    turned = [
        np.take_along_axis(t.logits[:, 0], (np.arange(5) - labels[:, None] + t.labels[:, None]) % 5, 1) for t in traces
    ]
    return Trace(np.stack(turned, axis=1), labels)


TRACE = independent_exits()
COUNTED = TRACE.correct.astype(np.float64)


@pytest.fixture(scope="module")
def table():
    return EnsembleTable(TRACE)


@pytest.mark.parametrize("exits", [(0, 1, 2, 3), (1, 3)])
def test_the_table_says_what_the_rule_says(table, exits):
    threshold = [0.0 if e == 3 else 1.0 if e in exits else None for e in range(EXITS)]
    rule = load_exit_rule("ensemble", EXITS, threshold=threshold, weights=table.weights(exits))
    labels = table.labels(exits)
    never = np.flatnonzero((table.scores(exits)[:, :-1] < 1.0).all(axis=1))
    run = replay(rule, TRACE, WORKLOAD)
    assert len(never) > 100
    assert run.label[never].tolist() == labels[never, -1].tolist()
    assert table.rightness(exits, COUNTED)[never, -1].tolist() == run.correct[never].tolist()


def test_an_exit_that_is_not_looked_at_stands_alone(table):
    assert table.weights((1, 3))[2] == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("exits", [(0, 1, 2, 3), (0, 2, 3)])
def test_thresholds_on_the_table_do_what_the_rule_does(table, exits):
    found = ExitThresholds(np.linspace(0.9, 0.7, len(exits)), np.ones(len(exits), dtype=bool))
    right = table.rightness(exits, COUNTED)
    outcomes = found.run(Samples(right, lambda _: table.scores(exits), COSTS.of(exits)))
    threshold = [None] * EXITS
    for e, value in zip(exits, found.as_list(), strict=True):
        threshold[e] = value
    rule = load_exit_rule("ensemble", EXITS, threshold=threshold, weights=table.weights(exits))
    run = replay(rule, TRACE, WORKLOAD)
    assert outcomes[0].tolist() == run.correct.tolist()
    assert outcomes[1] == pytest.approx(run.macs / run.full_macs)


def test_candidates_are_offered_for_all_exits_and_for_fewer():
    offered = list(ensemble_candidates(TRACE, Costs(make_workload(EXITS, head_macs=900)), weigh_truth(TRACE)))
    seen = {tuple(value is None for value in candidate.parameters["threshold"]) for candidate in offered}
    assert (False,) * EXITS in seen
    assert len(seen) > 1


def test_where_the_newest_exit_is_outvoted_it_is_counted(table):
    exits = (0, 1, 2, 3)
    labels, right = table.labels(exits), table.rightness(exits, np.full(COUNTED.shape, 0.5))
    outvoted = labels != TRACE.label
    gained = (labels == TRACE.labels[:, None]).astype(float) - COUNTED
    assert outvoted.any()
    assert right[outvoted] == pytest.approx(0.5 + gained[outvoted])
    assert (right[~outvoted] == 0.5).all()
