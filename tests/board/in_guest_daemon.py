"""Runs in a guest: clockd as root and the daemon as an ordinary user, with a reference bundle and real clocks."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import time

from board.clock_files import AT_BOOT, GPU_AT_BOOT, differences, read_account, read_files, set_state
from board.in_guest_answers import USER
from board.in_guest_clockd import SOCKET, become, end, restored, start, start_clockd, wait
from board.in_guest_clocks import find_domains
from board.in_guest_inference import read_images

import edgeexit
from edgeexit.cli import main as main_of_cli
from edgeexit.device.sysfs import Tree
from edgeexit.open_inference import decode_response, encode_request

DAEMON = "/tmp/edgeexit-daemon.sock"
MODEL = "fashion-resnet"
LENGTH = "inference-header-content-length"
PHASES = ("powersave", "performance", "powersave", "performance")
"""Governors, one after the other; the second and the third are compared.

devfreq adds a clock's time to its account when the clock is left, unless it polls: so both accounts are read before a
phase and after it, at another clock each time.
"""


def main(count, phase_s):
    """Answer `count` images, then go on answering for `phase_s` under each governor; compare accounts of the clocks."""
    tree = Tree()
    set_state(tree, AT_BOOT, GPU_AT_BOOT)
    before = read_files(tree)
    start_s = time.monotonic()
    clockd, daemon = start_clockd(), start(serve)
    try:
        ready = wait(lambda: state() is not None and state()["clocks_set_by"] == "clockd")
        ready_s, last = time.monotonic() - start_s, state()
        images = read_images(edgeexit.load_bundle(MODEL))[:count]
        answers = [infer(image) for image in images]
        accounts = [phase(tree, governor, images[0], phase_s) for governor in PHASES]
        status = end(daemon, signal.SIGTERM)
        restored_s = restored(tree, before)
        clockd_status = end(clockd, signal.SIGTERM)
    finally:
        for child in (clockd, daemon):
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                end(child, signal.SIGKILL)
    return {
        "ready": ready is not None,
        "ready_s": ready_s,
        "state": last,
        "answers": answers,
        "windows": [
            compared(governor, *accounts[n - 1 : n + 2 : 2]) for n, governor in ((1, PHASES[1]), (2, PHASES[2]))
        ],
        "held": [account["held"] for account in accounts],
        "exit_statuses": [status, clockd_status],
        "restored_s": restored_s,
        "not_restored": differences(before, read_files(tree)),
    }


def serve():
    become(USER)
    os.environ["HOME"] = "/tmp"
    command = ["serve", MODEL, "--no-tcp", "--unix", DAEMON, "--clockd-socket", str(SOCKET), "--device", "host"]
    os._exit(main_of_cli([*command, "--governor", PHASES[0]]))


def phase(tree, governor, image, duration_s):
    """Take a governor, read both accounts of the clocks once it holds them, then answer for a while."""
    ask("POST", "/edgeexit/v1/settings", json.dumps({"governor": governor}).encode())
    infer(image)
    end_of_points = 0 if governor == "powersave" else -1
    held = wait(lambda: all(clock["hz"] == clock["points_hz"][end_of_points] for clock in clocks()))
    account = {"held": held is not None, "kernel": kernel_account(tree, find_domains(tree)), "daemon": daemon_account()}
    start_s = time.monotonic()
    while time.monotonic() - start_s < duration_s:
        infer(image)
        time.sleep(0.1)
    return account


def compared(governor, before, after):
    """Return the seconds at each clock between two accounts."""
    return {"governor": governor} | {who: spent(before[who], after[who]) for who in ("kernel", "daemon")}


def clocks():
    return state()["clocks"].values()


def kernel_account(tree, domains):
    """Return "domain Hz" -> seconds."""
    return {f"{domain.name} {hz}": s for domain in domains for hz, s in read_account(tree, domain)[0].items()}


def daemon_account():
    _, text, _ = ask("GET", "/metrics")
    line = r'^edgeexit_clock_residency_seconds_total\{domain="(\w+)",hertz="(\d+)"\} (\S+)$'
    return {f"{name} {hz}": float(s) for name, hz, s in re.findall(line, text.decode(), re.MULTILINE)}


def spent(before, after):
    return {key: after[key] - before.get(key, 0.0) for key in after}


def infer(image):
    """Return [label, exit index, probabilities] of one image."""
    frame = encode_request({"image": image[None]})
    headers = {LENGTH: str(frame.json_length)}
    status, body, answered = ask("POST", f"/v2/models/{MODEL}/infer", frame.body, headers)
    assert status == 200, body
    outputs = decode_response(body, int(answered[LENGTH])).outputs
    return [int(outputs["label"][0]), int(outputs["exit_index"][0]), outputs["probabilities"][0].tolist()]


def state():
    try:
        status, body, _ = ask("GET", "/edgeexit/v1/state")
    except OSError:
        return None
    return json.loads(body) if status == 200 else None


def ask(method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("localhost", timeout=60.0)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(60.0)
    try:
        connection.sock.connect(DAEMON)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()
