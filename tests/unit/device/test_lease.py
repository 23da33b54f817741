import warnings

import pytest

from edgeexit.device import Lease, open_device
from edgeexit.errors import ClockBusy, ClockNotWritable, ClockRefused, ClocksUnavailable, DeviceError
from edgeexit.protocols import Applied


class RecordedDomain:
    """A domain with three operating points that notes every write; it can refuse, clamp and be interrupted."""

    operating_points_hz = (100, 200, 300)
    knobs = ()

    def __init__(self, name="gpu", hz=100):
        self.name = name
        self.hz = hz
        self.writes = []
        self.writable = True
        self.cap_hz = 300
        self.interrupt = False

    def read_hz(self):
        return self.hz

    def set_hz(self, frequency_hz):
        if not self.writable:
            raise ClockNotWritable(f"{self.name}: permission denied")
        self.writes.append(frequency_hz)
        self.hz = min(frequency_hz, self.cap_hz)
        if self.interrupt:
            raise KeyboardInterrupt
        return Applied(frequency_hz, frequency_hz, "trust me", 0.5)


@pytest.fixture
def gpu():
    return RecordedDomain()


@pytest.fixture
def lease(gpu):
    return Lease({"gpu": gpu})


def test_it_sets_a_clock_and_reads_it_back(gpu, lease):
    assert lease.set({"gpu": 300}) == (Applied(300, 300, "trust me", 0.5),)
    assert gpu.hz == 300
    assert lease.switch_count == 1
    assert lease.clamped_count == 0


def test_it_skips_a_request_equal_to_the_one_before(gpu, lease):
    lease.set({"gpu": 300})
    assert lease.set({"gpu": 300}) == ()
    assert gpu.writes == [300]


def test_it_skips_nothing_the_first_time_because_somebody_else_may_move_the_clock(gpu, lease):
    lease.set({"gpu": 100})
    assert gpu.writes == [100]
    assert lease.switch_count == 0


def test_an_empty_request_leaves_the_clocks(gpu, lease):
    assert lease.set({}) == ()
    assert gpu.writes == []


def test_it_restores_what_was_when_it_is_closed(gpu, lease):
    lease.set({"gpu": 300})
    lease.set({"gpu": 200})
    lease.close()
    assert gpu.hz == 100
    assert gpu.writes == [300, 200, 100]


def test_closing_twice_restores_once(gpu, lease):
    lease.set({"gpu": 300})
    lease.close()
    lease.close()
    assert gpu.writes == [300, 100]


def test_a_with_statement_restores_after_an_error(gpu):
    def fail():
        with Lease({"gpu": gpu}) as lease:
            lease.set({"gpu": 300})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert gpu.hz == 100


def test_it_leaves_a_clock_alone_that_somebody_else_has_set_since(gpu, lease):
    lease.set({"gpu": 300})
    gpu.hz = 200
    lease.close()
    assert gpu.hz == 200
    assert gpu.writes == [300]


def test_a_clock_that_was_never_set_is_not_restored(gpu):
    cpu = RecordedDomain("cpu")
    with Lease({"gpu": gpu, "cpu": cpu}) as lease:
        lease.set({"gpu": 300})
    assert cpu.writes == []


def test_a_clamped_clock_is_counted_and_still_restored(gpu, lease):
    gpu.cap_hz = 200
    assert lease.set({"gpu": 300}) == (Applied(300, 200, "trust me", 0.5),)
    assert lease.clamped_count == 1
    lease.close()
    assert gpu.hz == 100


def test_an_unknown_domain_is_refused_before_any_clock_is_set(gpu, lease):
    with pytest.raises(DeviceError, match="no clock domain is called 'npu'; there are: gpu"):
        lease.set({"gpu": 300, "npu": 100})
    assert gpu.writes == []


def test_a_clock_that_cannot_be_set_gives_one_warning_and_observes_from_then_on(gpu, lease):
    gpu.writable = False
    with pytest.warns(ClocksUnavailable, match="clock 'gpu' cannot be set .*permission denied") as caught:
        assert lease.set({"gpu": 300}) == ()
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert lease.observe_only
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert lease.set({"gpu": 200}) == ()
        lease.close()
    assert gpu.writes == []


def test_a_clock_that_stops_being_writable_leaves_the_others_to_be_restored(gpu):
    cpu = RecordedDomain("cpu")
    with Lease({"gpu": gpu, "cpu": cpu}) as lease:
        lease.set({"gpu": 300, "cpu": 200})
        cpu.writable = False
        with pytest.warns(ClocksUnavailable):
            assert [a.requested_hz for a in lease.set({"gpu": 200, "cpu": 300})] == [200]
    assert gpu.hz == 100
    assert cpu.hz == 200


def test_a_clock_that_cannot_be_put_back_is_logged_and_the_next_is_restored(gpu, caplog):
    cpu = RecordedDomain("cpu")
    lease = Lease({"cpu": cpu, "gpu": gpu})
    lease.set({"cpu": 300, "gpu": 300})
    cpu.writable = False
    lease.close()
    assert "clock cpu could not be put back to 100 Hz" in caplog.text
    assert gpu.hz == 100


def test_an_interrupt_in_the_middle_of_a_write_is_restored_too(gpu, lease):
    gpu.interrupt = True
    with pytest.raises(KeyboardInterrupt):
        lease.set({"gpu": 300})
    gpu.interrupt = False
    lease.close()
    assert gpu.hz == 100


def test_a_closed_lease_sets_nothing(gpu, lease):
    lease.close()
    with pytest.raises(DeviceError, match="closed"):
        lease.set({"gpu": 300})
    assert gpu.writes == []


def test_after_a_restore_it_may_set_clocks_again(gpu, lease):
    lease.set({"gpu": 300})
    lease.restore()
    assert gpu.hz == 100
    lease.set({"gpu": 300})
    assert gpu.hz == 300


def test_on_a_simulated_board_only_real_changes_cost_time():
    with open_device("simulated:jetson-tx2") as board:
        lease = Lease(board.domains)
        lease.set({"gpu": 1_300_500_000})
        lease.set({"gpu": 1_300_500_000})
        assert board.clock.now_s() == 0.003
        assert lease.switch_count == 1


@pytest.mark.parametrize("error", [ClockBusy("not now"), ClockRefused("not this"), DeviceError("odd")])
def test_whatever_a_driver_says_inference_goes_on(gpu, lease, error):
    def fail(_frequency_hz):
        raise error

    gpu.set_hz = fail
    assert lease.set({"gpu": 300}) == ()
    assert (lease.failed_count, lease.observe_only) == (1, False)
    assert lease.switch_count == 0


def test_a_clock_that_cannot_be_read_is_left_out_until_it_was_set(gpu, lease):
    read = gpu.read_hz

    def fail():
        raise ClockBusy("offline")

    gpu.read_hz = fail
    assert lease.read_clocks() == {}
    gpu.read_hz = read
    lease.set({"gpu": 300})
    gpu.read_hz = fail
    assert lease.read_clocks() == {"gpu": 300}
    gpu.read_hz = read
