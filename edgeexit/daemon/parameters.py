"""Parameters of requests and responses: what edgeexit adds to the protocol."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from edgeexit.daemon.contracts import InferAnswer, InferOptions
from edgeexit.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgeexit.open_inference.messages import RequestParameters, Scalar
    from edgeexit.runtime.result import Result

_S_PER_US: Final = 1e-6


def options_of(parameters: RequestParameters) -> InferOptions:
    """Return what a request asks for beside its inputs.

    Args:
        parameters: The request's; of `latency_budget_s` and `timeout` the shorter counts.

    Raises:
        OptionError: If a value is out of its range.
    """
    p = parameters
    _check("latency_budget_s", p.latency_budget_s, "seconds above 0")
    _check("energy_budget_j", p.energy_budget_j, "joules above 0")
    if p.allowed_drop is not None and not 0.0 <= p.allowed_drop < inf:
        raise OptionError(f"allowed_drop must be points of accuracy, 0 or more, not {p.allowed_drop!r}")
    budgets = [p.latency_budget_s, p.timeout * _S_PER_US if p.timeout else None]
    known = [budget_s for budget_s in budgets if budget_s is not None]
    return InferOptions(
        latency_budget_s=min(known) if known else None,
        energy_budget_j=p.energy_budget_j,
        exit_rule=p.exit_rule,
        allowed_drop=p.allowed_drop,
        priority=p.priority or 0,
    )


def _check(name: str, value: float | None, what: str) -> None:
    if value is not None and not 0.0 < value < inf:
        raise OptionError(f"{name} must be {what}, not {value!r}")


def response_parameters(answer: InferAnswer) -> dict[str, Scalar]:
    """Return the parameters of a response; of a batch those of the sample that went deepest.

    Figures that are not known are left out.
    """
    parameters: dict[str, Scalar] = {"latency_s": answer.latency_s, "queue_s": answer.queue_s}
    if answer.deadline_met is not None:
        parameters["deadline_met"] = answer.deadline_met
    if answer.results:
        parameters |= _of_result(max(answer.results, key=lambda result: result.exit_index))
    return parameters


def _of_result(result: Result) -> dict[str, Scalar]:
    parameters: dict[str, Scalar] = {
        "exit_index": result.exit_index,
        "exits_looked_at": ",".join(map(str, result.exits_looked_at)),
        "reason": result.reason,
    }
    if result.energy_j is not None and result.energy_source is not None:
        parameters |= {"energy_j": result.energy_j, "energy_source": result.energy_source.value}
        if result.energy_uncertainty_j is not None:
            parameters["energy_uncertainty_j"] = result.energy_uncertainty_j
    if result.energy_budget_met is not None:
        parameters["energy_budget_met"] = result.energy_budget_met
    if result.clocks:
        parameters["clocks"] = ",".join(f"{name}={hz}" for name, hz in result.clocks.items())
    return parameters


def check_load_parameters(names: Iterable[str]) -> None:
    """Check the names of the parameters that come with the wish to load a model.

    Raises:
        OptionError: If one would change what is loaded.
    """
    for name in names:
        if name == "config" or name.startswith("file:"):
            raise OptionError(f"parameter {name[:40]!r} is not supported: a model is its bundle as it is on the device")
