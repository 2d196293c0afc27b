"""Convert a Parquet file of labels to JSON lines, in a child process with limits.

Arrow can crash, loop, or exhaust the memory on a hostile file. The child process, `python -m
service.evidence.parquet_labels`, reads the file from standard input and writes one object per row.
"""

import io
import json
import resource
import signal
import subprocess
import sys
import tempfile
from typing import IO, Any

import structlog
from errata.errors import InvalidEvidence

from service.child_process import SINGLE_THREADED, child_environment, describe_exit, exit_at_once, lower_limits
from service.evidence.input_files import MAX_COLUMNS, SimilarNames

MAX_ROWS = 2_000_000
MAX_FOOTER = 4 << 20  # bytes
FOOTER_END = 8  # bytes: the length of the footer, and the signature
BATCH_ROWS = 8_192
MAX_OUTPUT = 512 << 20  # bytes of JSON lines
MAX_ADDRESS_SPACE = 4 << 30  # bytes
CPU_SECONDS = 30
TIMEOUT_SECONDS = 120.0
INVALID = 3  # exit status of an invalid file; standard error then has the problem
MAX_LOGGED = 300  # characters of standard error
_log = structlog.get_logger()
REMEDY = "Write the file again, with the columns file_name, target, labels, and problematic."


def to_json_lines(content: bytes, source: str) -> str:
    """Return the rows of a Parquet file as JSON lines.

    Args:
        content: The file.
        source: Name of the file, for messages.

    Raises:
        InvalidEvidence: The file is damaged or exceeds a limit, or a column is missing or has another type.
    """
    with tempfile.TemporaryFile() as output:
        try:
            child = _run(content, output)
            if child.returncode < 0 and child.returncode != -signal.SIGXCPU:
                # The file may not be the cause: the kernel can also kill a process because others use too much memory.
                child = _run(content, output)
        except subprocess.TimeoutExpired as error:
            raise _invalid(source, f"reading takes more than {TIMEOUT_SECONDS:.0f} s") from error
        if child.returncode:
            raise _invalid(source, _describe(child))
        output.seek(0)
        return output.read().decode()


def _run(content: bytes, output: IO[bytes]) -> subprocess.CompletedProcess[bytes]:
    output.seek(0)
    output.truncate()
    return subprocess.run(
        [sys.executable, "-m", "service.evidence.parquet_labels"],
        input=content,
        stdout=output,
        stderr=subprocess.PIPE,
        env=child_environment() | SINGLE_THREADED,
        timeout=TIMEOUT_SECONDS,
    )


def _describe(child: subprocess.CompletedProcess[bytes]) -> str:
    """Return the problem of a child process that failed."""
    text = child.stderr.decode(errors="replace").strip()
    if child.returncode == INVALID:
        return text
    cause = describe_exit(child.returncode)
    _log.warning("reader of Parquet files crashed", cause=cause, error=text.rpartition("\n")[2][:MAX_LOGGED])
    return f"it is damaged, or unpacks to too much (the reader ended with {cause})"


def _invalid(source: str, problem: str) -> InvalidEvidence:
    return InvalidEvidence(f"{source}: cannot read the Parquet file: {problem:.300}. {REMEDY}", field="labels")


def main() -> int:
    """Convert the file from standard input. Return the exit status."""
    lower_limits(
        {
            resource.RLIMIT_AS: MAX_ADDRESS_SPACE,
            resource.RLIMIT_CPU: CPU_SECONDS,
            resource.RLIMIT_FSIZE: MAX_OUTPUT,
            resource.RLIMIT_CORE: 0,
        }
    )
    from pyarrow import ArrowException

    try:
        _convert(sys.stdin.buffer.read())
    except MemoryError:
        sys.stderr.write("it unpacks to too much")
        return INVALID
    except (ArrowException, OSError, ValueError) as error:
        sys.stderr.write(str(error).partition("\n")[0] or type(error).__name__)
        return INVALID
    return 0


def _convert(content: bytes) -> None:
    """Write the rows to standard output.

    Raises:
        ValueError: The file exceeds a limit, or a column is missing or has another type.
    """
    import pyarrow as pa
    from pyarrow import parquet

    from service.evidence.label_rows import COLUMNS, REQUIRED, key_problem

    pa.set_cpu_count(1)
    if (size := int.from_bytes(content[-FOOTER_END:-4], "little")) > MAX_FOOTER:
        raise ValueError(f"its footer has {size:,} bytes, but at most {MAX_FOOTER:,} are allowed")
    file = parquet.ParquetFile(io.BytesIO(content))
    for count, limit, parts in (
        (file.metadata.num_rows, MAX_ROWS, "rows"),
        (file.metadata.num_columns, MAX_COLUMNS, "columns"),
    ):
        if count > limit:
            raise ValueError(f"it has {count:,} {parts}, but at most {limit:,} are allowed")
    schema = file.schema_arrow
    if problem := key_problem(schema.names, SimilarNames(COLUMNS), "column"):
        raise ValueError(problem)
    known = {name: column for column, aliases in COLUMNS.items() for name in (column, *aliases)}
    names = [name for name in schema.names if name in known]
    for column in REQUIRED:
        if column not in map(known.get, names):
            raise ValueError(f"it has no column '{column}'")
    for name in names:
        _check_type(known[name], schema.field(name).type)
    rows = 0
    for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=names, use_threads=False):
        if (rows := rows + batch.num_rows) > MAX_ROWS:
            raise ValueError(f"it has more than {MAX_ROWS:,} rows")
        for row in batch.to_pylist():
            sys.stdout.write(json.dumps(row, default=bytes.decode) + "\n")
    sys.stdout.flush()


def _check_type(name: str, kind: Any) -> None:
    """Raise ValueError if a column has an unexpected type."""
    from pyarrow import types

    value = kind.value_type if types.is_dictionary(kind) else kind
    is_list = types.is_list(value) or types.is_large_list(value)
    if name == "labels" and is_list:
        value = value.value_type
    is_text = types.is_string(value) or types.is_large_string(value)
    is_other, usable = {
        "file_name": (types.is_binary(value) or types.is_large_binary(value), "text"),
        "target": (types.is_integer(value), "text or integers"),
        "labels": (types.is_integer(value), "text, integers, or lists of them"),
        "problematic": (types.is_boolean(value) or types.is_null(value), "text or Boolean values"),
    }[name]
    if not (is_text or is_other):
        raise ValueError(f"the column '{name}' has the type {kind!s:.80}; use {usable}")


if __name__ == "__main__":
    exit_at_once(main())
