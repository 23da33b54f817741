"""The fuzzer of the protocol, for a short while: the daemon answers whatever it is asked."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "fuzz_protocol.py"


def test_malformed_requests_are_answered_and_never_with_a_5xx():
    done = subprocess.run(
        [sys.executable, SCRIPT, "--requests", "2000", "--seed", "6"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("0 not answered as they should be\n")
