"""The predicted class of a list of classes, of scores, or of objects with a label and a score."""

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from service.domain import normalize
from service.predictions.uploads.columns import CLASS, normalize_column
from service.predictions.uploads.score_probabilities import TOLERANCE

SCORE_KEYS = ("score", "confidence", "probability", "prob")
LABEL_RANKS = (*CLASS, ("name", "id"), ("classifications", "results"))  # keys of the class in an object
MAX_DEPTH = 4  # maximum depth of lists and objects around a class
NO_SCORES = "All scores are minus infinity. Write the scores of the model, or leave the image out."
FIRST_COUNTS = "Of several classes of an image, the first is the prediction."
BEST_SCORE = "The predicted class is the one with the highest score."
NO_SCORES_IN_TEXT = (
    "A list of scores cannot be a cell of a CSV file. Write the scores to JSON or Parquet, or the class alone."
)
ONLY_COMPARED = "Errata derives no probabilities from lists of scores in JSON that are not probability distributions."
AMBIGUOUS_PAIR = (
    "With 2 classes, the list {values} can be scores, classes, or a class with its score. Write the class alone, or "
    "write scores such as [0.0, 1.0]."
)
NAN = "The scores contain NaN. Replace NaN before you save them, for example with numpy.nan_to_num."
_TEXT = r"""(?:'(?P<single>[^']*)'|"(?P<double>[^"]*)"|(?P<plain>[^\s,\[\]{}()'"]+))"""
_LIST = rf"^\s*[\[(]\s*{_TEXT}.*[\])]\s*$"
_OBJECT = rf"""^\s*\[?\s*\{{[^}}]*?['"]label['"]\s*:\s*{_TEXT}.*[}}\]]\s*$"""
_SCORE = r"""^[^}]*['"]score['"]\s*:\s*(?P<score>[0-9.eE+-]+)"""


@dataclass(frozen=True)
class TopClass:
    """The prediction that a value contains."""

    value: str | int
    probability: float | None = None
    assumptions: tuple[str, ...] = ()


def top_class(value: Any, num_classes: int, depth: int = 0) -> TopClass:
    """Return the prediction of a JSON value.

    Args:
        value: A class, a list of classes, a list of scores of all classes, an object with a label and a score, a
            list of such objects, or a list of lists such as [ID, name, score].
        num_classes: Number of classes of the label space.
        depth: Number of lists and objects around this value.

    Raises:
        ValueError: The value has no class; the message states the problem and the remedy.
    """
    if depth > MAX_DEPTH:
        raise ValueError("The class is nested too deeply. Write a class, or a list of classes.")
    if isinstance(value, dict):
        return _top_of_object(value, num_classes, depth)
    if isinstance(value, list):
        return _top_of_list(value, num_classes, depth)
    if isinstance(value, float):
        raise ValueError(f"Class {value!r} is not an integer. Write an index as 3 instead of 3.0.")
    if value is None or isinstance(value, bool):
        raise ValueError(f"The class is {'null' if value is None else 'a boolean'}. Expected a string or a number.")
    return TopClass(value)


def label_key(keys: Collection[str]) -> str | None:
    """Return the key of the class of an object or a struct; None if there is none."""
    return next((key for rank in LABEL_RANKS for key in keys if normalize_column(key) in rank), None)


def _top_of_object(value: dict[str, Any], num_classes: int, depth: int) -> TopClass:
    key = label_key(value)
    if key is None:
        shown = ", ".join(repr(key[:40]) for key in list(value)[:5])
        raise ValueError(
            f"The object has no class. Expected a key such as 'label' or 'predicted_class', got {shown or 'no keys'}."
        )
    top = top_class(value[key], num_classes, depth + 1)
    score = next((value[name] for name in SCORE_KEYS if name in value), None)
    return TopClass(top.value, _as_probability(score) if top.probability is None else top.probability, top.assumptions)


def _top_of_list(values: list[Any], num_classes: int, depth: int) -> TopClass:
    if not values:
        raise ValueError("The list of classes is empty. Write at least one class.")
    if num_classes == 2 and _is_ambiguous_pair(values, depth):
        raise ValueError(AMBIGUOUS_PAIR.format(values=values))
    first = values[0]
    has_score = depth > 0 and len(values) in (2, 3) and isinstance(values[-1], float)
    if has_score and isinstance(first, int) and len(values) == 2:
        return TopClass(first, _as_probability(values[-1]))
    if _are_scores(values, num_classes):
        return _best_of_scores(values, num_classes)
    check_distinct(values)
    if isinstance(first, str | int) and has_score:
        return TopClass(first, _as_probability(values[-1]))  # [ID, name, score], as Keras decodes predictions
    top = top_class(first, num_classes, depth + 1)
    return TopClass(top.value, top.probability, top.assumptions or (FIRST_COUNTS,) * (len(values) > 1))


def _are_scores(values: list[Any], num_classes: int) -> bool:
    """Return whether values are scores. JavaScript writes a score of 1.0 as 1. [3, 0.9] is a class with its score."""
    kinds = {type(value) for value in values}
    return kinds == {float} or (kinds == {int, float} and (len(values) == num_classes or len(values) > 3))


def _is_ambiguous_pair(values: list[Any], depth: int) -> bool:
    """Return whether a list can be scores of 2 classes, but also classes or a class with its score.

    JavaScript writes a score of 1.0 as 1. In another list, [1, 0.9] is a class with its score.
    """
    if len(values) != 2 or type(values[0]) is not int or type(values[1]) not in ((int,) if depth else (int, float)):
        return False
    return values[0] in (0, 1) and 0 <= values[1] <= 1


def check_distinct(values: Sequence[Any]) -> None:
    """Raise ValueError if values are integers and one is repeated, because they are then not a list of classes."""
    if {type(value) for value in values} == {int} and len({*values}) < len(values):
        raise ValueError(
            "The list of classes has a class twice. Write the class itself instead of a vector of zeros and ones."
        )


def _best_of_scores(values: list[int | float], num_classes: int) -> TopClass:
    if len(values) != num_classes:
        raise ValueError(
            f"The list has {len(values):,} scores. Expected {num_classes:,}, one for each class of the data set."
        )
    try:
        scores = [float(value) for value in values]
    except OverflowError as error:
        raise ValueError("A score is an integer of hundreds of digits. Write numbers that a float can have.") from error
    if any(score != score for score in scores):
        raise ValueError(NAN)
    best = max(scores)
    if best == -math.inf:
        raise ValueError(NO_SCORES)
    is_distribution = min(scores) >= 0 and abs(sum(scores) - 1) <= TOLERANCE
    if is_distribution:
        return TopClass(scores.index(best), min(best, 1.0), (BEST_SCORE,))
    return TopClass(scores.index(best), None, (BEST_SCORE, ONLY_COMPARED))


def _as_probability(score: Any) -> float | None:
    return float(score) if isinstance(score, int | float) and 0 <= score <= 1 else None


def first_of_texts(column: pa.Array, class_texts: frozenset[str] = frozenset()) -> tuple[pa.Array, pa.Array | None]:
    """Return the first class of each text that is a list or an object, and its score.

    Args:
        column: (n,) texts.
        class_texts: Texts in brackets that are classes (`LabelSpace.bracketed_texts`).

    Returns:
        The (n,) classes, and the (n,) scores as texts; None instead of all scores if any score is missing.
    """
    has_objects = pc.match_substring_regex(column, r"^\s*\[?\s*\{")
    objects, lists = (_first(column, pattern) for pattern in (_OBJECT, _LIST))
    classes = pc.coalesce(pc.if_else(has_objects, objects, lists), column)
    if class_texts:
        are_classes = pa.array(normalize(text) in class_texts for text in column.to_pylist())
        classes = pc.if_else(are_classes, column, classes)
    scores = pc.struct_field(pc.extract_regex(column, _SCORE), "score")
    return classes, None if scores.null_count else scores


def find_list(column: pa.Array, class_texts: frozenset[str] = frozenset()) -> int | None:
    """Return the index of the first text if it is a list or an object; None otherwise. Classes in brackets are skipped.

    A class can also begin with a bracket, as in "(wild) cat".
    """
    for index, value in enumerate(column):
        text = value.as_py().strip()
        if not (text.startswith(("[", "{", "(")) and text.endswith(("]", "}", ")"))):
            return None
        if normalize(text) not in class_texts:
            return index
    return None


def check_list_of_classes(text: str, num_classes: int) -> None:
    """Raise ValueError if a text is a list of scores, or a list of integers that are not classes."""
    parts = re.split(r"[\s,]+", text.strip()[1:-1].strip(", "))
    try:
        values = [int(part) if part.isdecimal() else float(part) for part in parts]
    except ValueError:
        return
    if num_classes == 2 and _is_ambiguous_pair(values, depth=0):
        raise ValueError(AMBIGUOUS_PAIR.format(values=values))
    if _are_scores(values, num_classes):
        raise ValueError(NO_SCORES_IN_TEXT)
    check_distinct(values)


def _first(column: pa.Array, pattern: str) -> pa.Array:
    parts = pc.extract_regex(column, pattern)
    return pc.binary_join_element_wise(*(pc.struct_field(parts, name) for name in ("single", "double", "plain")), "")
