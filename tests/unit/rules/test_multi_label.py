"""Rule 3, multi-label: p ∈ M."""

from unit.rules.scenarios import ALL_CLASSES, evidence_of

from service.rules.decide import decide
from service.rules.multi_label import hits


def test_rule_holds_for_exactly_the_labels_of_the_image() -> None:
    mask = hits(evidence_of([7, 3, 5], [{7, 999, 0}, {3}, set()], problematic=[False, False, True]), ALL_CLASSES)

    assert [row.nonzero()[0].tolist() for row in mask] == [[0, 7, 999], [3], []]


def test_another_label_of_the_image_is_multi_label() -> None:
    assert decide(evidence_of([7], [{7, 8}]))[0, 8] == 3


def test_multi_label_precedes_fine_grained() -> None:
    assert decide(evidence_of([7], [{7, 8}], superclasses=[{7, 8}]))[0, 8] == 3


def test_label_of_another_image_does_not_count() -> None:
    table = decide(evidence_of([7, 1], [{7, 8}, {1}]))

    assert table[0, 8] == 3
    assert table[1, 8] == 8
