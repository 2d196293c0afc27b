"""The content that only the web page of a comparison has: filters, links, and cards of the changed images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode

from service.domain import (
    ALL,
    BROKEN,
    ERROR_TYPES,
    FIXED,
    ChangedImage,
    ChangeQuery,
    Comparison,
    ErrorType,
    ImageChanges,
)
from service.report.class_names import shorten
from service.report.elements import css_class
from service.report.picture_urls import thumbnail_url

_TYPES = {error_type.key: error_type for error_type in ERROR_TYPES}


@dataclass(frozen=True)
class ComparisonLinks:
    """Builds the URLs of the pages about a comparison."""

    id_a: str
    id_b: str
    dataset: str
    has_pictures: bool
    class_ids: Sequence[str]  # (C,)

    def page(self, query: ChangeQuery) -> str:
        """Return the URL of the comparison with other filters."""
        return f"/compare?{_parameters(query, a=self.id_a, b=self.id_b)}"

    def swapped(self) -> str:
        """Return the URL of the comparison from B to A."""
        return f"/compare?{urlencode({'a': self.id_b, 'b': self.id_a})}"

    def images(self, query: ChangeQuery) -> str:
        """Return the URL of all images that a query selects."""
        return f"/analyses/{self.id_b}/images?{_parameters(query, baseline=self.id_a)}"

    def image(self, name: str, query: ChangeQuery) -> str:
        """Return the URL of the page about one image, from which the next image of a query can be reached."""
        image = quote(name, safe="", errors="replace")  # browsers resolve the segments "." and ".." of a path
        parameters = _parameters(query, analysis=self.id_b, baseline=self.id_a)
        return f"/datasets/{quote(self.dataset, safe='')}/images/{image}?{parameters}"

    def thumbnail(self, name: str) -> str:
        """Return the URL of the thumbnail of an image; empty if the data set has no pictures."""
        return thumbnail_url(self.dataset, name) if self.has_pictures else ""


@dataclass(frozen=True)
class PageSource:
    """What a comparison needs to become a web page."""

    links: ComparisonLinks
    changes: ImageChanges


@dataclass(frozen=True)
class Option:
    """A value of a filter."""

    value: str
    text: str
    is_selected: bool


@dataclass(frozen=True)
class CardPrediction:
    """The prediction of one of the models for an image."""

    letter: str  # A or B
    predicted: str
    title: str  # of the error type
    css_class: str


@dataclass(frozen=True)
class Card:
    """One changed image."""

    file_name: str
    url: str
    thumbnail: str  # empty: the data set has no pictures
    target: str
    predictions: tuple[CardPrediction, CardPrediction]


@dataclass(frozen=True)
class CardGrid:
    """The first images with one change."""

    id: str  # in the page
    heading: str
    url: str  # of all images
    count: int
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class ComparisonPage:
    """Filters and images of the page of a comparison."""

    changes: tuple[Option, ...]
    classes: tuple[Option, ...]
    superclasses: tuple[Option, ...]
    is_filtered: bool
    has_class_filter: bool  # whether the transitions are those of some classes only
    reset_url: str
    swap_url: str
    grids: tuple[CardGrid, ...]


def comparison_page(comparison: Comparison, source: PageSource, names: Sequence[str]) -> ComparisonPage:
    """Convert the selected images of a comparison for display; `names` are the names of the classes."""
    links, changes = source.links, source.changes
    query = changes.query
    index_of = {class_id: index for index, class_id in enumerate(links.class_ids)}
    classes = dict.fromkeys([*changes.classes, *filter(None, [query.class_id])])
    names_of_superclasses = {row.name for rows in comparison.superclasses.values() for row in rows}
    return ComparisonPage(
        changes=_change_options(comparison, query.change),
        classes=_options(((class_id, names[index_of[class_id]]) for class_id in classes), query.class_id),
        superclasses=_options(
            ((name, shorten(name)) for name in names_of_superclasses | {*filter(None, [query.superclass])}),
            query.superclass,
        ),
        is_filtered=query != ChangeQuery(),
        has_class_filter=bool(query.class_id or query.superclass),
        reset_url=links.page(ChangeQuery()),
        swap_url=links.swapped(),
        grids=tuple(
            CardGrid(
                id=selection.change if selection.change in (FIXED, BROKEN) else "transition",
                heading=change_title(selection.change),
                url=links.images(replace(query, change=selection.change)),
                count=selection.count,
                cards=tuple(
                    _card(image, names, links, replace(query, change=selection.change)) for image in selection.images
                ),
            )
            for selection in changes.selections
        ),
    )


def change_title(change: str) -> str:
    """Return the title of a change, for example "Fixed" or "fine-grained → model failure"."""
    if change in (FIXED, BROKEN):
        return change.capitalize()
    in_a, _, in_b = change.partition(":")
    return f"{_TYPES[in_a].title} → {_TYPES[in_b].title}"


def transition(in_a: ErrorType, in_b: ErrorType) -> str:
    """Return the change from one error type to another one, as in ChangeQuery."""
    return f"{in_a.key}:{in_b.key}"


def _change_options(comparison: Comparison, selected: str) -> tuple[Option, ...]:
    """Return fixed, broken, the transitions of at least one image, and the selected change."""
    counts = comparison.groups[ALL].transitions
    changes = [
        transition(in_a, in_b)
        for in_a in ERROR_TYPES
        for in_b in ERROR_TYPES
        if (in_a is not in_b and counts[in_a.position, in_b.position]) or transition(in_a, in_b) == selected
    ]
    return tuple(Option(change, change_title(change), change == selected) for change in (FIXED, BROKEN, *changes))


def _options(values: Iterable[tuple[str, str]], selected: str) -> tuple[Option, ...]:
    """Return (value, text) pairs as options, sorted by text."""
    pairs = sorted(values, key=lambda pair: (pair[1].casefold(), pair[0]))
    return tuple(Option(value, text, value == selected) for value, text in pairs)


def _card(image: ChangedImage, names: Sequence[str], links: ComparisonLinks, query: ChangeQuery) -> Card:
    predictions = (("A", image.predicted_a, image.type_a), ("B", image.predicted_b, image.type_b))
    in_a, in_b = (
        CardPrediction(letter, names[predicted], error_type.title, css_class(error_type))
        for letter, predicted, error_type in predictions
    )
    return Card(
        file_name=image.file_name,
        url=links.image(image.file_name, query),
        thumbnail=links.thumbnail(image.file_name),
        target=names[image.effective_target],
        predictions=(in_a, in_b),
    )


def _parameters(query: ChangeQuery, **values: str) -> str:
    values |= {"change": query.change, "class": query.class_id, "superclass": query.superclass}
    return urlencode({name: value for name, value in values.items() if value}, errors="replace")
