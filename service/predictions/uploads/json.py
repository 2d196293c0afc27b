"""JSON documents in the layouts that libraries write.

| layout | written by |
| --- | --- |
| `[{"image": …, "label": …}, …]` | Hugging Face, COCO-style results, pandas with `orient="records"` |
| `{"a.jpg": 3, …}`, `{"a.jpg": [{"label": …, "score": …}], …}` | pipelines of transformers |
| `{"a.jpg": {"index": 3, "prob": 0.9}, …}` | timm, pandas with `orient="index"` |
| `{"columns": […], "data": [[…], …]}` | MLflow's evaluation tables, pandas with `orient="split"` |
| `{"file_name": […], "pred": […]}` | columns, with lists or with pandas' mappings of row numbers |
| `{"samples": […]}`, `{"classes": […], "labels": {…}}` | FiftyOne |
| `[3, 5, …]`, `[[{"label": …, "score": …}], …]` | results without file names, in the row order |
"""

from collections.abc import Iterator
from typing import Any

from errata.errors import InvalidUpload, TooLarge

from service.domain import LabelSpace
from service.predictions.uploads.bounded_stream import BoundedStream
from service.predictions.uploads.class_names import CLASS_NAMES, read_class_names
from service.predictions.uploads.columns import (
    ANSWER,
    CLASS,
    CLEAR_CLASS,
    FILE_NAME,
    NUMBER,
    PROBABILITY,
    find_columns,
    is_known_column,
)
from service.predictions.uploads.json_reader import JsonReader
from service.predictions.uploads.records import RecordParser, RowCollector
from service.predictions.uploads.rows import MAX_WRONG, NamedRows, check_row_count
from service.predictions.uploads.terms import JSON_TERMS

BOM = "\ufeff"
BLOCK_ROWS = 8_192
COLUMNS = FILE_NAME, NUMBER, CLASS, ANSWER, PROBABILITY
MAX_COLUMNS = 32  # first keys of a document that are searched for columns
VALUES_PER_IMAGE = 10  # limit of the values that are visited one by one; an object counts once
ROWS = ("samples", "predictions", "results", "data", "labels", "annotations", "rows", "items")
OTHER = ("index", "info", "meta", "metadata", "licenses", "version", "model", "dataset", "dataset_name", "config")
NAME, VALUE = "file_name", "predicted_class"  # keys for the values of rows without keys
COCO = (
    "The file contains COCO annotations, whose image IDs are numbers. Write results with the name of each image, such "
    'as {"file_name": "a.jpg", "predicted_class": 3}.'
)


def recognizes(head: bytes) -> bool:
    """Return whether a file starts with a JSON array, or with an object that is not a line of JSONL."""
    text = head.removeprefix(BOM.encode()).lstrip()
    if text.startswith(b"["):
        return True
    if not text.startswith(b"{"):
        return False
    line, is_complete, rest = text.partition(b"\n")
    if line.rstrip().endswith((b"{", b"[", b",")):
        return True
    if rest.strip():
        return False
    return not (is_complete or line.rstrip().endswith(b"}")) or not _is_row(line)


def _is_row(line: bytes) -> bool:
    """Return whether the only line of a file is a row of JSONL."""
    try:
        reader = JsonReader(line.decode(errors="replace"))
        keys = []
        for key in reader.iterate():
            keys.append(key)
            if is_known_column(key, FILE_NAME) and reader.peek() in "[{":
                return False  # the key has a column, so the line is a document
            reader.skip_value()
        find_columns(keys, JSON_TERMS, has_scores=True)
    except InvalidUpload:
        return False
    return True


def read(content: BoundedStream, images: int, label_space: LabelSpace) -> Iterator[NamedRows]:
    """Yield the rows; raise InvalidUpload or InvalidRow for invalid content, or TooLarge for far too many rows."""
    text = content.read().decode(errors="replace").removeprefix(BOM)
    reader = JsonReader(text, VALUES_PER_IMAGE * (images + MAX_WRONG))
    document = _Document(reader, images, label_space.num_classes)
    yield from document.read()
    reader.expect_end()
    document.check_complete()
    yield document.to_rows()


class _Document:
    """Reads a document, and collects its rows in blocks."""

    def __init__(self, reader: JsonReader, images: int, num_classes: int) -> None:
        self._reader = reader
        self._images = images
        self._num_classes = num_classes
        self._collector = RowCollector()
        self._parser: RecordParser | None = None
        self._class_names: dict[str, str] = {}  # class names of the file by their positions or IDs
        self._known_names: frozenset[str] = frozenset()  # the class names alone
        self._has_indices = False  # whether a class so far is an index
        self._keys: list[str] = []  # keys of the values in rows that are lists
        self._columns: dict[str, list[Any]] = {}
        self._count = 0
        self._is_numbered = False

    def read(self) -> Iterator[NamedRows]:
        """Read the document, and yield each block when it is full."""
        if self._reader.peek() == "[":
            yield from self._read_rows()
            return
        has_columns = self._has_columns()
        for key in self._reader.iterate():
            is_nested = self._reader.peek() in "[{"
            name = key.lower()
            if name == "columns" and is_nested:
                self._keys = [str(column) for column in self._reader.read_value()]
            elif name in CLASS_NAMES and is_nested:
                self._read_class_names(key)
            elif is_nested and name in ROWS and not has_columns:
                yield from self._read_rows()
            elif is_nested and has_columns and is_known_column(key, *COLUMNS):
                is_answer = is_known_column(key, ANSWER)  # not checked here, because a clear prediction replaces it
                self._columns[key] = self._read_column(is_checked=not is_answer)
            elif has_columns or name in OTHER:
                self._reader.skip_value()
            else:
                yield from self._add(key, self._reader.read_value())
        yield from self._add_columns()

    def check_complete(self) -> None:
        """Raise InvalidUpload unless a file without file names has one value for each image."""
        if self._is_numbered and self._count != self._images:
            raise InvalidUpload(
                f"The JSON file has {self._count:,} values without file names. Expected {self._images:,}, one for each "
                "image of the data set, or a mapping of file names to classes.",
                field="chunk",
            )

    def to_rows(self) -> NamedRows:
        """Return the rows that were collected since the last block."""
        block, self._collector = self._collector, RowCollector()
        return block.to_rows(self._parser)

    def _has_columns(self) -> bool:
        """Return whether the keys of the document are columns, and one column has file names or image numbers.

        If another key comes before this column, a column of classes is also necessary: an image can be called `image`.
        """
        reader = JsonReader(self._reader.text, VALUES_PER_IMAGE * (self._images + MAX_WRONG))
        has_names = has_classes = has_others = False
        try:
            for _, key in zip(range(MAX_COLUMNS), reader.iterate(), strict=False):
                is_nested = reader.peek() in "[{"
                if is_known_column(key, FILE_NAME, NUMBER) and key.lower() not in OTHER:
                    has_names |= is_nested
                elif is_known_column(key, CLASS, ANSWER):
                    has_classes |= is_nested
                elif not is_known_column(key, PROBABILITY) and key.lower() not in OTHER:
                    has_others = True
                if has_names and (has_classes or not has_others):
                    return True
                reader.skip_value()
        except TooLarge:  # a mapping of file names to long lists
            pass
        return False

    def _read_rows(self) -> Iterator[NamedRows]:
        for key in self._reader.iterate():
            yield from self._add(key, self._reader.read_value())

    def _read_class_names(self, key: str) -> None:
        if self._has_indices:
            raise InvalidUpload(
                f"The list of class names {key!r} comes after classes that are indices. Write the list "
                "before the classes.",
                field="predicted_class",
            )
        self._class_names = read_class_names(self._reader, key)
        self._known_names = frozenset(self._class_names.values())

    def _read_column(self, is_checked: bool) -> list[Any]:
        """Return the values of a column: a list, or a mapping of row numbers."""
        values: list[Any] = []
        for _ in self._reader.iterate():
            values.append(self._reader.read_value())
            if is_checked:
                check_row_count(len(values), self._images)
                if isinstance(values[-1], dict):
                    raise InvalidUpload(COCO, field="chunk")
        return values

    def _add_columns(self) -> Iterator[NamedRows]:
        columns = self._columns
        if any(is_known_column(name, CLEAR_CLASS) for name in columns):
            columns = {name: values for name, values in columns.items() if not is_known_column(name, ANSWER)}
        lengths = {len(values) for values in columns.values()}
        if len(lengths) > 1:
            sizes = ", ".join(f"{name!r:.40} has {len(values):,}" for name, values in columns.items())
            raise InvalidUpload(
                f"The columns have different numbers of values: {sizes}. Write one value per image.", field="chunk"
            )
        for values in zip(*columns.values(), strict=True):
            yield from self._add(None, dict(zip(columns, values, strict=True)))

    def _add(self, key: str | None, value: Any) -> Iterator[NamedRows]:
        """Add a row, and yield a block if it is full."""
        number = self._count
        self._count += 1
        check_row_count(self._count, self._images)
        try:
            raw = self._to_record(key, value, number)
            if self._parser is None:
                self._parser = self._create_parser(raw)
            self._collector.add(number + 1, self._parser.parse(raw))
        except ValueError as error:
            self._collector.add_wrong(number + 1, str(error))
        if len(self._collector) >= BLOCK_ROWS:
            yield self.to_rows()

    def _to_record(self, key: str | None, value: Any, number: int) -> dict[str, Any]:
        """Return a row as an object. The row is a value from a mapping (with its key) or from an array."""
        if key is not None:
            if isinstance(value, dict) and any(is_known_column(name, CLASS, ANSWER) for name in value):
                return {NAME: key} | {
                    name: item for name, item in value.items() if not is_known_column(name, FILE_NAME)
                }
            return {NAME: key, VALUE: value}
        if self._keys and isinstance(value, list):
            return dict(zip(self._keys, value, strict=False))
        has_parser = self._parser is not None and not self._is_numbered
        if isinstance(value, dict) and (has_parser or any(is_known_column(key, FILE_NAME, NUMBER) for key in value)):
            return value
        self._is_numbered = self._parser is None or self._is_numbered
        return {"index": str(number), VALUE: value}

    def _create_parser(self, first: dict[str, Any]) -> RecordParser:
        columns = find_columns([*first], JSON_TERMS, has_scores=True)
        parser = RecordParser(columns, JSON_TERMS, self._num_classes, self._class_of_integer)
        if self._is_numbered:
            parser.assumptions = {"The JSON array has no file names; its values are in the order of the images.": None}
        return parser

    def _class_of_integer(self, index: int) -> str:
        """Return the class of an integer. If the file lists class names, it is a position or an ID in the list."""
        self._has_indices = True
        name = self._class_names.get(str(index))
        if name is None:
            if not self._class_names or str(index) in self._known_names:
                return str(index)
            raise ValueError(
                f"Class {index!s:.20} is not in the file's own list of {len(self._class_names):,} class names. "
                "Write all names, or remove the list."
            )
        assert self._parser is not None, "This is a bug: the parser parses the class."
        self._parser.assumptions["The classes are indices of the file's own list of class names."] = None
        return name
