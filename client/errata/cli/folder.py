"""Folders that `errata analyze --output` wrote, read without a service."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.json_format import ParseDict, ParseError

from errata import Client, pb
from errata.cli.class_lookup import match_class
from errata.cli.junit import is_of_another_program
from errata.cli.output import STDOUT, read_input, write_output
from errata.cli.retries import retry
from errata.connection import UnknownMethod
from errata.error_types import ErrorType
from errata.errors import ImageNotFound, InvalidInput, InvalidRequest
from errata.groups import ALL, check_group
from errata.json_input import parse_json
from errata.names import ANALYSES, verdict_name
from errata.proto_json import to_dict, to_json

SUMMARY, VERDICTS, REPORT, CLASSES = "summary.json", "verdicts.jsonl", "report.html", "classes.jsonl"
JUNIT = "junit.xml"  # the result of the gate
_RESULT = (VERDICTS, REPORT, CLASSES)  # the files of an analysis beside its summary
MAX_SUMMARY = 1 << 20  # bytes
MAX_VERDICTS = 1 << 28  # bytes
MAX_REPORT = 1 << 28  # bytes
MAX_CLASSES = 1 << 28  # bytes
MAX_CANDIDATES = 5  # classes in the error for a name that several classes have

Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class VerdictSelection:
    """Conditions on verdicts; a verdict must meet all of them."""

    error_types: frozenset[str] = frozenset()
    target: str = ""  # ID, name, or index of a class
    predicted: str = ""
    group: str | None = None
    problematic: bool | None = None


def is_folder(text: str) -> bool:
    """Return whether a text is the path of a folder that --output wrote. Empty text is not a path."""
    try:
        return bool(text) and (Path(text) / SUMMARY).is_file()
    except (OSError, ValueError):  # not a possible path
        return False


def all_folders(texts: list[str]) -> bool:
    """Return whether there is at least one text and each text is the path of a folder that --output wrote."""
    return bool(texts) and all(map(is_folder, texts))


def make_folder(folder: Path) -> None:
    """Create a folder for results.

    Raises:
        InvalidRequest: The path is '-', which means stdout for other commands.
        InvalidInput: The folder cannot be created.
    """
    if folder == STDOUT:
        raise InvalidRequest(
            "--output is '-', but the result is a folder and cannot be written to stdout. Pass the path of a folder.",
            field="output",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"Cannot create the folder {folder}: {error.strerror}.", field="output") from error


def write_folder(client: Client, analysis: pb.Analysis, folder: Path) -> None:
    """Write the classes, the verdicts, the report, and finally the summary of an analysis into a folder.

    The summary and the gate's result of another analysis are removed first, so that an incomplete folder has none.
    """
    try:
        classes = retry(partial(client.classes, analysis.dataset, analysis.evidence))
    except UnknownMethod:  # of a service that only has the classes of ImageNet-1k
        classes = []
    contents = {
        CLASSES: "".join(f"{json.dumps(to_dict(item))}\n" for item in classes).encode(),
        VERDICTS: retry(lambda: b"".join(client.export(analysis.name))),
        REPORT: retry(partial(client.report, analysis.name)),
        SUMMARY: f"{to_json(analysis)}\n".encode(),
    }
    written = list(_RESULT) if _has_result(folder) else []
    try:
        _remove(folder, (SUMMARY, JUNIT))
        for name, content in contents.items():  # an existing file keeps its permissions, and a link its target
            write_output(folder / name, content)
            written.append(name)
    except BaseException:
        _remove(folder, written)
        raise


def clear_folder(folder: Path, *, keeps_result: bool = False) -> None:
    """Remove the result of the gate and, unless `keeps_result`, the files of an earlier analysis, the summary first.

    Without a summary of Errata, the other files can be those of the user, also of other commands.
    """
    _remove(folder, (JUNIT,) if keeps_result or not _has_result(folder) else (SUMMARY, JUNIT, *_RESULT))


def _has_result(folder: Path) -> bool:
    """Return whether a folder has the summary of an analysis, and not one of another program."""
    with suppress(InvalidInput):
        return read_name(folder).startswith(ANALYSES)
    return False


def _remove(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        if name == JUNIT:
            remove_gate_result(folder / JUNIT)
        else:
            _remove_file(folder / name)


def remove_gate_result(file: Path) -> None:
    """Remove the JUnit file of an earlier gate. A JUnit file of another program, such as a test runner, stays."""
    if not is_of_another_program(file):
        _remove_file(file)


def _remove_file(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise InvalidInput(f"Cannot replace {file}: {error.strerror}.", field="output") from error


def read_analysis(folder: Path) -> pb.Analysis:
    """Return the analysis of a folder.

    Raises:
        InvalidInput: The summary is missing, damaged, from another program, or from a version before API v1.
    """
    analysis = _read_summary(folder)
    if any(ErrorType.CORRECT.key not in group.counts for group in analysis.summary.groups.values()):
        raise InvalidInput(
            f"An earlier version of Errata wrote {folder / SUMMARY}, with other names of the error types. Run the "
            "analysis again with --output.",
            field="analysis",
        )
    return analysis


def read_name(folder: Path) -> str:
    """Return the name of the analysis of a folder, also of a version before API v1; see `read_analysis`."""
    return _read_summary(folder).name


def _read_summary(folder: Path) -> pb.Analysis:
    """Return the analysis of a folder; raise InvalidInput if its summary is not one of Errata."""
    content = read_part(folder, SUMMARY, MAX_SUMMARY)
    try:
        analysis = ParseDict(parse_json(content), pb.Analysis(), ignore_unknown_fields=True)
        if not analysis.name:
            raise ValueError("it has no name")
    except (ValueError, TypeError, AttributeError, ArithmeticError, SystemError, ParseError) as error:
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
    """Return an iterator over the verdicts of a folder, in the order of the data set.

    Args:
        folder: The folder.
        parse: Converts the JSON value of a line to a verdict, or raises an error.

    Raises:
        InvalidInput: A line is damaged; the error has the line number.
    """
    return _parse_lines(folder, VERDICTS, MAX_VERDICTS, parse)


def read_classes(folder: Path) -> list[pb.Class]:
    """Return the classes of a folder, in the order of their indices; empty if an earlier version wrote the folder.

    Raises:
        InvalidInput: A line is damaged; the error has the line number.
    """
    if not (folder / CLASSES).exists():
        return []

    def parse(line: Any) -> pb.Class:
        item = ParseDict(line, pb.Class(), ignore_unknown_fields=True)
        if not item.display_name:
            raise ValueError("its name is missing")
        return item

    classes = [*_parse_lines(folder, CLASSES, MAX_CLASSES, parse)]
    for number, item in enumerate(classes, 1):
        if item.class_index != number - 1:
            raise InvalidInput(
                f"{folder / CLASSES}, line {number}, has the class {item.class_index}. Expected {number - 1}. Run the "
                "analysis again with --output.",
                field="classes",
                line=number,
            )
    return classes


def _parse_lines(folder: Path, name: str, limit: int, parse: Callable[[Any], Parsed]) -> Iterator[Parsed]:
    """Yield the values of a file of JSON lines; raise InvalidInput if a line is damaged."""
    for number, line in enumerate(read_part(folder, name, limit).splitlines(), 1):
        try:
            value = parse(parse_json(line))
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, SystemError, ParseError) as error:
            raise InvalidInput(
                f"{folder / name}, line {number}, is not a line that 'errata analyze --output' wrote: {error!r:.200}",
                field=Path(name).stem,
                line=number,
            ) from error
        yield value


def read_verdicts(folder: Path) -> list[pb.Verdict]:
    """Return the verdicts of a folder as messages; see `parse_verdicts` and `check_counts`."""
    analysis, verdicts = read_analysis(folder), [*parse_verdicts(folder, _to_verdict)]
    for verdict in verdicts:
        verdict.name = verdict_name(analysis.name, verdict.file_name)
    check_counts(folder, analysis, [verdict.error_type for verdict in verdicts if not verdict.problematic])
    return verdicts


def check_counts(folder: Path, analysis: pb.Analysis, error_types: Sequence[str]) -> None:
    """Check that the verdicts of a folder are those of its summary.

    Args:
        folder: The folder.
        analysis: The analysis of the summary.
        error_types: The error types of the verdicts on images that are not problematic.

    Raises:
        InvalidInput: The counts of the error types differ: lines are missing, or another command wrote them.
    """
    if ALL not in analysis.summary.groups:  # the analysis did not succeed
        return
    expected = {name: count for name, count in analysis.summary.groups[ALL].counts.items() if count}
    if Counter(error_types) != expected:
        raise InvalidInput(
            f"{folder / VERDICTS} does not have the verdicts that {SUMMARY} counts ({len(error_types):,} instead of "
            f"{sum(expected.values()):,}, or other error types). Run the analysis again with --output.",
            field="verdicts",
        )


def _to_verdict(line: Any) -> pb.Verdict:
    verdict = ParseDict(line, pb.Verdict(), ignore_unknown_fields=True)
    if not verdict.error_type:
        raise ValueError("its error type is missing")
    return verdict


def select_verdicts(folder: Path, selection: VerdictSelection) -> list[pb.Verdict]:
    """Return those verdicts of a folder that meet the conditions.

    Raises:
        InvalidInput: A file of the folder is damaged.
        InvalidRequest: A class or group does not exist, or several classes have this name.
    """
    if selection.group is not None:
        check_group(selection.group, read_analysis(folder).summary.groups, "--group")
    verdicts = read_verdicts(folder)
    classes = read_classes(folder) or _classes_of(verdicts)
    target = _class_index(classes, selection.target, "--target")
    predicted = _class_index(classes, selection.predicted, "--predicted")
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
        ImageNotFound: The folder has no verdict on the image.
    """
    for verdict in read_verdicts(folder):
        if verdict.file_name == image:
            return verdict
    raise ImageNotFound(f"Image {image!r:.200} has no verdict in {folder}. Check the file name.", field="image")


def _classes_of(verdicts: Sequence[pb.Verdict]) -> list[pb.Class]:
    """Return the classes that occur in verdicts, without IDs and synonyms."""
    names = {verdict.target: verdict.target_name for verdict in verdicts}
    names |= {
        verdict.effective_target: verdict.effective_target_name for verdict in verdicts if verdict.rejected_target
    }
    names |= {verdict.predicted: verdict.predicted_name for verdict in verdicts}
    return [pb.Class(class_index=index, display_name=name) for index, name in sorted(names.items())]


def _class_index(classes: Sequence[pb.Class], text: str, option: str) -> int | None:
    """Return the index of the class that a text identifies; None for an empty text."""
    if not text:
        return None
    matching = match_class(classes, text)
    if len(matching) > 1:
        raise InvalidRequest(
            f"{len(matching)} classes match {text!r:.80}. Use the index of one of them: "
            f"{', '.join(map(str, matching[:MAX_CANDIDATES]))}.",
            field=option,
        )
    if not matching:
        raise InvalidRequest(
            f"The folder has no class {text!r:.80}. Expected the index, the ID, or the name of a class.", field=option
        )
    return matching[0]
