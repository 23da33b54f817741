"""The commands of docs/serve.md that need neither root nor a board, run as they stand there, on another port."""

import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "serve.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


class Reader:
    """Somebody who does all that the guide says, in a folder of their own."""

    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self.printed = {}
        self._servers = []
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._environment = {**os.environ, "PATH": path, "EDGEEXIT_PORT": str(self.port)}

    def do(self, command):
        there = command.replace("8000", str(self.port))
        if re.match(r"edgeexit serve (?!.*--check)", there):
            self._serve(there)
            return
        done = subprocess.run(
            ["bash", "-ec", there],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60.0,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        self.printed[command] = done.stdout

    def _serve(self, command):
        self._servers.append(subprocess.Popen(shlex.split(command), cwd=self.folder, env=self._environment))
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v2/health/ready", timeout=10.0):
                    return
            except urllib.error.URLError:
                assert self._servers[-1].poll() is None
                time.sleep(0.05)
        raise AssertionError("the server is not ready after 30 s")

    def end(self):
        for server in self._servers:
            server.terminate()
            assert server.wait(30.0) == 0


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    reader = Reader(tmp_path_factory.mktemp("reader"))
    try:
        for language, block in re.findall(
            r"^```(sh|python)\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        ):
            if language == "sh":
                for command in block.splitlines():
                    reader.do(command)
            elif "with " not in block:
                (reader.folder / "block.py").write_text(block)
                reader.do("python block.py")
        yield reader
    finally:
        reader.end()


def test_every_command_of_the_guide_works(reader):
    assert len(reader.printed) == 10


def test_the_first_requests_are_answered_rightly_over_both_sockets(reader):
    tcp, unix = (text for command, text in reader.printed.items() if "-d @request.json" in command)
    labels = [re.search(r'"name":"label".*?"data":\[(\d+)\]', text)[1] for text in (tcp, unix)]
    assert labels == ["9", "9"]


def test_what_would_be_installed_is_printed(reader):
    assert "# file /etc/systemd/system/edgeexit-server.service" in reader.printed["edgeexit install-service --dry-run"]


def test_the_guide_s_clients_work(reader, monkeypatch):
    pytest.importorskip("tritonclient.http")
    monkeypatch.chdir(reader.folder)
    image, nvidia, own = blocks("python")
    names = {}
    for block in (image, nvidia):
        exec(compile(block.replace("8000", str(reader.port)), str(GUIDE), "exec"), names)
    assert names["answer"].as_numpy("label").tolist() == [9]
    exec(compile(own.replace("8000", str(reader.port)), str(GUIDE), "exec"), names)
    assert names["answer"].labels.tolist() == [9]


def test_the_guide_s_configuration_can_be_served(reader):
    (text,) = blocks("toml")
    (reader.folder / "serve.toml").write_text(text)
    command = "edgeexit serve --config serve.toml --check"
    reader.do(command)
    assert "fashion version 1: " in reader.printed[command]
    assert "limits.body_bytes = 8000000  (serve.toml)" in reader.printed[command]
