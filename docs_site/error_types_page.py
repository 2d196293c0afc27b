"""The reference of error types, from the table in errata.error_types."""

from errata.error_types import ERROR_TYPES, ErrorType

from docs_site.tables import format_table
from service.evidence.agreement import shipped_agreement
from service.report.messages.agreement import type_note

INTRODUCTION = """# Error types

Errata evaluates the rules in this order. The first rule that holds determines the error type. See
[Method](../concepts/method.md), [Severity](../concepts/severity.md), and [Abstention](../concepts/abstention.md).

The name in this table is the name in the API, in data frames, and on the command line. Gate policies, archived
analyses, and the labels of metrics have it in uppercase. Exported verdict tables store the ID, which never changes.

The last column is the agreement with experts, for ImageNet-1k; see [Validity](../concepts/validity.md).

This page is generated from `client/errata/error_types.py`.

"""
HEADER = ("name", "title", "holds if", "severity", "counts as correct", "can abstain", "ID", "experts agreed")


def render() -> str:
    """Return the page as Markdown."""
    return INTRODUCTION + format_table(HEADER, [_row(error_type) for error_type in ERROR_TYPES])


def _row(error_type: ErrorType) -> tuple[str, ...]:
    return (
        f"`{error_type.key}`",
        error_type.title,
        error_type.row.description,
        error_type.severity.name.lower(),
        "yes" if error_type.counts_as_correct else "no",
        "yes" if error_type.row.needs else "no",
        str(error_type.id),
        _agreement(error_type),
    )


def _agreement(error_type: ErrorType) -> str:
    values = shipped_agreement().types.get(error_type)
    return type_note(error_type, values) or "not measured" if values else "not judged"
