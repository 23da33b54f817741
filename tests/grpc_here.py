"""The protocol over gRPC in front of a test's service, in a thread, and calls to it with our own messages."""

import asyncio
import threading
from contextlib import contextmanager

import grpc

from edgeexit.daemon.access import Access
from edgeexit.daemon.config import ServeConfig
from edgeexit.daemon.grpc.schema import SERVICE, message_class
from edgeexit.daemon.grpc.server import start_grpc


@contextmanager
def grpc_served(service, access=None, *, default_budget_s=None, statistics=None, **config):
    """Serve on a port of the kernel's choice; yields what it listens on, as clients name it."""
    config = ServeConfig(**({"grpc_port": 0} | config))
    loop, begun, ended = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    targets = []

    async def serve():
        server = await start_grpc(service, config, access or Access(None), lambda: default_budget_s, statistics)
        targets.extend(server.targets)
        begun.set()
        await ended.wait()
        await server.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert begun.wait(10.0)
        yield targets
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


class Caller:
    """Calls methods; what is not told by name is left empty."""

    def __init__(self, target):
        self.channel = grpc.insecure_channel(target)

    def method(self, name):
        """Return what calls a method with bytes."""
        return self.channel.unary_unary(
            f"/{SERVICE}/{name}", response_deserializer=message_class(f"{name}Response").FromString
        )

    def __call__(self, method, request=None, /, *, metadata=None, timeout=30.0, **fields):
        message = message_class(f"{method}Request")(**fields) if request is None else request
        return self.method(method)(message.SerializeToString(), metadata=metadata, timeout=timeout)


def infer_request(array, *, model="fashion-resnet", name="image", raw=True, **fields):
    """Return a ModelInferRequest with one FP32 input."""
    request = message_class("ModelInferRequest")(model_name=model, **fields)
    tensor = request.inputs.add(name=name, datatype="FP32", shape=array.shape)
    if raw:
        request.raw_input_contents.append(array.tobytes())
    else:
        tensor.contents.fp32_contents.extend(array.ravel().tolist())
    return request
