"""Texts of trends: percentiles among reference models, notes, and linear fits."""

from collections.abc import Mapping, Sequence

from errata.messages import (
    AXIS_NAMES,
    MISSING,
    PORTION_NAMES,
    abstention_notes,
    error_noun,
    format_count,
    format_percentage,
    format_signed,
    list_names,
    pluralize,
)

from service.domain import (
    MAX_DISTANCE,
    MIN_NEIGHBORS,
    MULTI_LABEL_ACCURACY,
    POOLED,
    PORTIONS,
    TOP1_ERROR_TYPES,
    Axis,
    Fit,
    Metric,
    NoReferenceReason,
    PercentileRank,
    Trend,
    TrendPoint,
    name_portion_base,
)
from service.report.direction import isolate
from service.report.messages.coverage import partial_models_note

CUSTOM_SUPERCLASSES_NOTE = (
    "The reference models were evaluated with the superclasses of the paper. It is not known whether this evidence "
    "uses them. Fine-grained errors and the error types after them are therefore not compared with the "
    "reference models."
)
UNKNOWN_LABELS_NOTE = (
    "A folder does not show whether the labels of its evidence are those of the published models. If the labels were "
    "changed, do not compare it with the published models."
)
GRAY_DOTS_NOTE = "Gray dots are reference models."
REJECTED_TARGETS_NOTE = (
    "Because the labels reject some original labels, class overlaps and missing multi-labels are portions of all "
    f"errors: of the {error_noun(True)}s instead of the {error_noun(False)}s."
)
SAME_VERSION_NOTE = (
    "The number after a name counts the stored analyses of this version of the model. The trend shows the newest of "
    "them, or those that you selected."
)
SAME_MODEL_NOTE = (
    "The trend shows each version of a model, and each upload with different predictions. In the number of other "
    "models, all versions of a model count once. So do all uploads with the same name that have no label 'model'."
)
AS_IN_THE_PAPER = "as in the paper"
ALL_METRICS = "all metrics"
INDISTINCT = "not distinguishable from its neighbors"
MISSING_LABEL_NOTE = (
    "No model has the label {label}. Set it with --label, or add labeled reference models with --reference."
)
MISSING_OWNER_NOTE = "No analysis has an owner, because all were created without a token."
OWNER_NOTE = (
    "The trend shows the stored analyses of the owner {owner}, and those that you selected. Percentiles do not depend "
    "on the owner."
)
OTHER_DATASET_NOTE = (
    "The added reference models were evaluated on another data set with a different mix of errors. Do not compare them "
    "with these analyses."
)
OTHER_LABELS_NOTE = (
    "The added reference models were evaluated with other labels. Do not compare them with these analyses."
)
GROUPING_NAMES: Mapping[str, str] = {
    "": "none",
    "model": "model",
    "owner": "owner",
    "architecture": "architecture",
    "architecture-family": "architecture family",
    "pre-training": "pre-training",
    "size": "size",
}
_PLURALS: Mapping[Metric, str] = {
    **{error_type.key: error_type.plural for error_type in TOP1_ERROR_TYPES},
    POOLED: list_names([error_type.plural for error_type in PORTIONS[POOLED].types]),
}
_NO_REFERENCE: Mapping[NoReferenceReason, str] = {
    NoReferenceReason.DATASET: "no reference models exist for this data set",
    NoReferenceReason.SUPERCLASSES: "the superclasses are not known to be those of the reference models",
    NoReferenceReason.ACCURACY: "the accuracy is outside the range of the reference models",
    NoReferenceReason.FEW: "too few reference models have a similar accuracy",
    NoReferenceReason.NO_VALUE: "the model makes no such errors",
}


def axis_name(axis: Axis) -> str:
    """Return the name of an accuracy."""
    return AXIS_NAMES[axis.value]


def portion_name(metric: Metric, has_rejected_targets: bool = False) -> str:
    """Return the name of the errors of which a metric is a portion; empty for an accuracy."""
    return PORTION_NAMES.get(name_portion_base(metric, has_rejected_targets), "")


def percentile_text(rank: PercentileRank) -> str:
    """Describe a percentile, for example "fewer spurious correlations than 83 % of similarly accurate models"."""
    if rank.missing is NoReferenceReason.INDISTINCT:
        return INDISTINCT
    if rank.percentile is None:
        return f"not available: {_NO_REFERENCE[rank.missing or NoReferenceReason.DATASET]}"
    if _is_tie(rank):
        if rank.metric == MULTI_LABEL_ACCURACY:
            return "the same as that of similarly accurate models"
        return f"as many {_PLURALS[rank.metric]} as similarly accurate models"
    is_higher = _is_higher(rank.percentile)
    share = f"{_percent(rank.percentile if is_higher else 1 - rank.percentile)} %"
    if rank.metric == MULTI_LABEL_ACCURACY:
        return f"{'higher' if is_higher else 'lower'} than {share} of similarly accurate models"
    return f"{'more' if is_higher else 'fewer'} {_PLURALS[rank.metric]} than {share} of similarly accurate models"


def percentile_message(rank: PercentileRank) -> str:
    """Describe a percentile with its interval, such as "fewer … than 83 % of … models (95 % interval: 62 to 95 %)"."""
    text = percentile_text(rank)
    if rank.percentile is None or rank.low is None or rank.high is None or _is_tie(rank):
        return text
    low, high = (rank.low, rank.high) if _is_higher(rank.percentile) else (1 - rank.high, 1 - rank.low)
    return f"{text} (95 % interval: {_percent(low)} to {_percent(high)} %)"


def _is_tie(rank: PercentileRank) -> bool:
    """Return whether all similarly accurate models have the same portion, 0 or 1.

    No portion is lower than 0 or higher than 1, so a percentile of 0.5 means that all are ties.
    """
    return rank.percentile == 0.5 and rank.value in (0, 1)


def _is_higher(percentile: float) -> bool:
    return round(100 * percentile) >= 50


def _percent(share: float) -> int:
    """Return a share of the reference models in percent.

    Only no models are 0 % and only all models are 100 %. Shares of published models are in between: 1 to 99 % are their
    known quantiles.
    """
    return round(100 * share) if share in (0, 1) else min(99, max(1, round(100 * share)))


def percentile_number(rank: PercentileRank) -> str:
    """Return a percentile from 0 to 100; a dash if there is none."""
    return MISSING if rank.percentile is None else str(_percent(rank.percentile))


def percentile_interval(rank: PercentileRank) -> str:
    """Return the 95 % interval of a percentile, such as "20 to 98"; a dash if there is none."""
    if rank.low is None or rank.high is None:
        return MISSING
    return f"{_percent(rank.low)} to {_percent(rank.high)}"


def trend_notes(trend: Trend) -> list[str]:
    """Return the notes that a reader of a trend needs."""
    notes = [OWNER_NOTE.format(owner=isolate(trend.owner))] if trend.owner else []
    if trend.curves is None:
        notes.append(own_models_note(trend.num_other_models, bool(trend.changed_labels)))
        if sum(bool(point.id) for point in trend.points) > trend.num_other_models + 1:
            notes.append(SAME_MODEL_NOTE)
        if any(not point.id for point in trend.points):
            notes.append(OTHER_LABELS_NOTE if trend.changed_labels else OTHER_DATASET_NOTE)
    elif trend.own_superclasses:
        notes.append(CUSTOM_SUPERCLASSES_NOTE)
    if trend.curves is not None and trend.changed_labels is None:
        notes.append(UNKNOWN_LABELS_NOTE)
    notes += abstention_notes([error_type.key for error_type in trend.abstained])
    if trend.has_rejected_targets:
        notes.append(REJECTED_TARGETS_NOTE)
    if trend.without_images:
        notes.append(without_images_note(trend.without_images))
    if trend.by and trend.points and not any(point.label for point in trend.points):
        notes.append(MISSING_OWNER_NOTE if trend.by == "owner" else MISSING_LABEL_NOTE.format(label=trend.by))
    if any(point.num_analyses > 1 for point in trend.points):
        notes.append(SAME_VERSION_NOTE)
    if partial := [model_title(point) for point in trend.points if point.coverage is not None and point.coverage < 1]:
        notes.append(partial_models_note(partial))
    if trend.num_left_out:
        notes.append(excluded_note(trend.num_left_out))
    if trend.num_older:
        notes.append(older_note(trend.num_older))
    return notes


def own_models_note(num_others: int, changed_labels: bool = False) -> str:
    """Describe the reference models where the published models are not the reference, or why there are none.

    Args:
        num_others: Number of other models that were analyzed with the same evidence.
        changed_labels: Whether published models exist, but were evaluated with other labels than the evidence has.
    """
    start = "No published models exist for this data set."
    if changed_labels:
        start = "The labels of this evidence are not those of the published models, which are therefore no reference."
    if num_others < MIN_NEIGHBORS:
        return (
            f"{start} Percentiles are not available: they need at least {MIN_NEIGHBORS} other models that were "
            f"analyzed with the same evidence and have a similar accuracy. There {'is' if num_others == 1 else 'are'} "
            f"{pluralize(num_others, 'other model') if num_others else 'no other models yet'}."
        )
    return (
        f"{start} The reference is the latest version of each of the {format_count(num_others)} other models that were "
        f"analyzed with the same evidence. A percentile needs {MIN_NEIGHBORS} of them within "
        f"{100 * MAX_DISTANCE:g} points of accuracy, and an accuracy between their lowest and their highest."
    )


def portions_note(is_other_axis: bool, has_rejected_targets: bool) -> str:
    """Return the errors that the percentages of the charts refer to, in sentences; on the axes of the paper or not."""
    errors = "all errors" if has_rejected_targets else "the top-1 errors"
    if is_other_axis:
        return (
            f"Class overlaps and missing multi-labels are portions of {errors}. The other error types are portions of "
            "the multi-label errors. The reference models are shown only on the axes of the paper."
        )
    subject = "Class overlaps" if has_rejected_targets else "As in the paper, class overlaps"
    return (
        f"{subject} and missing multi-labels are portions of {errors}, by top-1 accuracy. The other error types are "
        "portions of the multi-label errors, by multi-label accuracy."
    )


def without_images_note(titles: Sequence[str]) -> str:
    """Name the requested analyses that a trend cannot show, in a sentence."""
    verb = "has" if len(titles) == 1 else "have"
    return f"{list_names(list(titles))} {verb} no evaluated image with a prediction, and cannot be shown."


def excluded_note(count: int) -> str:
    """Return the number of stored analyses that a trend excludes, in a sentence."""
    analyses = pluralize(count, "stored analysis", "stored analyses")
    verb, pronoun = ("is", "it has") if count == 1 else ("are", "they have")
    return f"{analyses} of this data set {verb} excluded because {pronoun} other evidence or implausible predictions."


def older_note(count: int) -> str:
    """Return the number of models that a trend does not show because there are too many, in a sentence."""
    models, verb = pluralize(count, "older model"), "is" if count == 1 else "are"
    return f"{models} {verb} not shown, because a trend shows only the newest ones. Select analyses to show others."


def trend_summary(num_analyses: int, num_added: int, num_reference: int, owner: str = "") -> str:
    """Summarize the models of a trend.

    Args:
        num_analyses: Number of stored analyses.
        num_added: Number of reference models among the points.
        num_reference: Number of reference models behind the bands.
        owner: The owner in the request; empty: any.

    Returns:
        A sentence.
    """
    models = [pluralize(num_analyses, "stored analysis", "stored analyses")] if num_analyses else []
    models += [pluralize(num_added, "reference model")] if num_added else []
    if not models:
        return f"No models are stored for this data set{f' and the owner {isolate(owner)}' if owner else ''}."
    compared = f", compared with {format_count(num_reference)} reference models" if num_reference else ""
    return f"Error types and accuracy of {list_names(models)}{compared}."


def fit_text(fit: Fit | None) -> str:
    """Describe a linear fit, for example "slope +0.50 points per point, R² = 0.62"."""
    if fit is None:
        return "no fit: at least three models with different accuracies are required"
    r_squared = "" if fit.r_squared is None else f", R² = {fit.r_squared:.2f}"
    return f"slope {format_signed(fit.slope)} points per point{r_squared}"


def trend_description(title: str, axis: str, fit: str) -> str:
    """Describe the chart of one metric for screen readers."""
    return f"{title} by {axis}: {fit}."


def point_text(point: TrendPoint, metric: Metric) -> str:
    """Describe a model in a chart, for example "resnet50: 25.0 % (95 % interval: 22.1 to 28.1 %)"."""
    text = f"{model_title(point)}: {format_percentage(point.values[metric])}"
    if metric not in point.intervals:
        return text
    low, high = point.intervals[metric]
    return f"{text} (95 % interval: {100 * low:.1f} to {100 * high:.1f} %)"


def model_title(point: TrendPoint) -> str:
    """Return the title of a model, with the number of its analyses if there are several."""
    title = isolate(point.title)
    return title if point.num_analyses == 1 else f"{title} ({format_count(point.num_analyses)} analyses)"
