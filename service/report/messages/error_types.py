"""Texts of the report: summary, error breakdown, accuracy gains, and calibration."""

from collections.abc import Mapping, Sequence

from errata.messages import format_count, format_percentage, pluralize

from service.domain import Severity
from service.report.messages.formatting import format_gain

TOP1_ACCURACY_NOTE = "The prediction is the original label."
LABELS_ACCURACY_NOTE = "The prediction is one of the labels. Share of the images."
SEVERE_ERROR_RATE_NOTE = "Images with a model failure."
GAIN_TITLES = ("top-1 accuracy", "multi-label accuracy")
CALIBRATION_TITLES = ("top-1 correct", "multi-label correct")
CALIBRATION_DOTS = (
    "Each dot is a bin of confidence with its number of images; on the dashed line, confidence equals accuracy. Bins "
    "without images have no dot."
)
CALIBRATION_LINKS = "Select a dot to see the images from the lower bound of its bin on, lowest confidence first."
SEVERITY_DESCRIPTIONS: Mapping[Severity, str] = {
    Severity.NONE: "The prediction is correct, but the original label is wrong or not the only one.",
    Severity.MINOR: "The prediction is similar to the object in the image.",
    Severity.EXPLAINABLE: "The context is misleading, or the image is unusual.",
    Severity.SEVERE: "No rule explains the error.",
}


def summary_sentence(
    title: str, samples: int, counts: Mapping[Severity, int], is_upper_bound: bool, noun: str = "top-1 error"
) -> str:
    """Summarize the errors of a model.

    Args:
        title: Display name of the analysis.
        samples: Number of evaluated images.
        counts: Number of errors of each severity.
        is_upper_bound: Whether a rule has no evidence, so that the number of model failures is an upper bound.
        noun: Name of the errors; see `error_noun`.

    Returns:
        For example "resnet50 makes 100 top-1 errors on 1,000 images: 40.0 % are label noise, 30.0 % are minor;
        30.0 % are model failures (30 images, 3.0 % of all images)."
    """
    errors = sum(counts.values())
    images = pluralize(samples, "image")
    if not samples:
        return f"{title} has no evaluated images."
    if not errors:
        return f"{title} makes no {noun}s on {images}."
    names = {
        Severity.NONE: "are label noise",
        Severity.MINOR: "are minor",
        Severity.EXPLAINABLE: "are explainable",
    }
    parts = [
        f"{format_percentage(counts[severity] / errors)} {name}" for severity, name in names.items() if counts[severity]
    ]
    sentence = f"{title} makes {pluralize(errors, noun)} on {images}: {', '.join(parts)}"
    severe = counts[Severity.SEVERE]
    separator = "; " if parts else ""
    if not severe:
        return f"{sentence}{separator}none is a model failure."
    share = _at_most(severe / errors) if is_upper_bound else format_percentage(severe / errors)
    return (
        f"{sentence}{separator}{share} are model failures "
        f"({pluralize(severe, 'image')}, {format_percentage(severe / samples)} of all images)."
    )


def _at_most(share: float) -> str:
    text = format_percentage(share)
    return f"at most {'100.0 %' if text.startswith('>') else text.removeprefix('< ')}"


def label_preference_note(num_preferred: int, total: int) -> str:
    """Describe in how many out-of-vocabulary errors CLIP prefers a true label."""
    return (
        f"In {format_count(num_preferred)} of {pluralize(total, 'out-of-vocabulary error')}, CLIP prefers a true "
        "label: one of the image's own labels scores higher than the best text for the prediction."
    )


def multi_label_accuracy_note(over_images: float | None) -> str:
    """Describe multi-label accuracy. `over_images` is its mean over images, a fraction of 1."""
    return (
        "The prediction is one of the image's labels, or overlaps with its target class. This is the mean over target "
        f"classes; the mean over images is {format_percentage(over_images)}."
    )


def percentile_note(percentile: str) -> str:
    """Describe the percentile of a portion next to a rate; empty if there is no percentile."""
    return f"As a portion of the multi-label errors: {percentile}." if percentile else ""


def breakdown_description(
    group: str, errors: int, portions: Sequence[tuple[str, float]], noun: str = "top-1 error"
) -> str:
    """Describe the error breakdown of a group for screen readers.

    Args:
        group: Name of the group.
        errors: Number of errors.
        portions: Title and portion of the errors, a fraction of 1, of each error type.
        noun: As in `summary_sentence`.

    Returns:
        A sentence.
    """
    parts = ", ".join(f"{title} {format_percentage(portion)}" for title, portion in portions if portion)
    return f"{group}: {pluralize(errors, noun)}{f': {parts}' if parts else ''}."


def counts_description(counts: Sequence[tuple[str, int]]) -> str:
    """Describe counts of error types: "3 fine-grained, 1 model failure"."""
    return ", ".join(f"{format_count(count)} {title}" for title, count in counts if count)


def gains_description(rows: Sequence[tuple[str, float | None, float | None]]) -> str:
    """Describe the accuracy gains for screen readers.

    Args:
        rows: Title, top-1 gain, and multi-label gain of each error type, fractions of 1.

    Returns:
        A sentence.
    """
    parts = "; ".join(f"{title} {format_gain(top1)} and {format_gain(multi)}" for title, top1, multi in rows)
    return f"Gain in top-1 and multi-label accuracy, in percentage points, without an error type: {parts}."


def calibration_summary(top1: float | None, multi_label: float | None) -> str:
    """Describe the expected calibration errors, fractions of 1."""
    if top1 is None or multi_label is None:
        return "Calibration is not available because no prediction has a probability."
    return (
        f"Expected calibration error (15 bins): {format_percentage(top1)} for top-1 correctness, "
        f"{format_percentage(multi_label)} for multi-label correctness."
    )
