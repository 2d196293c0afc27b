"""The conditions of a query of images, as masks of the judged images of an analysis."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from errata.error_types import find_error_type
from errata.errors import InvalidRequest, NotComparable
from errata.groups import check_group
from numpy.typing import NDArray

from service.analyses import queries
from service.analyses.compare import check_comparable
from service.analyses.judge import JudgedAnalysis
from service.analyses.model_verdicts import find_model_verdicts
from service.analyses.ports import Stores
from service.analyses.verdicts import find_bundle, load_judged, superclass_mask
from service.domain import (
    ALL,
    CORRECT_TYPES,
    ERROR_TYPES,
    MULTI_LABEL_ERROR_TYPES,
    NO_TYPE,
    Bytes,
    Classes,
    ErrorType,
    Mask,
    is_among,
)
from service.domain.images import ImageQuery
from service.rules.table import error_types


@dataclass(frozen=True)
class Images:
    """The facts of N judged images that a query can refer to."""

    judged: JudgedAnalysis
    types: Bytes  # (N,)
    targets: Classes  # (N,) effective targets
    predicted: Classes  # (N,)
    probability: NDArray[np.floating] | None  # (N,)
    num_failing: NDArray[np.int16]  # (N,) of the other analyses
    num_models: int  # other analyses
    baseline: tuple[Bytes, Classes] | None = None  # (N,) error types and predictions

    @property
    def problematic(self) -> Mask:
        """Return the problematic images, (N,)."""
        return np.asarray(self.judged.bundle.evidence.problematic)


def load_images(stores: Stores, query: ImageQuery) -> Images:
    """Return the images of the analysis of a query.

    Raises:
        NotComparable: The baseline has another data set or other evidence.
        AnalysisNotFound: An analysis does not exist. See `load_judged` for further errors.
    """
    judged = _load_judged(stores, query.analysis)
    bundle, types = judged.bundle, error_types(judged.verdicts)
    others = find_model_verdicts(stores, bundle)
    own = others.find(query.analysis)
    return Images(
        judged,
        types,
        bundle.evidence.effective_targets,
        judged.predictions.top1[bundle.rows],
        None if judged.predictions.probability is None else judged.predictions.probability[bundle.rows],
        others.num_failing if own is None else others.num_failing - own.fails,
        len(others.analyses) - (own is not None),
        _load_baseline(stores, judged, query.baseline) if query.baseline else None,
    )


def _load_judged(stores: Stores, analysis_id: str) -> JudgedAnalysis:
    """Return an analysis with its verdicts from memory, if neither it nor its bundle has changed."""
    analysis = queries.get_succeeded(stores, analysis_id)
    judged = stores.verdict_cache.find_judged(analysis_id)
    if judged is None or judged.analysis != analysis or judged.bundle is not find_bundle(stores, analysis):
        judged = load_judged(stores, analysis_id)
        stores.verdict_cache.add_judged(analysis_id, judged)
    return judged


def _load_baseline(stores: Stores, judged: JudgedAnalysis, baseline_id: str) -> tuple[Bytes, Classes]:
    """Return the error types and the predictions of the baseline, (N,) each."""
    baseline = _load_judged(stores, baseline_id)
    check_comparable(baseline.analysis, judged.analysis)
    if len(baseline.verdicts) != len(judged.verdicts):
        raise NotComparable(f"The bundles of {baseline_id} and {judged.analysis.id} differ.", field="baseline")
    return error_types(baseline.verdicts), baseline.predictions.top1[baseline.bundle.rows]


def base_mask(images: Images, query: ImageQuery) -> Mask:
    """Return the images that meet the conditions without facets, (N,)."""
    mask: Mask = images.types != NO_TYPE
    if query.problematic is not None:
        mask &= images.problematic == query.problematic
    if (lowest := query.min_confidence) is not None:
        if not 0 <= lowest <= 1:
            raise InvalidRequest(f"Confidence {lowest} is not between 0 and 1.", field="min_confidence")
        if images.probability is None:
            raise InvalidRequest(
                "The analysis has no probabilities. Remove the filter 'min_confidence'.", field="min_confidence"
            )
        mask &= images.probability >= lowest  # False for NaN
    if query.change:
        mask &= _change_mask(images, query.change)
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


def _change_mask(images: Images, change: str) -> Mask:
    """Return the images with a change from the baseline, (N,)."""
    before, after = parse_change(change)
    if images.baseline is None:
        raise InvalidRequest("A change needs an analysis to compare with. Set 'baseline'.", field="baseline")
    return is_among(images.baseline[0], before) & is_among(images.types, after)


def parse_change(text: str) -> tuple[Sequence[ErrorType], Sequence[ErrorType]]:
    """Return the error types of the baseline and of the analysis that a change can have.

    Args:
        text: `fixed`, `broken`, or FROM:TO with names of error types.

    Raises:
        InvalidRequest: The text has another form.
    """
    changes = {
        "fixed": (MULTI_LABEL_ERROR_TYPES, CORRECT_TYPES),
        "broken": (CORRECT_TYPES, MULTI_LABEL_ERROR_TYPES),
    }
    if text in changes:
        return changes[text]
    before, _, after = text.partition(":")
    types = find_error_type(before), find_error_type(after)
    if types[0] is None or types[1] is None:
        keys = ", ".join(error_type.key for error_type in ERROR_TYPES)
        raise InvalidRequest(
            f"Unknown change {text!r:.80}. Expected 'fixed', 'broken', or FROM:TO with error types: {keys}.",
            field="change",
        )
    return (types[0],), (types[1],)
