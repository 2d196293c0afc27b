"""The slices of an analysis and of a comparison as records for the templates."""

from collections.abc import Sequence
from dataclasses import dataclass

from errata.messages import MISSING, attribute_note, format_count, format_p_value, format_percentage

from service.domain import RateContrast, Slice, SliceChange, SliceRow, SliceTable

MAX_SLICES = 100  # rows of a table


@dataclass(frozen=True)
class ContrastCells:
    """A rate in a slice and in the rest."""

    rate: str
    rest: str
    p_value: str  # adjusted
    is_significant: bool


@dataclass(frozen=True)
class SliceRowView:
    """The error rates of one slice."""

    name: str
    samples: str
    errors: ContrastCells
    model_failures: ContrastCells


@dataclass(frozen=True)
class SliceChangeRow:
    """The changes of one slice."""

    name: str
    samples: str
    fixed: str
    broken: str
    errors_a: str
    errors_b: str
    p_value: str  # adjusted
    is_significant: bool


def slice_rows(table: SliceTable | None) -> tuple[SliceRowView, ...]:
    """Convert the slices of an analysis with the smallest p-values; none if the data set has no attributes."""
    return () if table is None else tuple(map(_row, table.rows[:MAX_SLICES]))


def slice_change_rows(changes: Sequence[SliceChange]) -> tuple[SliceChangeRow, ...]:
    """Convert the slices of a comparison with the smallest p-values."""
    return tuple(
        SliceChangeRow(
            name=_name(change.slice),
            samples=format_count(change.num_samples),
            fixed=format_count(change.fixed),
            broken=format_count(change.broken),
            errors_a=format_percentage(change.errors_a),
            errors_b=format_percentage(change.errors_b),
            p_value=format_p_value(change.test.adjusted_p_value),
            is_significant=change.test.significant,
        )
        for change in changes[:MAX_SLICES]
    )


def _row(row: SliceRow) -> SliceRowView:
    return SliceRowView(
        _name(row.slice), format_count(row.num_samples), _contrast(row.errors), _contrast(row.model_failures)
    )


def _contrast(contrast: RateContrast | None) -> ContrastCells:
    if contrast is None:
        return ContrastCells(MISSING, MISSING, MISSING, False)
    p_value = format_p_value(contrast.test.adjusted_p_value)
    rates = format_percentage(contrast.rate), format_percentage(contrast.rest)
    return ContrastCells(*rates, p_value, contrast.test.significant)


def _name(item: Slice) -> str:
    return attribute_note(item.attribute, [item.value])
