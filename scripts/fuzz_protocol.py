"""Ask the daemon's application a million malformed things, in process, and see that it never fails.

Usage:
    python scripts/fuzz_protocol.py [--requests 1000000] [--seed 0] [--only INDEX]

Whatever it is asked, the daemon answers within two seconds, with the protocol's error where something is wrong, and
with no 5xx, as everything that is wrong here is the client's fault. Each request follows from seed and index alone, so
that ``--only`` repeats one. Exits with 1 if a request was not answered so.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import json
import random
import sys
import time
import warnings
from collections import Counter
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote

from fuzz_requests import LIMITS, MODEL, FuzzRequest, draw

from edgeexit.daemon.access import UNIX_KEY, Access
from edgeexit.daemon.config import ServeConfig
from edgeexit.daemon.http.app import make_app
from edgeexit.daemon.service import DaemonService
from edgeexit.daemon.settings import ServedBundle, ServiceSettings
from edgeexit.errors import ExitsDrifted
from edgeexit.open_inference import decode_response
from edgeexit.open_inference.framing import HEADER

if TYPE_CHECKING:
    from edgeexit.daemon.http.refusal import App

SLOW_S: Final = 2.0
HANGS_S: Final = 60
_WATCHED_EVERY: Final = 1000
_HUNG_S: Final = 600
"""So many requests take no longer, unless one keeps the event loop to itself for ever."""
_SHOWN: Final = 20
_FAULT: Final = 500
_OK: Final = 200


class Seen(NamedTuple):
    """What became of a request."""

    status: int | None
    """None if the client left and nothing was said."""
    wrong: str | None
    """What is wrong about it."""


class Exchange:
    """One request to an application.

    Args:
        request: What is asked.
    """

    def __init__(self, request: FuzzRequest) -> None:
        self._request = request
        self._left = list(request.chunks[: -1 if request.leaves else None])
        self.started: MutableMapping[str, Any] | None = None
        self.body = b""

    async def receive(self) -> MutableMapping[str, Any]:
        """Give the body piece by piece; then the client leaves, or waits for its answer."""
        if self._left:
            chunk = self._left.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(self._left) or self._request.leaves}
        if not self._request.leaves:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Take the answer."""
        if message["type"] == "http.response.start":
            self.started = message
        else:
            self.body += message.get("body", b"")

    def scope(self) -> dict[str, Any]:
        """Return what an ASGI server would tell of it."""
        path, _, query = self._request.path.partition("?")
        return {
            "type": "http",
            "http_version": "1.1",
            "method": self._request.method,
            "path": unquote(path),
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(b"host", b"127.0.0.1"), *self._request.headers],
            UNIX_KEY: True,  # what changes state is allowed, too
        }


async def ask(app: App, request: FuzzRequest) -> Seen:
    """Ask, and judge the answer."""
    exchange = Exchange(request)
    start_s = time.monotonic()
    try:
        await asyncio.wait_for(app(exchange.scope(), exchange.receive, exchange.send), HANGS_S)
    except Exception as error:
        return Seen(None, f"{type(error).__name__}: {error}")
    taken_s = time.monotonic() - start_s
    if exchange.started is None:
        return Seen(None, None if request.leaves else "no answer")
    status: int = exchange.started["status"]
    wrong = f"took {taken_s:.1f} s" if taken_s > SLOW_S else _wrong(request, status, exchange)
    return Seen(status, wrong)


def _wrong(request: FuzzRequest, status: int, exchange: Exchange) -> str | None:
    if status >= _FAULT:
        return f"status {status}: {exchange.body[:300]!r}"
    headers = dict(exchange.started["headers"]) if exchange.started else {}
    if request.method == "HEAD":
        return None
    try:
        if status != _OK:
            (text,) = json.loads(exchange.body).values()
            return None if isinstance(text, str) and text else f"status {status} without a text"
        length = headers.get(HEADER.lower().encode())
        if length is not None and b"content-encoding" not in headers:
            decode_response(exchange.body, int(length))
    except ValueError as error:
        return f"status {status} with a body that is wrong: {error}: {exchange.body[:300]!r}"
    return None


async def fuzz(requests: range, seed: int) -> tuple[Counter[int | None], list[tuple[int, str]]]:
    """Ask for every index, and return how often each status came, and what was wrong by index."""
    statuses: Counter[int | None] = Counter()
    wrong: list[tuple[int, str]] = []
    service = DaemonService(
        [ServedBundle(name=MODEL, path=MODEL)], ServiceSettings(device="simulated:jetson-tx2", clockd_socket=None)
    )
    await service.start()
    app = make_app(service, ServeConfig(limits=LIMITS), Access(token=None))
    faulthandler.dump_traceback_later(_HUNG_S, exit=True)
    try:
        for index in requests:
            if index % _WATCHED_EVERY == 0:
                faulthandler.dump_traceback_later(_HUNG_S, exit=True)
            seen = await ask(app, draw(random.Random(f"{seed} {index}")))
            statuses[seen.status] += 1
            if seen.wrong is not None:
                wrong.append((index, seen.wrong))
            if not service.model(MODEL).ready:
                await service.load(MODEL)
    finally:
        faulthandler.cancel_dump_traceback_later()
        await service.close()
    return statuses, wrong


def main() -> int:
    """Parse the command line, fuzz, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="index of one request to repeat and show")
    told = parser.parse_args()
    warnings.simplefilter("ignore", ExitsDrifted)
    if told.only is not None:
        print(draw(random.Random(f"{told.seed} {told.only}")))
    indexes = range(told.requests) if told.only is None else range(told.only, told.only + 1)
    start_s = time.monotonic()
    statuses, wrong = asyncio.run(fuzz(indexes, told.seed))
    print(f"{len(indexes)} requests with seed {told.seed} in {time.monotonic() - start_s:.0f} s")
    for status, count in sorted(statuses.items(), key=str):
        print(f"{'no answer, the client had left' if status is None else status}: {count}")
    for index, text in wrong[:_SHOWN]:
        print(f"--only {index}: {text}")
    print(f"{len(wrong)} not answered as they should be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
