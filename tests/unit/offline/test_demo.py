"""The demo on the tiny bundle: 60 multiply-accumulates in three segments of 16, 16 and 28, with heads of 12, 12, 0."""

import itertools

import numpy as np
import pytest
from matplotlib.text import Text
from tiny_bundle import PRIOR, RULES, images, make_bundle, network_input

from edgeexit.device import load_profile
from edgeexit.errors import DataError, InputError, OptionError
from edgeexit.offline.demo import POLICIES, run_demo
from edgeexit.offline.demo_images import load_demo_images
from edgeexit.offline.demo_text import report_text
from edgeexit.offline.plots import demo_figure, draw_demo

WHOLE_S = 1.0 / 12.18
"""One frame of the reference workload at the highest clock (profiles/jetson-tx2.json)."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def tx2():
    return load_profile("jetson-tx2")


@pytest.fixture(scope="module")
def report(tiny, tx2):
    return run_demo(tiny, tx2, network_input(), images()[1])


@pytest.fixture(scope="module")
def report_with_curves(tiny, tx2):
    return run_demo(tiny, tx2, network_input(), images()[1], curves=True)


def bundle_with_drops(folder, drops):
    """The rule "thresholds" says yes at the first exit if any drop is allowed, and else only at the last."""
    parameters = {f"{drop:g}": {"threshold": [0.0 if drop else 1.0] * 2 + [0.0], "prior": PRIOR} for drop in drops}
    setting = {"rule": "threshold", "parameters": parameters}
    return make_bundle(folder, rules={**RULES, "settings": {"thresholds": setting}})


def find(report, setting, governor):
    (row,) = [row for row in report.policies if (row.setting, row.governor) == (setting, governor)]
    return row


def test_every_policy_has_a_row_and_the_bound_is_the_last(report):
    rows = [(row.setting, row.governor) for row in report.policies]
    offered = [policy for policy in POLICIES if policy.setting not in report.left_out]
    assert rows == [*offered, ("oracle", "clairvoyant")]
    assert [row.is_bound for row in report.policies] == [False] * (len(rows) - 1) + [True]


def test_a_setting_that_the_bundle_lacks_is_left_out_and_named(report):
    assert list(report.left_out) == ["ensemble", "gate", "forecast"]
    assert "forecast" in report.left_out["forecast"]


def test_the_whole_network_is_made_to_cost_one_reference_frame(report):
    assert report.work_scale == pytest.approx(19_632_062_464 / 60)
    assert report.deadline_s == pytest.approx(1.25 * WHOLE_S)


def test_the_full_network_at_the_highest_clock(report):
    row = find(report, "last", "performance")
    assert row.accuracy == pytest.approx(8 / 9), "one label is wrong on purpose"
    assert (row.mean_exit, row.exits_looked_at, row.macs_share, row.exit_counts) == (2.0, 1.0, 1.0, (0, 0, 9))
    assert row.simulated_latency_s == pytest.approx(WHOLE_S)
    assert row.simulated_energy_j == pytest.approx(15.91 * WHOLE_S + 1.95 * 0.25 * WHOLE_S)
    assert row.missed_share == 0.0


def test_the_best_fixed_clock_is_the_slowest_in_time_here(report):
    row = find(report, "last", "fixed")
    assert row.clocks_hz == {"gpu": 726_750_000}
    assert row.simulated_latency_s == pytest.approx(1.0 / 9.82)
    assert row.simulated_energy_j == pytest.approx(9.61 / 9.82 + 1.95 * (1.25 * WHOLE_S - 1.0 / 9.82))
    assert row.missed_share == 0.0


def test_heads_looked_at_count_as_work(report):
    row = find(report, "threshold", "performance")
    assert row.exit_counts == (0, 6, 3)
    assert row.mean_exit == pytest.approx(12 / 9 + 0.0)
    assert row.exits_looked_at == pytest.approx((6 * 2 + 3 * 3) / 9)
    macs = (6 * (16 + 12 + 16 + 12) + 3 * (16 + 12 + 16 + 12 + 28)) / 9
    assert row.macs_share == pytest.approx(macs / 60)
    assert row.simulated_latency_s == pytest.approx(macs / 60 * WHOLE_S)


def test_idling_until_the_deadline_is_in_the_energy(report):
    row = find(report, "threshold", "performance")
    # Six images are answered after 56 / 60 of the whole network's time; three after 84 / 60, which leaves nothing.
    busy, idle = (6 * 56 / 60 + 3 * 84 / 60) / 9, 6 * (1.25 - 56 / 60) / 9
    assert row.simulated_energy_j == pytest.approx((15.91 * busy + 1.95 * idle) * WHOLE_S)


def test_a_late_answer_is_counted(tiny, tx2):
    report = run_demo(tiny, tx2, network_input(), images()[1], deadline_factor=1.2)
    # With both heads the whole network takes 84 / 60 of its time without them, so the last exit is late.
    assert find(report, "threshold", "performance").missed_share == pytest.approx(3 / 9)


def test_the_oracle_answers_like_the_full_network_at_the_first_exit_that_does(report):
    row = find(report, "oracle", "clairvoyant")
    assert row.exit_counts == (9, 0, 0)
    assert row.accuracy == find(report, "last", "performance").accuracy
    assert row.macs_share == pytest.approx(28 / 60)


def test_nothing_needs_less_energy_than_the_bound(report):
    bound = report.policies[-1].simulated_energy_j
    assert all(row.simulated_energy_j >= bound for row in report.policies if row.setting != "thresholds")


def test_energy_is_given_in_parts_of_the_first_row(report):
    first = report.policies[0]
    assert first.relative_energy == 1.0
    for row in report.policies:
        assert row.relative_energy == pytest.approx(row.simulated_energy_j / first.simulated_energy_j)


def test_the_same_images_give_the_same_report_again(report, tiny, tx2):
    assert run_demo(tiny, tx2, network_input(), images()[1]) == report


@pytest.mark.parametrize(("curves", "passes"), [(False, 11), (True, 13)])
def test_progress_adds_up_to_one_for_each_image_and_pass(tiny, tx2, curves, passes):
    told = []
    arguments = tiny, tx2, network_input()[:2], images()[1][:2]
    run_demo(*arguments, curves=curves, progress=lambda *words: told.append(words))
    assert sum(done for _, done, _ in told) == passes * 2
    assert {total for _, _, total in told} == {passes * 2}


def test_no_curve_is_worked_out_unless_it_is_asked_for(report, report_with_curves):
    assert report.curves == ()
    assert report_with_curves.policies == report.policies
    assert report_with_curves.findings == report.findings


def test_a_curve_goes_through_the_policys_own_point(report_with_curves):
    curves = report_with_curves.curves
    assert [(curve.setting, curve.governor) for curve in curves] == [
        ("check-and-cap", "plan"),
        ("thresholds", "plan"),
    ]
    for curve in curves:
        row = find(report_with_curves, curve.setting, curve.governor)
        assert [point.allowed_drop for point in curve.points] == [0.0, 0.5]
        # The tiny bundle has the same parameters for both.
        assert {(point.accuracy, point.simulated_energy_j) for point in curve.points} == {
            (row.accuracy, row.simulated_energy_j)
        }


def test_a_curve_takes_four_drops_between_the_smallest_and_the_largest(tmp_path, tx2):
    bundle = bundle_with_drops(tmp_path, [0, 0.25, 0.5, 0.75, 1, 1.5, 2])
    (curve,) = run_demo(bundle, tx2, network_input(), images()[1], curves=True).curves
    assert [point.allowed_drop for point in curve.points] == [0.0, 0.5, 1.0, 2.0]
    # All heads and the whole network take 84 / 60 of the network's time, and the deadline is after 75 / 60.
    assert [point.mean_exit for point in curve.points] == [1.0, 0.0, 0.0, 0.0]
    assert [point.macs_share for point in curve.points] == pytest.approx([56 / 60, *[28 / 60] * 3])
    assert curve.points[1].simulated_energy_j < curve.points[0].simulated_energy_j
    assert [point.missed_share for point in curve.points] == [0.0] * 4


def test_a_drop_that_the_curve_would_leave_out_is_in_it_if_the_table_has_it(tmp_path, tx2):
    bundle = bundle_with_drops(tmp_path, [0, 0.25, 0.5, 0.75, 1, 1.5, 2])
    (curve,) = run_demo(bundle, tx2, network_input(), images()[1], allowed_drop=0.25, curves=True).curves
    assert [point.allowed_drop for point in curve.points] == [0.0, 0.25, 0.5, 1.0, 2.0]


def test_one_drop_alone_makes_no_curve(tmp_path, tx2):
    bundle = bundle_with_drops(tmp_path, [0])
    assert run_demo(bundle, tx2, network_input(), images()[1], curves=True).curves == ()


def test_a_bundle_without_settings_has_no_curves(tmp_path, tx2):
    bundle = make_bundle(tmp_path, rules=None)
    assert run_demo(bundle, tx2, network_input(), images()[1], curves=True).curves == ()


def test_curves_are_not_in_the_table(report, report_with_curves):
    assert report_text(report_with_curves) == report_text(report)


def test_a_work_scale_of_ones_own_is_used(tiny, tx2):
    report = run_demo(tiny, tx2, network_input()[:1], images()[1][:1], work_scale=1e6)
    assert report.deadline_s == pytest.approx(1.25 * WHOLE_S * 60e6 / 19_632_062_464)
    assert not report.work_scale_is_reference


def test_a_bundle_without_settings_still_gives_the_full_network_and_the_bound(tmp_path, tx2):
    bundle = make_bundle(tmp_path, rules=None)
    report = run_demo(bundle, tx2, network_input(), images()[1])
    assert [row.setting for row in report.policies] == ["last", "last", "last", "oracle"]
    assert "Left out: threshold, predictive-exit" in report_text(report)


def test_an_accuracy_drop_that_nothing_is_calibrated_for_is_refused(tiny, tx2):
    with pytest.raises(OptionError, match=r"not calibrated for an accuracy drop of 0.3 points; there are: 0, 0.5"):
        run_demo(tiny, tx2, network_input(), images()[1], allowed_drop=0.3)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan")])
def test_a_deadline_that_is_no_time_is_refused(tiny, tx2, factor):
    with pytest.raises(OptionError, match="deadline_factor"):
        run_demo(tiny, tx2, network_input(), images()[1], deadline_factor=factor)


def test_images_without_labels_are_refused(tiny, tx2):
    with pytest.raises(DataError, match="9 and 3"):
        run_demo(tiny, tx2, network_input(), images()[1][:3])


def test_the_text_says_what_is_real_and_what_is_simulated(report):
    text = report_text(report)
    flat = " ".join(text.split())
    assert "real: every answer: ONNX Runtime" in flat
    assert "simulated: clocks, latency and energy: a model of NVIDIA Jetson TX2" in flat
    assert "counts as 327,201,041" in flat
    assert "VGG-19, one frame of 224 x 224" in flat
    assert max(map(len, text.splitlines())) <= 99


def test_the_table_has_a_line_for_each_policy(report):
    lines = report_text(report).splitlines()
    for row in report.policies:
        energy = f"{1e3 * row.simulated_energy_j:,.0f}"
        assert any(energy in line.split() and f"{100 * row.accuracy:.1f}" in line.split() for line in lines)


def test_the_picture_is_a_png(report, tmp_path):
    draw_demo(report, tmp_path / "demo.png")
    assert (tmp_path / "demo.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("curves", [False, True])
def test_no_label_in_the_picture_covers_another_or_leaves_the_frame(report, report_with_curves, curves):
    figure = demo_figure(report_with_curves if curves else report)
    figure.draw_without_rendering()  # labels find their places when they are drawn
    renderer = figure.canvas.get_renderer()
    axes = figure.axes[0]
    boxes = [Text.get_window_extent(label, renderer) for label in axes.texts]
    frame = axes.get_window_extent(renderer)
    assert len(boxes) == len(report.policies)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert all(frame.contains(*corner) for box in boxes for corner in (box.min, box.max))


def test_every_curve_is_drawn_through_its_points_and_no_label_covers_one(tmp_path, tx2):
    bundle = bundle_with_drops(tmp_path, [0, 0.5, 1])
    report = run_demo(bundle, tx2, network_input(), images()[1], curves=True)
    figure = demo_figure(report)
    figure.draw_without_rendering()
    axes, renderer = figure.axes[0], figure.canvas.get_renderer()
    wanted = [[1e3 * point.simulated_energy_j, 100 * point.accuracy] for point in report.curves[0].points]
    (line,) = [line for line in axes.lines if line.get_linestyle() == "-"]
    assert line.get_xydata().tolist() == wanted
    (small,) = axes.collections
    assert small.get_facecolors()[0].tolist() != [1.0, 1.0, 1.0, 1.0], "filled: no answer is late"
    late = [row for row in report.policies if row.missed_share > 0.0]
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert len(hollow) == len(late)
    boxes = [Text.get_window_extent(label, renderer) for label in axes.texts]
    assert not any(box.contains(*place) for box in boxes for place in axes.transData.transform(wanted))
    assert "at most 0, 0.5, 1 points" in axes.get_title()


def test_images_of_ones_own_are_prepared_as_the_manifest_says(tiny, tmp_path):
    pixels, labels = images()
    np.savez(tmp_path / "own.npz", images=pixels, labels=labels.astype(np.uint8))
    inputs, found = load_demo_images(tiny, tmp_path / "own.npz", count=4)
    assert inputs.tolist() == network_input()[:4].tolist()
    assert found.tolist() == labels[:4].tolist()


def test_ready_input_is_taken_as_it_is(tiny, tmp_path):
    np.savez(tmp_path / "own.npz", images=network_input(), labels=images()[1])
    assert load_demo_images(tiny, tmp_path / "own.npz")[0].tolist() == network_input().tolist()


@pytest.mark.parametrize(
    "arrays",
    [
        {"images": images()[0]},
        {"images": images()[0], "labels": np.zeros(3, int)},
        {"images": images()[0], "labels": np.zeros(9)},
        {"images": images()[0][:0], "labels": np.zeros(0, int)},
        {"images": np.array([{}], dtype=object), "labels": np.zeros(1, int)},
    ],
    ids=["no labels", "too few labels", "labels that are no whole numbers", "no image", "pickled objects"],
)
def test_bad_images_are_refused_and_the_file_is_named(tiny, tmp_path, arrays):
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(DataError, match=r"own\.npz"):
        load_demo_images(tiny, tmp_path / "own.npz")


def test_images_of_another_size_are_refused_and_the_file_is_named(tiny, tmp_path):
    np.savez(tmp_path / "own.npz", images=np.zeros((2, 3, 3), np.uint8), labels=np.zeros(2, int))
    with pytest.raises(InputError, match=r"own\.npz does not fit"):
        load_demo_images(tiny, tmp_path / "own.npz")


def test_images_that_are_not_there_are_named(tiny, tmp_path):
    with pytest.raises(DataError, match=r"nosuch\.npz does not exist"):
        load_demo_images(tiny, tmp_path / "nosuch.npz")
