"""Rule 8, model failure: nothing above explains it."""

from unit.rules.worlds import evidence_of

from service.rules.decide import decide
from service.rules.model_failure import hits


def test_the_rule_claims_all_that_is_left() -> None:
    assert hits(evidence_of([1, 2], [{1}, {2}])).all()


def test_what_nothing_explains_is_a_model_failure() -> None:
    evidence = evidence_of([1], [{1}], pairs=set(), non_prototypical=[False], oov=[set()])

    table = decide(evidence)[0]

    assert table[1] == 1
    assert (table == 8).sum() == 999
