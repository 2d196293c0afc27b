"""Apply the rules to every possible prediction, and trace them for a single prediction.

Problematic samples get a first tag and two additional rules, and the rule of CLASS_OVERLAP is restricted for them
(spec: "For a problematic sample …"). table.py documents the byte of a verdict.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.domain import NUM_CLASSES, Bytes, ErrorType, Evidence, Mask, Outcome, ProblematicTag, Step
from service.rules import ORDER, Rule
from service.rules.table import STOPPED_AT_TARGET, add_first_tags


@dataclass(frozen=True)
class _RuleStep:
    """A rule applied to all predictions: the mask of its hits and the verdict that they get."""

    rule: Rule
    holds: Mask  # (N, C)
    byte: int
    note: str = ""


def decide(evidence: Evidence) -> Bytes:
    """Return the verdict of every possible prediction, shape (N, C). Needs about 10 times the memory of the result."""
    table = _first_hits(_steps(evidence))
    problematic = np.flatnonzero(evidence.problematic)
    if len(problematic):
        subset = evidence.take(problematic)
        table[problematic] = add_first_tags(_first_hits(_problematic_steps(subset)), first_tags(subset))
    return table


def trace(evidence: Evidence, predicted: int) -> tuple[Step, ...]:
    """Return the outcome of each rule for one prediction.

    Args:
        evidence: Evidence of one sample.
        predicted: Predicted class.

    Returns:
        One step per rule, in the order of the rules.
    """
    rule_steps = _problematic_steps(evidence) if evidence.problematic[0] else _steps(evidence)
    steps: list[Step] = []
    decided = False
    for rule_step in rule_steps:
        if decided:
            outcome = Outcome.NOT_REACHED
        elif rule_step.rule.abstains(evidence):
            outcome = Outcome.ABSTAINED
        else:
            decided = bool(rule_step.holds[0, predicted])
            outcome = Outcome.HIT if decided else Outcome.MISS
        steps.append(Step(rule_step.rule.error_type, outcome, rule_step.note))
    return tuple(steps)


def first_tags(evidence: Evidence) -> Bytes:
    """Return the first tag of every prediction, shape (N, C), 0 for none. All samples must be problematic."""
    is_target = np.equal(evidence.targets[:, None], np.arange(NUM_CLASSES, dtype=np.int16))
    empty = (evidence.labels.counts == 0)[:, None]
    tags = np.where(empty, np.uint8(ProblematicTag.EMPTY_WRONG), np.uint8(ProblematicTag.UNSPECIFIED))
    tags = np.broadcast_to(tags, is_target.shape).copy()
    tags[empty & _hits(ErrorType.CLASS_OVERLAP, evidence)] = ProblematicTag.EMPTY_CORRECT_BY_OVERLAP
    tags[empty & is_target] = ProblematicTag.EMPTY_CORRECT
    tags[~empty & is_target & ~evidence.label_mask] = ProblematicTag.CORRECT_BUT_WRONG_LABEL
    return tags


def _first_hits(steps: Sequence[_RuleStep]) -> Bytes:
    """Return the byte of the first step that holds. The last step always holds."""
    table = np.full(steps[-1].holds.shape, steps[-1].byte, dtype=np.uint8)
    for step in reversed(steps[:-1]):
        table[step.holds] = step.byte
    return table


def _steps(evidence: Evidence) -> list[_RuleStep]:
    return [_RuleStep(rule, rule.hits(evidence), rule.error_type.id) for rule in ORDER]


def _problematic_steps(evidence: Evidence) -> list[_RuleStep]:
    """Return the steps for problematic samples: the rules, one of which is restricted, and two additional steps."""
    has_labels = (evidence.labels.counts > 0)[:, None]
    target_is_no_label = ~evidence.labels.contain(evidence.targets)[:, None]
    steps: list[_RuleStep] = []
    for step in _steps(evidence):
        match step.rule.error_type:
            case ErrorType.CLASS_OVERLAP:
                steps.append(_RuleStep(step.rule, step.holds & has_labels, step.byte))
            case ErrorType.FINE_GRAINED:
                steps += [step, *_target_steps(evidence, target_is_no_label)]
            case _:
                steps.append(step)
    return steps


def _target_steps(evidence: Evidence, target_is_no_label: Mask) -> list[_RuleStep]:
    """Return the two steps that compare the prediction with a target that is not a multi-label."""
    similar = target_is_no_label & evidence.same_superclass[evidence.targets]
    cooccurring = np.zeros((len(evidence), NUM_CLASSES), dtype=bool)
    if evidence.cooccurrence is not None:
        cooccurring = target_is_no_label & evidence.cooccurrence[evidence.targets]
    oov, spurious = _rule(ErrorType.FINE_GRAINED_OOV), _rule(ErrorType.SPURIOUS_CORRELATION)
    oov_byte, spurious_byte = (rule.error_type.id | STOPPED_AT_TARGET for rule in (oov, spurious))
    return [
        _RuleStep(Rule(oov.error_type, oov.hits), similar, oov_byte, "similar to the target"),
        _RuleStep(spurious, cooccurring, spurious_byte, "co-occurs with the target"),
    ]


def _rule(error_type: ErrorType) -> Rule:
    return next(rule for rule in ORDER if rule.error_type is error_type)


def _hits(error_type: ErrorType, evidence: Evidence) -> Mask:
    return _rule(error_type).hits(evidence)
