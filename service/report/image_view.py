"""The content of the page of an image, as records for the template."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from errata.messages import MISSING, format_percentage

from service.domain import Agreement, Analysis, Verdict, class_name_of
from service.domain.images import PAGE_SIZE, ModelVerdict, Neighbors
from service.report.elements import css_class
from service.report.error_view import ErrorRow, error_row
from service.report.image_urls import ImageUrls
from service.report.messages.agreement import type_note
from service.report.messages.coverage import partial_coverage_note
from service.report.messages.images import NO_PREDICTION, examples_title, others_note, position_text
from service.report.messages.pages import identity_text


@dataclass(frozen=True)
class Example:
    """An example image in which two classes occur together."""

    name: str
    thumbnail: str  # URL; empty: not available
    url: str  # of its page; empty: the analysis does not judge it


@dataclass(frozen=True)
class Examples:
    """The examples of one pair of classes."""

    title: str
    images: tuple[Example, ...]


@dataclass(frozen=True)
class TextBar:
    """A text that CLIP compared with the image."""

    text: str
    probability: str
    width: float  # percent


@dataclass(frozen=True)
class OtherRow:
    """The verdict of another analysis on the image."""

    title: str
    url: str  # of the image's page for the analysis
    analysis_url: str
    analysis: str
    predicted: str
    error_type: str
    css_class: str
    owner: str = ""  # of the analysis; empty: unknown


@dataclass(frozen=True)
class ImageView:
    """One image of an analysis."""

    analysis: str
    title: str
    row: ErrorRow
    picture: str  # URL; empty: the image is not available
    review: str  # URL
    grid: str  # URL of the page of the grid with the image
    position: str  # such as "Image 3 of 120"; empty: the image does not match the query of the grid
    previous: str  # URL; empty: this is the first image
    next: str
    examples: tuple[Examples, ...]
    texts: tuple[TextBar, ...]
    others: tuple[OtherRow, ...]
    others_note: str
    agreement: str  # how often experts agree with the error type; empty: not known
    identity: str = ""  # the name of the analysis, and its owner
    coverage: str = ""  # of the analysis, a sentence; empty: it covers all evaluated images


@dataclass(frozen=True)
class ImageData:
    """The data from which `image_view` builds the view of an image."""

    analysis: Analysis
    verdict: Verdict
    names: Sequence[str]  # (C,) names of the classes
    urls: ImageUrls
    neighbors: Neighbors | None  # None: the image does not match the query of the grid
    others: Sequence[ModelVerdict]
    picture: str  # URL of the image at full size; empty: not available
    thumbnail_url: Callable[[str], str]  # of another image; empty: not available
    judged: Collection[str]  # names of the images that the analysis judges
    agreement: Agreement | None = None


def image_view(data: ImageData) -> ImageView:
    """Convert one image of an analysis for display."""
    verdict, urls, neighbors = data.verdict, data.urls, data.neighbors
    values = data.agreement.types.get(verdict.error_type) if data.agreement else None
    vocabulary = verdict.evidence.vocabulary if verdict.evidence else None
    return ImageView(
        analysis=data.analysis.id,
        title=data.analysis.title,
        row=error_row(verdict, data.names),
        picture=data.picture,
        review=urls.review(verdict.file_name),
        grid=urls.grid(page=neighbors.position // PAGE_SIZE + 1 if neighbors else 1),
        position=position_text(neighbors.position, neighbors.total) if neighbors else "",
        previous=urls.image(neighbors.previous) if neighbors and neighbors.previous is not None else "",
        next=urls.image(neighbors.next) if neighbors and neighbors.next is not None else "",
        examples=_examples(data),
        texts=tuple(
            TextBar(text.text, format_percentage(text.probability), round(100 * text.probability, 1))
            for text in (vocabulary.best if vocabulary else ())
        ),
        others=tuple(_other_row(data, other) for other in data.others),
        others_note=others_note(
            sum(other.fails for other in data.others),
            sum(other.predicted == verdict.predicted for other in data.others),
            sum(other.error_type is not None for other in data.others),
        ),
        agreement=type_note(verdict.error_type, values) if values else "",
        identity=identity_text(data.analysis.id, data.analysis.owner),
        coverage=partial_coverage_note(data.analysis),
    )


def _examples(data: ImageData) -> tuple[Examples, ...]:
    """Return the example images of each label that often occurs together with the prediction."""
    pairs = data.verdict.evidence.co_occurrences if data.verdict.evidence else ()
    predicted = class_name_of(data.names, data.verdict.predicted)
    return tuple(
        Examples(
            examples_title(data.names[pair.label], predicted),
            tuple(_example(data, name) for name in pair.examples),
        )
        for pair in pairs
    )


def _example(data: ImageData, name: str) -> Example:
    is_judged = name in data.judged  # the examples of some data sets are images of another one
    return Example(
        name,
        data.thumbnail_url(name) if is_judged else "",
        data.urls.image_of(name, data.analysis.id) if is_judged else "",
    )


def _other_row(data: ImageData, other: ModelVerdict) -> OtherRow:
    is_known = other.error_type is not None
    return OtherRow(
        title=other.title,
        url=data.urls.image_of(data.verdict.file_name, other.analysis),
        analysis_url=f"/analyses/{other.analysis}",
        analysis=other.analysis,
        predicted=class_name_of(data.names, other.predicted) if is_known else MISSING,
        error_type=other.error_type.title if other.error_type else NO_PREDICTION,
        css_class=css_class(other.error_type) if other.error_type else "",
        owner=other.owner,
    )
