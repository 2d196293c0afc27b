"""A folder of JSON files with predictions, read as one JSONL file.

A file with the result of one image is named after the image: `dog.json` or `val/dog.jpg.json`. A file can also contain
an array of objects that name their images.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from errata.errors import InvalidInput
from errata.files import read_file
from errata.json_input import parse_json

MAX_FILE_BYTES = 16 << 20
MAX_FILES = 2_000_000  # of all kinds, including those in subfolders
NAME_KEYS = ("file_name", "filename", "file_path", "filepath", "path", "image_path", "image")
CLASS_KEY = "prediction"


@contextmanager
def open_predictions(predictions: str | Path | BinaryIO) -> Iterator[str | Path | BinaryIO]:
    """Yield a temporary JSONL file if `predictions` is a folder; otherwise yield `predictions` unchanged.

    All files are read before the upload starts, so that an error names a file.

    Raises:
        InvalidInput: The folder has no JSON files, or one of them is damaged; or `predictions` has another type.
    """
    if not isinstance(predictions, str | Path) and not hasattr(predictions, "read"):
        raise InvalidInput(
            f"The predictions have the type {type(predictions).__name__}. Pass the path of a file, or a binary stream "
            "such as io.BytesIO.",
            field="predictions",
        )
    if not isinstance(predictions, str | Path) or not Path(predictions).is_dir():
        yield predictions
        return
    with tempfile.TemporaryFile() as content:
        content.writelines(_read_lines(Path(predictions)))
        content.seek(0)
        yield cast(BinaryIO, content)


def _find_files(folder: Path) -> list[Path]:
    files: list[Path] = []
    count = 0
    for parent, _, names in os.walk(folder):
        count += len(names)
        if count > MAX_FILES:
            raise InvalidInput(
                f"The folder {folder} has more than {MAX_FILES:,} files. Choose the folder of the JSON files.",
                field="predictions",
            )
        files += [Path(parent, name) for name in names if name.endswith(".json")]
    if not files:
        raise InvalidInput(
            f"The folder {folder} has no JSON files. Expected one file per image, or choose a predictions file.",
            field="predictions",
        )
    return sorted(files)


def _read_lines(folder: Path) -> Iterator[bytes]:
    for path in _find_files(folder):
        try:
            content = parse_json(read_file(path, MAX_FILE_BYTES))
        except OSError as error:
            raise InvalidInput(f"Cannot read {path}: {error.strerror}.", field="predictions") from error
        except ValueError as error:
            raise InvalidInput(
                f"{path} is not JSON: {error!s:.200}. Correct or remove it.", field="predictions"
            ) from error
        for row in _rows_of(path.relative_to(folder).with_suffix("").as_posix(), content):
            yield json.dumps(row, ensure_ascii=False).encode(errors="replace") + b"\n"


def _rows_of(name: str, content: Any) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file: its objects that name their images, or its content as the result of one image."""
    values = content if isinstance(content, list) and content and all(map(_image_of, content)) else [content]
    for value in values:
        yield {"file_name": _image_of(value) or name, CLASS_KEY: value}


def _image_of(value: Any) -> str:
    """Return the name of the image in an object; empty if the object names no image."""
    if not isinstance(value, dict):
        return ""
    keys = {str(key).lower(): key for key in value}
    names = (value[keys[key]] for key in NAME_KEYS if key in keys)
    return next((name for name in names if isinstance(name, str)), "")
