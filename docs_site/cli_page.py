"""The reference of the command line, through mkdocs-click."""

import copy
import importlib
import inspect
import tomllib
from pathlib import Path

import click
from errata.cli.exit_codes import MEANINGS

from docs_site.tables import format_table

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = "**Examples**"

INTRODUCTION = """# Command line

`errata-client` installs the commands that only need a server. `errata-service` adds `serve`, `work`, `evidence`,
`dataset`, `taxonomy`, `demo`, and the option `--local`.

An analysis is given by its name (`analyses/ID`), its id, a unique prefix of the id, its display name, or a folder that
`--output` wrote. A bundle is given by a prefix of its digest or, with `--local`, by its path.

Results go to standard output, and progress goes to standard error. With `--json`, a command prints the API's message as
proto3 JSON and nothing else.

"""
SOURCE = """
This page is generated from the commands' own help.

"""


errata: click.Command  # a copy of the command, which mkdocs-click reads


def render() -> str:
    """Return the page as Markdown."""
    global errata
    errata = prepare(importlib.import_module(find_command().partition(":")[0]).errata)
    codes = format_table(("exit code", "meaning"), [(str(code), meaning) for code, meaning in MEANINGS.items()])
    return (
        INTRODUCTION
        + codes
        + SOURCE
        + "\n".join(
            (
                "::: mkdocs-click",
                f"    :module: {__name__}",
                "    :command: errata",
                "    :prog_name: errata",
                "    :style: table",
                "    :depth: 1",
                "    :list_subcommands: true",
                "",
            )
        )
    )


def find_command() -> str:
    """Return the entry point of the command, `MODULE:FUNCTION`, from the distribution that installs it."""
    for project in ("client/pyproject.toml", "pyproject.toml"):
        scripts = tomllib.loads((ROOT / project).read_text(encoding="utf-8"))["project"].get("scripts", {})
        if "errata" in scripts:
            return str(scripts["errata"])
    raise ValueError("No distribution installs the command 'errata'. Add it to [project.scripts] of a pyproject.toml.")


def prepare(command: click.Command) -> click.Command:
    """Return a copy of a command for mkdocs-click, which omits examples and prints unset defaults."""
    prepared = copy.deepcopy(command)
    examples = getattr(command, "examples", "").strip()
    if examples:
        lines = "\n".join(f"$ {line.strip()}" for line in examples.splitlines())
        prepared.help = f"{inspect.cleandoc(command.help or '')}\n\n{EXAMPLES}\n\n```console\n{lines}\n```"
    if isinstance(command, click.Group):
        context = click.Context(command)
        commands = {name: command.get_command(context, name) for name in command.list_commands(context)}
        subcommands = {name: prepare(subcommand) for name, subcommand in commands.items() if subcommand is not None}
        prepared = click.Group(command.name, subcommands, params=prepared.params, help=prepared.help)
    for option in prepared.get_params(click.Context(prepared)):
        option.default = option.to_info_dict().get("default")
    return prepared
