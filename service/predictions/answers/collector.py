"""Collects the answers of an upload, and maps each distinct one once."""

from collections.abc import Callable, Sequence

import numpy as np
from errata.errors import TruncatedUpload
from numpy.typing import NDArray

from service.domain import NO_CLASS, AnswerOutcome, Answers
from service.domain.answers import MAX_STORED, NO_ANSWER
from service.predictions.answers.matcher import AnswerMatch, AnswerMatcher

MAX_CANDIDATES = 5  # maximum number of classes that are stored for an ambiguous answer


class AnswerCollector:
    """Collects the distinct answers of an upload, and the number of each image's answer."""

    def __init__(self, matcher: AnswerMatcher, num_images: int, is_cancelled: Callable[[], bool]) -> None:
        self._matcher = matcher
        self._is_cancelled = is_cancelled
        self._numbers: dict[str, int] = {}
        self._matches: list[AnswerMatch] = []
        self._index = np.full(num_images, NO_ANSWER, dtype=np.int32)

    def number(self, texts: Sequence[str]) -> NDArray[np.int32]:
        """Return the number of the distinct answer of each text, (n,); raise TruncatedUpload after a cancellation."""
        return np.array([self._number(text) for text in texts], dtype=np.int32)

    def classes_of(self, numbers: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the class of each numbered answer, (n,); NO_CLASS for an answer without exactly one class."""
        classes = [match.classes[0] if match.outcome is AnswerOutcome.MAPPED else NO_CLASS for match in self._matches]
        return np.array(classes, dtype=np.int64)[numbers]

    def place(self, images: NDArray[np.integer] | slice, numbers: NDArray[np.int32]) -> None:
        """Assign the numbered answers to images."""
        self._index[images] = numbers

    def finish(self) -> Answers:
        """Return the answers."""
        texts = tuple(" ".join(text[: 2 * MAX_STORED].split())[:MAX_STORED] for text in self._numbers)
        return Answers(
            texts,
            np.array([match.outcome for match in self._matches], dtype=np.uint8),
            self._index,
            np.array([match.overridden for match in self._matches], dtype=bool),
            {
                number: match.classes[:MAX_CANDIDATES]
                for number, match in enumerate(self._matches)
                if match.outcome is AnswerOutcome.AMBIGUOUS
            },
        )

    def _number(self, text: str) -> int:
        number = self._numbers.setdefault(text, len(self._matches))
        if number == len(self._matches):
            if self._is_cancelled():
                raise TruncatedUpload("The upload was canceled while its answers were matched.", field="chunk")
            self._matches.append(self._matcher.match(text))
        return number
