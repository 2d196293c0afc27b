"""List the images of an analysis that match a query, and count the images for each value of each facet."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce

import numpy as np
from errata.errors import InvalidRequest
from numpy.typing import NDArray

from service.analyses.image_conditions import Images, base_mask, facet_masks, find_sources, load_images
from service.analyses.judge import JudgedAnalysis
from service.analyses.ports import Stores
from service.domain import ALL, ERROR_TYPES, NUM_IDS, POSITIONS, ErrorType, Mask
from service.domain.images import (
    MAX_FACET_VALUES,
    PAGE_SIZE,
    SORTS,
    Facet,
    FacetCount,
    ImageFacets,
    ImageQuery,
    ImageRow,
    Value,
)

MAX_PAGE_SIZE = 1000


@dataclass(frozen=True)
class ImagePage:
    """A page of images."""

    judged: JudgedAnalysis
    rows: Sequence[ImageRow]
    facets: ImageFacets
    total: int  # images on all pages
    page: int  # from 1; the last page if the requested one does not exist
    num_pages: int
    num_models: int  # other archived analyses with the same evidence


def list_images(stores: Stores, query: ImageQuery) -> ImagePage:
    """Return a page of the images that match a query.

    Raises:
        InvalidRequest: A condition, the order, or the page is invalid.
        NotComparable: The baseline has another data set or other evidence.
        AnalysisNotFound: An analysis does not exist. See `load_judged` for further errors.
    """
    size = query.page_size
    if not 1 <= size <= MAX_PAGE_SIZE:
        raise InvalidRequest(f"Page size {size} is not between 1 and {MAX_PAGE_SIZE}.", field="page_size")
    if query.page < 1:
        raise InvalidRequest(f"Page {query.page} does not exist. The first page is 1.", field="page")
    selection = select_images(stores, query)
    images, total = selection.images, len(selection.rows)
    num_pages = max(1, -(-total // size))
    page = min(query.page, num_pages)
    return ImagePage(
        images.judged,
        take_images(images, selection.sorted_rows[(page - 1) * size : page * size]),
        selection.facets,
        total,
        page,
        num_pages,
        images.num_models,
    )


@dataclass(frozen=True)
class Selection:
    """The n images that match a query."""

    images: Images
    query: ImageQuery
    rows: NDArray[np.intp]  # (n,) ascending
    keys: NDArray[np.int64]  # (n,) distinct; ascending keys are the order of the query

    @cached_property
    def facets(self) -> ImageFacets:
        """Return the facets of the query."""
        return count_facets(self.images, self.query)

    @cached_property
    def sorted_rows(self) -> NDArray[np.intp]:
        """Return the rows in the order of the query, (n,)."""
        return self.rows[np.argsort(self.keys)]

    def position(self, row: int) -> int | None:
        """Return the position of an image; None if it does not match."""
        index = int(np.searchsorted(self.rows, row))
        if index == len(self.rows) or self.rows[index] != row:
            return None
        return int(np.count_nonzero(self.keys < self.keys[index]))


def select_images(stores: Stores, query: ImageQuery) -> Selection:
    """Return the images that match a query; from memory if the query is recent and nothing has changed.

    Raises:
        InvalidRequest: A condition or the order is invalid.
    """
    query = replace(query, page=1, page_size=PAGE_SIZE)
    sources = find_sources(stores, query)
    selection = stores.verdict_cache.selections.find(query)
    if selection is None or not selection.images.sources.are(sources):
        selection = _select(load_images(sources), query)
        stores.verdict_cache.selections.add(query, selection)
    return selection


def _select(images: Images, query: ImageQuery) -> Selection:
    mask = reduce(np.logical_and, facet_masks(images, query).values(), base_mask(images, query))
    rows = np.flatnonzero(mask)
    return Selection(images, query, rows, _sort_keys(images, query.sort)[rows])


def _sort_keys(images: Images, sort: str) -> NDArray[np.int64]:
    """Return distinct sort keys of an order, (N,). Ties are broken by severity, falling confidence, and the row."""
    name, _, direction = sort.partition(" ")
    if name not in SORTS or direction not in ("", "desc"):
        names = ", ".join(f"'{name}', '{name} desc'" for name in SORTS)
        raise InvalidRequest(f"Unknown order {sort!r:.80}. Expected one of {names}.", field="sort")
    severity, confidence = POSITIONS[images.types], _confidence_codes(images)
    columns: dict[str, NDArray[np.integer]] = {
        "severity": severity,
        "confidence": confidence,
        "class": images.targets,
        "models": images.num_failing,
    }
    values = columns[name].astype(np.int64)
    keys = _MAX_CODE - values if direction else values
    if name == "confidence":
        keys[confidence == 0] = _MAX_CODE  # images without a confidence are last in both directions
    for digit, base in ((15 - severity, 16), (_MAX_CODE - confidence, _MAX_CODE + 1), (0, len(images.types))):
        keys *= base
        keys += digit
    return keys + np.arange(len(images.types))


_MAX_CODE = (1 << 17) - 1


def _confidence_codes(images: Images) -> NDArray[np.int64]:
    """Return integers that sort like the confidence, (N,): from 1 to 2^16, or 0 if the confidence is unknown."""
    if images.probability is None:
        return np.zeros(len(images.types), dtype=np.int64)
    probability = images.probability.astype(np.float16, copy=False)
    bits = np.abs(probability).view(np.uint16).astype(np.int64)  # the order of positive floats is that of their bits
    return np.where(np.isfinite(probability), bits + 1, 0)


def take_images(images: Images, rows: NDArray[np.intp]) -> list[ImageRow]:
    """Return the images of some rows."""
    bundle = images.judged.bundle
    columns = (
        bundle.evidence.targets,
        images.targets,
        images.predicted,
        images.types,
        images.problematic,
        images.num_failing,
        images.num_predicting,
    )
    names = [name.decode() for name in bundle.arrays["names"][bundle.rows[rows]].tolist()]
    probability = [np.nan] * len(rows) if images.probability is None else images.probability[rows].tolist()
    image_rows = [
        ImageRow(
            file_name=name,
            target=target,
            effective_target=effective_target,
            predicted=predicted,
            error_type=ErrorType(type_id),
            problematic=problematic,
            probability=None if np.isnan(value) else value,
            num_failing=num_failing,
            num_predicting=num_predicting,
        )
        for name, value, target, effective_target, predicted, type_id, problematic, num_failing, num_predicting in zip(
            names, probability, *(column[rows].tolist() for column in columns), strict=True
        )
    ]
    return (
        image_rows
        if images.baseline is None
        else _add_baseline(image_rows, *(column[rows] for column in images.baseline))
    )


def _add_baseline(
    images: Sequence[ImageRow], types: NDArray[np.integer], predicted: NDArray[np.integer]
) -> list[ImageRow]:
    """Return images with the error type and the prediction of the baseline."""
    return [
        replace(image, baseline_predicted=class_id, baseline_type=ErrorType(type_id)) if type_id else image
        for image, type_id, class_id in zip(images, types.tolist(), predicted.tolist(), strict=True)
    ]


def count_facets(images: Images, query: ImageQuery) -> ImageFacets:
    """Return the facets of a query. Each facet ignores its own condition and applies all others."""
    base, masks = base_mask(images, query), facet_masks(images, query)

    def others(name: str) -> Mask:
        return reduce(np.logical_and, (mask for key, mask in masks.items() if key != name), base)

    bundle = images.judged.bundle
    superclasses, num_classes = bundle.label_space.superclasses, bundle.label_space.num_classes
    types = np.bincount(images.types[others("error_type")], minlength=NUM_IDS)
    by_class = {
        name: np.bincount(column[others(name) & (column >= 0)], minlength=num_classes)
        for name, column in (("class", images.targets), ("predicted", images.predicted), ("superclass", images.targets))
    }
    by_superclass = superclasses.totals(by_class["superclass"][:, None])[:, 0].astype(np.int64)
    in_groups = others("group")
    return ImageFacets(
        error_types=_facet_in_order(
            ERROR_TYPES, [int(types[error_type.id]) for error_type in ERROR_TYPES], query.error_type
        ),
        classes=_top_facet(range(num_classes), by_class["class"], query.class_id),
        predicted=_top_facet(range(num_classes), by_class["predicted"], query.predicted_id),
        superclasses=_top_facet(superclasses.ids, by_superclass, query.superclass),
        groups=_facet_in_order(
            [*bundle.groups],
            [int(np.count_nonzero(members & in_groups)) for members in bundle.groups.values()],
            "" if query.group == ALL else query.group,
        ),
    )


def _facet_in_order(values: Iterable[Value], counts: Sequence[int], selected: Value | None) -> Facet[Value]:
    """Return a facet in the order of its values, without values that no image has, except for the selected one."""
    items = [FacetCount(value, count) for value, count in zip(values, counts, strict=True)]
    present = [item for item in items if item.count]
    top = {item.value for item in sorted(present, key=lambda item: -item.count)[:MAX_FACET_VALUES]} | {selected}
    return Facet([item for item in items if item.value in top], len(present))


def _top_facet(values: Sequence[Value], counts: NDArray[np.integer], selected: Value | None) -> Facet[Value]:
    """Return the most frequent values of a facet and the selected one; None or empty: no value is selected."""
    order = np.argsort(-counts, kind="stable")[:MAX_FACET_VALUES].tolist()
    items = [FacetCount(values[index], int(counts[index])) for index in order if counts[index]]
    if selected is not None and selected != "" and all(item.value != selected for item in items):
        items.append(FacetCount(selected, int(counts[values.index(selected)])))
    return Facet(items, int(np.count_nonzero(counts)))
