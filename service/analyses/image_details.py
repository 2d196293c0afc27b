"""One image of an analysis: its verdict, its neighbors in a query, and the verdicts of other analyses on it."""

from collections.abc import Sequence
from dataclasses import dataclass

from errata.errors import InvalidRequest

from service.analyses import queries
from service.analyses.images import Selection, select_images
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
    others: Sequence[ModelVerdict]  # of other plausible archived analyses with the same evidence, newest first


def find_image(stores: Stores, dataset: str, name: str, query: ImageQuery) -> ImageDetails:
    """Return an image of an analysis with its position among the images that match a query.

    Args:
        stores: The stores.
        dataset: The data set of the image.
        name: The image.
        query: The analysis and the query, whose page number is ignored.

    Raises:
        ImageNotFound: The evidence does not cover the image, or the analysis has no prediction for it.
        InvalidRequest: The analysis has another data set, or the query is invalid.
    """
    selection = select_images(stores, query)
    judged = selection.images.judged
    if judged.analysis.request.dataset != dataset:
        raise InvalidRequest(
            f"Analysis {judged.analysis.id} has the data set {judged.analysis.request.dataset!r:.80}, not "
            f"{dataset!r:.80}.",
            field="analysis",
        )
    row = judged.bundle.row(name)
    others = [
        ModelVerdict.of(
            verdicts.id, verdicts.title, int(verdicts.types[row]), int(verdicts.predicted[row]), verdicts.owner
        )
        for verdicts in find_model_verdicts(stores, judged.bundle).analyses
        if verdicts.id != query.analysis
    ]
    return ImageDetails(judged, explain_image(judged, name, None), _find_neighbors(selection, row), others)


def _find_neighbors(selection: Selection, row: int) -> Neighbors | None:
    """Return the position of an image in a selection, and the images next to it; None if it is not selected."""
    position, total = selection.position(row), len(selection.rows)
    if position is None:
        return None
    names = selection.images.judged.bundle.judged_names
    rows = selection.sorted_rows
    before = names[rows[position - 1]] if position > 0 else None
    after = names[rows[position + 1]] if position + 1 < total else None
    return Neighbors(position, total, before, after)


def find_newest_analysis(stores: Stores, dataset: str) -> str:
    """Return the ID of the newest analysis of a data set.

    Raises:
        DatasetNotFound: The data set does not exist.
        InvalidRequest: The data set has no analyses.
        Unavailable: Analyses can be missing.
    """
    stores.evidence.find(dataset, "")
    analysis = queries.find_archived(stores, AnalysisFilter(frozenset({State.SUCCEEDED}), dataset=dataset))
    if analysis is None and not stores.index.is_complete:
        raise queries.incomplete_error()
    if analysis is None:
        raise InvalidRequest(
            f"Data set {dataset!r:.80} has no analyses. Analyze a model with 'errata analyze'.", field="analysis"
        )
    return analysis.id
