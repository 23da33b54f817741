"""What every call passes before and after its method: access, room for its message, and what it is told of errors."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import grpc

from edgeexit.daemon.access import UNIX_KEY
from edgeexit.daemon.grpc.failures import Failure, failure_of
from edgeexit.daemon.grpc.schema import SERVICE

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from edgeexit.daemon.access import Access
    from edgeexit.daemon.grpc.intake import Intake
    from edgeexit.daemon.grpc.methods import Method

    Context = grpc.aio.ServicerContext[bytes, bytes]
    Answer = Callable[[object, Context], Awaitable[bytes]]

_UNIX: Final = "unix:"

log = logging.getLogger(__name__)


class Calls:
    """Answers calls of the protocol's methods.

    Args:
        methods: Those that there are.
        access: Who may ask what.
        intake: Reads their messages.
    """

    def __init__(self, methods: Iterable[Method], access: Access, intake: Intake) -> None:
        self._methods = list(methods)
        self._access = access
        self._intake = intake

    def handler(self) -> Any:
        """Return what a server of gRPC needs; messages are read and written here, so that errors are told in one way.

        To the server each method looks like one of many messages, which leaves it to us when a message is read.
        """
        handlers: dict[str, Any] = {
            each.name: grpc.stream_unary_rpc_method_handler(self._answering(each)) for each in self._methods
        }
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    def _answering(self, method: Method) -> Answer:
        async def answer(_: object, context: Context) -> bytes:
            start_s = time.perf_counter()
            outcome = await self._outcome(method, context)
            code = outcome.code if isinstance(outcome, Failure) else grpc.StatusCode.OK
            _log(method, code, start_s)
            if isinstance(outcome, Failure):
                await context.abort(outcome.code, outcome.text, outcome.trailers)
            return outcome

        return answer

    async def _outcome(self, method: Method, context: Context) -> bytes | Failure:
        """Return the answer, or why there is none.

        The error that `abort` ends a call with is part of a cycle, and keeps the frames that it passes through: those
        with the request in them are not among them.
        """
        try:
            self._check(method, context)
            async with self._intake.message(context.read, small=method.small) as data:
                message = await method.answer(data, context.time_remaining())
                serialised: bytes = message.SerializeToString()
                return serialised
        except Exception as error:  # whatever it is, the client is told
            return failure_of(error)

    def _check(self, method: Method, context: Context) -> None:
        """Let a call pass, or not, by the rules that hold for HTTP.

        Raises:
            Denied: If it may not.
        """
        access = self._access
        if method.health or (access.loopback and not method.control) or context.peer().startswith(_UNIX):
            return
        scope = _scope(method, context)
        if method.control:
            access.check_control(scope)
        else:
            access.check_token(scope, what="everything but ServerLive and ServerReady", basic=False)


def _scope(method: Method, context: Context) -> dict[str, Any]:
    """Return of a call what the rules look at in a request; metadata that is no text counts as not given."""
    headers = [
        (str(name).encode("latin-1"), value.encode("latin-1", "replace"))
        for name, value in context.invocation_metadata() or ()
        if isinstance(value, str)
    ]
    return {"method": "calling", "path": method.name, "headers": headers, UNIX_KEY: False}


def _log(method: Method, code: grpc.StatusCode, start_s: float) -> None:
    if log.isEnabledFor(logging.DEBUG):
        fields = {"method": method.name, "status": code.name, "taken_s": time.perf_counter() - start_s}
        log.debug("gRPC %(method)s: %(status)s in %(taken_s).6f s", fields, extra={"fields": fields})
