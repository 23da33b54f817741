"""A measurement on a recorded Raspberry Pi 4: real pieces, clocks of a fake kernel, journal and lease as ever."""

from pathlib import Path

import pytest
from tiny_bundle import make_bundle

from edgeexit.bundle.costs import load_cost_file
from edgeexit.device.host import HostDevice
from edgeexit.device.profile import load_profile
from edgeexit.offline.measure import measure_device
from edgeexit.testing.fake_sysfs import FakeTree

RECORDING = Path(__file__).parents[2] / "boards" / "raspberry-pi-4.txt"


@pytest.fixture
def tree():
    return FakeTree.from_recording(RECORDING.read_text(encoding="utf-8"))


@pytest.fixture
def board(tree, tmp_path):
    with HostDevice(tree=tree, run_folder=tmp_path / "run", nvml=False) as device:
        yield device


def test_its_clock_is_pinned_point_by_point_and_given_back(tree, board, tmp_path):
    bundle = make_bundle(tmp_path)
    policy = tree.policies[0]
    files = [f"{policy.folder}/scaling_{name}" for name in ("governor", "min_freq", "max_freq", "setspeed")]
    before = [tree.read(path) for path in files]
    seen = []
    measurement = measure_device(
        bundle,
        board,
        tmp_path / "out",
        seconds_per_point=0.1,
        points=3,
        progress=lambda what, share: seen.append(policy.cur_khz) if what.endswith("idle") else None,
    )
    assert seen == [600_000, 1_200_000, 1_800_000]
    assert [tree.read(path) for path in files] == before
    assert not list((tmp_path / "run").glob("*.json"))
    table, provenance = load_cost_file(measurement.cost_path, bundle)
    assert [point.clocks["cpu"] for point in table.points] == [600_000_000, 1_200_000_000, 1_800_000_000]
    assert (provenance.board, provenance.kernel_governors) == ("raspberry-pi-4", {"cpu": "ondemand"})
    assert table.switch_latency_s > 0.0
    assert not table.has_energy
    profile = load_profile(measurement.profile_path)
    assert profile.name == "raspberry-pi-4-measured"
    assert "raspberrypi,4-model-b" in profile.match
    assert [point.clocks["cpu"] for point in profile.model.operating_points] == [
        600_000_000,
        1_200_000_000,
        1_800_000_000,
    ]


def test_without_permission_it_is_measured_as_it_is(tree, board, tmp_path):
    policy = tree.policies[0]
    tree.as_user(True)
    measurement = measure_device(make_bundle(tmp_path), board, tmp_path / "out", seconds_per_point=0.1)
    assert [dict(point.clocks) for point in measurement.table.points] == [{}]
    assert measurement.provenance.notes[0].startswith("Clock cpu is left as it is: clock 'cpu' cannot be set")
    assert measurement.provenance.kernel_governors == {"cpu": "ondemand"}
    assert tree.read(f"{policy.folder}/scaling_governor") == "ondemand"
