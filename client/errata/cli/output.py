"""Files that options name: input files, and results at the path of --output or on stdout.

This module does not use rich, because importing rich takes 40 ms.
"""

import errno
import os
import re
import sys
from pathlib import Path

import click

from errata.cli.commands import FilePath
from errata.errors import InvalidInput, InvalidRequest
from errata.files import describe_read_error, read_file, write_file

STDOUT = Path("-")
PIPE_WIDTH = 1 << 16  # columns of output that is not shown in a terminal, so that no line is wrapped
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def print_path(label: str, path: Path) -> None:
    """Write a path to stderr on one line, so that it can be copied."""
    click.echo(f"{label}: {one_line(str(path))}", err=True)


def without_controls(text: str) -> str:
    """Return text without characters that control a terminal, except for tabs and line breaks."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def read_input(file: Path, limit: int, option: str) -> bytes:
    """Return the content of a file.

    Args:
        file: The file.
        limit: Maximum size in bytes.
        option: The option or argument that names the file.

    Raises:
        InvalidInput: The file cannot be read, or is too large.
    """
    try:
        return read_file(file, limit)
    except OSError as error:
        raise InvalidInput(describe_read_error(file, error), field=option) from error


def read_text(file: Path, limit: int, option: str) -> str:
    """Return the text of a file; raise InvalidInput if `read_input` does, or if the file is not UTF-8."""
    content = read_input(file, limit, option)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InvalidInput(f"{file} is not UTF-8 text: see line {line}. Save it as UTF-8.", field=option) from error


def report_path(output: str | None, default_name: str, as_json: bool) -> Path | None:
    """Return the path of the file for an HTML report; see `output_path`.

    Raises:
        InvalidRequest: The report and the JSON would both go to stdout.
    """
    if output == str(STDOUT) and as_json:
        raise InvalidRequest("--output - and --json both write to stdout. Use one of them.", field="output")
    return None if output is None else output_path(output, default_name)


def check_outputs(as_json: bool, *paths: Path | None) -> None:
    """Raise InvalidRequest if several documents would be written to stdout or to one file; `-` and --json: stdout."""
    if as_json + paths.count(STDOUT) > 1:
        raise InvalidRequest(
            "Several documents would be written to stdout. Use one of --json and the options with -, or name a file.",
            field="output",
        )
    files = [os.path.realpath(path) for path in paths if path not in (None, STDOUT)]
    files = [file for file in files if os.path.isfile(file) or not os.path.exists(file)]  # not pipes
    if len(set(files)) < len(files):
        raise InvalidRequest(
            f"Several documents would be written to {files[0]!r:.200}. Name two files.", field="output"
        )


report_option = click.option(
    "--output",
    type=FilePath(str),
    metavar="PATH",
    help="The HTML file to write, or a folder for it; '-' for stdout.",
)


def output_path(output: str, default_name: str) -> Path:
    """Return the path of the output file.

    Args:
        output: The value of --output: a file, `-`, or a folder, which exists or ends with a slash.
        default_name: The name of the file in a folder.
    """
    path = Path(output)
    is_folder = output.endswith("/") or path.is_dir()
    return path / default_name if is_folder else path


def write_output(path: Path, content: bytes) -> None:
    """Write a result to a file, or to stdout for `-`.

    Replace a regular file, or the target of a symbolic link. Write to a device or pipe without replacing it.

    Raises:
        InvalidInput: The file cannot be written.
    """
    if path == STDOUT:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    try:
        target = resolve_path(path)
        if target.exists() and not target.is_file():
            with target.open("wb") as stream:
                stream.write(content)
        else:
            write_file(target, content)
    except OSError as error:
        raise InvalidInput(f"Cannot write {path}: {os.strerror(error.errno or 0)}.", field="output") from error


def resolve_path(path: Path) -> Path:
    """Return a path without symbolic links; raise InvalidInput for a loop of them."""
    try:
        return path.resolve()
    except RuntimeError as error:  # Python before 3.13 raises it
        raise InvalidInput(f"Cannot write {path}: {os.strerror(errno.ELOOP)}.", field="output") from error


def one_line(text: str) -> str:
    """Return text without characters that control a terminal, and with spaces instead of line breaks."""
    return without_controls(text).replace("\n", " ")
