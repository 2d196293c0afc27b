"""The decision: every rule over every possible prediction, the first that holds wins; and its trace for one.

A sample that annotators set aside (problematic) takes a first tag, two rules of its own, and meets rules 1 and 2
under conditions (spec: "For a problematic sample …"). The byte's layout is table.py's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.domain import NUM_CLASSES, Bytes, ErrorType, Evidence, Mask, Outcome, ProblematicTag, Step
from service.rules import ORDER, Rule
from service.rules.table import STOPPED_AT_TARGET, with_first_tag


@dataclass(frozen=True)
class _Try:
    """One question put to every prediction: where it holds, and the byte that it then writes."""

    rule: Rule
    holds: Mask  # (N, C)
    byte: int
    note: str = ""


def decide(evidence: Evidence) -> Bytes:
    """Return the verdict of every possible prediction, shape (N, C); memory is some 10 times that."""
    table = _first_that_holds(_tries(evidence))
    set_aside = np.flatnonzero(evidence.problematic)
    if len(set_aside):
        problematic = evidence.take(set_aside)
        table[set_aside] = with_first_tag(_first_that_holds(_tries_set_aside(problematic)), first_tags(problematic))
    return table


def trace(evidence: Evidence, predicted: int) -> tuple[Step, ...]:
    """Return what each rule said of one prediction for the one sample of `evidence`, in the order of the rules."""
    tries = _tries_set_aside(evidence) if evidence.problematic[0] else _tries(evidence)
    steps: list[Step] = []
    decided = False
    for attempt in tries:
        if decided:
            outcome = Outcome.NOT_REACHED
        elif attempt.rule.abstains(evidence):
            outcome = Outcome.ABSTAINED
        else:
            decided = bool(attempt.holds[0, predicted])
            outcome = Outcome.HIT if decided else Outcome.MISS
        steps.append(Step(attempt.rule.error_type, outcome, attempt.note))
    return tuple(steps)


def first_tags(evidence: Evidence) -> Bytes:
    """Return the first tag of every prediction for samples that are all problematic, shape (N, C), 0 for none."""
    right = _hits(ErrorType.CORRECT, evidence)
    empty = (evidence.labels.counts == 0)[:, None]
    tags = np.where(empty, np.uint8(ProblematicTag.EMPTY_WRONG), np.uint8(ProblematicTag.UNSPECIFIED))
    tags = np.broadcast_to(tags, right.shape).copy()
    tags[empty & _hits(ErrorType.CLASS_OVERLAP, evidence)] = ProblematicTag.EMPTY_CORRECT_BY_OVERLAP
    tags[empty & right] = ProblematicTag.EMPTY_CORRECT
    tags[~empty & right & ~evidence.label_mask] = ProblematicTag.CORRECT_BUT_WRONG_LABEL
    return tags


def _first_that_holds(tries: Sequence[_Try]) -> Bytes:
    """Return the byte of the first question that holds; the last one always does."""
    table = np.full(tries[-1].holds.shape, tries[-1].byte, dtype=np.uint8)
    for attempt in reversed(tries[:-1]):
        table[attempt.holds] = attempt.byte
    return table


def _tries(evidence: Evidence) -> list[_Try]:
    return [_Try(rule, rule.hits(evidence), rule.error_type) for rule in ORDER]


def _tries_set_aside(evidence: Evidence) -> list[_Try]:
    """Return the questions for problematic samples: the rules, two of them narrowed, and two more."""
    labelled = (evidence.labels.counts > 0)[:, None]
    target_is_label = evidence.label_mask[np.arange(len(evidence)), evidence.targets][:, None]
    tries: list[_Try] = []
    for attempt in _tries(evidence):
        match attempt.rule.error_type:
            case ErrorType.CORRECT:
                tries.append(_Try(attempt.rule, attempt.holds & target_is_label, attempt.byte))
            case ErrorType.CLASS_OVERLAP:
                tries.append(_Try(attempt.rule, attempt.holds & labelled, attempt.byte))
            case ErrorType.FINE_GRAINED:
                tries += [attempt, *_tries_at_the_target(evidence, ~target_is_label)]
            case _:
                tries.append(attempt)
    return tries


def _tries_at_the_target(evidence: Evidence, target_is_no_label: Mask) -> list[_Try]:
    """Return the two questions that compare with the target, where it is none of the multi-labels."""
    similar = target_is_no_label & evidence.same_superclass[evidence.targets]
    together = np.zeros((len(evidence), NUM_CLASSES), dtype=bool)
    if evidence.cooccurrence is not None:
        together = target_is_no_label & evidence.cooccurrence[evidence.targets]
    oov, spurious = _rule(ErrorType.FINE_GRAINED_OOV), _rule(ErrorType.SPURIOUS_CORRELATION)
    return [
        _Try(Rule(oov.error_type, oov.hits), similar, oov.error_type | STOPPED_AT_TARGET, "similar to the target"),
        _Try(spurious, together, spurious.error_type | STOPPED_AT_TARGET, "seen together with the target"),
    ]


def _rule(error_type: ErrorType) -> Rule:
    return next(rule for rule in ORDER if rule.error_type is error_type)


def _hits(error_type: ErrorType, evidence: Evidence) -> Mask:
    return _rule(error_type).hits(evidence)
