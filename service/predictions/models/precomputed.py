"""Predictions that came instead of a model: a file with a name a row, read as uploads are, and asked image by image."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from errata.errors import InvalidRow, InvalidUpload, Violation

from service.domain import ModelInfo, Predictions
from service.predictions.models.loaded_model import LoadedModel
from service.predictions.sandbox import ParserPool
from service.predictions.uploads import csv, jsonl
from service.predictions.uploads.binary import ParseRequest
from service.predictions.uploads.bounded_stream import BoundedStream
from service.predictions.uploads.compression import DecompressedStream, detect_codec
from service.predictions.uploads.rows import NamedRows, OrderedRows
from service.predictions.uploads.validation import CLASS_FORMS, SHOWN
from service.storage import sha256_of
from service.taxonomy.classes import parse_class

MAX_BYTES = 1 << 28  # of a file, packed or not
MAX_IMAGES = 2_000_000
BATCH = 5000  # images whose predictions are given at once


def load_precomputed(model: str, path: Path) -> LoadedModel:
    """Return a predictions file as if it were a model; raise InvalidRow with lines, or InvalidUpload."""
    known: dict[str, tuple[int, float]] = {}
    wrong: list[Violation] = []
    num_wrong = 0
    with path.open("rb") as content:
        for block in _blocks(path, content):
            wrong += block.wrong
            num_wrong += block.num_wrong
            probabilities = (
                [None] * len(block.names) if block.probabilities is None else block.probabilities.to_pylist()
            )
            rows = zip(
                block.names.to_pylist(), block.classes.to_pylist(), probabilities, block.lines.tolist(), strict=True
            )
            for row in rows:
                try:
                    name, result, probability = _checked(known, *row[:3])
                except ValueError as error:
                    num_wrong += 1
                    field, _, what = str(error).partition(": ")
                    wrong.append(Violation(field, what, row[3]))
                else:
                    known[name] = (result, probability)
            if len(known) > MAX_IMAGES or num_wrong > MAX_IMAGES:
                raise InvalidUpload(f"{model}: expected at most {MAX_IMAGES} images, got more", field="predictions")
    if wrong:
        raise InvalidRow(
            f"{model}: {num_wrong} rows of {path.name} can't be used; line {wrong[0].line}: {wrong[0].description}",
            violations=wrong[:SHOWN],
        )
    if not known:
        raise InvalidUpload(f"{model}: expected predictions in {path.name}, got none", field="predictions")
    info = ModelInfo(model, path.name, sha256_of(path), "predictions that were logged beside the model")
    return LoadedModel(torch.nn.Identity(), lambda _: torch.zeros(0), info, known)


def _checked(
    known: Mapping[str, tuple[int, float]], name: bytes, given: Any, probability: Any
) -> tuple[str, int, float]:
    """Return a row's name, class and probability (NaN for none); raise ValueError with the field and what is wrong."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        raise ValueError(f"file_name: expected UTF-8, got {name!r:.80}") from None
    if text in known:
        raise ValueError("file_name: the image came before")
    class_ = parse_class(str(given))
    if class_ is None:
        raise ValueError(f"predicted_class: expected {CLASS_FORMS}, got {given!r:.40}")
    try:
        value = math.nan if probability is None else float(probability)
    except ValueError:
        value = math.inf
    if probability is not None and not 0 <= value <= 1:
        raise ValueError(f"predicted_probability: expected a number from 0 to 1, got {probability!r:.40}")
    return text, class_, value


def stored_predictions(loaded: LoadedModel, names: Sequence[str]) -> Iterator[Predictions]:
    """Yield the predictions of the named images, in that order: class -1 and NaN for one that has none."""
    assert loaded.known is not None, "this is a bug: asked only of what has predictions"
    if not any(_row(loaded.known, name) for name in names):
        raise InvalidUpload(
            f"expected predictions of images such as {names[0]!r:.120}, got some of {next(iter(loaded.known))!r:.120}",
            field="file_name",
        )
    for start in range(0, len(names), BATCH):
        result = [_row(loaded.known, name) or (-1, math.nan) for name in names[start : start + BATCH]]
        classes, probability = zip(*result, strict=True)
        yield Predictions(np.array(classes, dtype=np.int16), np.array(probability, dtype=np.float16))


def _row(known: Mapping[str, tuple[int, float]], name: str) -> tuple[int, float] | None:
    """Return the prediction of an image, by its name or by the last part of it."""
    return known.get(name) or known.get(name.rsplit("/", 1)[-1])


def _blocks(path: Path, content: Any) -> Iterator[NamedRows]:
    source = BoundedStream(content, MAX_BYTES)
    if codec := detect_codec(source.peek(8)):
        source = BoundedStream(DecompressedStream(source, codec), MAX_BYTES)
    kind = path.name.removesuffix(".gz").rsplit(".", 1)[-1]
    match kind:
        case "csv":
            return csv.read(source, MAX_IMAGES)
        case "jsonl":
            return jsonl.read(source, MAX_IMAGES)
    with ParserPool(size=1) as parse:
        rows = parse(ParseRequest("parquet", MAX_IMAGES, MAX_BYTES), content)
    assert not isinstance(rows, OrderedRows), "this is a bug: rows of Parquet have names"
    return rows
