"""Label spaces and labels from CSV files. Slow by intention, and written from the specification only.

A rejected input is a ValueError; its message is not part of the specification.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from oracle import cooccurrence
from oracle.verdicts import Facts, Sample, Verdict, judge


@dataclass(frozen=True)
class Space:
    """The classes, by index."""

    ids: list[str]
    names: list[str]
    synonyms: list[list[str]]
    superclasses: dict[str, set[int]]  # name -> classes
    groups: dict[str, set[int]]  # name -> classes
    overlaps: dict[int, set[int]]  # class -> classes that also count as correct


def split_values(field: str | None) -> list[str]:
    """Return the values of a field, which `;` separates."""
    return [value.strip() for value in (field or "").split(";") if value.strip()]


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_space(classes: Path, overlaps: Path | None = None) -> Space:
    """Read `index,id,name,synonyms,superclasses,groups,synset`, of which only `name` is required."""
    rows = read_rows(classes)
    if rows and "index" in rows[0]:
        rows.sort(key=lambda row: int(row["index"]))
        if [int(row["index"]) for row in rows] != list(range(len(rows))):
            raise ValueError("the indices are not 0 to C - 1")
    names = [row["name"].strip() for row in rows]
    space = Space(
        ids=[(row.get("id") or "").strip() or name for row, name in zip(rows, names, strict=True)],
        names=names,
        synonyms=[split_values(row.get("synonyms")) for row in rows],
        superclasses={},
        groups={},
        overlaps={},
    )
    if not 2 <= len(rows) <= 32_767 or len(set(space.ids)) != len(rows):
        raise ValueError("the number of classes is invalid, or an ID is not unique")
    for index, row in enumerate(rows):
        for superclass in split_values(row.get("superclasses") or row.get("superclass")):
            space.superclasses.setdefault(superclass, set()).add(index)
        for group in split_values(row.get("groups") or row.get("group")):
            space.groups.setdefault(group, set()).add(index)
    for row in read_rows(overlaps) if overlaps is not None else []:
        space.overlaps.setdefault(find_class(space, row["class"]), set()).add(find_class(space, row["also_correct"]))
    return space


def candidates(space: Space, text: str) -> set[int]:
    """Return the classes that a text can mean: by ID, else by name or synonym, and by index."""
    text = text.strip()
    classes = {index for index, id_ in enumerate(space.ids) if id_ == text}
    if not classes:
        for index in range(len(space.names)):
            if text == space.names[index] or text in space.synonyms[index]:
                classes.add(index)
    if text.isascii() and text.isdigit() and int(text) < len(space.names):
        classes.add(int(text))
    return classes


def find_class(space: Space, text: str) -> int:
    """Return the class that a text identifies."""
    classes = candidates(space, text)
    if len(classes) != 1:
        raise ValueError(f"{text!r} means {len(classes)} classes")
    return classes.pop()


def parse_labels(space: Space, field: str) -> list[int]:
    """Return the labels of a field: split at `;` if it contains one, else the whole field, else split at spaces."""
    if ";" in field:
        texts = split_values(field)
    elif candidates(space, field):
        texts = [field]
    else:
        texts = field.split()
    return list(dict.fromkeys(find_class(space, text) for text in texts))


def read_samples(path: Path, space: Space) -> dict[str, Sample]:
    """Read `file_name,target,labels,problematic`, or `file_name,labels`, where the first label is the target."""
    samples: dict[str, Sample] = {}
    for row in read_rows(path):
        labels = parse_labels(space, row["labels"])
        target = find_class(space, row["target"]) if row.get("target") else labels[0]
        problematic = bool((row.get("problematic") or "").strip())
        if not labels and not problematic:
            raise ValueError(f"{row['file_name']} has no labels")
        samples[row["file_name"]] = Sample(target, frozenset(labels), problematic, False, labels[0] if labels else None)
    return samples


def cooccurrence_pairs(
    samples: Mapping[str, Sample], space: Space, other: Mapping[str, Sample] | None = None, minimum: int = 2
) -> set[tuple[int, int]] | None:
    """Return the pairs of labels of images that are not problematic; None: no pair qualifies, and the rule abstains.

    A second file of labels replaces the samples. It does not count for images that are judged.
    """
    source = samples if other is None else {name: other[name] for name in other if name not in samples}
    label_sets = [set(sample.multi_labels) for sample in source.values() if not sample.problematic]
    return cooccurrence.pairs(label_sets, list(space.superclasses.values()), minimum) or None


def facts(space: Space, pairs: set[tuple[int, int]] | None) -> Facts:
    """Return the evidence of an own label space: no list of unusual images, and no encoder."""
    return Facts(space.overlaps, list(space.superclasses.values()), pairs, has_prototype_list=False, oov=None)


def judge_all(samples: Mapping[str, Sample], predicted: Mapping[str, int], evidence: Facts) -> dict[str, Verdict]:
    """Return the verdict of each sample."""
    return {name: judge(sample, row, predicted[name], evidence) for row, (name, sample) in enumerate(samples.items())}
