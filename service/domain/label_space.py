"""A label space: the classes of a classifier, their names, and the relations between classes."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.domain.class_relations import Classes, ClassPairs, Mask, Superclasses
from service.unicode_form import normalize_unicode

MIN_CLASSES = 2
MAX_CLASSES = 32_767
MAX_GROUPS = 16
MAX_COMPARED = 1000  # names that difflib compares with a text; each takes up to 0.4 ms
MAX_CANDIDATES = 5  # classes in a message
MAX_SHOWN = 80  # characters of an ID in a message
IMAGENET_1K = "imagenet-1k"


@dataclass(frozen=True, eq=False, repr=False)
class LabelSpace:
    """The C classes of a data set."""

    name: str  # "imagenet-1k", or the name of the data set that defines the classes
    ids: tuple[str, ...]  # (C,) distinct, such as WordNet IDs
    names: tuple[str, ...]  # (C,) display names; two classes can have the same
    synonyms: tuple[tuple[str, ...], ...]  # (C,) further names
    synsets: tuple[str, ...]  # (C,) WordNet 3.0 IDs; empty: none
    superclasses: Superclasses
    groups: tuple[str, ...]  # (G,) groups with separate statistics, without `all`
    group_members: Mask  # (G, C)
    overlaps: ClassPairs  # [class, another class that also counts as correct]
    overlap_reasons: Mapping[tuple[int, int], str] = field(default_factory=dict)  # for pairs with a specific reason

    def __repr__(self) -> str:
        return f"<LabelSpace {self.name!r} of {self.num_classes} classes>"

    @property
    def num_classes(self) -> int:
        """Return the number of classes C."""
        return len(self.names)

    def find_id(self, class_id: str) -> int | None:
        """Return the class with exactly this ID; None if there is none."""
        return self._by_id.get(class_id, (None,))[0]

    def match(self, text: str) -> tuple[int, ...]:
        """Return the classes that a text can mean, ascending. If the text identifies a class, there is exactly one.

        An exact ID takes precedence over an ID, name, or synonym that differs only in case. A number can also be an
        index. A number that is the ID or name of one class and the index of another one means both classes.
        """
        text = text.strip()
        named = self._by_id.get(text) or self._by_normalized_text.get(normalize(text), ())
        if text.isascii() and text.isdigit() and len(text) < 10 and int(text) < self.num_classes:
            return tuple(sorted({*named, int(text)}))
        return named

    def parse(self, text: str) -> int | None:
        """Return the class that a text identifies; None if the text means no class or several classes."""
        classes = self.match(text)
        return classes[0] if len(classes) == 1 else None

    def describe(self, classes: Sequence[int]) -> str:
        """Return the indices and IDs of classes that a text can mean, for messages."""
        shown = ", ".join(f"index {index} (ID {self.ids[index]!r:.{MAX_SHOWN}})" for index in classes[:MAX_CANDIDATES])
        return f"{shown}, and {len(classes) - MAX_CANDIDATES:,} more" if len(classes) > MAX_CANDIDATES else shown

    @cached_property
    def numbers(self) -> Mapping[int, int]:
        """Return the class of each number that is an ID or name and does not simply mean the class with that index.

        The value -1 means that the number is ambiguous. Numbers that are not keys are indices.
        """
        numbers: dict[int, int] = {}
        for text in self._by_normalized_text:
            number = _plain_number(text)
            if number is not None and (classes := self.match(text)) != (number,):
                numbers[number] = classes[0] if len(classes) == 1 else -1
        return numbers

    def groups_of(self, class_index: int) -> tuple[str, ...]:
        """Return the groups of one class."""
        return tuple(compress(self.groups, self.group_members[:, class_index]))

    def similar_names(self, text: str, count: int = 3) -> list[str]:
        """Return up to `count` names of classes that are similar to a text, the most similar first."""
        by_key = {normalize(name): name for name in self.names}
        return [by_key[name] for name in similar_texts(normalize(text), [*by_key], count)]

    def overlap_reason(self, target: int, predicted: int) -> str:
        """Return why a prediction counts as correct; empty if the classes do not overlap."""
        pair = (target, predicted)
        if pair in self.overlap_reasons:
            return self.overlap_reasons[pair]
        if pair not in self._overlapping:
            return ""
        return f"The label space lists {self.names[predicted]!r} as also correct for {self.names[target]!r}."

    @cached_property
    def distinct_names(self) -> tuple[tuple[str, ...], Classes]:
        """Return the distinct class names, sorted, and, for each class, the index of its name among these, (C,)."""
        distinct = sorted(set(self.names))
        index_of = {name: index for index, name in enumerate(distinct)}
        return tuple(distinct), np.array([index_of[name] for name in self.names], dtype=np.int16)

    @cached_property
    def bracketed_texts(self) -> frozenset[str]:
        """The normalized IDs, names, and synonyms in brackets, such as "(none)". In a file, they look like lists."""
        return frozenset(text for text in self._by_normalized_text if text[:1] + text[-1:] in ("()", "[]", "{}"))

    @cached_property
    def _overlapping(self) -> frozenset[tuple[int, int]]:
        return frozenset((first, second) for first, second in self.overlaps.as_array().tolist())

    @cached_property
    def _by_id(self) -> Mapping[str, tuple[int, ...]]:
        return {id_: (index,) for index, id_ in enumerate(self.ids)}

    @cached_property
    def _by_normalized_text(self) -> Mapping[str, tuple[int, ...]]:
        """Return the classes that have each normalized ID, name, or synonym, ascending."""
        collected: dict[str, dict[int, None]] = {}
        for index, (id_, name, synonyms) in enumerate(zip(self.ids, self.names, self.synonyms, strict=True)):
            for text in (id_, name, *synonyms):
                collected.setdefault(normalize(text), {})[index] = None
        return {text: tuple(classes) for text, classes in collected.items()}


_NO_PAIRS = np.zeros((0, 2), dtype=np.int64)


def create_label_space(
    name: str, rows: Sequence[Mapping[str, Any]], overlaps: NDArray[np.integer] = _NO_PAIRS
) -> LabelSpace:
    """Create a label space from valid rows.

    Args:
        name: The name of the label space.
        rows: One mapping per class with `id`, `name`, `synonyms`, `superclasses`, `groups`, and `synset`.
        overlaps: (P, 2) class, and another class that also counts as correct.

    Raises:
        ValueError: If there are too many groups.
    """
    groups = tuple(dict.fromkeys(group for row in rows for group in row["groups"]))
    if len(groups) > MAX_GROUPS:
        raise ValueError(f"{len(groups)} groups are more than {MAX_GROUPS}")
    members = np.array([[group in row["groups"] for row in rows] for group in groups], dtype=bool)
    return LabelSpace(
        name=name,
        ids=tuple(row["id"] for row in rows),
        names=tuple(row["name"] for row in rows),
        synonyms=tuple(tuple(row["synonyms"]) for row in rows),
        synsets=tuple(row["synset"] for row in rows),
        superclasses=Superclasses.from_names([row["superclasses"] for row in rows]),
        groups=groups,
        group_members=members.reshape(len(groups), len(rows)),
        overlaps=ClassPairs.of(overlaps, len(rows)),
    )


def similar_texts(text: str, candidates: Sequence[str], count: int) -> list[str]:
    """Return up to `count` of the candidates that are similar to a text, the most similar first."""
    text = text[:80]
    if len(candidates) > MAX_COMPARED:
        trigrams = _trigrams(text)
        candidates = sorted(candidates, key=lambda candidate: -len(trigrams & _trigrams(candidate)))[:MAX_COMPARED]
    return difflib.get_close_matches(text, candidates, n=count)


def _trigrams(text: str) -> set[str]:
    return {text[start : start + 3] for start in range(max(1, len(text) - 2))}


def _plain_number(text: str) -> int | None:
    """Return the 64-bit integer that a text represents without leading zeros; None for any other text."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
        return None
    number = int(text)
    return number if str(number) == text else None


def normalize(name: str) -> str:
    """Return a name in the form in which names are compared: lower case, spaces for underscores, and Unicode NFC."""
    return normalize_unicode("NFC", name.strip().replace("_", " ").lower())
