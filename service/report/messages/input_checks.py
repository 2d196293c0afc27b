"""Warnings about uploaded predictions."""

from service.domain import RowOrder

PERMUTED_CLASSES = (
    "Class numbering looks wrong: almost all predictions are wrong, but most classes map to one other class. Number "
    "the classes by sorted WordNet ID, as ImageNet does."
)


def reordered_rows(row_order: RowOrder) -> str:
    """Return the warning for an upload whose rows fit the other row order better.

    Args:
        row_order: The row order of the upload.

    Returns:
        A sentence that names the option of the command line.
    """
    other = "path" if row_order is RowOrder.FILE_NAME else "file-name"
    return f"Row order looks wrong; try --row-order {other}."
