"""The conditions of a query of images, as masks of the judged images of an analysis."""

from dataclasses import dataclass

import numpy as np
from errata.errors import InvalidRequest, NotComparable
from errata.groups import check_group
from numpy.typing import NDArray

from service.analyses import queries
from service.analyses.changes import change_mask
from service.analyses.compare import check_comparable
from service.analyses.judge import JudgedAnalysis
from service.analyses.model_verdicts import find_model_verdicts
from service.analyses.ports import Stores
from service.analyses.verdict_cache import ModelVerdicts
from service.analyses.verdicts import find_bundle, load_judged, superclass_mask
from service.domain import (
    ALL,
    MULTI_LABEL_ERROR_TYPES,
    NO_TYPE,
    Bytes,
    Classes,
    Mask,
    is_among,
)
from service.domain.images import ImageQuery
from service.rules.table import error_types


@dataclass(frozen=True, eq=False)
class Sources:
    """The analyses from which the facts of images are computed."""

    judged: JudgedAnalysis
    models: ModelVerdicts  # of all plausible archived analyses with the same evidence
    baseline: JudgedAnalysis | None = None

    def are(self, others: "Sources") -> bool:
        """Return whether both have identical objects. A change of the archive or a bundle creates new objects."""
        return all(value is other for value, other in zip(vars(self).values(), vars(others).values(), strict=True))


@dataclass(frozen=True)
class Images:
    """The facts of N judged images. A query can have conditions on these facts."""

    sources: Sources
    types: Bytes  # (N,)
    targets: Classes  # (N,) effective targets
    predicted: Classes  # (N,)
    probability: NDArray[np.floating] | None  # (N,)
    num_failing: NDArray[np.int16]  # (N,) number of other analyses with an error on the image
    num_predicting: NDArray[np.int16]  # (N,) number of other analyses with a prediction for the image
    num_models: int  # number of other analyses
    baseline: tuple[Bytes, Classes] | None = None  # (N,) error types and predictions

    @property
    def judged(self) -> JudgedAnalysis:
        """Return the analysis."""
        return self.sources.judged

    @property
    def problematic(self) -> Mask:
        """Return the problematic images, (N,)."""
        return np.asarray(self.judged.bundle.evidence.problematic)


def find_sources(stores: Stores, query: ImageQuery) -> Sources:
    """Return the analyses that a query refers to.

    Raises:
        NotComparable: The baseline has another data set or other evidence.
        AnalysisNotFound: An analysis does not exist. See `load_judged` for further errors.
    """
    judged = _load_judged(stores, query.analysis)
    baseline = _load_judged(stores, query.baseline) if query.baseline else None
    if baseline is not None:
        check_comparable(baseline.analysis, judged.analysis)
        if len(baseline.verdicts) != len(judged.verdicts):
            message = f"The bundles of {baseline.analysis.id} and {judged.analysis.id} differ."
            raise NotComparable(message, field="baseline")
    return Sources(judged, find_model_verdicts(stores, judged.bundle), baseline)


def load_images(sources: Sources) -> Images:
    """Return the images of an analysis."""
    judged, models, baseline = sources.judged, sources.models, sources.baseline
    bundle, own = judged.bundle, models.find(judged.analysis.id)
    return Images(
        sources,
        error_types(judged.verdicts),
        bundle.evidence.effective_targets,
        judged.predictions.top1[bundle.rows],
        None if judged.predictions.probability is None else judged.predictions.probability[bundle.rows],
        models.num_failing if own is None else models.num_failing - own.fails,
        models.num_predicting if own is None else models.num_predicting - (own.types != NO_TYPE),
        len(models.analyses) - (own is not None),
        None if baseline is None else (error_types(baseline.verdicts), baseline.predictions.top1[baseline.bundle.rows]),
    )


def _load_judged(stores: Stores, analysis_id: str) -> JudgedAnalysis:
    """Return an analysis with its verdicts; from memory, unless the analysis or its bundle has changed."""
    analysis = queries.get_succeeded(stores, analysis_id)
    judged = stores.verdict_cache.judged.find(analysis_id)
    if judged is None or judged.analysis != analysis or judged.bundle is not find_bundle(stores, analysis):
        judged = load_judged(stores, analysis_id)
        stores.verdict_cache.judged.add(analysis_id, judged)
    return judged


def base_mask(images: Images, query: ImageQuery) -> Mask:
    """Return the images that meet the conditions that are not facets, (N,)."""
    mask: Mask = images.types != NO_TYPE
    if query.errors_only:
        mask &= is_among(images.types, MULTI_LABEL_ERROR_TYPES)
    if query.problematic is not None:
        mask &= images.problematic == query.problematic
    if (lowest := query.min_confidence) is not None:
        if not 0 <= lowest <= 1:
            raise InvalidRequest(f"Confidence {lowest} is not between 0 and 1.", field="min_probability")
        if images.probability is None:
            raise InvalidRequest(
                "The analysis has no probabilities. Remove the minimum probability.", field="min_probability"
            )
        mask &= images.probability >= lowest  # False for NaN
    if query.change:
        if images.baseline is None:
            raise InvalidRequest(
                "A change needs an analysis to compare with. Name one, for example with --baseline.", field="baseline"
            )
        mask &= change_mask(query.change, images.baseline[0], images.types)
    return mask


def facet_masks(images: Images, query: ImageQuery) -> dict[str, Mask]:
    """Return the images that meet the condition of each facet that the query sets, (N,).

    Raises:
        InvalidRequest: The data set does not have the class, superclass, or group.
    """
    bundle = images.judged.bundle
    check_group(query.group, bundle.groups, "group")
    masks: dict[str, Mask] = {}
    if query.error_type is not None:
        masks["error_type"] = images.types == query.error_type.id
    if query.class_id is not None:
        masks["class"] = images.targets == _checked_class(query.class_id, bundle.label_space.num_classes, "class")
    if query.predicted_id is not None:
        predicted = _checked_class(query.predicted_id, bundle.label_space.num_classes, "predicted")
        masks["predicted"] = images.predicted == predicted
    if query.superclass:
        members = superclass_mask(bundle, query.superclass, "superclass")
        masks["superclass"] = members[images.targets]
    if query.group != ALL:
        masks["group"] = bundle.group_mask(query.group)
    return masks


def _checked_class(class_id: int, num_classes: int, field: str) -> int:
    if not 0 <= class_id < num_classes:
        raise InvalidRequest(
            f"Class {class_id} does not exist. Expected an index from 0 to {num_classes - 1}.", field=field
        )
    return class_id
