"""The list of rules: their order and their abstentions."""

from pathlib import Path

import pytest
from example_counts import max_examples
from hypothesis import given
from unit.rules.scenarios import ALL_CLASSES, Scenario, evidence_of, scenarios

from service import rules
from service.domain import ErrorType
from service.rules import ORDER, find_abstained_types


def test_rules_have_the_order_of_the_specification() -> None:
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
def test_rule_without_its_evidence_abstains(missing: str, error_type: ErrorType) -> None:
    evidence = {"oov": [{8}], "pairs": {(7, 8)}, "non_prototypical": [True]}

    assert find_abstained_types(evidence_of([7], [{7}], **evidence)) == ()
    assert find_abstained_types(evidence_of([7], [{7}], **evidence | {missing: None})) == (error_type,)


def test_abstained_rules_are_in_the_order_of_the_rules() -> None:
    assert find_abstained_types(evidence_of([7], [{7}])) == (
        ErrorType.FINE_GRAINED_OOV,
        ErrorType.SPURIOUS_CORRELATION,
        ErrorType.NON_PROTOTYPICAL,
    )


@max_examples(40)
@given(scenarios(max_samples=5))
def test_abstaining_rule_never_holds(scenario: Scenario) -> None:
    for rule in ORDER:
        hits = rule.hits(scenario.evidence, ALL_CLASSES)
        assert hits.shape == (len(scenario.samples), 1000)
        assert hits.dtype == bool
        assert not (rule.abstains(scenario.evidence) and hits.any())


@max_examples(40)
@given(scenarios(max_samples=5))
def test_last_rule_always_holds(scenario: Scenario) -> None:
    assert ORDER[-1].hits(scenario.evidence, ALL_CLASSES).all()


def test_every_rule_has_a_row_in_the_table() -> None:
    folder = Path(rules.__file__).parent
    modules = {file.stem for file in folder.glob("*.py")} - {"__init__", "decide", "outcomes", "rule", "table"}

    assert modules == {rule.error_type.key for rule in ORDER}
