"""Kept: what is read from a record that another version may have written.

A record has a schema's number. A field that is added, with a default, leaves the number as it is: older versions read
over it, newer ones do without. What older versions would misunderstand gets the next number, and they refuse it.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from service.errors import NewerRecord


def known_fields(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that a record of this kind has a field for."""
    return {each.name: values[each.name] for each in fields(kind) if each.name in values}


def check_schema(what: str, found: object, newest: int) -> None:
    """Raise NewerRecord for a schema that comes after the newest known one, ValueError for what is none."""
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise ValueError(f"{what}: expected schema {newest}, got {found!r:.40}")
    if found > newest:
        raise NewerRecord(
            f"{what}: expected schema {newest} at most, got {found}: a newer version of Errata wrote it, and reads it"
        )
