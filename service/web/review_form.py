"""The form of a review: its fields, and the review that they describe."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from errata.errors import InvalidRequest
from starlette.datastructures import ImmutableMultiDict, QueryParams

from service import wire
from service.analyses.reviews import ReviewRequest
from service.domain import LabelSpace
from service.evidence.bundle import Bundle

MAX_NEXT = 100  # images of a selection; with all classes, a form has fewer than forms.MAX_FIELDS fields
MAX_NAME = 1024  # characters of the name of an image, a class, or a reviewer
CLASS_FIELD = "class-"  # followed by the index of the class
CHOICES = {"yes": True, "no": False, "": None}


@dataclass(frozen=True)
class ReviewForm:
    """The fields of the form, or of the link to it."""

    dataset: str
    image: str
    analysis: str = ""
    is_selection: bool = False  # whether the reviewer selected the images; otherwise, they come from the queue
    next: tuple[str, ...] = ()  # the further images of a selection
    reviewer: str = ""  # without a token
    labels: str = ""  # digest of the labels that the page shows
    choices: Mapping[int, bool] = field(default_factory=dict)  # whether a class is in the image
    added: tuple[str, ...] = ()  # further classes: IDs or names
    search: str = ""  # text to search for in the classes; a form with it is shown again, and not stored
    problematic: bool | None = None
    reason: str = ""
    comment: str = ""
    undoes: str = ""
    following: str = ""  # the next image of the queue when the page was shown
    request_id: str = field(default_factory=lambda: secrets.token_hex(16))  # a form that is sent twice is stored once

    def at(self, image: str) -> "ReviewForm":
        """Return an empty form for another image of the same selection."""
        following = self.next[1:] if self.next[:1] == (image,) else self.next
        return ReviewForm(self.dataset, image, self.analysis, self.is_selection, following, self.reviewer)

    def back_to(self, image: str) -> "ReviewForm":
        """Return an empty form for an image after which a selection continues with the current image."""
        following = (self.image, *self.next) if self.is_selection and image != self.image else self.next
        return replace(self.at(image), next=following[:MAX_NEXT])

    def voter(self, caller: str) -> tuple[str, bool]:
        """Return the reviewer, and whether the name is authenticated, as in `Review.voter`."""
        return (caller, True) if caller else (self.reviewer, False)

    def to_request(self, bundle: Bundle, caller: str) -> ReviewRequest:
        """Return the review that the form describes.

        Args:
            bundle: The bundle whose labels the page shows.
            caller: The name of the caller's token; empty: the form names the reviewer.
        """
        # An undo has no choices, and the bundle can lack its image.
        ids, labels = bundle.label_space.ids, set[int]()
        if self.choices:
            labels |= {*bundle.evidence.labels.of(bundle.row(self.image)).tolist()}
        present = [index for index, is_present in self.choices.items() if is_present]
        return ReviewRequest(
            dataset=self.dataset,
            image=self.image,
            evidence=bundle.digest,
            confirmed=tuple(ids[index] for index in present if index in labels),
            added=(*(ids[index] for index in present if index not in labels), *self.added),
            rejected=tuple(ids[index] for index, is_present in self.choices.items() if not is_present),
            problematic=self.problematic,
            reason=self.reason,
            comment=self.comment,
            undoes=self.undoes,
            reviewer="" if caller else self.reviewer,
            request_id=self.request_id,
            prefer_ids=True,
        )


def parse_link(dataset: str, image: str, parameters: QueryParams) -> ReviewForm:
    """Return the empty form that a link leads to.

    Raises:
        InvalidRequest: A parameter is too long or invalid.
    """
    return ReviewForm(
        dataset,
        image,
        _analysis(parameters),
        bool(_text(parameters, "selection")),
        _next(parameters),
        _text(parameters, "reviewer"),
        search=_text(parameters, "search"),
    )


def parse_form(fields: "ImmutableMultiDict[str, str]") -> ReviewForm:
    """Return the form that a browser sent; `ReviewForm.to_request` and `create_review` check its statements.

    Raises:
        InvalidRequest: A field is too long or invalid.
    """
    form = ReviewForm(
        dataset=_text(fields, "dataset"),
        image=_exact_text(fields, "image"),
        analysis=_analysis(fields),
        is_selection=bool(_text(fields, "selection")),
        next=_next(fields),
        following=_exact_text(fields, "following"),
        reviewer=_text(fields, "reviewer"),
        labels=_text(fields, "labels"),
        choices=_choices(fields),
        added=tuple(text.strip() for text in fields.getlist("added") if text.strip()),
        problematic=CHOICES.get(fields.get("problematic", "")),
        reason=_text(fields, "reason"),
        comment=fields.get("comment", "").replace("\r\n", "\n").strip(),
        undoes=_text(fields, "undoes"),
        search=_text(fields, "search"),
    )
    request_id = _text(fields, "request_id")
    return replace(form, request_id=request_id) if request_id else form


def check_choices(form: ReviewForm, label_space: LabelSpace) -> None:
    """Raise InvalidRequest for a class that the label space does not have."""
    if any(index >= label_space.num_classes for index in form.choices):
        raise InvalidRequest("The form has an unknown class. Open the page of the image again.", field="choices")


def _choices(fields: "ImmutableMultiDict[str, str]") -> dict[int, bool]:
    choices: dict[int, bool] = {}
    for name, value in fields.multi_items():
        digits = name.removeprefix(CLASS_FIELD)
        choice = CHOICES.get(value)
        if digits == name or choice is None or not (digits.isascii() and digits.isdigit() and len(digits) < 6):
            continue
        if choices.setdefault(int(digits), choice) != choice:
            raise InvalidRequest("The form both confirms and rejects a class. Choose one.", field="choices")
    return choices


def _analysis(fields: "ImmutableMultiDict[str, str]") -> str:
    text = _text(fields, "analysis")
    if text and not wire.is_id(text):
        raise InvalidRequest(f"Invalid analysis {text!r:.80}. Expected an ID.", field="analysis")
    return text


def _next(fields: "ImmutableMultiDict[str, str]") -> tuple[str, ...]:
    images = fields.getlist("next")
    if len(images) > MAX_NEXT or any(len(image) > MAX_NAME for image in images):
        raise InvalidRequest(f"The selection is too large. Select at most {MAX_NEXT} images.", field="next")
    return tuple(images)


def _text(fields: "ImmutableMultiDict[str, str]", name: str) -> str:
    return _exact_text(fields, name).strip()


def _exact_text(fields: "ImmutableMultiDict[str, str]", name: str) -> str:
    """Return a field without stripping spaces: the name of an image can begin or end with a space."""
    text = fields.get(name, "")
    if len(text) > MAX_NAME:
        raise InvalidRequest(
            f"Field {name!r} has {len(text):,} characters. At most {MAX_NAME:,} are allowed.", field=name
        )
    return text
