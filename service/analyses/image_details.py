"""One image of an analysis: its verdict, its neighbors in a query, and the verdicts of other analyses on it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from errata.errors import ImageNotFound, InvalidRequest

from service.analyses import queries
from service.analyses.images import select_images
from service.analyses.judge import JudgedAnalysis
from service.analyses.model_verdicts import find_model_verdicts
from service.analyses.ports import Stores
from service.analyses.verdicts import explain_image
from service.domain import AnalysisFilter, State, Verdict
from service.domain.images import ImageQuery, ModelVerdict, Neighbors


@dataclass(frozen=True)
class ImageDetails:
    """One image of an analysis."""

    judged: JudgedAnalysis
    verdict: Verdict
    neighbors: Neighbors | None  # None: the image does not match the query
    others: Sequence[ModelVerdict]  # of other archived analyses with the same evidence, newest first


def find_image(stores: Stores, dataset: str, name: str, query: ImageQuery) -> ImageDetails:
    """Return an image of an analysis with its place among the images that match a query.

    Args:
        stores: The stores.
        dataset: The data set of the image.
        name: The image.
        query: The analysis and the query; its page does not count.

    Raises:
        ImageNotFound: The evidence does not cover the image, or the analysis has no prediction for it.
        InvalidRequest: The analysis has another data set, or the query is invalid.
    """
    images, rows = select_images(stores, query)
    judged = images.judged
    check_dataset(judged, dataset)
    row = judged.bundle.row(name)
    if judged.predictions.top1[judged.bundle.rows[row]] < 0:
        raise ImageNotFound(f"Analysis {query.analysis} has no prediction for the image {name!r:.120}.", field="image")
    others = [
        ModelVerdict.of(verdicts.id, verdicts.title, int(verdicts.types[row]), int(verdicts.predicted[row]))
        for verdicts in find_model_verdicts(stores, judged.bundle).analyses
        if verdicts.id != query.analysis
    ]
    names, positions = judged.bundle.judged_names, np.flatnonzero(rows == row)
    neighbors = None
    if len(positions):
        position = int(positions[0])
        before, after = rows[max(0, position - 1) : position], rows[position + 1 : position + 2]
        neighbors = Neighbors(
            position,
            len(rows),
            names[before[0]] if len(before) else None,
            names[after[0]] if len(after) else None,
        )
    return ImageDetails(judged, explain_image(judged, name, None), neighbors, others)


def check_dataset(judged: JudgedAnalysis, dataset: str) -> None:
    """Raise InvalidRequest if an analysis has another data set."""
    if judged.analysis.request.dataset != dataset:
        raise InvalidRequest(
            f"Analysis {judged.analysis.id} has the data set {judged.analysis.request.dataset!r:.80}, not "
            f"{dataset!r:.80}.",
            field="analysis",
        )


def find_newest_analysis(stores: Stores, dataset: str) -> str:
    """Return the ID of the newest analysis of a data set.

    Raises:
        DatasetNotFound: The data set does not exist.
        InvalidRequest: It has no analyses.
    """
    stores.evidence.find(dataset, "")
    analysis = queries.find_archived(stores, AnalysisFilter(frozenset({State.SUCCEEDED}), dataset=dataset))
    if analysis is None:
        raise InvalidRequest(
            f"Data set {dataset!r:.80} has no analyses. Analyze a model with 'errata analyze'.", field="analysis"
        )
    return analysis.id
