"""A Raspberry Pi's firmware for tests: it answers in the mailbox's own bytes."""

import errno
import struct

from edgeexit.testing.fake_sysfs import FakeTree

NOT_REGISTERED = 'error=1 error_msg="Command not registered"'
PMIC_ANSWER = """\
 3V7_WL_SW_A current(0)=0.05855580A
   3V3_SYS_A current(1)=0.06148359A
   1V8_SYS_A current(2)=0.13272650A
  DDR_VDD2_A current(3)=0.13955800A
  DDR_VDDQ_A current(4)=0.00980400A
   1V1_SYS_A current(5)=0.19811380A
    0V8_SW_A current(6)=0.34157550A
  VDD_CORE_A current(7)=5.03652000A
   3V3_DAC_A current(17)=0.00006105A
   3V3_ADC_A current(18)=0.00054945A
   0V8_AON_A current(16)=0.00531135A
      HDMI_A current(22)=0.02161170A
 3V7_WL_SW_V volt(8)=3.61069200V
   3V3_SYS_V volt(9)=3.29982600V
   1V8_SYS_V volt(10)=1.81684800V
  DDR_VDD2_V volt(11)=1.10109800V
  DDR_VDDQ_V volt(12)=0.60366240V
   1V1_SYS_V volt(13)=1.10292900V
    0V8_SW_V volt(14)=0.80292960V
  VDD_CORE_V volt(15)=0.89369880V
   3V3_DAC_V volt(20)=3.29944700V
   3V3_ADC_V volt(21)=3.30402600V
   0V8_AON_V volt(19)=0.79618980V
      HDMI_V volt(23)=4.92450000V
     EXT5V_V volt(24)=4.92450000V
      BATT_V volt(25)=0.00341880V
"""
"""What a Raspberry Pi 5 under load has answered (a public log)."""


class RaspberryPi(FakeTree):
    """A tree with /dev/vcio, whose driver knows some commands.

    Attributes:
        answers: The answer to each command.
        asked: The commands so far.
        code: What the firmware puts into the second word.
        error: What it puts into the sixth.
        refused: The errno of the next ioctl, if any.
    """

    def __init__(self, answers=(), *, mode=0o660):
        super().__init__()
        self.answers = dict(answers)
        self.asked = []
        self.code = 0x80000000
        self.error = 0
        self.refused = None
        self.requests = []
        self.add_file("/dev/vcio", "", mode=mode)

    def sys_ioctl(self, descriptor, request, buffer):
        if self.refused is not None:
            raise OSError(self.refused, errno.errorcode[self.refused])
        self.requests.append((request, bytes(buffer)))
        command = bytes(buffer[24:]).split(b"\0")[0].decode()
        self.asked.append(command)
        text = self.answers.get(command, NOT_REGISTERED).encode() + b"\n"
        struct.pack_into("<I", buffer, 4, self.code)
        struct.pack_into("<I", buffer, 20, self.error)
        buffer[24 : 24 + len(text) + 1] = text + b"\0"
