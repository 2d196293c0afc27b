"""Rule 4, fine-grained: some c ∈ M shares a superclass with p."""

from unit.rules.scenarios import ALL_CLASSES, evidence_of

from service.rules.decide import decide
from service.rules.fine_grained import hits


def test_class_that_shares_a_superclass_with_the_target_is_fine_grained() -> None:
    assert decide(evidence_of([1], [{1}], superclasses=[{1, 2}]))[0, 2] == 4


def test_class_that_shares_a_superclass_with_another_label_is_fine_grained() -> None:
    assert decide(evidence_of([7], [{7, 1}], superclasses=[{1, 2}]))[0, 2] == 4


def test_target_of_a_problematic_sample_counts_only_if_it_is_a_label() -> None:
    mask = hits(evidence_of([1], [{50}], problematic=[True], superclasses=[{1, 2}]), ALL_CLASSES)

    assert mask[0].nonzero()[0].tolist() == [50]


def test_sharing_a_superclass_is_not_transitive() -> None:
    table = decide(evidence_of([1, 2], [{1}, {2}], superclasses=[{1, 2}, {2, 3}]))

    assert table[0, 3] == 8
    assert table[1, 1] == table[1, 3] == 4


def test_classes_without_superclass_share_none() -> None:
    assert decide(evidence_of([98], [{98}]))[0, 99] == 8


def test_rule_does_not_hold_for_an_image_without_labels() -> None:
    mask = hits(evidence_of([1, 1, 2], [set(), {1}, set()], problematic=[True] * 3, superclasses=[{1, 2}]), ALL_CLASSES)

    assert [row.nonzero()[0].tolist() for row in mask] == [[], [1, 2], []]


def test_fine_grained_precedes_co_occurrence_and_oov() -> None:
    assert decide(evidence_of([1], [{1}], superclasses=[{1, 2}], pairs={(1, 2)}, oov=[{2}]))[0, 2] == 4
