"""Analyses by name, by the start of their ID, by display name, or by a folder."""

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import click

from errata import Client, pb
from errata.cli.folder import is_folder, read_name
from errata.cli.output import one_line
from errata.cli.value_names import creation_time
from errata.connection import ConnectionFailed
from errata.errors import AnalysisNotFound, InvalidRequest, Unavailable
from errata.names import ANALYSES, dataset_id

MAX_CANDIDATES = 10
INCOMPLETE = "Analyses can be missing: the service is building its index, or cannot read the archive or the job store."
_ID = re.compile(r"[01][0-9a-hjkmnp-tv-z]{20}")  # milliseconds and 60 random bits in Crockford's base 32
_ID_PREFIX = re.compile(r"[0-9a-z]{1,21}")


def resolve(client: Client, analysis: str, unique: bool = False) -> str:
    """Return the name of an analysis. If several have the display name, return the newest one and print a note.

    Args:
        client: The service that has the analysis.
        analysis: A name `analyses/ID`, an ID, the start of an ID, a display name, or a folder that --output wrote.
        unique: Whether only one analysis may have the display name, because the command cannot be undone.

    Raises:
        AnalysisNotFound: No analysis matches.
        InvalidRequest: Several analyses match, and `unique` is true or one of them matches by its ID. The message lists
            them.
        Unavailable: Analyses that match can be missing.
    """
    if is_folder(analysis):
        return read_name(Path(analysis))
    identifier = analysis.removeprefix(ANALYSES)
    if _ID.fullmatch(identifier):
        return ANALYSES + identifier
    try:
        matches = {match.name: match for match in islice(_matches(client, analysis, identifier), MAX_CANDIDATES + 1)}
    except ConnectionFailed as error:
        if "/" not in identifier and not os.path.isdir(analysis):  # Path.is_dir raises an error for long names
            raise
        raise ConnectionFailed(
            f"{analysis!r:.200} is not a folder that 'errata analyze --output' wrote. {error.message}"
        ) from error
    if not matches:
        raise AnalysisNotFound(
            f"Analysis {analysis!r:.200} not found. 'errata list' shows all analyses.", field="analysis"
        )
    if len(matches) > 1 and (unique or any(match.display_name != analysis for match in matches.values())):
        listed = [_describe(match) for match in list(matches.values())[:MAX_CANDIDATES]]
        more = ["  …"] if len(matches) > MAX_CANDIDATES else []
        raise InvalidRequest(
            "\n".join([f"Several analyses match {analysis!r:.200}. Use the ID of one of them:", *listed, *more])
        )
    newest = next(iter(matches))  # services list the newest analyses first
    if len(matches) > 1:
        count = str(len(matches)) if len(matches) <= MAX_CANDIDATES else f"more than {MAX_CANDIDATES}"
        identifier = newest.removeprefix(ANALYSES)
        click.echo(
            one_line(f"{analysis!r:.200} is the newest of {count} analyses with this name: {identifier}"), err=True
        )
    return newest


def _matches(client: Client, analysis: str, identifier: str) -> Iterator[pb.Analysis]:
    """Yield the analyses whose ID starts with a text, then the analyses whose display name is the text."""
    if _ID_PREFIX.fullmatch(identifier):
        for match in client.list(id_prefix=identifier, on_incomplete=_refuse):
            if match.name.startswith(ANALYSES + identifier):  # older services ignore `id_prefix`
                yield match
    if analysis:
        for match in client.list(display_name=analysis, on_incomplete=_refuse):
            if match.display_name == analysis:
                yield match


def _refuse() -> None:
    raise Unavailable(f"{INCOMPLETE} Use the whole ID of the analysis, or try again later.")


def _describe(analysis: pb.Analysis) -> str:
    created, name = creation_time(analysis, seconds=True), analysis.name.removeprefix(ANALYSES)
    return f"  {name}  {created}  {analysis.display_name!r:.60} on {dataset_id(analysis.dataset):.60}"
