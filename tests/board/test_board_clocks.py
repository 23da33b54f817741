"""The clock domains and the lease on a real kernel, by the kernel's own account."""

import pytest

KHZ = "/sys/devices/system/cpu/cpufreq/policy0"


def every_hold(guest):
    for mode, domains in (("userspace", guest["clocks"]["userspace"]), ("limits", guest["clocks"]["limits"])):
        for name, domain in domains.items():
            for held in domain["held"]:
                yield f"{mode} {name} at {held['asked_hz']} Hz", held


def test_the_guest_runs_a_stock_kernel_with_real_clocks(guest):
    machine = guest["machine"]
    assert machine["kernel"].startswith("6.1.0-")
    expected = {
        "x86": ("x86_64", 2, ["policy0", "policy1"], []),
        "arm64": ("aarch64", 4, ["policy0"], ["gpu@17000000"]),
    }
    policies = [name for name in machine["cpufreq"] if name.startswith("policy")]
    assert (machine["machine"], machine["cpus"], policies, machine["devfreq"]) == expected[guest.board]


def test_two_policies_with_the_same_clocks_are_one_domain_on_x86(x86_guest):
    cpu = x86_guest["clocks"]["userspace"]["cpu"]
    assert (cpu["driver"], cpu["policies"], cpu["cpus"]) == ("acpi-cpufreq", ["policy0", "policy1"], [0, 1])
    assert cpu["points"] == [600_000_000, 750_000_000, 1_000_000_000, 1_500_000_000]
    assert cpu["writable"]
    assert cpu["from_table"]


def test_four_cores_of_one_policy_and_the_gpu_are_two_domains_on_arm64(arm64_guest):
    domains = arm64_guest["clocks"]["userspace"]
    assert list(domains) == ["cpu", "gpu"]
    assert (domains["cpu"]["driver"], domains["cpu"]["cpus"]) == ("cpufreq-dt", [0, 1, 2, 3])
    assert domains["cpu"]["points"] == [600_000_000, 900_000_000, 1_200_000_000, 1_500_000_000]
    assert domains["gpu"]["points"] == [162_562_500, 325_125_000, 650_250_000, 1_300_500_000]


def test_every_domain_keeps_the_contract(guest):
    clocks = guest["clocks"]
    assert {name: domain["contract"] for name, domain in clocks["userspace"].items()} == dict.fromkeys(
        clocks["userspace"], "kept"
    )


def test_the_processor_keeps_the_contract_where_there_is_no_userspace_governor(guest):
    assert guest["clocks"]["userspace"]["cpu"]["how"] == "userspace"
    cpu = guest["clocks"]["limits"]["cpu"]
    assert (cpu["how"], cpu["contract"]) == ("limits", "kept")


def test_the_kernel_confirms_every_clock_that_the_lease_sets(guest):
    for what, held in every_hold(guest):
        asked = str(held["asked_hz"])
        assert held["effective_hz"] == [held["asked_hz"]], what
        assert held["counts"] == {"clamped": 0, "yielded": 0, "failed": 0}, what
        assert held["seconds_at"][asked] > 0.1, (what, held["seconds_at"])
        assert max(held["seconds_at"], key=held["seconds_at"].get) == asked, (what, held["seconds_at"])
        assert held["changes"] >= 2, what


def test_a_lease_changes_something_and_leaves_nothing_behind(guest):
    for what, held in every_hold(guest):
        assert held["changed"], what
        assert held["not_restored"] == {}, what
        assert held["journal_ended"], what


@pytest.mark.parametrize("number", range(6))
def test_whatever_the_user_had_set_is_there_again_after_the_lease(guest, number):
    state = guest["clocks"]["states"][number]
    assert state["not_restored"] == {}, state["state"]
    assert state["counts"] == {"clamped": 0, "yielded": 0, "failed": 0}, state["state"]
    for name, points in state["points"].items():
        high, low = points[-1], points[0]
        steps = [high, low, high] if high != low else [high]
        assert state["effective"][name] == [[hz, hz] for hz in steps], (name, state["state"])


def test_a_lease_stays_within_what_the_user_had_allowed(arm64_guest):
    limited = arm64_guest["clocks"]["states"][2]
    assert limited["state"] == [
        {"scaling_governor": "powersave", "scaling_max_freq": "1200000"},
        {"min_freq": "325125000"},
    ]
    assert limited["points"]["cpu"] == [600_000_000, 900_000_000, 1_200_000_000]
    assert limited["points"]["gpu"] == [325_125_000, 650_250_000, 1_300_500_000]
