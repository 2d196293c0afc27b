"""The error table of a report: the rows of the worst errors, and the facts that their evidence refers to."""

from collections.abc import Mapping
from enum import Enum, auto

import numpy as np
from errata.messages import answer_note, attribute_note
from numpy.typing import NDArray

from service.analyses.answers import find_relations
from service.analyses.embedded_thumbnails import embed_thumbnails
from service.analyses.explain import collect_evidence
from service.analyses.judge import JudgedAnalysis
from service.analyses.ports import Ports
from service.domain import (
    POSITIONS,
    TOP1_ERROR_TYPES,
    AnswerRelation,
    Attributes,
    Bytes,
    ErrorType,
    ExpertJudgment,
    VocabularyEvidence,
    is_among,
)
from service.evidence.agreement import agreement_for
from service.evidence.bundle import Bundle
from service.report.agreement_view import agreement_view
from service.report.class_names import display_names
from service.report.error_table import ClassPair, ErrorTable
from service.report.urls import encode_query, image_url, thumbnail_url
from service.rules.table import error_types, tags

MAX_TABLE_ERRORS = 20_000  # rows of the error table
MAX_TEXTS = 300  # errors with vocabulary evidence


class ReportKind(Enum):
    """Where a report is read, and whether it contains thumbnails."""

    SITE = auto()  # a page with links to pictures and to pages about images
    FILE = auto()  # a self-contained file
    FILE_WITH_THUMBNAILS = auto()


def sort_by_severity(
    types: NDArray[np.uint8], problematic: NDArray[np.bool_], probability: NDArray[np.floating] | None
) -> NDArray[np.intp]:
    """Return the rows of top-1 errors, (n,): problematic images last, each part by falling severity and confidence."""
    rows = np.flatnonzero(is_among(types, TOP1_ERROR_TYPES))
    confidence = np.zeros(len(rows)) if probability is None else np.nan_to_num(probability[rows].astype(float))
    return rows[np.lexsort((rows, -confidence, -POSITIONS[types[rows]], problematic[rows]))]


def error_table(ports: Ports, judged: JudgedAnalysis, rows: NDArray[np.intp], kind: ReportKind) -> ErrorTable:
    """Return the error table of an analysis.

    Args:
        ports: The ports of the use cases.
        judged: The analysis.
        rows: The judged images that are errors, (n,), the worst first; the table contains the first MAX_TABLE_ERRORS.
        kind: The kind of the report.
    """
    bundle, total, is_page = judged.bundle, len(rows), kind is ReportKind.SITE
    superclasses = bundle.label_space.superclasses
    rows = rows[:MAX_TABLE_ERRORS]
    evidence = bundle.evidence
    images = bundle.rows[rows]
    types = error_types(judged.verdicts)[rows]
    targets, predicted = evidence.effective_targets[rows], judged.predictions.top1[images]
    problematic = evidence.problematic[rows]
    labels = evidence.labels.take(rows)
    names = [bundle.judged_names[row] for row in rows.tolist()]
    probability = judged.predictions.probability
    is_overlap = types == ErrorType.CLASS_OVERLAP.id
    overlapping_pairs = {*zip(targets[is_overlap].tolist(), predicted[is_overlap].tolist(), strict=True)}
    return ErrorTable(
        names=names,
        targets=targets,
        rejected={row: int(evidence.targets[rows[row]]) for row in np.flatnonzero(evidence.rejected[rows]).tolist()},
        predicted=predicted,
        types=types,
        problematic=problematic,
        tags={row: tags(int(judged.verdicts[rows[row]]), True) for row in np.flatnonzero(problematic).tolist()},
        probability=None if probability is None else probability[images],
        labels=labels,
        groups={group: members[rows] for group, members in bundle.groups.items()},
        total=total,
        abstained=bundle.manifest.abstained,
        class_names=display_names(bundle.label_space),
        superclasses={
            name: members.tolist() for name, members in zip(superclasses.ids, superclasses.members, strict=True)
        },
        pairs=_co_occurring_pairs(bundle, labels.classes, np.repeat(predicted, labels.counts)),
        overlaps={pair: bundle.label_space.overlap_reason(*pair) for pair in overlapping_pairs},
        texts=_vocabulary_evidence(bundle, rows, judged.verdicts[rows], predicted),
        attributes=_attribute_notes(judged.attributes, rows),
        answers=_answer_notes(judged, rows),
        pictures=embed_thumbnails(ports, bundle.dataset, names) if kind is ReportKind.FILE_WITH_THUMBNAILS else {},
        experts=_expert_judgments(bundle, rows, predicted),
        agreement=agreement_view(agreement).of_type if (agreement := agreement_for(bundle.dataset)) else {},
        picture_base=thumbnail_url(bundle.dataset, "") if is_page and ports.thumbnails.has(bundle.dataset) else "",
        page_base=image_url(bundle.dataset, "") if is_page else "",
        page_query=encode_query({"analysis": judged.analysis.id}) if is_page else "",
    )


def _answer_notes(judged: JudgedAnalysis, rows: NDArray[np.intp]) -> dict[int, str]:
    """Return a sentence about the answer of each error by index; empty if the predictions are classes."""
    answers = judged.predictions.answers
    if answers is None:
        return {}
    images = judged.bundle.rows[rows].tolist()
    relations = find_relations(judged.bundle, judged.predictions, judged.verdicts, rows).tolist()
    return {
        index: answer_note(answers.text_of(image), answers.outcome_of(image), AnswerRelation(relation))
        for index, (image, relation) in enumerate(zip(images, relations, strict=True))
    }


def _attribute_notes(attributes: Attributes | None, rows: NDArray[np.intp]) -> dict[int, list[str]]:
    """Return the attributes of each error that has any, by index."""
    if attributes is None:
        return {}
    return {
        index: [attribute_note(item.attribute, item.values) for item in items]
        for index, items in enumerate(attributes.of_rows(rows.tolist()))
        if items
    }


def _co_occurring_pairs(
    bundle: Bundle, labels: NDArray[np.int16], predicted: NDArray[np.int16]
) -> dict[tuple[int, int], ClassPair]:
    """Return, for each co-occurring pair of label and prediction, the number of images with both, and examples.

    Args:
        bundle: The evidence.
        labels: (L,) classes.
        predicted: (L,) predicted class of the sample of each label.
    """
    pairs, relation = bundle.pairs, bundle.evidence.cooccurrence
    if pairs is None or relation is None:
        return {}
    co_occurring = np.flatnonzero(relation.holds(labels, np.maximum(predicted, 0)) & (predicted >= 0))
    distinct = np.unique(np.stack([labels[co_occurring], predicted[co_occurring]], axis=1), axis=0).tolist()
    row_of = {(int(low), int(high)): row for row, (low, high) in enumerate(pairs.classes.tolist())}
    result = {}
    for label, prediction in distinct:
        row = row_of[min(label, prediction), max(label, prediction)]
        numbers = pairs.examples[row]
        result[label, prediction] = ClassPair(int(pairs.counts[row]), tuple(bundle.example_names(numbers[numbers > 0])))
    return result


def _vocabulary_evidence(
    bundle: Bundle, rows: NDArray[np.intp], verdicts: Bytes, predicted: NDArray[np.int16]
) -> Mapping[int, VocabularyEvidence]:
    """Return the vocabulary evidence of the first out-of-vocabulary errors, by index."""
    if bundle.proposals is None:
        return {}
    result = {}
    for index in np.flatnonzero(error_types(verdicts) == ErrorType.FINE_GRAINED_OOV.id)[:MAX_TEXTS].tolist():
        row, prediction, verdict = int(rows[index]), int(predicted[index]), int(verdicts[index])
        vocabulary = collect_evidence(bundle, row, prediction, verdict).vocabulary
        if vocabulary is not None:
            result[index] = vocabulary
    return result


def _expert_judgments(
    bundle: Bundle, rows: NDArray[np.intp], predicted: NDArray[np.int16]
) -> Mapping[int, ExpertJudgment]:
    """Return the expert judgment of each error that has one, by index."""
    judgments = bundle.expert_judgments
    pairs = enumerate(zip(rows.tolist(), predicted.tolist(), strict=True)) if judgments else ()
    return {index: judgments[pair] for index, pair in pairs if pair in judgments}
