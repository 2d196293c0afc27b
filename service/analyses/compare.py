"""Compare: what changed between two finished analyses of the same images, wherever their verdicts are read from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from errata.errors import NotComparable
from numpy.typing import NDArray

from service.analyses.judge import Judged
from service.analyses.ports import Ports
from service.analyses.verdicts import judged
from service.domain import (
    Analysis,
    Bytes,
    ChangedImage,
    Classes,
    Comparison,
    ErrorType,
    Group,
    GroupComparison,
    Mask,
)
from service.rules.table import error_types
from service.summary.compare import Pair, changed_classes, changed_superclasses, compare_groups, pair_verdicts
from service.taxonomy.classes import class_names

MOST_FLIPS = 1000  # of each kind, unless a caller asks for others


@dataclass(frozen=True)
class Verdicts:
    """The verdicts of one analysis: n images, judged or not (type 0)."""

    names: Sequence[str]
    targets: Classes  # (n,)
    predicted: Classes  # (n,)
    types: Bytes  # (n,)
    problematic: Mask  # (n,)
    groups: Mask  # (3, n) as CLASS_GROUPS


@dataclass(frozen=True)
class Side:
    """One of the two that are compared."""

    analysis: Analysis
    verdicts: Verdicts


@dataclass(frozen=True)
class Superclasses:
    """Where the superclasses of the evidence are known."""

    ids: Sequence[str]
    members: Mask  # (S, C)


def compare(ports: Ports, id_a: str, id_b: str, most: int = MOST_FLIPS) -> Comparison:
    """Return what changed from A to B, with at most so many fixed and broken images.

    Raise AnalysisNotFound, NotReady, or NotComparable for other images or other evidence.
    """
    return comparison_of(judged(ports, id_a), judged(ports, id_b), most)


def comparison_of(a: Judged, b: Judged, most: int = MOST_FLIPS) -> Comparison:
    """Return what changed between the verdicts of two judged analyses; raise NotComparable."""
    members = np.asarray(a.bundle.arrays["superclass_members"])
    superclasses = Superclasses(a.bundle.manifest.superclasses, members)
    return comparison_of_sides(side_of(a), side_of(b), superclasses, most)


def compared_groups(a: Side, b: Side) -> dict[Group, GroupComparison]:
    """Return what changed in each group alone; raise NotComparable."""
    check_comparable(a.analysis, b.analysis)
    first, second = aligned(a.verdicts, b.verdicts)
    return compare_groups(pair_verdicts(first.types, second.types, first.targets, first.problematic), first.groups)


def comparison_of_sides(a: Side, b: Side, superclasses: Superclasses | None, most: int = MOST_FLIPS) -> Comparison:
    """Return what changed from A to B, by superclass only where those are known; raise NotComparable."""
    check_comparable(a.analysis, b.analysis)
    first, second = aligned(a.verdicts, b.verdicts)
    pair = pair_verdicts(first.types, second.types, first.targets, first.problematic)
    summary = a.analysis.summary
    assert summary is not None, "this is a bug: what is compared has a summary"
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
        classes=changed_classes(pair, class_names()),
        superclasses=() if superclasses is None else changed_superclasses(pair, superclasses.ids, superclasses.members),
        fixed=_changed_images(first, second, pair, pair.fixed, pair.types_a, most),
        broken=_changed_images(first, second, pair, pair.broken, pair.types_b, most),
    )


def check_comparable(a: Analysis, b: Analysis) -> None:
    """Raise NotComparable unless A and B are of one data set, and were judged with the same evidence."""
    if a.request.dataset != b.request.dataset:
        raise NotComparable(
            f"expected two analyses of one data set, got {a.request.dataset} and {b.request.dataset}", field="b"
        )
    if a.evidence != b.evidence:
        raise NotComparable(
            f"expected analyses judged with the same evidence, got {a.evidence[:12]} and {b.evidence[:12]}: "
            f"errata reanalyze {b.id} --evidence {a.evidence[:12]} judges the second one anew",
            field="b",
        )


def side_of(found: Judged) -> Side:
    """Return a judged analysis as one side of a comparison."""
    bundle, evidence = found.bundle, found.bundle.evidence
    verdicts = Verdicts(
        bundle.judged_names,
        evidence.targets,
        found.predictions.top1[bundle.rows],
        error_types(found.verdicts),
        np.asarray(evidence.problematic),
        np.asarray(bundle.arrays["groups"]),
    )
    return Side(found.analysis, verdicts)


def aligned(a: Verdicts, b: Verdicts) -> tuple[Verdicts, Verdicts]:
    """Return both over the same images in the same order; what one of them hasn't judged has type 0 there."""
    if a.names is b.names:
        return a, b
    place = {name: row for row, name in enumerate(a.names)}
    fresh = [row for row, name in enumerate(b.names) if name not in place]
    names = [*a.names, *(b.names[row] for row in fresh)]
    place |= {name: row for row, name in enumerate(names)}
    rows = np.array([place[name] for name in b.names], dtype=np.intp)
    first = _over(a, names, np.arange(len(a.names)))
    second = _over(b, names, rows)
    known_b = np.zeros(len(names), dtype=bool)
    known_b[rows] = True
    only_b = np.flatnonzero(known_b)[np.flatnonzero(known_b) >= len(a.names)]
    for name in ("targets", "problematic"):  # facts about images, which either side knows
        getattr(first, name)[only_b] = getattr(second, name)[only_b]
    first.groups[:, only_b] = second.groups[:, only_b]
    return first, second


def _over(verdicts: Verdicts, names: Sequence[str], rows: NDArray[np.intp]) -> Verdicts:
    """Return verdicts over more images; rows: where each stands now."""

    def spread(values: NDArray[np.generic]) -> NDArray[np.generic]:
        result = np.zeros((*values.shape[:-1], len(names)), dtype=values.dtype)
        result[..., rows] = values
        return result

    return Verdicts(
        names,
        *(spread(values) for values in (verdicts.targets, verdicts.predicted, verdicts.types)),  # type: ignore[arg-type]
        *(spread(values) for values in (verdicts.problematic, verdicts.groups)),  # type: ignore[arg-type]
    )


def _changed_images(
    a: Verdicts, b: Verdicts, pair: Pair, chosen: Mask, severity: Bytes, most: int
) -> tuple[ChangedImage, ...]:
    """Return the images of a mask, the worst errors first."""
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(-severity[rows].astype(int), kind="stable")][:most]
    columns = (a.targets, a.predicted, b.predicted, pair.types_a, pair.types_b)
    return tuple(
        ChangedImage(a.names[row], target, in_a, in_b, ErrorType(type_a), ErrorType(type_b))
        for row, target, in_a, in_b, type_a, type_b in zip(
            rows.tolist(), *(column[rows].tolist() for column in columns), strict=True
        )
    )
