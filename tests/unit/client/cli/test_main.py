"""Exit codes and error messages of the command, and commands without errata-service."""

import errno
import importlib.metadata
import io
import os
import sys

import click
import pytest
from errata import errors
from errata.cli.exit_codes import exit_code_of
from errata.cli.main import errata, print_error, run
from errata.connection import ConnectionFailed
from errata.errors import ErrataError, Violation


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidRow("x"), 2),
        (errors.AnalysisNotFound("x"), 2),
        (errors.TokenMissing("x"), 2),
        (errors.NotReady("x"), 2),
        (errors.TooLarge("x"), 2),
        (ConnectionFailed("x"), 3),
        (errors.TooBusy("x"), 3),
        (ErrataError("x"), 3),
        (errors.Cancelled("x"), 4),
        (errors.ModelRefused("x"), 4),
    ],
)
def test_an_error_has_an_exit_code(error: ErrataError, code: int) -> None:
    assert exit_code_of(error) == code


def test_violations_are_listed_with_their_places(capsys: pytest.CaptureFixture[str]) -> None:
    violations = [Violation("top1", "not a class", line=3), Violation("dataset", "unknown")]

    print_error(errors.InvalidRow("2 problems", violations=violations))

    assert capsys.readouterr().err.splitlines() == ["errata: 2 problems", "  line 3: not a class", "  dataset: unknown"]


def test_the_lines_of_equal_violations_are_listed_although_the_message_has_their_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    violations = [Violation("predicted_class", "Unknown class 'cta'.", line=line) for line in (2, 7, 9)]
    violations += [Violation("predicted_class", "Unknown class 'x'.", line=line) for line in (10, 11)]

    print_error(errors.InvalidRow("Line 2: Unknown class 'cta'. (and 4 more errors)", violations=violations))

    assert capsys.readouterr().err.splitlines()[1:] == [
        "  line 7, line 9: the same",
        "  line 10, line 11: Unknown class 'x'.",
    ]


def test_an_error_of_the_service_names_the_request_and_a_failed_connection_does_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for error in (errors.Unavailable("the archive could not be written"), ConnectionFailed("No service")):
        error.request_id = "abc123"
        print_error(error)

    assert capsys.readouterr().err.count("abc123") == 1


@pytest.mark.parametrize("arguments", [["serve"], ["work", "--help"], ["evidence", "show", "x"]])
def test_a_command_without_its_package_names_the_package(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: ())

    assert run(arguments) == 2
    remedy = "Install it from a checkout (pip install ./client .), or from your package index."
    assert capsys.readouterr().err == f"errata: 'errata {arguments[0]}' needs errata-service. {remedy}\n"


def test_an_unknown_command_and_a_surrogate_are_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["no-such-command"]) == 2
    assert run(["show", "\udce4"]) == 2
    assert "not UTF-8" in capsys.readouterr().err


class FullStream(io.StringIO):
    """A stream on a full disk."""

    def write(self, text: str, /) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("stderr", [io.StringIO, FullStream])
@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OSError(errno.ENAMETOOLONG, "x", "a" * 300), 2, "errata: Cannot access 'aaa"),
        (OSError(errno.ENODEV, "No such device"), 70, "No such device\nerrata: This is a bug in Errata."),
        (OSError(errno.EACCES, "Permission denied"), 70, "errata: This is a bug in Errata."),
        (ValueError("x"), 70, "ValueError: x\nerrata: This is a bug in Errata."),
        (errors.InvalidInput("x"), 2, "errata: x"),
        (click.UsageError("x"), 2, "Error: x"),
    ],
)
def test_each_error_has_a_message_and_the_same_exit_code_without_stderr(
    stderr: type[io.StringIO], error: Exception, code: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    stream = stderr()
    monkeypatch.setattr(errata, "main", fail)
    monkeypatch.setattr(sys, "stderr", stream)

    assert run(["show", "x"]) == code
    assert message in stream.getvalue() or stderr is FullStream


def test_a_predictions_file_with_a_long_name_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["analyze", "--predictions", "a" * 300]) == 2
    assert "aaa" in capsys.readouterr().err
