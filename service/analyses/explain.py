"""Explain: why a prediction for one image means what it means, from the bundle alone."""

import numpy as np

from service.analyses.judge import check_verdicts
from service.domain import (
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
from service.evidence.labels import validation_name
from service.evidence.overlap import explain_overlap
from service.evidence.vocabulary import compare
from service.rules.decide import trace
from service.rules.table import error_type, tags


def explain(bundle: Bundle, file_name: str, predicted: int, probability: float | None = None) -> Verdict:
    """Return what a prediction would mean, with its evidence; raise ImageNotFound if the image isn't judged."""
    row = bundle.row(file_name)
    check_verdicts(bundle, bundle.verdicts[row, predicted : predicted + 1])
    byte = int(bundle.verdicts[row, predicted])
    return Verdict(
        file_name=file_name,
        target=int(bundle.evidence.targets[row]),
        predicted=predicted,
        error_type=error_type(byte),
        problematic=tags(byte, bool(bundle.evidence.problematic[row])),
        probability=probability,
        evidence=evidence_for(bundle, row, predicted),
        groups=bundle.groups_of(np.array([row]))[0],
    )


def evidence_for(bundle: Bundle, row: int, predicted: int) -> VerdictEvidence:
    """Return the evidence behind one verdict."""
    evidence = bundle.evidence
    steps = trace(evidence.rows(row, row + 1), predicted)
    labels = [int(label) for label in evidence.labels.of(row)]
    target = int(evidence.targets[row])
    relatives = labels if target in labels else [*labels, target]  # what is problematic may stop at its target
    return VerdictEvidence(
        labels=tuple(zip(labels, evidence.labels.sources_of(row), strict=True)),
        shared_superclasses=tuple(
            SharedSuperclass(label, names) for label in relatives if (names := _shared(bundle, label, predicted))
        ),
        co_occurrences=tuple(result for label in relatives if (result := _seen_together(bundle, label, predicted))),
        overlap=explain_overlap(target, predicted),
        vocabulary=_vocabulary(bundle, row, predicted, steps),
        trace=steps,
    )


def _vocabulary(bundle: Bundle, row: int, predicted: int, steps: tuple[Step, ...]) -> VocabularyEvidence | None:
    """Return what CLIP said, if the rule that asks it was reached."""
    asked = any(
        step.error_type is ErrorType.FINE_GRAINED_OOV and not step.note and step.outcome in (Outcome.HIT, Outcome.MISS)
        for step in steps
    )
    if not asked or bundle.proposals is None:
        return None
    return compare(
        bundle.image_embedding(row),
        bundle.arrays["text_embeddings"],
        int(bundle.evidence.targets[row]),
        predicted,
        bundle.arrays["neighbors"][row : row + 1],
        bundle.proposals,
    )


def _shared(bundle: Bundle, label: int, predicted: int) -> tuple[str, ...]:
    members = bundle.arrays["superclass_members"]
    both = np.flatnonzero(members[:, label] & members[:, predicted])
    return tuple(bundle.manifest.superclasses[place] for place in both.tolist())


def _seen_together(bundle: Bundle, label: int, predicted: int) -> CoOccurrence | None:
    pairs, matrix = bundle.pairs, bundle.evidence.cooccurrence
    if pairs is None or matrix is None or not matrix[label, predicted]:
        return None
    low, high = sorted((label, predicted))
    place = int(np.flatnonzero((pairs.classes[:, 0] == low) & (pairs.classes[:, 1] == high))[0])
    examples = [validation_name(number) for number in pairs.examples[place].tolist() if number]
    return CoOccurrence(label, int(pairs.counts[place]), tuple(examples))
