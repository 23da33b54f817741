"""Runs in a guest: each part in turn, and what it returned into /job/results.json."""

import importlib
import json
import time
import traceback
from pathlib import Path

JOB = Path("/job")


def main():
    results = {}
    for name, (module, arguments) in json.loads((JOB / "parts.json").read_text()).items():
        start_s = time.monotonic()
        print(f"part {name} starts", flush=True)
        result = {"value": None, "error": None}
        try:
            result["value"] = importlib.import_module(f"board.{module}").main(**arguments)
        except Exception:  # it is the host that raises it
            result["error"] = traceback.format_exc()
        result["elapsed_s"] = time.monotonic() - start_s
        print(f"part {name} took {result['elapsed_s']:.1f} s", flush=True)
        results[name] = result
        beside = JOB / "results.json.new"
        beside.write_text(json.dumps(results))
        beside.replace(JOB / "results.json")


if __name__ == "__main__":
    main()
