"""`edgeexit top` against a server that answers with a made-up state, printed and in a terminal of its own."""

import json
import os
import pty
import select
import subprocess
import sys
import termios
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest
from made_up_daemon import MODELS, answer, result, status

from edgeexit.cli import main
from edgeexit.daemon.contracts import InferOptions
from edgeexit.daemon.seeing.minute import LastMinute
from edgeexit.daemon.seeing.state import state_of
from edgeexit.errors import DeadlinePassed, Refused


def made_up_state(**changes):
    minute = LastMinute(lambda: 100.0)
    for exit_index in (0, 0, 0, 2):
        minute.answered(answer(result(exit_index)), InferOptions())
    minute.refused("m", Refused("full", 1.0))
    minute.refused("m", DeadlinePassed("late"))
    return state_of(SimpleNamespace(status=lambda: status(**changes), models=lambda: MODELS), minute)


@contextmanager
def daemon_that_says(state, status_code=200):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps(state).encode()
            self.send_response(status_code)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def printed(capsys, **changes):
    with daemon_that_says(made_up_state(**changes)) as url:
        assert main(["top", "--url", url, "--once"]) == 0
    return capsys.readouterr().out


def test_it_prints_what_the_daemon_says(capsys):
    text = printed(capsys)
    assert "board, up 9 s; governor plan, default deadline 50 ms" in text
    assert "51.5 °C, 3.25 W, throttled: under-voltage, load 25%" in text
    assert "4 answered (4.0/s), 2 not (1 refused, 1 deadline passed), queue 2 of 64" in text
    assert "energy       500 mJ a sample (counter)" in text
    assert "cpu        ##########.............. 0 of 0 MHz" in text
    assert "exit 0     ##################...... 75.0%" in text
    assert "! m version 1 is ready; its exits have drifted from calibration" in text
    assert "exit 1       10 ms  cpu 0 MHz  why" in text


def test_what_could_steer_the_terminal_is_not_printed(capsys):
    text = printed(capsys, device="a\x1b]0;title\x07board\n")
    assert text.startswith("a?]0;title?board?, up")


def test_without_sensors_and_clocks_it_says_so(capsys):
    conditions = status().conditions._replace(temperature_c=None, power_w=None, throttled=None, cpu_load=None)
    text = printed(capsys, conditions=conditions, clocks={}, clocks_set_by="nobody", clocks_reason="no clockd")
    assert "no sensors" in text
    assert "clocks       set by nobody: no clockd" in text


def test_on_a_simulated_board_the_daemon_itself_sets_clocks(capsys):
    assert "clocks       set by the daemon itself, as on any simulated board" in printed(
        capsys, clocks_set_by="in process"
    )


def test_a_daemon_that_is_not_there_is_an_error_of_one_line(capsys):
    with daemon_that_says({}) as url:
        pass
    assert main(["top", "--url", url, "--once"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"edgeexit: error: no daemon answers at {url}")


def test_where_a_token_is_needed_it_says_how_to_give_it(capsys):
    with daemon_that_says({"error": "the token is wrong"}, 401) as url:
        assert main(["top", "--url", url, "--once"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("the token is wrong; --token-file FILE names the file that holds it")


def test_two_places_at_once_are_refused(capsys):
    assert main(["top", "--url", "http://127.0.0.1:1", "--unix", "/x"]) == 2
    assert "give --url or --unix, not both" in capsys.readouterr().err


class Terminal:
    """A terminal with `edgeexit top` in it."""

    def __init__(self, url, rows, columns):
        self.ours, theirs = pty.openpty()
        self.before = termios.tcgetattr(theirs)
        command = [sys.executable, "-m", "edgeexit", "top", "--url", url, "--every", "0.1"]
        environment = {**os.environ, "TERM": "xterm", "LINES": str(rows), "COLUMNS": str(columns)}
        self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
        self.theirs = theirs
        self.shown = ""

    def wait_for(self, text):
        while text not in self.shown:
            poll = select.poll()  # select() takes no descriptor above 1023
            poll.register(self.ours, select.POLLIN)
            ready = poll.poll(30_000)
            assert ready, f"{text!r} never came: {self.shown!r}"
            self.shown += os.read(self.ours, 65536).decode()

    def press(self, key):
        os.write(self.ours, key.encode())

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def terminal():
    opened = []

    def open_terminal(url, rows=40, columns=100):
        opened.append(Terminal(url, rows, columns))
        return opened[-1]

    yield open_terminal
    for each in opened:
        each.close()


def test_the_view_ends_with_q_and_leaves_the_terminal_as_it_was(terminal):
    with daemon_that_says(made_up_state()) as url:
        view = terminal(url)
        view.wait_for("q ends this")
        view.press("q")
        assert view.process.wait(30.0) == 0
    view.wait_for("\x1b[?1049l")
    assert termios.tcgetattr(view.theirs) == view.before


def test_no_line_is_longer_than_the_terminal_and_no_more_lines_than_it_has(terminal):
    with daemon_that_says(made_up_state()) as url:
        view = terminal(url, rows=6, columns=30)
        view.wait_for("\x1b[J")
        screen = view.shown.partition("\x1b[H")[2].partition("\x1b[J")[0].replace("\x1b[K", "").replace("\r", "")
        lines = screen.split("\n")
        assert len(lines) == 6
        assert lines[-1] == "q ends this"
        assert max(map(len, lines)) == 30


def test_the_view_goes_on_while_there_is_no_daemon(terminal):
    with daemon_that_says({}) as url:
        pass
    view = terminal(url)
    view.wait_for("trying again every 0.1 s")
    view.press("q")
    assert view.process.wait(30.0) == 0
