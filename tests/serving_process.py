"""`edgeexit serve` as a process of its own, and requests to it."""

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading

BOARD = ("--device", "simulated:jetson-tx2")


class Serving:
    """A daemon that answers.

    Attributes:
        process: Its process.
        port: Its TCP port; None without one.
        lines: What it has logged so far.
    """

    def __init__(self, process):
        self.process = process
        self.port = None
        self.lines = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self.lines.append("(end)")
            self._news.notify_all()

    def wait_for(self, text, count=1):
        """Wait until so many lines of the log hold `text`; returns the last of them."""
        with self._news:
            self._news.wait_for(lambda: len(self._with(text)) >= count or "(end)" in self.lines, timeout=30.0)
        found = self._with(text)
        assert len(found) >= count, "\n".join(self.lines)
        return found[-1]

    def _with(self, text):
        return [line for line in self.lines if text in line]

    def ask(self, method, path, body=None, headers=None, unix=None):
        """Return status, headers and JSON (or text) of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30.0)
        if unix is not None:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(30.0)
            connection.sock.connect(str(unix))
        try:
            data = json.dumps(body) if isinstance(body, dict) else body
            connection.request(method, path, body=data, headers=headers or {})
            answer = connection.getresponse()
            text = answer.read().decode()
            return answer.status, dict(answer.getheaders()), json.loads(text) if text.startswith(("{", "[")) else text
        finally:
            connection.close()

    def end(self):
        """Wait for its end; returns its exit code."""
        code = self.process.wait(timeout=30.0)
        self._reader.join(30.0)
        return code


@contextlib.contextmanager
def serving(*arguments, tcp=True, environment=None):
    """Run `edgeexit serve` on a simulated board until the end of the with statement."""
    command = [sys.executable, "-m", "edgeexit", "serve", *BOARD, *arguments, *(["--port", "0"] if tcp else [])]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env={**os.environ, **(environment or {})}
    )
    daemon = Serving(process)
    try:
        daemon.wait_for("ready with")
        if tcp:
            daemon.port = int(re.search(r":([0-9]+)$", daemon.wait_for("listening on http"))[1])
        yield daemon
    finally:
        process.terminate()
        daemon.end()
        process.stderr.close()
