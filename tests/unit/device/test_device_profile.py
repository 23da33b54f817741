import json
from pathlib import Path

import pytest

from edgeexit.device import list_profiles, load_profile
from edgeexit.errors import DeviceNotFound, ProfileError


@pytest.fixture
def small():
    return {
        "format": 1,
        "name": "small",
        "title": "A board with two clocks",
        "provenance": {"operating_points": "made up"},
        "reference_workload": {"name": "something", "macs": 1000},
        "idle_power_w": 1,
        "switch_latency_s": 0.001,
        "switch_energy_j": 0.002,
        "operating_points": [
            {
                "clocks_hz": {"gpu": 100},
                "input_power_w": 2.0,
                "rail_power_w": {"gpu": 1.5},
                "reference_frames_per_s": 1.0,
            },
            {"clocks_hz": {"gpu": 200}, "input_power_w": 4.0, "rail_power_w": {}, "reference_frames_per_s": 2.0},
        ],
    }


@pytest.fixture
def load(tmp_path):
    def write_and_load(data):
        path = tmp_path / "small.json"
        path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
        return load_profile(path)

    return write_and_load


def test_the_packaged_jetson_tx2_has_its_thirteen_measured_points():
    profile = load_profile("jetson-tx2")
    assert profile.name == "jetson-tx2"
    assert profile.idle_power_w == 1.95
    assert profile.reference_macs == 19_632_062_464
    assert len(profile.operating_points) == 13
    assert profile.frequencies_hz()["gpu"][0] == 114_750_000
    assert profile.frequencies_hz()["gpu"][-1] == 1_300_500_000
    best = profile.operating_points[6]
    assert (best.clocks, best.input_power_w, best.reference_frames_per_s) == ({"gpu": 726_750_000}, 9.61, 9.82)
    assert best.rail_power_w == {"gpu": 2.76, "soc": 1.37, "ddr": 2.79, "cpu": 1.21}


def test_the_jetson_tx2_profile_says_what_is_measured_and_what_is_assumed():
    provenance = load_profile("jetson-tx2").provenance
    assert provenance["operating_points"].startswith("Measured by others")
    assert provenance["switch_latency_s"].startswith("Assumption")
    assert provenance["switch_energy_j"].startswith("Assumption")


def test_the_rails_never_draw_more_than_the_module():
    for point in load_profile("jetson-tx2").operating_points:
        assert sum(point.rail_power_w.values()) < point.input_power_w


def test_a_profile_is_read_from_a_path(load, small):
    profile = load(small)
    assert profile.title == "A board with two clocks"
    assert profile.frequencies_hz() == {"gpu": (100, 200)}


def test_a_name_is_looked_for_in_each_root_and_the_first_wins(tmp_path, small):
    for folder, title in (("first", "first"), ("second", "second")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "small.json").write_text(json.dumps({**small, "title": title}), encoding="utf-8")
    roots = (tmp_path / "absent", tmp_path / "first", tmp_path / "second")
    assert load_profile("small", roots=roots).title == "first"
    assert list_profiles(roots) == ("small",)


def test_the_environment_adds_folders_to_search(tmp_path, small, monkeypatch):
    (tmp_path / "small.json").write_text(json.dumps(small), encoding="utf-8")
    monkeypatch.setenv("EDGEEXIT_PROFILES", f"/does/not/exist:{tmp_path}")
    assert load_profile("small").name == "small"
    assert list_profiles() == ("jetson-tx2", "small")


def test_an_unknown_name_is_refused_with_the_names_there_are():
    with pytest.raises(DeviceNotFound, match=r"'jetson-tx3'; there are: .*jetson-tx2"):
        load_profile("jetson-tx3")


def test_a_missing_file_is_refused():
    with pytest.raises(DeviceNotFound, match=r"no device profile '/nowhere/board\.json'"):
        load_profile(Path("/nowhere/board.json"))


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null", '{"format": 1, "format": 1}', "[" * 100_000])
def test_a_damaged_file_is_refused_by_name(load, text):
    with pytest.raises(ProfileError, match=r"small\.json"):
        load(text)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "small.json").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(ProfileError, match=r"small\.json"):
        load_profile(tmp_path / "small.json")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("format",), 2, "format: this version reads format 1"),
        (("format",), True, "format: must be a whole number, found true or false"),
        (("name",), "", "name: must be a text"),
        (("title",), None, "title: must be a text, found null"),
        (("provenance",), [], "provenance: must be an object, found a list"),
        (("provenance", "idle"), 3, "provenance.idle: must be a text, found the number 3"),
        (("reference_workload", "macs"), 0, "reference_workload.macs: must be at least 1"),
        (("reference_workload", "macs"), 1.5, "reference_workload.macs: must be a whole number"),
        (("idle_power_w",), -0.1, "idle_power_w: must be finite and not negative, found -0.1"),
        (("idle_power_w",), float("nan"), "idle_power_w: must be finite"),
        (("switch_latency_s",), float("inf"), "switch_latency_s: must be finite"),
        (("switch_energy_j",), "0.1", "switch_energy_j: must be a number, found a text"),
        (("idle_power_w",), False, "idle_power_w: must be a number, found true or false"),
        (("operating_points",), {}, "operating_points: must be a list, found an object"),
        (("operating_points",), [], "operating_points: needs at least one point"),
        (("operating_points", 1), 5, "operating_points[1]: must be an object, found the number 5"),
        (("operating_points", 1, "clocks_hz"), {"gpu": 100}, "operating_points: frequencies must ascend"),
        (("operating_points", 1, "clocks_hz"), {"gpu": 50}, "operating_points: frequencies must ascend"),
        (
            ("operating_points", 1, "clocks_hz"),
            {"gpu": 2.5},
            "operating_points[1].clocks_hz.gpu: must be a whole number",
        ),
        (("operating_points", 1, "clocks_hz"), {"gpu": 0}, "operating_points[1].clocks_hz.gpu: must be at least 1"),
        (("operating_points", 1, "clocks_hz"), {"cpu": 200}, "operating_points: every point must give the same clocks"),
        (("operating_points", 0, "input_power_w"), -2, "operating_points[0].input_power_w: must be finite and not"),
        (("operating_points", 0, "rail_power_w"), {"gpu": -2}, "operating_points[0].rail_power_w.gpu: must be finite"),
        (("operating_points", 0, "reference_frames_per_s"), 0, "[0].reference_frames_per_s: must be above 0"),
    ],
)
def test_an_impossible_value_is_refused_with_file_and_key(load, small, path, value, message):
    place = small
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ProfileError) as caught:
        load(small)
    assert "small.json" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("key", ["format", "title", "idle_power_w", "operating_points", "reference_workload"])
def test_a_missing_key_is_refused(load, small, key):
    del small[key]
    with pytest.raises(ProfileError, match=f"{key}: is missing"):
        load(small)


def test_an_unknown_key_is_refused(load, small):
    small["operating_points"][0]["input_power_mw"] = 2000
    with pytest.raises(ProfileError, match=r"operating_points\[0\]\.input_power_mw: is unknown; known are clocks_hz"):
        load(small)


def test_a_board_with_two_domains_needs_every_combination(load, small):
    point = small["operating_points"][0]
    settings = [(100, 10), (100, 20), (200, 10), (200, 20)]
    small["operating_points"] = [{**point, "clocks_hz": {"cpu": cpu, "gpu": gpu}} for cpu, gpu in settings]
    assert load(small).frequencies_hz() == {"cpu": (100, 200), "gpu": (10, 20)}
    del small["operating_points"][1]
    with pytest.raises(ProfileError, match="one point for every combination"):
        load(small)


def test_a_profile_cannot_be_changed():
    profile = load_profile("jetson-tx2")
    with pytest.raises(AttributeError):
        profile.idle_power_w = 0.0
