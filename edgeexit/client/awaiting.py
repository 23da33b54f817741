"""The client that is awaited."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from edgeexit.client import calls
from edgeexit.client.endpoint import Endpoint, reply_of
from edgeexit.client.exchange import Outcome, Persistence, Send, Steps, Wait
from edgeexit.client.inference import Question

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from edgeexit.client.answers import Answer, ModelMetadata, ServedModel
    from edgeexit.client.inference import Inputs

T = TypeVar("T")


class AsyncClient:
    """Asks a daemon that `edgeexit serve` started, from within an event loop, as many calls at once as you like.

    It is `Client` with calls to await. A call that is cancelled hangs up, and the daemon then drops the request.

    A call is tried again only where that is safe: if no connection came about, or if the daemon said when to come back.
    It then waits a while, which is partly chance, and never beyond `timeout_s` or the request's own deadline.

    Args:
        url: Where the daemon listens, by default http://127.0.0.1:8000.
        unix: Path of its Unix socket instead.
        token: The daemon's token, where it wants one.
        timeout_s: Until a call is given up, in seconds, retries included.
        retries: How often a call is tried again.

    Raises:
        OptionError: If one of them cannot be used.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        unix: str | Path | None = None,
        token: str | None = None,
        timeout_s: float = 30.0,
        retries: int = 3,
    ) -> None:
        self._endpoint = Endpoint(url, unix, token)
        self._persistence = Persistence(timeout_s=timeout_s, retries=retries)
        self._known: calls.Known = {}
        self._http = httpx.AsyncClient(
            base_url=self._endpoint.base_url,
            headers=self._endpoint.headers,
            transport=httpx.AsyncHTTPTransport(uds=self._endpoint.socket, trust_env=False),
            trust_env=False,  # proxies of the environment are not for a device beside us
        )

    async def infer(
        self,
        model: str,
        inputs: Inputs,
        *,
        version: str | None = None,
        latency_budget_s: float | None = None,
        energy_budget_j: float | None = None,
        exit_rule: str | None = None,
        allowed_drop: float | None = None,
        priority: int = 0,
    ) -> Answer:
        """Ask a model about a batch.

        Args:
            model: What the daemon calls it.
            inputs: (N, ...) of the model's input; a mapping from name to array where it has several.
            version: Which version; None takes the highest that is ready.
            latency_budget_s: Time until the answer is due, in seconds, from the first time that it is asked; a retry
                sends what is left of it. None leaves it to the daemon's configuration.
            energy_budget_j: What the inference may draw, in joules, idling left out.
            exit_rule: One of the bundle's calibrated settings, for instance "threshold".
            allowed_drop: Accuracy that the setting may cost, in points.
            priority: Above 0 goes before others, below 0 after.

        Raises:
            ModelNotFound: If there is no such model.
            ModelNotReady: If it is not loaded.
            InputError: If an input or an option is wrong.
            Refused: If the queue is full, or the answer cannot be in time.
            DeadlinePassed: If the request was accepted and could then not be begun in time.
            Denied: If the token is missing or wrong.
            ServeError: If the daemon cannot be reached, or fails.
        """
        question = Question(
            model=model,
            inputs=inputs,
            version=version,
            latency_budget_s=latency_budget_s,
            energy_budget_j=energy_budget_j,
            exit_rule=exit_rule,
            allowed_drop=allowed_drop,
            priority=priority,
        )
        return await self._run(calls.infer(question, self._known, self._persistence))

    async def models(self) -> tuple[ServedModel, ...]:
        """Return every model and version that the daemon was told to serve.

        Raises:
            ServeError: If the daemon cannot be reached.
        """
        return await self._run(calls.models(self._persistence))

    async def ready(self, model: str | None = None, *, version: str | None = None) -> bool:
        """Return whether the daemon, or one of its models, can answer.

        Raises:
            ModelNotFound: If there is no such model.
            ServeError: If the daemon cannot be reached.
        """
        return await self._run(calls.ready(model, version, self._persistence))

    async def metadata(self, model: str, *, version: str | None = None) -> ModelMetadata:
        """Return what a model takes and returns.

        Raises:
            ModelNotFound: If there is no such model.
            ServeError: If the daemon cannot be reached.
        """
        return await self._run(calls.metadata(model, version, self._persistence))

    async def load(self, model: str) -> None:
        """Load every version of a model, or load it anew from its folder.

        Raises:
            BundleError: If it is damaged; a bundle that was loaded before serves on.
            Denied: If the token is missing or wrong.
            ModelNotFound: If the daemon was not told of such a model.
            ServeError: If the daemon cannot be reached.
        """
        self._forget(model)
        await self._run(calls.repository(model, "load", self._persistence))

    async def unload(self, model: str) -> None:
        """Unload every version of a model, once its requests have been answered.

        Raises:
            Denied: If the token is missing or wrong.
            ModelNotFound: If there is no such model.
            ServeError: If the daemon cannot be reached.
        """
        self._forget(model)
        await self._run(calls.repository(model, "unload", self._persistence))

    async def state(self) -> dict[str, Any]:
        """Return how the daemon is doing: what its dashboard shows.

        Raises:
            ServeError: If the daemon cannot be reached.
        """
        return await self._run(calls.state(self._persistence))

    async def change(
        self, *, governor: str | None = None, latency_budget_s: float | None = None, no_deadline: bool = False
    ) -> None:
        """Have the daemon take another governor, or another deadline for requests that bring none.

        Args:
            governor: Its name, or "none".
            latency_budget_s: Time until an answer is due, in seconds.
            no_deadline: True takes the deadline away.

        Raises:
            Denied: If the token is missing or wrong.
            OptionError: If there is no such governor, or a value is out of its range.
            ServeError: If the daemon cannot be reached.
        """
        settings = calls.settings_of(governor, latency_budget_s, no_deadline=no_deadline)
        await self._run(calls.change(settings, self._persistence))

    async def close(self) -> None:
        """Hang up; may be called more than once."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, steps: Steps[T]) -> T:
        outcome: Outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                result: T = done.value
                return result
            outcome = await (self._wait(step) if isinstance(step, Wait) else self._send(step))

    @staticmethod
    async def _wait(step: Wait) -> None:
        await asyncio.sleep(step.for_s)

    async def _send(self, step: Send) -> Outcome:
        try:
            return reply_of(
                await self._http.request(
                    step.method, step.path, headers=step.headers, content=step.body, timeout=step.timeout_s
                )
            )
        except httpx.TransportError as error:
            return self._endpoint.unreached(error, step.timeout_s)

    def _forget(self, model: str) -> None:
        for key in [key for key in self._known if key[0] == model]:
            self._known.pop(key, None)
