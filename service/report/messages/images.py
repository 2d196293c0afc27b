"""Texts of the grid of images and of the pages of images."""

from collections.abc import Mapping

from errata.messages import format_count

SORT_NAMES: Mapping[str, str] = {
    "severity desc": "most severe first",
    "severity": "least severe first",
    "confidence desc": "highest confidence first",
    "confidence": "lowest confidence first",
    "models desc": "most failing models first",
    "models": "fewest failing models first",
    "class": "class",
}
CONFIDENCES = ("0.25", "0.5", "0.75", "0.9")
PROBLEMATIC_NAMES: Mapping[str, str] = {"": "excluded", "include": "included", "only": "only problematic"}
CHANGE_NAMES: Mapping[str, str] = {"fixed": "fixed", "broken": "broken"}
IMAGE_TEXTS = (
    "{count} more. To list them, select another filter first.",
    "{count} of {total} other analyses with this evidence fail on the image. {same} predict the same class.",
    "All images",
    "All images match.",
    "analysis",
    "Back to the images",
    "before: {name} ({type})",
    "compared with",
    "Examples of {first} and {second} together",
    "Filters",
    "First",
    "How likely each text describes the image, by CLIP",
    "Image {position} of {total}",
    "Images",
    "Images {first} to {last} of {total}",
    "Images of {name}",
    "Images on this page",
    "Last",
    "Next image",
    "No image is available.",
    "no prediction",
    "No images match the filters.",
    "No other analysis has this evidence.",
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


def failing_note(num_failing: int, num_models: int) -> str:
    """Describe how many of the other analyses have an error on an image."""
    if num_models == 1:
        return "the other model fails" if num_failing else "the other model is correct"
    return f"{format_count(num_failing)} of {format_count(num_models)} other models fail"
