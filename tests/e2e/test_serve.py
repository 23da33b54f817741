"""`edgeexit serve` as users and service managers meet it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from serving_process import BOARD, serving

from edgeexit import reference

REFERENCE = Path(reference.__file__).parent
TOKEN = "0123456789abcdef"
LOAD = "/v2/repository/models/fashion-resnet/load"


def image_request():
    with np.load(REFERENCE / "fashion-images.npz") as images:
        image = images[images.files[0]][0].astype("float32").reshape(-1)
    return {"inputs": [{"name": "image", "shape": [1, 1, 28, 28], "datatype": "FP32", "data": image.tolist()}]}


def infer(daemon, **rest):
    status, _, answer = daemon.ask("POST", "/v2/models/fashion-resnet/infer", image_request(), **rest)
    assert status == 200, answer
    return {output["name"]: output["data"] for output in answer["outputs"]}


@pytest.fixture(scope="module")
def token_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("secret") / "token"
    file.write_text(TOKEN + "\n")
    file.chmod(0o600)
    return file


@pytest.fixture(scope="module")
def daemon(token_file, tmp_path_factory):
    unix = tmp_path_factory.mktemp("run") / "s"
    with serving("fashion-resnet", "--token-file", str(token_file), "--unix", str(unix)) as running:
        running.unix = unix
        yield running


def test_it_answers_on_tcp_and_on_the_unix_socket_alike(daemon):
    assert infer(daemon)["label"] == infer(daemon, unix=daemon.unix)["label"]


def test_health_and_metadata_are_there(daemon):
    assert daemon.ask("GET", "/v2/health/ready")[0] == 200
    assert daemon.ask("GET", "/v2/models/fashion-resnet")[2]["name"] == "fashion-resnet"


def test_no_answer_tells_what_serves_it(daemon):
    names = {name.lower() for name in daemon.ask("GET", "/v2")[1]}
    assert not names & {"server", "x-powered-by", "via"}


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("GET", "/v2/models/no", 404)])
def test_what_is_not_there_is_said_in_json(daemon, method, path, status):
    found, _, answer = daemon.ask(method, path)
    assert found == status
    assert isinstance(answer["error"], str)


def test_a_method_that_a_path_does_not_take_is_said_in_json(daemon):
    status, headers, answer = daemon.ask("GET", "/v2/models/fashion-resnet/infer")
    assert (status, headers["allow"]) == (405, "POST")
    assert isinstance(answer["error"], str)


def test_loading_needs_the_token(daemon):
    assert daemon.ask("POST", LOAD)[0] == 401
    assert daemon.ask("POST", LOAD, headers={"Authorization": "Bearer " + TOKEN[::-1]})[0] == 401
    assert daemon.ask("POST", LOAD, headers={"Authorization": f"Bearer {TOKEN}"})[0] == 200


def test_loading_over_the_unix_socket_needs_none(daemon):
    assert daemon.ask("POST", LOAD, unix=daemon.unix)[0] == 200


def test_a_page_of_another_site_cannot_use_it(daemon):
    assert daemon.ask("POST", LOAD, headers={"Authorization": f"Bearer {TOKEN}", "Origin": "http://a.b"})[0] == 403
    assert daemon.ask("GET", "/v2", headers={"Host": "rebound.example"})[0] == 403


def test_a_body_that_is_too_large_is_refused_and_the_connection_goes_on(daemon):
    status, _, answer = daemon.ask("POST", "/v2/models/fashion-resnet/infer", body=b" " * (32 * 2**20 + 1))
    assert status == 413
    assert "limits.body_bytes" in answer["error"]
    infer(daemon)


def test_a_signal_ends_it_and_the_unix_socket_goes_away(tmp_path):
    unix = tmp_path / "s"
    with serving("fashion-resnet", "--unix", str(unix), "--no-tcp", tcp=False) as daemon:
        infer(daemon, unix=unix)
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.end() == 0
    assert not unix.exists()
    assert daemon.lines[-2].endswith("info: stopped")


def test_sighup_takes_a_new_bundle_and_keeps_the_old_one_where_the_new_is_damaged(tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(REFERENCE / "fashion-resnet", folder)
    with serving(f"fashion-resnet={folder}", "--set", "watch_s=none") as daemon:
        before = infer(daemon)
        (folder / "manifest.json").write_text("{}")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("warning: fashion-resnet version 1: ")
        assert infer(daemon) == before
        shutil.copy(REFERENCE / "fashion-resnet" / "manifest.json", folder)
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("all bundles were loaded anew")
        assert infer(daemon) == before


def test_a_request_is_a_line_of_json_at_debug_level(tmp_path):
    with serving("fashion-resnet", "--log-level", "debug", "--log-format", "json", tcp=False) as daemon:
        port = int(json.loads(daemon.wait_for("listening on http"))["message"].rpartition(":")[2])
        daemon.port = port
        daemon.ask("GET", "/v2/health/live")
        line = json.loads(daemon.wait_for('"path"'))
    assert (line["method"], line["path"], line["status"]) == ("GET", "/v2/health/live", 200)


def test_systemd_is_told_when_it_is_ready_and_when_it_stops(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(30.0)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000000"}
        with serving("fashion-resnet", environment=environment):
            assert systemd.recv(200).startswith(b"READY=1\n")
            assert systemd.recv(200) == b"WATCHDOG=1"
        assert systemd.recv(200) == b"STOPPING=1"


def edgeexit(*arguments, **environment):
    command = [sys.executable, "-m", "edgeexit", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60.0, env={**os.environ, **environment}
    )


def test_check_shows_where_each_setting_is_from(tmp_path):
    file = tmp_path / "serve.toml"
    file.write_text('bundles = ["fashion-resnet"]\nport = 1\n')
    done = edgeexit("serve", "--config", str(file), "--threads", "2", "--check", EDGEEXIT_QUEUE_LIMIT="9")
    assert done.returncode == 0
    assert f"port = 1  ({file})" in done.stdout
    assert "threads = 2  (flag --threads)" in done.stdout
    assert "queue_limit = 9  (environment EDGEEXIT_QUEUE_LIMIT)" in done.stdout
    assert "fashion-resnet version 1: " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["fashion-resnet", "--port", "x"], 2, "flag --port: port = 'x'"),
        (["fashion-resnet", "--set", "prot=1"], 2, "did you mean 'port'?"),
        (["fashion-resnet", "--governor", "no-such"], 2, "no-such"),
        (["fashion-resnet", "--exit-rule", "no-such"], 2, "no-such"),
        (["fashion-resnet", "--host", "0.0.0.0"], 2, "there is no token"),
        (["no-such-bundle"], 4, "no-such-bundle"),
        (["fashion-resnet", "--device", "no-such"], 5, "no-such"),
        ([], 2, "there is nothing to serve"),
    ],
)
def test_check_refuses_what_could_not_run(arguments, code, said):
    done = edgeexit("serve", *arguments, "--check")
    assert done.returncode == code
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_check_reads_cost_tables_too(tmp_path):
    file = tmp_path / "serve.toml"
    file.write_text('[[bundles]]\nname = "net"\npath = "fashion-resnet"\ncost_file = "costs.json"\n')
    done = edgeexit("serve", "--config", str(file), "--check")
    assert done.returncode != 0
    assert str(tmp_path / "costs.json") in done.stderr


def test_it_does_not_start_for_other_machines_without_a_token():
    done = edgeexit("serve", "fashion-resnet", *BOARD, "--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 2
    assert "0.0.0.0 can be reached from other machines, and there is no token" in done.stderr


def test_a_port_that_is_taken_is_said_in_a_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = edgeexit("serve", "fashion-resnet", *BOARD, "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "Address already in use" in done.stderr.splitlines()[-1]


def test_the_dashboard_comes_with_a_policy_that_keeps_other_sites_out(daemon):
    status, headers, _ = daemon.ask("GET", "/")
    assert status == 200
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")


def test_the_governor_is_changed_with_the_token_alone(daemon):
    asked = {"governor": "performance"}
    assert daemon.ask("POST", "/edgeexit/v1/settings", asked)[0] == 401
    status, _, state = daemon.ask("POST", "/edgeexit/v1/settings", asked, {"Authorization": f"Bearer {TOKEN}"})
    assert (status, state["governor"]) == (200, "performance")
