"""Slices of an analysis and of a comparison as tables."""

from collections.abc import Sequence

from rich.console import Console

from errata import pb
from errata.cli.console import safe
from errata.cli.views import new_table
from errata.messages import MISSING, attribute_note, format_count, format_p_value, format_percentage

NOTE = (
    "Rates of the slice and of the rest: the other images with the attribute, or all other images if the attribute has "
    "only one value. p: Fisher's exact test, adjusted for the number of slices (Benjamini–Hochberg)."
)


def show_slices(slices: pb.Slices, console: Console) -> None:
    """Show the error rates of slices; significant ones are bold."""
    table = new_table("slice", "images", "errors", "rest", "p", "failures", "rest", "p")
    for row in slices.rows:
        contrasts = [row.errors, row.model_failures]
        cells = [cell for contrast in contrasts for cell in _contrast(contrast)]
        is_significant = any(contrast.significant for contrast in contrasts)
        name = safe(attribute_note(row.attribute, [row.value]))
        table.add_row(f"[bold]{name}[/]" if is_significant else name, format_count(row.num_samples), *cells)
    console.print(table)
    console.print(f"[dim]{NOTE}[/]")


def show_slice_changes(changes: Sequence[pb.SliceChange], limit: int, console: Console) -> None:
    """Show the changes of the slices with the smallest p-values, if there are any."""
    if not changes or not limit:
        return
    table = new_table("slice", "images", "fixed", "broken", "errors of A", "errors of B", "adjusted p")
    for change in changes[:limit]:
        counts = map(format_count, (change.num_samples, change.fixed, change.broken))
        rates = map(format_percentage, (change.error_rate_a, change.error_rate_b))
        name = safe(attribute_note(change.attribute, [change.value]))
        table.add_row(name, *counts, *rates, format_p_value(change.adjusted_p_value))
    console.print(table)


def _contrast(contrast: pb.RateContrast) -> tuple[str, str, str]:
    if contrast == pb.RateContrast():  # no samples in the slice or in the rest
        return MISSING, MISSING, MISSING
    rates = format_percentage(contrast.rate), format_percentage(contrast.rest_rate)
    return *rates, format_p_value(contrast.adjusted_p_value)
