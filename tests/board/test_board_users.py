"""Who is not root: without permission nothing is set, with permission for the files alone everything works."""


def test_without_permission_no_clock_is_set_and_one_warning_says_so(guest):
    without = guest["user"]["without"]
    assert not any(without["writable"].values())
    assert without["observe_only"]
    assert without["effective"] == [[], []]
    assert len(without["warnings"]) == 1
    assert "cannot be set" in without["warnings"][0]


def test_a_group_that_may_write_the_files_is_enough_to_set_the_clocks(guest):
    with_group = guest["user"]["with_group"]
    assert all(with_group["writable"].values())
    assert with_group["warnings"] == []
    assert not with_group["observe_only"]
    assert with_group["effective"][0] == with_group["wanted"]


def test_such_a_user_gives_the_clocks_back_too(guest):
    assert guest["user"]["not_restored"] == {}
