"""A session's side of shadow runs: hands over what has exited, and says whose turn it is."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from edgeexit.errors import InputError
from edgeexit.runtime.idling import IdleWorker, Turn
from edgeexit.runtime.shadow import Shadow, ShadowReport, ShadowRuns, as_shadow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgeexit.protocols import Device
    from edgeexit.runtime.batch import TimedAnswer
    from edgeexit.runtime.clocking import Clocking
    from edgeexit.runtime.engine import Engine, Program
    from edgeexit.runtime.loop import Answer
    from edgeexit.runtime.settings import Setting


class Shadowing:
    """Shadow runs of one session, or none.

    Args:
        shadow: Share of samples or options; None checks none.
        engine: The sessions of the bundle's pieces.
        device: The board.
        clocking: The governor's side.

    Attributes:
        turn: An inference takes it for as long as it runs.

    Raises:
        OptionError: If an option is out of its range.
    """

    def __init__(self, shadow: Shadow | float | None, engine: Engine, device: Device, clocking: Clocking) -> None:
        self.turn = Turn()
        self._clock = device.clock
        self._runs: ShadowRuns | None = None
        self._worker: IdleWorker | None = None
        if shadow is None:
            return
        options = as_shadow(shadow)
        self._runs = ShadowRuns(engine, device, clocking, options)
        if not device.simulated if options.background is None else options.background:
            self._worker = IdleWorker(self._runs, self.turn, device.clock, options.quiet_s)

    def answered(
        self, setting: Setting, answer: Answer, program: Program, end_s: float, next_request_s: float | None
    ) -> None:
        """Note the answer for one sample, whose tensors are in `program`."""
        if self._runs is not None:
            self._runs.exited(answer, program, setting.early)
            self._ended(end_s, next_request_s)

    def answered_batch(
        self,
        setting: Setting,
        timed: Sequence[TimedAnswer],
        inputs: Mapping[str, NDArray[Any]],
        end_s: float,
        next_request_s: float | None,
    ) -> None:
        """Note the answers for a batch, in the order of the inputs."""
        if self._runs is not None:
            for row, one in enumerate(timed):
                self._runs.exited_in_batch(one.answer, inputs, row, setting.early)
            self._ended(end_s, next_request_s)

    def idle(self, for_s: float | None) -> int:
        """Run what waits, for at most so long; return how many samples were checked."""
        if for_s is not None and not for_s >= 0.0:
            raise InputError(f"for_s must be seconds, 0 or more, or None for as long as it takes, not {for_s!r}")
        if self._runs is None:
            return 0
        with self.turn:
            return self._runs.work(inf if for_s is None else self._clock.now_s() + for_s)

    def report(self) -> ShadowReport | None:
        """Return what was found so far; None if there are no shadow runs."""
        if self._runs is None:
            return None
        with self.turn:
            return self._runs.report()

    def close(self) -> None:
        """Stop the thread, if there is one; what waits is not checked any more."""
        if self._worker is not None:
            self._worker.close()

    def _ended(self, end_s: float, next_request_s: float | None) -> None:
        self.turn.ended_s, self.turn.next_request_s = end_s, next_request_s
        if self._worker is not None and self._runs is not None and self._runs.waiting:
            self._worker.wake()
