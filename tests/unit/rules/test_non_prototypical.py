"""Rule 7, non-prototypical: the sample is in the list."""

from unit.rules.scenarios import ALL_CLASSES, evidence_of

from service.rules.decide import decide
from service.rules.non_prototypical import hits


def test_rule_holds_for_every_prediction_of_a_listed_image() -> None:
    mask = hits(evidence_of([1, 2], [{1}, {2}], non_prototypical=[True, False]), ALL_CLASSES)

    assert mask[0].all()
    assert not mask[1].any()


def test_earlier_rules_precede_non_prototypical() -> None:
    evidence = evidence_of([1], [{1, 3}], superclasses=[{1, 2}], pairs={(1, 20)}, non_prototypical=[True], oov=[{30}])

    assert decide(evidence)[0, [1, 3, 2, 30, 20, 50]].tolist() == [1, 3, 4, 5, 6, 7]


def test_rule_abstains_without_a_list() -> None:
    evidence = evidence_of([1], [{1}])

    assert not hits(evidence, ALL_CLASSES).any()
    assert decide(evidence)[0, 50] == 8
