"""Records of free-text answers: the texts of an upload, and how they were mapped to classes."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from errata.enums import AnswerOutcome
from numpy.typing import NDArray

from service.unicode_form import normalize_unicode

NO_PREDICTION = -1  # class of an image without a prediction
NO_ANSWER = -1  # answer number of an image without an answer
NO_CLASS = -2  # class of an answer that means no class: the prediction is wrong
NO_CLASS_NAME = "no class"
MAX_STORED = 200  # characters of a stored answer
_APOSTROPHES = re.compile(r"['’ʼ`]")
_SEPARATORS = re.compile(r"[\W_]+")
_ARTICLES = re.compile(r"^(?:(?:an?|the) )+(?=.)")


@dataclass(frozen=True)
class Answers:
    """The D distinct answers of an upload, and the answer of each of A images."""

    texts: tuple[str, ...]  # (D,) at most MAX_STORED characters
    outcomes: NDArray[np.uint8]  # (D,) AnswerOutcome
    index: NDArray[np.int32]  # (A,) answer of each image; NO_ANSWER: none
    overridden: NDArray[np.bool_]  # (D,) whether the mapping file lists the answer
    candidates: Mapping[int, tuple[int, ...]] = field(default_factory=dict)  # of ambiguous answers: first classes

    def text_of(self, image: int) -> str:
        """Return the answer of an image; empty without one."""
        number = int(self.index[image])
        return self.texts[number] if number >= 0 else ""

    def outcome_of(self, image: int) -> AnswerOutcome:
        """Return the outcome of an image's answer."""
        number = int(self.index[image])
        return AnswerOutcome(int(self.outcomes[number])) if number >= 0 else AnswerOutcome.UNSPECIFIED


@dataclass(frozen=True)
class AnswerExample:
    """An answer without a class."""

    answer: str
    outcome: AnswerOutcome
    count: int  # images
    classes: tuple[str, ...] = ()  # names of the first classes that an ambiguous answer can mean


@dataclass(frozen=True)
class AnswerSummary:
    """Counts of the answers of an upload, by how they were mapped to classes."""

    num_answers: int  # images with an answer
    num_mapped: int
    num_unknown: int
    num_ambiguous: int
    num_outside: int
    num_overridden: int
    num_distinct: int
    num_unmapped_errors: int  # of `num_errors`, those whose answer has no class
    num_errors: int  # multi-label errors, without problematic samples
    num_too_general: int  # of `num_errors`
    num_more_specific: int  # of `num_errors`
    examples: tuple[AnswerExample, ...] = ()
    mapping_digest: str = ""


def class_name_of(names: Sequence[str], class_index: int) -> str:
    """Return the name of a predicted class, or NO_CLASS_NAME for an answer without a class."""
    return names[class_index] if class_index >= 0 else NO_CLASS_NAME


def normalize_answer(text: str) -> str:
    """Return the form in which answers and names are compared. The result can be empty.

    Case and the compatibility forms of Unicode (NFKC) do not matter. Apostrophes are removed. A run of other
    characters that are neither letters, combining marks, nor digits becomes one space. Articles at the start are
    removed, unless nothing else remains.
    """
    if not text.isascii():
        text = normalize_unicode("NFKC", normalize_unicode("NFKC", text).casefold())
    text = _APOSTROPHES.sub("", text.lower())
    if text.isascii():
        text = _SEPARATORS.sub(" ", text).strip()
    else:  # Python's \w lacks combining marks, such as the vowels of Hindi and Thai
        text = " ".join("".join(char if _is_of_word(char) else " " for char in text).split())
    return _ARTICLES.sub("", text)


def _is_of_word(char: str) -> bool:
    return char.isalnum() or unicodedata.category(char).startswith("M")
