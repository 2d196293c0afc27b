"""Compare two finished analyses of the same images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from errata.errors import NotComparable
from numpy.typing import NDArray

from service.analyses.judge import JudgedAnalysis
from service.domain import (
    Analysis,
    Bytes,
    ChangedImage,
    Classes,
    Comparison,
    Coverage,
    ErrorType,
    GroupComparison,
    Mask,
    Superclasses,
    coverage_of,
)
from service.evidence.labels import VERSIONS
from service.rules.table import error_types
from service.summary.compare import (
    Matches,
    Pair,
    changed_classes,
    changed_superclasses,
    compare_groups,
    pair_verdicts,
    split_groups,
)
from service.summary.slices import slice_changes

Value = TypeVar("Value", bound=np.generic)
MAX_CHANGED_IMAGES = 1000  # fixed and broken images each, by default


@dataclass(frozen=True)
class Verdicts:
    """The verdicts of one analysis on n images. An image that is not judged has the type ID 0."""

    names: Sequence[str]
    targets: Classes  # (n,) original labels
    effective_targets: Classes  # (n,) the targets, or the first label where the labels reject the target
    predicted: Classes  # (n,)
    is_label: Mask  # (n,) the prediction is one of the labels
    types: Bytes  # (n,)
    problematic: Mask  # (n,)
    groups: Mapping[str, Mask]  # (n,) members of each group, without `all`


@dataclass(frozen=True)
class Side:
    """One side of a comparison."""

    analysis: Analysis
    verdicts: Verdicts


def compare_judged(a: JudgedAnalysis, b: JudgedAnalysis, max_images: int = MAX_CHANGED_IMAGES) -> Comparison:
    """Compare two judged analyses; raise NotComparable if they differ in data set or evidence."""
    label_space = a.bundle.label_space
    comparison = compare_sides(to_side(a), to_side(b), label_space.names, label_space.superclasses, max_images)
    return add_slices(comparison, a, b)


def add_slices(comparison: Comparison, a: JudgedAnalysis, b: JudgedAnalysis) -> Comparison:
    """Return a comparison with the changes of the slices, if the data set has attributes."""
    if a.attributes is None:
        return comparison
    return replace(comparison, slices=slice_changes(a.attributes, pair_judged(a, b)), attributes=a.attributes.digest)


def compare_groups_of_sides(a: Side, b: Side) -> dict[str, GroupComparison] | None:
    """Compare two sides by group only; return None if they differ in data set or evidence."""
    if not is_comparable(a.analysis, b.analysis):
        return None
    first, second = align_verdicts(a.verdicts, b.verdicts)
    return compare_groups(pair_sides(first, second), first.groups)


def compare_sides(
    a: Side,
    b: Side,
    class_names: Sequence[str],
    superclasses: Superclasses | None,
    max_images: int = MAX_CHANGED_IMAGES,
) -> Comparison:
    """Compare two sides.

    Args:
        a: The earlier analysis.
        b: The later analysis.
        class_names: (C,) the names of the classes.
        superclasses: The superclasses of the evidence; None if they are not known.
        max_images: Maximum number of fixed and of broken images.

    Raises:
        NotComparable: The analyses differ in data set or evidence.
    """
    check_comparable(a.analysis, b.analysis)
    first, second = align_verdicts(a.verdicts, b.verdicts)
    pair = pair_sides(first, second)
    parts = split_groups(pair, first.groups)
    summary = a.analysis.summary
    assert summary is not None, "this is a bug: a compared analysis has a summary"
    return Comparison(
        id_a=a.analysis.id,
        id_b=b.analysis.id,
        title_a=a.analysis.title,
        title_b=b.analysis.title,
        dataset=a.analysis.request.dataset,
        evidence=a.analysis.evidence,
        abstained=summary.abstained,
        num_left_out=pair.num_left_out,
        groups=compare_groups(pair, first.groups),
        classes={group: changed_classes(part, class_names) for group, part in parts.items()},
        superclasses={group: changed_superclasses(part, superclasses) for group, part in parts.items()}
        if superclasses is not None
        else {},
        fixed=changed_images(first, second, pair, (pair.fixed, pair.types_a), max_images),
        broken=changed_images(first, second, pair, (pair.broken, pair.types_b), max_images),
        coverages=(_coverage(a.analysis), _coverage(b.analysis)),
        owners=(a.analysis.owner, b.analysis.owner),
        num_rejected_targets=int((pair.counted & (first.targets != first.effective_targets)).sum()),
    )


def _coverage(analysis: Analysis) -> Coverage | None:
    return coverage_of(analysis.summary, analysis.subset) if analysis.summary else None


def pair_sides(a: Verdicts, b: Verdicts) -> Pair:
    """Pair the verdicts of two sides on the same n images."""
    matches = [Matches(side.predicted == side.targets, side.is_label) for side in (a, b)]
    return pair_verdicts(a.types, b.types, a.effective_targets, a.problematic, (matches[0], matches[1]))


def pair_judged(a: JudgedAnalysis, b: JudgedAnalysis) -> Pair:
    """Pair two analyses that were judged with the same evidence."""
    return pair_sides(to_side(a).verdicts, to_side(b).verdicts)


def is_comparable(a: Analysis, b: Analysis) -> bool:
    """Return whether A and B have the same data set and were judged with the same evidence."""
    return a.request.dataset == b.request.dataset and a.evidence == b.evidence


def check_comparable(a: Analysis, b: Analysis) -> None:
    """Raise NotComparable unless A and B have the same data set and were judged with the same evidence."""
    if a.request.dataset != b.request.dataset:
        raise NotComparable(
            f"Cannot compare analyses of different data sets ({a.request.dataset} and {b.request.dataset}). "
            "Compare two analyses of one data set.",
            field="b",
        )
    if a.evidence != b.evidence:
        older, newer = (a, b) if rejects_targets(b) and not rejects_targets(a) else (b, a)
        raise NotComparable(
            f"Cannot compare analyses judged with different evidence ({a.evidence[:12]} and {b.evidence[:12]})."
            f"{labels_difference([a, b])} Judge them with the same evidence: "
            f"'errata reanalyze {older.id} --evidence {newer.evidence[:12]}'.",
            field="b",
        )


def rejects_targets(analysis: Analysis) -> bool:
    """Return whether an analysis was judged with labels that reject original labels."""
    return bool(analysis.summary and analysis.summary.num_rejected_targets)


def labels_difference(analyses: Sequence[Analysis]) -> str:
    """Return a sentence if analyses of imagenet-real use different definitions of its labels; else an empty text."""
    if analyses[0].request.dataset not in VERSIONS or len(set(map(rejects_targets, analyses))) == 1:
        return ""
    return " Their labels differ: an earlier version of Errata added the original label to the ReaL labels."


def to_side(judged: JudgedAnalysis) -> Side:
    """Return a judged analysis as one side of a comparison."""
    bundle, evidence = judged.bundle, judged.bundle.evidence
    predicted = judged.predictions.top1[bundle.rows]
    verdicts = Verdicts(
        bundle.judged_names,
        evidence.targets,
        evidence.effective_targets,
        predicted,
        evidence.labels.contain(predicted),
        error_types(judged.verdicts),
        np.asarray(evidence.problematic),
        bundle.groups,
    )
    return Side(judged.analysis, verdicts)


def align_verdicts(a: Verdicts, b: Verdicts) -> tuple[Verdicts, Verdicts]:
    """Return the verdicts of both sides over the union of their images. A missing verdict has the type ID 0."""
    if a.names is b.names:
        return a, b
    row_of = {name: row for row, name in enumerate(a.names)}
    names = [*a.names, *(name for name in b.names if name not in row_of)]
    row_of |= {name: row for row, name in enumerate(names)}
    rows = np.array([row_of[name] for name in b.names], dtype=np.intp)
    first = _spread_verdicts(a, names, np.arange(len(a.names)))
    second = _spread_verdicts(b, names, rows)
    only_b = slice(len(a.names), None)
    for name in ("targets", "effective_targets", "problematic"):  # facts of the images, independent of the model
        getattr(first, name)[only_b] = getattr(second, name)[only_b]
    for group, members in first.groups.items():
        if group in second.groups:
            members[only_b] = second.groups[group][only_b]
    return first, second


def _spread_verdicts(verdicts: Verdicts, names: Sequence[str], rows: NDArray[np.intp]) -> Verdicts:
    """Extend verdicts to all images. An image without a verdict gets the type ID 0.

    Args:
        verdicts: The verdicts of n images.
        names: The names of all images.
        rows: (n,) index of each image in `names`.
    """

    def spread(values: NDArray[Value]) -> NDArray[Value]:
        result = np.zeros(len(names), dtype=values.dtype)
        result[rows] = values
        return result

    return Verdicts(
        names,
        targets=spread(verdicts.targets),
        effective_targets=spread(verdicts.effective_targets),
        predicted=spread(verdicts.predicted),
        is_label=spread(verdicts.is_label),
        types=spread(verdicts.types),
        problematic=spread(verdicts.problematic),
        groups={group: spread(members) for group, members in verdicts.groups.items()},
    )


def changed_images(
    a: Verdicts, b: Verdicts, pair: Pair, selection: tuple[Mask, Bytes], max_images: int
) -> tuple[ChangedImage, ...]:
    """Return the selected images with the predictions and error types of both sides.

    Args:
        a: The verdicts of A on n images.
        b: The verdicts of B on the same images.
        pair: The pair of both.
        selection: (n,) the images to return, and (n,) the error types by which they are sorted, most severe first.
        max_images: Maximum number of images.
    """
    mask, severity = selection
    rows = np.flatnonzero(mask)
    rows = rows[np.argsort(-severity[rows].astype(int), kind="stable")][:max_images]
    columns = (a.targets, a.predicted, b.predicted, pair.types_a, pair.types_b, a.effective_targets)
    return tuple(
        ChangedImage(a.names[row], target, in_a, in_b, ErrorType(type_a), ErrorType(type_b), effective_target)
        for row, target, in_a, in_b, type_a, type_b, effective_target in zip(
            rows.tolist(), *(column[rows].tolist() for column in columns), strict=True
        )
    )
