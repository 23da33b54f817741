"""The daemon's own description of its API, against the daemon: schemathesis asks whatever it allows, and more."""

import httpx
import pytest
import schemathesis
from http_here import served
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from session_service import GOVERNORS, SessionService

from edgeexit.daemon.access import Access
from edgeexit.daemon.config import ServeConfig
from edgeexit.daemon.http.app import make_app
from edgeexit.daemon.http.guard import require_control
from edgeexit.daemon.http.seeing import routes
from edgeexit.daemon.seeing.metrics import Metrics
from edgeexit.daemon.seeing.minute import LastMinute

TOKEN = b"correct-horse-battery"
RIGHT = {"Authorization": f"Bearer {TOKEN.decode()}"}
NAMES = ["fashion-resnet", "nobody"]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with SessionService(cache_dir=tmp_path_factory.getbasetemp() / "cache") as service:
        seeing = routes(service, Metrics(service.status, service.models), LastMinute(), require_control=require_control)
        app = make_app(service, ServeConfig(), Access(token=TOKEN), seeing)
        with served(app) as address:
            yield f"http://{address}"


@pytest.fixture(scope="module")
def api(address):
    """The description with names that are there; nothing is unloaded, so that nothing is not ready."""
    document = httpx.get(f"{address}/openapi.json").json()
    for path, item in document["paths"].items():
        names = NAMES[1:] if path.endswith("/unload") else NAMES
        for parameter in item.get("parameters", ()):
            parameter["schema"]["enum"] = names if parameter["name"] == "name" else ["1", "2"]
    document["components"]["schemas"]["Settings"]["properties"]["governor"]["enum"] = list(GOVERNORS)
    config = schemathesis.Config.from_dict({"base-url": address})
    return schemathesis.openapi.from_dict(document, config=config)


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
def test_every_answer_is_as_described(api, mode):
    for operation in (found.ok() for found in api.get_all_operations()):
        check_answers(operation, mode)


def check_answers(operation, mode):
    """Ask an operation for what its description allows, or (mode "negative") does not."""
    # which inputs a model takes stands in its metadata, so that a request of the right form may still be wrong
    too_strict = [schemathesis.checks.CHECKS.get_one("positive_data_acceptance")] if "/infer" in operation.path else []

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=operation.as_strategy(generation_mode=mode))
    def check_answer(case):
        case.call_and_validate(headers=RIGHT, excluded_checks=too_strict)

    try:
        check_answer()
    except Unsatisfiable:
        assert mode is schemathesis.GenerationMode.NEGATIVE  # nothing that is wrong can be asked of it
