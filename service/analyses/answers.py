"""Free-text answers: map them to classes, relate them to labels, and summarize the answers of an upload."""

from collections.abc import Iterator

import numpy as np
from errata.errors import InvalidRequest
from numpy.typing import NDArray

from service.analyses.judge import compute_verdicts
from service.domain import (
    IMAGENET_1K,
    MULTI_LABEL_ERROR_TYPES,
    NO_CLASS,
    AnswerExample,
    AnswerOutcome,
    AnswerRelation,
    Answers,
    AnswerSummary,
    Bytes,
    LabelSpace,
    Predictions,
    is_among,
)
from service.evidence.bundle import Bundle
from service.predictions.answers.mapping_file import FIELD, parse_mapping
from service.predictions.answers.matcher import AnswerMatcher
from service.predictions.answers.relations import AnswerRelations
from service.report.class_names import display_names
from service.rules.table import error_types
from service.taxonomy.proposals import PROMPT

MAX_EXAMPLES = 10  # of each outcome
PROMPT_START = PROMPT.format("")


def create_matcher(bundle: Bundle, mapping: str) -> AnswerMatcher:
    """Return the matcher of answers to a bundle's classes; `mapping` is the content of a mapping file.

    Raises:
        InvalidUpload: The mapping file is invalid.
    """
    return AnswerMatcher(bundle.label_space, parse_mapping(mapping, bundle.label_space), _vocabulary(bundle))


def check_mapping_applies(mapping: str, predictions: Predictions) -> None:
    """Raise InvalidRequest if there is a mapping file, but the predictions are not free-text answers."""
    if mapping and predictions.answers is None:
        raise InvalidRequest(
            "--answers-mapping does not apply: the file has classes instead of free-text answers. Remove the option, "
            "or name the column of the answers `answer`.",
            field=FIELD,
        )


def _vocabulary(bundle: Bundle) -> Iterator[str]:
    """Yield the texts of a custom vocabulary that are not classes. WordNet has the texts of ImageNet-1k: yield none."""
    if bundle.label_space.name == IMAGENET_1K or (proposals := bundle.proposals) is None:
        return
    for concept in np.flatnonzero(proposals.is_outside).tolist():
        for text in proposals.concept_texts[concept].tolist():
            yield proposals.texts[text].removeprefix(PROMPT_START)


def find_relations(bundle: Bundle, predictions: Predictions, verdicts: Bytes, rows: NDArray[np.intp]) -> Bytes:
    """Return the relation of the answer of each sample to the labels of the sample, (K,) AnswerRelation.

    Args:
        bundle: The evidence.
        predictions: The predictions of all images.
        verdicts: (N,) bytes of the verdict table. Only errors have a relation.
        rows: (K,) samples.
    """
    result = np.zeros(len(rows), dtype=np.uint8)
    answers, labels = predictions.answers, bundle.evidence.labels
    if answers is None:
        return result
    images = bundle.rows[rows]
    is_error = is_among(error_types(verdicts[rows]), MULTI_LABEL_ERROR_TYPES) & (answers.index[images] >= 0)
    relations = AnswerRelations(bundle.label_space)
    known: dict[tuple[int, tuple[int, ...]], AnswerRelation] = {}
    for position in np.flatnonzero(is_error).tolist():
        number = int(answers.index[images[position]])
        key = number, tuple(labels.of(rows[position]).tolist())
        if key not in known:
            known[key] = relations.compare(answers.texts[number], int(predictions.top1[images[position]]), key[1])
        result[position] = known[key]
    return result


def summarize_answers(bundle: Bundle, predictions: Predictions, mapping: str = "") -> AnswerSummary | None:
    """Return how answers were mapped to classes; None if the predictions are classes.

    Args:
        bundle: The evidence.
        predictions: The predictions of all images.
        mapping: The digest of the mapping file.
    """
    answers = predictions.answers
    if answers is None:
        return None
    verdicts = compute_verdicts(bundle, predictions)
    counts = np.bincount(answers.index[answers.index >= 0], minlength=len(answers.texts))
    by_outcome = {outcome: int(counts[answers.outcomes == outcome].sum()) for outcome in AnswerOutcome}
    is_error = is_among(error_types(verdicts), MULTI_LABEL_ERROR_TYPES) & ~bundle.evidence.problematic
    errors = np.flatnonzero(is_error)
    relations = find_relations(bundle, predictions, verdicts, errors)
    return AnswerSummary(
        num_answers=int(counts.sum()),
        num_mapped=by_outcome[AnswerOutcome.MAPPED],
        num_unknown=by_outcome[AnswerOutcome.UNKNOWN],
        num_ambiguous=by_outcome[AnswerOutcome.AMBIGUOUS],
        num_outside=by_outcome[AnswerOutcome.OUTSIDE],
        num_overridden=int(counts[answers.overridden].sum()),
        num_distinct=int(np.count_nonzero(counts)),
        num_unmapped_errors=int(np.count_nonzero(predictions.top1[bundle.rows[errors]] == NO_CLASS)),
        num_errors=len(errors),
        num_too_general=int(np.count_nonzero(relations == AnswerRelation.TOO_GENERAL)),
        num_more_specific=int(np.count_nonzero(relations == AnswerRelation.MORE_SPECIFIC)),
        examples=tuple(_examples(answers, counts, bundle.label_space)),
        mapping_digest=mapping,
    )


def _examples(answers: Answers, counts: NDArray[np.intp], label_space: LabelSpace) -> Iterator[AnswerExample]:
    """Yield the most frequent answers for each of the outcomes in which an answer has no class."""
    names = display_names(label_space)
    for outcome in (AnswerOutcome.AMBIGUOUS, AnswerOutcome.OUTSIDE, AnswerOutcome.UNKNOWN):
        numbers = np.flatnonzero((answers.outcomes == outcome) & (counts > 0))
        for number in numbers[np.argsort(-counts[numbers], kind="stable")][:MAX_EXAMPLES].tolist():
            classes = tuple(names[index] for index in answers.candidates.get(number, ()))
            yield AnswerExample(answers.texts[number], outcome, int(counts[number]), classes)
