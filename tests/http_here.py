"""The daemon's routes over a test's service, on a real HTTP server in a thread, and in process."""

import socket
import threading
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

from edgeexit.daemon.http import open_inference
from edgeexit.daemon.http.failures import exception_handlers
from edgeexit.open_inference import WireLimits


def everybody(_):
    """Allow everything."""


def protocol_app(service, limits=None, require_control=everybody):
    """Return an application of the protocol's routes alone."""
    limits = WireLimits() if limits is None else limits
    routes = open_inference.routes(service, limits, require_control=require_control)
    return Starlette(routes=routes, exception_handlers=dict(exception_handlers()))


@contextmanager
def served(app):
    """Serve an application on a port of the kernel's choice; yields "127.0.0.1:PORT"."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=2))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
