"""The content of the grid of images, as records for the templates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from errata.groups import group_title
from errata.messages import format_count, format_percentage

from service.domain import BROKEN, FIXED, ErrorType, class_name_of
from service.domain.images import PAGE_SIZE, Facet, ImageFacets, ImageQuery, ImageRow, Value
from service.report.class_names import shorten
from service.report.elements import css_class
from service.report.image_urls import PROBLEMATIC, ImageUrls
from service.report.messages.images import (
    ANY,
    CONFIDENCES,
    MULTI_LABEL_ERRORS,
    PROBLEMATIC_NAMES,
    PROBLEMATIC_NOTE,
    SORT_NAMES,
    TITLES,
    baseline_note,
    change_name,
    failing_note,
)


@dataclass(frozen=True)
class GridImage:
    """One image of a grid. The macro `image_grid` of templates/image_grid.html draws it."""

    name: str
    url: str
    thumbnail: str  # URL; empty: the data set has no images
    target: str
    predicted: str
    probability: str  # empty: not known
    error_type: str
    css_class: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FacetItem:
    """A value of a facet."""

    id: str  # ID of the link; with it, the link keeps the focus when the grid is replaced
    name: str
    count: str
    url: str  # selects the value, or removes the selection
    is_selected: bool
    css_class: str = ""


@dataclass(frozen=True)
class FacetView:
    """A facet."""

    title: str
    parameter: str  # of the URL
    items: tuple[FacetItem, ...]
    num_more: int  # values that are not listed; an input field finds them
    hidden: tuple[tuple[str, str], ...]  # parameters that the input field keeps


@dataclass(frozen=True)
class ActiveFilter:
    """A condition of the query, and the URL of the grid without this condition."""

    parameter: str  # of the URL
    text: str
    url: str


@dataclass(frozen=True)
class GridView:
    """The content of the page."""

    analysis: str
    dataset: str
    title: str
    images: tuple[GridImage, ...]
    facets: tuple[FacetView, ...]
    filters: tuple[ActiveFilter, ...]
    reset: str  # URL of the grid without conditions
    total: int
    first: int
    last: int
    page: int
    num_pages: int
    first_page: str  # URL; empty: this is the first page
    previous_page: str
    next_page: str  # URL; empty: this is the last page
    last_page: str
    hidden: tuple[tuple[str, str], ...]  # parameters that the form keeps
    options: tuple["SelectView", ...]  # of the form
    identity: str = ""  # the name of the analysis, and its owner
    coverage: str = ""  # of the analysis, a sentence; empty: it covers all evaluated images
    problem: str | None = None  # why a filter was refused; None: none was


@dataclass(frozen=True)
class SelectView:
    """A selection of the form."""

    name: str
    title: str
    value: str
    choices: tuple[tuple[str, str], ...]  # value and text


@dataclass(frozen=True)
class GridData:
    """The data from which `grid_view` builds the view of a grid."""

    query: ImageQuery
    urls: ImageUrls
    title: str  # of the analysis
    names: Sequence[str]  # (C,) names of the classes
    rows: Sequence[ImageRow]
    facets: ImageFacets
    total: int
    num_pages: int
    num_models: int  # other analyses with the same evidence
    thumbnail_url: Callable[[str], str]  # of an image; empty: not available
    has_probability: bool
    baseline: str = ""  # title of the baseline
    identity: str = ""  # the name of the analysis, and its owner
    coverage: str = ""  # of the analysis, a sentence; empty: it covers all evaluated images
    problem: str | None = None  # why a filter was refused; None: none was


def grid_view(data: GridData) -> GridView:
    """Convert a page of images for display."""
    query, urls = data.query, data.urls
    options = _options(data)
    start = (query.page - 1) * PAGE_SIZE
    is_first, is_last = query.page == 1, query.page >= data.num_pages
    return GridView(
        analysis=query.analysis,
        dataset=urls.dataset,
        title=data.title,
        images=tuple(_grid_image(data, row) for row in data.rows),
        facets=_facets(data),
        filters=_active_filters(data),
        reset=urls.unfiltered(),
        total=data.total,
        first=start + 1 if data.rows else 0,
        last=start + len(data.rows),
        page=query.page,
        num_pages=data.num_pages,
        first_page="" if is_first else urls.grid(),
        previous_page="" if is_first else urls.grid(page=query.page - 1),
        next_page="" if is_last else urls.grid(page=query.page + 1),
        last_page="" if is_last else urls.grid(page=data.num_pages),
        hidden=_hidden(data, *(option.name for option in options)),
        options=options,
        identity=data.identity,
        coverage=data.coverage,
        problem=data.problem,
    )


def _hidden(data: GridData, *names: str) -> tuple[tuple[str, str], ...]:
    """Return the parameters that a form keeps in hidden fields: all parameters except `names`, its visible fields."""
    return tuple((name, value) for name, value in data.urls.parameters(page=1).items() if name not in names)


def _grid_image(data: GridData, row: ImageRow) -> GridImage:
    notes = [failing_note(row.num_failing, row.num_predicting)] if row.num_predicting else []
    if row.baseline_type is not None and row.baseline_predicted is not None:
        before = class_name_of(data.names, row.baseline_predicted)
        notes.append(baseline_note(before, row.baseline_type))
    if row.problematic:
        notes.append(PROBLEMATIC_NOTE)
    return GridImage(
        name=row.file_name,
        url=data.urls.image(row.file_name),
        thumbnail=data.thumbnail_url(row.file_name),
        target=data.names[row.effective_target],
        predicted=class_name_of(data.names, row.predicted),
        probability="" if row.probability is None else format_percentage(row.probability),
        error_type=row.error_type.title,
        css_class=css_class(row.error_type),
        notes=tuple(notes),
    )


def _facets(data: GridData) -> tuple[FacetView, ...]:
    facets = data.facets

    def class_name(index: int) -> str:
        return data.names[index]

    return (
        _facet(data, "type", "error_type", facets.error_types, lambda value: value.title),
        _facet(data, "group", "group", facets.groups, group_title),
        _facet(data, "class", "class_id", facets.classes, class_name),
        _facet(data, "predicted", "predicted_id", facets.predicted, class_name),
        _facet(data, "superclass", "superclass", facets.superclasses, shorten),
    )


def _facet(
    data: GridData, parameter: str, field: str, facet: Facet[Value], name_of: Callable[[Value], str]
) -> FacetView:
    selected, default = (getattr(query, field) for query in (data.query, ImageQuery(data.query.analysis)))
    items = tuple(
        FacetItem(
            f"{field}-{quote(str(item.value.id if isinstance(item.value, ErrorType) else item.value))}",
            name_of(item.value),
            format_count(item.count),
            data.urls.grid(**{field: default if item.value == selected else item.value}),
            item.value == selected,
            css_class(item.value) if isinstance(item.value, ErrorType) else "",
        )
        for item in facet.counts
    )
    num_more = facet.num_values - sum(item.count > 0 for item in facet.counts)
    return FacetView(TITLES[parameter], parameter, items, num_more, _hidden(data, parameter))


def _active_filters(data: GridData) -> tuple[ActiveFilter, ...]:
    """Return the conditions that the query sets."""
    query, names, default = data.query, data.names, ImageQuery(data.query.analysis)
    problematic = next((key for key, value in PROBLEMATIC.items() if value is query.problematic), "")
    texts = {  # by field of the query
        "error_type": ("type", query.error_type.title if query.error_type else ""),
        "group": ("group", group_title(query.group)),
        "class_id": ("class", "" if query.class_id is None else names[query.class_id]),
        "predicted_id": ("predicted", "" if query.predicted_id is None else names[query.predicted_id]),
        "superclass": ("superclass", shorten(query.superclass)),
        "min_confidence": ("min_confidence", format_percentage(query.min_confidence)),
        "errors_only": ("errors", MULTI_LABEL_ERRORS),
        "problematic": ("problematic", PROBLEMATIC_NAMES[problematic]),
        "change": ("change", change_name(query.change)),
        "baseline": ("baseline", data.baseline),
    }
    return tuple(
        ActiveFilter(
            parameter,
            f"{TITLES[parameter]}: {text}",
            data.urls.grid(**{field: getattr(default, field)} | ({"change": ""} if field == "baseline" else {})),
        )
        for field, (parameter, text) in texts.items()
        if getattr(query, field) != getattr(default, field)
    )


def _options(data: GridData) -> tuple[SelectView, ...]:
    """Return the selections of the form. If the choices lack the confidence or the change of the query, it is added."""
    query, parameters = data.query, data.urls.parameters()
    sorts = {
        value: text
        for value, text in SORT_NAMES.items()
        if (data.has_probability or "confidence" not in value) and (data.num_models or "models" not in value)
    }
    choices: dict[str, dict[str, str]] = {"sort": sorts}
    if data.has_probability:
        confidences = dict.fromkeys((*CONFIDENCES, *filter(None, [parameters.get("min_confidence")])))
        choices["min_confidence"] = {"": ANY} | {text: format_percentage(float(text)) for text in confidences}
    choices["problematic"] = dict(PROBLEMATIC_NAMES)
    if query.baseline:
        changes = dict.fromkeys((FIXED, BROKEN, *filter(None, [query.change])))
        choices["change"] = {"": ANY} | {change: change_name(change) for change in changes}
    selected = parameters | {"sort": query.sort}
    return tuple(
        SelectView(name, TITLES[name], selected.get(name, ""), tuple(items.items())) for name, items in choices.items()
    )
