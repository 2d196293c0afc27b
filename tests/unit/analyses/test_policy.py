"""Gate policies: valid ones parse, invalid ones are refused with field and line, and no other error is raised."""

import copy
from typing import Any

import pytest
import yaml
from errata.errors import InvalidPolicy, InvalidRequest, Violation
from example_counts import max_examples
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from service.analyses.policy import MAX_BOUNDS, MAX_BYTES, check_baseline, parse_policy, policy_schema
from service.domain import ALL, Bound, ErrorType, GatePolicy, Measure
from service.taxonomy.imagenet_1k import GROUPS

GOOD = """\
version: 1
name: release
min_samples: 500
min_coverage: 0.99
bounds:
  - name: still good
    measure: multi_label_accuracy
    min: 0.8
    max: 1
  - measure: count
    types: [FINE_GRAINED, FINE_GRAINED_OOV]
    group: organism
    max: 40
  - measure: severe_error_rate
    max_increase: 0.005
    alpha: 0.05
  - measure: rate
    types: MODEL_FAILURE
    max_increase: 0
    max_decrease: 0.5
    undecided_within_interval: true
"""
SHORTEST = "version: 1\nbounds: [{measure: top1_accuracy, min: 0.5}]\n"
GOODS = [
    GOOD,
    SHORTEST,
    "{version: 1, bounds: [{measure: imagenet_m_errors, max: 12}]}",
    '{"version": 1, "bounds": [{"measure": "portion_of_top1_errors", "types": ["CLASS_OVERLAP"], "max": 0.25}]}',
    "# a comment\n---\nversion: 1\nmin_samples: 0\nbounds:\n- {measure: rate, types: [MULTI_LABEL], min: 0}\n...\n",
    "version: 1\nbounds:\n- {measure: portion_of_multi_label_errors, types: NON_PROTOTYPICAL, max_increase: 1}\n",
    "version: 1\nbounds:\n- {measure: count, types: MODEL_FAILURE, group: other, max_increase: 3, alpha: 0.5}\n",
    "version: 1\nmin_coverage: 1\nbounds: &all\n- {measure: top1_error_rate, max: 1.0}\n",  # an anchor without an alias
]


def of(bound: str, rest: str = "") -> str:
    """Return a policy with one bound, on line 3."""
    return f"version: 1\nbounds:\n  - {{{bound}}}\n{rest}"


def refused(text: str | bytes) -> InvalidPolicy:
    with pytest.raises(InvalidPolicy) as raised:
        parse_policy(text)
    return raised.value


def only(text: str | bytes) -> Violation:
    error = refused(text)
    (violation,) = error.violations
    assert violation.description in error.message
    return violation


def test_a_policy_with_all_fields_is_parsed() -> None:
    assert parse_policy(GOOD) == GatePolicy(
        name="release",
        min_samples=500,
        min_coverage=0.99,
        bounds=(
            Bound("still good", Measure.MULTI_LABEL_ACCURACY, min=0.8, max=1),
            Bound(
                "bound 2",
                Measure.COUNT,
                (ErrorType.FINE_GRAINED, ErrorType.FINE_GRAINED_OOV),
                "organism",
                max=40,
            ),
            Bound("bound 3", Measure.SEVERE_ERROR_RATE, max_increase=0.005, alpha=0.05),
            Bound(
                "bound 4",
                Measure.RATE,
                (ErrorType.MODEL_FAILURE,),
                max_increase=0,
                max_decrease=0.5,
                undecided_within_interval=True,
            ),
        ),
    )


def test_a_policy_can_accept_any_coverage() -> None:
    assert parse_policy(f"min_coverage: null\n{SHORTEST}").min_coverage is None
    assert parse_policy(f"min_coverage: 0\n{SHORTEST}").min_coverage == 0


@pytest.mark.parametrize("measure", ["top1_accuracy", "severe_error_rate", "accuracy_against_labels"])
def test_a_bound_on_a_change_may_be_undecided_within_its_interval(measure: str) -> None:
    (bound,) = parse_policy(of(f"measure: {measure}, max_decrease: 0.1, undecided_within_interval: true")).bounds

    assert bound.undecided_within_interval


def test_missing_fields_have_defaults() -> None:
    policy = parse_policy(SHORTEST)

    assert (policy.min_samples, policy.min_coverage) == (100, 0.99)  # 100: spec/statistics
    assert policy.name
    (bound,) = policy.bounds
    assert (bound.group, bound.types, bound.alpha, bound.undecided_within_interval) == (ALL, (), None, False)
    assert (bound.min, bound.max, bound.max_increase, bound.max_decrease) == (0.5, None, None, None)


@pytest.mark.parametrize("text", GOODS)
def test_good_policies_parse_as_text_and_as_bytes(text: str) -> None:
    assert parse_policy(text) == parse_policy(text.encode())


@pytest.mark.parametrize("measure", list(Measure))
def test_every_measure_can_be_bounded(measure: Measure) -> None:
    types = "types: MODEL_FAILURE, " if "portion" in measure or measure in ("count", "rate") else ""

    (bound,) = parse_policy(of(f"measure: {measure.value}, {types}max: 1")).bounds

    assert bound.measure is measure
    assert bound.types == ((ErrorType.MODEL_FAILURE,) if types else ())


@pytest.mark.parametrize("kind", list(ErrorType)[1:])
def test_every_error_type_can_be_counted_by_name(kind: ErrorType) -> None:
    for name in (kind.name, f"[{kind.name}]", f"[{kind.name}, {kind.name}]"):
        (bound,) = parse_policy(of(f"measure: count, types: {name}, max: 1")).bounds
        assert bound.types == (kind,)


def test_a_policy_can_have_any_encoding_of_yaml() -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert parse_policy(GOOD.replace("release", "Größe").encode(encoding)).name == "Größe"


# ---- mistakes: text, field, line, and a word of the message

MISTAKES = [
    # the document
    ("bounds: [{measure: top1_accuracy, min: 0.5}]", "version", 1, "missing"),
    ("version: 2\nbounds: [{measure: top1_accuracy, min: 0.5}]", "version", 1, "expected 1, got 2"),
    ("version: '1'\nbounds: [{measure: top1_accuracy, min: 0.5}]", "version", 1, "'1'"),
    ("version: 1", "bounds", 1, "missing"),
    ("version: 1\nbounds:", "bounds", 2, "list"),
    ("version: 1\nbounds: []", "bounds", 2, "the list is empty; add an entry"),
    ("version: 1\nbounds: {measure: top1_accuracy, min: 0.5}", "bounds", 2, "list"),
    ("version: 1\nbounds: [top1_accuracy]", "bounds[0]", 2, "top1_accuracy"),
    (of("measure: top1_accuracy, min: 0.5", "minimum: 3"), "minimum", 4, "unknown field"),
    (of("measure: top1_accuracy, min: 0.5", "name: 3"), "name", 4, "string"),
    (of("measure: top1_accuracy, min: 0.5", f"name: {'x' * 121}"), "name", 4, "120"),
    (of("measure: top1_accuracy, min: 0.5", "min_samples: 1.5"), "min_samples", 4, "1.5"),
    (of("measure: top1_accuracy, min: 0.5", "min_samples: many"), "min_samples", 4, "many"),
    (of("measure: top1_accuracy, min: 0.5", "min_samples: true"), "min_samples", 4, "True"),
    (of("measure: top1_accuracy, min: 0.5", "min_samples: -1"), "min_samples", 4, "-1"),
    (of("measure: top1_accuracy, min: 0.5", "min_coverage: 1.01"), "min_coverage", 4, "1.01"),
    (of("measure: top1_accuracy, min: 0.5", "min_coverage: -0.1"), "min_coverage", 4, "-0.1"),
    (of("measure: top1_accuracy, min: 0.5", "min_coverage: .nan"), "min_coverage", 4, "nan"),
    (of("measure: top1_accuracy, min: 0.5", "min_coverage: .inf"), "min_coverage", 4, "inf"),
    # a field of a bound
    (of("measure: top1_accuracy, minimum: 0.5, min: 0"), "bounds[0].minimum", 3, "0.5"),
    (of("min: 0.5"), "bounds[0].measure", 3, "missing"),
    (of("measure: top5_accuracy, min: 0.5"), "bounds[0].measure", 3, "top5_accuracy"),
    (of("measure: sever_error_rate, max: 0.5"), "bounds[0].measure", 3, "; similar name: severe_error_rate"),
    (of("measure: 3, min: 0.5"), "bounds[0].measure", 3, "got 3"),
    (of("measure: top1_accuracy, min: half"), "bounds[0].min", 3, "half"),
    (of("measure: top1_accuracy, min: '0.5'"), "bounds[0].min", 3, "'0.5'"),
    (of("measure: top1_accuracy, min: true"), "bounds[0].min", 3, "True"),
    (of("measure: top1_accuracy, min: [0.5]"), "bounds[0].min", 3, "[0.5]"),
    (of("measure: top1_accuracy, min: -0.5"), "bounds[0].min", 3, "-0.5"),
    (of("measure: top1_accuracy, min: .nan"), "bounds[0].min", 3, "nan"),
    (of("measure: top1_accuracy, max: .NaN"), "bounds[0].max", 3, "number"),
    (of("measure: top1_accuracy, min: -.inf"), "bounds[0].min", 3, "inf"),
    (of("measure: top1_accuracy, max_decrease: .nan"), "bounds[0].max_decrease", 3, "nan"),
    (of("measure: top1_accuracy, max_increase: -0.1"), "bounds[0].max_increase", 3, "-0.1"),
    (of("measure: top1_accuracy, max_decrease: 0, alpha: 0"), "bounds[0].alpha", 3, "got 0"),
    (of("measure: top1_accuracy, max_decrease: 0, alpha: 1"), "bounds[0].alpha", 3, "got 1"),
    (of("measure: top1_accuracy, max_decrease: 0, alpha: .nan"), "bounds[0].alpha", 3, "nan"),
    (
        of("measure: top1_accuracy, max_decrease: 0, undecided_within_interval: 1"),
        "bounds[0].undecided_within_interval",
        3,
        "1",
    ),
    (of("measure: top1_accuracy, min: 0, group: [plants]"), "bounds[0].group", 3, "plants"),
    (of("measure: count, types: [CORRECT], max: 3"), "bounds[0].types[0]", 3, "CORRECT"),
    (of("measure: count, types: [MODEL_FAILURE, 8], max: 3"), "bounds[0].types[1]", 3, "got 8"),
    (of("measure: count, types: 8, max: 3"), "bounds[0].types", 3, "got 8"),
    (of("measure: count, types: {MODEL_FAILURE: 1}, max: 3"), "bounds[0].types", 3, "list"),
    # a bound that contradicts itself
    (of("measure: top1_accuracy"), "bounds[0]", 3, "limits nothing"),
    (of("measure: top1_accuracy, min: 0.5, max_decrease: 0.1"), "bounds[0]", 3, "both the value and the change"),
    (of("measure: top1_accuracy, min: 0.6, max: 0.5"), "bounds[0]", 3, "min 0.6 is greater than max 0.5"),
    (of("measure: count, max: 3"), "bounds[0]", 3, "types"),
    (of("measure: rate, types: [], max: 0.3"), "bounds[0]", 3, "types"),
    (of("measure: portion_of_top1_errors, max: 0.3"), "bounds[0]", 3, "types"),
    (of("measure: portion_of_multi_label_errors, max: 0.3"), "bounds[0]", 3, "types"),
    (of("measure: top1_accuracy, types: MODEL_FAILURE, min: 0.3"), "bounds[0]", 3, "no types"),
    (of("measure: severe_error_rate, types: MODEL_FAILURE, max: 0.3"), "bounds[0]", 3, "no types"),
    (of("measure: portion_of_multi_label_errors, types: CLASS_OVERLAP, max: 0.3"), "bounds[0]", 3, "multi-label"),
    (of("measure: portion_of_multi_label_errors, types: [MODEL_FAILURE, MULTI_LABEL], max: 0.3"), "bounds[0]", 3, ""),
    (of("measure: top1_accuracy, min: 50"), "bounds[0]", 3, "fraction"),
    (of("measure: top1_accuracy, min: 1.001"), "bounds[0]", 3, "fraction"),
    (of("measure: top1_accuracy, min: .inf"), "bounds[0].min", 3, "number"),
    (of("measure: rate, types: MODEL_FAILURE, max_increase: 2"), "bounds[0]", 3, "fraction"),
    (of("measure: count, types: MODEL_FAILURE, max: 1.5"), "bounds[0]", 3, "whole"),
    (of("measure: count, types: MODEL_FAILURE, max_increase: 0.05"), "bounds[0]", 3, "whole"),
    (of("measure: imagenet_m_errors, max: 0.5"), "bounds[0]", 3, "whole"),
    (of("measure: imagenet_m_errors, group: organism, max: 5"), "bounds[0]", 3, "group all"),
    (of("measure: top1_accuracy, min: 0.5, alpha: 0.05"), "bounds[0]", 3, "alpha"),
    (of("measure: top1_accuracy, min: 0.5, undecided_within_interval: true"), "bounds[0]", 3, "change"),
    (of("measure: portion_of_top1_errors, types: MODEL_FAILURE, max_increase: 0.1, alpha: 0.05"), "bounds[0]", 3, "no"),
    (
        of("measure: portion_of_multi_label_errors, types: MODEL_FAILURE, max_increase: 0.1, alpha: 0.05"),
        "bounds[0]",
        3,
        "paired test",
    ),
    (of("measure: imagenet_m_errors, max_increase: 1, alpha: 0.05"), "bounds[0]", 3, "paired test"),
    (of("measure: top1_accuracy, min: 0.5, test: non-inferiority"), "bounds[0]", 3, "change"),
    (of("measure: imagenet_m_errors, max_increase: 1, test: non-inferiority"), "bounds[0]", 3, "no test of"),
    (of("measure: top1_accuracy, max_decrease: 0.1, alpha: 0.1, test: non-inferiority"), "bounds[0]", 3, "alpha"),
    (of("measure: top1_accuracy, max_decrease: 0.1, test: superiority"), "bounds[0].test", 3, "non-inferiority"),
    (
        of("measure: count, types: MODEL_FAILURE, max_increase: 1, undecided_within_interval: true"),
        "bounds[0]",
        3,
        "interval",
    ),
    (
        of("measure: rate, types: [FINE_GRAINED, MODEL_FAILURE], max_increase: 0, undecided_within_interval: true"),
        "bounds[0]",
        3,
        "interval",
    ),
    # YAML
    ("version: 1\nversion: 1\nbounds: [{measure: top1_accuracy, min: 0.5}]", "version", 2, "lines 1 and 2"),
    (of("measure: top1_accuracy, min: 0.5, min: 0.6"), "bounds[0].min", 3, "repeated"),
    ("version: 1\nbounds:\n- &one {measure: top1_accuracy, min: 0.5}\n- *one", "policy", 4, "alias"),
    ("version: 1\nbounds: [", "policy", 2, "YAML"),
    ("version: 1\nbounds: }", "policy", 2, "YAML"),
    ("version: 1\nname: a: b", "policy", 2, "not valid YAML: mapping values are not allowed here (line 2)."),
    ("version: 1\n\tname: a", "policy", 2, "YAML"),
    ("version: 1\n---\nversion: 1", "policy", 2, "YAML"),
    ("version: 1\n? [a, b]\n: 1", "policy", 2, "key"),
]


@pytest.mark.parametrize(("text", "field", "line", "word"), MISTAKES)
def test_a_mistake_is_reported_with_its_field_and_line(text: str, field: str, line: int, word: str) -> None:
    for form in (text, text.encode()):
        violation = only(form)
        assert (violation.field, violation.line) == (field, line)
        assert word in violation.description


@pytest.mark.parametrize(("bound", "line"), [(1, 6), (2, 10), (3, 14), (4, 17)])  # the first line of each bound of GOOD
def test_a_mistake_in_a_long_policy_is_reported_with_the_line_of_its_field(bound: int, line: int) -> None:
    lines = GOOD.splitlines()
    lines.insert(line, "    unknown: 1")  # the second line of the bound

    violation = only("\n".join(lines))

    assert (violation.field, violation.line) == (f"bounds[{bound - 1}].unknown", line + 1)


def test_all_mistakes_are_reported_and_the_message_names_the_first() -> None:
    error = refused("version: 1\nmin_samples: x\nmin_coverage: 3\nbounds:\n- {measure: y, min: 0}\n")

    assert [(violation.field, violation.line) for violation in error.violations] == [
        ("min_samples", 2),
        ("min_coverage", 3),
        ("bounds[0].measure", 5),
    ]
    assert "min_samples" in error.message
    assert "line 2" in error.message


def test_at_most_ten_mistakes_are_reported() -> None:
    assert len(refused("version: 1\nbounds:\n" + "- {measure: x, min: 0}\n" * 30).violations) == 10


def test_a_policy_may_have_two_hundred_bounds() -> None:
    text = "version: 1\nbounds:\n" + "- {measure: top1_accuracy, min: 0.5}\n" * MAX_BOUNDS

    assert len(parse_policy(text).bounds) == MAX_BOUNDS == 200
    assert only(text + "- {measure: top1_accuracy, min: 0.5}\n").field == "bounds"


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n", "null", "1", "policy", "[]", "- version: 1", "'"])
def test_a_text_without_a_mapping_is_rejected(text: str) -> None:
    assert only(text).field == "policy"
    assert only(text.encode()).field == "policy"


BOMB = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}, *{old}, *{old}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def test_nested_aliases_are_rejected_before_they_are_expanded() -> None:
    violation = only(BOMB)

    assert (violation.field, violation.line) == ("policy", 2)
    assert "alias" in violation.description


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object:os.system {}",
        "!!python/object/apply:os.system ['true']",
        "!!python/object/new:os.system ['true']",
        "!!python/name:os.system ''",
        "!!python/module:os ''",
        "!!python/tuple [1]",
        "!own x",
        "!!binary '%'",
    ],
)
def test_tags_and_values_of_other_kinds_are_rejected(value: str) -> None:
    assert refused(f"version: 1\nbounds: [{{measure: top1_accuracy, min: 0.5}}]\nname: {value}\n").violations
    assert refused(f"version: 1\nbounds: [{{measure: top1_accuracy, min: {value}}}]\n").violations


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff",
        b"version: 1\nname: \xe9\n",  # Latin-1
        b"\xff\xfe\x00",  # half of a character in UTF-16
        b"\x80\x81\x82",
        b"\x00",
        SHORTEST.encode("utf-16-le"),  # without its mark
        SHORTEST.encode("utf-16-be"),
        SHORTEST.encode("utf-32"),
        b"\x1f\x8b\x08\x00\x00\x00",  # gzip
        b"PK\x03\x04",
    ],
)
def test_bytes_that_are_not_text_are_rejected(raw: bytes) -> None:
    assert only(raw).field == "policy"


@pytest.mark.parametrize("text", ["version: \x00", "version: \ud800", "\ufffe", 'name: "\\U00110000"', 'name: "\\q"'])
def test_characters_that_yaml_does_not_allow_are_rejected(text: str) -> None:
    assert only(text).field == "policy"


def test_a_policy_above_the_size_limit_is_rejected() -> None:
    padded = SHORTEST + "#" * (MAX_BYTES - len(SHORTEST))

    assert parse_policy(padded) == parse_policy(SHORTEST)
    for text in (padded + "#", (padded + "#").encode()):
        assert str(MAX_BYTES) in only(text).description


@pytest.mark.slow
@pytest.mark.parametrize("depth", [50, 300, 480, 490, 500, 700])
@pytest.mark.parametrize(
    ("opened", "closed"),
    [("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", ""), ("[{a: ", "}]")],
    ids=["[]", "{}", "-", "?", "[{}]"],
)
def test_deep_nesting_is_rejected_without_a_crash(depth: int, opened: str, closed: str) -> None:
    nested = opened * depth + closed * depth

    assert refused(nested).violations
    assert refused(f"version: 1\nbounds:\n {nested}").violations


# ---- arbitrary input


def parses_or_is_refused(text: str | bytes) -> None:
    policy, violations = None, ()
    try:
        policy = parse_policy(text)
    except InvalidPolicy as error:
        violations = error.violations
    assert (policy is None) == bool(violations)
    assert policy is None or policy.bounds
    assert all(violation.field and (violation.line is None or violation.line >= 1) for violation in violations)


@max_examples(300)
@given(st.one_of(st.text(), st.binary()))
def test_arbitrary_text_and_bytes_parse_or_are_rejected(text: str | bytes) -> None:
    parses_or_is_refused(text)


@max_examples(300)
@given(st.text(alphabet="[]{},:?-&*!|>'\"%@`#= \n\taz01.~<\\", max_size=60))
def test_arbitrary_punctuation_parses_or_is_rejected(text: str) -> None:
    parses_or_is_refused(text)
    parses_or_is_refused(SHORTEST + text)


@pytest.mark.slow
@max_examples(300)
@given(st.integers(0, len(GOOD)), st.integers(0, 12), st.text(max_size=6))
def test_a_damaged_policy_parses_or_is_rejected(start: int, length: int, patch: str) -> None:
    parses_or_is_refused(GOOD[:start] + patch + GOOD[start + length :])


ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 300), st.floats(allow_infinity=False), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)
BOUNDS = st.fixed_dictionaries(
    {"measure": st.sampled_from([item.value for item in Measure])},
    optional={
        "types": st.one_of(st.lists(st.sampled_from([item.name for item in ErrorType]), max_size=3), ANYTHING),
        "group": st.one_of(st.sampled_from([ALL, *GROUPS]), ANYTHING),
        "alpha": st.one_of(st.floats(-0.5, 1.5), ANYTHING),
        "undecided_within_interval": st.one_of(st.booleans(), ANYTHING),
        "test": st.one_of(st.just("non-inferiority"), ANYTHING),
        **{
            name: st.one_of(st.floats(-0.5, 1.5), st.integers(-2, 20), ANYTHING)
            for name in ("min", "max", "max_increase", "max_decrease")
        },
    },
)


@pytest.mark.slow
@max_examples(300)
@given(st.lists(BOUNDS, max_size=3), ANYTHING)
def test_arbitrary_values_of_the_fields_parse_or_are_rejected(bounds: list[dict[str, Any]], minimum: Any) -> None:
    parses_or_is_refused(yaml.safe_dump({"version": 1, "bounds": bounds}))
    parses_or_is_refused(yaml.safe_dump({"version": 1, "min_samples": minimum, "bounds": bounds}))


@max_examples(200)
@given(BOUNDS)
@example({"measure": "count", "types": ["MODEL_FAILURE"], "max": 20})
@example({"measure": "top1_accuracy", "max_decrease": 0.01})
def test_the_schema_accepts_every_bound_that_parses(bound: dict[str, Any]) -> None:
    document = {"version": 1, "bounds": [bound]}
    try:
        parse_policy(yaml.safe_dump(document))
    except InvalidPolicy:
        return
    Draft202012Validator(policy_schema()).validate(document)


@max_examples(200)
@given(BOUNDS)
@example({"measure": "count", "types": ["MODEL_FAILURE"], "max": 20})
@example({"measure": "top1_accuracy", "max_decrease": 0.01})
def test_every_bound_that_parses_can_be_evaluated(bound: dict[str, Any]) -> None:
    try:
        (actual,) = parse_policy(yaml.safe_dump({"version": 1, "bounds": [bound]})).bounds
    except InvalidPolicy:
        return
    value, change = (actual.min, actual.max), (actual.max_increase, actual.max_decrease)
    limits = [item for item in (*value, *change) if item is not None]
    assert limits
    assert (value == (None, None)) != (change == (None, None))
    assert actual.is_on_change is (change != (None, None))
    assert all(limit >= 0 for limit in limits)
    if actual.measure in (Measure.COUNT, Measure.IMAGENET_M_ERRORS):
        assert all(limit == int(limit) for limit in limits)
    else:
        assert all(limit <= 1 for limit in limits)
    of_types = actual.measure in (Measure.COUNT, Measure.RATE) or "portion" in actual.measure
    assert bool(actual.types) is of_types
    assert len(set(actual.types)) == len(actual.types)
    assert not {ErrorType.CORRECT} & set(actual.types)
    assert actual.alpha is None or (actual.is_on_change and 0 < actual.alpha < 1 and "portion" not in actual.measure)
    assert not actual.undecided_within_interval or actual.is_on_change
    assert not actual.non_inferiority or (actual.is_on_change and actual.alpha is None)


# ---- the schema


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    return Draft202012Validator(policy_schema())


def test_the_schema_is_a_valid_json_schema() -> None:
    result = policy_schema()

    Draft202012Validator.check_schema(result)
    assert result["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert set(result["required"]) == {"version", "bounds"}


def test_the_schema_describes_every_field(schema: Draft202012Validator) -> None:
    document = schema.schema
    bound = document["$defs"]["BoundDocument"]

    assert set(document["properties"]) == {"version", "name", "min_samples", "min_coverage", "bounds"}
    fields = {"measure", "name", "types", "group", "slice", "min", "max", "max_increase", "max_decrease", "alpha"}
    assert set(bound["properties"]) == {*fields, "undecided_within_interval", "test"}
    assert all("description" in item for item in bound["properties"].values())


def test_the_schema_is_the_same_on_each_call() -> None:
    first = copy.deepcopy(policy_schema())

    assert policy_schema() == first


@pytest.mark.parametrize("text", GOODS)
def test_the_schema_accepts_good_policies(schema: Draft202012Validator, text: str) -> None:
    schema.validate(yaml.safe_load(text))


@pytest.mark.parametrize(
    "text",
    [
        "bounds: [{measure: top1_accuracy, min: 0.5}]",
        "version: 2\nbounds: [{measure: top1_accuracy, min: 0.5}]",
        "version: '1'\nbounds: [{measure: top1_accuracy, min: 0.5}]",
        "version: 1",
        "version: 1\nbounds: []",
        "version: 1\nbounds: {measure: top1_accuracy, min: 0.5}",
        "version: 1\nbounds: [top1_accuracy]",
        "[]",
        "policy",
        of("measure: top1_accuracy, min: 0.5", "minimum: 3"),
        of("measure: top1_accuracy, min: 0.5", "name: 3"),
        of("measure: top1_accuracy, min: 0.5", "min_samples: 1.5"),
        of("measure: top1_accuracy, min: 0.5", "min_samples: -1"),
        of("measure: top1_accuracy, min: 0.5", "min_coverage: 1.01"),
        of("min: 0.5"),
        of("measure: top5_accuracy, min: 0.5"),
        of("measure: top1_accuracy, minimum: 0.5, min: 0"),
        of("measure: top1_accuracy, min: half"),
        of("measure: top1_accuracy, min: -0.5"),
        of("measure: top1_accuracy, min: 0, group: 1"),
        of("measure: top1_accuracy, max_decrease: 0, alpha: 0"),
        of("measure: top1_accuracy, max_decrease: 0, alpha: 1"),
        of("measure: top1_accuracy, max_decrease: 0, undecided_within_interval: 1"),
        of("measure: count, types: [CORRECT], max: 3"),
        of("measure: count, types: [MODEL_FAILURE, 8], max: 3"),
        of("measure: count, types: 8, max: 3"),
    ],
)
def test_the_schema_rejects_values_of_the_wrong_type(schema: Draft202012Validator, text: str) -> None:
    assert not schema.is_valid(yaml.safe_load(text))
    assert refused(text).violations


# ---- the baseline


def test_a_policy_that_bounds_changes_needs_a_baseline() -> None:
    policy = parse_policy(GOOD)

    check_baseline(policy, "0123")
    with pytest.raises(InvalidRequest) as raised:
        check_baseline(policy, "")
    (violation,) = raised.value.violations
    assert violation.field == "baseline"
    assert all(name in raised.value.message for name in ("bound 3", "bound 4"))  # the two on changes
    assert "still good" not in raised.value.message


def test_a_policy_that_bounds_values_needs_no_baseline() -> None:
    for baseline in ("", "0123"):
        check_baseline(parse_policy(SHORTEST), baseline)


BOUNDS = "\nbounds: [{measure: top1_accuracy, min: 0.5}]\n"
COUNT = "version: 1\nbounds:\n- {measure: count, types: MODEL_FAILURE, max: %s}\n"


@pytest.mark.parametrize(
    "text",
    [
        COUNT % ".inf",  # OverflowError
        COUNT % "1.0e+400",
        "version: 1\nbounds:\n- {measure: imagenet_m_errors, max_increase: .inf}\n",
        COUNT % ("0x" + "f" * 5000),  # ValueError of repr
        "version: 0x" + "f" * 5000 + BOUNDS,
        "version: !!int ''" + BOUNDS,  # IndexError
        "version: !!float ''" + BOUNDS,
        "version: 1\n!!int '': 1" + BOUNDS,
        "version: !!bool foo" + BOUNDS,  # KeyError
        "version: !!timestamp foo" + BOUNDS,  # AttributeError
        "version: " + "1:" * 200 + "1.0" + BOUNDS,  # OverflowError
    ],
    ids=lambda text: text[:60].replace("\n", "|"),
)
def test_texts_that_are_not_numbers_are_rejected(text: str) -> None:
    with pytest.raises(InvalidPolicy):
        parse_policy(text)


@pytest.mark.parametrize("digits", [301, 5000])
def test_an_integer_of_too_many_digits_is_reported_with_its_field_and_line(digits: int) -> None:
    with pytest.raises(InvalidPolicy, match=r"bounds\[0\]\.max: expected a valid number, got '999") as rejected:
        parse_policy(COUNT % ("9" * digits))
    assert rejected.value.violations[0].line == 3


@pytest.mark.parametrize("text", ["[" * 60_000, "{" * 60_000, "a: " + "[" * 20_000 + "]" * 20_000])
def test_deep_nesting_is_rejected_while_it_is_parsed(text: str) -> None:
    with pytest.raises(InvalidPolicy, match="more than 20 levels"):
        parse_policy(text)


@pytest.mark.parametrize("version", ["true", "1.0"])
def test_a_version_of_another_type_is_rejected(version: str) -> None:
    with pytest.raises(InvalidPolicy):
        parse_policy(f"version: {version}{BOUNDS}")


@pytest.mark.parametrize("value", ["!!python/object:os.system {}", "!!binary x"])
def test_a_value_of_another_type_is_reported_with_its_line(value: str) -> None:
    with pytest.raises(InvalidPolicy) as raised:
        parse_policy(f"version: 1\nname: {value}{BOUNDS}")
    assert raised.value.violations[0].line == 2


def test_the_size_limit_counts_bytes_and_not_characters() -> None:
    text = f"version: 1{BOUNDS}#" + "é" * 40_000
    for form in (text, text.encode()):
        with pytest.raises(InvalidPolicy):
            parse_policy(form)


def test_a_merge_key_does_not_hide_a_repeated_key() -> None:
    with pytest.raises(InvalidPolicy):
        parse_policy(f"version: 1\nname: a\n<<: {{name: b}}{BOUNDS}")


@pytest.mark.parametrize("name", ["2001-99-99", "2001-01-01", "=", "1:30:00"])
def test_a_name_that_looks_like_another_type_is_a_name_or_is_rejected(name: str) -> None:
    try:
        assert parse_policy(f"version: 1\nname: {name}{BOUNDS}").name == name
    except InvalidPolicy as error:
        violation = error.violations[0]
    else:
        return
    assert (violation.field, violation.line) == ("name", 2)
