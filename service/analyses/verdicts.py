"""Load, filter, and explain the verdicts of an analysis."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from errata.errors import EvidenceNotFound, InvalidRequest, Unavailable
from numpy.typing import NDArray

from service.analyses import queries
from service.analyses.explain import collect_evidence, explain_prediction
from service.analyses.judge import JudgedAnalysis, compute_verdicts
from service.analyses.ports import Ports
from service.domain import Analysis, ErrorType, Group, Verdict
from service.evidence.bundle import Bundle
from service.rules.table import error_type, error_types, tags
from service.taxonomy.classes import class_names


@dataclass(frozen=True)
class VerdictFilter:
    """A filter of verdicts: a verdict matches if it meets all conditions that are set."""

    error_types: frozenset[ErrorType] = frozenset()
    target: int | None = None
    predicted: int | None = None
    superclass: str = ""
    group: Group = Group.ALL
    problematic: bool | None = None


def load_judged(ports: Ports, analysis_id: str) -> JudgedAnalysis:
    """Return a finished analysis with its verdicts.

    Raises:
        AnalysisNotFound: The analysis does not exist.
        NotReady: The analysis has no result.
        EvidenceNotFound: Its bundle is not served.
        Unavailable: The archive does not have its predictions.
    """
    analysis = queries.get_succeeded(ports, analysis_id)
    predictions = ports.archive.predictions(analysis_id)
    if predictions is None:
        raise Unavailable(f"The archive has no predictions of analysis {analysis_id}.")
    bundle = find_bundle(ports, analysis)
    if len(predictions.top1) != len(bundle.all_targets):
        raise Unavailable(f"The archived predictions of analysis {analysis_id} are of another number of images.")
    return JudgedAnalysis(analysis, bundle, predictions, compute_verdicts(bundle, predictions))


def find_bundle(ports: Ports, analysis: Analysis) -> Bundle:
    """Return the bundle of an analysis; raise EvidenceNotFound if it is not served."""
    try:
        return ports.evidence_repository.find(analysis.request.dataset, analysis.evidence)
    except EvidenceNotFound as error:
        raise EvidenceNotFound(
            f"The bundle {analysis.evidence[:12]} of analysis {analysis.id} is not served. Add it to ERRATA_EVIDENCE, "
            f"or judge the predictions with a served bundle: 'errata reanalyze {analysis.id}'.",
            field="name",
        ) from error


def select_rows(judged: JudgedAnalysis, verdict_filter: VerdictFilter) -> NDArray[np.intp]:
    """Return the rows of matching verdicts, ascending; raise InvalidRequest for an unknown superclass."""
    types = error_types(judged.verdicts)
    targets = judged.bundle.evidence.targets
    predicted = judged.predictions.top1[judged.bundle.rows]
    mask = (types != ErrorType.UNSPECIFIED) & judged.bundle.group_mask(verdict_filter.group)
    if verdict_filter.error_types:
        mask &= np.isin(types, list(verdict_filter.error_types))
    if verdict_filter.target is not None:
        mask &= targets == verdict_filter.target
    if verdict_filter.predicted is not None:
        mask &= predicted == verdict_filter.predicted
    if verdict_filter.problematic is not None:
        mask &= judged.bundle.evidence.problematic == verdict_filter.problematic
    if verdict_filter.superclass:
        members = judged.bundle.superclass_mask(verdict_filter.superclass)
        if members is None:
            raise InvalidRequest(
                f"Unknown superclass {verdict_filter.superclass!r:.80}. Expected a superclass of the bundle "
                f"{judged.bundle.digest[:12]}, such as {judged.bundle.manifest.superclasses[0]!r}.",
                field="filter.superclass",
            )
        mask &= members[targets] | members[predicted]
    return np.flatnonzero(mask)


def iterate_verdicts(judged: JudgedAnalysis, rows: NDArray[np.intp], with_evidence: bool = False) -> Iterator[Verdict]:
    """Yield the verdicts of rows, with their evidence if `with_evidence`."""
    names, problematic = judged.bundle.judged_names, judged.bundle.evidence.problematic
    targets = judged.bundle.evidence.targets
    images = judged.bundle.rows
    probability = judged.predictions.probability
    groups = judged.bundle.groups_of(rows)
    for row, groups_of_row in zip(rows.tolist(), groups, strict=True):
        byte, predicted = int(judged.verdicts[row]), int(judged.predictions.top1[images[row]])
        yield Verdict(
            file_name=names[row],
            target=int(targets[row]),
            predicted=predicted,
            error_type=error_type(byte),
            problematic=tags(byte, bool(problematic[row])),
            probability=None if probability is None else float(probability[images[row]]),
            evidence=collect_evidence(judged.bundle, row, predicted) if with_evidence else None,
            groups=groups_of_row,
        )


def verdict_table(judged: JudgedAnalysis) -> pa.Table:
    """Return all verdicts as columns; tags and groups are joined by spaces."""
    rows = select_rows(judged, VerdictFilter())
    types = error_types(judged.verdicts)[rows]
    images = judged.bundle.rows[rows]
    targets, predicted = judged.bundle.evidence.targets[rows], judged.predictions.top1[images]
    names = np.array(class_names())
    problematic = judged.bundle.evidence.problematic[rows].tolist()
    columns = {
        "file_name": [judged.bundle.judged_names[row] for row in rows.tolist()],
        "target": targets,
        "predicted": predicted,
        "error_type": [f"ERROR_TYPE_{ErrorType(type_).name}" for type_ in types.tolist()],
        "problematic": [
            " ".join(f"PROBLEMATIC_TAG_{tag.name}" for tag in tags(byte, flag)) if flag else ""
            for byte, flag in zip(judged.verdicts[rows].tolist(), problematic, strict=True)
        ],
        "target_name": names[targets],
        "predicted_name": names[predicted],
        "groups": [" ".join(f"GROUP_{group.name}" for group in groups) for groups in judged.bundle.groups_of(rows)],
    }
    if judged.predictions.probability is not None:
        columns["probability"] = judged.predictions.probability[images].astype(np.float32)
    return pa.table(columns)


def explain_image(judged: JudgedAnalysis, file_name: str, predicted: int | None) -> Verdict:
    """Return the verdict of a prediction for an image, with its evidence.

    Args:
        judged: The analysis.
        file_name: The image.
        predicted: A class; None: the model's prediction.

    Raises:
        ImageNotFound: The bundle does not judge the image.
    """
    image = int(judged.bundle.rows[judged.bundle.row(file_name)])
    model_prediction = int(judged.predictions.top1[image])
    probability = judged.predictions.probability
    is_model_prediction = predicted is None or predicted == model_prediction
    return explain_prediction(
        judged.bundle,
        file_name,
        model_prediction if predicted is None else predicted,
        float(probability[image]) if is_model_prediction and probability is not None else None,
    )
