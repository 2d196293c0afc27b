"""Apply the rules to predictions.

Problematic samples differ in three ways (spec: "For a problematic sample …"): they get a tag that describes their
labels (the first tag), two additional rules apply, and the rule of CLASS_OVERLAP holds only if the sample has labels.
table.py documents the byte of a verdict.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from service.domain import NO_PREDICTION, Bytes, Classes, ErrorType, Evidence, Mask, ProblematicTag
from service.rules import ORDER, Rule
from service.rules.table import STOPPED_AT_TARGET, add_first_tags


@dataclass(frozen=True)
class _RuleStep:
    """A rule that is applied to predictions: the mask of its hits, and the verdict of these hits."""

    rule: Rule
    holds: Mask  # (N, K)
    byte: int


def decide(evidence: Evidence) -> Bytes:
    """Return the verdict of every possible prediction, (N, C). This needs about 10 times the memory of the result."""
    return _decide(evidence, np.arange(evidence.num_classes, dtype=np.int16)[None])


def decide_each(evidence: Evidence, top1: Classes) -> Bytes:
    """Return the verdict of one prediction for each sample, (N,); 0 without a prediction (-1).

    The prediction can be an answer without a class (-2).
    """
    verdicts = _decide(evidence, top1[:, None])[:, 0]
    verdicts[top1 == NO_PREDICTION] = 0
    return verdicts


def _decide(evidence: Evidence, predicted: Classes) -> Bytes:
    """Return the verdicts of K predictions for each sample, (N, K); predicted: (N, K), or (1, K) for all samples."""
    steps = _steps(evidence, predicted)
    verdicts = _first_hits(steps)
    problematic = np.flatnonzero(evidence.problematic)
    if len(problematic):
        subset = evidence.take(problematic)
        candidates = predicted if len(predicted) == 1 else predicted[problematic]
        steps = [replace(step, holds=step.holds[problematic]) for step in steps]
        steps = _problematic_steps(steps, subset, candidates)
        verdicts[problematic] = add_first_tags(_first_hits(steps), first_tags(subset, candidates))
    return verdicts


def first_tags(evidence: Evidence, predicted: Classes) -> Bytes:
    """Return the first tag of each prediction, shape (N, K), 0 for none. All samples must be problematic."""
    is_target = np.equal(evidence.targets[:, None], predicted)
    empty = (evidence.labels.counts == 0)[:, None]
    tags = np.where(empty, np.uint8(ProblematicTag.EMPTY_WRONG), np.uint8(ProblematicTag.UNSPECIFIED))
    tags = np.broadcast_to(tags, is_target.shape).copy()
    tags[empty & _rule(ErrorType.CLASS_OVERLAP).holds(evidence, predicted)] = ProblematicTag.EMPTY_CORRECT_BY_OVERLAP
    tags[empty & is_target] = ProblematicTag.EMPTY_CORRECT
    target_is_no_label = ~evidence.targets_are_labels[:, None]
    tags[~empty & is_target & target_is_no_label] = ProblematicTag.CORRECT_BUT_WRONG_LABEL
    return tags


def _first_hits(steps: Sequence[_RuleStep]) -> Bytes:
    """Return the byte of the first step that holds. The last step always holds."""
    table = np.full(steps[-1].holds.shape, steps[-1].byte, dtype=np.uint8)
    for step in reversed(steps[:-1]):
        table[step.holds] = step.byte
    return table


def _steps(evidence: Evidence, predicted: Classes) -> list[_RuleStep]:
    return [_RuleStep(rule, rule.holds(evidence, predicted), rule.error_type.id) for rule in ORDER]


def _problematic_steps(steps: Sequence[_RuleStep], evidence: Evidence, predicted: Classes) -> list[_RuleStep]:
    """Return the steps for problematic samples: the rules, with CLASS_OVERLAP restricted, and two more steps."""
    has_labels = (evidence.labels.counts > 0)[:, None]
    changed: list[_RuleStep] = []
    for step in steps:
        match step.rule.error_type:
            case ErrorType.CLASS_OVERLAP:
                changed.append(replace(step, holds=step.holds & has_labels))
            case ErrorType.FINE_GRAINED:
                changed += [step, *_target_steps(evidence, predicted)]
            case _:
                changed.append(step)
    return changed


def _target_steps(evidence: Evidence, predicted: Classes) -> list[_RuleStep]:
    """Return the two steps that compare the prediction with the target. They hold only if the target is no label."""
    compared = ~evidence.targets_are_labels[:, None] & (predicted >= 0)
    targets, classes = evidence.targets[:, None], np.maximum(predicted, 0)
    similar = compared & evidence.superclasses.share(targets, classes)
    cooccurring = np.zeros(similar.shape, dtype=bool)
    if evidence.cooccurrence is not None:
        cooccurring = compared & evidence.cooccurrence.holds(targets, classes)
    oov, spurious = _rule(ErrorType.FINE_GRAINED_OOV), _rule(ErrorType.SPURIOUS_CORRELATION)
    oov_byte, spurious_byte = (rule.error_type.id | STOPPED_AT_TARGET for rule in (oov, spurious))
    return [
        _RuleStep(Rule(oov.error_type, oov.hits), similar, oov_byte),
        _RuleStep(spurious, cooccurring, spurious_byte),
    ]


def _rule(error_type: ErrorType) -> Rule:
    return next(rule for rule in ORDER if rule.error_type is error_type)
