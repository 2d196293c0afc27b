"""The errors of an analysis as columns, a few dozen bytes for each error.

Facts about a class (name, superclasses, groups) or a pair of classes (co-occurrence, overlap) are stored once beside
the columns. templates/error_table.js combines them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from errata.groups import group_title
from errata.messages import (
    LABEL_SOURCE_NAMES,
    OUTCOME_NAMES,
    PROBLEMATIC_TAG_NAMES,
    ROUNDING_ERROR,
    SEVERITY_NAMES,
    pluralize,
)
from numpy.typing import NDArray

from service.domain import (
    ERROR_TYPES,
    MULTI_LABEL_ERROR_TYPES,
    Bytes,
    Classes,
    ErrorType,
    ExpertJudgment,
    Labels,
    LabelSource,
    Mask,
    Outcome,
    ProblematicTag,
    VocabularyEvidence,
    class_name_of,
)
from service.report.error_view import judgment_note
from service.report.messages.pages import ERROR_TABLE_TEXTS

_NUM_SOURCES = 16  # a label is encoded as class * 16 + source


@dataclass(frozen=True)
class ClassPair:
    """The co-occurrence of two classes."""

    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class ErrorTable:
    """n errors, in their initial order."""

    names: Sequence[str]
    targets: Classes  # (n,) effective targets
    predicted: Classes  # (n,)
    types: Bytes  # (n,)
    problematic: Mask  # (n,)
    tags: Mapping[int, Sequence[ProblematicTag]]  # by row, of problematic images
    probability: NDArray[np.floating] | None  # (n,)
    labels: Labels  # labels of the n errors
    groups: Mapping[str, Mask]  # (n,) members of each group, without `all`
    total: int  # number of errors, including those that are not in the table
    abstained: Sequence[ErrorType]
    class_names: Sequence[str]  # names of all classes, as pages show them
    superclasses: Mapping[str, Sequence[int]]  # classes by name of the superclass
    pairs: Mapping[tuple[int, int], ClassPair]  # by label and prediction
    overlaps: Mapping[tuple[int, int], str]  # description of the overlap, by target and prediction
    texts: Mapping[int, VocabularyEvidence]  # by row, of some errors
    pictures: Mapping[str, str]  # data URLs by file name, of some errors
    experts: Mapping[int, ExpertJudgment] = field(default_factory=dict)  # by row, of the errors that experts judged
    agreement: Mapping[ErrorType, str] = field(default_factory=dict)  # of experts with a type, a sentence
    attributes: Mapping[int, Sequence[str]] = field(default_factory=dict)  # by row, such as "atypical: smaller"
    picture_base: str = ""  # URL prefix of the images; empty: not available
    page_base: str = ""  # URL prefix of the pages of images; empty: not available
    page_query: str = ""  # query of the pages of images
    answers: Mapping[int, str] = field(default_factory=dict)  # by row, sentences about free-text answers
    rejected: Mapping[int, int] = field(default_factory=dict)  # the original label by row, where the labels reject it


def to_plain(table: ErrorTable) -> dict[str, Any]:
    """Return the table as JSON values."""
    prefix = _common_prefix(table.names)
    suffix = _common_prefix([name[len(prefix) :][::-1] for name in table.names])[::-1]
    stop = -len(suffix) or None
    originals = np.array([*table.rejected.values()], dtype=np.int16)
    used_classes = np.unique(np.concatenate([table.targets, table.predicted, table.labels.classes, originals])).tolist()
    used = set(used_classes)
    return {
        "messages": dict(ERROR_TABLE_TEXTS),
        "types": [
            {
                "value": error_type.id,
                "key": error_type.key,
                "title": error_type.title,
                "severity": SEVERITY_NAMES[error_type.severity],
                "is_error": error_type in MULTI_LABEL_ERROR_TYPES,
                "abstained": error_type in table.abstained,
                "agreement": table.agreement.get(error_type, ""),
            }
            for error_type in ERROR_TYPES
        ],
        "outcomes": {outcome.name: OUTCOME_NAMES[outcome] for outcome in Outcome},
        "sources": [LABEL_SOURCE_NAMES[source] for source in LabelSource],
        "groups": [*table.groups],
        "group_names": [group_title(group) for group in table.groups],
        "classes": {str(index): class_name_of(table.class_names, index) for index in used_classes},
        "superclasses": {
            name: members
            for name, classes in table.superclasses.items()
            if (members := [index for index in classes if index in used])
        },
        "pairs": {
            f"{i} {j}": [pluralize(pair.count, "image"), [*pair.examples]] for (i, j), pair in table.pairs.items()
        },
        "overlaps": {f"{i} {j}": description for (i, j), description in table.overlaps.items()},
        "prefix": prefix,
        "suffix": suffix,
        "file": [name[len(prefix) : stop] for name in table.names],
        "target": table.targets.tolist(),
        "rejected": {str(row): original for row, original in table.rejected.items()},
        "predicted": table.predicted.tolist(),
        "type": "".join(f"{number:x}" for number in table.types.tolist()),
        "group": _group_bits(table),
        "label": _encode_labels(table.labels),
        "probability": None if table.probability is None else [*map(_thousandths, table.probability.tolist())],
        "tags": {
            str(row): [PROBLEMATIC_TAG_NAMES[tag] for tag in table.tags.get(row, ())]
            for row in np.flatnonzero(table.problematic).tolist()
        },
        "texts": {
            str(row): [
                vocabulary.gate,
                pluralize(vocabulary.num_texts, "text"),
                [[text.text, (_thousandths(text.probability) or 0) / 1000] for text in vocabulary.best],
                vocabulary.prefers_label,
            ]
            for row, vocabulary in table.texts.items()
        },
        "pictures": dict(table.pictures),
        "experts": {str(row): judgment_note(judgment) for row, judgment in table.experts.items()},
        "answers": {str(row): note for row, note in table.answers.items()},
        "attributes": {str(row): [*texts] for row, texts in table.attributes.items()},
        "picture_base": table.picture_base,
        "page_base": table.page_base,
        "page_query": table.page_query,
        "total": table.total,
    }


def _group_bits(table: ErrorTable) -> list[int]:
    """Return the groups of each error: bit g is set if the error is in group g."""
    bits = np.zeros(len(table.names), dtype=np.int64)
    for bit, members in enumerate(table.groups.values()):
        bits += members.astype(np.int64) << bit
    return bits.tolist()


def _thousandths(probability: float) -> float | None:
    """Return a probability in thousandths; None for NaN. As in `format_percentage`, only 0 is 0, and only 1 is 1000."""
    if not math.isfinite(probability):
        return None
    rounded = round(1000 * probability)
    is_inexact = rounded in (0, 1000) and ROUNDING_ERROR < probability < 1 - ROUNDING_ERROR
    return abs(rounded - 0.1) if is_inexact else rounded


def _encode_labels(labels: Labels) -> list[int | list[int]]:
    """Return the labels of each sample, encoded with their sources: a number for a single label, otherwise a list."""
    codes = (labels.classes.astype(np.int64) * _NUM_SOURCES + labels.sources).tolist()
    offsets = labels.offsets.tolist()
    return [codes[start] if stop - start == 1 else codes[start:stop] for start, stop in pairwise(offsets)]


def _common_prefix(names: Sequence[str]) -> str:
    """Return the common prefix of all names, which is the common prefix of the first and the last sorted name."""
    if not names:
        return ""
    first, last = min(names), max(names)
    length = next(
        (index for index, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )
    return first[:length]
