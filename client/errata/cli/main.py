"""The entry point of the `errata` command: its commands, its exit codes, and how errors are printed."""

import errno
import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

import click

from errata import errors
from errata.cli.commands import Entry, LazyGroup
from errata.cli.exit_codes import BAD_INPUT, BUG, INTERRUPTED, SUCCESS, UNAVAILABLE, exit_code_of
from errata.cli.output import without_controls
from errata.connection import ConnectionFailed
from errata.errors import ErrataError

COMMANDS = {
    "analyze": Entry("analyze a model or a predictions file", "errata.cli.analyze", "analyze"),
    "audit": Entry("show who changed analyses and evidence", "errata.cli.audit", "audit"),
    "cancel": Entry("cancel a queued or running analysis", "errata.cli.lifecycle", "cancel"),
    "classes": Entry("list the classes of a data set", "errata.cli.classes", "classes"),
    "compare": Entry("compare two analyses", "errata.cli.compare", "compare"),
    "dataset": Entry("check the files of your own data set, and propose superclasses"),
    "delete": Entry("delete a finished analysis", "errata.cli.lifecycle", "delete"),
    "demo": Entry("analyze a model on 20 photographs, without a server"),
    "evidence": Entry("build, show, and verify evidence bundles"),
    "explain": Entry("explain the verdict on one image", "errata.cli.explain", "explain"),
    "gate": Entry("evaluate an analysis against a gate policy", "errata.cli.gate", "gate"),
    "health": Entry("check that a service accepts calls", "errata.cli.health", "health"),
    "images": Entry("list the images of an analysis", "errata.cli.images", "images"),
    "list": Entry("list analyses", "errata.cli.list", "list_analyses"),
    "reanalyze": Entry("repeat an analysis with other evidence", "errata.cli.lifecycle", "reanalyze"),
    "report": Entry("write the HTML report of an analysis", "errata.cli.report", "report"),
    "retry": Entry("queue a failed analysis again", "errata.cli.lifecycle", "retry"),
    "review": Entry("review the labels of images", "errata.cli.review", "review"),
    "serve": Entry("run the service"),
    "show": Entry("show an analysis or its verdicts", "errata.cli.show", "show"),
    "taxonomy": Entry("show the classes and superclasses of ImageNet"),
    "token": Entry("create a bearer token for a service", "errata.cli.token", "token"),
    "trend": Entry("compare analyses with models of the same accuracy", "errata.cli.trend", "trend"),
    "wait": Entry("wait until an analysis has finished", "errata.cli.lifecycle", "wait"),
    "work": Entry("run a worker, which runs models"),
}
EXAMPLES = """
errata analyze --predictions predictions.csv --server errata.example:443
errata list --dataset imagenet-real --limit 10
errata report predictions.csv --output report.html
errata COMMAND --help
"""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # of writes to stdout; errors of files are InvalidInput
INACCESSIBLE = (errno.ENAMETOOLONG, errno.EACCES)  # of arguments that are not paths, such as a long model ID
COMPLETE_VARIABLE = "_ERRATA_COMPLETE"  # click reads it
HINTS: dict[type[ErrataError], str] = {
    ConnectionFailed: "Set the address of the service with --server or ERRATA_SERVER. With --local, most commands "
    "need no service.",
    errors.TokenMissing: "Set ERRATA_TOKEN to a token of this service. 'errata token' creates one.",
    errors.TokenUnknown: "Check the value of ERRATA_TOKEN. 'errata token' creates a token.",
    errors.PermissionDenied: "Set ERRATA_TOKEN to a token with the required scope.",
    errors.CertificateMissing: "Set ERRATA_CLIENT_CERTIFICATE and ERRATA_CLIENT_KEY to the files of a certificate.",
}


class ClosedPipe(Exception):
    """Raised when the reader of standard output has ended, for example `head`."""


class Errata(LazyGroup):
    """The top-level group. It handles closed pipes, because click would exit with 1, the code of a failed gate."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the arguments of the group. `--help` and `--version` write their text here and end the command."""
        try:
            return super().make_context(*args, **kwargs)
        except BrokenPipeError as error:
            raise ClosedPipe from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command and write all of its output."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except BrokenPipeError as error:
            raise ClosedPipe from error


@click.group(cls=Errata, entries=COMMANDS, examples=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="errata-client", prog_name="errata")
def errata() -> None:
    """Classify the errors of image classifiers: which are label noise, minor, explainable, or severe.

    Commands that take an ANALYSIS accept its ID, the start of its ID, its display name, or a folder that
    'errata analyze --output' wrote. ERRATA_SERVER and ERRATA_TOKEN set the service and its token.
    """


def main() -> NoReturn:
    """Run a command and exit with its code."""
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # gRPC writes its own log lines to stderr
    _open_missing_streams()
    _replace_unencodable_characters()
    try:
        code = run(sys.argv[1:])
    except ClosedPipe:
        _exit_by_sigpipe()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run a command. The exit code is the same if stderr is full or closed, so that no message is possible.

    Args:
        arguments: The command line without the name of the program.

    Returns:
        The exit code.

    Raises:
        ClosedPipe: The reader of standard output has ended.
    """
    try:
        _check_encoding(arguments)
        code = errata.main(list(arguments), prog_name="errata", complete_var=COMPLETE_VARIABLE, standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except click.ClickException as error:
        with suppress(OSError):
            error.show()
        return error.exit_code
    except ErrataError as error:
        if COMPLETE_VARIABLE not in os.environ:  # during a completion, messages would appear at the shell's prompt
            with suppress(OSError):
                print_error(error)
        return exit_code_of(error)
    except ClosedPipe:
        raise
    except Exception as error:
        return _print_unexpected(error)
    return code if isinstance(code, int) else SUCCESS


def _print_unexpected(error: Exception) -> int:
    """Write an error of Python or of the system to stderr, and return the exit code."""
    if isinstance(error, OSError) and error.errno in FULL:
        with suppress(OSError):
            click.echo(f"errata: Cannot write to stdout: {os.strerror(error.errno)}.", err=True)
        _discard_stdout()
        return BAD_INPUT
    if isinstance(error, OSError) and error.errno in INACCESSIBLE and error.filename is not None:
        text = f"errata: Cannot access {str(error.filename)!r:.200}: {os.strerror(error.errno)}. Check the arguments."
        with suppress(OSError):
            click.echo(text, err=True)
        return BAD_INPUT
    with suppress(OSError):
        traceback.print_exception(error)
        click.echo("errata: This is a bug in Errata. Report it with the traceback above.", err=True)
    return BUG


def print_error(error: ErrataError) -> None:
    """Write an error to stderr: the problem, its places in the input, and the remedy."""
    click.echo(without_controls(f"errata: {error.message}"), err=True)
    places: dict[str, list[str]] = {}
    for violation in error.unstated_violations:
        place = violation.place
        if violation.line is not None and isinstance(error, errors.InvalidPolicy):  # a line can have several fields
            place = f"{place}, {violation.field}"
        places.setdefault(violation.description, []).append(place)
    for description, names in places.items():
        problem = "the same" if description in error.message else description
        click.echo(without_controls(f"  {', '.join(names)}: {problem}"), err=True)
    hint = HINTS.get(type(error))
    if hint is not None:
        click.echo(f"  {hint}", err=True)
    if error.request_id and exit_code_of(error) == UNAVAILABLE and not isinstance(error, ConnectionFailed):
        click.echo(f"  For details, search the log of the service for the request ID {error.request_id}.", err=True)


def _check_encoding(arguments: Sequence[str]) -> None:
    """Raise InvalidInput for an argument that is not UTF-8."""
    for argument in arguments:
        if not argument.isascii() and any("\ud800" <= character <= "\udfff" for character in argument):
            raise errors.InvalidInput(
                f"Argument {argument!a:.80} is not UTF-8. Rename it, or use a UTF-8 locale.", field="arguments"
            )


def _open_missing_streams() -> None:
    """Open /dev/null for standard streams that the caller closed, so that no file or socket gets their descriptor."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    sys.stdout = sys.stdout or open(1, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w")  # noqa: SIM115


def _replace_unencodable_characters() -> None:
    """Print `?` for characters that the encoding of the terminal lacks, instead of ending with an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _discard_stdout() -> None:
    """Discard unwritten output, because Python flushes stdout once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _exit_by_sigpipe() -> NoReturn:
    """End as other Unix tools do when the reader of their output has ended: by SIGPIPE, which shells show as 141."""
    _discard_stdout()
    if hasattr(signal, "SIGPIPE"):  # not on Windows
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)
    sys.exit(141)
