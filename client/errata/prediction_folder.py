"""A folder of JSON files with predictions, read as one JSONL file.

A file with the result of one image is named after the image: `dog.json` or `val/dog.jpg.json`. A file can also contain
an array of objects that name their images.
"""

import json
import os
import re
import tempfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, cast

from errata.errors import InvalidInput, InvalidUpload, Violation
from errata.files import describe_read_error, read_file
from errata.json_input import parse_json

MAX_FILE_BYTES = 16 << 20
MAX_FILES = 2_000_000  # of all kinds, including those in subfolders
NAME_KEYS = ("file_name", "filename", "file_path", "filepath", "path", "image_path", "image")
CLASS_KEY = "prediction"
_LINE = re.compile(r"(?:^|(?<=\. ))Line (\d{1,9})(?=: )")  # of the first problem, in messages of the service
_FIRST_LINE = re.compile(r"(?:(?<=: )|(?<=which ))line (\d{1,9})(?= also names)")  # of a repeated name
_OTHER_FILE = re.compile(r"Line [\d,]+ of the ")  # such as "Line 3 of the subset file"


@contextmanager
def open_predictions(predictions: str | Path | BinaryIO) -> Iterator[str | Path | BinaryIO]:
    """Yield a temporary JSONL file if `predictions` is a folder; otherwise yield `predictions` unchanged.

    All files are read before the upload starts, so that an error names a file. In an InvalidUpload from the body of the
    `with` statement, the lines of the temporary file become names of files.

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
        files: list[tuple[int, str]] = []
        content.writelines(_read_lines(Path(predictions), files))
        content.seek(0)
        try:
            yield cast(BinaryIO, content)
        except InvalidUpload as error:
            if not _OTHER_FILE.match(error.message):
                _name_files(error, files)
            raise


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


def _name_files(error: InvalidUpload, files: Sequence[tuple[int, str]]) -> None:
    """Replace the lines in an error; `files` has the first line and the name of each file, and the end.

    The field of a violation becomes the file, because a violation without a line has its field as its place.
    """

    def place(line: int) -> str:
        if not 0 < line < files[-1][0]:  # text of a file that looks like a line
            return f"line {line}"
        index = bisect_right(files, line, key=itemgetter(0)) - 1
        first, name = files[index]
        is_only = files[index + 1][0] == first + 1
        return name if is_only else f"entry {line - first + 1} of {name}"

    def replace_line(match: re.Match[str]) -> str:
        return place(int(match[1]))

    error.message = _FIRST_LINE.sub(replace_line, _LINE.sub(replace_line, error.message, count=1))
    error.args = (error.message,)
    error.violations = tuple(
        Violation(
            violation.field if violation.line is None else place(violation.line),
            _FIRST_LINE.sub(replace_line, violation.description),
        )
        for violation in error.violations
    )


def _read_lines(folder: Path, files: list[tuple[int, str]]) -> Iterator[bytes]:
    """Yield the lines of the JSONL file; append the first line and the name of each file, and the end, to `files`."""
    line = 1
    for path in _find_files(folder):
        try:
            content = parse_json(read_file(path, MAX_FILE_BYTES))
        except OSError as error:
            raise InvalidInput(describe_read_error(path, error), field="predictions") from error
        except ValueError as error:
            raise InvalidInput(
                f"{path} is not JSON: {error!s:.200}. Correct or remove it.", field="predictions"
            ) from error
        name = path.relative_to(folder)
        files.append((line, name.as_posix()))
        for row in _rows_of(name.with_suffix("").as_posix(), content):
            line += 1
            yield json.dumps(row, ensure_ascii=False).encode(errors="replace") + b"\n"
    files.append((line, ""))


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
