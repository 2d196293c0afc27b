"""The query of a grid of images, from the parameters of a URL."""

from collections.abc import Collection

from errata.error_types import find_error_type
from errata.errors import InvalidRequest
from starlette.requests import Request

from service import wire
from service.analyses.class_names import find_class
from service.domain import ALL, ERROR_TYPES, ErrorType, LabelSpace
from service.domain.images import ImageQuery
from service.report.image_urls import ONLY, PROBLEMATIC
from service.web.analysis_list import parameter

PARAMETERS = (
    "type", "class", "predicted", "superclass", "group", "min_confidence", "errors", "problematic", "baseline",
    "change", "sort", "page",
)  # fmt: skip
TEXT_FILTERS = ("class", "predicted", "superclass")  # a grid without an invalid one is shown, with the error
MAX_NAME = 1024  # characters of a class or superclass
MAX_DIGITS = 9  # of a page


def check_parameters(request: Request, names: Collection[str]) -> None:
    """Raise InvalidRequest if a request has a parameter that is not in `names`."""
    for name in request.query_params:
        if name not in names:
            raise InvalidRequest(
                f"Unknown parameter {name!r:.80}. Expected one of {', '.join(names)}.", field=name[:80]
            )


def parse_query(request: Request, analysis_id: str, label_space: LabelSpace) -> ImageQuery:
    """Return the query of a request.

    Args:
        request: The request.
        analysis_id: The analysis.
        label_space: The classes of its data set.

    Raises:
        InvalidRequest: A parameter is invalid.
    """
    return ImageQuery(
        analysis_id,
        error_type=_error_type(parameter(request, "type")),
        class_id=_class(request, "class", label_space),
        predicted_id=_class(request, "predicted", label_space),
        superclass=parameter(request, "superclass", MAX_NAME),
        group=parameter(request, "group") or ALL,
        min_confidence=_confidence(parameter(request, "min_confidence")),
        errors_only=_errors_only(parameter(request, "errors")),
        problematic=_problematic(parameter(request, "problematic")),
        baseline=_baseline(parameter(request, "baseline")),
        change=parameter(request, "change"),
        sort=parameter(request, "sort") or ImageQuery.sort,
        page=_page(parameter(request, "page")),
    )


def _error_type(key: str) -> ErrorType | None:
    error_type = find_error_type(key)
    if key and error_type is None:
        keys = ", ".join(item.key for item in ERROR_TYPES)
        raise InvalidRequest(f"Unknown error type {key!r:.80}. Expected one of {keys}.", field="type")
    return error_type


def _class(request: Request, name: str, label_space: LabelSpace) -> int | None:
    """Return the class that a parameter identifies; None for an empty text."""
    text = parameter(request, name, MAX_NAME)
    return find_class(text, name, label_space) if text else None


def _confidence(text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise InvalidRequest(
            f"Confidence {text!r:.40} is not a number. Expected a number from 0 to 1.", field="min_confidence"
        ) from None


def _errors_only(text: str) -> bool:
    if text not in ("", ONLY):
        raise InvalidRequest(f"Unknown value {text!r:.40} of 'errors'. Expected {ONLY}.", field="errors")
    return text == ONLY


def _problematic(text: str) -> bool | None:
    if text and text not in PROBLEMATIC:
        raise InvalidRequest(
            f"Unknown value {text!r:.40} of 'problematic'. Expected one of {', '.join(PROBLEMATIC)}.",
            field="problematic",
        )
    return PROBLEMATIC[text] if text else False


def _baseline(text: str) -> str:
    if text and not wire.is_id(text):
        raise InvalidRequest(f"Invalid analysis {text!r:.80}. Expected an ID.", field="baseline")
    return text


def _page(text: str) -> int:
    if text and not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        raise InvalidRequest(
            f"Page {text!r:.40} is not a number. Expected a number of at most {MAX_DIGITS} digits.", field="page"
        )
    return int(text) if text else 1
