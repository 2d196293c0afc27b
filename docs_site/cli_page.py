"""The reference of the command line, through mkdocs-click."""

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


def render() -> str:
    """Return the page as Markdown."""
    module = find_command().partition(":")[0]
    prepare(importlib.import_module(module).errata)
    codes = format_table(("exit code", "meaning"), [(str(code), meaning) for code, meaning in MEANINGS.items()])
    return (
        INTRODUCTION
        + codes
        + SOURCE
        + "\n".join(
            (
                "::: mkdocs-click",
                f"    :module: {module}",
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


def prepare(command: click.Command) -> None:
    """Adapt a command and its subcommands to mkdocs-click, which omits examples and prints unset defaults."""
    for option in command.get_params(click.Context(command)):
        option.default = option.to_info_dict().get("default")
    examples = getattr(command, "examples", "").strip()
    if examples and EXAMPLES not in (command.help or ""):
        lines = "\n".join(f"$ {line.strip()}" for line in examples.splitlines())
        command.help = f"{inspect.cleandoc(command.help or '')}\n\n{EXAMPLES}\n\n```console\n{lines}\n```"
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            subcommand = command.get_command(context, name)
            if subcommand is not None:
                prepare(subcommand)
