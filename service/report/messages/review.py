"""Texts of the pages of reviews."""

from collections.abc import Sequence

from errata.messages import format_percentage, list_names, pluralize

REVIEW_TEXTS = (
    "Your token cannot save reviews. Log in with a token of the scope review.",
    "add",
    "add a class by its ID or name",
    "class and models that predict it",
    "Classes that models predict",
    "comment",
    "confirm",
    "Conflict.",
    "Decision of the reviews",
    "Image",
    "image",
    "Images to review",
    "Images {first} to {last} of {total}, in the order of the review",
    "Is the image problematic?",
    "Keyboard",
    "Labels",
    "No image is available.",
    "No images to review.",
    "No reviews.",
    "no statement",
    "not authenticated",
    "Other classes",
    "part of an ID, name, or synonym",
    "Queue of {name}",
    "reason",
    "reason to set it aside",
    "reject",
    "Review",
    "Review queue",
    "Review of {name}",
    "Reviewer: {name}",
    "Reviews",
    "Save and next",
    "Search classes",
    "Search of classes",
    "set aside",
    "Severe errors of the analysis",
    "single keys are active",
    "Skip",
    "Start the review",
    "The image has no labels.",
    "The labels stay as they are.",
    "The queue judges it with the default evidence, so the number can differ from that of its report.",
    "The search failed. Open this service in another tab to check the connection and your login. Then search again.",
    "Undo",
    "Undo your last review",
    "undone",
    "usable",
    "Your last review:",
    "your name (without a token, so not authenticated)",
)
KEYS = (
    ("1 – 9", "change the statement about a class"),
    ("a", "confirm all labels"),
    ("/", "add a class"),
    ("p", "set the image aside, or remove this statement"),
    ("c", "write a comment"),
    ("s", "save, and go to the next image"),
    ("n", "skip the image"),
    ("u", "undo your last review"),
    ("Escape", "leave a text field"),
)
REASONS = ("blurred or too dark", "no class fits", "too small", "several objects, none prominent", "damaged image")
QUEUE_REASONS = {
    "conflict": "conflict of reviewers",
    "severe_error": "severe error",
    "agreement": "models agree",
}


def agreement_text(num_agreeing: int, num_models: int, confidence: float | None, is_mean: bool = True) -> str:
    """Return how many models predict a class, and their mean confidence or that of one analysis."""
    text = f"{num_agreeing} of {pluralize(num_models, 'model')}"
    name = "mean confidence" if is_mean else "confidence of the analysis"
    return text if confidence is None else f"{text}, {name} {format_percentage(confidence)}"


def conflict_text(subject: str, yes: Sequence[str], no: Sequence[str]) -> str:
    """Describe the conflicting statements of reviewers about a class or about the image."""
    return f"{subject}: yes by {list_names(yes)}, no by {list_names(no)}."


def found_text(text: str, names: Sequence[str], has_more: bool = False) -> str:
    """Return which classes a search for a text found; `has_more`: `names` are only the first ones."""
    if has_more:
        first = f"Only the first {len(names)} classes that contain “{text}” are listed: {list_names(names)}."
        return f"{first} Enter more of the name to find others."
    return f"Classes that contain “{text}”: {list_names(names)}." if names else f"No class contains “{text}”."


def decision_texts(present: Sequence[str], absent: Sequence[str], problematic: bool | None, reason: str) -> list[str]:
    """Return what reviews decide, one sentence for each part."""
    texts = []
    if present:
        texts.append(f"In the image: {list_names(present)}.")
    if absent:
        texts.append(f"Not in the image: {list_names(absent)}.")
    if problematic is not None:
        texts.append((f"Set aside: {reason}." if reason else "Set aside.") if problematic else "Usable.")
    return texts


def statement_texts(
    classes: tuple[Sequence[str], Sequence[str], Sequence[str]], problematic: bool | None, reason: str
) -> list[str]:
    """Return what one review says; `classes` has the classes that it confirms, adds, and rejects."""
    parts = zip(("confirms", "adds", "rejects"), classes, strict=True)
    texts = [f"{verb} {list_names(names)}" for verb, names in parts if names]
    if problematic is not None:
        texts.append(f"sets the image aside: {reason}" if problematic and reason else _usability(problematic))
    return texts


def _usability(problematic: bool) -> str:
    return "sets the image aside" if problematic else "says that the image is usable"


def progress_text(position: int | None, total: int) -> str:
    """Describe the position of an image in the queue; `position` starts at 0."""
    if position is None:
        return f"Not in the queue of {pluralize(total, 'image')}"
    return f"Image {position + 1:,} of {total:,} in the queue"


def selection_text(num_following: int) -> str:
    """Describe how many selected images follow the current one."""
    return f"{pluralize(num_following, 'more image')} selected" if num_following else "Last of the selected images"


def queue_text(total: int, num_reviewed: int, num_models: int, min_agreement: int) -> str:
    """Return the numbers of a queue in sentences."""
    models = f"{pluralize(num_models, 'model')} with predictions"
    rule = (
        f"A class is suggested if {min_agreement} of them predict it."
        if num_models >= min_agreement
        else (f"At least {min_agreement} models are necessary to suggest classes.")
    )
    return f"{pluralize(total, 'image')} to review, {num_reviewed:,} reviewed. {models}. {rule}"
