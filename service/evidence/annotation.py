"""Read the multi-label annotation of 20,000 ImageNet validation images from either of its two file formats.

JSON (human_accuracy_v3.0.0.json)
  initial_annots[file]{correct, wrong, unclear: [wnid]}, problematic_images{file}, optional imagenet_m[file]
CSV ("Flaws of ImageNet")
  Columns: id, original_label, proposed_labels (the correct labels), unclear_multi_labels, is_problematic, and others. A
  list is one field with comma-separated class indices.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errata.errors import InvalidEvidence
from errata.json_input import parse_json

from service.domain import LabelSource
from service.evidence.input_files import MAX_NAME, read_text, text_problem
from service.taxonomy.imagenet_1k import imagenet_1k

MAX_DIGITS = 9  # digits of an index, including leading zeros
_COLUMNS = ("id", "original_label", "proposed_labels", "unclear_multi_labels", "is_problematic")


@dataclass(frozen=True)
class AnnotatedImage:
    """Annotation of one image."""

    labels: Mapping[int, LabelSource]  # correct labels, then unclear labels, each in ascending order
    problematic: bool


@dataclass(frozen=True)
class Annotation:
    """Annotation of all images, by file name without folder."""

    images: Mapping[str, AnnotatedImage]
    targets: Mapping[str, int]  # original labels; empty if the format has none
    imagenet_m: frozenset[str] | None  # the 68 images of ImageNet-M; None: the file does not list them


def read_annotation(path: Path) -> Annotation:
    """Read an annotation file of either format.

    Raises:
        InvalidEvidence: If the file cannot be read or is invalid; the message names the invalid part.
    """
    text = read_text(path, "annotations")
    return _from_json(text, path.name) if text.lstrip().startswith("{") else _from_csv(text, path.name)


def _from_json(text: str, source: str) -> Annotation:
    try:
        raw = parse_json(text)
        annotations, problematic, imagenet_m = raw["initial_annots"], raw["problematic_images"], raw.get("imagenet_m")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidEvidence(
            f"{source}: not a multi-label annotation: {error!r:.100}. Pass the file human_accuracy_v3.0.0.json.",
            field="annotations",
        ) from error
    if not isinstance(annotations, dict):
        raise InvalidEvidence(
            f"{source}: initial_annots is {annotations!r:.60}. Expected an object.", field="annotations"
        )
    problematic_names = _names(problematic, f"{source}, problematic_images")
    classes = {wordnet_id: index for index, wordnet_id in enumerate(imagenet_1k().ids)}
    images = {}
    for name, annotation in annotations.items():
        if problem := text_problem("file_name", name, MAX_NAME):
            raise InvalidEvidence(f"{source}: {problem}.", field="annotations")
        where = f"{source}, {name}"
        if not isinstance(annotation, dict):
            raise InvalidEvidence(
                f"{where}: invalid annotation {annotation!r:.60}. Expected an object with lists of WordNet IDs.",
                field="annotations",
            )
        correct, unclear = (
            _wordnet_ids(annotation.get(key, []), classes, f"{where}, {key}") for key in ("correct", "unclear")
        )
        images[name] = AnnotatedImage(_labels(correct, unclear), name in problematic_names)
    unannotated = problematic_names - images.keys()
    if unannotated:
        raise InvalidEvidence(
            f"{source}: problematic_images lists {min(unannotated)!r:.60}, which has no annotation. Remove it or "
            "annotate it.",
            field="annotations",
        )
    return Annotation(images, {}, None if imagenet_m is None else _names(imagenet_m, f"{source}, imagenet_m"))


def _names(raw: Any, where: str) -> frozenset[str]:
    """Return the file names in a list, or in the keys of an object."""
    if not isinstance(raw, dict | list) or not all(isinstance(name, str) for name in raw):
        raise InvalidEvidence(f"{where}: invalid value {raw!r:.60}. Expected file names.", field="annotations")
    return frozenset(raw)


def _from_csv(text: str, source: str) -> Annotation:
    reader = csv.DictReader(io.StringIO(text, newline=None))
    try:
        return _from_rows(reader, source)
    except csv.Error as error:
        raise InvalidEvidence(
            f"{source}, line {reader.line_num + 1}: not valid CSV: {error}. Write the file again.",
            line=reader.line_num + 1,
        ) from error


def _from_rows(reader: "csv.DictReader[str]", source: str) -> Annotation:
    missing = [column for column in _COLUMNS if column not in (reader.fieldnames or [])]
    if missing:
        raise InvalidEvidence(
            f"{source}, line 1: missing column {missing[0]}. Expected the columns {', '.join(_COLUMNS)}.", line=1
        )
    images, targets = {}, {}
    for row in reader:
        where, name = f"{source}, line {reader.line_num}", row["id"]
        if None in row or None in row.values():
            count = len(reader.fieldnames or ())
            raise InvalidEvidence(
                f"{where}: more or fewer columns than in the header. Write {count} columns.", line=reader.line_num
            )
        if name in images:
            raise InvalidEvidence(
                f"{where}: duplicate image {name!r:.60}. Expected one line per image.", line=reader.line_num
            )
        if row["is_problematic"] not in ("True", "False"):
            raise InvalidEvidence(f"{where}: invalid is_problematic {row['is_problematic']!r:.20}. Use True or False.")
        correct, unclear = (_indices(row[key], where) for key in ("proposed_labels", "unclear_multi_labels"))
        images[name] = AnnotatedImage(_labels(correct, unclear), row["is_problematic"] == "True")
        targets[name] = _index(row["original_label"], where)
    return Annotation(images, targets, None)


def _labels(correct: Iterable[int], unclear: Iterable[int]) -> dict[int, LabelSource]:
    """Return correct labels, then unclear labels, without duplicates. A label in both lists counts as correct."""
    labels = dict.fromkeys(sorted(set(correct)), LabelSource.CORRECT)
    for label in sorted(set(unclear)):
        labels.setdefault(label, LabelSource.UNCLEAR)
    return labels


def _wordnet_ids(raw: Any, classes: Mapping[str, int], where: str) -> list[int]:
    if not isinstance(raw, list):
        raise InvalidEvidence(
            f"{where}: invalid value {raw!r:.60}. Expected a list of WordNet IDs.", field="annotations"
        )
    unknown = [wordnet_id for wordnet_id in raw if not isinstance(wordnet_id, str) or wordnet_id not in classes]
    if unknown:
        raise InvalidEvidence(
            f"{where}: unknown WordNet ID {unknown[0]!r:.60}. Use the ids of the 1000 ImageNet classes.",
            field="annotations",
        )
    return [classes[wordnet_id] for wordnet_id in raw]


def _indices(field: str, where: str) -> list[int]:
    return [_index(part, where) for part in field.split(",")] if field.strip() else []


def _index(text: str, where: str) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS and int(text) < imagenet_1k().num_classes):
        raise InvalidEvidence(
            f"{where}: invalid class {text!r:.40}. Use an index from 0 to {imagenet_1k().num_classes - 1}.",
            field="annotations",
        )
    return int(text)
