"""Rule 6, spurious correlation: some c ∈ M and p are a co-occurrence pair."""

import pytest
from unit.rules.scenarios import ALL_CLASSES, evidence_of

from service.rules.decide import decide
from service.rules.spurious_correlation import hits


@pytest.mark.parametrize(("label", "predicted"), [(1, 20), (20, 1)])
def test_pair_holds_in_both_directions(label: int, predicted: int) -> None:
    assert decide(evidence_of([label], [{label}], pairs={(1, 20)}))[0, predicted] == 6


def test_pair_with_any_label_holds() -> None:
    mask = hits(evidence_of([7], [{7, 20, 30}], pairs={(1, 20), (2, 30), (3, 40)}), ALL_CLASSES)

    assert mask[0].nonzero()[0].tolist() == [1, 2]


def test_co_occurrence_is_not_transitive() -> None:
    assert decide(evidence_of([1], [{1}], pairs={(1, 20), (20, 30)}))[0, 30] == 8


def test_rule_abstains_without_pairs() -> None:
    evidence = evidence_of([1], [{1}])

    assert not hits(evidence, ALL_CLASSES).any()
    assert 6 not in decide(evidence)


def test_spurious_correlation_precedes_non_prototypical() -> None:
    assert decide(evidence_of([1], [{1}], pairs={(1, 20)}, non_prototypical=[True]))[0, 20] == 6
