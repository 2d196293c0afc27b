"""Predictions files that a registry has instead of a model. Errata parses them like uploads."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from errata.errors import InvalidRow, InvalidUpload, Violation

from service.domain import LabelSpace, ModelInfo, Predictions
from service.predictions.models.loaded_model import LoadedModel
from service.predictions.sandbox import ParserPool
from service.predictions.uploads import csv, jsonl
from service.predictions.uploads.binary import ParseRequest
from service.predictions.uploads.bounded_stream import BoundedStream
from service.predictions.uploads.compression import DecompressedStream, detect_codec
from service.predictions.uploads.descriptions import (
    describe_ambiguous_name,
    describe_class,
    describe_probability,
    describe_repeat,
)
from service.predictions.uploads.rows import MAX_VIOLATIONS, NamedRows, OrderedRows
from service.predictions.uploads.terms import format_size
from service.storage import sha256_of

MAX_BYTES = 1 << 28  # size limit of a file, compressed and uncompressed
MAX_IMAGES = 2_000_000
BATCH_IMAGES = 5000  # predictions in one batch


def load_precomputed(model: str, path: Path, label_space: LabelSpace) -> LoadedModel:
    """Return a model that looks up the predictions of a file by image.

    Args:
        model: Model ID, for messages.
        path: The file, whose suffix is its format.
        label_space: The classes that the file names.

    Raises:
        InvalidRow: Rows are wrong; `violations` has their lines.
        InvalidUpload: The file is damaged or has no predictions.
    """
    predictions: dict[str, tuple[int, float]] = {}
    violations: list[Violation] = []
    num_wrong = 0
    has_probabilities = True
    with path.open("rb") as content:
        for block in _read_blocks(path, content, label_space):
            violations += block.wrong
            num_wrong += block.num_wrong
            for name, class_text, probability, line in _rows(block):
                try:
                    image = _parse_name(predictions, name)
                    class_index = _parse_class(class_text, label_space)
                    value = _parse_probability(probability, block.is_certain)
                except ValueError as error:
                    num_wrong += 1
                    field, _, description = str(error).partition(": ")
                    violations.append(Violation(field, description, line))
                else:
                    has_probabilities &= value is not None
                    predictions[image] = (class_index, math.nan if value is None else value)
            if len(predictions) > MAX_IMAGES or num_wrong > MAX_IMAGES:
                raise InvalidUpload(
                    f"{model}: {path.name} has more than {MAX_IMAGES:,} images. Remove the images that the data set "
                    "does not have.",
                    field="predictions",
                )
    if violations:
        raise InvalidRow(
            f"{model}: Invalid rows in {path.name}: {num_wrong:,}. Line {violations[0].line}: "
            f"{violations[0].description}",
            violations=violations[:MAX_VIOLATIONS],
        )
    if not predictions:
        raise InvalidUpload(
            f"{model}: {path.name} has no rows. Register a file with one row per image.", field="predictions"
        )
    if not has_probabilities:  # as in uploads: the scores are no probabilities
        predictions = {image: (class_index, math.nan) for image, (class_index, _) in predictions.items()}
    info = ModelInfo(model, path.name, sha256_of(path), "predictions that were logged beside the model")
    return LoadedModel(torch.nn.Identity(), lambda _: torch.zeros(0), info, predictions)


def stored_predictions(loaded: LoadedModel, names: Sequence[str]) -> Iterator[Predictions]:
    """Yield the predictions of the named images, in that order; class -1 and NaN for an image without a row.

    Raises:
        InvalidUpload: No image has a row, or a row without folders can mean several images.
    """
    predictions = loaded.predictions
    assert predictions is not None, "This is a bug: only a precomputed model has predictions."
    rows = [_find_row(predictions, name) for name in names]
    images: dict[str, str] = {}
    for row, name in zip(rows, names, strict=True):
        if row is not None and (other := images.setdefault(row, name)) != name:
            description = describe_ambiguous_name(row, [other.encode(), name.encode()])
            raise InvalidUpload(f"The predictions file is ambiguous. {description}", field="file_name")
    if not images:
        raise InvalidUpload(
            f"The predictions file has no row for any image of the data set: its names look like "
            f"{next(iter(predictions))!r:.120}, those of the data set like {names[0]!r:.120}. Choose the data set that "
            "the predictions belong to.",
            field="file_name",
        )
    for start in range(0, len(names), BATCH_IMAGES):
        batch = [(-1, math.nan) if row is None else predictions[row] for row in rows[start : start + BATCH_IMAGES]]
        classes, probability = zip(*batch, strict=True)
        yield Predictions(np.array(classes, dtype=np.int16), np.array(probability, dtype=np.float16))


def _rows(block: NamedRows) -> Iterator[tuple[bytes, Any, Any, int]]:
    """Return the names, classes, probabilities (None if there are none), and lines of the rows."""
    probabilities = [None] * len(block.names) if block.probabilities is None else block.probabilities.to_pylist()
    return zip(block.names.to_pylist(), block.classes.to_pylist(), probabilities, block.lines.tolist(), strict=True)


def _parse_name(predictions: Mapping[str, tuple[int, float]], name: bytes) -> str:
    """Return the name of a row; raise ValueError("FIELD: DESCRIPTION") if it is wrong or repeated."""
    try:
        image = name.decode()
    except UnicodeDecodeError:
        raise ValueError(f"file_name: The file name {name!r:.80} is not UTF-8. Save the file as UTF-8.") from None
    if image in predictions:
        raise ValueError(f"file_name: {describe_repeat(image)}")
    return image


def _parse_class(class_text: Any, label_space: LabelSpace) -> int:
    """Return the class of a row; raise ValueError("FIELD: DESCRIPTION") if it is unknown or ambiguous."""
    class_index = label_space.parse(str(class_text))
    if class_index is None:
        raise ValueError(f"predicted_class: {describe_class(class_text, label_space)}")
    return class_index


def _parse_probability(probability: Any, is_certain: bool) -> float | None:
    """Return the probability of a row, NaN if missing.

    If it is wrong, return None, or raise ValueError("FIELD: DESCRIPTION") if the column is certain to have
    probabilities.
    """
    try:
        value = math.nan if probability is None else float(probability)
    except ValueError:
        value = math.inf
    if probability is not None and not 0 <= value <= 1:
        if not is_certain:
            return None
        raise ValueError(f"predicted_probability: {describe_probability(probability)}")
    return value


def _find_row(predictions: Mapping[str, tuple[int, float]], name: str) -> str | None:
    """Return the name of the row of an image: the name of the image, or else its file name without folders."""
    return next((row for row in (name, name.rsplit("/", 1)[-1]) if row in predictions), None)


def _read_blocks(path: Path, content: BinaryIO, label_space: LabelSpace) -> Iterator[NamedRows]:
    too_large = f"{path.name} is larger than {format_size(MAX_BYTES)}. Register a smaller file."
    stream = BoundedStream(content, MAX_BYTES, too_large)
    if codec := detect_codec(stream.peek(8)):
        stream = BoundedStream(DecompressedStream(stream, codec), MAX_BYTES, too_large)
    match path.name.removesuffix(".gz").rsplit(".", 1)[-1]:
        case "csv":
            return csv.read(stream, MAX_IMAGES, label_space)
        case "jsonl":
            return jsonl.read(stream, MAX_IMAGES, label_space)
    with ParserPool(size=1) as parse:
        rows = parse(ParseRequest("parquet", MAX_IMAGES, label_space.num_classes, MAX_BYTES), content)
    assert not isinstance(rows, OrderedRows), "This is a bug: Parquet rows have file names."
    return rows
