"""Who may ask clockd goes by what the kernel says of the other end of the connection."""

import grp
import os
import pwd
import socket

import pytest

from edgeexit.daemon.clockd import access
from edgeexit.daemon.clockd.access import Peer, access_for, read_peer
from edgeexit.errors import OptionError

STRANGER = Peer(1, 65_533, frozenset({65_533, 65_532}))


def test_root_and_the_own_user_are_let_in():
    allowed = access_for()
    assert allowed.allows(Peer(1, 0, frozenset({0})))
    assert allowed.allows(Peer(1, os.geteuid(), frozenset()))


def test_nobody_else_is():
    assert not access_for().allows(STRANGER)


def test_a_named_user_is_let_in():
    name = pwd.getpwuid(1).pw_name
    assert access_for(users=[name]).allows(Peer(5, 1, frozenset()))


@pytest.mark.parametrize("groups", [frozenset({1}), frozenset({65_533, 1})], ids=["primary", "supplementary"])
def test_a_member_of_a_named_group_is_let_in(groups):
    name = grp.getgrgid(1).gr_name
    assert access_for(groups=[name]).allows(Peer(5, 65_533, groups))


def test_a_number_stands_for_itself():
    assert access_for(users=["65533"]).allows(STRANGER)
    assert access_for(groups=["65532"]).allows(STRANGER)


def test_the_group_root_lets_nobody_in_of_itself():
    assert not access_for().allows(Peer(5, 65_533, frozenset({0})))


@pytest.mark.parametrize("names", [{"users": ["no-such-user"]}, {"groups": ["no-such-group"]}])
def test_a_name_that_nobody_has_is_an_error(names):
    with pytest.raises(OptionError, match="no-such"):
        access_for(**names)


def test_the_kernel_says_who_is_at_the_other_end():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        peer = read_peer(ours)
    assert (peer.pid, peer.uid) == (os.getpid(), os.geteuid())
    assert peer.groups == {os.getegid(), *os.getgroups()}


def test_where_the_kernel_does_not_tell_groups_the_lists_of_the_machine_do(monkeypatch):
    monkeypatch.setattr(access, "SO_PEERGROUPS", 9999)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        peer = read_peer(ours)
    me = pwd.getpwuid(os.geteuid())
    assert peer.groups == {os.getegid(), *os.getgrouplist(me.pw_name, os.getegid())}
