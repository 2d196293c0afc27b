"""Rule 8, model failure: no other rule holds."""

from unit.rules.scenarios import ALL_CLASSES, evidence_of

from service.rules.decide import decide
from service.rules.model_failure import hits


def test_rule_holds_for_every_prediction() -> None:
    assert hits(evidence_of([1, 2], [{1}, {2}]), ALL_CLASSES).all()


def test_unexplained_prediction_is_a_model_failure() -> None:
    evidence = evidence_of([1], [{1}], pairs=set(), non_prototypical=[False], oov=[set()])

    table = decide(evidence)[0]

    assert table[1] == 1
    assert (table == 8).sum() == 999
