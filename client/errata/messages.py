"""Names, numbers, and evidence sentences that the command line and the reports share."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from errata.enums import ERROR_TYPES, ErrorType, Group, LabelSource, Outcome, ProblematicTag, Severity, State

MISSING = "–"  # placeholder for a missing value

ERROR_TYPE_TITLES: Mapping[ErrorType, str] = {  # the terms of the paper
    ErrorType.CORRECT: "top-1 correct",
    ErrorType.CLASS_OVERLAP: "class overlap",
    ErrorType.MULTI_LABEL: "missing multi-label",
    ErrorType.FINE_GRAINED: "fine-grained",
    ErrorType.FINE_GRAINED_OOV: "fine-grained, out of vocabulary",
    ErrorType.SPURIOUS_CORRELATION: "spurious correlation",
    ErrorType.NON_PROTOTYPICAL: "non-prototypical",
    ErrorType.MODEL_FAILURE: "model failure",
}
ERROR_TYPE_PLURALS: Mapping[ErrorType, str] = {
    ErrorType.CORRECT: "correct predictions",
    ErrorType.CLASS_OVERLAP: "class overlaps",
    ErrorType.MULTI_LABEL: "missing multi-labels",
    ErrorType.FINE_GRAINED: "fine-grained errors",
    ErrorType.FINE_GRAINED_OOV: "out-of-vocabulary errors",
    ErrorType.SPURIOUS_CORRELATION: "spurious correlations",
    ErrorType.NON_PROTOTYPICAL: "non-prototypical errors",
    ErrorType.MODEL_FAILURE: "model failures",
}
ERROR_TYPE_DESCRIPTIONS: Mapping[ErrorType, str] = {
    ErrorType.CORRECT: "The prediction is the original label.",
    ErrorType.CLASS_OVERLAP: (
        "ImageNet has two classes for the same concept, and the model predicts the other one. Counted as correct."
    ),
    ErrorType.MULTI_LABEL: (
        "The image has several labels, and the prediction is one of them, but not the original label. "
        "Counted as correct."
    ),
    ErrorType.FINE_GRAINED: "The prediction and a label of the image are similar: they share a superclass.",
    ErrorType.FINE_GRAINED_OOV: (
        "The image shows an object similar to the prediction, but ImageNet has no class for it."
    ),
    ErrorType.SPURIOUS_CORRELATION: (
        "The predicted class is not in the image, but it often occurs together with a class that is."
    ),
    ErrorType.NON_PROTOTYPICAL: "The image shows an unusual example of its class.",
    ErrorType.MODEL_FAILURE: "No other error type explains the error.",
}
GROUP_NAMES: Mapping[Group, str] = {
    Group.ALL: "all images",
    Group.ORGANISM: "organisms",
    Group.ARTIFACT: "artifacts",
    Group.OTHER: "other",
}
SEVERITY_NAMES: Mapping[Severity, str] = {
    Severity.NONE: "label noise",
    Severity.MINOR: "minor",
    Severity.EXPLAINABLE: "explainable",
    Severity.SEVERE: "severe",
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
METRIC_NAMES: Mapping[str, str] = {  # by the name of a TrendMetric
    **{error_type.name: title for error_type, title in ERROR_TYPE_TITLES.items() if error_type > ErrorType.CORRECT},
    "POOLED": "out of vocabulary to model failure, combined",
    "MULTI_LABEL_ACCURACY": "multi-label accuracy",
}

# The error table of the report fills in the same sentences in the browser.
SUPERCLASS_NOTE = "“{predicted}” and “{label}” share a superclass: {superclasses}."
COOCCURRENCE_NOTE = "“{predicted}” and “{label}” occur together in {count} images, for example {examples}."
SIMILAR_NEIGHBORS = "The nearest training images include classes similar to “{predicted}”. "
NO_SIMILAR_NEIGHBORS = "The nearest training images include no classes similar to “{predicted}”. "
BEST_TEXTS = "Of {num_texts} texts, CLIP ranks these highest: {texts}."
RANKED_TEXT = "“{text}” ({probability})"

_MISSING_EVIDENCE: Mapping[ErrorType, str] = {
    ErrorType.FINE_GRAINED_OOV: "CLIP results are not available.",
    ErrorType.SPURIOUS_CORRELATION: "Co-occurrence counts are not available.",
    ErrorType.NON_PROTOTYPICAL: "A list of non-prototypical images is not available.",
}


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
        For example "37.2 %"; an en dash for a missing value.
    """
    return MISSING if value is None or math.isnan(value) else f"{100 * value:.1f} %"


def format_optional(message: Any, field: str) -> str:
    """Format the fraction in an optional field of a message as a percentage."""
    return format_percentage(getattr(message, field) if message.HasField(field) else None)


def format_points(value: float) -> str:
    """Format a difference of two fractions as signed percentage points.

    Args:
        value: The difference, as a fraction of 1.

    Returns:
        For example "+1.23"; zero is "+0.00".
    """
    return format_signed(100 * value)


def format_signed(value: float) -> str:
    """Format a number with its sign and two decimal places."""
    return f"{round(value, 2) + 0.0:+.2f}".replace("-", "−")


def format_change(interval: DifferenceInterval) -> str:
    """Format the change from A to B in percentage points."""
    return format_points(interval.difference)


def format_range(interval: DifferenceInterval) -> str:
    """Format the confidence interval of the change from A to B in percentage points."""
    return f"{format_points(interval.low)} to {format_points(interval.high)}"


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
        predicted=predicted, label=label, count=format_count(count), examples=", ".join(examples)
    )


def vocabulary_note(
    predicted: str, has_similar_neighbors: bool, num_texts: int, best: Sequence[tuple[str, float]]
) -> str:
    """Describe the result of CLIP for an image.

    Args:
        predicted: Name of the predicted class.
        has_similar_neighbors: Whether the nearest training images include classes similar to the predicted one.
        num_texts: Number of texts that CLIP ranked.
        best: The texts with the highest rank and their probabilities.

    Returns:
        Two sentences.
    """
    texts = ", ".join(RANKED_TEXT.format(text=text, probability=format_percentage(value)) for text, value in best)
    neighbors = SIMILAR_NEIGHBORS if has_similar_neighbors else NO_SIMILAR_NEIGHBORS
    return neighbors.format(predicted=predicted) + BEST_TEXTS.format(num_texts=format_count(num_texts), texts=texts)


def abstention_notes(abstained: Collection[ErrorType]) -> list[str]:
    """Describe the effect of each rule that has no evidence.

    Args:
        abstained: Error types of these rules.

    Returns:
        Three sentences for each, such as "Co-occurrence counts are not available. …".
    """
    notes = []
    for error_type in abstained:
        later = [ERROR_TYPE_TITLES[other] for other in ERROR_TYPES if other > error_type and other not in abstained]
        plural = ERROR_TYPE_PLURALS[error_type]
        notes.append(
            f"{_MISSING_EVIDENCE[error_type]} {plural[0].upper()}{plural[1:]} are counted as "
            f"{list_names(later, 'or')}. The number of model failures is an upper bound."
        )
    return notes


def rule_outcome(error_type: ErrorType, note: str, outcome: Outcome) -> str:
    """Describe the outcome of one rule, for example "fine-grained: no match"."""
    note = f" ({note})" if note else ""
    return f"{ERROR_TYPE_TITLES[error_type]}{note}: {OUTCOME_NAMES[outcome]}"
