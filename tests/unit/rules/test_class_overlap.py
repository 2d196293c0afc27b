"""Rule 2, class overlap: the prediction is another ImageNet class for the same kind of object."""

from dataclasses import replace

import numpy as np
import pytest
from oracle.verdicts import OVERLAP
from unit.rules.scenarios import ALL_CLASSES, evidence_of

from service.rules.class_overlap import hits
from service.rules.decide import decide
from service.taxonomy.imagenet_1k import imagenet_1k


@pytest.mark.parametrize("target", [249, 482, 356, 504, 664, 0])
def test_rule_holds_for_the_overlaps_of_the_target(target: int) -> None:
    mask = hits(evidence_of([target], [{target}]), ALL_CLASSES)

    assert set(mask[0].nonzero()[0].tolist()) == OVERLAP.get(target, set())


def test_overlap_can_be_one_way() -> None:
    table = decide(evidence_of([504, 968], [{504}, {968}]))

    assert table[0, 968] == 2, "a coffee mug is a cup"
    assert table[1, 504] == 8, "a cup need not be a coffee mug"


def test_overlap_with_another_label_does_not_count() -> None:
    assert decide(evidence_of([7], [{7, 504}]))[0, 968] == 8


def test_overlap_precedes_multi_label() -> None:
    assert decide(evidence_of([664], [{664, 782}]))[0, 782] == 2


def test_overlap_precedes_fine_grained() -> None:
    assert decide(evidence_of([356], [{356}], superclasses=[{356, 357, 358, 359}]))[0].tolist()[356:360] == [1, 2, 2, 2]


def test_shipped_table_equals_that_of_the_specification() -> None:
    targets = [*range(1000)]
    evidence = replace(evidence_of(targets, [{target} for target in targets]), overlap=imagenet_1k().overlaps)

    mask = hits(evidence, ALL_CLASSES)

    assert {(row, class_) for row, class_ in np.argwhere(mask).tolist()} == {
        (target, predicted) for target, predictions in OVERLAP.items() for predicted in predictions
    }
