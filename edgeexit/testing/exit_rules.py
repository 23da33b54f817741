"""The contract of an exit rule as a check that anyone can call, and random evidence to call rules with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgeexit.protocols import Evidence, ExitRule, Look, Verdict

SUM_TOLERANCE = 1e-6


def check_exit_rule(
    rule: ExitRule | Callable[[int], ExitRule],
    exit_count: int,
    *,
    class_count: int = 10,
    samples: int = 100,
    seed: int = 0,
) -> None:
    """Check that an exit rule keeps the contract `edgeexit.protocols.ExitRule`.

    Args:
        rule: The rule, or what makes it from the number of exits.
        exit_count: Number of exits it was made for.
        class_count: Number of classes of the evidence it is shown.
        samples: How many random samples it judges.
        seed: Of the samples.

    Raises:
        AssertionError: If it does not; the message says where.
    """
    rule = rule if isinstance(rule, ExitRule) else rule(exit_count)
    assert isinstance(rule, ExitRule), f"{rule!r} lacks one of name, looks_at_every_exit and judge"
    assert isinstance(rule.name, str), f"the name must be text, not {rule.name!r}"
    assert rule.name, "the name is empty"
    assert isinstance(rule.looks_at_every_exit, bool), "looks_at_every_exit must be True or False"
    generator = np.random.default_rng(seed)
    shown: list[tuple[Evidence, Verdict]] = []
    for _ in range(samples):
        shown += _check_sample(rule, random_looks(generator, exit_count, class_count))
    for evidence, verdict in shown:
        assert rule.judge(evidence) == verdict, f"{rule.name} remembers: {verdict} became another for the same evidence"


def random_looks(generator: np.random.Generator, exit_count: int, class_count: int) -> list[Look]:
    """Return what each exit might say about one sample: any label, from undecided to certain."""
    return [random_look(generator, exit_index, class_count) for exit_index in range(exit_count)]


def random_look(generator: np.random.Generator, exit_index: int, class_count: int) -> Look:
    """Return what exit `exit_index` might say about one sample."""
    sharpness = 10.0 ** generator.uniform(-1, 2)
    return make_look(exit_index, generator.normal(size=class_count) * sharpness)


def make_look(exit_index: int, logits: Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]]) -> Look:
    """Return the look of an exit that says `logits`, as the engine would make it.

    Args:
        exit_index: The exit.
        logits: (C,).
    """
    said = np.asarray(logits, dtype=np.float32)
    powers = np.exp(said - said.max())
    probabilities = powers / powers.sum()
    label = int(said.argmax())
    others = np.delete(probabilities, label)
    confidence = float(probabilities[label])
    return Look(exit_index, label, confidence, confidence - float(others.max(initial=0.0)), said, probabilities)


def _check_sample(rule: ExitRule, all_looks: Sequence[Look]) -> list[tuple[Evidence, Verdict]]:
    """Follow the rule through one sample, and show it each exit alone; return all that it was shown and said."""
    exit_count = len(all_looks)
    first = _judge(rule, Evidence(exit_count, []))
    assert not first.stop, f"{rule.name} stops before it has looked at anything"
    shown = [(Evidence(exit_count, []), first)]
    exit_index = first.next_exit
    looks = [all_looks[exit_index]]
    while exit_index < exit_count - 1:
        evidence = Evidence(exit_count, list(looks))
        verdict = _judge(rule, evidence)
        shown.append((evidence, verdict))
        if verdict.stop:
            break
        exit_index = verdict.next_exit
        looks.append(all_looks[exit_index])
    _check_possible(rule, [verdict for _, verdict in shown], exit_index)
    for look in all_looks[:-1]:
        evidence = Evidence(exit_count, [look])
        shown.append((evidence, _judge(rule, evidence)))
    return shown


def _judge(rule: ExitRule, evidence: Evidence) -> Verdict:
    """Return the rule's verdict after checking all that can be seen of a single one."""
    before = _contents(evidence)
    verdict = rule.judge(evidence)
    assert isinstance(verdict, Verdict), f"{rule.name} answers {verdict!r}, not a Verdict"
    assert rule.judge(evidence) == verdict, f"{rule.name} answers differently when asked again"
    assert _contents(evidence) == before, f"{rule.name} changes the evidence"
    newest = evidence.looks[-1].exit_index if evidence.looks else -1
    _check_next_exit(rule, verdict, newest, evidence.exit_count)
    _check_distribution(rule, verdict, newest, evidence.exit_count)
    return verdict


def _check_next_exit(rule: ExitRule, verdict: Verdict, newest: int, exit_count: int) -> None:
    if verdict.stop:
        assert verdict.next_exit == newest, f"{rule.name} stops at {newest} and names {verdict.next_exit}"
        return
    assert newest < verdict.next_exit < exit_count, (
        f"{rule.name} goes from exit {newest} to {verdict.next_exit} of {exit_count}: not deeper"
    )
    if rule.looks_at_every_exit:
        assert verdict.next_exit == newest + 1, (
            f"{rule.name} says that it looks at every exit, and goes from {newest} to {verdict.next_exit}"
        )


def _check_distribution(rule: ExitRule, verdict: Verdict, newest: int, exit_count: int) -> None:
    distribution = verdict.distribution
    if distribution is None:
        return
    assert len(distribution) == exit_count, f"{rule.name} forecasts {len(distribution)} exits of {exit_count}"
    assert all(0.0 <= share <= 1.0 for share in distribution), f"{rule.name} forecasts {distribution}"
    assert abs(sum(distribution) - 1.0) < SUM_TOLERANCE, (
        f"{rule.name} forecasts probabilities that sum to {sum(distribution)}"
    )
    earliest = newest if verdict.stop else verdict.next_exit
    assert not any(distribution[:earliest]), (
        f"{rule.name} forecasts exits that have passed: {distribution}, now {earliest}"
    )


def _check_possible(rule: ExitRule, verdicts: Sequence[Verdict], answered: int) -> None:
    """Check that no forecast on the way called the exit that answered impossible."""
    for verdict in verdicts:
        if verdict.distribution is not None:
            assert verdict.distribution[answered] > 0.0, (
                f"{rule.name} answered at exit {answered} after it had called that impossible: {verdict.distribution}"
            )


def _contents(evidence: Evidence) -> list[tuple[object, ...]]:
    return [(*look[:4], look.logits.tobytes(), look.probabilities.tobytes()) for look in evidence.looks]
