"""clockd and a client without privileges on real clocks: either is killed, and the clocks come back."""

from board.in_guest_clockd import KILLS


def test_a_client_without_privileges_changes_real_clocks(arm64_guest):
    assert arm64_guest["clockd"]["first_change_s"] is not None


def test_after_each_kill_every_file_holds_its_old_value(arm64_guest):
    rounds = arm64_guest["clockd"]["rounds"]
    assert [killed["what"] for killed in rounds] == list(KILLS)
    for number, killed in enumerate(rounds):
        assert killed["restored"], f"round {number}: {killed}"
        assert killed["restore"] is None or killed["restore"]["failed"] == {}, f"round {number}: {killed}"


def test_service_goes_on_after_each_kill(arm64_guest):
    for number, killed in enumerate(arm64_guest["clockd"]["rounds"]):
        assert killed["resumed"], f"round {number}: {killed}"


def test_a_user_of_whom_clockd_was_not_told_sets_nothing(arm64_guest):
    assert arm64_guest["clockd"]["stranger"].startswith("refused: user 1001 may not set clocks")
    assert arm64_guest["clockd"]["not_restored"] == {}


def test_clockd_ends_in_an_orderly_way(arm64_guest):
    found = arm64_guest["clockd"]
    assert (found["exit_status"], found["socket_left"], found["journal_left"]) == (0, False, False)
