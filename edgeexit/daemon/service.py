"""Bundles, queue, engine and clocks as one: what the network side of the daemon talks to."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
import warnings
from collections import deque
from dataclasses import replace
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final

from edgeexit.daemon.clocks import Setter, choose_setter
from edgeexit.daemon.contracts import InferAnswer, InferOptions, ModelView, Recent, Status
from edgeexit.daemon.engine import EngineThread
from edgeexit.daemon.jobs import Job
from edgeexit.daemon.models import Models
from edgeexit.daemon.residency import EVERY_S, Residency
from edgeexit.daemon.slot import Slot, make_governor, open_slot
from edgeexit.device import open_device
from edgeexit.errors import ClocksUnavailable, OptionError, ServeError
from edgeexit.registry import list_governors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from edgeexit.daemon.contracts import Observer
    from edgeexit.daemon.settings import ServedBundle, ServiceSettings
    from edgeexit.protocols import Device

    Array = NDArray[Any]

log = logging.getLogger(__name__)

NO_GOVERNOR: Final = "none"
RECENT: Final = 256


class DaemonService:
    """Serves bundles on a device, within one event loop.

    Args:
        served: The bundles.
        settings: How they are served.
        observers: Told of every answer and refusal, on the event loop's thread.
        open_board: Opens the device; it must write no clock.

    Raises:
        OptionError: If two bundles have the same name and version.
    """

    def __init__(
        self,
        served: Sequence[ServedBundle],
        settings: ServiceSettings,
        observers: Sequence[Observer] = (),
        *,
        open_board: Callable[[ServiceSettings], Device] | None = None,
    ) -> None:
        self.settings = settings
        self._open_board = _open_quietly if open_board is None else open_board
        self._observers = list(observers)
        self._residency = Residency()
        self._models = Models(served, self._open_slot, self._close_slot)
        self._numbers = itertools.count()
        self._recent: deque[Recent] = deque(maxlen=RECENT)
        self._governors: tuple[str, ...] = ()
        self._started_s = time.monotonic()
        self._device: Device | None = None
        self._setter: Setter | None = None
        self._engine: EngineThread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Open the device, load every bundle, and begin to answer.

        Raises:
            DeviceError: If there is no such device.
            EdgeExitError: What is wrong with the first bundle that cannot be loaded.
        """
        self._loop = asyncio.get_running_loop()
        settings = self.settings
        make_governor(settings.governor, settings.governor_options)
        self._governors = (*list_governors(), NO_GOVERNOR)  # it reads the files of every package: not at each status
        try:
            self._device = device = await asyncio.to_thread(self._open_board, settings)
            self._setter = choose_setter(device, settings.clockd_socket)
            self._engine = EngineThread(
                settings.queue_limit, self._setter.hold, self._models.slots, simulated=device.simulated
            )
            self._engine.start()
            for name in dict.fromkeys(view.name for view in self._models.views()):
                await self._models.load(name)
        except BaseException:
            await self.close()
            raise
        self._tasks.append(self._loop.create_task(self._look_at_clocks(device, self._setter)))
        if settings.watch_s is not None:
            self._tasks.append(self._loop.create_task(self._watch(settings.watch_s)))

    async def close(self) -> None:
        """Finish what runs, refuse what waits, and give the clocks back; a second call does nothing."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        engine, setter, device = self._engine, self._setter, self._device
        with contextlib.ExitStack() as stack:
            if device is not None:
                stack.callback(device.close)
            if setter is not None:
                stack.callback(setter.hold.close)
            for slot in self._models.slots():
                stack.callback(slot.session.close)
            if engine is not None and engine.alive:
                stack.callback(engine.close)

    def observe(self, observer: Observer) -> None:
        """Tell somebody more of every answer and refusal from now on."""
        self._observers.append(observer)

    @property
    def alive(self) -> bool:
        """True while the engine can answer: what a watchdog asks."""
        return self._engine is not None and self._engine.alive

    def models(self) -> Sequence[ModelView]:
        """Return every model and version that the daemon was told to serve."""
        return self._models.views()

    def model(self, name: str, version: str | None = None) -> ModelView:
        """Return one; see `contracts.Service`."""
        return self._models.view(name, version)

    async def infer(
        self, name: str, version: str | None, inputs: Mapping[str, Array], options: InferOptions
    ) -> InferAnswer:
        """Answer for a batch; see `contracts.Service`."""
        try:
            options = self._with_defaults(options)
            answer = await self._infer(name, version, inputs, options)
        except Exception as error:
            self.turned_away(name, error)
            raise
        asyncio.get_running_loop().call_soon(self._note, answer, options)  # the client need not wait for it
        return answer

    def turned_away(self, name: str, error: Exception) -> None:
        """Tell observers of a request that is not answered; see `contracts.Service`."""
        for observer in self._observers:
            observer.refused(name, error)

    async def _infer(
        self, name: str, version: str | None, inputs: Mapping[str, Array], options: InferOptions
    ) -> InferAnswer:
        if self._engine is None:
            raise ServeError("the service has not been started")
        slot = self._models.slot(name, version)
        arrays = slot.session.check(inputs)
        samples = len(next(iter(arrays.values())))
        if not samples:
            return InferAnswer(slot.served.name, slot.served.version, (), 0.0, 0.0, None)
        job = self._job(slot, arrays, samples, options)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[InferAnswer] = loop.create_future()
        job.deliver = partial(_call_from_thread, loop, future)
        slot.users += 1
        try:
            self._engine.submit(job)
            return await future
        except asyncio.CancelledError:
            self._engine.withdraw(job)
            raise
        finally:
            self._models.left(slot)
            del job, future  # an error's traceback holds this frame: with them a cycle, and with it the inputs

    def _with_defaults(self, options: InferOptions) -> InferOptions:
        budget_s = options.latency_budget_s
        if budget_s is None:
            return replace(options, latency_budget_s=self.settings.latency_budget_s)
        if not 0.0 < budget_s < inf:
            raise OptionError(f"latency_budget_s must be seconds above 0, not {budget_s!r}")
        return options

    def _job(self, slot: Slot, arrays: Mapping[str, Array], samples: int, options: InferOptions) -> Job:
        now_s, budget_s = time.perf_counter(), options.latency_budget_s
        due_s = None if budget_s is None else now_s + budget_s
        return Job(slot, arrays, samples, options, now_s, due_s, next(self._numbers), _deliver_nowhere)

    def _note(self, answer: InferAnswer, options: InferOptions) -> None:
        for observer in self._observers:
            observer.answered(answer, options)
        for result in answer.results[:1]:
            steps = result.clock_steps
            self._recent.append(
                Recent(
                    answer.model,
                    result.exit_index,
                    answer.latency_s,
                    options.latency_budget_s,
                    result.energy_j,
                    result.clocks,
                    steps[-1].reason if steps else "",
                )
            )

    async def load(self, name: str) -> None:
        """Load a model, or load it anew; see `contracts.Service`."""
        await self._models.load(name)

    async def unload(self, name: str) -> None:
        """Unload a model; see `contracts.Service`."""
        await self._models.unload(name)

    async def reload(self) -> None:
        """Load every model anew that is not unloaded; what fails serves on as it was, and its view says why."""
        for name in dict.fromkeys(view.name for view in self.models() if view.state != "unloaded"):
            with contextlib.suppress(Exception):
                await self._models.load(name)

    def status(self) -> Status:
        """Return how the daemon is doing; does not wait for anything."""
        engine, setter, device = self._engine, self._setter, self._device
        if engine is None or setter is None or device is None:
            raise ServeError("the service has not been started")
        settings, (set_by, reason) = self.settings, setter.told()
        meter = device.meter
        return Status(
            uptime_s=time.monotonic() - self._started_s,
            device=device.name,
            simulated=device.simulated,
            governor=settings.governor,
            governors=self._governors,
            latency_budget_s=settings.latency_budget_s,
            queue_length=len(engine.line),
            queue_limit=engine.line.limit,
            clocks=setter.hold.read_clocks(),
            operating_points_hz={name: domain.operating_points_hz for name, domain in device.domains.items()},
            clocks_set_by=set_by,
            clocks_reason=reason,
            conditions=device.conditions(),
            energy_source=None if meter is None else meter.source.value,
            drifted=[slot.served.name for slot in self._models.slots() if slot.session.drift.drifted],
            recent=tuple(self._recent),
            clock_seconds=dict(self._residency.seconds),
        )

    async def change(
        self, *, governor: str | None = None, latency_budget_s: float | None = None, no_deadline: bool = False
    ) -> None:
        """Take another governor or deadline; see `contracts.Service`."""
        if latency_budget_s is not None and not 0.0 < latency_budget_s < inf:
            raise OptionError(f"latency_budget_s must be seconds above 0, not {latency_budget_s!r}")
        if governor is not None and governor != self.settings.governor:
            await self._change_governor(governor)
        if latency_budget_s is not None or no_deadline:
            self.settings = replace(self.settings, latency_budget_s=None if no_deadline else latency_budget_s)
            log.info(
                "the default deadline is now %s", "none" if no_deadline else f"{1e3 * (latency_budget_s or 0):g} ms"
            )

    async def _change_governor(self, governor: str) -> None:
        if self._engine is None or self._setter is None:
            raise ServeError("the service has not been started")
        make_governor(governor, {})  # refused before anything is changed
        changes = [(slot, make_governor(governor, {})) for slot in self._models.slots()]
        for slot, made in changes:
            await asyncio.wrap_future(self._engine.call(partial(slot.session.use_governor, made)))
        self.settings = replace(self.settings, governor=governor, governor_options={})
        if governor == NO_GOVERNOR:
            await asyncio.wrap_future(self._engine.call(self._setter.hold.restore))
        log.info("the governor is now %s", governor)

    async def _look_at_clocks(self, device: Device, setter: Setter) -> None:
        points_hz = {name: domain.operating_points_hz for name, domain in device.domains.items()}
        while points_hz:
            self._residency.look(setter.hold.read_clocks(), points_hz)
            await asyncio.sleep(EVERY_S)

    async def _watch(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            try:
                await self._models.reload_changed()
            except Exception:
                log.exception("the bundles could not be looked at")

    def _open_slot(self, served: ServedBundle) -> Slot:
        if self._device is None or self._setter is None:
            raise ServeError("the service has not been started")
        return open_slot(served, self.settings, self._device, self._setter.hold)

    def _close_slot(self, slot: Slot) -> None:
        if self._engine is not None:
            self._engine.call(slot.session.close)


def _open_quietly(settings: ServiceSettings) -> Device:
    """Open the device; that this process may not set its clocks is as it should be."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ClocksUnavailable)
        return open_device(settings.device, work_scale=settings.work_scale, looks_only=True)


def _deliver_nowhere(job: Job, outcome: InferAnswer | Exception) -> None:
    """Stand in until the job knows who waits for it."""


def _call_from_thread(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[InferAnswer], _: Job, outcome: InferAnswer | Exception
) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
        loop.call_soon_threadsafe(_settle, future, outcome)


def _settle(future: asyncio.Future[InferAnswer], outcome: InferAnswer | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
