"""Classes of commands: groups that import their commands when needed, and an Examples section in `--help`."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from errata.cli.extensions import COMMANDS_GROUP, load_extension
from errata.imports import without_garbage_collection


class _WithExamples:
    """Adds a section with examples to the help of a command."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, one per line."""
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples.strip().splitlines():
                    formatter.write(f"{'':{formatter.current_indent}}{line.strip()}\n")


class CommandWithExamples(_WithExamples, click.Command):
    """A command with examples in its help."""


class GroupWithExamples(_WithExamples, click.Group):
    """A group with examples in its help."""

    command_class = CommandWithExamples


def command(name: str | None = None, *, examples: str) -> Callable[[Callable[..., Any]], CommandWithExamples]:
    """Return a decorator that makes a function a command.

    Args:
        name: Name of the command; default: the name of the function.
        examples: Command lines, one per line.
    """
    return click.command(name, cls=CommandWithExamples, examples=examples)


class FilePath(click.Path):
    """The type of options that are paths. Empty text, as from an unset shell variable, is an error."""

    def __init__(self, path_type: type[Path | str] = Path) -> None:
        super().__init__(path_type=path_type)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a path; fail for empty text."""
        if value == "":
            self.fail("The path is empty. Expected the path of a file or folder.", param, ctx)
        return super().convert(value, param, ctx)


@dataclass(frozen=True)
class Entry:
    """The module that defines a command, and its line in the help of the group."""

    help: str
    module: str = ""  # empty if the package errata-service provides the command
    attribute: str = ""


class LazyGroup(GroupWithExamples):
    """A group that imports a command when it is used; the help needs no imports."""

    def __init__(self, *args: Any, entries: Mapping[str, Entry], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(self._entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command.

        Raises:
            InvalidInput: The command needs errata-service, which is not installed.
        """
        entry = self._entries.get(cmd_name)
        if entry is None:
            return None
        with without_garbage_collection():
            if entry.module:
                result = getattr(importlib.import_module(entry.module), entry.attribute)
            else:
                result = load_extension(COMMANDS_GROUP, cmd_name, f"'errata {cmd_name}'")
        assert isinstance(result, click.Command), f"this is a bug: {cmd_name} is not a command"
        return result

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands."""
        for title, has_module in (("Commands", True), ("Commands of errata-service", False)):
            rows = [
                (name, entry.help) for name, entry in sorted(self._entries.items()) if bool(entry.module) == has_module
            ]
            with formatter.section(title):
                formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the completions of a command's name, without imports."""
        names = [
            CompletionItem(name, help=entry.help)
            for name, entry in sorted(self._entries.items())
            if name.startswith(incomplete)
        ]
        return names or super().shell_complete(ctx, incomplete)
