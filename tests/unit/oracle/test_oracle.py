"""Hand-written cases for the oracle; every expected value was derived by hand from the spec."""

from collections.abc import Callable

import pytest
from oracle import aggregates, cooccurrence, superclasses, verdicts
from oracle import proposals as oov
from oracle.verdicts import Facts, Sample, Verdict, byte, judge

# Classes in the rules' cases: 1, 2 and 3 share superclass {1, 2, 3}; 3 and 4 share {3, 4}; 10 and 11 share
# {10, 11}; all others are alone. Pairs: (1, 20), (10, 30). Overlap: 5 -> 6, 1 -> 10.
SUPER: list[set[int]] = [{1, 2, 3}, {3, 4}, {10, 11}]
PAIRS = {(1, 20), (10, 30)}


def facts(
    oov: Callable[[int, int], bool] | None = None,
    cooccurrence: set[tuple[int, int]] | None = PAIRS,
    has_prototype_list: bool = True,
) -> Facts:
    return Facts({5: {6}, 1: {10}}, SUPER, cooccurrence, has_prototype_list, oov)


def always(row: int, predicted: int) -> bool:
    return True


def sample(t: int, m: set[int], problematic: bool = False, nonproto: bool = False) -> Sample:
    return Sample(t, frozenset(m), problematic, nonproto)


# superclasses


def test_matching_classes() -> None:
    lemmas = [{"dog", "animal"}, {"cat", "animal"}, {"Dog", "animal"}, {"wheeled_vehicle", "car"}]
    assert superclasses.matching_classes([["dog"]], lemmas) == {0}
    assert superclasses.matching_classes([["animal", "cat"], ["car"]], lemmas) == {1, 3}
    assert superclasses.matching_classes([["wheeled vehicle"]], lemmas) == set()
    assert superclasses.matching_classes([["unicorn"]], lemmas) == set()
    assert superclasses.matching_classes([["dog", "cat"]], lemmas) == set()
    assert superclasses.matching_classes([], lemmas) == set()


def test_share_superclass() -> None:
    assert superclasses.share_superclass(1, 3, SUPER)
    assert superclasses.share_superclass(4, 3, SUPER)
    assert not superclasses.share_superclass(1, 4, SUPER)  # not transitive
    assert superclasses.share_superclass(99, 99, SUPER)  # alone: shares with itself
    assert not superclasses.share_superclass(99, 98, SUPER)  # two classes in none share nothing


def test_gate() -> None:
    far = [50, 51, 52, 53, 54, 55, 56, 57, 58]
    assert verdicts.gate_holds([*far, 2], 1, SUPER)
    assert not verdicts.gate_holds([*far, 59, 2], 1, SUPER)  # the eleventh does not count
    assert verdicts.gate_holds([*far, 99], 99, SUPER)
    assert not verdicts.gate_holds([4], 1, SUPER)
    assert not verdicts.gate_holds([], 1, SUPER)


# co-occurrence


def test_cooccurrence() -> None:
    labels = [{1, 20}, {20, 1, 2}, {7}, set(), {2, 20}, {1, 2}, {30, 20}]
    assert cooccurrence.count_pairs(labels) == {(1, 20): 2, (1, 2): 2, (2, 20): 2, (20, 30): 1}
    assert cooccurrence.pairs(labels, SUPER) == {(1, 20), (2, 20)}  # (1, 2) share one; (20, 30) seen once
    assert cooccurrence.pairs(iter(labels), []) == {(1, 20), (2, 20), (1, 2)}


# the overlap table


def test_overlap_table() -> None:
    expected = {
        (249, 248), (250, 248), (836, 837), (837, 836), (385, 101), (386, 101), (504, 968), (638, 639),
        (639, 638), (657, 744), (744, 657), (620, 681), (681, 620), (664, 782), (782, 664), (482, 848),
        (356, 357), (356, 358), (356, 359), (357, 356), (357, 358), (357, 359), (358, 356), (358, 357),
        (358, 359), (359, 356), (359, 357), (359, 358), (435, 876),
    }  # fmt: skip
    assert {(t, p) for t, ps in verdicts.OVERLAP.items() for p in ps} == expected


# rules, ordinary samples


@pytest.mark.parametrize(
    ("one", "predicted", "evidence", "expected"),
    [
        (sample(1, {1}), 1, facts(always), 1),
        (sample(5, {5}), 6, facts(), 2),
        (sample(6, {6}), 5, facts(), 8),  # one direction only
        (sample(1, {1, 10}), 10, facts(), 2),  # rule 2 before rule 3
        (sample(7, {7, 8}), 8, facts(), 3),
        (sample(7, {7, 1}), 2, facts(always), 4),  # through another label than the target
        (sample(1, {1}), 4, facts(always), 5),
        (sample(1, {1}), 20, facts(always), 5),  # rule 5 before rule 6
        (sample(1, {1}), 20, facts(), 6),
        (sample(20, {20}), 1, facts(), 6),  # unordered
        (sample(7, {7, 20}), 1, facts(), 6),
        (sample(1, {1}, nonproto=True), 20, facts(), 6),  # rule 6 before rule 7
        (sample(1, {1}, nonproto=True), 50, facts(), 7),
        (sample(1, {1}), 50, facts(), 8),
        (sample(1, {1}), 50, facts(lambda row, p: (row, p) == (17, 50)), 5),
        (sample(1, {1}), 51, facts(lambda row, p: (row, p) == (17, 50)), 8),
        # abstentions
        (sample(1, {1}), 20, facts(cooccurrence=None), 8),
        (sample(1, {1}, nonproto=True), 20, facts(cooccurrence=None), 7),
        (sample(1, {1}, nonproto=True), 50, facts(has_prototype_list=False), 8),
    ],
)
def test_ordinary(one: Sample, predicted: int, evidence: Facts, expected: int) -> None:
    verdict = judge(one, 17, predicted, evidence)
    assert verdict == Verdict(expected, [])
    assert byte(verdict) == expected


# rejected targets: e is the first label


@pytest.mark.parametrize(
    ("t", "m", "first", "predicted", "evidence", "expected"),
    [
        (7, {8}, 8, 7, facts(), 8),  # p = t ∉ M is an error
        (7, {8}, 8, 7, facts(always), 5),
        (7, {8}, 8, 8, facts(), 3),  # p = e
        (7, {5}, 5, 6, facts(), 2),  # overlap of e
        (7, {5, 8}, 8, 6, facts(), 8),  # 5 is a label, but not the first
        (5, {7}, 7, 6, facts(), 8),  # not of t
        (6, {5}, 5, 6, facts(), 2),  # p = t overlaps e
        (2, {1}, 1, 2, facts(), 4),  # p = t, similar to a label
        (2, {8}, 8, 1, facts(), 8),  # similar to t alone
        (20, {1}, 1, 20, facts(), 6),  # p = t co-occurs with a label
        (1, {8}, 8, 20, facts(), 8),  # co-occurs with t alone
    ],
)
def test_rejected_target(t: int, m: set[int], first: int, predicted: int, evidence: Facts, expected: int) -> None:
    one = Sample(t, frozenset(m), False, False, first)

    assert judge(one, 17, predicted, evidence) == Verdict(expected, [])


def test_problematic_sample_is_not_rejected() -> None:
    assert sample(1, {2}, problematic=True).e == 1
    assert not sample(1, {2}, problematic=True).is_rejected


# problematic samples


@pytest.mark.parametrize(
    ("t", "m", "predicted", "evidence", "error_type", "tags", "as_byte"),
    [
        # p = t ∈ M
        (1, {1}, 1, facts(), 1, ["UNTAGGED"], 0x01),
        # M empty, p = t: the target is not in M and p = t, so it stops there whatever CLIP says
        (1, set(), 1, facts(), 5, ["EMPTY_CORRECT", "OOV_SIMILAR_TO_TARGET"], 0x95),
        (99, set(), 99, facts(), 5, ["EMPTY_CORRECT", "OOV_SIMILAR_TO_TARGET"], 0x95),
        # M empty, overlap: rule 2 itself does not decide
        (5, set(), 6, facts(), 8, ["EMPTY_CORRECT_BY_OVERLAP"], 0x28),
        (5, set(), 6, facts(always), 5, ["EMPTY_CORRECT_BY_OVERLAP"], 0x25),
        # M empty, wrong
        (1, set(), 2, facts(), 5, ["EMPTY_WRONG", "OOV_SIMILAR_TO_TARGET"], 0xB5),
        (1, set(), 20, facts(always), 6, ["EMPTY_WRONG", "CO_OCCURRENCE_WITH_TARGET"], 0xB6),
        (20, set(), 1, facts(), 6, ["EMPTY_WRONG", "CO_OCCURRENCE_WITH_TARGET"], 0xB6),
        (1, set(), 20, facts(always, None), 5, ["EMPTY_WRONG"], 0x35),
        (1, set(), 20, facts(None, None), 8, ["EMPTY_WRONG"], 0x38),
        (1, set(), 50, facts(always), 5, ["EMPTY_WRONG"], 0x35),
        (1, set(), 50, facts(), 8, ["EMPTY_WRONG"], 0x38),
        # M not empty, p = t ∉ M
        (1, {2}, 1, facts(), 4, ["CORRECT_BUT_WRONG_LABEL"], 0x44),
        (1, {50}, 1, facts(), 5, ["CORRECT_BUT_WRONG_LABEL", "OOV_SIMILAR_TO_TARGET"], 0xC5),
        (1, {20}, 1, facts(), 5, ["CORRECT_BUT_WRONG_LABEL", "OOV_SIMILAR_TO_TARGET"], 0xC5),
        # M not empty, p ≠ t: rules 2, 3 and 4
        (5, {50}, 6, facts(), 2, ["UNTAGGED"], 0x02),
        (1, {10}, 10, facts(), 2, ["UNTAGGED"], 0x02),
        (7, {8}, 8, facts(), 3, ["UNTAGGED"], 0x03),
        (7, {7, 8}, 8, facts(), 3, ["UNTAGGED"], 0x03),
        (7, {1}, 2, facts(), 4, ["UNTAGGED"], 0x04),
        (1, {4}, 3, facts(), 4, ["UNTAGGED"], 0x04),  # rule 4 before "similar to target"
        # M not empty, t ∉ M, p ≠ t: the target
        (1, {50}, 2, facts(), 5, ["OOV_SIMILAR_TO_TARGET"], 0x85),
        (1, {50}, 20, facts(always), 6, ["CO_OCCURRENCE_WITH_TARGET"], 0x86),
        (1, {50}, 20, facts(None, None), 8, ["UNTAGGED"], 0x08),
        (7, {50}, 51, facts(always), 5, ["UNTAGGED"], 0x05),
        (7, {10}, 30, facts(), 6, ["UNTAGGED"], 0x06),
        (7, {50}, 51, facts(), 8, ["UNTAGGED"], 0x08),
        # t ∈ M: the target is no special case, rule 5 comes before the pair
        (1, {1}, 20, facts(always), 5, ["UNTAGGED"], 0x05),
        (1, {1}, 20, facts(), 6, ["UNTAGGED"], 0x06),
        (1, {1}, 2, facts(), 4, ["UNTAGGED"], 0x04),
    ],
)
def test_problematic(
    t: int, m: set[int], predicted: int, evidence: Facts, error_type: int, tags: list[str], as_byte: int
) -> None:
    verdict = judge(sample(t, m, problematic=True), 0, predicted, evidence)
    assert verdict == Verdict(error_type, tags)
    assert byte(verdict) == as_byte


def test_problematic_non_prototypical() -> None:
    verdict = judge(sample(1, set(), problematic=True, nonproto=True), 0, 50, facts())
    assert verdict == Verdict(7, ["EMPTY_WRONG"])
    assert byte(verdict) == 0x37


# proposals
#
#   1 entity ─ 10 organism ┬ 20 dog, domestic_dog ┬ 30 hound ┬ 40 Beagle        class 0
#            │             │                      │          ├ 41 basset        class 1
#            │             │                      │          └ 39 Afghan_hound
#            │             │                      └ 31 puppy
#            │             └ 21 cat                                             class 2
#            └ 11 thing ─ 5 pet ┬ 40 Beagle (a second parent)
#                               └ 38 goldfish                                   class 3
TAXONOMY = oov.Taxonomy(
    lemmas={
        1: ["entity"], 10: ["organism", "being"], 20: ["dog", "domestic_dog"], 30: ["hound"], 31: ["puppy"],
        40: ["Beagle"], 41: ["basset"], 39: ["Afghan_hound"], 21: ["cat"], 11: ["thing"], 5: ["pet"],
        38: ["goldfish"],
    },
    hypernyms={
        1: [], 10: [1], 20: [10], 30: [20], 31: [20], 40: [30, 5], 41: [30], 39: [30], 21: [10], 11: [1],
        5: [11], 38: [5],
    },
    hyponyms={
        1: [11, 10], 10: [21, 20], 20: [31, 30], 30: [41, 40, 39], 11: [5], 5: [40, 38],
    },
    synset_of_class={0: 40, 1: 41, 2: 21, 3: 38},
)  # fmt: skip


def test_blocked() -> None:
    assert oov.blocked(TAXONOMY, 1) == {41, 30, 20, 10, 1}
    assert oov.blocked(TAXONOMY, 0) == {40, 30, 20, 10, 1, 5, 11}


def test_hypernym_paths() -> None:
    assert oov.hypernym_paths(TAXONOMY, 40) == [(1, 10, 20, 30, 40), (1, 11, 5, 40)]


def test_proposals() -> None:
    # p = Beagle, t = cat (blocked 21, 10, 1): p; no superclass; siblings 38, 39, 41 (and p again); path
    # organism (met, blocked), dog, hound, p; the other path meets no meta label.
    assert oov.proposals(TAXONOMY, [], 2, 0) == [40, 38, 39, 41, 20, 30]
    # a superclass puts its classes first, in class order, blocked or not: here the target itself
    assert oov.proposals(TAXONOMY, [{3, 2, 0}], 2, 0) == [40, 21, 38, 39, 41, 20, 30]
    # t = basset blocks itself, hound, dog, organism
    assert oov.proposals(TAXONOMY, [], 1, 0) == [40, 38, 39]
    # t = Beagle, p = goldfish: its only sibling is blocked, its path has no meta label
    assert oov.proposals(TAXONOMY, [], 0, 3) == [38]
    # t = goldfish, p = cat: sibling dog; the path's organism is not blocked, entity comes too early
    assert oov.proposals(TAXONOMY, [], 3, 2) == [21, 20, 10]


def test_texts_and_best() -> None:
    assert oov.texts(TAXONOMY, [39, 20]) == [
        (39, "A photo of a afghan hound"),
        (20, "A photo of a dog"),
        (20, "A photo of a domestic dog"),
    ]
    scores = {"A photo of a domestic dog": 0.9, "A photo of a beagle": 0.3}
    assert oov.best(TAXONOMY, [40, 39, 20], lambda text: scores.get(text, 0.1)) == 20
    assert oov.best(TAXONOMY, [39, 40, 20], lambda text: 0.5) == 39  # a tie: the first in order
    assert oov.best(TAXONOMY, [40, 39], lambda text: -len(text) / 100) == 40  # all below zero
    assert oov.outside_imagenet(TAXONOMY, 39)
    assert not oov.outside_imagenet(TAXONOMY, 40)


def test_equal_texts_of_two_synsets() -> None:
    crane = oov.Taxonomy({1: ["crane"], 2: ["Crane"]}, {}, {}, {0: 1, 1: 2})
    assert oov.best(crane, [2, 1], lambda text: 0.0) == 2
    assert oov.best(crane, [1, 2], lambda text: 0.0) == 1


# aggregates


SAMPLES = [
    sample(1, {1}),
    sample(1, {1, 7}),
    sample(1, {1, 7}),
    sample(2, {2}),
    sample(3, {3, 7}),
    sample(9, {9}),
    sample(9, set(), problematic=True),
]
PREDICTIONS = [1, 7, 50, 3, 20, 50, 9]
VERDICTS = [
    Verdict(1), Verdict(3), Verdict(8), Verdict(4), Verdict(6), Verdict(8),
    Verdict(5, ["EMPTY_CORRECT", "OOV_SIMILAR_TO_TARGET"]),
]  # fmt: skip


def test_aggregate_all() -> None:
    actual = aggregates.aggregate(SAMPLES, PREDICTIONS, VERDICTS, None)
    assert actual.num_samples == 6
    assert actual.counts == {1: 1, 2: 0, 3: 1, 4: 1, 5: 0, 6: 1, 7: 0, 8: 2}
    assert actual.top1_errors == 5
    assert actual.top1_accuracy == pytest.approx(1 / 6)
    assert actual.mla == pytest.approx((2 / 3) / 4)  # class 1: 2 of 3; classes 2, 3, 9: none
    assert actual.mla_minor == pytest.approx((2 / 3 + 1) / 4)
    assert actual.mla_explainable == pytest.approx((2 / 3 + 1 + 1) / 4)
    assert actual.portions_top1 == {2: 0.0, 3: 0.2, 4: 0.2, 5: 0.0, 6: 0.2, 7: 0.0, 8: 0.4}
    assert actual.portions_multi_label == {4: 0.25, 5: 0.0, 6: 0.25, 7: 0.0, 8: 0.5}


def test_aggregate_with_rejected_targets() -> None:
    # row 0: p = t ∉ M, a failure; row 1: p = e; row 2: correct; e is 7, 7, 1
    samples = [Sample(1, frozenset({7}), False, False, 7), Sample(1, frozenset({7, 8}), False, False, 7), SAMPLES[0]]
    actual = aggregates.aggregate(samples, [1, 7, 1], [Verdict(8), Verdict(3), Verdict(1)], None)
    assert actual.top1_errors == 1
    assert actual.top1_accuracy == pytest.approx(2 / 3)
    assert actual.accuracy_against_labels == pytest.approx(2 / 3)
    assert actual.image_level_mla == pytest.approx(2 / 3)
    assert actual.mla == pytest.approx((1 / 2 + 1) / 2)
    assert actual.portions_top1[3] == actual.portions_top1[8] == 0.5  # of verdicts 2 to 8
    assert set(aggregates.gain_if_fixed_top1(samples, [Verdict(8), Verdict(3), Verdict(1)]).values()) == {None}


def test_aggregate_group() -> None:
    # class 7 is no target; rows 1, 2 and 4 carry it. Target 1: 1 of 2; target 3: 0 of 1.
    actual = aggregates.aggregate(SAMPLES, PREDICTIONS, VERDICTS, {7})
    assert actual.num_samples == 3
    assert actual.counts == {1: 0, 2: 0, 3: 1, 4: 0, 5: 0, 6: 1, 7: 0, 8: 1}
    assert actual.top1_errors == 3
    assert actual.top1_accuracy == 0.0
    assert actual.mla == pytest.approx(0.25)
    assert actual.mla_minor == pytest.approx(0.25)
    assert actual.mla_explainable == pytest.approx(0.75)


def test_aggregate_without_samples_or_errors() -> None:
    nothing = aggregates.aggregate(SAMPLES, PREDICTIONS, VERDICTS, {800})
    assert nothing.num_samples == 0
    assert nothing.top1_errors == 0
    assert nothing.top1_accuracy is None
    assert (nothing.mla, nothing.mla_minor, nothing.mla_explainable) == (None, None, None)
    assert set(nothing.portions_top1.values()) == {None}
    right = aggregates.aggregate(SAMPLES[:1], [1], [Verdict(1)], None)
    assert (right.top1_accuracy, right.mla) == (1.0, 1.0)
    assert set(right.portions_top1.values()) | set(right.portions_multi_label.values()) == {None}
    only_3 = aggregates.aggregate(SAMPLES[1:2], [7], [Verdict(3)], None)
    assert only_3.portions_top1[3] == 1.0
    assert set(only_3.portions_multi_label.values()) == {None}
    with pytest.raises(ValueError, match="add up"):
        aggregates.aggregate(SAMPLES[:1], [2], [Verdict(1)], None)


def test_imagenet_m() -> None:
    assert aggregates.imagenet_m_errors({0, 1, 2, 4, 6}, SAMPLES, VERDICTS) == 2  # rows 2 and 4
    assert aggregates.imagenet_m_errors(set(), SAMPLES, VERDICTS) == 0


def test_gains() -> None:
    top1 = aggregates.gain_if_fixed_top1(SAMPLES, VERDICTS)
    assert top1 == {2: 0.0, 3: 1 / 6, 4: 1 / 6, 5: 0.0, 6: 1 / 6, 7: 0.0, 8: 2 / 6}
    mla = aggregates.gain_if_fixed_mla(SAMPLES, VERDICTS)
    assert mla == pytest.approx({2: 0.0, 3: 0.0, 4: 1 / 4, 5: 0.0, 6: 1 / 4, 7: 0.0, 8: (1 / 3 + 1) / 4})
    of_super = aggregates.gain_if_fixed_mla(SAMPLES, VERDICTS, superclass={1, 2})
    assert of_super == pytest.approx({2: 0.0, 3: 0.0, 4: 1 / 2, 5: 0.0, 6: 0.0, 7: 0.0, 8: (1 / 3) / 2})
    assert set(aggregates.gain_if_fixed_top1(SAMPLES, VERDICTS, {800}).values()) == {None}
    assert set(aggregates.gain_if_fixed_mla(SAMPLES, VERDICTS, {800}).values()) == {None}


def test_mcnemar() -> None:
    assert aggregates.mcnemar(0, 0) == 1.0
    assert aggregates.mcnemar(1, 0) == 1.0
    assert aggregates.mcnemar(5, 5) == 1.0
    assert aggregates.mcnemar(0, 5) == 2 / 32
    assert aggregates.mcnemar(6, 0) == 2 / 64
    assert aggregates.mcnemar(1, 5) == 2 * (1 + 6) / 64
    assert aggregates.mcnemar(8, 2) == aggregates.mcnemar(2, 8) == 2 * (1 + 10 + 45) / 1024
    assert 0.0 <= aggregates.mcnemar(3000, 10) < 1e-300
