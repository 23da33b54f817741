from pathlib import Path

from edgeexit.device import HostDevice
from edgeexit.device.host import read_host_facts
from edgeexit.protocols import Workload


def test_it_offers_no_clocks_no_meter_and_no_model():
    with HostDevice() as host:
        assert dict(host.domains) == {}
        assert host.meter is None
        assert host.modelled_costs(Workload((1,), (1,), (0,))) is None
        assert not host.simulated


def test_reporting_work_does_not_move_its_clock_by_the_model():
    host = HostDevice()
    before_s = host.clock.now_s()
    host.work_done(10**15)
    assert host.clock.now_s() - before_s < 1.0


def test_the_processor_is_named_as_the_kernel_names_it(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\nflags\t: fpu\n", encoding="utf-8")
    assert read_host_facts(cpuinfo).cpu == "Some CPU @ 2.00GHz"


def test_a_raspberry_pi_is_named_by_its_model_line(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nBogoMIPS\t: 108.00\nModel\t\t: Raspberry Pi 4 Model B\n", encoding="utf-8")
    assert read_host_facts(cpuinfo).cpu == "Raspberry Pi 4 Model B"


def test_without_a_name_the_architecture_stands_in():
    facts = read_host_facts(Path("/does/not/exist"))
    assert facts.cpu
    assert facts.cores >= 1
    assert facts.memory_bytes > 1_000_000
