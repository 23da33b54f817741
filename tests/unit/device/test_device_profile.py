import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgeexit.device import list_profiles, load_profile
from edgeexit.device.profile import ClockSpec, profile_text, save_profile
from edgeexit.errors import DeviceNotFound, ProfileError


@pytest.fixture
def small():
    return {
        "format": 1,
        "name": "small",
        "title": "A board with two clocks",
        "match": ["acme,small", "acme,tiny"],
        "clocks": {"cpu": {"kind": "cpufreq"}, "gpu": {"kind": "devfreq", "nodes": ["*.gpu"]}},
        "total_rails": ["VIN"],
        "notes": ["a note"],
        "provenance": {"operating_points": "made up"},
        "model": {
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
        },
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
    model = profile.model
    assert profile.name == "jetson-tx2"
    assert model.idle_power_w == 1.95
    assert model.reference_macs == 19_632_062_464
    assert len(model.operating_points) == 13
    assert model.frequencies_hz()["gpu"][0] == 114_750_000
    assert model.frequencies_hz()["gpu"][-1] == 1_300_500_000
    best = model.operating_points[6]
    assert (best.clocks, best.input_power_w, best.reference_frames_per_s) == ({"gpu": 726_750_000}, 9.61, 9.82)
    assert best.rail_power_w == {"gpu": 2.76, "soc": 1.37, "ddr": 2.79, "cpu": 1.21}


def test_the_jetson_tx2_profile_says_what_is_measured_and_what_is_assumed():
    provenance = load_profile("jetson-tx2").provenance
    assert provenance["operating_points"].startswith("Measured by others")
    assert provenance["switch_latency_s"].startswith("Assumption")
    assert provenance["switch_energy_j"].startswith("Assumption")


def test_the_rails_never_draw_more_than_the_module():
    for point in load_profile("jetson-tx2").model.operating_points:
        assert sum(point.rail_power_w.values()) < point.input_power_w


def test_a_profile_is_read_from_a_path(load, small):
    profile = load(small)
    assert profile.title == "A board with two clocks"
    assert profile.match == ("acme,small", "acme,tiny")
    assert profile.clocks == {"cpu": ClockSpec("cpufreq"), "gpu": ClockSpec("devfreq", ("*.gpu",))}
    assert profile.total_rails == ("VIN",)
    assert profile.notes == ("a note",)
    assert profile.model.frequencies_hz() == {"gpu": (100, 200)}
    assert profile.model.has_power


def test_the_idle_gpu_rail_of_the_jetson_tx2_draws_the_middle_of_what_was_measured():
    model = load_profile("jetson-tx2").model
    assert model.idle_rail_power_w == {"gpu": 0.19}
    assert 0.152 < model.idle_rail_power_w["gpu"] < 0.228 < model.operating_points[0].rail_power_w["gpu"]


def test_what_the_rails_draw_when_idle_need_not_be_known(load, small):
    assert load(small).model.idle_rail_power_w == {}
    assert "idle_rail_power_w" not in profile_text(load(small))


def test_what_the_rails_draw_when_idle_is_saved_with_the_profile(tmp_path, load, small):
    small["model"]["idle_rail_power_w"] = {"gpu": 0.25}
    profile = load(small)
    save_profile(profile, tmp_path / "copy.json")
    assert load_profile(tmp_path / "copy.json").model.idle_rail_power_w == {"gpu": 0.25}


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
    assert {"jetson-tx2", "small"} < set(list_profiles())


def test_an_unknown_name_is_refused_with_the_names_there_are():
    with pytest.raises(DeviceNotFound, match=r"'jetson-tx3'; there are: .*jetson-tx2"):
        load_profile("jetson-tx3")


def test_what_is_no_file_is_no_profile(tmp_path):
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "dangling.json").symlink_to(tmp_path / "nothing")
    assert list_profiles((tmp_path,)) == ()
    with pytest.raises(DeviceNotFound, match="no device profile 'folder'"):
        load_profile("folder", roots=(tmp_path,))


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
        (("name",), "", "name: must not be empty"),
        (("title",), "", "title: must not be empty"),
        (("title",), None, "title: must be a text, found null"),
        (("provenance",), [], "provenance: must be an object, found a list"),
        (("provenance", "idle"), 3, "provenance.idle: must be a text, found the number 3"),
        (("name",), "Jetson TX2", "name: must be of small letters, digits and - _ ., at most 64, found 'Jetson TX2'"),
        (("name",), "../small", "name: must be of small letters"),
        (("match",), "acme,small", "match: must be a list, found a text"),
        (("match",), ["acme,small", 5], "match[1]: must be a text, found the number 5"),
        (("match",), ["acme,small", "acme,small"], "match: names something twice"),
        (("clocks",), None, "clocks: must be an object, found null"),
        (("clocks", "cpu"), "cpufreq", "clocks.cpu: must be an object, found a text"),
        (("clocks", "cpu", "kind"), "acpi", "clocks.cpu.kind: must be one of cpufreq, devfreq, nvml, found 'acpi'"),
        (("clocks", "cpu", "nodes"), ["*.gpu"], "clocks.cpu.nodes: is for devfreq only, this clock is of kind 'cpu"),
        (("clocks",), {"cpu": {"kind": "cpufreq"}}, "model.operating_points: clock 'gpu' is not among the board's"),
        (("total_rails",), [""], "total_rails[0]: must not be empty"),
        (("notes",), {}, "notes: must be a list, found an object"),
        (("model",), [], "model: must be an object, found a list"),
        (("model", "switch_latency_s"), 10**400, "model.switch_latency_s: must be finite"),
        (("model", "switch_latency_s"), None, "model.switch_latency_s: must be a number, found null"),
        (("model", "reference_workload", "macs"), 0, "model.reference_workload.macs: must be at least 1"),
        (("model", "reference_workload", "macs"), 1.5, "model.reference_workload.macs: must be a whole number"),
        (("model", "idle_power_w"), -0.1, "idle_power_w: must be finite and not negative, found -0.1"),
        (("model", "idle_power_w"), float("nan"), "idle_power_w: must be finite"),
        (("model", "switch_latency_s"), float("inf"), "switch_latency_s: must be finite"),
        (("model", "switch_energy_j"), "0.1", "switch_energy_j: must be a number, found a text"),
        (("model", "idle_power_w"), False, "idle_power_w: must be a number, found true or false"),
        (("model", "idle_rail_power_w"), [], "model.idle_rail_power_w: must be an object, found a list"),
        (("model", "idle_rail_power_w"), {"gpu": -0.1}, "idle_rail_power_w.gpu: must be finite and not negative"),
        (("model", "idle_rail_power_w"), {"gpu": None}, "idle_rail_power_w.gpu: must be a number, found null"),
        (("model", "operating_points"), {}, "operating_points: must be a list, found an object"),
        (("model", "operating_points"), [], "operating_points: needs at least one point"),
        (("model", "operating_points", 1), 5, "operating_points[1]: must be an object, found the number 5"),
        (("model", "operating_points", 1, "clocks_hz"), {"gpu": 100}, "operating_points: frequencies must ascend"),
        (("model", "operating_points", 1, "clocks_hz"), {"gpu": 50}, "operating_points: frequencies must ascend"),
        (
            ("model", "operating_points", 1, "clocks_hz"),
            {"gpu": 2.5},
            "operating_points[1].clocks_hz.gpu: must be a whole number",
        ),
        (
            ("model", "operating_points", 1, "clocks_hz"),
            {"gpu": 0},
            "operating_points[1].clocks_hz.gpu: must be at least 1",
        ),
        (
            ("model", "operating_points", 1, "clocks_hz"),
            {"cpu": 200},
            "operating_points: every point must give the same clocks",
        ),
        (
            ("model", "operating_points", 0, "input_power_w"),
            -2,
            "operating_points[0].input_power_w: must be finite and not",
        ),
        (
            ("model", "operating_points", 0, "rail_power_w"),
            {"gpu": -2},
            "operating_points[0].rail_power_w.gpu: must be finite",
        ),
        (("model", "operating_points", 0, "reference_frames_per_s"), 0, "[0].reference_frames_per_s: must be above 0"),
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


@pytest.mark.parametrize("key", ["format", "title", "match", "clocks", "total_rails", "notes", "provenance", "model"])
def test_a_missing_key_is_refused(load, small, key):
    del small[key]
    with pytest.raises(ProfileError, match=f"{key}: is missing"):
        load(small)


@pytest.mark.parametrize("key", ["idle_power_w", "switch_latency_s", "operating_points", "reference_workload"])
def test_a_missing_key_of_the_model_is_refused(load, small, key):
    del small["model"][key]
    with pytest.raises(ProfileError, match=rf"model\.{key}: is missing"):
        load(small)


def test_an_unknown_key_is_refused(load, small):
    small["model"]["operating_points"][0]["input_power_mw"] = 2000
    with pytest.raises(ProfileError, match=r"operating_points\[0\]\.input_power_mw: is unknown; known are clocks_hz"):
        load(small)


def test_a_board_with_two_domains_needs_every_combination(load, small):
    model = small["model"]
    point = model["operating_points"][0]
    settings = [(100, 10), (100, 20), (200, 10), (200, 20)]
    model["operating_points"] = [{**point, "clocks_hz": {"cpu": cpu, "gpu": gpu}} for cpu, gpu in settings]
    assert load(small).model.frequencies_hz() == {"cpu": (100, 200), "gpu": (10, 20)}
    del model["operating_points"][1]
    with pytest.raises(ProfileError, match="one point for every combination"):
        load(small)


def test_a_clock_named_cpu_stands_for_the_clusters_too(load, small):
    for point in small["model"]["operating_points"]:
        point["clocks_hz"] = {"cpu4": point["clocks_hz"]["gpu"]}
    assert load(small).model.frequencies_hz() == {"cpu4": (100, 200)}


def test_a_machine_without_any_clock_has_one_point(load, small):
    small["model"]["operating_points"] = [{**small["model"]["operating_points"][0], "clocks_hz": {}}]
    assert load(small).model.frequencies_hz() == {}


def test_a_profile_may_describe_a_board_without_a_model(load, small):
    profile = load({**small, "model": None})
    assert profile.model is None
    with pytest.raises(ProfileError, match="profile 'small' says how to drive this board, not what it costs"):
        profile.require_model()


@pytest.mark.parametrize("what", ["input_power_w", "idle_power_w", "switch_energy_j"])
def test_what_was_measured_without_a_meter_has_no_power(load, small, what):
    place = small["model"]["operating_points"][1] if what == "input_power_w" else small["model"]
    place[what] = None
    assert not load(small).model.has_power


def test_a_profile_cannot_be_changed():
    profile = load_profile("jetson-tx2")
    with pytest.raises(AttributeError):
        profile.title = "mine"


def test_a_saved_profile_reads_as_it_was(tmp_path, load, small):
    profile = load(small)
    save_profile(profile, tmp_path / "copy.json")
    assert load_profile(tmp_path / "copy.json") == profile
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.json", "small.json"]
    assert (tmp_path / "copy.json").stat().st_mode & 0o777 == 0o644


def test_a_saved_profile_without_a_model_reads_as_it_was(tmp_path, load, small):
    profile = load({**small, "model": None})
    save_profile(profile, tmp_path / "copy.json")
    assert load_profile(tmp_path / "copy.json") == profile


def test_a_saved_profile_has_an_operating_point_a_line():
    text = profile_text(load_profile("jetson-tx2"))
    assert text.count('      {"clocks_hz": {"gpu": ') == 13


def test_saving_takes_the_place_of_the_old_file(tmp_path, load, small):
    profile = load(small)
    save_profile(replace(profile, title="newer"), tmp_path / "small.json")
    assert load_profile(tmp_path / "small.json").title == "newer"


def test_an_impossible_profile_is_not_saved_and_the_old_file_stays(tmp_path, load, small):
    profile = load(small)
    before = (tmp_path / "small.json").read_bytes()
    wrong = replace(profile, model=replace(profile.model, idle_power_w=float("nan")))
    with pytest.raises(ProfileError, match=r"small\.json: model\.idle_power_w: must be finite"):
        save_profile(wrong, tmp_path / "small.json")
    assert (tmp_path / "small.json").read_bytes() == before


def test_saving_into_a_folder_that_is_not_there_is_refused(tmp_path, load, small):
    with pytest.raises(ProfileError, match=r"absent/small\.json cannot be written: No such file or directory"):
        save_profile(load(small), tmp_path / "absent" / "small.json")


def test_saving_over_a_folder_leaves_nothing_behind(tmp_path, load, small):
    profile = load(small)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ProfileError, match="folder cannot be written"):
        save_profile(profile, tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "small.json"]
