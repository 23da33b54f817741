import errno
import os
import stat

import pytest
from clock_machines import GPU, a_machine

from edgeexit.clock import ManualClock
from edgeexit.device.sysfs import Tree
from edgeexit.testing.fake_sysfs import FakeTree


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sys").mkdir()
    (tmp_path / "sys/value").write_text("1500000\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def tree(folder):
    return Tree(folder)


def test_a_text_is_read_without_the_white_space_around_it(tree, folder):
    (folder / "sys/list").write_text(" 600000 1500000 \n", encoding="utf-8")
    assert tree.read("/sys/list") == "600000 1500000"


def test_the_nuls_of_a_device_tree_text_are_cut_off(tree, folder):
    (folder / "sys/model").write_bytes(b"Raspberry Pi 4\0")
    assert tree.read("/sys/model") == "Raspberry Pi 4"


def test_bytes_that_are_no_text_do_not_stop_a_reader(tree, folder):
    (folder / "sys/odd").write_bytes(b"a\xffb")
    assert tree.read("/sys/odd") == "a\ufffdb"


def test_a_file_that_is_not_there_is_none_or_the_kernels_error(tree):
    assert tree.read_or_none("/sys/none") is None
    assert tree.read_int_or_none("/sys/none") is None
    with pytest.raises(FileNotFoundError):
        tree.read("/sys/none")


def test_a_whole_number_is_read_and_a_text_is_none(tree, folder):
    assert tree.read_int_or_none("/sys/value") == 1_500_000
    (folder / "sys/word").write_text("<unsupported>\n", encoding="utf-8")
    assert tree.read_int_or_none("/sys/word") is None


def test_the_names_in_a_folder_are_sorted(tree, folder):
    (folder / "sys/another").touch()
    assert tree.names("/sys") == ("another", "value")
    assert tree.names("/proc") == ()


def test_it_says_what_is_there_and_what_it_is(tree, folder):
    (folder / "sys/link").symlink_to("value")
    assert tree.exists("/sys/value")
    assert not tree.exists("/sys/none")
    assert stat.S_ISREG(tree.sys_mode("/sys/link"))
    assert tree.sys_readlink("/sys/link") == "value"
    assert tree.sys_owner("/sys/value") == (os.getuid(), os.getgid())


def test_permissions_are_asked_of_the_kernel(tree):
    assert tree.can_read("/sys/value")
    assert tree.can_write("/sys/value")
    assert not tree.can_write("/sys/none")


def test_permissions_of_an_ordinary_user():
    machine = FakeTree()
    machine.add_file("/sys/value", "1\n", 0o644)
    machine.as_user(True)
    assert machine.can_read("/sys/value")
    assert not machine.can_write("/sys/value")


def test_a_path_that_is_absolute_stays_within_the_tree(tree, folder):
    assert tree.real_path("/sys/value") == folder / "sys/value"


def test_it_waits_by_the_clock_it_was_given():
    clock = ManualClock()
    assert Tree(clock=clock).clock is clock
    assert Tree().clock.now_s() > 0.0


def test_a_driver_answers_in_the_buffer_it_is_handed(tree):
    reader, writer = os.pipe()
    os.write(writer, b"12345")
    buffer = bytearray(4)
    tree.sys_ioctl(reader, 0x541B, buffer)  # FIONREAD: how much there is to read
    assert int.from_bytes(buffer, "little") == 5
    os.close(reader)
    os.close(writer)


def test_an_attribute_is_read_anew_every_time_by_one_descriptor(tree, folder):
    attribute = tree.open_attribute("/sys/value")
    assert attribute.read() == "1500000"
    (folder / "sys/value").write_text("600000\n", encoding="utf-8")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    assert attribute.read() == "600000"
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    attribute.close()


def test_an_attribute_is_written_in_one_call():
    machine = FakeTree()
    machine.add_file("/sys/value", "1\n", 0o644)
    attribute = machine.open_attribute("/sys/value")
    attribute.write("2")
    attribute.write("3")
    assert machine.writes == [("/sys/value", "2"), ("/sys/value", "3")]


def test_opening_an_attribute_opens_nothing_yet(tree):
    attribute = tree.open_attribute("/sys/none")
    attribute.close()
    with pytest.raises(FileNotFoundError):
        attribute.read()


def test_a_closed_attribute_opens_again(tree):
    attribute = tree.open_attribute("/sys/value")
    attribute.read()
    attribute.write("1600000")
    attribute.close()
    attribute.close()
    assert attribute.read() == "1600000"
    attribute.close()


def test_a_device_that_came_back_is_opened_anew():
    machine = a_machine()
    node = machine.add_devfreq()
    attribute = machine.open_attribute(f"{GPU}/min_freq")
    assert attribute.read() == "306000000"
    attribute.write("408000000")
    machine.remove_devfreq(node)
    node = machine.add_devfreq()
    assert attribute.read() == "306000000"
    attribute.write("510000000")
    assert node.limits_hz == (510_000_000, 612_000_000)


@pytest.mark.parametrize("first", ["read", "write"])
def test_a_device_that_came_back_is_opened_anew_whatever_is_done_first(first):
    machine = a_machine()
    node = machine.add_devfreq()
    attribute = machine.open_attribute(f"{GPU}/min_freq")
    attribute.read()
    attribute.write("408000000")
    machine.remove_devfreq(node)
    machine.add_devfreq()
    if first == "write":
        attribute.write("510000000")
    assert attribute.read() == ("510000000" if first == "write" else "306000000")


def test_a_device_that_stayed_away_is_the_kernels_error():
    machine = a_machine()
    node = machine.add_devfreq()
    attribute = machine.open_attribute(f"{GPU}/min_freq")
    attribute.read()
    attribute.write("408000000")
    machine.remove_devfreq(node)
    with pytest.raises(FileNotFoundError):
        attribute.read()
    with pytest.raises(FileNotFoundError):
        attribute.write("306000000")


@pytest.mark.parametrize("code", [errno.EBUSY, errno.EIO, errno.EINVAL])
def test_any_other_error_is_not_tried_again(code):
    machine = a_machine()
    machine.add_devfreq()
    attribute = machine.open_attribute(f"{GPU}/min_freq")
    for fail, act in (
        (machine.fail_next_read, attribute.read),
        (machine.fail_next_write, lambda: attribute.write("1")),
    ):
        fail(f"{GPU}/min_freq", code)
        with pytest.raises(OSError, match=os.strerror(code)) as caught:
            act()
        assert caught.value.errno == code
    assert len(machine.writes) == 1


def test_a_device_that_fails_again_after_it_was_opened_anew_is_not_tried_for_ever():
    machine = a_machine()
    machine.add_file("/sys/value", "1\n", 0o644)
    file = machine.file("/sys/value")
    attribute = machine.open_attribute("/sys/value")
    attribute.read()
    file.gone = True
    with pytest.raises(OSError, match="No such device"):
        attribute.read()
