"""Explain the verdict of one prediction with the evidence of the bundle."""

from dataclasses import replace

import numpy as np

from service.analyses.judge import check_verdicts
from service.domain import (
    NO_CLASS,
    Attributes,
    CoOccurrence,
    ErrorType,
    Outcome,
    SharedSuperclass,
    Step,
    Verdict,
    VerdictEvidence,
    VocabularyEvidence,
)
from service.evidence.bundle import Bundle
from service.evidence.vocabulary_comparison import compare_all
from service.rules import find_abstained_types
from service.rules.outcomes import trace
from service.rules.table import error_type, tags


def explain_prediction(
    bundle: Bundle,
    file_name: str,
    predicted: int,
    probability: float | None = None,
    attributes: Attributes | None = None,
) -> Verdict:
    """Return the verdict of a prediction for an image, with its evidence.

    Args:
        bundle: The evidence.
        file_name: The image.
        predicted: The predicted class, or NO_CLASS.
        probability: The probability of the prediction; None if it is not known.
        attributes: The attributes of the judged images.

    Raises:
        ImageNotFound: The evidence does not cover the image.
    """
    row = bundle.row(file_name)
    verdicts = bundle.verdict(row, predicted)
    check_verdicts(bundle, verdicts)
    byte = int(verdicts[0])
    return Verdict(
        file_name=file_name,
        target=int(bundle.evidence.targets[row]),
        predicted=predicted,
        error_type=error_type(byte),
        problematic=tags(byte, bool(bundle.evidence.problematic[row])),
        probability=probability,
        evidence=collect_evidence(bundle, row, predicted, byte, attributes),
        groups=bundle.groups_of(np.array([row]))[0],
        matches_label=predicted in bundle.evidence.labels.of(row),
        replaced_by=int(bundle.evidence.effective_targets[row]) if bundle.evidence.rejected[row] else None,
    )


def collect_evidence(
    bundle: Bundle, row: int, predicted: int, verdict: int, attributes: Attributes | None = None
) -> VerdictEvidence:
    """Return the evidence behind the verdict (a byte of the verdict table) of one prediction."""
    evidence = bundle.evidence
    steps = trace(verdict, bool(evidence.problematic[row]), find_abstained_types(evidence))
    labels = [int(label) for label in evidence.labels.of(row)]
    target = int(evidence.targets[row])
    uses_target = evidence.problematic[row] and target not in labels  # the rules do not use a rejected target
    classes = [*labels, target] if uses_target else labels
    if predicted == NO_CLASS:  # an answer without a class has no relation to a class
        classes = []
    return VerdictEvidence(
        labels=tuple(zip(labels, evidence.labels.sources_of(row), strict=True)),
        shared_superclasses=tuple(
            SharedSuperclass(label, names)
            for label in classes
            if (names := bundle.label_space.superclasses.shared_names(label, predicted))
        ),
        co_occurrences=tuple(
            co_occurrence for label in classes if (co_occurrence := _find_co_occurrence(bundle, label, predicted))
        ),
        overlap=bundle.label_space.overlap_reason(int(evidence.effective_targets[row]), predicted),
        vocabulary=_vocabulary_evidence(bundle, row, predicted, steps),
        trace=steps,
        expert_judgment=bundle.expert_judgments.get((row, predicted)),
        attributes=() if attributes is None else attributes.of_rows([row])[0],
    )


def _vocabulary_evidence(
    bundle: Bundle, row: int, predicted: int, steps: tuple[Step, ...]
) -> VocabularyEvidence | None:
    """Return the texts that CLIP matches best; None unless the rule that needs them was evaluated."""
    is_evaluated = any(
        step.error_type is ErrorType.FINE_GRAINED_OOV and not step.note and step.outcome in (Outcome.HIT, Outcome.MISS)
        for step in steps
    )
    if not is_evaluated or bundle.proposals is None or predicted == NO_CLASS:
        return None
    (result,) = compare_all(
        bundle.image_embedding(row),
        bundle.arrays["text_embeddings"],
        bundle.evidence.effective_targets[row : row + 1],
        np.array([predicted], dtype=np.int16),
        bundle.arrays["neighbors"][row : row + 1],
        bundle.proposals,
    )
    preferred = bundle.labels_preferred(np.array([row]), np.array([predicted], dtype=np.int16))
    return result if preferred is None else replace(result, prefers_label=bool(preferred[0]))


def _find_co_occurrence(bundle: Bundle, label: int, predicted: int) -> CoOccurrence | None:
    pairs, relation = bundle.pairs, bundle.evidence.cooccurrence
    if pairs is None or relation is None or not relation.holds(np.array([label]), np.array([predicted]))[0]:
        return None
    low, high = sorted((label, predicted))
    index = int(np.flatnonzero((pairs.classes[:, 0] == low) & (pairs.classes[:, 1] == high))[0])
    numbers = pairs.examples[index]
    return CoOccurrence(label, int(pairs.counts[index]), tuple(bundle.example_names(numbers[numbers > 0])))
