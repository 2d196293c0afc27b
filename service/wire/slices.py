"""Messages of slices."""

from collections.abc import Iterable

from errata import v1 as pb

from service.domain import ErrorType, RateContrast, SliceChange, SliceTable
from service.wire.names import by_key


def to_slices(table: SliceTable, abstained: Iterable[ErrorType]) -> pb.Slices:
    """Convert the slices of an analysis, with the types whose rules had no evidence."""
    return pb.Slices(
        attributes=table.digest,
        rows=[
            pb.SliceRow(
                attribute=row.slice.attribute,
                value=row.slice.value,
                num_samples=row.num_samples,
                num_rest=row.num_rest,
                counts=by_key(row.counts),
                errors=_to_contrast(row.errors),
                model_failures=_to_contrast(row.model_failures),
            )
            for row in table.rows
        ],
        abstained=[error_type.key for error_type in abstained],
    )


def to_slice_change(change: SliceChange) -> pb.SliceChange:
    """Convert the changes of one slice."""
    return pb.SliceChange(
        attribute=change.slice.attribute,
        value=change.slice.value,
        num_samples=change.num_samples,
        fixed=change.fixed,
        broken=change.broken,
        error_rate_a=change.errors_a,
        error_rate_b=change.errors_b,
        p_value=change.test.p_value,
        adjusted_p_value=change.test.adjusted_p_value,
        significant=change.test.significant,
    )


def _to_contrast(contrast: RateContrast | None) -> pb.RateContrast | None:
    if contrast is None:
        return None
    return pb.RateContrast(
        rate=contrast.rate,
        rest_rate=contrast.rest,
        p_value=contrast.test.p_value,
        adjusted_p_value=contrast.test.adjusted_p_value,
        significant=contrast.test.significant,
    )
