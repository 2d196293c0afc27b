"""The errors of an analysis as columns, for the page's own table: a few dozen bytes an error.

What follows from a class (its name, superclasses and groups) or from a pair of classes (how often they are seen
together, why they overlap) is told once, beside the columns; templates/errors.js puts it together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from errata.messages import (
    ERROR_TYPE_TITLES,
    GROUP_NAMES,
    LABEL_SOURCE_NAMES,
    OUTCOME_NAMES,
    PROBLEMATIC_TAG_NAMES,
    SEVERITY_NAMES,
)
from numpy.typing import NDArray

from service.domain import (
    CLASS_GROUPS,
    SEVERITY,
    TOP1_ERROR_TYPES,
    Bytes,
    Classes,
    ErrorType,
    Labels,
    LabelSource,
    Mask,
    Outcome,
    ProblematicTag,
    VocabularyEvidence,
)
from service.report.messages import TABLE_WORDS

_SOURCES = 16  # a label is told as class * 16 + source


@dataclass(frozen=True)
class PairSeen:
    """How often two classes are seen together."""

    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class ErrorTable:
    """n errors, in the order in which they are shown first."""

    names: Sequence[str]
    targets: Classes  # (n,)
    predicted: Classes  # (n,)
    types: Bytes  # (n,)
    problematic: Mask  # (n,)
    tags: Mapping[int, Sequence[ProblematicTag]]  # of the rows that were set aside
    probability: NDArray[np.floating] | None  # (n,)
    labels: Labels  # of n samples
    groups: Mask  # (3, n) as CLASS_GROUPS
    total: int  # errors there are, shown or not
    abstained: Sequence[ErrorType]
    class_names: Sequence[str]  # of all classes
    superclasses: Mapping[str, Sequence[int]]  # their classes
    pairs: Mapping[tuple[int, int], PairSeen]  # label and prediction
    overlaps: Mapping[tuple[int, int], str]  # target and prediction, and why they overlap
    texts: Mapping[int, VocabularyEvidence]  # of some rows: what CLIP said
    pictures: Mapping[str, str]  # of some images: data URLs
    picture_base: str = ""  # URL before an image's name; empty: there are none
    page_base: str = ""  # URL before an image's name, of the page about it


def to_plain(table: ErrorTable) -> dict[str, Any]:
    """Return the table as JSON values."""
    prefix = _common_start(table.names)
    suffix = _common_start([name[len(prefix) :][::-1] for name in table.names])[::-1]
    stop = -len(suffix) or None
    present = np.unique(np.concatenate([table.targets, table.predicted, table.labels.classes]))
    shown = {*present.tolist()}
    return {
        "words": dict(TABLE_WORDS),
        "types": [
            {
                "value": int(item),
                "title": ERROR_TYPE_TITLES[item],
                "severity": SEVERITY_NAMES[SEVERITY[item]],
                "abstained": item in table.abstained,
            }
            for item in (ErrorType.CORRECT, *TOP1_ERROR_TYPES)
        ],
        "outcomes": {item.name: OUTCOME_NAMES[item] for item in Outcome},
        "sources": [LABEL_SOURCE_NAMES[item] for item in LabelSource],
        "group_names": [GROUP_NAMES[group] for group in CLASS_GROUPS],
        "classes": {str(index): table.class_names[index] for index in present.tolist()},
        "superclasses": {
            name: kept for name, members in table.superclasses.items() if (kept := [m for m in members if m in shown])
        },
        "pairs": {f"{i} {j}": [seen.count, [*seen.examples]] for (i, j), seen in table.pairs.items()},
        "overlaps": {f"{i} {j}": why for (i, j), why in table.overlaps.items()},
        "prefix": prefix,
        "suffix": suffix,
        "file": [name[len(prefix) : stop] for name in table.names],
        "target": table.targets.tolist(),
        "predicted": table.predicted.tolist(),
        "type": "".join(map(str, table.types.tolist())),
        "group": "".join(map(str, (table.groups * np.array([[1], [2], [4]])).sum(axis=0).tolist())),
        "label": _labels(table.labels),
        "probability": None if table.probability is None else _per_mille(table.probability),
        "tags": {
            str(row): [PROBLEMATIC_TAG_NAMES[tag] for tag in table.tags.get(row, ())]
            for row in np.flatnonzero(table.problematic).tolist()
        },
        "texts": {
            str(row): [said.gate, said.num_texts, [[item.text, round(item.probability, 3)] for item in said.best]]
            for row, said in table.texts.items()
        },
        "pictures": dict(table.pictures),
        "picture_base": table.picture_base,
        "page_base": table.page_base,
        "total": table.total,
    }


def _per_mille(probability: NDArray[np.floating]) -> list[int | None]:
    """Return probabilities in thousandths; None for what is no number."""
    known = np.isfinite(probability)
    rounded = np.round(1000 * np.where(known, probability.astype(float), 0)).astype(int).tolist()
    return [value if finite else None for value, finite in zip(rounded, known.tolist(), strict=True)]


def _labels(labels: Labels) -> list[int | list[int]]:
    """Return each sample's labels with their sources; one number where there is one label."""
    codes = (labels.classes.astype(np.int64) * _SOURCES + labels.sources).tolist()
    offsets = labels.offsets.tolist()
    return [codes[start] if stop - start == 1 else codes[start:stop] for start, stop in pairwise(offsets)]


def _common_start(names: Sequence[str]) -> str:
    """Return what all names start with; the first and the last of them in order tell."""
    if not names:
        return ""
    first, last = min(names), max(names)
    length = next(
        (place for place, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first)
    )
    return first[:length]
