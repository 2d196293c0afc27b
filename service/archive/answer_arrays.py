"""Free-text answers as arrays of an npz file.

answers            (B,) uint8   JSON: {"texts": [D distinct answers], "candidates": {"NUMBER": [class, …]}}
answer_outcomes    (D,) uint8   AnswerOutcome
answer_overridden  (D,) bool    whether the mapping file lists the answer
answer_index       (A,) int32   index of the answer of each image in `texts`; -1: none
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from errata.enums import AnswerOutcome
from errata.json_input import parse_json
from numpy.typing import NDArray

from service.domain import MAX_CLASSES, Answers


def to_arrays(answers: Answers) -> dict[str, NDArray[Any]]:
    """Return answers as arrays."""
    candidates = {str(number): [*classes] for number, classes in answers.candidates.items()}
    content = json.dumps({"texts": answers.texts, "candidates": candidates}).encode()
    return {
        "answers": np.frombuffer(content, dtype=np.uint8),
        "answer_outcomes": answers.outcomes,
        "answer_overridden": answers.overridden,
        "answer_index": answers.index,
    }


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Answers | None:
    """Return the answers of an archived file; None if it has none.

    Raises:
        ValueError, KeyError, TypeError: The arrays are damaged.
    """
    content = arrays.get("answers")
    if content is None:
        return None
    raw = parse_json(content.tobytes())
    texts = tuple(raw["texts"])
    outcomes, overridden, index = (arrays[f"answer_{name}"] for name in ("outcomes", "overridden", "index"))
    candidates = {int(number): tuple(classes) for number, classes in raw["candidates"].items()}
    is_valid = (
        all(isinstance(text, str) for text in texts)
        and outcomes.shape == overridden.shape == (len(texts),)
        and index.shape == arrays["top1"].shape
        and (outcomes.dtype, overridden.dtype, index.dtype) == (np.dtype("u1"), np.dtype(bool), np.dtype("i4"))
        and int(outcomes.max(initial=0)) <= max(AnswerOutcome)
        and int(index.min(initial=-1)) >= -1
        and int(index.max(initial=-1)) < len(texts)
        and all(0 <= index < MAX_CLASSES for classes in candidates.values() for index in classes)
    )
    if not is_valid:
        raise ValueError(f"expected {len(texts)} answers with outcomes, and an index of them for each image")
    return Answers(texts, outcomes, index, overridden, candidates)
