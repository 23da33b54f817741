"""How much may be received at the same time, and how long a message may take to come.

gRPC reads a message as a whole before anybody sees how long it is. So room for the longest is kept free before one is
read, and given back but for its real size once it is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Final

from edgeexit.errors import DeadlinePassed, MalformedMessage, TooLarge

SMALL_BYTES: Final = 65_536
"""Of messages that hold no tensors."""


class Intake:
    """Reads messages, within the room that there is for all of them.

    Args:
        each_bytes: Of one message.
        all_bytes: Of all messages of requests that have not been answered.
        read_s: That one may take to come.
    """

    def __init__(self, *, each_bytes: int, all_bytes: int, read_s: float) -> None:
        self._each_bytes = each_bytes
        self._free_bytes = max(all_bytes, each_bytes)
        self._read_s = read_s
        self._waiting: deque[asyncio.Future[None]] = deque()

    @contextlib.asynccontextmanager
    async def message(self, read: Callable[[], Awaitable[object]], *, small: bool) -> AsyncIterator[bytes]:
        """Read a request's one message; there is room for it until the end of the with statement.

        Args:
            read: Returns it, or something that is no message if there is none.
            small: True if it may have `SMALL_BYTES` alone.

        Raises:
            MalformedMessage: If there is none.
            TooLarge: If it is not small.
            DeadlinePassed: If it takes too long to come.
        """
        held = self._each_bytes
        await self._take(held)
        try:
            with _within(self._read_s):
                data = await read()
            if not isinstance(data, bytes):
                raise MalformedMessage("the request has no message")
            self._give(held - len(data))
            held = len(data)
            if small and held > SMALL_BYTES:
                raise TooLarge(f"the message has {held} bytes, {SMALL_BYTES} are allowed for this method")
            yield data
        finally:
            self._give(held)

    async def _take(self, count: int) -> None:
        """Take room, whoever came first first."""
        while self._free_bytes < count:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._pass_on()  # it may have been this one's turn
                raise
        self._free_bytes -= count
        self._pass_on()

    def _give(self, count: int) -> None:
        self._free_bytes += count
        self._pass_on()

    def _pass_on(self) -> None:
        """Let the next one try if there is room for it."""
        if self._free_bytes >= self._each_bytes:
            self._next()

    def _next(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return


@contextlib.contextmanager
def _within(limit_s: float) -> Iterator[None]:
    """Cancel what the present task waits for when its time is over."""
    task, late = asyncio.current_task(), False

    def end() -> None:
        nonlocal late
        late = True
        if task is not None:
            task.cancel()

    timer = asyncio.get_running_loop().call_later(limit_s, end)
    try:
        yield
    except asyncio.CancelledError:
        if not late:
            raise
        if sys.version_info >= (3, 11) and task is not None:
            task.uncancel()
        raise DeadlinePassed(f"the message did not come within {limit_s:g} s") from None
    finally:
        timer.cancel()
