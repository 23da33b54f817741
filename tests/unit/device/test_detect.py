import json
import logging
import os

import pytest

from edgeexit.device.detect import detect, detect_profile, find_profiles, read_board_facts
from edgeexit.device.profile import default_roots, list_profiles, load_profile
from edgeexit.testing.fake_sysfs import FakeTree

PI_CPUINFO = """\
processor	: 0
CPU implementer	: 0x41
CPU part	: 0xd08

processor	: 1
CPU implementer	: 0x41
CPU part	: 0xd08

Model		: Raspberry Pi 4 Model B Rev 1.4
"""


@pytest.fixture
def machine():
    return FakeTree()


@pytest.fixture
def own(tmp_path):
    """Write a profile into a folder of one's own, and return the folders to search."""

    def write(name, match=(), folder="own", title="my board"):
        document = {
            "format": 1,
            "name": name,
            "title": title,
            "match": list(match),
            "clocks": {},
            "total_rails": [],
            "notes": [],
            "provenance": {},
            "model": None,
        }
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
        return (default_roots()[0], *sorted(path for path in tmp_path.iterdir() if path.is_dir()))

    return write


def a_board(tree, *compatible, folder="/proc/device-tree"):
    tree.add_file(f"{folder}/compatible", "".join(f"{text}\0" for text in compatible))


def test_a_board_says_what_it_is_in_its_device_tree(machine):
    machine.add_file("/proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
    a_board(machine, "raspberrypi,4-model-b", "brcm,bcm2711")
    machine.add_file("/proc/cpuinfo", PI_CPUINFO)
    machine.add_file("/proc/sys/kernel/osrelease", "6.6.31+rpt-rpi-v8\n")
    machine.add_file("/sys/devices/system/cpu/present", "0-3\n")
    facts = read_board_facts(machine)
    assert facts.model == facts.title == "Raspberry Pi 4 Model B Rev 1.4"
    assert facts.compatible == facts.identities == ("raspberrypi,4-model-b", "brcm,bcm2711")
    assert (facts.cpu, facts.cores, facts.kernel) == ("Cortex-A72", 4, "6.6.31+rpt-rpi-v8")
    assert facts.product is None
    assert facts.l4t is None


def test_the_device_tree_is_also_looked_for_where_sysfs_has_it(machine):
    a_board(machine, "nvidia,jetson-nano", folder="/sys/firmware/devicetree/base")
    assert read_board_facts(machine).compatible == ("nvidia,jetson-nano",)


def test_a_pc_says_what_it_is_in_its_dmi_tables(machine):
    machine.add_file("/sys/class/dmi/id/sys_vendor", "Dell Inc.\n")
    machine.add_file("/sys/class/dmi/id/product_name", "Latitude 7420\n")
    machine.add_file(
        "/proc/cpuinfo", "processor: 0\nmodel name: Some CPU @ 3 GHz\nprocessor: 1\nmodel name: Some CPU @ 3 GHz\n"
    )
    facts = read_board_facts(machine)
    assert facts.product == facts.title == "Dell Inc. Latitude 7420"
    assert facts.identities == ("dmi:Dell Inc. Latitude 7420",)
    assert (facts.cpu, facts.cores) == ("Some CPU @ 3 GHz", 2)


def test_a_jetson_says_which_linux_for_tegra_it_runs(machine):
    machine.add_file("/etc/nv_tegra_release", "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n")
    assert read_board_facts(machine).l4t == "36.4.3"


def test_both_kinds_of_cores_of_a_tx2_are_named(machine):
    kinds = [("0x41", "0xd07"), ("0x4e", "0x003"), ("0x4e", "0x003"), ("0x41", "0xd07")]
    lines = [
        f"processor : {i}\nCPU implementer : {maker}\nCPU part : {part}\n" for i, (maker, part) in enumerate(kinds)
    ]
    machine.add_file("/proc/cpuinfo", "\n".join(lines))
    facts = read_board_facts(machine)
    assert (facts.cpu, facts.cores) == ("Cortex-A57 and Denver 2", 4)


def test_cores_of_several_ranges_are_counted(machine):
    machine.add_file("/sys/devices/system/cpu/present", "0-3,6,8-9\n")
    assert read_board_facts(machine).cores == 7


def test_a_machine_that_says_nothing_is_unknown_and_nothing_is_made_up(machine):
    facts = read_board_facts(machine)
    assert (facts.model, facts.compatible, facts.product, facts.kernel) == (None, (), None, None)
    assert (facts.cpu, facts.cores, facts.l4t, facts.identities) == (None, None, None, ())
    assert facts.title == "unknown machine"
    assert detect_profile(machine).name == "generic-linux"


@pytest.mark.parametrize(
    ("compatible", "name"),
    [
        (("raspberrypi,3-model-b-plus", "brcm,bcm2837"), "raspberry-pi-3"),
        (("raspberrypi,400", "brcm,bcm2711"), "raspberry-pi-4"),
        (("raspberrypi,5-model-b", "brcm,bcm2712"), "raspberry-pi-5"),
        (("raspberrypi,model-zero-2-w", "brcm,bcm2837"), "raspberry-pi-zero-2-w"),
        (("nvidia,p3449-0000-b00+p3448-0000-b00", "nvidia,jetson-nano", "nvidia,tegra210"), "jetson-nano"),
        (("nvidia,p2771-0000", "nvidia,tegra186"), "jetson-tx2"),
        (("nvidia,p2597-0000+p3310-1000", "nvidia,tegra186"), "jetson-tx2"),
        (("nvidia,p3509-0000+p3668-0001", "nvidia,tegra194"), "jetson-xavier-nx"),
        (("nvidia,p3768-0000+p3767-0005", "nvidia,p3767-0005", "nvidia,tegra234"), "jetson-orin-nano"),
        (("nvidia,p3768-0000+p3767-0005-super", "nvidia,p3767-0005", "nvidia,tegra234"), "jetson-orin-nano"),
        (("nvidia,p3737-0000+p3701-0005", "nvidia,p3701-0005", "nvidia,tegra234"), "jetson-agx-orin"),
        (("nvidia,p3768-0000+p3767-0000", "nvidia,p3767-0000", "nvidia,tegra234"), "generic-linux"),
        (("rockchip,rk3588",), "generic-linux"),
    ],
)
def test_every_known_board_is_told_by_what_its_device_tree_says(machine, compatible, name):
    a_board(machine, *compatible)
    assert detect_profile(machine).name == name


def test_a_pc_with_a_usable_nvidia_card_gets_the_profile_for_it(machine):
    assert detect_profile(machine, nvidia_gpu=True).name == "generic-nvidia-gpu"


def test_a_jetson_stays_a_jetson_when_nvml_is_there(machine):
    a_board(machine, "nvidia,p3767-0005", "nvidia,tegra234")
    assert detect_profile(machine, nvidia_gpu=True).name == "jetson-orin-nano"


def test_a_profile_of_ones_own_goes_before_the_one_that_ships(machine, own):
    a_board(machine, "raspberrypi,4-model-b", "brcm,bcm2711")
    found = detect(machine, own("my-pi", ["raspberrypi,4-model-b"]))
    assert found.profile.name == "my-pi"
    assert found.path.name == "my-pi.json"
    assert found.matched == "raspberrypi,4-model-b"
    assert found.problems == ()


def test_the_more_exact_text_wins_over_the_folder(machine, own):
    a_board(machine, "raspberrypi,4-model-b", "brcm,bcm2711")
    assert detect(machine, own("any-bcm2711", ["brcm,bcm2711"])).profile.name == "raspberry-pi-4"


def test_of_two_profiles_in_one_folder_the_one_that_prefers_the_text_wins(machine, own):
    a_board(machine, "acme,board")
    own("a-second", ["acme,other", "acme,board"])
    assert detect(machine, own("b-first", ["acme,board"])).profile.name == "b-first"


def test_a_pc_may_have_a_profile_of_its_own(machine, own):
    machine.add_file("/sys/class/dmi/id/sys_vendor", "Dell Inc.\n")
    machine.add_file("/sys/class/dmi/id/product_name", "Latitude 7420\n")
    found = detect(machine, own("my-laptop", ["dmi:Dell Inc. Latitude 7420"]))
    assert (found.profile.name, found.matched) == ("my-laptop", "dmi:Dell Inc. Latitude 7420")


def test_a_profile_cannot_take_the_place_of_one_that_ships_unnoticed(machine, own, caplog):
    a_board(machine, "raspberrypi,4-model-b")
    found = detect(machine, own("raspberry-pi-4", ["raspberrypi,4-model-b"]))
    assert found.profile == load_profile("raspberry-pi-4")
    (problem,) = found.problems
    assert "own/raspberry-pi-4.json" in problem.what
    assert "has the name of" in problem.why
    assert "my-raspberry-pi-4" in problem.mend
    assert "has the name of" in caplog.text


@pytest.mark.parametrize("text", ["{", "{}", '{"format": 2}', "\0"])
def test_a_damaged_profile_is_told_and_does_not_stop_detection(machine, own, tmp_path, caplog, text):
    a_board(machine, "acme,board")
    roots = own("mine", ["acme,board"])
    (tmp_path / "own" / "broken.json").write_text(text, encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        found = detect(machine, roots)
    assert found.profile.name == "mine"
    (problem,) = found.problems
    assert "broken.json" in problem.what
    assert problem.why.startswith("cannot be used: profile ")
    assert "broken.json" in problem.mend
    assert "broken.json" in caplog.text


@pytest.mark.parametrize("kind", ["folder", "dangling link", "link to itself", "pipe"])
def test_what_is_no_file_is_told_and_does_not_stop_detection(machine, tmp_path, caplog, kind):
    odd = tmp_path / "odd.json"
    if kind == "folder":
        odd.mkdir()
    elif kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to(odd if kind == "link to itself" else tmp_path / "nothing")
    found = detect(machine, (default_roots()[0], tmp_path))
    assert found.profile.name == "generic-linux"
    assert found.problems == (
        (f"profile {odd}", "cannot be used: it is no file, or a link to nowhere", f"rename or delete {odd}"),
    )
    assert "odd.json: cannot be used" in caplog.text


def test_a_missing_folder_in_the_environment_is_told_and_does_not_stop_detection(
    machine, tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("EDGEEXIT_PROFILES", f"{tmp_path}/absent:{tmp_path}")
    found = detect(machine)
    assert found.profile.name == "generic-linux"
    (problem,) = found.problems
    assert problem.what == f"profiles in {tmp_path}/absent"
    assert problem.why == "EDGEEXIT_PROFILES names this folder, and it is not there"
    assert "absent" in caplog.text


def test_a_folder_in_the_environment_that_may_not_be_read_is_told(machine, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEEXIT_PROFILES", str(tmp_path))
    monkeypatch.setattr("os.access", lambda path, mode: False)
    (problem,) = detect(machine).problems
    assert problem.mend == f"chmod a+rx {tmp_path}"


def test_folders_without_the_generic_profile_fall_back_to_the_one_that_ships(machine, tmp_path):
    found = detect(machine, (tmp_path,))
    assert found.profile == load_profile("generic-linux")
    assert found.path == default_roots()[0] / "generic-linux.json"


def test_the_environment_adds_a_folder_to_detect_from(machine, own, tmp_path, monkeypatch):
    own("mine", ["acme,board"])
    monkeypatch.setenv("EDGEEXIT_PROFILES", str(tmp_path / "own"))
    a_board(machine, "acme,board")
    assert detect_profile(machine).name == "mine"


def test_all_profiles_are_found_with_their_files():
    stored, problems = find_profiles((default_roots()[0],))
    assert problems == ()
    assert {choice.path.stem for choice in stored} == {choice.profile.name for choice in stored}
    assert len(stored) == 11


def test_a_cost_table_beside_a_profile_is_not_taken_for_one(tmp_path):
    (tmp_path / "fashion-resnet.costs.json").write_text("{}", encoding="utf-8")
    assert find_profiles([tmp_path]) == ((), ())
    assert list_profiles([tmp_path]) == ()
