"""The content of the grid of images, as records for the templates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from errata.groups import group_title
from errata.messages import format_count, format_percentage

from service.domain import ERROR_TYPES, ErrorType
from service.domain.images import PAGE_SIZE, Facet, ImageFacets, ImageQuery, ImageRow, Value
from service.report.class_names import shorten
from service.report.elements import css_class
from service.report.image_urls import PROBLEMATIC, ImageUrls
from service.report.messages.images import CHANGE_NAMES, CONFIDENCES, PROBLEMATIC_NAMES, SORT_NAMES, failing_note
from service.report.messages.pages import translate
from service.report.picture_urls import thumbnail_url


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

    id: str  # of the link, which keeps the focus when the grid is replaced
    name: str
    count: str
    url: str  # selects the value, or removes the selection
    is_selected: bool
    css_class: str = ""


@dataclass(frozen=True)
class FacetView:
    """A facet."""

    title: str
    items: tuple[FacetItem, ...]
    num_more: int  # values that are not listed


@dataclass(frozen=True)
class ActiveFilter:
    """A condition of the query, and the URL of the grid without it."""

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
    pages: dict[str, str]  # URLs of the first, previous, next, and last page, if they exist
    hidden: dict[str, str]  # parameters that the form keeps
    options: tuple["SelectView", ...]  # of the form


@dataclass(frozen=True)
class SelectView:
    """A selection of the form."""

    name: str
    title: str
    value: str
    choices: tuple[tuple[str, str], ...]  # value and text


@dataclass(frozen=True)
class GridData:
    """What the view of a grid is made of."""

    query: ImageQuery
    urls: ImageUrls
    title: str  # of the analysis
    names: Sequence[str]  # (C,) names of the classes
    rows: Sequence[ImageRow]
    facets: ImageFacets
    total: int
    num_pages: int
    num_models: int  # other analyses with the same evidence
    has_thumbnails: bool
    has_probability: bool
    baseline: str = ""  # title of the baseline


def grid_view(data: GridData) -> GridView:
    """Convert a page of images for display."""
    query, urls, num_pages = data.query, data.urls, data.num_pages
    parameters = urls.parameters(page=1)
    options = _options(data)
    first = (query.page - 1) * PAGE_SIZE
    links = {
        "first": 1 if query.page > 1 else 0,
        "previous": query.page - 1,
        "next": query.page + 1 if query.page < num_pages else 0,
        "last": num_pages if query.page < num_pages else 0,
    }
    return GridView(
        analysis=query.analysis,
        dataset=urls.dataset,
        title=data.title,
        images=tuple(_grid_image(data, row) for row in data.rows),
        facets=_facets(data),
        filters=_active_filters(data),
        reset=urls.grid(**vars(ImageQuery(query.analysis, sort=query.sort))),
        total=data.total,
        first=first + 1 if data.rows else 0,
        last=first + len(data.rows),
        page=query.page,
        num_pages=num_pages,
        pages={name: urls.grid(page=page) for name, page in links.items() if page},
        hidden={name: value for name, value in parameters.items() if name not in {option.name for option in options}},
        options=options,
    )


def _grid_image(data: GridData, row: ImageRow) -> GridImage:
    notes = [failing_note(row.num_failing, data.num_models)] if data.num_models else []
    if row.baseline_type is not None and row.baseline_predicted is not None:
        before = data.names[row.baseline_predicted]
        notes.append(translate("before: {name} ({type})", name=before, type=row.baseline_type.title))
    if row.problematic:
        notes.append(translate("problematic"))
    return GridImage(
        name=row.file_name,
        url=data.urls.image(row.file_name),
        thumbnail=thumbnail_url(data.urls.dataset, row.file_name) if data.has_thumbnails else "",
        target=data.names[row.effective_target],
        predicted=data.names[row.predicted],
        probability="" if row.probability is None else format_percentage(row.probability),
        error_type=row.error_type.title,
        css_class=css_class(row.error_type),
        notes=tuple(notes),
    )


def _facets(data: GridData) -> tuple[FacetView, ...]:
    query, facets = data.query, data.facets
    group = query.group if query.group in {item.value for item in facets.groups.counts} else None

    def class_name(index: int) -> str:
        return data.names[index]

    return (
        _facet(data, "error type", "error_type", facets.error_types, query.error_type, lambda value: value.title),
        _facet(data, "group", "group", facets.groups, group, group_title),
        _facet(data, "class", "class_id", facets.classes, query.class_id, class_name),
        _facet(data, "prediction", "predicted_id", facets.predicted, query.predicted_id, class_name),
        _facet(data, "superclass", "superclass", facets.superclasses, query.superclass or None, shorten),
    )


def _facet(
    data: GridData,
    title: str,
    field: str,
    facet: Facet[Value],
    selected: Value | None,
    name_of: Callable[[Value], str],
) -> FacetView:
    default = getattr(ImageQuery(data.query.analysis), field)
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
    return FacetView(translate(title), items, facet.num_values - sum(item.count > 0 for item in facet.counts))


def _active_filters(data: GridData) -> tuple[ActiveFilter, ...]:
    """Return the conditions that the query sets."""
    query, names, default = data.query, data.names, ImageQuery(data.query.analysis)
    texts = {
        "error_type": (translate("error type"), query.error_type.title if query.error_type else ""),
        "group": (translate("group"), group_title(query.group)),
        "class_id": (translate("class"), "" if query.class_id is None else names[query.class_id]),
        "predicted_id": (translate("prediction"), "" if query.predicted_id is None else names[query.predicted_id]),
        "superclass": (translate("superclass"), shorten(query.superclass)),
        "min_confidence": (translate("minimum confidence"), format_percentage(query.min_confidence)),
        "problematic": (
            translate("problematic images"),
            next((PROBLEMATIC_NAMES[key] for key, value in PROBLEMATIC.items() if value is query.problematic), ""),
        ),
        "change": (translate("change"), _change_name(query.change)),
        "baseline": (translate("compared with"), data.baseline),
    }
    return tuple(
        ActiveFilter(
            f"{name}: {text}",
            data.urls.grid(**{field: getattr(default, field)} | ({"change": ""} if field == "baseline" else {})),
        )
        for field, (name, text) in texts.items()
        if getattr(query, field) != getattr(default, field)
    )


def _change_name(change: str) -> str:
    """Return the name of a change; of FROM:TO, the titles of both error types."""
    titles = {error_type.key: error_type.title for error_type in ERROR_TYPES}
    return CHANGE_NAMES.get(change) or " → ".join(titles.get(key, key) for key in change.split(":"))


def _options(data: GridData) -> tuple[SelectView, ...]:
    """Return the selections of the form: a query with another value has that value as a further choice."""
    query, parameters = data.query, data.urls.parameters()
    sorts = {
        value: text
        for value, text in SORT_NAMES.items()
        if (data.has_probability or "confidence" not in value) and (data.num_models or "models" not in value)
    }
    options = [SelectView("sort", translate("order"), query.sort, tuple(sorts.items()))]
    if data.has_probability:
        value = parameters.get("min_confidence", "")
        choices = {"": translate("any"), **{text: format_percentage(float(text)) for text in CONFIDENCES}}
        if value:
            choices.setdefault(value, format_percentage(query.min_confidence))
        options.append(SelectView("min_confidence", translate("minimum confidence"), value, tuple(choices.items())))
    options.append(
        SelectView(
            "problematic",
            translate("problematic images"),
            parameters.get("problematic", ""),
            tuple(PROBLEMATIC_NAMES.items()),
        )
    )
    if query.baseline:
        choices = {"": translate("any"), **CHANGE_NAMES}
        if query.change:
            choices.setdefault(query.change, _change_name(query.change))
        options.append(SelectView("change", translate("change"), query.change, tuple(choices.items())))
    return tuple(options)
