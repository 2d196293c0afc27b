"""Rules 1 to 8 for one prediction, and the byte. Slow by intention, and written from the specification only."""

from collections.abc import Callable
from dataclasses import dataclass, field

from oracle.superclasses import share_superclass

CORRECT = 1
CLASS_OVERLAP = 2
MULTI_LABEL = 3
FINE_GRAINED = 4
FINE_GRAINED_OOV = 5
SPURIOUS_CORRELATION = 6
NON_PROTOTYPICAL = 7
MODEL_FAILURE = 8

# target → predictions that count as correct
OVERLAP: dict[int, set[int]] = {
    249: {248},
    250: {248},
    836: {837},
    837: {836},
    385: {101},
    386: {101},
    504: {968},
    638: {639},
    639: {638},
    657: {744},
    744: {657},
    620: {681},
    681: {620},
    664: {782},
    782: {664},
    482: {848},
    356: {357, 358, 359},
    357: {356, 358, 359},
    358: {356, 357, 359},
    359: {356, 357, 358},
    435: {876},
}


@dataclass(frozen=True)
class Sample:
    target: int
    multi_labels: frozenset[int]
    problematic: bool
    non_prototypical: bool
    first_label: int | None = None  # of labels that reject the target

    @property
    def is_rejected(self) -> bool:
        """Return whether the target is rejected: it is not among the labels of a sample that is not problematic."""
        return not self.problematic and self.target not in self.multi_labels

    @property
    def e(self) -> int:
        """Return the first label with a rejected target, otherwise the target."""
        if not self.is_rejected:
            return self.target
        assert self.first_label is not None and self.first_label in self.multi_labels
        return self.first_label


@dataclass(frozen=True)
class Facts:
    """The evidence. A rule without evidence abstains and never holds."""

    overlap: dict[int, set[int]]
    superclasses: list[set[int]]
    cooccurrence: set[tuple[int, int]] | None  # (i, j) with i < j; None: abstains
    has_prototype_list: bool  # False: rule 7 abstains
    oov: Callable[[int, int], bool] | None  # rule 5 for (row, predicted); None: abstains


@dataclass(frozen=True)
class Verdict:
    error_type: int
    tags: list[str] = field(default_factory=list)


def gate_holds(neighbor_classes: list[int], predicted: int, superclasses: list[set[int]]) -> bool:
    """Return whether a class of the 10 nearest training images shares a superclass with the prediction."""
    return any(share_superclass(near, predicted, superclasses) for near in neighbor_classes[:10])


def rule_2(t: int, p: int, facts: Facts) -> bool:
    """Return whether the classes overlap."""
    return p in facts.overlap.get(t, set())


def rule_4(multi_labels: frozenset[int], p: int, facts: Facts) -> bool:
    """Return whether the error is fine-grained."""
    return any(share_superclass(c, p, facts.superclasses) for c in multi_labels)


def is_pair(a: int, b: int, facts: Facts) -> bool:
    """Return whether the classes are a co-occurrence pair, in either order."""
    if facts.cooccurrence is None:
        return False
    return (min(a, b), max(a, b)) in facts.cooccurrence


def rules_5_to_8(sample: Sample, row: int, p: int, facts: Facts) -> int:
    # 5: fine-grained, out of vocabulary
    if facts.oov is not None and facts.oov(row, p):
        return FINE_GRAINED_OOV
    # 6: spurious correlation
    if any(is_pair(c, p, facts) for c in sample.multi_labels):
        return SPURIOUS_CORRELATION
    # 7: non-prototypical
    if facts.has_prototype_list and sample.non_prototypical:
        return NON_PROTOTYPICAL
    # 8: model failure
    return MODEL_FAILURE


def judge(sample: Sample, row: int, predicted: int, facts: Facts) -> Verdict:
    if sample.problematic:
        error_type, tags = judge_problematic(sample, row, predicted, facts)
        return Verdict(error_type, tags if tags else ["UNTAGGED"])
    return Verdict(judge_ordinary(sample, row, predicted, facts), [])


def judge_ordinary(sample: Sample, row: int, p: int, facts: Facts) -> int:
    t, e = sample.target, sample.e
    m = sample.multi_labels
    if p == t and t in m:
        return CORRECT
    if rule_2(e, p, facts):
        return CLASS_OVERLAP
    if p in m:
        return MULTI_LABEL
    if rule_4(m, p, facts):
        return FINE_GRAINED
    return rules_5_to_8(sample, row, p, facts)


def judge_problematic(sample: Sample, row: int, p: int, facts: Facts) -> tuple[int, list[str]]:
    t = sample.target
    m = sample.multi_labels
    tags: list[str] = []

    # p = t ∈ M: correct, no tag
    if p == t and t in m:
        return CORRECT, tags

    # the first tag
    if not m:
        if p == t:
            tags.append("EMPTY_CORRECT")
        elif rule_2(t, p, facts):
            tags.append("EMPTY_CORRECT_BY_OVERLAP")
        else:
            tags.append("EMPTY_WRONG")
    elif p == t:  # and t ∉ M; otherwise it is correct above
        tags.append("CORRECT_BUT_WRONG_LABEL")

    # then rules 2 and 3, only where M is not empty and p ≠ t
    if m and p != t:
        if rule_2(t, p, facts):
            return CLASS_OVERLAP, tags
        if p in m:
            return MULTI_LABEL, tags

    # and 4 (no condition; it cannot hold if M is empty)
    if rule_4(m, p, facts):
        return FINE_GRAINED, tags

    # then, where t ∉ M (M may be empty)
    if t not in m:
        if p == t or share_superclass(t, p, facts.superclasses):
            tags.append("OOV_SIMILAR_TO_TARGET")
            return FINE_GRAINED_OOV, tags
        if is_pair(t, p, facts):
            tags.append("CO_OCCURRENCE_WITH_TARGET")
            return SPURIOUS_CORRELATION, tags

    return rules_5_to_8(sample, row, p, facts), tags


FIRST_TAGS = {
    "EMPTY_CORRECT": 1,
    "EMPTY_CORRECT_BY_OVERLAP": 2,
    "EMPTY_WRONG": 3,
    "CORRECT_BUT_WRONG_LABEL": 4,
}

STOPPED_AT_TARGET = {"OOV_SIMILAR_TO_TARGET", "CO_OCCURRENCE_WITH_TARGET"}


def byte(verdict: Verdict) -> int:
    """Return the byte: bits 0-3 the type, bits 4-6 the first tag (0 none), bit 7 stopped at the target."""
    value = verdict.error_type
    for tag in verdict.tags:
        if tag in FIRST_TAGS:
            value += 16 * FIRST_TAGS[tag]
        if tag in STOPPED_AT_TARGET:
            value += 128
    return value
