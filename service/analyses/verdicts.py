"""Verdicts of one analysis: filtered, paged, with their evidence, or as a table."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from errata.errors import EvidenceNotFound, InvalidRequest, Unavailable
from numpy.typing import NDArray

from service.analyses import queries
from service.analyses.evidence_columns import evidence_columns, named
from service.analyses.explain import evidence_for, explain
from service.analyses.judge import Judged, verdicts_of
from service.analyses.ports import Ports
from service.domain import CLASS_GROUPS, Analysis, Bytes, ErrorType, Group, Mask, Verdict
from service.evidence.bundle import Bundle
from service.rules.table import error_type, error_types, tags
from service.taxonomy.classes import class_names


@dataclass(frozen=True)
class VerdictFilter:
    """Which verdicts; all conditions that are set must hold."""

    error_types: frozenset[ErrorType] = frozenset()
    target: int | None = None
    predicted: int | None = None
    superclass: str = ""
    group: Group = Group.ALL
    problematic: bool | None = None


def judged(ports: Ports, analysis_id: str) -> Judged:
    """Return a finished analysis with its verdicts; raise AnalysisNotFound, NotReady or EvidenceNotFound."""
    analysis = queries.succeeded(ports, analysis_id)
    predictions = ports.archive.predictions(analysis_id)
    if predictions is None:
        raise Unavailable(f"the predictions of {analysis_id} are gone from the archive")
    bundle = bundle_of(ports, analysis)
    if len(predictions.top1) != len(bundle.all_targets):
        raise Unavailable(f"the predictions of {analysis_id} in the archive aren't those of its images")
    return Judged(analysis, bundle, predictions, verdicts_of(bundle, predictions))


def bundle_of(ports: Ports, analysis: Analysis) -> Bundle:
    """Return the bundle that judged an analysis; raise EvidenceNotFound, with what to do, where it isn't served."""
    try:
        return ports.evidence_repository.find(analysis.request.dataset, analysis.evidence)
    except EvidenceNotFound as error:
        raise EvidenceNotFound(
            f"{analysis.id} was judged with the bundle {analysis.evidence[:12]}, which isn't served here: name it in "
            f"ERRATA_EVIDENCE, or errata reanalyze {analysis.id} judges the same predictions with the one that is",
            field="name",
        ) from error


def select(found: Judged, wanted: VerdictFilter) -> NDArray[np.intp]:
    """Return the rows, among the N judged, that a filter lets through; ascending."""
    types = error_types(found.verdicts)
    targets = found.bundle.evidence.targets
    predicted = found.predictions.top1[found.bundle.rows]
    mask = (types != ErrorType.UNSPECIFIED) & found.bundle.group_mask(wanted.group)
    if wanted.error_types:
        mask &= np.isin(types, list(wanted.error_types))
    if wanted.target is not None:
        mask &= targets == wanted.target
    if wanted.predicted is not None:
        mask &= predicted == wanted.predicted
    if wanted.problematic is not None:
        mask &= found.bundle.evidence.problematic == wanted.problematic
    if wanted.superclass:
        members = found.bundle.superclass_mask(wanted.superclass)
        if members is None:
            raise InvalidRequest(
                f"expected a superclass of the bundle, got {wanted.superclass!r:.80}", field="filter.superclass"
            )
        mask &= members[targets] | members[predicted]
    return np.flatnonzero(mask)


def records(found: Judged, rows: NDArray[np.intp], with_evidence: bool = False) -> Iterator[Verdict]:
    """Yield the verdicts of some rows."""
    names, problematic = found.bundle.judged_names, found.bundle.evidence.problematic
    targets = found.bundle.evidence.targets
    images = found.bundle.rows
    probability = found.predictions.probability
    groups = found.bundle.groups_of(rows)
    for row, groups_of_row in zip(rows.tolist(), groups, strict=True):
        byte, predicted = int(found.verdicts[row]), int(found.predictions.top1[images[row]])
        yield Verdict(
            file_name=names[row],
            target=int(targets[row]),
            predicted=predicted,
            error_type=error_type(byte),
            problematic=tags(byte, bool(problematic[row])),
            probability=None if probability is None else float(probability[images[row]]),
            evidence=evidence_for(found.bundle, row, predicted) if with_evidence else None,
            groups=groups_of_row,
        )


def table(judged: Judged, filter: VerdictFilter = VerdictFilter(), with_evidence: bool = False) -> pa.Table:
    """Return verdicts as columns, for CSV and Parquet.

    Args:
        judged: The analysis with its verdicts.
        filter: Which verdicts.
        with_evidence: Whether to add the columns of the evidence.

    Returns:
        A row for each verdict in the order of the data set. Tags and groups are joined by spaces. `probability` exists
        if the predictions have it. Texts that repeat are dictionary arrays.
    """
    rows = select(judged, filter)
    bundle, evidence = judged.bundle, judged.bundle.evidence
    images = bundle.rows[rows]
    targets, predicted = evidence.targets[rows], judged.predictions.top1[images]
    class_name = pa.array(class_names())
    columns = {
        "file_name": bundle.names.take(pa.array(images)).cast(pa.string()),
        "target": targets,
        "predicted": predicted,
        "error_type": named(error_types(judged.verdicts)[rows], _ERROR_TYPE_NAMES),
        "problematic": _tag_texts(judged.verdicts[rows], np.asarray(evidence.problematic[rows])),
        "target_name": class_name.take(pa.array(targets)),
        "predicted_name": class_name.take(pa.array(predicted)),
        "groups": _group_texts(np.asarray(bundle.arrays["groups"])[:, rows]),
    }
    if judged.predictions.probability is not None:
        columns["probability"] = pa.array(judged.predictions.probability[images].astype(np.float32))
    if with_evidence:
        columns |= evidence_columns(judged, rows)
    return pa.table(columns)


_ERROR_TYPE_NAMES = pa.array([f"ERROR_TYPE_{error_type.name}" for error_type in ErrorType])


def _tag_texts(verdicts: Bytes, problematic: Mask) -> pa.Array:
    """Return the tags of each verdict as text, empty for a sample that is not problematic."""
    distinct, index = np.unique(np.where(problematic, verdicts, 0), return_inverse=True)
    texts = [" ".join(f"PROBLEMATIC_TAG_{tag.name}" for tag in tags(byte, byte != 0)) for byte in distinct.tolist()]
    return named(index, pa.array(texts, pa.string()))


def _group_texts(groups: Mask) -> pa.Array:
    """Return the groups of each sample as text; `groups` is (3, K) in the order of CLASS_GROUPS."""
    texts = [
        " ".join(f"GROUP_{group.name}" for bit, group in enumerate(CLASS_GROUPS) if code >> bit & 1)
        for code in range(1 << len(CLASS_GROUPS))
    ]
    codes = sum(row.astype(np.uint8) << bit for bit, row in enumerate(groups))
    return named(codes, pa.array(texts))


def explained(found: Judged, file_name: str, predicted: int | None) -> Verdict:
    """Return what a prediction for an image means: any class, or what the model predicted; with its evidence."""
    image = int(found.bundle.rows[found.bundle.row(file_name)])
    own = int(found.predictions.top1[image])
    probability = found.predictions.probability
    mine = predicted is None or predicted == own
    return explain(
        found.bundle,
        file_name,
        own if predicted is None else predicted,
        float(probability[image]) if mine and probability is not None else None,
    )
