"""Rule 5, fine-grained out of vocabulary: the gate holds and CLIP's best proposal is outside ImageNet."""

from unit.rules.scenarios import ALL_CLASSES, evidence_of

from service.rules.decide import decide
from service.rules.fine_grained_oov import hits


def test_rule_applies_to_the_classes_with_set_bits() -> None:
    oov = [{0, 7, 8, 999}, set(), {992}]

    mask = hits(evidence_of([1, 1, 1], [{1}] * 3, oov=oov), ALL_CLASSES)

    assert [set(row.nonzero()[0].tolist()) for row in mask] == oov


def test_decision_applies_to_one_image_and_one_class() -> None:
    table = decide(evidence_of([1, 1], [{1}, {1}], oov=[{50}, {51}]))

    assert [table[0, 50], table[0, 51], table[1, 50], table[1, 51]] == [5, 8, 8, 5]


def test_rule_abstains_without_clip() -> None:
    evidence = evidence_of([1], [{1}])

    assert not hits(evidence, ALL_CLASSES).any()
    assert 5 not in decide(evidence)


def test_oov_precedes_co_occurrence_and_non_prototypical() -> None:
    assert decide(evidence_of([1], [{1}], pairs={(1, 20)}, non_prototypical=[True], oov=[{20}]))[0, 20] == 5


def test_earlier_rules_precede_oov() -> None:
    table = decide(evidence_of([504], [{504, 7}], superclasses=[{7, 8}], oov=[range(1000)]))

    assert table[0, [504, 968, 7, 8, 9]].tolist() == [1, 2, 3, 4, 5]
