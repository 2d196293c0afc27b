"""Names, numbers, and evidence sentences that the command line and the reports share."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from errata.enums import (
    AnswerOutcome,
    AnswerRelation,
    ExpertSeverity,
    LabelSource,
    Outcome,
    ProblematicTag,
    Severity,
    State,
)
from errata.error_types import ERROR_TYPES, TOP1_ERROR_TYPES, ErrorType, find_error_type, title_of

MISSING = "–"  # placeholder for a missing value
SIGNIFICANCE_LEVEL = 0.05  # of p-values
MAX_P_VALUE_DECIMALS = 16

SEVERITY_NAMES: Mapping[Severity, str] = {
    Severity.NONE: "label noise",
    Severity.MINOR: "minor",
    Severity.EXPLAINABLE: "explainable",
    Severity.SEVERE: "severe",
}
EXPERT_SEVERITY_NAMES: Mapping[ExpertSeverity, str] = {
    ExpertSeverity.UNSPECIFIED: "unknown",
    ExpertSeverity.MINOR: "minor",
    ExpertSeverity.BORDERLINE: "borderline",
    ExpertSeverity.MAJOR: "major",
}
STATE_NAMES: Mapping[State, str] = {
    State.UNSPECIFIED: "unknown",
    State.QUEUED: "queued",
    State.RUNNING: "running",
    State.SUCCEEDED: "succeeded",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
}
LABEL_SOURCE_NAMES: Mapping[LabelSource, str] = {
    LabelSource.UNSPECIFIED: "unknown source",
    LabelSource.ORIGINAL: "original label",
    LabelSource.REAL: "ReaL label",
    LabelSource.CORRECT: "annotated as correct",
    LabelSource.UNCLEAR: "annotated as unclear",
    LabelSource.REVIEW: "added by reviewers",
}
OUTCOME_NAMES: Mapping[Outcome, str] = {
    Outcome.UNSPECIFIED: "unknown",
    Outcome.HIT: "match",
    Outcome.MISS: "no match",
    Outcome.ABSTAINED: "not evaluated (no evidence)",
    Outcome.NOT_REACHED: "not reached",
}
PROBLEMATIC_TAG_NAMES: Mapping[ProblematicTag, str] = {
    ProblematicTag.UNSPECIFIED: "",
    ProblematicTag.EMPTY_CORRECT: "no labels; the prediction is the original label",
    ProblematicTag.EMPTY_CORRECT_BY_OVERLAP: "no labels; the prediction overlaps with the original label",
    ProblematicTag.EMPTY_WRONG: "no labels; the prediction is wrong",
    ProblematicTag.CORRECT_BUT_WRONG_LABEL: "the prediction is the original label, which is wrong",
    ProblematicTag.OOV_SIMILAR_TO_TARGET: "similar to the original label",
    ProblematicTag.CO_OCCURRENCE_WITH_TARGET: "occurs together with the original label",
    ProblematicTag.UNTAGGED: "no specific reason",
}
ANSWER_OUTCOME_NAMES: Mapping[AnswerOutcome, str] = {  # what a free-text answer names
    AnswerOutcome.UNSPECIFIED: "",
    AnswerOutcome.MAPPED: "one class",
    AnswerOutcome.UNKNOWN: "nothing that is known",
    AnswerOutcome.AMBIGUOUS: "several classes",
    AnswerOutcome.OUTSIDE: "no class of the label space",
}
ANSWER_RELATION_NOTES: Mapping[AnswerRelation, str] = {
    AnswerRelation.UNSPECIFIED: "",
    AnswerRelation.TOO_GENERAL: "Too general: it names a hypernym or a superclass of a label.",
    AnswerRelation.MORE_SPECIFIC: "More specific: it names a hyponym of a label.",
}
IMAGE_ACCURACY = "multi-label accuracy (images)"  # share of images
CLASS_ACCURACY = "multi-label accuracy (class mean)"  # mean over target classes
METRIC_NAMES: Mapping[str, str] = {  # by the name of a metric of a trend
    **{error_type.key: error_type.title for error_type in TOP1_ERROR_TYPES},
    "pooled": "out of vocabulary to model failure, combined",
    "multi_label_accuracy": "multi-label accuracy",
}
AXIS_NAMES: Mapping[str, str] = {  # by the accuracy on the axis of a trend's metric
    "top1_accuracy": "top-1 accuracy",
    "multi_label_accuracy": "multi-label accuracy",
}
PORTION_NAMES: Mapping[str, str] = {  # by the errors that a trend's metric is a portion of
    "top1_errors": "top-1 errors",
    "multi_label_errors": "multi-label errors",
    "all_errors": "all errors",  # top-1 or multi-label errors: short, because axes have it
}

# The error table of the report fills in the same sentences in the browser.
SUPERCLASS_NOTE = "“{predicted}” and “{label}” share a superclass: {superclasses}."
COOCCURRENCE_NOTE = "“{predicted}” and “{label}” occur together in {images}, for example {examples}."
SIMILAR_NEIGHBORS = "The nearest training images include classes similar to “{predicted}”. "
NO_SIMILAR_NEIGHBORS = "The nearest training images include no classes similar to “{predicted}”. "
REJECTED_TARGET_NOTE = "The labels of the image reject its original label, “{target}”."
PREFERS_LABEL = "CLIP prefers a true label: a label of the image scores higher than all of these texts."
BEST_TEXTS = "Of {texts}, CLIP ranks these highest: {best}."
EXPERT_NOTE = "Experts judged this prediction: {cause}, {severity}. The verdict does not use this judgment."
RANKED_TEXT = "“{text}” ({probability})"

ROUNDING_ERROR = 1e-9  # a number this close to another one differs only because of floating-point arithmetic
_INEXACT_PERCENTAGES = {"0.0 %": "< 0.1 %", "100.0 %": "> 99.9 %"}


class DifferenceInterval(Protocol):
    """The difference B − A of two rates with its confidence interval, as fractions of 1."""

    @property
    def difference(self) -> float:
        """B − A."""

    @property
    def low(self) -> float:
        """Lower bound of the interval."""

    @property
    def high(self) -> float:
        """Upper bound of the interval."""


def format_count(value: int) -> str:
    """Format a count with thousands separators.

    Args:
        value: The count.

    Returns:
        For example "1,234".
    """
    return f"{value:,}"


def format_percentage(value: float | None) -> str:
    """Format a fraction as a percentage with one decimal place.

    Args:
        value: A fraction of 1. None and NaN stand for a missing value.

    Returns:
        For example "37.2 %"; an en dash for a missing value. Only 0 is "0.0 %", and only 1 is "100.0 %": other values
        close to them are "< 0.1 %" and "> 99.9 %".
    """
    if value is None or math.isnan(value):
        return MISSING
    text = f"{100 * value:.1f} %"
    return _INEXACT_PERCENTAGES.get(text, text) if ROUNDING_ERROR < value < 1 - ROUNDING_ERROR else text


def format_coverage(covered: int, expected: int, decimals: int = 1) -> str:
    """Format a coverage as a percentage, rounded down so that only complete coverage is "100.0 %"."""
    scale = 10**decimals
    return f"{100 * scale * covered // expected / scale:.{decimals}f} %" if expected else MISSING


def coverage_share(covered: int, expected: int, num_judged: int | None = None) -> str:
    """Return a coverage as a percentage, such as "98.0 %" or "98.0 % of a subset". See `coverage_text`."""
    return format_coverage(covered, expected) + ("" if num_judged is None else " of a subset")


def coverage_text(covered: int, expected: int, num_judged: int | None = None, decimals: int = 1) -> str:
    """Describe the coverage of an analysis.

    Args:
        covered: Number of evaluated images with a prediction.
        expected: Number of evaluated images that the analysis should cover.
        num_judged: Number of evaluated images of the data set; None: the analysis should cover all of them.
        decimals: Number of decimals of the percentage.

    Returns:
        For example "49,000 of 50,000 images (98.0 %)", or "990 of 1,000 images of a subset (99.0 %); the data set has
        50,000 evaluated images".
    """
    share = f"({format_coverage(covered, expected, decimals)})"
    if num_judged is None:
        return f"{format_count(covered)} of {pluralize(expected, 'image')} {share}"
    return (
        f"{format_count(covered)} of {pluralize(expected, 'image')} of a subset {share}; the data set has "
        f"{pluralize(num_judged, 'evaluated image')}"
    )


def coverage_note(covered: int, expected: int, num_judged: int | None = None) -> str:
    """Return a sentence with the coverage of an analysis. See `coverage_text`."""
    return f"Coverage: {coverage_text(covered, expected, num_judged)}."


def common_images_note(num_samples: int, subset: str = "") -> str:
    """Describe how many images are compared if two analyses cover different images.

    Args:
        num_samples: Number of images with a prediction in both analyses, without problematic images.
        subset: The images among which they are, such as " of the group"; empty: all images.
    """
    images = pluralize(num_samples, f"image{subset}", f"images{subset}")
    return f"Compared on {images} with predictions in both analyses, without problematic images."


def compared_coverage_text(coverages: Sequence[str], num_samples: int) -> str:
    """Describe the coverages of two compared analyses, and how many images are compared.

    Args:
        coverages: A text of `coverage_text` for each analysis; empty if the coverage is unknown.
        num_samples: As in `common_images_note`.
    """
    a, b = (coverage or MISSING for coverage in coverages)
    return f"{common_images_note(num_samples)} Coverage of A: {a}. Coverage of B: {b}."


def format_optional(message: Any, field: str) -> str:
    """Format the fraction in an optional field of a message as a percentage."""
    return format_percentage(getattr(message, field) if message.HasField(field) else None)


def format_points(value: float) -> str:
    """Format a difference of two fractions as signed percentage points.

    Args:
        value: The difference, as a fraction of 1.

    Returns:
        For example "+1.23". See `format_signed`.
    """
    return format_signed(100 * value)


def format_signed(value: float, decimals: int = 2) -> str:
    """Format a number with the sign that it has before it is rounded: "+0.00" for 0.002. Only 0 has no sign: "0.00"."""
    sign = "" if abs(value) < ROUNDING_ERROR else "−" if value < 0 else "+"
    return f"{sign}{abs(value):,.{decimals}f}"


def format_change(interval: DifferenceInterval) -> str:
    """Format the change from A to B in percentage points."""
    return format_points(interval.difference)


def format_range(interval: DifferenceInterval) -> str:
    """Format the confidence interval of the change from A to B in percentage points. NaN: no interval."""
    if math.isnan(interval.low):
        return "no interval"
    return f"{format_points(interval.low)} to {format_points(interval.high)}"


def format_p_value(value: float, alpha: float | None = None) -> str:
    """Format a p-value, for example "< 0.001", "0.042", or "0.20".

    Args:
        value: The p-value.
        alpha: The significance level; None: 0.05. A p-value close to it has enough decimals to show its side.
    """
    alpha = alpha or SIGNIFICANCE_LEVEL
    smallest = min(0.001, alpha)
    if value < smallest:
        return f"< {smallest:g}"
    for decimals in range(3 if value < 0.1 else 2, MAX_P_VALUE_DECIMALS):
        shown = float(text := f"{value:.{decimals}f}")
        if (shown < alpha, shown > alpha) == (value < alpha, value > alpha):
            return text
    return f"{value}"  # the shortest text that is only this value


def format_duration(seconds: float) -> str:
    """Format a duration, for example "89 s", "12 min", or "7 h 5 min"."""
    if round(seconds) < 90:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def pluralize(count: int, noun: str, plural: str = "") -> str:
    """Format a count with its noun.

    Args:
        count: The count.
        noun: The singular noun.
        plural: The plural noun, if it is not the singular with an "s".

    Returns:
        For example "1 image" or "1,234 images".
    """
    return f"{format_count(count)} {noun if count == 1 else plural or f'{noun}s'}"


def list_names(names: Sequence[str], conjunction: str = "and") -> str:
    """Join names in a sentence: "a", "a and b", "a, b, and c"."""
    if len(names) < 3:
        return f" {conjunction} ".join(names)
    return f"{', '.join(names[:-1])}, {conjunction} {names[-1]}"


def superclass_note(predicted: str, label: str, superclasses: Sequence[str]) -> str:
    """Describe the superclasses that the predicted class shares with a label."""
    return SUPERCLASS_NOTE.format(predicted=predicted, label=label, superclasses=", ".join(superclasses))


def cooccurrence_note(predicted: str, label: str, count: int, examples: Sequence[str]) -> str:
    """Describe how often the predicted class occurs together with a label.

    Args:
        predicted: Name of the predicted class.
        label: Name of the label's class.
        count: Number of images that show both classes.
        examples: File names of some of these images.

    Returns:
        A sentence.
    """
    return COOCCURRENCE_NOTE.format(
        predicted=predicted, label=label, images=pluralize(count, "image"), examples=", ".join(examples)
    )


def rejected_target_note(target: str) -> str:
    """Describe that the labels of an image reject its original label."""
    return REJECTED_TARGET_NOTE.format(target=target)


def answer_note(answer: str, outcome: AnswerOutcome, relation: AnswerRelation) -> str:
    """Describe a free-text answer, and its relation to the labels of the image."""
    note = f"The answer “{answer}” names {ANSWER_OUTCOME_NAMES[outcome]}."
    return f"{note} {ANSWER_RELATION_NOTES[relation]}".rstrip()


def answer_names(outcome: AnswerOutcome, classes: Sequence[str]) -> str:
    """Describe what an answer names if it is not mapped to a class, such as "several classes: crane, heron"."""
    return ANSWER_OUTCOME_NAMES[outcome] + (f": {', '.join(classes)}" if classes else "")


def answers_notes(answers: Any) -> list[str]:
    """Describe how free-text answers were mapped to classes.

    Args:
        answers: A message `AnswerMapping`, or a record with the same fields.

    Returns:
        Sentences.
    """
    outcomes = (
        ("mapped", answers.num_mapped),
        ("ambiguous", answers.num_ambiguous),
        ("outside the label space", answers.num_outside),
        ("unknown", answers.num_unknown),
    )
    shares = ", ".join(f"{_share_of(count, answers.num_answers)} {outcome}" for outcome, count in outcomes)
    total = f"{pluralize(answers.num_answers, 'answer')} ({format_count(answers.num_distinct)} distinct)"
    notes = [f"Of {total}: {shares}."]
    if answers.num_overridden:
        notes.append(f"The mapping file decides {pluralize(answers.num_overridden, 'answer')}.")
    share = _share_of(answers.num_unmapped_errors, answers.num_errors)
    notes.append(
        f"{format_count(answers.num_unmapped_errors)} of the {pluralize(answers.num_errors, 'error')} that are not "
        f"label noise ({share}) are answers without a class."
    )
    if answers.num_too_general or answers.num_more_specific:
        notes.append(
            f"Errors whose answer is too general, because it names a hypernym or a superclass of a label: "
            f"{format_count(answers.num_too_general)}. More specific, because it names a hyponym: "
            f"{format_count(answers.num_more_specific)}."
        )
    return notes


def _share_of(count: int, total: int) -> str:
    return format_percentage(count / total if total else None)


def labels_accuracy_name(dataset: str, num_rejected_targets: int) -> str:
    """Return the name of the accuracy against the labels of a data set.

    Args:
        dataset: ID of the data set.
        num_rejected_targets: Number of images whose labels reject the original label. If it is 0, the labels of
            imagenet-real are those of an earlier version, which added the original labels to the ReaL labels.
    """
    is_real = dataset == "imagenet-real" and num_rejected_targets > 0
    return "ReaL accuracy" if is_real else "accuracy against the labels"


def error_noun(num_rejected_targets: int | None) -> str:
    """Return the name of the errors that the error types other than `correct` count.

    If labels reject targets, a prediction of a rejected target is an error but top-1 correct. Otherwise, all of these
    errors are top-1 errors.
    """
    return "top-1 or multi-label error" if num_rejected_targets else "top-1 error"


def rejected_targets_note(count: int) -> str:
    """Describe the effect of rejected targets on the statistics of an analysis."""
    return (
        f"The labels reject the original label of {pluralize(count, 'image')}. Top-1 accuracy compares predictions "
        "with the original label. For these images, statistics by class use the first label instead. Percentages "
        f"refer to all {error_noun(count)}s. A gain in top-1 accuracy is therefore not shown."
    )


def vocabulary_note(
    predicted: str,
    has_similar_neighbors: bool,
    num_texts: int,
    best: Sequence[tuple[str, float]],
    prefers_label: bool = False,
) -> str:
    """Describe the result of CLIP for an image.

    Args:
        predicted: Name of the predicted class.
        has_similar_neighbors: Whether the nearest training images include classes similar to the predicted one.
        num_texts: Number of texts that CLIP ranked.
        best: The texts with the highest rank and their probabilities.
        prefers_label: Whether a label of the image scores higher than these texts.

    Returns:
        Two or three sentences.
    """
    ranked = ", ".join(RANKED_TEXT.format(text=text, probability=format_percentage(value)) for text, value in best)
    neighbors = SIMILAR_NEIGHBORS if has_similar_neighbors else NO_SIMILAR_NEIGHBORS
    note = neighbors.format(predicted=predicted) + BEST_TEXTS.format(texts=pluralize(num_texts, "text"), best=ranked)
    return f"{note} {PREFERS_LABEL}" if prefers_label else note


def attribute_note(attribute: str, values: Sequence[str]) -> str:
    """Describe the values of one attribute of an image, for example "atypical: smaller, texture"."""
    return f"{attribute}: {', '.join(values)}"


def metric_name(metric: str) -> str:
    """Return the title of a trend's metric; the name of the metric if this version does not know it."""
    return METRIC_NAMES.get(metric, metric)


def abstention_notes(abstained: Collection[str]) -> list[str]:
    """Describe the effect of each rule that has no evidence.

    Args:
        abstained: Names in the API of the error types whose rules have no evidence.

    Returns:
        Sentences for each rule, such as "Co-occurrence counts are not available. …".
    """
    notes = []
    for key in abstained:
        error_type = find_error_type(key)
        if error_type is None:
            notes.append(f"The rule “{key}” has no evidence. {_upper_bounds([ErrorType.MODEL_FAILURE.plural])}")
            continue
        later = [other for other in ERROR_TYPES[error_type.position + 1 :] if other.key not in abstained]
        plural = error_type.plural
        notes.append(
            f"{error_type.row.missing} {plural[0].upper()}{plural[1:]} are counted as "
            f"{list_names([other.title for other in later], 'or')}. {_upper_bounds([other.plural for other in later])}"
        )
    return notes


def _upper_bounds(plurals: Sequence[str]) -> str:
    number, verb = ("number", "is an upper bound") if len(plurals) == 1 else ("numbers", "are upper bounds")
    return f"The {number} of {list_names(plurals)} {verb}."


def expert_note(cause: str, severity: ExpertSeverity) -> str:
    """Describe the judgment of experts about a prediction.

    Args:
        cause: The error type, by its name in the API.
        severity: The severity that the experts gave.

    Returns:
        Two sentences.
    """
    return EXPERT_NOTE.format(cause=title_of(cause), severity=EXPERT_SEVERITY_NAMES[severity])


def rule_outcome(error_type: str, note: str, outcome: Outcome) -> str:
    """Describe the outcome of one rule, for example "fine-grained: no match"."""
    note = f" ({note})" if note else ""
    return f"{title_of(error_type)}{note}: {OUTCOME_NAMES[outcome]}"
