"""Which exit answers after a forecast: what calibration counted, as verdicts that are made once.

After the rule went from one exit to another, the probability with which the sample had settled at the first tells how
far it still has to go. Calibration divides that probability into classes and counts, in each, which exit answered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from edgeexit.errors import OptionError
from edgeexit.exits.options import check_exit_index, check_keys, check_list
from edgeexit.exits.verdicts import condition
from edgeexit.protocols import Verdict

_KEYS: Final = frozenset({"exit", "next_exit", "edges", "shares"})

AnswerTable = dict[tuple[int, int], tuple[list[float], list[Verdict]]]
"""(exit, next exit) -> the edges between the classes, and a verdict for each class."""


def read_answers(
    answers: object, exit_count: int, looked_at: Sequence[int], prior: Sequence[float] | None
) -> AnswerTable:
    """Read the `answers` parameter of `forecast`.

    Steps between exits that calibration has not seen get the prior, given that no exit before the next one answers.

    Args:
        answers: A list of counts, see `edgeexit.exits.forecast.Forecast`.
        exit_count: Number of exits.
        looked_at: The exits that the rule may look at.
        prior: How often each exit answers; evenly if it is None.

    Raises:
        OptionError: If the counts are not as they should be; the message says where.
    """
    if not isinstance(answers, list | tuple):
        raise OptionError(f"answers must be a list, not {answers!r}")
    expected = [1.0 / exit_count] * exit_count if prior is None else prior
    table: AnswerTable = {
        (exit_index, next_exit): ([], [_verdict(next_exit, expected, looked_at)])
        for next_exit in looked_at
        for exit_index in range(next_exit)
    }
    for index, entry in enumerate(answers):
        fields = check_keys(f"answers[{index}]", entry, _KEYS)
        step, edges, rows = _read_entry(f"answers[{index}]", fields, exit_count)
        if step not in table:
            raise OptionError(f"answers[{index}] goes from exit {step[0]} to {step[1]}, which the rule never does")
        passed = [0.0] * step[1]
        table[step] = (edges, [_verdict(step[1], passed + row, looked_at) for row in rows])
    return table


def _read_entry(
    name: str, fields: Mapping[str, Any], exit_count: int
) -> tuple[tuple[int, int], list[float], list[list[float]]]:
    exit_index = check_exit_index(f"{name} exit", fields["exit"], exit_count)
    next_exit = check_exit_index(f"{name} next_exit", fields["next_exit"], exit_count, least=exit_index + 1)
    edges, shares = fields["edges"], fields["shares"]
    if not isinstance(edges, list | tuple) or not isinstance(shares, list | tuple) or len(shares) != len(edges) + 1:
        raise OptionError(f"{name} must have a list of edges and one more list of shares")
    numbers = check_list(f"{name} edges", edges, len(edges), low=0.0, high=1.0)
    if any(low > high for low, high in pairwise(numbers)):
        raise OptionError(f"{name} edges must ascend, not {edges!r}")
    length = exit_count - next_exit
    return (exit_index, next_exit), numbers, [check_list(f"{name} shares", row, length, low=0.0) for row in shares]


def _verdict(next_exit: int, shares: Sequence[float], looked_at: Sequence[int]) -> Verdict:
    possible = [e for e in looked_at if e >= next_exit]
    return Verdict(stop=False, next_exit=next_exit, distribution=condition(len(shares), shares, possible))
