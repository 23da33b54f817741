"""Asking a daemon that `edgeexit serve` started, from another process or another machine.

* `Client` and `AsyncClient` (`blocking`, `awaiting`): the same calls, over TCP or a Unix socket;
* `calls`, `inference`: what each call sends and how its answer is read; `answers`: what it returns;
* `exchange`: one call with its retries, without a socket; `failures`: what a refusal stands for;
* `endpoint`: where the daemon listens.

Needs the extra `client`. Any other client of the Open Inference Protocol works too.
"""

from edgeexit.client.answers import Answer, ModelMetadata, ServedModel, TensorMetadata
from edgeexit.errors import MissingExtra

try:
    from edgeexit.client.awaiting import AsyncClient
    from edgeexit.client.blocking import Client
except ModuleNotFoundError as error:
    raise MissingExtra(f"the client needs {error.name}: pip install 'edgeexit[client]'") from error

__all__ = ["Answer", "AsyncClient", "Client", "ModelMetadata", "ServedModel", "TensorMetadata"]
