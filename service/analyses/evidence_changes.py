"""The changes of a version of evidence relative to its base, the bundle whose labels it corrects."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from errata.errors import ErrataError, EvidenceNotFound, InvalidRequest, Unavailable
from numpy.typing import NDArray

from service.analyses.ports import Stores
from service.analyses.reanalyze_all import predictions_key
from service.domain import (
    CORRECT_TYPES,
    MULTI_LABEL_ERROR_TYPES,
    NEWEST_FIRST,
    NO_PREDICTION,
    Analysis,
    AnalysisFilter,
    Classes,
    LabelChangeCounts,
    Mask,
    State,
    is_among,
)
from service.evidence.bundle import Bundle
from service.evidence.relabeled import changed_labels
from service.rules.decide import decide_each
from service.rules.table import error_types

MAX_IMAGES = 200  # listed images
MAX_MODELS = 200  # listed models, the newest


@dataclass(frozen=True)
class ChangedLabels:
    """An image whose labels changed, or that is no longer evaluated."""

    name: str
    before: tuple[int, ...]
    after: tuple[int, ...]
    was_problematic: bool
    is_problematic: bool
    is_evaluated: bool  # by the bundle; the base evaluates all listed images


@dataclass(frozen=True)
class JudgedTwice:
    """A model that was judged with both bundles."""

    before: Analysis
    after: Analysis
    num_label_errors: int | None  # errors on the base that are no errors now; None: predictions not readable
    num_new_errors: int | None  # images that count as correct on the base, and are errors now


@dataclass(frozen=True)
class EvidenceChanges:
    """The changes of a bundle against its base."""

    base: Bundle
    bundle: Bundle
    counts: LabelChangeCounts  # label errors are only on the changed images
    images: Sequence[ChangedLabels]  # the first MAX_IMAGES: those that changed, then those that only the base evaluates
    models: Sequence[JudgedTwice]  # newest first
    num_waiting: int  # models that are judged with the base only
    base_analysis: str  # ID of an analysis on the base: that of the first model, or else of a waiting one; empty: none


def compute_changes(stores: Stores, dataset: str, digest: str) -> EvidenceChanges:
    """Compare a bundle with its base: the labels of images, and the results of models that were judged with both.

    Raises:
        DatasetNotFound: The data set has no evidence.
        EvidenceNotFound: The bundle or its base does not exist.
        InvalidRequest: The bundle has no base.
    """
    bundle = stores.evidence.find(dataset, digest)
    base = _find_base(stores, bundle)
    after = _new_rows(base, bundle)
    changed = _find_changed(base, bundle, after)
    labels = [_labels_of(base, bundle, row, int(after[row])) for row in np.flatnonzero(changed).tolist()]
    left_out = np.flatnonzero(after < 0).tolist()
    models, num_waiting, base_analysis = _find_models(stores, base, bundle)
    return EvidenceChanges(
        base=base,
        bundle=bundle,
        counts=LabelChangeCounts(
            changed=len(labels),
            added=sum(len({*image.after} - {*image.before}) for image in labels),
            removed=sum(len({*image.before} - {*image.after}) for image in labels),
            set_aside=sum(image.is_problematic and not image.was_problematic for image in labels),
            restored=sum(image.was_problematic and not image.is_problematic for image in labels),
            not_evaluated=len(left_out),
        ),
        images=[*labels, *(_labels_of(base, bundle, row, -1) for row in left_out[:MAX_IMAGES])][:MAX_IMAGES],
        models=[_judge_twice(stores, pair, (base, bundle), after, changed) for pair in models[:MAX_MODELS]],
        num_waiting=num_waiting,
        base_analysis=base_analysis,
    )


def can_compare(stores: Stores, bundle: Bundle) -> bool:
    """Return whether `compute_changes` can compare a bundle with its base."""
    try:
        _find_base(stores, bundle)
    except ErrataError:
        return False
    return True


def _find_base(stores: Stores, bundle: Bundle) -> Bundle:
    if not bundle.manifest.base:
        raise InvalidRequest(
            f"The evidence {bundle.digest[:12]} of {bundle.dataset} does not correct other evidence.", field="evidence"
        )
    base = stores.evidence.find(bundle.dataset, bundle.manifest.base)
    if base.images_digest != bundle.images_digest:
        raise EvidenceNotFound(f"The base of the evidence {bundle.digest[:12]} has other images.", field="evidence")
    return base


def _new_rows(base: Bundle, bundle: Bundle) -> NDArray[np.intp]:
    """Return the row of each evaluated image of the base in the bundle, (N,); -1: the bundle does not evaluate it."""
    row_of_image = np.full(len(base.all_targets), -1, dtype=np.intp)
    row_of_image[bundle.rows] = np.arange(len(bundle.rows))
    return row_of_image[base.rows]


def _find_changed(base: Bundle, bundle: Bundle, after: NDArray[np.intp]) -> Mask:
    """Return which evaluated images of the base the bundle relabels, sets aside, or restores, (N,)."""
    changed = np.zeros(len(after), dtype=bool)
    common = np.flatnonzero(after >= 0)
    old, new = base.evidence, bundle.evidence
    differs = changed_labels(old.labels.take(common), new.labels.take(after[common]))
    changed[common] = differs | (old.problematic[common] != new.problematic[after[common]])
    return changed


def _labels_of(base: Bundle, bundle: Bundle, row: int, new_row: int) -> ChangedLabels:
    is_evaluated = new_row >= 0
    return ChangedLabels(
        name=base.judged_names[row],
        before=tuple(base.evidence.labels.of(row).tolist()),
        after=tuple(bundle.evidence.labels.of(new_row).tolist()) if is_evaluated else (),
        was_problematic=bool(base.evidence.problematic[row]),
        is_problematic=is_evaluated and bool(bundle.evidence.problematic[new_row]),
        is_evaluated=is_evaluated,
    )


def _find_models(stores: Stores, base: Bundle, bundle: Bundle) -> tuple[list[tuple[Analysis, Analysis]], int, str]:
    """Return the models that are judged with a base and its bundle.

    Returns:
        The pairs of analyses of the same predictions, newest first, the number of models judged only with the base, and
        the ID of an analysis on the base: that of the first pair, or else of a model without a pair; empty: none.
    """
    by_predictions: list[dict[str, Analysis]] = []
    for digest in (base.digest, bundle.digest):
        matching = AnalysisFilter(dataset=bundle.dataset, evidence=digest, states=frozenset({State.SUCCEEDED}))
        analyses = stores.index.find(matching, NEWEST_FIRST, None, 10 * MAX_MODELS)
        by_predictions.append({predictions_key(analysis): analysis for analysis in reversed(analyses)})
    befores, afters = by_predictions
    pairs = [(befores[key], analysis) for key, analysis in afters.items() if key in befores]
    on_base = [before for before, _ in pairs] or [*befores.values()]
    return pairs[::-1], len(befores.keys() - afters.keys()), on_base[-1].id if on_base else ""


def _judge_twice(
    stores: Stores,
    pair: tuple[Analysis, Analysis],
    bundles: tuple[Bundle, Bundle],
    after: NDArray[np.intp],
    changed: Mask,
) -> JudgedTwice:
    base, bundle = bundles
    result = JudgedTwice(*pair, None, None)
    try:
        predictions = stores.archive.predictions(pair[1].id)
    except Unavailable:
        return result
    if predictions is None or len(predictions.top1) != len(base.all_targets):
        return result
    rows = np.flatnonzero(changed)
    predicted = predictions.top1[base.rows[rows]]
    was_correct, was_error = _outcomes(base, rows, predicted)
    _, is_error = _outcomes(bundle, after[rows], predicted)
    return replace(
        result,
        num_label_errors=int((was_error & ~is_error).sum()),
        num_new_errors=int((was_correct & is_error).sum()),
    )


def _outcomes(bundle: Bundle, rows: NDArray[np.intp], predicted: Classes) -> tuple[Mask, Mask]:
    """Return masks of correct predictions and of errors. Both omit problematic images and missing predictions."""
    evidence = bundle.evidence.take(rows)
    types = error_types(decide_each(evidence, predicted))
    counts = ~evidence.problematic & (predicted != NO_PREDICTION)
    return counts & is_among(types, CORRECT_TYPES), counts & is_among(types, MULTI_LABEL_ERROR_TYPES)
