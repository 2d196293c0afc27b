"""Slices: error rates of images with one value of an attribute, compared with other images and between models."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.domain import (
    ERROR_TYPES,
    MULTI_LABEL_ERROR_TYPES,
    NO_TYPE,
    NUM_IDS,
    SEVERE_TYPES,
    Attributes,
    Bytes,
    ErrorType,
    Mask,
    RateContrast,
    SliceChange,
    SliceRow,
    SliceTable,
    is_among,
)
from service.summary.compare import Pair
from service.summary.fisher import fisher_exact
from service.summary.mcnemar import mcnemar
from service.summary.multiple_tests import adjusted_tests


def slice_table(attributes: Attributes, types: Bytes, problematic: Mask) -> SliceTable:
    """Return the verdicts of each slice, the smallest adjusted p-value first.

    The slices of all attributes are one family of tests for each of the two rates.

    Args:
        attributes: Attributes of N samples.
        types: (N,) IDs of the error types; 0: no prediction.
        problematic: (N,) samples that are not counted.
    """
    counted = ~problematic & (types != NO_TYPE)
    inside = _count_types(attributes, types, counted)  # (S, NUM_IDS)
    rest = _population_types(attributes, types, counted) - inside
    errors = _contrasts(inside, rest, MULTI_LABEL_ERROR_TYPES)
    failures = _contrasts(inside, rest, SEVERE_TYPES)
    rows = [
        SliceRow(
            attributes.slices[number],
            int(inside[number].sum()),
            int(rest[number].sum()),
            {error_type: int(inside[number, error_type.id]) for error_type in ERROR_TYPES},
            errors[number],
            failures[number],
        )
        for number in range(len(attributes.slices))
    ]
    return SliceTable(attributes.digest, tuple(sorted(rows, key=_order)))


def slice_changes(attributes: Attributes, pair: Pair) -> tuple[SliceChange, ...]:
    """Return the slices with changes, the smallest adjusted p-value first.

    One family of tests contains McNemar's exact test of each slice that has samples, even of a slice without changes.
    """
    masks = (pair.counted, pair.counted & is_among(pair.types_a, MULTI_LABEL_ERROR_TYPES), pair.fixed, pair.broken)
    columns = [_count(attributes, mask) for mask in masks]
    present = np.flatnonzero(columns[0])
    table = np.stack(columns, axis=1)[present]
    tests = adjusted_tests(mcnemar(table[:, 2], table[:, 3]))
    changes = [
        SliceChange(
            attributes.slices[number],
            size,
            fixed,
            broken,
            errors / size,
            (errors - fixed + broken) / size,
            test,
        )
        for number, (size, errors, fixed, broken), test in zip(present.tolist(), table.tolist(), tests, strict=True)
        if fixed or broken
    ]
    return tuple(sorted(changes, key=lambda change: (change.test.adjusted_p_value, change.test.p_value)))


def _count(attributes: Attributes, mask: Mask) -> NDArray[np.int64]:
    """Count the samples of a mask in each slice, (S,)."""
    return np.bincount(attributes.slice_numbers[mask[attributes.rows]], minlength=len(attributes.slices))


def _count_types(attributes: Attributes, types: Bytes, counted: Mask) -> NDArray[np.int64]:
    """Count the verdicts of each type in each slice, (S, NUM_IDS)."""
    is_counted = counted[attributes.rows]
    keys = attributes.slice_numbers[is_counted].astype(np.int64) * NUM_IDS + types[attributes.rows[is_counted]]
    num_slices = len(attributes.slices)
    return np.bincount(keys, minlength=num_slices * NUM_IDS).reshape(num_slices, NUM_IDS)


def _population_types(attributes: Attributes, types: Bytes, counted: Mask) -> NDArray[np.int64]:
    """Count the verdicts of each type in the population of each slice: the slice and the rest, (S, NUM_IDS)."""
    num_values = np.bincount(attributes.attribute_numbers, minlength=len(attributes.annotated))
    populations = [
        counted if num_values[number] == 1 else counted & annotated
        for number, annotated in enumerate(attributes.annotated)
    ]
    counts = [np.bincount(types[population], minlength=NUM_IDS) for population in populations]
    return np.array(counts, dtype=np.int64).reshape(-1, NUM_IDS)[attributes.attribute_numbers]


def _contrasts(
    inside: NDArray[np.int64], rest: NDArray[np.int64], types: Sequence[ErrorType]
) -> list[RateContrast | None]:
    """Compare the rate of some types inside each slice with the rate in the rest; None if either has no samples."""
    ids = [error_type.id for error_type in types]
    hits, sizes = inside[:, ids].sum(axis=1).tolist(), inside.sum(axis=1).tolist()
    rest_hits, rest_sizes = rest[:, ids].sum(axis=1).tolist(), rest.sum(axis=1).tolist()
    tested = [number for number in range(len(sizes)) if sizes[number] and rest_sizes[number]]
    p_values = np.array(
        [fisher_exact((hits[n], sizes[n]), (rest_hits[n], rest_sizes[n])) for n in tested], dtype=np.float64
    )
    contrasts: list[RateContrast | None] = [None] * len(sizes)
    for n, test in zip(tested, adjusted_tests(p_values), strict=True):
        contrasts[n] = RateContrast(hits[n] / sizes[n], rest_hits[n] / rest_sizes[n], test)
    return contrasts


def _order(row: SliceRow) -> tuple[float, float, str, str]:
    """Return the sort key of a slice: its smallest adjusted p-value, then its excess of errors, then its name."""
    contrasts = [contrast for contrast in (row.errors, row.model_failures) if contrast is not None]
    smallest = min((contrast.test.adjusted_p_value for contrast in contrasts), default=2.0)
    excess = max((contrast.rate - contrast.rest for contrast in contrasts), default=0.0)
    return smallest, -excess, row.slice.attribute, row.slice.value
