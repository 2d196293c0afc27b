"""The errata command: its subcommands, and the exit code of each error."""

import importlib
import os
import sys
import traceback
from typing import NoReturn

import click
from errata import errors
from errata.errors import ErrataError

DONE, GATE_FAILED, BAD_INPUT, UNAVAILABLE, ANALYSIS_FAILED, GATE_UNDECIDED, BUG, INTERRUPTED = 0, 1, 2, 3, 4, 5, 70, 130

COMMANDS = {
    "analyze": ("service.cli.analyze", "analyze", "judge a model or a predictions file"),
    "cancel": ("service.cli.analyses", "cancel", "cancel an analysis that is open"),
    "compare": ("service.cli.compare", "compare", "say what changed from one analysis to another"),
    "delete": ("service.cli.analyses", "delete", "delete an analysis that has ended"),
    "demo": ("service.cli.demo", "demo", "judge a real model on 20 photographs, here and now"),
    "evidence": ("service.cli.evidence", "evidence", "build, show and verify evidence bundles"),
    "explain": ("service.cli.analyses", "explain", "say what a prediction for one image means, and why"),
    "gate": ("service.cli.gate", "gate", "hold an analysis against a policy"),
    "health": ("service.cli.health", "health", "say whether a service answers: exit code 0 or 3"),
    "list": ("service.cli.analyses", "list_", "list analyses"),
    "reanalyze": ("service.cli.analyses", "reanalyze", "judge stored predictions with another bundle"),
    "report": ("service.cli.analyses", "report", "write the report of an analysis"),
    "retry": ("service.cli.analyses", "retry", "queue an analysis that has failed again"),
    "serve": ("service.cli.serve", "serve", "run the service"),
    "show": ("service.cli.analyses", "show", "show an analysis, or its verdicts"),
    "token": ("service.cli.token", "token", "make a bearer token and its line for ERRATA_TOKENS"),
    "trend": ("service.cli.trend", "trend", "say where analyses stand among models of their accuracy"),
    "wait": ("service.cli.analyses", "wait", "wait for the end of an analysis"),
    "work": ("service.cli.work", "work", "run a worker: it runs the models"),
    "taxonomy": ("service.cli.taxonomy", "taxonomy", "look at classes and superclasses"),
}


class Commands(click.Group):
    """Subcommands that are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][2]) for name in sorted(COMMANDS)])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="errata-service", prog_name="errata")
def errata() -> None:
    """Errata tells what kind of mistakes an image classifier makes, not just how many."""


def main() -> NoReturn:
    """Run a command and end with its exit code."""
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # else gRPC writes lines of its own between ours
    try:
        _check_text(sys.argv)
        code = errata.main(standalone_mode=False)
    except click.exceptions.Abort:
        code = INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except ErrataError as error:
        tell(error)
        code = exit_code(error)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:  # whoever read our output has enough
        sys.stderr.close()
        code = DONE
    except Exception:
        traceback.print_exc()
        click.echo("errata: this is a bug of Errata's: please report what stands above", err=True)
        code = BUG
    sys.exit(code if isinstance(code, int) else DONE)


def _check_text(arguments: list[str]) -> None:
    """Raise InvalidInput for an argument that isn't UTF-8: it can't be sent, and hardly be shown."""
    for argument in arguments:
        if not argument.isascii() and any("\ud800" <= character <= "\udfff" for character in argument):
            raise errors.InvalidInput(f"expected arguments in UTF-8, got {argument!a:.80}", field="arguments")


def exit_code(error: ErrataError) -> int:
    """Return the exit code of an error."""
    match error:
        case errors.Unavailable() | errors.TooBusy():
            return UNAVAILABLE
        case errors.PermanentError() | errors.Cancelled():
            return ANALYSIS_FAILED
        case errors.InvalidInput() | errors.NotFound() | errors.AlreadyExists() | errors.NotReady() | errors.TooLarge():
            return BAD_INPUT
        case errors.Unauthenticated() | errors.PermissionDenied():
            return BAD_INPUT
        case _:
            return UNAVAILABLE


def tell(error: ErrataError) -> None:
    """Write an error to stderr: what is wrong, and where."""
    click.echo(f"errata: {error.message}", err=True)
    for violation in error.violations:
        if violation.description not in error.message:
            where = violation.field if violation.line is None else f"line {violation.line}"
            click.echo(f"  {where}: {violation.description}", err=True)
    if error.request_id and exit_code(error) == UNAVAILABLE:
        click.echo(f"  the service's log has it under the request {error.request_id}", err=True)
