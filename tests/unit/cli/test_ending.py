import os
import signal
import subprocess
import sys
import threading

import pytest
from clock_machines import plain_limits, plain_policy

from edgeexit.cli import main
from edgeexit.cli.ending import EndedBySignal, orderly_end

ENDINGS = [signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def handlers():
    """The handlers of these signals before the test, put back after it."""
    before = {number: signal.getsignal(number) for number in ENDINGS}
    for number in ENDINGS:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def end_by(number):
    with orderly_end():
        os.kill(os.getpid(), number)
        signal.pause()


@pytest.mark.parametrize("number", ENDINGS)
def test_a_signal_that_ends_programs_comes_as_an_exception(number):
    with pytest.raises(EndedBySignal, match=number.name) as caught:
        end_by(number)
    assert caught.value.exit_code == 128 + number
    assert not isinstance(caught.value, Exception)


@pytest.mark.parametrize("number", ENDINGS)
def test_afterwards_the_signals_do_what_they_did_before(number):
    with pytest.raises(EndedBySignal):
        end_by(number)
    assert [signal.getsignal(each) for each in ENDINGS] == [signal.SIG_DFL, signal.SIG_DFL]


def test_without_a_signal_nothing_is_changed():
    with orderly_end():
        pass
    assert [signal.getsignal(each) for each in ENDINGS] == [signal.SIG_DFL, signal.SIG_DFL]


def test_a_second_signal_does_not_interrupt_the_giving_back():
    given_back = []

    def work():
        with orderly_end():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                signal.pause()
            finally:
                for number in ENDINGS:
                    os.kill(os.getpid(), number)
                given_back.append(True)

    with pytest.raises(EndedBySignal, match="SIGTERM"):
        work()
    assert given_back == [True]


def test_a_signal_that_is_ignored_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with orderly_end():
        os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_handler_of_somebody_else_is_left_alone():
    seen = []
    signal.signal(signal.SIGTERM, lambda number, _frame: seen.append(number))
    with orderly_end():
        os.kill(os.getpid(), signal.SIGTERM)
    assert seen == [signal.SIGTERM]


def test_a_handler_that_python_did_not_install_is_left_alone(monkeypatch):
    monkeypatch.setattr(signal, "getsignal", lambda _number: None)
    with orderly_end():
        pass


def test_in_another_thread_than_the_main_one_it_does_nothing():
    seen = []

    def work():
        with orderly_end():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_command_that_is_ended_exits_as_a_shell_reports_it(monkeypatch, number, code):
    monkeypatch.setattr("edgeexit.cli._run", lambda _arguments: (os.kill(os.getpid(), number), signal.pause()))
    assert main(["restore"]) == code


SCRIPT = """
import sys
from pathlib import Path
from edgeexit.cli.ending import orderly_end
from edgeexit.device.cpufreq import find_cpufreq
from edgeexit.device.journal import FileJournal
from edgeexit.device.knobs import open_knob
from edgeexit.device.lease import Lease
from edgeexit.device.sysfs import Tree
tree = Tree(Path(sys.argv[1]))
journal = FileJournal(lambda key: open_knob(tree, key), Path(sys.argv[2]))
with orderly_end(), Lease({domain.name: domain for domain in find_cpufreq(tree)}, journal=journal) as lease:
    lease.set({"cpu": 1_200_000_000})
    print("set", flush=True)
    sys.stdin.read(1)
"""


@pytest.mark.parametrize("number", [*ENDINGS, signal.SIGINT])
def test_a_process_that_is_told_to_end_gives_its_clocks_back_on_the_way_out(tmp_path, number):
    plain_policy(tmp_path / "machine")
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "machine"), str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout.readline() == b"set\n"
    assert plain_limits(tmp_path / "machine") == ("1200000", "1200000")
    process.send_signal(number)
    process.communicate()
    assert plain_limits(tmp_path / "machine") == ("1000000", "1900000")
    assert not (tmp_path / "run/lease.json").exists()
