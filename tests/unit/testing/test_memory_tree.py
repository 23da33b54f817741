import errno
import os
import stat

import pytest
from errnos import errno_of

from edgeexit.testing.memory_tree import MemoryFile, MemoryTree


@pytest.fixture
def tree():
    tree = MemoryTree()
    tree.add_file("/sys/a/value", "42\n", 0o644)
    tree.add_file("/sys/a/secret", "7\n", 0o400)
    return tree


def test_it_reads_a_text_without_the_white_space_around_it(tree):
    assert tree.read("/sys/a/value") == "42"


def test_a_text_can_be_made_anew_at_each_read(tree):
    values = iter(["1\n", "2\n"])
    tree.add_file("/sys/counter", lambda: next(values))
    assert [tree.read("/sys/counter"), tree.read("/sys/counter")] == ["1", "2"]


def test_folders_come_and_go_with_what_is_in_them(tree):
    assert tree.names("/sys") == ("a",)
    assert tree.names("/sys/a") == ("secret", "value")
    tree.remove("/sys/a")
    assert tree.names("/sys") == ()
    assert not tree.exists("/sys/a/value")


def test_what_is_not_there_is_enoent_and_what_is_no_folder_enotdir(tree):
    assert errno_of(tree.read, "/sys/a/nothing") == errno.ENOENT
    assert errno_of(tree.read, "/sys/a/value/more") == errno.ENOTDIR
    assert errno_of(tree.sys_list, "/sys/a/value") == errno.ENOTDIR
    assert errno_of(tree.read, "/sys/a") == errno.EISDIR


def test_a_file_cannot_be_made_by_opening_it(tree):
    assert errno_of(tree.sys_open, "/sys/a/new", os.O_WRONLY | os.O_CREAT) == errno.EACCES


def test_it_follows_links_that_are_relative_absolute_and_inside_a_path(tree):
    tree.add_link("/sys/class/x", "../a")
    tree.add_link("/here", "/sys/class/x")
    assert tree.read("/sys/class/x/value") == "42"
    assert tree.read("/here/../a/value") == "42"
    assert tree.resolve("/here/value") == "/sys/a/value"
    assert tree.sys_readlink("/sys/class/x") == "../a"


def test_a_loop_of_links_is_eloop(tree):
    tree.add_link("/one", "/two")
    tree.add_link("/two", "/one")
    assert errno_of(tree.read, "/one") == errno.ELOOP


def test_reading_a_link_that_is_none_is_einval(tree):
    assert errno_of(tree.sys_readlink, "/sys/a/value") == errno.EINVAL
    assert errno_of(tree.sys_readlink, "/sys/a/nothing") == errno.ENOENT


def test_writes_are_noted_under_the_path_without_links(tree):
    tree.add_link("/short", "/sys/a")
    tree.open_attribute("/short/value").write("43")
    assert tree.read("/sys/a/value") == "43"
    assert tree.writes == [("/sys/a/value", "43")]


def test_an_empty_write_does_nothing(tree):
    tree.open_attribute("/sys/a/value").write("")
    assert tree.read("/sys/a/value") == "42"
    assert tree.writes == []


def test_nobody_opens_for_writing_what_nobody_may_write(tree):
    tree.set_mode("/sys/a/value", 0o444)
    assert errno_of(tree.sys_open, "/sys/a/value", os.O_WRONLY) == errno.EACCES
    assert tree.can_write("/sys/a/value")


def test_an_ordinary_user_may_do_what_the_last_bits_say(tree):
    tree.as_user(unprivileged=True)
    assert tree.read("/sys/a/value") == "42"
    assert not tree.can_write("/sys/a/value")
    assert errno_of(tree.sys_open, "/sys/a/value", os.O_WRONLY) == errno.EACCES
    assert not tree.can_read("/sys/a/secret")
    assert errno_of(tree.read, "/sys/a/secret") == errno.EACCES
    tree.as_user(unprivileged=False)
    assert tree.read("/sys/a/secret") == "7"


def test_a_group_may_do_what_its_bits_say(tree):
    tree.set_owner("/sys/a/value", 0, 990)
    tree.set_mode("/sys/a/value", 0o664)
    tree.as_user(unprivileged=True, groups=(990,))
    tree.open_attribute("/sys/a/value").write("1")
    assert tree.read("/sys/a/value") == "1"
    assert tree.sys_owner("/sys/a/value") == (0, 990)


def test_a_tree_that_is_mounted_read_only_takes_no_writes(tree):
    tree.read_only = True
    assert not tree.can_write("/sys/a/value")
    assert errno_of(tree.sys_open, "/sys/a/value", os.O_WRONLY) == errno.EROFS


def test_an_open_file_whose_device_went_away_is_enodev_and_opening_it_again_helps(tree):
    descriptor = tree.sys_open("/sys/a/value", os.O_RDONLY)
    attribute = tree.open_attribute("/sys/a/value")
    assert attribute.read() == "42"
    tree.add_file("/sys/a/value", "43\n")
    assert errno_of(tree.sys_read, descriptor) == errno.ENODEV
    assert attribute.read() == "43"


def test_a_closed_descriptor_is_ebadf(tree):
    descriptor = tree.sys_open("/sys/a/value", os.O_RDONLY)
    tree.sys_close(descriptor)
    assert errno_of(tree.sys_read, descriptor) == errno.EBADF


def test_a_read_or_a_write_can_be_made_to_fail_once(tree):
    tree.fail_next_read("/sys/a/value", errno.EIO)
    tree.fail_next_write("/sys/a/value", errno.EBUSY)
    assert errno_of(tree.read, "/sys/a/value") == errno.EIO
    assert tree.read("/sys/a/value") == "42"
    assert errno_of(tree.open_attribute("/sys/a/value").write, "1") == errno.EBUSY
    assert tree.read("/sys/a/value") == "42"


def test_a_disabled_sensor_fails_at_every_read(tree):
    tree.add_failing("/sys/in3_input", errno.ENODATA)
    assert errno_of(tree.read, "/sys/in3_input") == errno.ENODATA
    assert tree.read_or_none("/sys/in3_input") is None
    assert tree.exists("/sys/in3_input")


def test_a_device_file_has_its_type(tree):
    tree.add_file("/dev/vcio", "", 0o20660, (0, 44))
    assert stat.S_ISCHR(tree.sys_mode("/dev/vcio"))
    assert stat.S_ISDIR(tree.sys_mode("/dev"))


def test_a_file_that_cannot_be_written_answers_eio(tree):
    tree.add(MemoryFile("/sys/odd", lambda: "", mode=0o644))
    assert errno_of(tree.open_attribute("/sys/odd").write, "1") == errno.EIO


def test_its_files_lie_nowhere_on_this_machine(tree):
    with pytest.raises(NotImplementedError, match="exists in memory only"):
        tree.real_path("/sys/a/value")
