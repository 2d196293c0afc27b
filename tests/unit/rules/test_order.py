"""The table of rules: their order, and which of them abstain."""

import pytest
from hypothesis import given, settings
from unit.rules.worlds import World, evidence_of, worlds

from service.domain import ErrorType
from service.rules import ORDER, abstained


def test_the_rules_stand_in_the_order_of_the_spec() -> None:
    assert [rule.error_type.name for rule in ORDER] == [
        "CORRECT",
        "CLASS_OVERLAP",
        "MULTI_LABEL",
        "FINE_GRAINED",
        "FINE_GRAINED_OOV",
        "SPURIOUS_CORRELATION",
        "NON_PROTOTYPICAL",
        "MODEL_FAILURE",
    ]


@pytest.mark.parametrize(
    ("missing", "error_type"),
    [
        ("oov", ErrorType.FINE_GRAINED_OOV),
        ("pairs", ErrorType.SPURIOUS_CORRELATION),
        ("non_prototypical", ErrorType.NON_PROTOTYPICAL),
    ],
)
def test_a_rule_without_its_evidence_abstains(missing: str, error_type: ErrorType) -> None:
    given = {"oov": [{8}], "pairs": {(7, 8)}, "non_prototypical": [True]}

    assert abstained(evidence_of([7], [{7}], **given)) == ()
    assert abstained(evidence_of([7], [{7}], **given | {missing: None})) == (error_type,)


def test_all_that_can_abstain_do_in_the_order_of_the_rules() -> None:
    assert abstained(evidence_of([7], [{7}])) == (
        ErrorType.FINE_GRAINED_OOV,
        ErrorType.SPURIOUS_CORRELATION,
        ErrorType.NON_PROTOTYPICAL,
    )


@settings(max_examples=40, deadline=None)
@given(worlds(max_samples=5))
def test_a_rule_that_abstains_never_fires(world: World) -> None:
    for rule in ORDER:
        hits = rule.hits(world.evidence)
        assert hits.shape == (len(world.samples), 1000)
        assert hits.dtype == bool
        assert not (rule.abstains(world.evidence) and hits.any())


@settings(max_examples=40, deadline=None)
@given(worlds(max_samples=5))
def test_the_last_rule_leaves_nothing_over(world: World) -> None:
    assert ORDER[-1].hits(world.evidence).all()
