"""The aarch64 wheels run a reference bundle under a lease on real clocks, and answer as x86 does."""

import pytest
from board.in_guest_inference import answers
from board.runs import GOVERNORS, IMAGES

from edgeexit import open_device


@pytest.fixture(scope="module")
def on_x86():
    with open_device("simulated:jetson-tx2") as device:
        return answers(device, None, IMAGES)["answers"]


@pytest.mark.parametrize("governor", GOVERNORS)
def test_the_answers_are_those_of_x86(arm64_guest, on_x86, governor):
    on_arm64 = arm64_guest["inference"][governor]["answers"]
    assert [(label, exit_index) for label, exit_index, _ in on_arm64] == [(label, e) for label, e, _ in on_x86]
    for (*_, found), (*_, expected) in zip(on_arm64, on_x86, strict=True):
        assert found == pytest.approx(expected, abs=1e-5)


def test_not_every_image_leaves_at_the_same_exit(on_x86):
    assert len({exit_index for _, exit_index, _ in on_x86}) > 1


def test_a_governor_sets_the_real_clocks(arm64_guest):
    found = arm64_guest["inference"]
    assert found["powersave"]["clocks"] == [{"cpu": 600_000_000, "gpu": 162_562_500}] * IMAGES
    assert found["performance"]["clocks"] == [{"cpu": 1_500_000_000, "gpu": 1_300_500_000}] * IMAGES


def test_a_governor_that_steps_through_the_clocks_changes_them_again_and_again(arm64_guest):
    assert arm64_guest["inference"]["stepping"]["switches"] >= 10


@pytest.mark.parametrize("governor", GOVERNORS)
def test_the_session_gives_the_clocks_back(arm64_guest, governor):
    assert arm64_guest["inference"][governor]["not_restored"] == {}
