"""The errata command in this process: without the start of an interpreter, and its code counts as covered.

Tests of signals, pipes, start-up, and the installed command run it in a process of its own.
"""

import io
import logging
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import structlog
from errata.cli.main import run

Done = subprocess.CompletedProcess[str]


def run_command(arguments: Sequence[str], environment: Mapping[str, str]) -> Done:
    """Run the command with these environment variables; return its exit code and its output."""
    stdout, stderr = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with _variables(environment), _logging(), redirect_stdout(stdout), redirect_stderr(stderr):
        code = run(arguments)
    return Done(list(arguments), code, _text(stdout), _text(stderr))


def _text(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()


@contextmanager
def _variables(environment: Mapping[str, str]) -> Iterator[None]:
    """Replace the environment variables of this process."""
    before = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(environment)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _logging() -> Iterator[None]:
    """Restore the configuration of the loggers, which commands with --local change."""
    structured, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        structlog.configure(**structured)
        root.handlers[:] = handlers
        root.setLevel(level)
