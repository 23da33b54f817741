"""The daemon and clockd on real clocks: answers as on x86, and its account of the clocks is the kernel's."""

import pytest
from board.in_guest_daemon import PHASES
from board.in_guest_inference import answers
from board.runs import IMAGES, PHASE_S

from edgeexit import open_device

CPU, GPU = ("cpu 600000000", "cpu 1500000000"), ("gpu 162562500", "gpu 1300500000")
"""The lowest and the highest clock of each domain, as both accounts name them."""


@pytest.fixture(scope="module")
def found(arm64_guest):
    return arm64_guest["daemon"]


def test_the_daemon_reaches_clockd_and_has_it_set_the_clocks(found):
    assert found["ready"], found["state"]
    assert found["state"]["governor"] == PHASES[0]


def test_its_answers_are_those_of_x86(found):
    with open_device("simulated:jetson-tx2") as device:
        expected = answers(device, None, IMAGES)["answers"]
    assert [(label, exit_index) for label, exit_index, _ in found["answers"]] == [
        (label, e) for label, e, _ in expected
    ]
    for (*_, one), (*_, other) in zip(found["answers"], expected, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_clocks_change_as_the_governor_of_the_requests_says(found):
    assert found["held"] == [True] * len(PHASES)
    for window in found["windows"]:
        for points in (CPU, GPU):
            assert window["kernel"][points[window["governor"] == "performance"]] > 0.9 * PHASE_S


def test_the_daemons_account_of_the_clocks_is_the_kernels_within_2_percent(found):
    for window in found["windows"]:
        for points in (CPU, GPU):
            point = points[window["governor"] == "performance"]
            assert window["daemon"][point] == pytest.approx(window["kernel"][point], rel=0.02), window


def test_both_end_in_an_orderly_way_and_leave_the_clocks_as_they_were(found):
    assert found["exit_statuses"] == [0, 0]
    assert found["restored_s"] is not None
    assert found["not_restored"] == {}
