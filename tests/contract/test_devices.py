import pytest

from edgeexit.device import Lease, open_device
from edgeexit.protocols import Applied
from edgeexit.testing.devices import check_clock_domain, check_device


@pytest.mark.parametrize("name", ["host", "simulated:jetson-tx2"])
def test_our_boards_keep_the_contract(name):
    check_device(open_device(name))


def test_a_scaled_simulated_board_keeps_the_contract():
    check_device(open_device("simulated:jetson-tx2", work_scale=2000.0))


def test_the_check_of_a_domain_leaves_it_as_it_was():
    board = open_device("simulated:jetson-tx2")
    board.domains["gpu"].set_hz(522_750_000)
    check_clock_domain(board.domains["gpu"])
    assert board.domains["gpu"].read_hz() == 522_750_000


class Domain:
    """A domain that breaks the contract in one way."""

    name = "gpu"
    operating_points_hz = (100, 200)
    knobs = ()

    def __init__(self, **wrong):
        self.hz = 100
        self.answer = lambda hz: Applied(hz, self.hz, "read back", 0.0)
        self.round = lambda hz: 200 if hz > 100 else 100
        vars(self).update(wrong)

    def read_hz(self):
        return self.hz

    def set_hz(self, frequency_hz):
        self.hz = self.round(frequency_hz)
        return self.answer(frequency_hz)


def test_a_right_domain_passes():
    check_clock_domain(Domain())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": ""}, "name is a text"),
        ({"operating_points_hz": ()}, "no tuple of operating points"),
        ({"operating_points_hz": (200, 100)}, "do not ascend"),
        ({"operating_points_hz": (1e8, 2e8)}, "frequencies are int"),
        ({"answer": lambda hz: None}, "not Applied"),
        ({"answer": lambda hz: Applied(hz, 7, "", 0.0)}, "reads 100 Hz"),
        ({"answer": lambda hz: Applied(0, hz, "read back", 0.0)}, "asked for 100 Hz"),
        ({"answer": lambda hz: Applied(hz, hz, "", 0.0)}, "not complete"),
        ({"round": lambda hz: 100}, "did not take 200 Hz|reads 100 Hz"),
        ({"round": lambda hz: hz}, "not next to|above its highest|reads"),
    ],
)
def test_a_wrong_domain_is_found(wrong, message):
    domain = Domain(**wrong)
    if "round" in wrong:
        domain.answer = lambda hz: Applied(hz, domain.hz, "read back", 0.0)
    with pytest.raises(AssertionError, match=message):
        check_clock_domain(domain)


def board(**wrong):
    """A simulated board with one part of it replaced."""
    device = open_device("simulated:jetson-tx2")
    parts = {name: staticmethod(part) if callable(part) else part for name, part in wrong.items()}
    device.__class__ = type("Board", (type(device),), parts)
    return device


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": ""}, "name is a text"),
        ({"domains": {"cpu": Domain()}}, "listed as 'cpu'"),
        ({"simulated": False}, "simulated is False, energy is simulated"),
        ({"work_done": lambda macs: None}, "table"),
        ({"modelled_costs": lambda w: open_device("simulated:jetson-tx2", work_scale=2.0).modelled_costs(w)}, "table"),
    ],
)
def test_a_wrong_board_is_found(wrong, message):
    with pytest.raises(AssertionError, match=message):
        check_device(board(**wrong))


def test_what_is_no_board_is_found():
    with pytest.raises(AssertionError, match="lacks a part"):
        check_device(object())


def test_a_lease_drives_any_domain_that_keeps_the_contract():
    domain = Domain()
    with Lease({"gpu": domain}) as lease:
        assert lease.set({"gpu": 200})[0].effective_hz == 200
    assert domain.hz == 100
