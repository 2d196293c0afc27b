"""Columns of Parquet files whose values are lists: of classes, of scores, or of structs with a label and a score."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from service.domain import Mask
from service.predictions.uploads.rows import NamedRows
from service.predictions.uploads.score_probabilities import ScoreProbabilities
from service.predictions.uploads.top_class import (
    AMBIGUOUS_PAIR,
    BEST_SCORE,
    FIRST_COUNTS,
    NAN,
    NO_SCORES,
    SCORE_KEYS,
    check_distinct,
    label_key,
)


@dataclass(frozen=True)
class TopOfLists:
    """The prediction of each of n lists."""

    classes: pa.Array  # (n,) integers or text; arbitrary where `is_wrong`
    probabilities: pa.Array | None  # (n,)
    is_wrong: NDArray[np.bool_]  # (n,)
    problem: str  # description of the problem with a wrong list
    assumptions: tuple[str, ...]


def is_list(kind: pa.DataType) -> bool:
    """Return whether values of a type are lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def is_usable_list(kind: pa.DataType) -> bool:
    """Return whether values of a type are lists from which a class can be read."""
    if not is_list(kind):
        return False
    value = kind.value_type
    if pa.types.is_struct(value):
        label, _ = _fields_of(value)
        return label is not None and _is_class(value.field(label).type)
    return _is_class(value) or bool(pa.types.is_floating(value))


def are_scores(kind: pa.DataType) -> bool:
    """Return whether values of a type are lists of scores."""
    return is_list(kind) and bool(pa.types.is_floating(kind.value_type))


def top_of_lists(
    column: pa.Array, num_classes: int, name: str, probabilities_of_scores: ScoreProbabilities | None = None
) -> TopOfLists:
    """Return the first class of each list of classes, or the best class of each list of scores.

    Args:
        column: (n,) lists.
        num_classes: Number of classes of the label space, C. Each list of scores must have C scores.
        name: Name of the column.
        probabilities_of_scores: Collects the probabilities of lists of scores; None: they are not needed.
    """
    lengths = np.asarray(pc.fill_null(pc.list_value_length(column), 0)).astype(np.int64)
    if are_scores(column.type):
        return _best_of_scores(column, lengths != num_classes, num_classes, name, probabilities_of_scores)
    is_wrong = lengths == 0
    values = column.flatten()
    starts = np.minimum(np.cumsum(lengths) - lengths, max(0, len(values) - 1))
    first = values.take(pa.array(starts)) if len(values) else pa.nulls(len(column), values.type)
    assumptions = (FIRST_COUNTS,) if len(lengths) and lengths.max() > 1 else ()
    probabilities = None
    if pa.types.is_struct(first.type):
        label, score = _fields_of(first.type)
        probabilities = None if score is None else pc.struct_field(first, score)
        first = pc.struct_field(first, label)
        if probabilities is not None and not pa.types.is_floating(probabilities.type):
            probabilities = None
    is_wrong |= np.asarray(first.is_null())
    problem = "The list of classes is empty. Write a class."
    if pa.types.is_integer(values.type) and len(lengths) and lengths[0]:
        try:
            check_distinct(column[0].values.slice(0, num_classes + 1).to_pylist())  # more values repeat a class
        except ValueError as error:
            is_wrong[:], problem = True, str(error)
    if pa.types.is_integer(values.type) and num_classes == 2:
        rows = np.flatnonzero(lengths == 2)
        pairs = values.fill_null(2).take(pa.array((starts[rows, None] + [0, 1]).ravel()))
        ambiguous = rows[np.isin(np.asarray(pairs).reshape(-1, 2), (0, 1)).all(axis=1)]
        if len(ambiguous):
            is_wrong[ambiguous], problem = True, AMBIGUOUS_PAIR.format(values=column[int(ambiguous[0])].as_py())
    return TopOfLists(first, probabilities, is_wrong, problem, assumptions)


def with_probabilities(blocks: list[NamedRows], scores: ScoreProbabilities) -> Iterator[NamedRows]:
    """Yield all blocks of a file, with the probabilities from their scores unless any row of the file is wrong."""
    probability, notes = (None, ()) if any(block.num_wrong for block in blocks) else scores.finish()
    start = 0
    for block in blocks:
        end = start + len(block.names)
        probabilities = None if probability is None else pa.array(probability[start:end])
        yield replace(block, probabilities=probabilities, assumptions=(*block.assumptions, *notes))
        start = end


def _best_of_scores(
    column: pa.Array, is_wrong: Mask, num_classes: int, name: str, probabilities: ScoreProbabilities | None
) -> TopOfLists:
    problem = (
        f"A list of column {name!r:.80} does not have {num_classes:,} scores, one for each class. Write all scores."
    )
    values = column.filter(pa.array(~is_wrong)).flatten()
    scores = np.asarray(values.cast(pa.float32()) if values.type == pa.float16() else values)
    scores = scores.reshape(-1, num_classes)
    highest = scores.max(axis=1)  # NaN if any score is NaN
    has_none = np.isnan(highest) | np.isneginf(highest)
    if has_none.any():
        if not is_wrong.any():
            problem = NAN if np.isnan(highest[has_none][0]) else NO_SCORES
        is_wrong[np.flatnonzero(~is_wrong)[has_none]] = True
        scores = scores[~has_none]
    best = scores.argmax(axis=1) if len(scores) else np.zeros(0, dtype=np.int64)
    classes = np.zeros(len(column), dtype=np.int64)
    classes[~is_wrong] = best
    if probabilities is not None and len(scores):
        probabilities.add(scores, best)
    return TopOfLists(pa.array(classes), None, is_wrong, problem, (BEST_SCORE,))


def _fields_of(kind: pa.DataType) -> tuple[str | None, str | None]:
    """Return the fields of a struct with the label and with the score."""
    names = [kind.field(index).name for index in range(kind.num_fields)]
    return label_key(names), next((key for key in SCORE_KEYS if key in names), None)


def _is_class(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind))
