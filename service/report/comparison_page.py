"""The content that only the web page of a comparison has: filters, links, and grids of the changed images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

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
    SelectedImages,
    class_name_of,
)
from service.domain.images import ImageQuery
from service.report.class_names import shorten
from service.report.elements import css_class
from service.report.grid_view import GridImage
from service.report.image_urls import grid_parameters
from service.report.messages.images import baseline_note, change_name
from service.report.urls import comparison_url, grid_url, image_url, thumbnail_url


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
        return comparison_url(self.id_a, self.id_b, **_parameters(query))

    def swapped(self) -> str:
        """Return the URL of the comparison from B to A."""
        return comparison_url(self.id_b, self.id_a)

    def images(self, query: ChangeQuery) -> str:
        """Return the URL of all images that a query selects."""
        return grid_url(self.id_b, baseline=self.id_a, **_parameters(query))

    def images_of_type(self, error_type: ErrorType) -> str:
        """Return the URL of the images of B with an error type."""
        query = ImageQuery(self.id_b, error_type=error_type, baseline=self.id_a)
        return grid_url(self.id_b, **grid_parameters(query, self.class_ids))

    def image(self, name: str, query: ChangeQuery) -> str:
        """Return the URL of the page of one image; the page links to the next image that the query selects."""
        return image_url(self.dataset, name, analysis=self.id_b, baseline=self.id_a, **_parameters(query))

    def thumbnail(self, name: str) -> str:
        """Return the URL of the thumbnail of an image; empty if the data set has no pictures."""
        return thumbnail_url(self.dataset, name) if self.has_pictures else ""


@dataclass(frozen=True)
class PageSource:
    """The data that the web page of a comparison needs in addition to the comparison."""

    links: ComparisonLinks
    changes: ImageChanges


Options: TypeAlias = tuple[tuple[str, str], ...]  # values of a filter, with their texts


@dataclass(frozen=True)
class ChangeGrid:
    """The first images with one change."""

    id: str  # in the page
    heading: str
    url: str  # of all images
    count: int
    images: tuple[GridImage, ...]


@dataclass(frozen=True)
class ComparisonPage:
    """Filters and images of the page of a comparison."""

    query: ChangeQuery
    changes: Options
    classes: Options
    superclasses: Options
    is_filtered: bool
    reset_url: str
    swap_url: str
    grids: tuple[ChangeGrid, ...]


def comparison_page(comparison: Comparison, source: PageSource, names: Sequence[str]) -> ComparisonPage:
    """Convert the selected images of a comparison for display; `names` are the names of the classes."""
    links, changes = source.links, source.changes
    query = changes.query
    index_of = {class_id: index for index, class_id in enumerate(links.class_ids)}
    classes = dict.fromkeys([*changes.classes, *filter(None, [query.class_id])])
    names_of_superclasses = {row.name for rows in comparison.superclasses.values() for row in rows}
    return ComparisonPage(
        query=query,
        changes=_change_options(comparison, query.change),
        classes=_options((class_id, names[index_of[class_id]]) for class_id in classes),
        superclasses=_options(
            (name, shorten(name)) for name in names_of_superclasses | {*filter(None, [query.superclass])}
        ),
        is_filtered=query != ChangeQuery(),
        reset_url=links.page(ChangeQuery()),
        swap_url=links.swapped(),
        grids=tuple(_grid(selection, names, links, query) for selection in changes.selections),
    )


def _title(change: str) -> str:
    return change_name(change).capitalize() if change in (FIXED, BROKEN) else change_name(change)


def transition(in_a: ErrorType, in_b: ErrorType) -> str:
    """Return the change from one error type to another, in the format of ChangeQuery."""
    return f"{in_a.key}:{in_b.key}"


def _change_options(comparison: Comparison, selected: str) -> Options:
    """Return fixed, broken, the transitions of at least one image, and the selected change."""
    counts = comparison.groups[ALL].transitions
    changes = [
        transition(in_a, in_b)
        for in_a in ERROR_TYPES
        for in_b in ERROR_TYPES
        if (in_a is not in_b and counts[in_a.position, in_b.position]) or transition(in_a, in_b) == selected
    ]
    return tuple((change, _title(change)) for change in (FIXED, BROKEN, *changes))


def _options(values: Iterable[tuple[str, str]]) -> Options:
    """Return (value, text) pairs sorted by text."""
    return tuple(sorted(values, key=lambda pair: (pair[1].casefold(), pair[0])))


def _grid(selection: SelectedImages, names: Sequence[str], links: ComparisonLinks, query: ChangeQuery) -> ChangeGrid:
    query = replace(query, change=selection.change)
    return ChangeGrid(
        id=selection.change if selection.change in (FIXED, BROKEN) else "transition",
        heading=_title(selection.change),
        url=links.images(query),
        count=selection.count,
        images=tuple(_grid_image(image, names, links, query) for image in selection.images),
    )


def _grid_image(image: ChangedImage, names: Sequence[str], links: ComparisonLinks, query: ChangeQuery) -> GridImage:
    return GridImage(
        name=image.file_name,
        url=links.image(image.file_name, query),
        thumbnail=links.thumbnail(image.file_name),
        target=names[image.effective_target],
        predicted=class_name_of(names, image.predicted_b),
        probability="",
        error_type=image.type_b.title,
        css_class=css_class(image.type_b),
        notes=(baseline_note(class_name_of(names, image.predicted_a), image.type_a),),
    )


def _parameters(query: ChangeQuery) -> dict[str, str]:
    return {"change": query.change, "class": query.class_id, "superclass": query.superclass}
