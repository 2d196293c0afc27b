"""Verdicts of one analysis: filtered, paged, with their evidence, or as a table."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from errata.errors import EvidenceNotFound, InvalidRequest, Unavailable
from numpy.typing import NDArray

from service.analyses import queries
from service.analyses.explain import evidence_for, explain
from service.analyses.judge import Judged, verdicts_of
from service.analyses.ports import Ports
from service.domain import Analysis, ErrorType, Group, Verdict
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
        return ports.evidence.find(analysis.request.dataset, analysis.evidence)
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


def table(found: Judged) -> pa.Table:
    """Return all verdicts as columns, for CSV and Parquet; tags are joined by blanks."""
    rows = select(found, VerdictFilter())
    types = error_types(found.verdicts)[rows]
    images = found.bundle.rows[rows]
    targets, predicted = found.bundle.evidence.targets[rows], found.predictions.top1[images]
    names = np.array(class_names())
    problematic = found.bundle.evidence.problematic[rows].tolist()
    columns = {
        "file_name": [found.bundle.judged_names[row] for row in rows.tolist()],
        "target": targets,
        "predicted": predicted,
        "error_type": [f"ERROR_TYPE_{ErrorType(type_).name}" for type_ in types.tolist()],
        "problematic": [
            " ".join(f"PROBLEMATIC_TAG_{tag.name}" for tag in tags(byte, flag)) if flag else ""
            for byte, flag in zip(found.verdicts[rows].tolist(), problematic, strict=True)
        ],
        "target_name": names[targets],
        "predicted_name": names[predicted],
        "groups": [" ".join(f"GROUP_{group.name}" for group in groups) for groups in found.bundle.groups_of(rows)],
    }
    if found.predictions.probability is not None:
        columns["probability"] = found.predictions.probability[images].astype(np.float32)
    return pa.table(columns)


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
