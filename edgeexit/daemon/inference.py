"""What becomes of a request to infer between its transport and the service, the same over HTTP and gRPC."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from edgeexit.daemon.outputs import bundle_of, check_wanted, output_tensors
from edgeexit.daemon.parameters import response_parameters
from edgeexit.open_inference import WireLimits

if TYPE_CHECKING:
    from edgeexit.daemon.config import LimitsConfig
    from edgeexit.daemon.contracts import InferAnswer, InferOptions, ModelView, Service
    from edgeexit.daemon.statistics import Statistics
    from edgeexit.open_inference import InferRequest, OutputTensor
    from edgeexit.open_inference.messages import Scalar


class Answered(NamedTuple):
    """What a client is told."""

    model: str
    version: str
    outputs: list[OutputTensor]
    """Those that it wants."""
    parameters: dict[str, Scalar]


class Inference:
    """Has a service infer, and counts it.

    Args:
        service: Who infers.
        statistics: Counts answers and failures.
    """

    def __init__(self, service: Service, statistics: Statistics) -> None:
        self._service = service
        self._statistics = statistics

    async def answer(
        self, view: ModelView, version: str | None, request: InferRequest, options: InferOptions
    ) -> Answered:
        """Answer a request; raises what `Service.infer` does.

        Args:
            view: The model's.
            version: As the client asked for it; None leaves it to the service.
            request: What is asked.
            options: What it asks for beside its inputs.

        Raises:
            ModelNotReady: If the model has never been loaded.
            MalformedMessage: If an output is wanted that the model does not have.
        """
        try:
            bundle = bundle_of(view)
            wanted = check_wanted(request.outputs, bundle, binary=request.all_binary)
        except Exception as error:
            self._service.turned_away(view.name, error)
            raise
        answer = await self._counted(view, version, request, options)
        return Answered(
            answer.model, answer.version, output_tensors(answer, wanted, bundle), response_parameters(answer)
        )

    async def _counted(
        self, view: ModelView, version: str | None, request: InferRequest, options: InferOptions
    ) -> InferAnswer:
        start_s = time.perf_counter()
        try:
            answer = await self._service.infer(view.name, version, request.inputs, options)
        except Exception:
            self._statistics.failed(view, time.perf_counter() - start_s)
            raise
        self._statistics.answered(answer)
        return answer


def wire_limits(limits: LimitsConfig) -> WireLimits:
    """Return what holds for one message."""
    return WireLimits(
        body_bytes=limits.body_bytes,
        json_bytes=min(limits.json_bytes, limits.body_bytes),
        elements=limits.tensor_elements,
    )
