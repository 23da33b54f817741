"""A small `Service` for tests of the network side: real sessions of real bundles on a simulated board, one thread."""

import asyncio
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import edgeexit
from edgeexit.daemon.contracts import InferAnswer, ModelView, Recent, Status
from edgeexit.errors import InferenceCancelled, ModelNotFound, ModelNotReady, OptionError, PluginNotFound
from edgeexit.registry import load_governor

FASHION = {"fashion-resnet": {"1": "fashion-resnet"}}
GOVERNORS = ("plan", "deadline", "performance", "none")


class SessionService:
    """Answers one request after the other, without deadlines in the queue.

    Args:
        bundles: Model name -> version -> what `edgeexit.load_bundle` takes.
        device: As for `edgeexit.open_device`.
        governor: Name of a governor, or None.
        observers: Told of every answer and refusal.
        loaded: False leaves every model unloaded.
        cache_dir: As for `Session`; fixtures that outlive a test keep the user's cache clean by it.

    Attributes:
        asked: The options of every request, the newest last.
        cancelled: How many requests were given up by their callers.
        gate: Requests wait until it is set, in the engine's thread.
        observers: Told of every answer and refusal.
        failure: Raised by `infer` and `load` instead of an answer, if not None.
    """

    def __init__(
        self,
        bundles=FASHION,
        device="simulated:jetson-tx2",
        governor="deadline",
        observers=(),
        *,
        loaded=True,
        cache_dir=None,
    ):
        self.device = edgeexit.open_device(device)
        self.asked = []
        self.cancelled = 0
        self.gate = threading.Event()
        self.gate.set()
        self.failure = None
        self._paths = {(name, one): path for name, paths in bundles.items() for one, path in paths.items()}
        self._sessions = {}
        self._cache_dir = cache_dir
        self._governor = governor
        self._latency_budget_s = None
        self.observers = list(observers)
        self._recent = deque(maxlen=256)
        self._waiting = 0
        self._start_s = time.monotonic()
        self._engine = ThreadPoolExecutor(1)
        if loaded:
            for name in bundles:
                self._load(name)

    def close(self):
        self.gate.set()
        self._engine.shutdown()
        for session in self._sessions.values():
            session.close()
        self.device.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def models(self):
        return [self._view(key) for key in sorted(self._paths)]

    def model(self, name, version=None):
        keys = [key for key in self._paths if key[0] == name and version in (None, key[1])]
        if not keys:
            raise ModelNotFound(f"no model {name!r}{'' if version is None else f' version {version!r}'} is served here")
        return self._view(max(keys, key=lambda key: (key in self._sessions, int(key[1]))))

    def _view(self, key):
        session = self._sessions.get(key)
        bundle = None if session is None else session.bundle
        return ModelView(*key, bundle, session is not None, "unloaded" if session is None else "ready", "")

    async def infer(self, name, version, inputs, options):
        view = self.model(name, version)
        if self.failure is not None:
            raise self.failure
        if not view.ready:
            raise ModelNotReady(f"model {name!r} is not loaded: load it first")
        self.asked.append(options)
        cancel, start_s = threading.Event(), time.monotonic()
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            session = self._sessions[view.name, view.version]
            begun_s, results = await loop.run_in_executor(self._engine, self._run, session, inputs, options, cancel)
        except asyncio.CancelledError:
            cancel.set()
            self.cancelled += 1
            raise
        except Exception as error:
            for observer in self.observers:
                observer.refused(name, error)
            raise
        finally:
            self._waiting -= 1
        met = [result.deadline_met for result in results if result.deadline_met is not None]
        now_s = time.monotonic()
        all_met = all(met) if met else None
        answer = InferAnswer(view.name, view.version, results, begun_s - start_s, now_s - start_s, all_met)
        self._tell(answer, options)
        return answer

    def turned_away(self, name, error):
        for observer in self.observers:
            observer.refused(name, error)

    def _run(self, session, inputs, options, cancel):
        self.gate.wait()
        begun_s = time.monotonic()
        if cancel.is_set():
            raise InferenceCancelled("nobody waits for the answer any more")
        budget_s = self._latency_budget_s if options.latency_budget_s is None else options.latency_budget_s
        asked = {"latency_budget_s": budget_s, "exit_rule": options.exit_rule, "allowed_drop": options.allowed_drop}
        samples = len(next(iter(inputs.values()))) if inputs and all(array.ndim for array in inputs.values()) else 1
        if samples == 1:
            return begun_s, [session.infer(inputs, energy_budget_j=options.energy_budget_j, cancel=cancel, **asked)]
        return begun_s, session.infer_batch(inputs, cancel=cancel, **asked)

    def _tell(self, answer, options):
        for result in answer.results:
            reason = result.clock_steps[-1].reason if result.clock_steps else ""
            exit_index, energy_j, clocks = result.exit_index, result.energy_j, result.clocks
            late = answer.latency_s, options.latency_budget_s
            self._recent.append(Recent(answer.model, exit_index, *late, energy_j, clocks, reason))
        for observer in self.observers:
            observer.answered(answer, options)

    def _load(self, name):
        for key, path in self._paths.items():
            if key[0] == name:
                governor = None if self._governor is None else load_governor(self._governor)
                session = edgeexit.Session(edgeexit.load_bundle(path), self.device, governor, cache_dir=self._cache_dir)
                before, self._sessions[key] = self._sessions.get(key), session
                if before is not None:
                    before.close()

    async def load(self, name):
        self.model(name)
        if self.failure is not None:
            raise self.failure
        await asyncio.get_running_loop().run_in_executor(self._engine, self._load, name)

    async def unload(self, name):
        self.model(name)
        for key in [key for key in self._sessions if key[0] == name]:
            session = self._sessions.pop(key)
            await asyncio.get_running_loop().run_in_executor(self._engine, session.close)

    def status(self):
        domains = self.device.domains
        meter = self.device.meter
        return Status(
            uptime_s=time.monotonic() - self._start_s,
            device=self.device.name,
            simulated=self.device.simulated,
            governor=self._governor,
            governors=GOVERNORS,
            latency_budget_s=self._latency_budget_s,
            queue_length=max(self._waiting - 1, 0),
            queue_limit=64,
            clocks={name: domain.read_hz() for name, domain in domains.items()},
            operating_points_hz={name: domain.operating_points_hz for name, domain in domains.items()},
            clocks_set_by="in process" if self.device.simulated else "nobody",
            clocks_reason="" if self.device.simulated else "a test",
            conditions=self.device.conditions(),
            energy_source=None if meter is None else meter.source.value,
            drifted=[],
            recent=tuple(self._recent),
        )

    def _use_governor(self):
        for session in self._sessions.values():
            session.use_governor(None if self._governor is None else load_governor(self._governor))

    async def change(self, *, governor=None, latency_budget_s=None, no_deadline=False):
        if governor is not None and governor not in GOVERNORS:
            raise PluginNotFound(f"no governor {governor!r}: there are {', '.join(GOVERNORS)}")
        if latency_budget_s is not None and not 0.0 < latency_budget_s < float("inf"):
            raise OptionError(f"latency_budget_s must be seconds above 0, not {latency_budget_s!r}")
        if governor is not None:
            self._governor = None if governor == "none" else governor
            await asyncio.get_running_loop().run_in_executor(self._engine, self._use_governor)
        if latency_budget_s is not None or no_deadline:
            self._latency_budget_s = None if no_deadline else latency_budget_s
