"""Hypothesis strategies for small label spaces, with the labels and predictions of a few images, as CSV files."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hypothesis import assume
from hypothesis import strategies as st
from oracle import label_space

# Names are written as they are: no separator of values, and no control or format characters.
_LETTERS = st.characters(categories=["Lu", "Ll", "Lo", "Nd", "Po", "Sm", "So"], exclude_characters=";")
_WORDS = st.text(_LETTERS, min_size=1, max_size=6)
ODD_TEXTS = (
    "polar bear",
    "Käse & Brot",
    "熊猫",
    "сова, белая",
    'a "quoted" name',
    "<b>bold</b>",
    "=1+2",
    "100 %",
    "{{ name }}",
    "null",
    "all of it",
    "x/y",
)
TEXTS = st.sampled_from(ODD_TEXTS) | st.lists(_WORDS, min_size=1, max_size=3).map(" ".join)
_SUPERCLASSES = ("round things", "Gefäße", "<i>", "4", "bears")
_GROUPS = ("night", "für alle", "<b>group</b>", "a b c")


@dataclass(frozen=True)
class Case:
    """A label space with labels; rows of CSV files, and the predictions of one model."""

    classes: Sequence[Mapping[str, str]]
    overlaps: Sequence[tuple[str, str]]
    labels: Sequence[Mapping[str, str]]
    other_labels: Sequence[Mapping[str, str]]  # of other images, for co-occurrence; empty: no second file
    min_cooccurrence: int
    predicted: Sequence[int]  # one class for each image

    @property
    def num_classes(self) -> int:
        return len(self.classes)


@dataclass(frozen=True)
class Files:
    """The files of a case."""

    classes: Path
    overlaps: Path | None
    labels: Path
    cooccurrence: Path | None


def write_case(case: Case, folder: Path) -> Files:
    """Write the files of a case to a folder."""
    overlaps = [{"class": first, "also_correct": second} for first, second in case.overlaps]
    return Files(
        classes=write_csv(folder / "classes.csv", case.classes),
        overlaps=write_csv(folder / "overlaps.csv", overlaps) if overlaps else None,
        labels=write_csv(folder / "labels.csv", case.labels),
        cooccurrence=write_csv(folder / "other.csv", case.other_labels) if case.other_labels else None,
    )


def write_csv(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    """Write rows with the same columns."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@st.composite
def cases(draw: st.DrawFn, max_classes: int = 7, max_images: int = 8) -> Case:
    """Draw a label space, and labels and predictions of images."""
    classes = draw(_classes(max_classes))
    space = _space(classes)
    texts = [_unambiguous_texts(space, index) for index in range(len(classes))]
    indices = st.integers(0, len(classes) - 1)
    pairs = draw(st.lists(st.tuples(indices, indices).filter(lambda pair: pair[0] != pair[1]), max_size=4, unique=True))
    overlaps = [(draw(st.sampled_from(texts[first])), draw(st.sampled_from(texts[second]))) for first, second in pairs]
    labels = draw(_labels(texts, "image", max_images))
    return Case(
        classes=classes,
        overlaps=overlaps,
        labels=labels,
        other_labels=draw(st.just([]) | _other_labels(texts)),
        min_cooccurrence=draw(st.integers(1, 3)),
        predicted=draw(st.lists(indices, min_size=len(labels), max_size=len(labels))),
    )


@st.composite
def _classes(draw: st.DrawFn, max_classes: int) -> list[dict[str, str]]:
    ids = draw(st.lists(TEXTS, min_size=2, max_size=max_classes, unique_by=_fold))
    has_ids = draw(st.booleans())
    superclasses = st.lists(st.sampled_from(_SUPERCLASSES), max_size=3, unique=True).map(";".join)
    groups = st.lists(st.sampled_from(_GROUPS), max_size=2, unique=True).map(";".join)
    rows = []
    for id_ in ids:
        row = {"id": id_, "name": draw(TEXTS)} if has_ids else {"name": id_}
        row["synonyms"] = ";".join(draw(st.lists(TEXTS, max_size=2, unique_by=_fold)))
        rows.append(row | {"superclasses": draw(superclasses), "groups": draw(groups)})
    if draw(st.booleans()):  # the rows in another order, with their indices
        rows = [{"index": str(index), **row} for index, row in enumerate(rows)]
        rows = draw(st.permutations(rows))
    return rows


@st.composite
def _labels(draw: st.DrawFn, texts: Sequence[Sequence[str]], prefix: str, max_images: int) -> list[dict[str, str]]:
    """Draw rows of labels, each with a target, or all without one. At least one image is not problematic."""
    has_targets = draw(st.booleans())
    rows = []
    for number in range(draw(st.integers(1, max_images))):
        problematic = draw(st.sampled_from(["", "", "", "blurred, or dark"]))
        classes = draw(
            st.lists(
                st.integers(0, len(texts) - 1),
                min_size=0 if has_targets and problematic else 1,
                max_size=3,
                unique=True,
            )
        )
        labels = [draw(st.sampled_from(texts[index])) for index in classes]
        separator = ";" if any(" " in label for label in labels) else draw(st.sampled_from([" ", ";", "; "]))
        row = {"file_name": f"{prefix} {number}.png"}
        if has_targets:
            row["target"] = draw(st.sampled_from(texts[draw(st.integers(0, len(texts) - 1))]))
        rows.append(row | {"labels": separator.join(labels), "problematic": problematic})
    assume(not all(row["problematic"] for row in rows))
    return rows


@st.composite
def _other_labels(draw: st.DrawFn, texts: Sequence[Sequence[str]]) -> list[dict[str, str]]:
    """Draw labels of other images, and of images that are judged, which do not count."""
    rows = draw(_labels(texts, "other", 6))
    repeated = draw(st.integers(0, len(rows) - 1))
    for number, row in enumerate(rows[:repeated]):
        row["file_name"] = f"image {number}.png"
    assume(not all(row["problematic"] for row in rows[repeated:]))
    return rows


def _space(rows: Sequence[Mapping[str, str]]) -> label_space.Space:
    """Return the names of classes, by index."""
    ordered = sorted(rows, key=lambda row: int(row["index"])) if "index" in rows[0] else rows
    return label_space.Space(
        ids=[row.get("id", row["name"]) for row in ordered],
        names=[row["name"] for row in ordered],
        synonyms=[label_space.split_values(row["synonyms"]) for row in ordered],
        superclasses={},
        groups={},
        overlaps={},
    )


def _unambiguous_texts(space: label_space.Space, index: int) -> list[str]:
    """Return the texts that identify a class: all but those that mean several classes, also in another case."""
    texts = [space.ids[index], space.names[index], *space.synonyms[index], str(index)]
    unambiguous = [
        text
        for text in texts
        if label_space.candidates(space, text) == {index}
        and (text == space.ids[index] or _fold(text) not in _folded_texts(space, except_for=index))
    ]
    assume(unambiguous)
    return unambiguous


def _folded_texts(space: label_space.Space, except_for: int) -> set[str]:
    """Return the IDs, names, and synonyms of all classes but one, in lower case."""
    others = [index for index in range(len(space.ids)) if index != except_for]
    return {_fold(text) for i in others for text in (space.ids[i], space.names[i], *space.synonyms[i])}


def _fold(text: str) -> str:
    return text.casefold().replace("_", " ")
