from dataclasses import replace

import pytest

from edgeexit.device import load_profile
from edgeexit.device.profile import DeviceProfile, OperatingPoint, PowerModel, save_profile
from edgeexit.device.static_share import with_static_share
from edgeexit.errors import OptionError, ProfileError


def make_profile(**changes):
    """A board that idles at 1 W and draws 2 W and 5 W; a switch takes 0.1 s and 0.3 J, so 3 W."""
    figures = {
        "reference_name": "something",
        "reference_macs": 1000,
        "idle_power_w": 1.0,
        "switch_latency_s": 0.1,
        "switch_energy_j": 0.3,
        "operating_points": (
            OperatingPoint({"gpu": 100}, 2.0, {"gpu": 0.5}, 1.0),
            OperatingPoint({"gpu": 200}, 5.0, {"gpu": 3.0}, 2.0),
        ),
        "idle_rail_power_w": {"gpu": 0.1},
    }
    return DeviceProfile("small", "A board", {}, model=PowerModel(**{**figures, **changes}))


def test_the_active_part_is_scaled_so_that_the_highest_point_draws_what_it_did():
    # Static 2 W of 5 W, so 3 W are active at the top instead of 4 W: each active watt becomes 0.75 W.
    model = with_static_share(make_profile(), 0.4).model
    assert model.idle_power_w == pytest.approx(2.0)
    assert [point.input_power_w for point in model.operating_points] == pytest.approx([2.75, 5.0])
    assert [point.reference_frames_per_s for point in model.operating_points] == [1.0, 2.0]


def test_a_switch_keeps_its_time_and_its_power_is_rewritten_too():
    # 3 W: 2 W active, that become 1.5 W, and 2 W static.
    model = with_static_share(make_profile(), 0.4).model
    assert model.switch_latency_s == 0.1
    assert model.switch_energy_j == pytest.approx(0.35)
    assert with_static_share(make_profile(switch_latency_s=0.0), 0.4).model.switch_energy_j == 0.3


def test_rails_are_left_out_because_nothing_is_known_of_them_any_more():
    model = with_static_share(make_profile(), 0.4).model
    assert model.idle_rail_power_w == {}
    assert [point.rail_power_w for point in model.operating_points] == [{}, {}]


def test_the_share_that_a_board_has_changes_nothing():
    model = with_static_share(make_profile(), 0.2).model
    assert model.idle_power_w == pytest.approx(1.0)
    assert [point.input_power_w for point in model.operating_points] == pytest.approx([2.0, 5.0])
    assert model.switch_energy_j == pytest.approx(0.3)


def test_the_profile_says_that_it_was_varied():
    varied = with_static_share(load_profile("jetson-tx2"), 0.3)
    assert varied.title.endswith("with a static share of 30%")
    assert varied.provenance["static_share"].startswith("Assumption: 30%")
    assert varied.model.operating_points[-1].input_power_w == pytest.approx(15.91)
    assert varied.model.idle_power_w == pytest.approx(4.773)


@pytest.mark.parametrize("name", ["jetson-tx2", "jetson-nano", "jetson-orin-nano", "raspberry-pi-4", "raspberry-pi-5"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_every_board_can_be_varied_and_stays_a_profile(tmp_path, name, share):
    varied = with_static_share(load_profile(name), share)
    save_profile(varied, tmp_path / "varied.json")
    assert load_profile(tmp_path / "varied.json") == varied
    powers_w = [point.input_power_w for point in varied.model.operating_points]
    assert varied.model.idle_power_w < min(powers_w)


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan"), float("inf")])
def test_an_impossible_share_is_refused(share):
    with pytest.raises(OptionError, match="at least 0 and below 1"):
        with_static_share(make_profile(), share)


def test_a_board_without_power_figures_cannot_be_varied():
    with pytest.raises(ProfileError, match="no power figures"):
        with_static_share(make_profile(idle_power_w=None), 0.4)
    with pytest.raises(ProfileError, match="not what it costs"):
        with_static_share(replace(make_profile(), model=None), 0.4)


def test_a_board_that_draws_less_under_load_cannot_be_varied():
    with pytest.raises(ProfileError, match=r"draws 2\.5 W when idle and only 2\.0 W"):
        with_static_share(make_profile(idle_power_w=2.5), 0.4)
