"""Comparisons, trends, and gates on folders that `errata analyze --output` wrote, without a service."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from errata import pb
from errata.cli.folder import CLASSES, VERDICTS, check_counts, parse_verdicts, read_analysis, read_classes
from errata.errors import InvalidInput, InvalidRequest
from errata.groups import check_group

from service import wire
from service.analyses.compare import MAX_CHANGED_IMAGES, Side, Verdicts, compare_sides
from service.analyses.gate import evaluate_policy
from service.analyses.policy import check_baseline, parse_policy, with_min_coverage
from service.analyses.trend import (
    TrendAnalyses,
    build_trend,
    check_plausible,
    check_same_evidence,
    read_published_models,
)
from service.domain import ALL, NO_CLASS, Analysis, ErrorType, LabelSpace, StoredResult, create_label_space
from service.report.class_names import display_names
from service.report.comparison_view import comparison_view
from service.report.render import render_comparison, render_trend
from service.report.trend_view import trend_view
from service.taxonomy.imagenet_1k import imagenet_1k


@dataclass(frozen=True)
class _Line:
    """A line of verdicts.jsonl."""

    name: str
    target: int
    effective_target: int
    predicted: int
    is_label: bool
    error_type: ErrorType
    problematic: bool
    groups: frozenset[str]


def compare_folders(
    a: Path, b: Path, with_report: bool, max_images: int = MAX_CHANGED_IMAGES
) -> tuple[pb.Comparison, bytes]:
    """Compare the analyses of two folders.

    Args:
        a: Folder of the analysis to compare from.
        b: Folder of the analysis to compare to.
        with_report: Whether to render the report.
        max_images: Maximum number of fixed and of broken images, also in the report.

    Returns:
        The comparison, and its report as HTML, which is empty unless `with_report`. The comparison has no superclasses
        if an earlier version of Errata wrote the folder of A.

    Raises:
        InvalidInput: A file of a folder is damaged, or a folder lacks its file of classes; see `read_side`.
        NotComparable: The analyses are of different data sets or evidence.
    """
    classes = read_label_space(a)
    label_space = classes or imagenet_1k()
    one, other = read_side(a), read_side(b)
    superclasses = None if classes is None else classes.superclasses
    comparison = compare_sides(one, other, label_space.names, superclasses, max_images)
    html = b""
    if with_report:
        assert one.analysis.summary is not None and other.analysis.summary is not None, "this is a bug: finished"
        names = display_names(label_space)
        view = comparison_view(comparison, one.analysis.summary, other.analysis.summary, names)
        html = render_comparison(view).encode()
    return wire.to_comparison(comparison, label_space.names), html


def trend_folders(
    folders: Sequence[Path], request: pb.ComputeTrendRequest, with_report: bool
) -> tuple[pb.Trend, bytes]:
    """Compare the analyses of folders with models of the same accuracy.

    Args:
        folders: Folders of the analyses.
        request: The request; its analyses are ignored.
        with_report: Whether to render the report.

    Returns:
        The trend, and its report as HTML, which is empty unless `with_report`.

    Raises:
        InvalidInput: A file of a folder or the reference is damaged.
        NotComparable: The analyses are of different data sets or evidence, or an analysis is implausible.
        InvalidRequest: The analyses do not have the group of the request, or the request has an owner.
    """
    question = wire.trend_request(request)
    if question.owner:
        raise InvalidRequest(
            "--owner selects stored analyses. Remove it, or name analyses of a service.", field="owner"
        )
    analyses = [read_finished(folder) for folder in dict.fromkeys(folders)]
    check_same_evidence(analyses, question.dataset)
    check_plausible(analyses)
    groups = _groups_of(analyses)
    check_group(question.group, groups, "group")
    results = [StoredResult.of(analysis, question.group) for analysis in analyses]
    selected = TrendAnalyses(
        analyses[0].request.dataset,
        analyses[0].evidence,
        results,
        (),
        own_superclasses=True,
        groups=groups,
        changed_labels=None,
    )
    trend = build_trend(selected, question, read_published_models(question))
    return wire.to_trend(trend), render_trend(trend_view(trend)).encode() if with_report else b""


def _groups_of(analyses: Sequence[Analysis]) -> list[str]:
    """Return the groups that all analyses have."""
    summaries = [analysis.summary for analysis in analyses if analysis.summary is not None]
    return [group for group in summaries[0].groups if all(group in summary.groups for summary in summaries)]


def evaluate_folder(
    policy: str, folder: Path, baseline: Path | None, min_coverage: float | None = None
) -> pb.GateResult:
    """Evaluate the analysis of a folder against a policy.

    Args:
        policy: The policy (YAML).
        folder: Folder of the analysis.
        baseline: Folder of the baseline, for policies that limit changes.
        min_coverage: The minimum coverage; None: the minimum coverage of the policy.

    Raises:
        InvalidPolicy: The policy is invalid.
        InvalidInput: A file of a folder is damaged, or the policy needs a baseline.
    """
    parsed = with_min_coverage(parse_policy(policy), min_coverage)
    check_baseline(parsed, str(baseline or ""))
    if not parsed.needs_baseline or baseline is None:
        return wire.to_gate_result(evaluate_policy(parsed, read_finished(folder)))
    side = read_side(folder)
    return wire.to_gate_result(evaluate_policy(parsed, side.analysis, side, read_side(baseline)))


def read_finished(folder: Path) -> Analysis:
    """Return the finished analysis of a folder.

    Raises:
        InvalidInput: The analysis has no summary, or a file is damaged.
    """
    analysis = wire.from_analysis(read_analysis(folder))
    if analysis.summary is None:
        raise InvalidInput(
            f"The analysis in {folder} has no summary, because it did not succeed. Run it again.", field="analysis"
        )
    return analysis


def read_side(folder: Path) -> Side:
    """Return the analysis of a folder with its verdicts.

    Raises:
        InvalidInput: A file is damaged, and the error names the line; or the file of classes is missing, and the
            classes are not those of ImageNet-1k.
    """
    parse = partial(_parse_line, folder, read_label_space(folder))
    analysis, lines = read_finished(folder), [*parse_verdicts(folder, parse)]
    assert analysis.summary is not None, "this is a bug: read_finished returns finished analyses"
    counted = [line.error_type.key for line in lines if not line.problematic]
    check_counts(folder, read_analysis(folder), counted)
    if len({line.name for line in lines}) != len(lines):
        raise InvalidInput(
            f"{folder / VERDICTS} has several verdicts on one image. Run the analysis again with --output.",
            field="verdicts",
        )
    verdicts = Verdicts(
        [line.name for line in lines],
        np.array([line.target for line in lines], dtype=np.int16),
        np.array([line.effective_target for line in lines], dtype=np.int16),
        np.array([line.predicted for line in lines], dtype=np.int16),
        np.array([line.is_label for line in lines], dtype=bool),
        np.array([line.error_type.id for line in lines], dtype=np.uint8),
        np.array([line.problematic for line in lines], dtype=bool),
        {
            group: np.array([group in line.groups for line in lines], dtype=bool)
            for group in analysis.summary.groups
            if group != ALL
        },
    )
    return Side(analysis, verdicts)


def read_label_space(folder: Path) -> LabelSpace | None:
    """Return the classes of a folder; None for a folder of an earlier version, which supported only ImageNet-1k.

    Raises:
        InvalidInput: The file of classes is damaged.
    """
    rows = [
        {
            "id": item.class_id,
            "name": item.display_name,
            "synonyms": item.synonyms,
            "superclasses": item.superclasses,
            "groups": item.groups,
            "synset": item.synset,
        }
        for item in read_classes(folder)
    ]
    try:
        return create_label_space("", rows) if rows else None
    except ValueError as error:
        raise InvalidInput(
            f"{folder / CLASSES} is not a file that 'errata analyze --output' wrote: {error}. Run the analysis again "
            "with --output.",
            field="classes",
        ) from error


def _parse_line(folder: Path, classes: LabelSpace | None, line: dict[str, Any]) -> _Line:
    target, predicted = int(line["target"]), int(line["predicted"])
    effective_target = int(line.get("effective_target", target))  # earlier versions do not write it
    if classes is None:
        _check_imagenet(folder, effective_target, line.get("effective_target_name"))
    num_classes = (classes or imagenet_1k()).num_classes
    are_targets = all(0 <= class_index < num_classes for class_index in (target, effective_target))
    if not are_targets or not -1 <= predicted < num_classes:
        raise ValueError(f"classes {target}, {effective_target}, and {predicted}")
    error_type = ErrorType[line["error_type"].upper()]
    groups = frozenset(line["groups"])
    name = str(line["file_name"])
    name.encode()  # a lone surrogate cannot be sent or printed
    is_label = bool(line.get("matches_label", error_type in (ErrorType.CORRECT, ErrorType.MULTI_LABEL)))
    predicted = NO_CLASS if predicted == -1 else predicted  # an answer without a class is written as -1
    return _Line(name, target, effective_target, predicted, is_label, error_type, bool(line["problematic"]), groups)


def _check_imagenet(folder: Path, target: int, name: str | None) -> None:
    """Raise InvalidInput if a verdict of a folder without a file of classes has a class that is not of ImageNet-1k.

    The versions of Errata that supported only ImageNet-1k wrote no `effective_target_name`.
    """
    if name is not None and imagenet_1k().names[target : target + 1] != (name,):
        raise InvalidInput(
            f"{folder / CLASSES} is missing, and the classes are not those of ImageNet-1k, such as class {target}, "
            f"{name!r:.80}. Restore the file, or run the analysis again with --output.",
            field="classes",
        )
