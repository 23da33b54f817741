"""What each method of the protocol answers, from message to message, with nothing of gRPC's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from google.protobuf.json_format import ParseDict

from edgeexit.daemon import descriptions
from edgeexit.daemon.grpc.requests import parse, read_request
from edgeexit.daemon.grpc.responses import write_response
from edgeexit.daemon.grpc.schema import Message, message_class
from edgeexit.daemon.inference import Inference
from edgeexit.daemon.parameters import check_load_parameters, options_of
from edgeexit.errors import DeadlinePassed, ModelNotFound

if TYPE_CHECKING:
    from edgeexit.daemon.contracts import InferOptions, ModelView, Service
    from edgeexit.daemon.statistics import Statistics
    from edgeexit.open_inference import WireLimits

WAY_BACK_S: Final = 0.002
"""Of the time that a client's call has left, so much is kept for its answer to arrive: about twice what is usual."""


class Method(NamedTuple):
    """A method of the protocol."""

    name: str
    answer: Callable[[bytes, float | None], Awaitable[Message]]
    """Takes a serialised message, and the seconds that its client still waits, or None."""
    control: bool = False
    """True if it changes the daemon's state."""
    health: bool = False
    """True if everybody may ask it."""
    small: bool = True
    """True if its messages hold no tensors."""


class Methods:
    """Answers the protocol's methods.

    Args:
        service: Who answers.
        limits: On requests.
        statistics: Counts them.
        default_budget_s: Returns when an answer is due where neither the request nor its call says.
    """

    def __init__(
        self,
        service: Service,
        limits: WireLimits,
        statistics: Statistics,
        default_budget_s: Callable[[], float | None],
    ) -> None:
        self._service = service
        self._limits = limits
        self._statistics = statistics
        self._inference = Inference(service, statistics)
        self._default_budget_s = default_budget_s

    def all(self) -> list[Method]:
        """Return every method that there is."""
        return [
            Method("ModelInfer", self.infer, small=False),
            Method("ServerLive", self._told("ServerLive", self._live), health=True),
            Method("ServerReady", self._told("ServerReady", self._ready), health=True),
            Method("ServerMetadata", self._told("ServerMetadata", self._server)),
            Method("ModelReady", self._told("ModelReady", self._model_ready)),
            Method("ModelMetadata", self._told("ModelMetadata", self._model)),
            Method("ModelConfig", self._told("ModelConfig", self._config)),
            Method("ModelStatistics", self._told("ModelStatistics", self._counts)),
            Method("RepositoryIndex", self._told("RepositoryIndex", self._index)),
            Method("RepositoryModelLoad", self._load, control=True),
            Method("RepositoryModelUnload", self._unload, control=True),
        ]

    # --- inference ---------------------------------------------------------------------------------

    async def infer(self, data: bytes, remaining_s: float | None) -> Message:
        """Answer a request to infer."""
        asked = read_request(data, self._limits)
        request = asked.request
        try:
            view = self._service.model(asked.model, asked.version)
            options = self._within(options_of(request.parameters), remaining_s)
        except Exception as error:
            self._service.turned_away(asked.model, error)
            raise
        answer = await self._inference.answer(view, asked.version, request, options)
        return write_response(answer, request_id=request.id)

    def _within(self, options: InferOptions, remaining_s: float | None) -> InferOptions:
        """Return options whose answer comes while the client still waits for it.

        A call's deadline shortens what the request or the daemon's configuration says, and never lengthens it: clients
        give every call one, long ones for safety alone.
        """
        if remaining_s is None:
            return options
        left_s = remaining_s - WAY_BACK_S
        if left_s <= 0.0:
            raise DeadlinePassed("the call's deadline has passed")
        asked_s = options.latency_budget_s
        known_s = self._default_budget_s() if asked_s is None else asked_s
        return replace(options, latency_budget_s=left_s if known_s is None else min(known_s, left_s))

    # --- what is told ------------------------------------------------------------------------------

    @staticmethod
    def _told(
        name: str, tell: Callable[[Message], dict[str, Any]]
    ) -> Callable[[bytes, float | None], Awaitable[Message]]:
        async def answer(data: bytes, _: float | None) -> Message:
            document = tell(parse(f"{name}Request", data))
            return ParseDict(document, message_class(f"{name}Response")(), ignore_unknown_fields=True)

        return answer

    def _live(self, _: Message) -> dict[str, Any]:
        return {"live": True}

    def _ready(self, _: Message) -> dict[str, Any]:
        return {"ready": descriptions.is_ready(self._service)}

    def _server(self, _: Message) -> dict[str, Any]:
        return descriptions.describe_server()

    def _model_ready(self, asked: Message) -> dict[str, Any]:
        try:
            return {"ready": self._view(asked).ready}
        except ModelNotFound:  # as Triton answers
            return {"ready": False}

    def _model(self, asked: Message) -> dict[str, Any]:
        return descriptions.describe_model(self._service, self._view(asked))

    def _config(self, asked: Message) -> dict[str, Any]:
        return {"config": descriptions.describe_config(self._view(asked))}

    def _counts(self, asked: Message) -> dict[str, Any]:
        if not asked.name:
            return self._statistics.as_json(self._service.models())
        if asked.version:
            return self._statistics.as_json([self._view(asked)])
        return self._statistics.as_json(descriptions.versions_of(self._service, asked.name))

    def _index(self, asked: Message) -> dict[str, Any]:
        return {"models": descriptions.describe_index(self._service, ready=asked.ready)}

    def _view(self, asked: Message) -> ModelView:
        return self._service.model(asked.name, asked.version or None)

    # --- what is changed ---------------------------------------------------------------------------

    async def _load(self, data: bytes, _: float | None) -> Message:
        asked = parse("RepositoryModelLoadRequest", data)
        check_load_parameters(asked.parameters)
        await self._service.load(asked.model_name)
        return message_class("RepositoryModelLoadResponse")()

    async def _unload(self, data: bytes, _: float | None) -> Message:
        asked = parse("RepositoryModelUnloadRequest", data)
        await self._service.unload(asked.model_name)
        return message_class("RepositoryModelUnloadResponse")()
