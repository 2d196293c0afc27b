"""Texts about implausible uploads: the problem with its figures, and the remedy."""

from errata.messages import format_percentage

from service.domain import ALL, IMAGENET_1K, PermutedClasses, ReorderedRows, RowOrder, Summary

ACCEPT_REMEDY = "To analyze the file as it is, use --accept-implausible (Python: accept_implausible=True)."
ACCEPTED_NOTE = "The predictions are implausible, and no trend uses them."
MIN_CORRECT = 100  # images; a good model can be right on fewer


def permuted_classes(permuted: PermutedClasses, label_space: str) -> str:
    """Describe predictions whose class numbering differs from that of the label space with this name."""
    return (
        f"Class numbering looks wrong: top-1 accuracy is {format_percentage(permuted.top1_accuracy)}, but "
        f"{format_percentage(permuted.coverage)} of the images would be correct with each class renumbered. "
        f"{_numbering_remedy(permuted.shift, label_space)}"
    )


def classes_from_one(permuted: PermutedClasses) -> str:
    """Describe predictions whose classes may be numbered from 1."""
    return (
        f"The classes may be numbered from 1: top-1 accuracy is {format_percentage(permuted.top1_accuracy)}, but the "
        f"class before the predicted one is correct for {format_percentage(permuted.coverage)} of the images. If so, "
        "subtract 1 from the classes, and upload the file again."
    )


def renumbered_classes(permuted: PermutedClasses, label_space: str) -> str:
    """Describe predictions whose class numbering may differ from that of the label space with this name."""
    return (
        f"The class numbering may be wrong: top-1 accuracy is {format_percentage(permuted.top1_accuracy)}, but "
        f"{format_percentage(permuted.coverage)} of the images would be correct with each class renumbered. If so, "
        f"correct the file, and upload it again. {_numbering_remedy(permuted.shift, label_space)}"
    )


def correct_throughout(summary: Summary) -> tuple[str, ...]:
    """Return a warning if all of many predictions are the original labels; the file may have these labels instead."""
    group = summary.groups[ALL]
    if group.top1_errors or group.num_samples < MIN_CORRECT:
        return ()
    return ("All predictions are the original labels. Check that the file has the predictions, not the labels.",)


def _numbering_remedy(shift: int | None, label_space: str) -> str:
    if shift is None and label_space != IMAGENET_1K:
        return f"Number the classes as label space {label_space!r:.80} does, or write their IDs or names."
    if shift is None:
        return "Number the classes by sorted WordNet ID, as ImageNet does, or use WordNet IDs."
    number, remedy = ("high", "Subtract") if shift > 0 else ("low", "Add")
    return f"The predicted classes are {abs(shift)} too {number}. {remedy} {abs(shift)}, so that they start at 0."


def reordered_rows(reordered: ReorderedRows, row_order: RowOrder) -> str:
    """Describe an upload whose rows fit the other row order better.

    Args:
        reordered: The accuracy in both orders.
        row_order: The row order of the upload.

    Returns:
        Sentences that name the option of the command line.
    """
    other = "path" if row_order is RowOrder.FILE_NAME else "file-name"
    return (
        f"Row order looks wrong: top-1 accuracy is {format_percentage(reordered.top1_accuracy)}, but "
        f"{format_percentage(reordered.other_accuracy)} in the other order. Try --row-order {other}."
    )
