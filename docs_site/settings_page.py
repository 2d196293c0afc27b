"""The reference of settings, from service.settings."""

from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from docs_site.tables import as_sentence, format_table
from service.settings import PREFIX, RegistrySettings, RuleSettings, Settings

INTRODUCTION = """# Settings

Errata reads its settings from environment variables. Commands that only need a server read `ERRATA_SERVER`,
`ERRATA_TOKEN`, `ERRATA_TLS`, `ERRATA_CA_FILE`, `ERRATA_CLIENT_CERTIFICATE`, and `ERRATA_CLIENT_KEY`. The service and
its workers read the others. An unknown `ERRATA_` variable stops the start, and the error names the most similar one.

This page is generated from `service/settings.py`.

"""
REGISTRIES = """
## Registry settings

`ERRATA_REGISTRIES` is a JSON object. Each key is the id of a registry, and each value has these fields. See
[Model registries](../how-to/registries.md) for examples.

"""
RULES = """
## Rule settings

Each element of a registry's `rules` has these fields.

"""
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def render() -> str:
    """Return the page as Markdown."""
    rows = [
        (
            f'<span id="{variable.lower()}"></span>`{variable}`',
            as_sentence(field.description or ""),
            _describe_type(field),
            _describe_default(name, field),
        )
        for name, field in Settings.model_fields.items()
        for variable in [PREFIX + name.upper()]
    ]
    header = ("variable", "meaning", "type", "default")
    return (
        INTRODUCTION
        + format_table(header, rows)
        + REGISTRIES
        + _render_fields(RegistrySettings.model_fields)
        + RULES
        + _render_fields(RuleSettings.model_fields)
    )


def _render_fields(fields: dict[str, FieldInfo]) -> str:
    rows = [
        (f"`{name}`", as_sentence(field.description or ""), _describe_type(field), _describe_default(name, field))
        for name, field in fields.items()
    ]
    return format_table(("field", "meaning", "type", "default"), rows)


def _describe_type(field: FieldInfo) -> str:
    text = _name_type(field.annotation)
    bounds = [
        f"{sign} {getattr(constraint, key):,}"
        for constraint in field.metadata
        for key, sign in BOUNDS.items()
        if getattr(constraint, key, None) is not None
    ]
    return f"{text}, {', '.join(bounds)}" if bounds else text


def _name_type(annotation: Any) -> str:
    names = {int: "integer", float: "number", bool: "boolean", str: "text", Path: "path", SecretStr: "secret"}
    text = str(annotation)
    if annotation in names:
        return names[annotation]
    if text.startswith("typing.Literal"):
        return "one of " + ", ".join(f"`{value}`" for value in annotation.__args__ if value)
    if text.startswith("dict"):
        return "JSON object"
    if text.startswith("list"):
        return "JSON list"
    for kind, name in names.items():  # an optional value
        if kind in getattr(annotation, "__args__", ()):
            return name
    raise ValueError(f"Setting of an unknown type {text}. Add its name to docs_site/settings_page.py.")


def _describe_default(name: str, field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if name == "data_dir":
        return "`$XDG_DATA_HOME/errata` or `~/.local/share/errata`"
    default = field.get_default(call_default_factory=True)
    if default in (None, "", [], {}):
        return "none"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, list):
        return "`" + str(default).replace("'", '"') + "`"
    return f"`{default}`"
