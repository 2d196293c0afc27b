"""Rule 2, class overlap: the prediction is another ImageNet class for the same thing."""

import pytest
from oracle.verdicts import OVERLAP
from unit.rules.worlds import evidence_of

from service.evidence.overlap import overlap_matrix
from service.rules.class_overlap import hits
from service.rules.decide import decide


@pytest.mark.parametrize("target", [249, 482, 356, 504, 664, 0])
def test_what_the_table_names_for_the_target_is_claimed(target: int) -> None:
    mask = hits(evidence_of([target], [{target}]))

    assert set(mask[0].nonzero()[0].tolist()) == OVERLAP.get(target, set())


def test_a_coffee_mug_taken_for_a_cup_is_right_and_a_cup_taken_for_a_coffee_mug_is_not() -> None:
    table = decide(evidence_of([504, 968], [{504}, {968}]))

    assert table[0, 968] == 2
    assert table[1, 504] == 8


def test_overlap_is_asked_of_the_target_and_not_of_other_labels() -> None:
    assert decide(evidence_of([7], [{7, 504}]))[0, 968] == 8


def test_overlap_comes_before_the_multi_labels() -> None:
    assert decide(evidence_of([664], [{664, 782}]))[0, 782] == 2


def test_overlap_comes_before_the_superclass() -> None:
    assert decide(evidence_of([356], [{356}], superclasses=[{356, 357, 358, 359}]))[0].tolist()[356:360] == [1, 2, 2, 2]


def test_the_rule_reads_the_table_that_evidence_ships() -> None:
    evidence = evidence_of(sorted(OVERLAP), [{target} for target in sorted(OVERLAP)])

    assert (hits(evidence) == overlap_matrix()[sorted(OVERLAP)]).all()
