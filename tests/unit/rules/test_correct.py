"""Rule 1, correct: p = t."""

from unit.rules.scenarios import ALL_CLASSES, evidence_of

from service.rules.correct import hits
from service.rules.decide import decide


def test_rule_holds_for_the_target_only() -> None:
    mask = hits(evidence_of([0, 7, 999], [{0}, {7, 8}, {999}]), ALL_CLASSES)

    assert [row.nonzero()[0].tolist() for row in mask] == [[0], [7], [999]]


def test_rule_holds_for_the_first_and_the_last_class() -> None:
    table = decide(evidence_of([0, 999], [{0}, {999}]))

    assert table[0, 0] == table[1, 999] == 1
    assert table[0, 999] == table[1, 0] == 8


def test_correct_precedes_every_other_rule() -> None:
    evidence = evidence_of(
        [7], [{7, 8}], superclasses=[{7, 8}], pairs={(7, 8)}, non_prototypical=[True], oov=[range(1000)]
    )

    assert decide(evidence)[0, 7] == 1
