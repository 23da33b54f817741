import errno
import struct
import sys

import pytest
from raspberry_pi import NOT_REGISTERED, RaspberryPi

from edgeexit.device.firmware import Firmware, open_firmware, pack, run_program, unpack
from edgeexit.device.sysfs import Tree
from edgeexit.errors import DeviceError
from edgeexit.testing.fake_sysfs import FakeTree

THROTTLED = {"get_throttled": "throttled=0x50005"}


def test_a_question_has_the_layout_of_the_mailbox():
    buffer = pack("get_throttled")
    assert len(buffer) == 1052
    assert struct.unpack_from("<6I", buffer) == (1052, 0, 0x00030080, 1024, 0, 0)
    assert buffer[24:38] == b"get_throttled\0"
    assert not any(buffer[38:])


def test_a_question_that_does_not_fit_is_refused():
    pack("x" * 1022)
    with pytest.raises(DeviceError, match="at most 1022 bytes, not 1023"):
        pack("x" * 1023)


def answer(text, *, code=0x80000000, error=0):
    buffer = bytearray(1052)
    struct.pack_into("<6I", buffer, 0, 1052, code, 0x00030080, 1024, 0x80000000, error)
    buffer[24 : 24 + len(text)] = text
    return buffer


def test_an_answer_ends_at_its_first_nul():
    assert unpack(answer(b"throttled=0x0\n\0left over")) == "throttled=0x0"


@pytest.mark.parametrize(("code", "error"), [(0, 0), (0x80000001, 0), (0x80000000, 1)])
def test_an_answer_with_an_error_is_refused(code, error):
    with pytest.raises(DeviceError, match=r"the firmware answered code 0x[08]+1?, error [01]"):
        unpack(answer(b"", code=code, error=error))


def test_the_firmware_is_asked_through_the_mailbox():
    pi = RaspberryPi(THROTTLED)
    firmware = open_firmware(pi).firmware
    assert firmware.ask("get_throttled") == "throttled=0x50005"
    ((request, buffer),) = pi.requests
    assert request == {8: 0xC0086400, 4: 0xC0046400}[struct.calcsize("P")]
    assert buffer == bytes(pack("get_throttled"))


def test_throttled_bits_are_read():
    assert open_firmware(RaspberryPi(THROTTLED)).firmware.read_throttled() == 0x50005


def test_the_cores_real_frequency_is_read():
    pi = RaspberryPi({"measure_clock arm": "frequency(48)=1500345728"})
    assert open_firmware(pi).firmware.read_arm_hz() == 1_500_345_728


def test_what_the_firmware_does_not_know_is_none():
    firmware = open_firmware(RaspberryPi()).firmware
    assert firmware.ask("pmic_read_adc") == NOT_REGISTERED
    assert firmware.read_throttled() is None
    assert firmware.read_arm_hz() is None


def test_a_driver_that_refuses_is_none():
    pi = RaspberryPi(THROTTLED)
    firmware = open_firmware(pi).firmware
    pi.refused = errno.EIO
    assert firmware.read_throttled() is None
    pi.refused = None
    pi.code = 0x80000001
    assert firmware.read_throttled() is None
    pi.code = 0x80000000
    assert firmware.read_throttled() == 0x50005


def test_a_closed_mailbox_answers_nothing():
    pi = RaspberryPi(THROTTLED)
    firmware = open_firmware(pi).firmware
    firmware.close()
    firmware.close()
    assert firmware.ask("get_throttled") is None
    assert pi.asked == []


def test_a_machine_that_is_no_raspberry_pi_has_none_and_no_problem():
    assert open_firmware(FakeTree()) == (None, None)


def test_without_permission_the_problem_has_its_mend():
    pi = RaspberryPi(THROTTLED)
    pi.as_user(unprivileged=True)
    firmware, problem = open_firmware(pi)
    assert firmware is None
    assert problem.what == "Raspberry Pi firmware"
    assert problem.why == "/dev/vcio cannot be opened: Permission denied"
    assert problem.mend.startswith('sudo usermod -aG video "$USER"')


def test_where_the_mailbox_cannot_be_opened_the_program_is_asked(tmp_path):
    program = tmp_path / "usr/bin/vcgencmd"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\n[ "$1 $2" = "measure_clock arm" ] && echo "frequency(0)=600000000"\n')
    program.chmod(0o755)
    firmware, problem = open_firmware(Tree(tmp_path))
    assert firmware.read_arm_hz() == 600_000_000
    assert firmware.read_throttled() is None
    assert problem is None
    firmware.close()


def test_a_program_that_cannot_be_started_is_none(tmp_path):
    program = tmp_path / "opt/vc/bin/vcgencmd"
    program.parent.mkdir(parents=True)
    program.write_text("no program")
    assert open_firmware(Tree(tmp_path)).firmware.ask("get_throttled") is None


def test_a_program_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr("edgeexit.device.firmware.PROGRAM_TIMEOUT_S", 0.01)
    with pytest.raises(TimeoutError, match=r"took longer than 0\.01 s"):
        run_program(sys.executable, "-c while(True):pass")


def test_an_answer_may_come_from_anywhere():
    firmware = Firmware({"get_throttled": "throttled=0x0"}.__getitem__)
    assert firmware.read_throttled() == 0
    firmware.close()
