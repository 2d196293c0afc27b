"""Folders that `errata analyze --output` wrote, read without a service."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.json_format import ParseDict, ParseError

from errata import Client, pb
from errata.cli.output import read_input, write_output
from errata.errors import ImageNotFound, InvalidInput, InvalidRequest
from errata.groups import ALL, check_group
from errata.json_input import parse_json
from errata.names import verdict_name
from errata.proto_json import to_json

SUMMARY, VERDICTS, REPORT = "summary.json", "verdicts.jsonl", "report.html"
MAX_SUMMARY = 1 << 20  # bytes
MAX_VERDICTS = 1 << 28  # bytes
MAX_REPORT = 1 << 28  # bytes

Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class VerdictSelection:
    """Conditions on verdicts; a verdict must meet all of them."""

    error_types: frozenset[str] = frozenset()
    target: str = ""  # class index or name
    predicted: str = ""
    group: str | None = None
    problematic: bool | None = None


def is_folder(text: str) -> bool:
    """Return whether a text is the path of a folder that --output wrote. Empty text is not the current folder."""
    try:
        return bool(text) and (Path(text) / SUMMARY).is_file()
    except (OSError, ValueError):  # not a possible path
        return False


def all_folders(texts: list[str]) -> bool:
    """Return whether there are texts, and all of them are paths of folders that --output wrote."""
    return bool(texts) and all(map(is_folder, texts))


def make_folder(folder: Path) -> None:
    """Create a folder for results.

    Raises:
        InvalidInput: The folder cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"Cannot create the folder {folder}: {error.strerror}.", field="output") from error


def write_folder(client: Client, analysis: pb.Analysis, folder: Path) -> None:
    """Write the verdicts, the report, and finally the summary of an analysis into a folder."""
    write_output(folder / VERDICTS, b"".join(client.export(analysis.name)))
    write_output(folder / REPORT, client.report(analysis.name))
    write_output(folder / SUMMARY, f"{to_json(analysis)}\n".encode())


def read_analysis(folder: Path) -> pb.Analysis:
    """Return the analysis of a folder.

    Raises:
        InvalidInput: The summary is missing, damaged, or from another program.
    """
    content = read_part(folder, SUMMARY, MAX_SUMMARY)
    try:
        analysis = ParseDict(parse_json(content), pb.Analysis(), ignore_unknown_fields=True)
        if not analysis.name:
            raise ValueError("it has no name")
    except (ValueError, TypeError, AttributeError, SystemError, ParseError) as error:
        raise InvalidInput(
            f"{folder / SUMMARY} is not a summary that 'errata analyze --output' wrote: {error!s:.200}.",
            field="analysis",
        ) from error
    return analysis


def read_part(folder: Path, name: str, limit: int) -> bytes:
    """Return the content of a file of a folder.

    Raises:
        InvalidInput: The file cannot be read.
    """
    return read_input(folder / name, limit, "analysis")


def parse_verdicts(folder: Path, parse: Callable[[Any], Parsed]) -> Iterator[Parsed]:
    """Yield the verdicts of a folder, in the order of the data set.

    Args:
        folder: The folder.
        parse: Returns a verdict from the JSON value of its line, or raises an error.

    Raises:
        InvalidInput: A line is damaged; the error has its number.
    """
    for number, line in enumerate(read_part(folder, VERDICTS, MAX_VERDICTS).splitlines(), 1):
        try:
            yield parse(parse_json(line))
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, SystemError, ParseError) as error:
            raise InvalidInput(
                f"{folder / VERDICTS}, line {number}, is not a verdict that 'errata analyze --output' wrote: "
                f"{error!r:.200}",
                field="verdicts",
                line=number,
            ) from error


def read_verdicts(folder: Path) -> Iterator[pb.Verdict]:
    """Yield the verdicts of a folder as messages; see `parse_verdicts`."""
    analysis = read_analysis(folder).name
    for verdict in parse_verdicts(folder, _to_verdict):
        verdict.name = verdict_name(analysis, verdict.file_name)
        yield verdict


def _to_verdict(line: Any) -> pb.Verdict:
    verdict = ParseDict(line, pb.Verdict(), ignore_unknown_fields=True)
    if not verdict.error_type:
        raise ValueError("its error type is missing")
    return verdict


def select_verdicts(folder: Path, selection: VerdictSelection) -> list[pb.Verdict]:
    """Return the verdicts of a folder that meet conditions.

    Raises:
        InvalidInput: A file of the folder is damaged.
        InvalidRequest: No verdict has a class of this name, or the analysis has no such group.
    """
    if selection.group is not None:
        check_group(selection.group, read_analysis(folder).summary.groups, "--group")
    verdicts = [*read_verdicts(folder)]
    indices = {verdict.target_name.lower(): verdict.target for verdict in verdicts}
    indices |= {v.effective_target_name.lower(): v.effective_target for v in verdicts if v.rejected_target}
    indices |= {verdict.predicted_name.lower(): verdict.predicted for verdict in verdicts}
    target = _class_index(indices, selection.target, "--target")
    predicted = _class_index(indices, selection.predicted, "--predicted")
    return [
        verdict
        for verdict in verdicts
        if (not selection.error_types or verdict.error_type in selection.error_types)
        and (target is None or target == (verdict.effective_target if verdict.rejected_target else verdict.target))
        and (predicted is None or verdict.predicted == predicted)
        and (selection.group in (None, ALL) or selection.group in verdict.groups)
        and (selection.problematic is None or bool(verdict.problematic) == selection.problematic)
    ]


def find_verdict(folder: Path, image: str) -> pb.Verdict:
    """Return the verdict on an image.

    Raises:
        ImageNotFound: The folder has no verdict on it.
    """
    for verdict in read_verdicts(folder):
        if verdict.file_name == image:
            return verdict
    raise ImageNotFound(f"Image {image!r:.200} has no verdict in {folder}. Check the file name.", field="image")


def _class_index(indices: dict[str, int], text: str, option: str) -> int | None:
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return int(text[:9])
    index = indices.get(text.strip().replace("_", " ").lower())
    if index is None:
        raise InvalidRequest(
            f"No verdict of the folder has the class {text!r:.80}. Expected an index or the first name of a class.",
            field=option,
        )
    return index
