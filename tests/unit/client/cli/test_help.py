"""Every command has a help text with examples that its own options accept."""

import shlex
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner
from errata.cli.main import COMMANDS, errata


def all_commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from all_commands(command, (*path, name))


EVERY = dict(all_commands(errata))


def examples(text: str) -> list[str]:
    return [line.strip() for line in text.partition("\nExamples:\n")[2].splitlines() if line.strip()]


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_the_help_of_a_command_has_examples(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(errata, [*path, "--help"])

    assert result.exit_code == 0
    lines = examples(result.output)
    assert lines
    for line in lines:
        words = shlex.split(line, comments=True)
        assert "errata" in words, line


@pytest.mark.parametrize("path", [path for path, command in EVERY.items() if not isinstance(command, click.Group)])
def test_the_examples_are_accepted(path: tuple[str, ...]) -> None:
    command = EVERY[path]
    text = CliRunner().invoke(errata, [*path, "--help"]).output
    for line in examples(text):
        for part in line.split("&&"):
            words = shlex.split(part)
            arguments = words[words.index("errata") + 1 :]
            if tuple(arguments[: len(path)]) != path:
                continue
            options = arguments[len(path) :]
            end = next((number for number, word in enumerate(options) if word.startswith((">", "2>"))), len(options))
            command.make_context(path[-1], options[:end])


def test_the_overview_lists_all_commands_with_their_help() -> None:
    text = CliRunner().invoke(errata, ["--help"]).output

    for name, entry in COMMANDS.items():
        assert f"  {name} " in text
        assert entry.help.split(",")[0] in " ".join(text.split())


def test_command_names_are_completed_without_imports() -> None:
    completions = errata.shell_complete(click.Context(errata), "re")

    assert [completion.value for completion in completions] == ["reanalyze", "report", "retry", "review"]
