"""Texts of the grid of images and of the pages of images."""

from collections.abc import Mapping

from errata.messages import format_count, pluralize

from service.domain import ERROR_TYPES, ErrorType

SORT_NAMES: Mapping[str, str] = {
    "severity desc": "most severe first",
    "severity": "least severe first",
    "confidence desc": "highest confidence first",
    "confidence": "lowest confidence first",
    "models desc": "most failing analyses first",
    "models": "fewest failing analyses first",
    "class": "class",
}
CONFIDENCES = ("0.25", "0.5", "0.75", "0.9")
PROBLEMATIC_NAMES: Mapping[str, str] = {"": "excluded", "include": "included", "only": "only problematic"}
TITLES: Mapping[str, str] = {  # by parameter of the URL
    "type": "error type",
    "group": "group",
    "class": "class",
    "predicted": "prediction",
    "superclass": "superclass",
    "min_confidence": "minimum confidence",
    "errors": "counted as",
    "problematic": "problematic images",
    "baseline": "compared with",
    "change": "change",
    "sort": "order",
}
ANY = "any"
MULTI_LABEL_ERRORS = "multi-label errors"
PROBLEMATIC_NOTE = "problematic"
NO_PREDICTION = "no prediction"
IMAGE_TEXTS = (  # of templates
    "All images of the analysis",
    "Each dot is an error; images with similar embeddings are near each other. Axes: the first two principal "
    "components of the images of the data set, which explain {share} of the variance. Select a dot to see the image.",
    "Error types on the map",
    "Errors as dots",
    "Errors on the map: {count} of {total}.",
    "Map of errors",
    "Map of errors: {title}",
    "Skip the map",
    "The analysis has no errors.",
    "{count} more",
    "Back to the images",
    "Filters",
    "First",
    "How likely each text describes the image, by CLIP",
    "Images",
    "Images {first} to {last} of {total}",
    "Images of {name}",
    "Last",
    "name",
    "name or ID",
    "Next image",
    "No image is available.",
    "No images match the filters.",
    "Other analyses of this image",
    "Page {page} of {pages}",
    "Pages",
    "Previous image",
    "Remove all filters",
    "Remove the filter",
    "Review",
    "Review selected images",
    "select {name}",
    "The image does not match the filters of the grid.",
    "To step through the images, use the arrow keys.",
    "Vocabulary",
)


def change_name(change: str) -> str:
    """Return the name of a change: "fixed", "broken", or the titles of both error types."""
    titles = {error_type.key: error_type.title for error_type in ERROR_TYPES}
    return " → ".join(titles.get(key, key) for key in change.split(":"))


def baseline_note(name: str, error_type: ErrorType) -> str:
    """Describe the prediction of the baseline: the name of the predicted class, and the error type."""
    return f"before: {name} ({error_type.title})"


def examples_title(label: str, predicted: str) -> str:
    """Return the heading of images that show two classes."""
    return f"Examples of {label} and {predicted} together"


def position_text(position: int, total: int) -> str:
    """Describe the position of an image among the images that match a query; `position` starts at 0."""
    return f"Image {format_count(position + 1)} of {format_count(total)}"


def others_note(num_failing: int, num_same: int, total: int) -> str:
    """Describe the verdicts of the other analyses with a prediction for an image."""
    if not total:
        return "No other analysis with this evidence has a prediction for the image."
    return (
        f"Other analyses with this evidence and a prediction: {format_count(total)}. With an error on the image: "
        f"{format_count(num_failing)}. Same prediction: {format_count(num_same)}."
    )


def failing_note(num_failing: int, num_predicting: int) -> str:
    """Describe how many of the other analyses with a prediction for an image have an error on it."""
    return f"error in {format_count(num_failing)} of {pluralize(num_predicting, 'other analysis', 'other analyses')}"
