"""Load, filter, and explain the verdicts of an analysis."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from errata.errors import (
    DatasetNotFound,
    EvidenceNotFound,
    ImageNotFound,
    InvalidEvidence,
    InvalidRequest,
    Unavailable,
)
from errata.groups import check_group
from numpy.typing import NDArray

from service.analyses import queries
from service.analyses.answers import find_relations
from service.analyses.evidence_columns import dictionary_array, evidence_columns
from service.analyses.explain import collect_evidence, explain_prediction
from service.analyses.judge import JudgedAnalysis, compute_verdicts
from service.analyses.ports import Stores
from service.domain import (
    ALL,
    ERROR_TYPES,
    NO_CLASS_NAME,
    NO_PREDICTION,
    NO_TYPE,
    POSITIONS,
    Analysis,
    AnswerOutcome,
    AnswerRelation,
    Attributes,
    Bytes,
    ErrorType,
    Mask,
    Verdict,
    is_among,
    similar_texts,
)
from service.evidence.bundle import Bundle
from service.rules.table import error_type, error_types, tags


@dataclass(frozen=True)
class VerdictFilter:
    """A filter of verdicts: a verdict matches if it meets all conditions that are set.

    As in breakdowns, the target is the effective one: the first label of an image whose labels reject the target.
    """

    error_types: frozenset[ErrorType] = frozenset()
    target: int | None = None
    predicted: int | None = None
    superclass: str = ""
    group: str = ALL
    problematic: bool | None = None
    slice: str = ""  # id of a slice, or a value that only one attribute has


def load_judged(stores: Stores, analysis_id: str) -> JudgedAnalysis:
    """Return a finished analysis with its verdicts.

    Raises:
        AnalysisNotFound: The analysis does not exist.
        NotReady: The analysis has no result.
        DatasetNotFound, EvidenceNotFound: The bundle of the analysis is not served.
        Unavailable: The archive does not have the predictions, or they do not fit the bundle.
    """
    analysis = queries.get_succeeded(stores, analysis_id)
    predictions = stores.archive.predictions(analysis_id)
    if predictions is None:
        raise Unavailable(f"The archive has no predictions of analysis {analysis_id}.")
    bundle = find_bundle(stores, analysis)
    if len(predictions.top1) != len(bundle.all_targets):
        raise Unavailable(
            f"The archived predictions of analysis {analysis_id} have another number of images than its bundle."
        )
    verdicts = compute_verdicts(bundle, predictions)
    return JudgedAnalysis(analysis, bundle, predictions, verdicts, find_attributes(stores, bundle))


def find_attributes(stores: Stores, bundle: Bundle) -> Attributes | None:
    """Return the attributes of a bundle's images; None if there are none or their file is invalid."""
    try:
        return stores.attributes.find(bundle)
    except InvalidEvidence:  # the log has the error, and ComputeSlices raises it
        return None


def find_bundle(stores: Stores, analysis: Analysis) -> Bundle:
    """Return the bundle of an analysis; raise DatasetNotFound or EvidenceNotFound if it is not served."""
    dataset, digest = analysis.request.dataset, analysis.evidence[:12]
    remedy = (
        f"Add the bundle {digest} to ERRATA_EVIDENCE. If a command with --local used the bundle, restart "
        "'errata serve --local' instead. For commands with --local, pass its path to one of them with --evidence."
    )
    try:
        return stores.evidence.find(dataset, analysis.evidence)
    except DatasetNotFound as error:
        raise DatasetNotFound(
            f"This service has no evidence for the data set {dataset!r:.80} of analysis {analysis.id}. {remedy}",
            field="name",
        ) from error
    except EvidenceNotFound as error:
        raise EvidenceNotFound(
            f"The bundle {digest} of analysis {analysis.id} is not served. {remedy} Or judge the predictions with a "
            f"served bundle: 'errata reanalyze {analysis.id}'.",
            field="name",
        ) from error


def select_rows(judged: JudgedAnalysis, verdict_filter: VerdictFilter) -> NDArray[np.intp]:
    """Return the rows of the verdicts that match a filter, ascending.

    Raises:
        InvalidRequest: The data set does not have the group, superclass, or slice.
    """
    check_group(verdict_filter.group, judged.bundle.groups, "filter.group")
    types = error_types(judged.verdicts)
    targets = judged.bundle.evidence.effective_targets
    predicted = judged.predictions.top1[judged.bundle.rows]
    mask = (types != NO_TYPE) & judged.bundle.group_mask(verdict_filter.group)
    if verdict_filter.error_types:
        mask &= is_among(types, verdict_filter.error_types)
    if verdict_filter.target is not None:
        mask &= targets == verdict_filter.target
    if verdict_filter.predicted is not None:
        mask &= predicted == verdict_filter.predicted
    if verdict_filter.problematic is not None:
        mask &= judged.bundle.evidence.problematic == verdict_filter.problematic
    if verdict_filter.superclass:
        members = superclass_mask(judged.bundle, verdict_filter.superclass, "filter.superclass")
        mask &= members[targets] | (members[np.maximum(predicted, 0)] & (predicted >= 0))
    if verdict_filter.slice:
        mask &= slice_mask(judged, verdict_filter.slice)
    return np.flatnonzero(mask)


def superclass_mask(bundle: Bundle, superclass: str, field: str) -> Mask:
    """Return the classes of a superclass, (C,); raise InvalidRequest about `field` if the bundle does not have it."""
    members = bundle.label_space.superclasses.mask(superclass)
    if members is None:
        known = bundle.label_space.superclasses.ids
        closest = similar_texts(superclass, known, 1) or known[:1]
        remedy = f"Expected one such as {closest[0]!r:.80}" if closest else "The bundle has no superclasses"
        raise InvalidRequest(
            f"Unknown superclass {superclass!r:.80} of the bundle {bundle.digest[:12]}. {remedy}.", field=field
        )
    return members


def slice_mask(judged: JudgedAnalysis, text: str) -> Mask:
    """Return the judged images of a slice, (N,); raise InvalidRequest for an unknown slice."""
    attributes = judged.attributes
    number = None if attributes is None else attributes.find(text)
    if attributes is None or number is None:
        slices = attributes.slices if attributes else ()
        same = [item for item in slices if item.value == text]  # several attributes have the value
        examples = ", ".join(repr(item.id) for item in (same or slices)[:3])
        remedy = f"Expected a slice such as {examples}" if examples else "The data set has no attributes"
        if same:
            raise InvalidRequest(f"{len(same)} attributes have the value {text!r:.80}. {remedy}.", field="filter.slice")
        raise InvalidRequest(f"Unknown slice {text!r:.80}. {remedy}.", field="filter.slice")
    return attributes.mask(number)


def iterate_verdicts(judged: JudgedAnalysis, rows: NDArray[np.intp], with_evidence: bool = False) -> Iterator[Verdict]:
    """Yield the verdicts of rows, with their evidence if `with_evidence`."""
    names, problematic = judged.bundle.judged_names, judged.bundle.evidence.problematic
    targets, effective = judged.bundle.evidence.targets, judged.bundle.evidence.effective_targets
    rejected = judged.bundle.evidence.rejected
    images = judged.bundle.rows
    matches_label = judged.bundle.evidence.labels.take(rows).contain(judged.predictions.top1[images[rows]]).tolist()
    groups, answers = judged.bundle.groups_of(rows), judged.predictions.answers
    relations = find_relations(judged.bundle, judged.predictions, judged.verdicts, rows).tolist()
    for row, groups_of_row, is_label, relation in zip(rows.tolist(), groups, matches_label, relations, strict=True):
        byte, predicted = int(judged.verdicts[row]), int(judged.predictions.top1[images[row]])
        yield Verdict(
            file_name=names[row],
            target=int(targets[row]),
            predicted=predicted,
            error_type=error_type(byte),
            problematic=tags(byte, bool(problematic[row])),
            probability=judged.predictions.probability_of(images[row]),
            evidence=collect_evidence(judged.bundle, row, predicted, byte, judged.attributes)
            if with_evidence
            else None,
            groups=groups_of_row,
            matches_label=is_label,
            answer="" if answers is None else answers.text_of(images[row]),
            answer_outcome=AnswerOutcome.UNSPECIFIED if answers is None else answers.outcome_of(images[row]),
            answer_relation=AnswerRelation(relation),
            replaced_by=int(effective[row]) if rejected[row] else None,
        )


def verdict_table(
    judged: JudgedAnalysis, filter: VerdictFilter = VerdictFilter(), with_evidence: bool = False
) -> pa.Table:
    """Return verdicts as columns, for CSV, Parquet, and Arrow.

    Args:
        judged: The analysis with its verdicts.
        filter: Selects the verdicts.
        with_evidence: Whether to add the columns of the evidence.

    Returns:
        A row for each verdict in the order of the data set. Tags and groups are joined by spaces. If the name of a
        group contains a space, groups are joined by semicolons instead. `probability` exists if the predictions have
        it. Columns with repeated texts are dictionary arrays.
    """
    rows = select_rows(judged, filter)
    bundle, evidence = judged.bundle, judged.bundle.evidence
    images = bundle.rows[rows]
    positions = POSITIONS[error_types(judged.verdicts)[rows]]
    targets, predicted = evidence.targets[rows], judged.predictions.top1[images]
    effective = evidence.effective_targets[rows]
    class_name = pa.array(bundle.label_space.names)
    predicted_name = class_name.take(pa.array(predicted, mask=predicted < 0)).fill_null(NO_CLASS_NAME)
    columns = {
        "file_name": bundle.names.take(pa.array(images)).cast(pa.string()),
        "target": targets,
        "predicted": np.maximum(predicted, -1),
        "error_type": dictionary_array(positions.astype(np.uint8), _ERROR_TYPE_KEYS),
        "problematic": _tag_texts(judged.verdicts[rows], np.asarray(evidence.problematic[rows])),
        "target_name": class_name.take(pa.array(targets)),
        "predicted_name": predicted_name,
        "groups": _group_texts(bundle.groups, rows),
        "rejected_target": evidence.rejected[rows],
        "effective_target": effective,
        "effective_target_name": class_name.take(pa.array(effective)),
        "matches_label": evidence.labels.take(rows).contain(predicted),
    }
    if judged.predictions.probability is not None:
        columns["probability"] = pa.array(judged.predictions.probability[images].astype(np.float32))
    if judged.predictions.answers is not None:
        columns |= _answer_columns(judged, rows)
    if with_evidence:
        columns |= evidence_columns(judged, rows)
    return pa.table(columns)


def _answer_columns(judged: JudgedAnalysis, rows: NDArray[np.intp]) -> dict[str, pa.Array]:
    """Return the answer of each verdict, its outcome, and its relation to the labels."""
    answers = judged.predictions.answers
    assert answers is not None, "this is a bug: the predictions are classes"
    numbers = answers.index[judged.bundle.rows[rows]]
    mask = numbers < 0
    outcomes = np.where(mask, 0, answers.outcomes[np.maximum(numbers, 0)]).astype(np.uint8)
    relations = find_relations(judged.bundle, judged.predictions, judged.verdicts, rows)
    names = [[f"{prefix}_{item.name}" for item in kind] for prefix, kind in _ANSWER_ENUMS]
    return {
        "answer": pa.array(answers.texts, pa.string()).take(pa.array(numbers, mask=mask)).fill_null(""),
        "answer_outcome": dictionary_array(outcomes, pa.array(names[0])),
        "answer_relation": dictionary_array(relations, pa.array(names[1])),
    }


_ANSWER_ENUMS = (("ANSWER_OUTCOME", AnswerOutcome), ("ANSWER_RELATION", AnswerRelation))
_ERROR_TYPE_KEYS = pa.array([error_type.key for error_type in ERROR_TYPES])


def _tag_texts(verdicts: Bytes, problematic: Mask) -> pa.Array:
    """Return the tags of each verdict as text, empty for a sample that is not problematic."""
    distinct, index = _distinct(np.where(problematic, verdicts, 0))
    texts = [" ".join(f"PROBLEMATIC_TAG_{tag.name}" for tag in tags(byte, byte != 0)) for byte in distinct]
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}  # several bytes have the same tags
    of_byte = np.array([numbers[text] for text in texts], dtype=np.uint8)
    return dictionary_array(of_byte[index], pa.array([*numbers], pa.string()))


def _group_texts(groups: Mapping[str, Mask], rows: NDArray[np.intp]) -> pa.Array:
    """Return the groups of each selected sample as text, with the separators of labels files."""
    separator = ";" if any(" " in group for group in groups) else " "
    bits = np.zeros(len(rows), dtype=np.int64)
    for bit, members in enumerate(groups.values()):
        bits += members[rows].astype(np.int64) << bit
    distinct, index = _distinct(bits)
    texts = [separator.join(group for bit, group in enumerate(groups) if code >> bit & 1) for code in distinct]
    return dictionary_array(index.astype(np.int32), pa.array(texts, pa.string()))


def _distinct(codes: NDArray[np.integer]) -> tuple[list[int], NDArray[np.intp]]:
    """Return the distinct codes, ascending, and the position of each code among them, as np.unique does.

    The codes are below 65,536. Counting them takes a tenth of the time in which np.unique sorts them.
    """
    is_used = np.bincount(codes) > 0
    return np.flatnonzero(is_used).tolist(), (np.cumsum(is_used) - 1)[codes]


def explain_image(judged: JudgedAnalysis, file_name: str, predicted: int | None) -> Verdict:
    """Return the verdict of a prediction for an image, with its evidence.

    Args:
        judged: The analysis.
        file_name: The image.
        predicted: A class; None: the model's prediction.

    Raises:
        ImageNotFound: The evidence does not cover the image, or the analysis has no prediction for it.
    """
    image = int(judged.bundle.rows[judged.bundle.row(file_name)])
    model_prediction = int(judged.predictions.top1[image])
    if predicted is None and model_prediction == NO_PREDICTION:
        raise ImageNotFound(
            f"Analysis {judged.analysis.id} has no prediction for the image {file_name!r:.120}.", field="file_name"
        )
    is_model_prediction = predicted is None or predicted == model_prediction
    verdict = explain_prediction(
        judged.bundle,
        file_name,
        model_prediction if predicted is None else predicted,
        judged.predictions.probability_of(image) if is_model_prediction else None,
        judged.attributes,
    )
    answers = judged.predictions.answers
    if answers is None or not is_model_prediction:
        return verdict
    row = np.array([judged.bundle.row(file_name)])
    relation = find_relations(judged.bundle, judged.predictions, judged.verdicts, row)[0]
    return replace(
        verdict,
        answer=answers.text_of(image),
        answer_outcome=answers.outcome_of(image),
        answer_relation=AnswerRelation(int(relation)),
    )
