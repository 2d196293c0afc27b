"""Folders that --output wrote: compared, gated and ranked without a server."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from service import wire
from service.analyses.policy import check_baseline
from service.analyses.trend import trend_of
from service.cli.output import VERDICTS, is_folder, read_folder
from service.domain import (
    CLASS_GROUPS,
    NUM_CLASSES,
    Analysis,
    Bytes,
    Classes,
    Comparison,
    ErrorType,
    Flip,
    GatePolicy,
    GateResult,
    Group,
    GroupComparison,
    Mask,
    Trend,
)
from service.errors import InvalidInput, NotComparable
from service.published.layout import read_models
from service.summary.compare import Pair, changed_classes, compare_groups, pair_of
from service.summary.gate import Baseline, decision_of, evaluate
from service.taxonomy.classes import class_names

MOST_FLIPS = 1000


@dataclass(frozen=True)
class Folder:
    """A finished analysis in a folder."""

    path: Path
    analysis: Analysis


@dataclass(frozen=True)
class _Verdicts:
    """The verdicts of one folder: n lines."""

    names: list[str]
    targets: Classes
    predicted: Classes
    types: Bytes
    problematic: Mask
    groups: Mask  # (3, n)


def all_folders(names: Sequence[str]) -> bool:
    """Say whether analyses are given as folders, all of them."""
    return bool(names) and all(is_folder(name) for name in names)


def read(path: str) -> Folder:
    """Return the analysis of a folder; raise InvalidInput if there is none that has finished."""
    analysis = wire.from_analysis(read_folder(Path(path)))
    if analysis.summary is None:
        raise InvalidInput(
            f"{path}: expected an analysis that has succeeded, got one without a summary", field="analysis"
        )
    return Folder(Path(path), analysis)


def compare(a: Folder, b: Folder) -> Comparison:
    """Return what changed from A to B; superclasses stand in bundles, so they are left out. Raise NotComparable."""
    one, other = a.analysis, b.analysis
    if one.request.dataset != other.request.dataset:
        raise NotComparable(
            f"expected two analyses of one data set, got {one.request.dataset} and {other.request.dataset}", field="b"
        )
    if one.evidence != other.evidence:
        raise NotComparable(
            f"expected analyses judged with the same evidence, got {one.evidence[:12]} and {other.evidence[:12]}: "
            f"errata reanalyze {other.id} --evidence {one.evidence[:12]} judges the second one anew",
            field="b",
        )
    first, second = _read_verdicts(a.path), _read_verdicts(b.path)
    known = {name: row for row, name in enumerate(second.names)}
    rows = np.array([known.get(name, -1) for name in first.names], dtype=np.int64)
    types_b = np.where(rows >= 0, second.types[rows] if len(second.types) else 0, 0).astype(np.uint8)
    pair = pair_of(first.types, types_b, first.targets, first.problematic)
    left_out = int((~pair.counted & ~first.problematic).sum()) + len({*second.names} - {*first.names})
    predicted_b = second.predicted[rows] if len(second.predicted) else np.zeros(len(rows), np.int16)
    assert one.summary is not None, "this is a bug: a folder has a summary"
    return Comparison(
        id_a=one.id,
        id_b=other.id,
        title_a=one.title,
        title_b=other.title,
        dataset=one.request.dataset,
        evidence=one.evidence,
        abstained=one.summary.abstained,
        num_left_out=left_out,
        groups=compare_groups(pair, first.groups),
        classes=changed_classes(pair, class_names()),
        superclasses=(),
        fixed=_flips(first, pair, predicted_b, pair.fixed, pair.types_a),
        broken=_flips(first, pair, predicted_b, pair.broken, pair.types_b),
    )


def gate(policy: GatePolicy, folder: Folder, baseline: Folder | None) -> GateResult:
    """Return what a policy says of a folder's analysis; raise InvalidRequest without a baseline that it needs."""
    check_baseline(policy, "a folder" if baseline else "")
    before = None
    if baseline is not None and policy.needs_baseline:
        assert baseline.analysis.summary is not None, "this is a bug: a folder has a summary"
        try:
            groups: dict[Group, GroupComparison] | None = dict(compare(folder, baseline).groups)
        except NotComparable:
            groups = None
        before = Baseline(baseline.analysis.summary, groups)
    assert folder.analysis.summary is not None, "this is a bug: a folder has a summary"
    reasons = evaluate(policy, folder.analysis.summary, before)
    against = baseline.analysis.id if before is not None and baseline is not None else ""
    return GateResult(decision_of(reasons), policy.name, folder.analysis.id, against, tuple(reasons))


def trend(folders: Sequence[Folder], group: Group, by: str, reference: bytes) -> Trend:
    """Return where folders' analyses stand; raise NotComparable for different data sets or evidence."""
    analyses = [folder.analysis for folder in folders]
    for what, found in (
        ("data set", {each.request.dataset for each in analyses}),
        ("evidence", {each.evidence for each in analyses}),
    ):
        if len(found) > 1:
            names = ", ".join(sorted(each[:40] for each in found))
            raise NotComparable(f"expected analyses of one {what}, got {names}", field="names")
    first = analyses[0]
    published = read_models(reference) if reference else []
    return trend_of(first.request.dataset, first.evidence, analyses, [], published, group, by, own_superclasses=True)


def _read_verdicts(path: Path) -> _Verdicts:
    """Read verdicts.jsonl; raise InvalidInput that names the line."""
    file = path / VERDICTS
    names: list[str] = []
    rows: list[tuple[int, int, int, bool]] = []
    groups: list[tuple[bool, ...]] = []
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    name, row, inside = _parsed(json.loads(line))
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                    raise InvalidInput(
                        f"{file}, line {number}: expected a verdict that errata wrote, got {error!r:.200}",
                        field="verdicts",
                        line=number,
                    ) from error
                names.append(name)
                rows.append(row)
                groups.append(inside)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"can't read {file}: {error}", field="analysis") from error
    if len({*names}) != len(names):
        raise InvalidInput(f"{file}: expected each image once, got some twice", field="verdicts")
    table = np.array(rows, dtype=np.int64).reshape(-1, 4)
    return _Verdicts(
        names,
        table[:, 0].astype(np.int16),
        table[:, 1].astype(np.int16),
        table[:, 2].astype(np.uint8),
        table[:, 3].astype(bool),
        np.array(groups, dtype=bool).reshape(-1, len(CLASS_GROUPS)).T,
    )


def _parsed(line: dict[str, Any]) -> tuple[str, tuple[int, int, int, bool], tuple[bool, ...]]:
    classes = int(line["target"]), int(line["predicted"])
    if not all(0 <= each < NUM_CLASSES for each in classes):
        raise ValueError(f"classes {classes}")
    kind = ErrorType[line["error_type"].removeprefix("ERROR_TYPE_")]
    inside = tuple(f"GROUP_{group.name}" in line["groups"] for group in CLASS_GROUPS)
    return str(line["file_name"]), (*classes, int(kind), bool(line["problematic"])), inside


def _flips(verdicts: _Verdicts, pair: Pair, predicted_b: Classes, chosen: Mask, severity: Bytes) -> tuple[Flip, ...]:
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(-severity[rows].astype(int), kind="stable")][:MOST_FLIPS]
    return tuple(
        Flip(
            verdicts.names[row],
            int(verdicts.targets[row]),
            int(verdicts.predicted[row]),
            int(predicted_b[row]),
            ErrorType(int(pair.types_a[row])),
            ErrorType(int(pair.types_b[row])),
        )
        for row in rows.tolist()
    )
