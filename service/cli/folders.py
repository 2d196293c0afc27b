"""Folders that --output wrote, read for use cases that need no server: compare, gate, trend."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from errata.errors import InvalidInput
from errata.json_input import parse_json

from service import wire
from service.analyses.compare import Side, Verdicts
from service.analyses.trend import TrendAnalyses, TrendRequest, build_trend, check_same_evidence, read_published_models
from service.cli.output import VERDICTS, is_folder, read_folder
from service.cli.output import read as read_file
from service.domain import CLASS_GROUPS, NUM_CLASSES, Analysis, ErrorType, Trend

MAX_VERDICTS = 1 << 28  # bytes of a verdicts.jsonl


@dataclass(frozen=True)
class _Line:
    """One line of verdicts.jsonl."""

    name: str
    target: int
    predicted: int
    error_type: ErrorType
    problematic: bool
    groups: tuple[bool, ...]  # as CLASS_GROUPS


def all_folders(names: Sequence[str]) -> bool:
    """Say whether analyses are given as folders, all of them."""
    return bool(names) and all(is_folder(name) for name in names)


def read(path: str) -> Analysis:
    """Return the analysis of a folder; raise InvalidInput if there is none that has finished."""
    analysis = wire.from_analysis(read_folder(Path(path)))
    if analysis.summary is None:
        raise InvalidInput(f"{path}: expected an analysis that has succeeded, got no summary", field="analysis")
    return analysis


def read_side(path: str) -> Side:
    """Return a folder's analysis with its verdicts; raise InvalidInput that names the line."""
    analysis, file = read(path), Path(path) / VERDICTS
    lines: list[_Line] = []
    try:
        content = read_file(file, MAX_VERDICTS).splitlines()
    except OSError as error:
        raise InvalidInput(f"can't read {file}: {error.strerror}", field="analysis") from error
    for number, text in enumerate(content, 1):
        try:
            lines.append(_parsed(parse_json(text)))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise InvalidInput(
                f"{file}, line {number}: expected a verdict that errata wrote, got {error!r:.200}",
                field="verdicts",
                line=number,
            ) from error
    if len({line.name for line in lines}) != len(lines):
        raise InvalidInput(f"{file}: expected each image once, got some twice", field="verdicts")
    verdicts = Verdicts(
        [line.name for line in lines],
        np.array([line.target for line in lines], dtype=np.int16),
        np.array([line.predicted for line in lines], dtype=np.int16),
        np.array([line.error_type for line in lines], dtype=np.uint8),
        np.array([line.problematic for line in lines], dtype=bool),
        np.array([line.groups for line in lines], dtype=bool).reshape(-1, len(CLASS_GROUPS)).T,
    )
    return Side(analysis, verdicts)


def trend(paths: Sequence[str], question: TrendRequest) -> Trend:
    """Return where folders' analyses stand; raise NotComparable for different data sets or evidence."""
    analyses = [read(path) for path in dict.fromkeys(paths)]
    check_same_evidence(analyses, question.dataset)
    fleet = TrendAnalyses(analyses[0].request.dataset, analyses[0].evidence, analyses, (), own_superclasses=True)
    return build_trend(fleet, question, read_published_models(question))


def _parsed(line: dict[str, Any]) -> _Line:
    target, predicted = int(line["target"]), int(line["predicted"])
    if not (0 <= target < NUM_CLASSES and 0 <= predicted < NUM_CLASSES):
        raise ValueError(f"classes {target} and {predicted}")
    kind = ErrorType[line["error_type"].removeprefix("ERROR_TYPE_")]
    inside = tuple(f"GROUP_{group.name}" in line["groups"] for group in CLASS_GROUPS)
    str(line["file_name"]).encode()  # a name that is no Unicode can't be told to anybody
    return _Line(str(line["file_name"]), target, predicted, kind, bool(line["problematic"]), inside)
