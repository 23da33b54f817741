"""A process that changes a real kernel's clocks is killed, at any moment, and the clocks come back."""


def test_after_twenty_kills_every_file_holds_its_old_value(guest):
    rounds = guest["kill"]["rounds"]
    assert len(rounds) == 20
    for number, killed in enumerate(rounds):
        assert killed["journal_left"], f"round {number} was over before it began"
        assert killed["not_restored"] == {}, f"round {number}: {killed}"
        assert killed["restore"]["failed"] == {}, f"round {number}: {killed}"
        assert killed["restore"]["left"] == {}, f"round {number}: {killed}"
        assert killed["journal_ended"], f"round {number}: {killed}"


def test_the_kills_found_clocks_changed(guest):
    changed = [path for killed in guest["kill"]["rounds"] for path in killed["changed_at_kill"]]
    assert sum(path.startswith("/sys/devices/system/cpu/cpufreq") for path in changed) >= 10
    if guest.board == "arm64":
        assert sum(path.startswith("/sys/class/devfreq") for path in changed) >= 10


def test_a_process_that_is_killed_as_it_starts_leaves_nothing_changed(guest):
    for number, killed in enumerate(guest["kill"]["early"]):
        assert killed["not_restored"] == {}, f"round {number}: {killed}"
        assert killed["journal_ended"], f"round {number}: {killed}"


def test_what_somebody_else_has_set_since_is_left_alone(guest):
    found = guest["kill"]["somebody_else"]
    assert found["after"] == found["theirs"]
    keys = {path.removeprefix("/sys/devices/system/cpu/").removeprefix("/sys/class/") for path in found["theirs"]}
    assert keys <= found["restore"]["left"].keys()


def test_the_rest_is_put_back_all_the_same(guest):
    found = guest["kill"]["somebody_else"]
    before, after = found["files"]
    other = "devfreq/gpu@17000000/min_freq" if guest.board == "arm64" else "cpufreq/policy1/scaling_governor"
    assert other in found["restore"]["restored"]
    (path,) = [path for path in before if path.endswith(other)]
    assert after[path] == before[path]


def test_the_guardian_puts_the_clocks_back_without_being_asked(guest):
    assert guest["kill"]["guardian"]["not_restored"] == {}
