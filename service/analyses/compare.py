"""Compare: what changed between two finished analyses of the same images."""

import numpy as np
from numpy.typing import NDArray

from service.analyses.judge import Judged
from service.analyses.ports import Ports
from service.analyses.verdicts import judged
from service.domain import Comparison, ErrorType, Flip, Group, GroupComparison
from service.errors import NotComparable
from service.rules.table import error_types
from service.summary.compare import Pair, changed_classes, changed_superclasses, compare_groups, pair_of
from service.taxonomy.classes import class_names

MOST_FLIPS = 1000  # of each kind, unless a caller asks for others


def compare(ports: Ports, id_a: str, id_b: str, most: int = MOST_FLIPS) -> Comparison:
    """Return what changed from A to B, with at most so many fixed and broken images.

    Raise AnalysisNotFound, NotReady, or NotComparable for other images or other evidence.
    """
    return comparison_of(judged(ports, id_a), judged(ports, id_b), most)


def compare_counts(ports: Ports, id_a: str, id_b: str) -> dict[Group, GroupComparison]:
    """Return what changed in each group alone; raise as `compare` does."""
    a, b = judged(ports, id_a), judged(ports, id_b)
    check_comparable(a, b)
    return compare_groups(_pair(a, b), a.bundle.arrays["groups"])


def comparison_of(a: Judged, b: Judged, most: int = MOST_FLIPS) -> Comparison:
    """Return what changed between the verdicts of A and B; raise NotComparable."""
    check_comparable(a, b)
    bundle, pair = a.bundle, _pair(a, b)
    problematic = bundle.evidence.problematic
    return Comparison(
        id_a=a.analysis.id,
        id_b=b.analysis.id,
        title_a=a.analysis.title,
        title_b=b.analysis.title,
        dataset=bundle.dataset,
        evidence=bundle.digest,
        abstained=bundle.manifest.abstained,
        num_left_out=int((~pair.counted & ~problematic).sum()),
        groups=compare_groups(pair, bundle.arrays["groups"]),
        classes=changed_classes(pair, class_names()),
        superclasses=changed_superclasses(
            pair, bundle.manifest.superclasses, np.asarray(bundle.arrays["superclass_members"])
        ),
        fixed=_flips(a, b, pair, pair.fixed, pair.types_a, most),
        broken=_flips(a, b, pair, pair.broken, pair.types_b, most),
    )


def check_comparable(a: Judged, b: Judged) -> None:
    """Raise NotComparable unless A and B are of one data set, and were judged with the same evidence."""
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


def _pair(a: Judged, b: Judged) -> Pair:
    evidence = a.bundle.evidence
    return pair_of(error_types(a.verdicts), error_types(b.verdicts), evidence.targets, evidence.problematic)


def _flips(
    a: Judged, b: Judged, pair: Pair, chosen: NDArray[np.bool_], severity: NDArray[np.uint8], most: int
) -> tuple[Flip, ...]:
    """Return the images of a mask, the worst errors first."""
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(-severity[rows].astype(int), kind="stable")][:most]
    bundle = a.bundle
    images = bundle.rows[rows]
    names = bundle.judged_names
    columns = (
        bundle.evidence.targets[rows],
        a.predictions.top1[images],
        b.predictions.top1[images],
        pair.types_a[rows],
        pair.types_b[rows],
    )
    return tuple(
        Flip(names[row], target, in_a, in_b, ErrorType(type_a), ErrorType(type_b))
        for row, target, in_a, in_b, type_a, type_b in zip(
            rows.tolist(), *(column.tolist() for column in columns), strict=True
        )
    )
