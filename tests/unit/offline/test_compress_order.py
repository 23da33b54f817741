"""Compression steps have a default order; a search measures pairs and sorts what it finds."""

import numpy as np
import pytest
from graphs import model, node, normal

from edgeexit.errors import DataError, GraphError, OptionError
from edgeexit.offline.compress import CompressionOptions, Step, check_order, compress_model, default_order, models
from edgeexit.offline.compress.judge import Judge
from edgeexit.offline.compress.order import OrderSearch, Trial, search_order, sort_steps
from edgeexit.offline.compress.report import Figures, Outcome
from edgeexit.offline.data import samples_of_arrays

D, P, Q, E = Step.DISTIL, Step.PRUNE, Step.QUANTISE, Step.EXITS


def net(scale=1.0):
    """Two classes: the first and the second pixel, times `scale`."""
    weights = {"w": scale * np.eye(2, dtype=np.float32)}
    return model([node("MatMul", ["image", "w"], ["scores"])], {"image": ["N", 2]}, {"scores": ["N", 2]}, weights)


def samples(count=200, *, labelled=True):
    images = normal(count, 2, seed=3)
    return samples_of_arrays({"image": images}, images.argmax(axis=1) if labelled else None)


def figures(latency_s, accuracy):
    return Figures(latency_s=latency_s, accuracy=accuracy)


def trial(default, reverse):
    return Trial(first=P, second=Q, default=default, reverse=reverse)


def test_the_default_order_is_distil_prune_quantise_exits():
    assert default_order({E, Q, P, D}) == (D, P, Q, E)
    assert check_order((D, P, Q, E)) == ()


def test_an_unusual_order_is_warned_of():
    (warning,) = check_order((Q, P))
    assert "quantise before prune is unusual" in warning
    assert "prune, quantise" in warning


def test_a_step_cannot_be_named_twice():
    with pytest.raises(OptionError, match="'prune' is named twice"):
        check_order((P, Q, P))


@pytest.mark.parametrize(
    ("default", "reverse", "first"),
    [
        (figures(1.0, 0.9), figures(0.9, 0.9), Q),
        (figures(0.9, 0.9), figures(1.0, 0.9), P),
        (figures(1.0, 0.9), figures(1.01, 0.91), Q),
        (figures(1.0, 0.9), figures(1.0, 0.9), None),
        (figures(1.0, 0.9), figures(0.5, 0.8), None),
        (figures(1.0, 0.9), None, P),
        (None, figures(1.0, 0.9), Q),
        (None, None, None),
    ],
    ids=["faster", "slower", "more accurate", "equal", "faster and worse", "impossible", "only so", "neither"],
)
def test_an_order_is_preferred_that_is_better_and_no_worse(default, reverse, first):
    preferred = trial(default, reverse).preferred
    assert (None if preferred is None else preferred[0]) is first


def test_steps_are_sorted_by_what_is_preferred_and_else_as_they_were():
    assert sort_steps((D, P, Q, E), [(Q, P)]) == (D, Q, P, E)
    assert sort_steps((D, P, Q, E), [(E, D)]) == (P, Q, E, D)
    assert sort_steps((D, P, Q), [(D, P), (P, Q), (Q, D)]) is None


def test_a_search_runs_each_pair_in_both_orders():
    done = []

    def step(name):
        return lambda proto: done.append(name) or proto

    found = search_order(net(), samples(), {D: step("D"), P: step("P"), Q: step("Q")})
    assert done == ["D", "P", "P", "D", "D", "Q", "Q", "D", "P", "Q", "Q", "P"]
    assert len(found.trials) == 3
    assert found.lines[-1].startswith("order: ")


def test_an_order_that_cannot_be_done_is_told_and_the_other_is_taken():
    def refuse_quantised(proto):
        if proto.graph.name == "quantised":
            raise GraphError("it is quantised")
        return proto

    def quantise(proto):
        changed = net()
        changed.graph.name = "quantised"
        return changed

    found = search_order(net(), samples(), {P: refuse_quantised, Q: quantise})
    assert found.order == (P, Q)
    assert "quantise then prune cannot be done: it is quantised" in found.lines[0]


def test_the_same_reason_against_both_orders_is_told_once():
    def refuse(proto):
        raise GraphError("nothing to prune")

    found = search_order(net(), samples(), {P: refuse, Q: lambda proto: proto})
    assert found.lines[0] == (
        "prune then quantise: not done; quantise then prune: not done (neither can be done: nothing to prune); "
        "no difference"
    )


def test_a_circle_of_preferences_leaves_the_default_order(monkeypatch):
    wanted = {(D, P): (D, P), (P, Q): (P, Q), (D, Q): (Q, D)}
    monkeypatch.setattr(Trial, "preferred", property(lambda trial: wanted[trial.first, trial.second]))
    found = search_order(net(), samples(), {D: lambda m: m, P: lambda m: m, Q: lambda m: m})
    assert found.order == (D, P, Q)
    assert isinstance(found, OrderSearch)
    assert "circle" in found.note


def test_accuracy_is_counted_by_the_labels():
    ((right,), (wrong,)) = (Judge(net(), samples()).figures([net(scale)]) for scale in (1.0, -1.0))
    assert (right.accuracy, wrong.accuracy) == (1.0, 0.0)
    assert right.macs == 4


def test_without_labels_the_network_as_it_was_is_right():
    judge = Judge(net(-1.0), samples(labelled=False))
    assert [f.accuracy for f in judge.figures([net(-1.0), net(1.0)])] == [1.0, 0.0]


@pytest.mark.parametrize("probabilities", [False, True])
def test_several_labels_must_all_be_right(probabilities):
    images = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]], np.float32)
    labels = np.array([[1, 1], [1, 0], [0, 0], [0, 0]], dtype=bool)
    proto = net()
    if probabilities:
        proto.graph.node[0].output[0] = "raw"
        proto.graph.node.append(node("Sigmoid", ["raw"], ["scores"]))
    (found,) = Judge(proto, samples_of_arrays({"image": images}, labels)).figures([proto])
    assert found.accuracy == 0.75


def fake_steps(monkeypatch, **changes):
    """Replace the steps by changes of the model, and measured times by the size of the first weight."""
    steps = {Step(name): change for name, change in changes.items()}
    monkeypatch.setattr(models, "model_steps", lambda *_: steps)
    times = {1.0: 1.0, 2.0: 0.5, -1.0: 0.5, 3.0: 1.0}

    def measured(judge, protos):
        sizes = [float(np.frombuffer(p.graph.initializer[0].raw_data, np.float32)[0]) for p in protos]
        return [figures(times[size], 1.0 if size > 0 else 0.0) for size in sizes]

    monkeypatch.setattr(Judge, "figures", measured)


def test_a_step_that_gains_is_kept(monkeypatch):
    fake_steps(monkeypatch, prune=lambda proto: net(2.0))
    result, report = compress_model(net(), samples(), (P,))
    assert [o.kept for o in report.outcomes] == [True]
    assert result.graph.initializer[0] == net(2.0).graph.initializer[0]
    assert report.lines == (
        "prune: kept, it is 50% faster (1000.000 ms -> 500.000 ms, accuracy 100.00 %, +0.00 points)",
    )


def test_a_step_that_gains_nothing_is_undone(monkeypatch):
    fake_steps(monkeypatch, prune=lambda proto: net(3.0))
    result, report = compress_model(net(), samples(), (P,))
    assert result.graph.initializer[0] == net().graph.initializer[0]
    assert report.outcomes[0].why == "it is not faster on this machine"


def test_a_step_that_costs_too_much_accuracy_is_undone(monkeypatch):
    fake_steps(monkeypatch, quantise=lambda proto: net(-1.0))
    result, report = compress_model(net(), samples(), (Q,))
    assert not report.outcomes[0].kept
    assert report.outcomes[0].why == "it costs more than 0.5 points"
    assert result.graph.initializer[0] == net().graph.initializer[0]


def test_a_step_that_cannot_be_done_is_told_and_the_others_are_done(monkeypatch):
    def refuse(proto):
        raise GraphError("no convolution")

    fake_steps(monkeypatch, prune=refuse, quantise=lambda proto: net(2.0))
    _, report = compress_model(net(), samples(), (P, Q))
    assert [o.kept for o in report.outcomes] == [False, True]
    assert report.lines[0] == "prune: undone, it cannot be done: no convolution"


def test_distilling_is_kept_only_if_it_is_more_accurate(monkeypatch):
    fake_steps(monkeypatch, distil=lambda proto: net(3.0))
    _, report = compress_model(net(), samples(), (D,))
    assert report.outcomes == (
        Outcome(step=D, kept=False, why="it is not more accurate", before=figures(1.0, 1.0), after=figures(1.0, 1.0)),
    )


def test_exits_are_no_step_of_a_model():
    with pytest.raises(OptionError, match="exits are no step"):
        compress_model(net(), samples(), (P, E))


def test_too_few_samples_are_refused():
    with pytest.raises(DataError, match="99 samples are too few"):
        compress_model(net(), samples(99), (P,))


def test_every_step_can_be_done_on_a_real_network():
    nodes = [
        node("Conv", ["image", "w0"], ["c0"], pads=[1, 1, 1, 1]),
        node("Relu", ["c0"], ["r0"]),
        node("Conv", ["r0", "w1"], ["c1"], pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"]),
        node("GlobalAveragePool", ["r1"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("Gemm", ["f", "h"], ["logits"]),
    ]
    weights = {"w0": normal(16, 1, 3, 3), "w1": normal(16, 16, 3, 3, seed=1) / 12, "h": normal(16, 4, seed=2)}
    proto = model(nodes, {"image": ["N", 1, 6, 6]}, {"logits": ["N", 4]}, weights)
    images = samples_of_arrays({"image": normal(200, 1, 6, 6, seed=4)})
    steps = models.model_steps(proto, images, CompressionOptions(share=0.5))
    pruned = steps[P](proto)
    assert {len(t.dims) and t.dims[0] for t in pruned.graph.initializer if len(t.dims) == 4} == {8}
    quantised = steps[Q](steps[D](pruned))
    again = steps[P](steps[Q](proto))
    (first, second, whole) = Judge(proto, images).figures([quantised, again, proto])
    assert first.macs == second.macs < whole.macs
    assert [len(v.graph.output) for v in (steps[E](proto), steps[E](quantised))] != [1, 1]
    with pytest.raises(GraphError, match="quantised already"):
        steps[Q](quantised)
