"""The words of the report: every kind has some, numbers are readable, and the headline is a sentence for every case."""

import re
from collections.abc import Mapping
from enum import Enum
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain import (
    ERROR_TYPES,
    TOP1_ERROR_TYPES,
    Bound,
    ErrorType,
    GateDecision,
    GateReason,
    Group,
    Measure,
    Metric,
    NoReferenceReason,
    PairedMetric,
    PercentileRank,
    Progress,
    Severity,
    State,
    UndecidedReason,
)
from service.report import messages
from service.report.messages import (
    calibration_told,
    funnel_told,
    gains_told,
    gate_reason,
    headline,
    place,
)

TABLES: list[tuple[Mapping[object, str], type[Enum]]] = [
    (messages.MEASURE_WORDS, Measure),
    (messages.DECISION_WORDS, GateDecision),
    (messages.PAIRED_METRIC_NAMES, PairedMetric),
    (messages.SEVERITY_SENTENCES, Severity),
]
HOLES = (" .", " ,", ",,", "  ", "None", "nan", "()", ", ;", ". ;", "; .", "..", " ;")


@pytest.mark.parametrize(("table", "kind"), TABLES, ids=[kind.__name__ for _, kind in TABLES])
def test_every_member_of_an_enumeration_has_words_of_its_own(table: Mapping[object, str], kind: type[Enum]) -> None:
    named = [item for item in kind if item.name != "UNSPECIFIED"]

    assert all(table[item] for item in named)
    assert len({table[item] for item in named}) == len(named)


# the example of design/report.md
RESNET = {"errors": 2889, "samples": 18_692, "noise": 0.372, "minor": 0.327, "excused": 0.044, "severe": 743}


def test_the_headline_is_the_one_of_the_design() -> None:
    assert headline("resnet50", **RESNET, bounded=False) == (
        "resnet50 is wrong on 2,889 of 18,692 images. 37.2 % of these errors are label noise, 32.7 % hair-splitting, "
        "4.4 % have an excuse; the remaining 743 (25.7 % of errors, 4.0 % of images) are plain failures."
    )


def test_where_a_rule_abstained_failures_are_an_upper_bound() -> None:
    said = headline("resnet50", **RESNET, bounded=True)

    assert said.endswith("the remaining 743 (25.7 % of errors, 4.0 % of images) are plain failures, at most.")


def test_without_errors_it_is_right_on_all() -> None:
    said = headline("net", 0, 20, noise=0, minor=0, excused=0, severe=0, bounded=True)

    assert said == "net is right on all of 20 images."


def test_without_images_nothing_is_claimed() -> None:
    said = headline("net", 0, 0, noise=0, minor=0, excused=0, severe=0, bounded=False)

    assert said == "net was judged on no images."


def test_only_failures_have_no_remainder() -> None:
    said = headline("net", 4, 20, noise=0, minor=0, excused=0, severe=4, bounded=False)

    assert said == "net is wrong on 4 of 20 images. 4 (100.0 % of errors, 20.0 % of images) are plain failures."


def test_a_single_failure_that_is_a_bound_is_singular() -> None:
    said = headline("net", 1, 20, noise=0, minor=0, excused=0, severe=1, bounded=True)

    assert said == "net is wrong on 1 of 20 images. 1 (100.0 % of errors, 5.0 % of images) is a plain failure, at most."


@pytest.mark.parametrize(
    ("minor", "excused", "told"),
    [(1.0, 0.0, "100.0 % of these errors are hair-splitting"), (0.0, 1.0, "100.0 % of these errors have an excuse")],
)
def test_the_first_share_says_what_it_is_a_share_of(minor: float, excused: float, told: str) -> None:
    said = headline("net", 2, 20, noise=0, minor=minor, excused=excused, severe=0, bounded=False)

    assert said == f"net is wrong on 2 of 20 images. {told}; none is a plain failure."


def test_errors_without_a_failure_say_so() -> None:
    said = headline("net", 2, 20, noise=0.5, minor=0.5, excused=0, severe=0, bounded=False)

    assert said.endswith("50.0 % of these errors are label noise, 50.0 % hair-splitting; none is a plain failure.")


@given(
    title=st.text(min_size=1, max_size=10),
    kinds=st.tuples(*[st.integers(0, 300)] * 4),
    right=st.integers(0, 300),
    bounded=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_the_headline_never_has_a_hole(title: str, kinds: tuple[int, int, int, int], right: int, bounded: bool) -> None:
    errors = sum(kinds)
    noise, minor, excused, severe = kinds
    parts = {"noise": noise, "minor": minor, "excused": excused}

    said = headline(
        title,
        errors,
        errors + right,
        **{name: count / errors if errors else 0.0 for name, count in parts.items()},
        severe=severe,
        bounded=bounded,
    )

    told = said.removeprefix(title)
    assert told.endswith(".")
    assert not [item for item in (" .", " ,", ",,", "  ", "None", "nan", "()", ", ;", ". ;", "; .") if item in told]
    if errors:
        assert f"is wrong on {errors:,} of {errors + right:,} image" in told
        assert ("label noise" in told) == (noise > 0)
        assert ("hair-splitting" in told) == (minor > 0)
        assert ("have an excuse" in told) == (excused > 0)
        assert ("none is a plain failure" in told) == (severe == 0)


# Places among published models.


@pytest.mark.parametrize(
    ("metric", "percentile", "said"),
    [
        (Metric.SPURIOUS_CORRELATION, 0.17, "fewer spurious correlations than 83 % of models this accurate"),
        (Metric.MODEL_FAILURE, 0.83, "more model failures than 83 % of models this accurate"),
        (Metric.MODEL_FAILURE, 0.01, "fewer model failures than 99 % of models this accurate"),
        (Metric.MODEL_FAILURE, 0.0, "fewer model failures than 99 % of models this accurate"),
        (Metric.MODEL_FAILURE, 1.0, "more model failures than 99 % of models this accurate"),
        (Metric.POOLED, 0.3, "fewer errors from out of vocabulary to model failure than 70 % of models this accurate"),
        (Metric.MULTI_LABEL_ACCURACY, 0.75, "higher than that of 75 % of models this accurate"),
        (Metric.MULTI_LABEL_ACCURACY, 0.25, "lower than that of 75 % of models this accurate"),
        (Metric.MULTI_LABEL_ACCURACY, 1.0, "higher than that of 99 % of models this accurate"),
    ],
)
def test_a_place_is_told_from_its_larger_side(metric: Metric, percentile: float, said: str) -> None:
    assert place(PercentileRank(metric, 0.1, percentile, None)) == said


@given(st.sampled_from(list(Metric)), st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_a_place_never_has_a_hole_and_is_never_the_smaller_side(metric: Metric, percentile: float) -> None:
    said = place(PercentileRank(metric, 0.1, percentile, None))

    assert not [hole for hole in HOLES if hole in said]
    assert 50 <= int(said.split(" %")[0].split()[-1]) <= 99
    assert said.split()[0] in (("higher", "lower") if metric is Metric.MULTI_LABEL_ACCURACY else ("more", "fewer"))


@pytest.mark.parametrize("why", list(NoReferenceReason))
def test_without_a_percentile_a_place_says_why(why: NoReferenceReason) -> None:
    said = place(PercentileRank(Metric.MODEL_FAILURE, None, None, why))

    assert said.startswith("no reference: ")
    others = {place(PercentileRank(Metric.MODEL_FAILURE, None, None, item)) for item in NoReferenceReason}
    assert len(others) == len(NoReferenceReason)


# Gates.

RATE = Bound("severe", Measure.SEVERE_ERROR_RATE, max=0.05)
GROWTH = Bound("growth", Measure.COUNT, types=(ErrorType.MODEL_FAILURE,), max_increase=10)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (
            GateReason(GateDecision.PASS, RATE, 0.0412, 0.05),
            "severe error rate is 4.12 %, at most 5.00 % is allowed.",
        ),
        (
            GateReason(GateDecision.FAIL, Bound("top", Measure.TOP1_ACCURACY, min=0.8), 0.75, 0.8),
            "top-1 accuracy is 75.00 %, at least 80.00 % is required.",
        ),
        (
            GateReason(GateDecision.PASS, Bound("top", Measure.TOP1_ACCURACY, min=0.5, max=0.9), 0.75, 0.9),
            "top-1 accuracy is 75.00 %, at least 50.00 % is required and at most 90.00 % is allowed.",
        ),
        (
            GateReason(GateDecision.PASS, Bound("m", Measure.IMAGENET_M_ERRORS, max=40), 12.0, 40),
            "ImageNet-M errors is 12, at most 40 is allowed.",
        ),
        (
            GateReason(
                GateDecision.PASS,
                Bound(
                    "two",
                    Measure.RATE,
                    types=(ErrorType.FINE_GRAINED, ErrorType.MODEL_FAILURE),
                    group=Group.ORGANISM,
                    max=0.2,
                ),
                0.125,
                0.2,
            ),
            "rate of fine-grained and model failure, organisms is 12.50 %, at most 20.00 % is allowed.",
        ),
        (
            GateReason(GateDecision.FAIL, GROWTH, 1250.0, 10, baseline=1200.0, p_value=0.0004),
            "number of model failure is 1,250 after 1,200 (p < 0.001), at most 10 more is allowed.",
        ),
        (
            GateReason(
                GateDecision.PASS,
                Bound("mla", Measure.MULTI_LABEL_ACCURACY, max_increase=0.1, max_decrease=0.005, alpha=0.05),
                0.8,
                0.005,
                baseline=0.81,
                p_value=0.2,
            ),
            "multi-label accuracy is 80.00 % after 81.00 % (p = 0.20), at most 10 points more or 0.5 points less is "
            "allowed, counted where p < 0.05.",
        ),
        (
            GateReason(GateDecision.PASS, None, 0.999, 0.95),
            "coverage of the judged images is 99.9 %, at least 95.0 % is required.",
        ),
        (
            GateReason(GateDecision.PASS, RATE, 0.04, 0.05, abstained=(ErrorType.FINE_GRAINED_OOV,)),
            "severe error rate is 4.00 %, at most 5.00 % is allowed (an upper bound: the rule “fine-grained, out of "
            "vocabulary” had no evidence).",
        ),
    ],
)
def test_a_gates_reason_says_what_was_measured_and_what_was_allowed(reason: GateReason, said: str) -> None:
    assert gate_reason(reason) == said


CAUSES = {
    UndecidedReason.FEW_SAMPLES: "too few samples",
    UndecidedReason.ABSTAINED: "no evidence",
    UndecidedReason.OTHER_EVIDENCE: "other evidence",
    UndecidedReason.WIDE_INTERVAL: "interval",
    UndecidedReason.NO_VALUE: "no such value",
    UndecidedReason.NOT_FINISHED: "isn't finished",
    UndecidedReason.ENDED_WITHOUT_RESULT: "failed or was cancelled",
}


@pytest.mark.parametrize("cause", list(UndecidedReason))
def test_every_cause_says_why_a_bound_isnt_decided(cause: UndecidedReason) -> None:
    value = None if cause is UndecidedReason.NO_VALUE else 0.04

    said = gate_reason(GateReason(GateDecision.UNDECIDED, RATE, value, 0.05, causes=(cause,)))

    assert said.startswith("severe error rate is " + ("–" if value is None else "4.00 %"))
    assert ": undecided, " in said
    assert CAUSES[cause] in said.split(": undecided, ")[1]
    assert said.endswith(".")


def test_two_causes_are_both_told() -> None:
    said = gate_reason(
        GateReason(
            GateDecision.UNDECIDED, RATE, 0.04, 0.05, causes=(UndecidedReason.FEW_SAMPLES, UndecidedReason.ABSTAINED)
        )
    )

    assert said.endswith(": undecided, too few samples; the rule of a bounded type had no evidence.")


@pytest.mark.parametrize(
    "cause", [UndecidedReason.NOT_FINISHED, UndecidedReason.ENDED_WITHOUT_RESULT, UndecidedReason.OTHER_EVIDENCE]
)
def test_a_reason_of_the_analysis_as_a_whole_is_a_sentence(cause: UndecidedReason) -> None:
    said = gate_reason(GateReason(GateDecision.PENDING, None, causes=(cause,)))

    assert said[0].isupper()
    assert said.endswith(".")
    assert CAUSES[cause] in said


def test_a_coverage_that_isnt_known_is_undecided() -> None:
    said = gate_reason(GateReason(GateDecision.UNDECIDED, None, None, 0.95, causes=(UndecidedReason.NO_VALUE,)))

    assert said == (
        "coverage of the judged images is –, at least 95.0 % is required: undecided, there is no such value."
    )


OF_TYPES = (Measure.COUNT, Measure.RATE, Measure.PORTION_OF_TOP1_ERRORS, Measure.PORTION_OF_MULTI_LABEL_ERRORS)
COUNTED = (Measure.COUNT, Measure.IMAGENET_M_ERRORS)


@st.composite
def gate_reasons(draw: st.DrawFn) -> GateReason:
    """Reasons as a policy allows them: a bound on a value, or on a change."""
    measure = draw(st.sampled_from(list(Measure)))
    whole = st.integers(0, 10_000).map(float)
    amounts = whole if measure in COUNTED else whole.map(lambda value: value / 10_000)
    types = draw(st.lists(st.sampled_from(TOP1_ERROR_TYPES), min_size=1, max_size=3, unique=True))
    names = draw(st.sampled_from([("min",), ("max",), ("min", "max"), ("max_increase",), ("max_decrease",)]))
    bound = Bound(
        "bound",
        measure,
        types=tuple(types) if measure in OF_TYPES else (),
        group=draw(st.sampled_from(list(Group))),
        alpha=draw(st.none() | st.floats(0.001, 0.5)),
        **{name: draw(amounts) for name in names},
    )
    causes = draw(st.lists(st.sampled_from(list(UndecidedReason)), max_size=3, unique=True))
    return GateReason(
        GateDecision.UNDECIDED if causes else GateDecision.PASS,
        bound,
        value=draw(st.none() | amounts),
        limit=0.5,
        baseline=draw(st.none() | amounts),
        p_value=draw(st.none() | st.floats(0, 1)),
        causes=tuple(causes),
        abstained=tuple(draw(st.lists(st.sampled_from(ERROR_TYPES[4:7]), max_size=2, unique=True))),
    )


@given(gate_reasons())
@settings(max_examples=300, deadline=None)
def test_a_gates_reason_never_has_a_hole(reason: GateReason) -> None:
    said = gate_reason(reason)

    assert said.endswith(".")
    assert not [hole for hole in HOLES if hole in said]
    assert (": undecided, " in said) == bool(reason.causes)
    assert "e-" not in said.replace("one-", "").replace("fine-", ""), "no scientific notation"


# Pictures and tables, in words.


def test_a_funnel_is_told_with_the_kinds_that_there_are() -> None:
    said = funnel_told(
        "organisms", 1200, [("class overlap", 0.25), ("missing multi-label", 0.0), ("fine-grained", 0.75)]
    )

    assert said == "organisms: 1,200 top-1 errors; class overlap 25.0 %, fine-grained 75.0 %."
    assert funnel_told("other", 0, [("class overlap", 0.0)]) == "other: 0 top-1 errors; none."


def test_gains_are_told_in_points_of_both_accuracies() -> None:
    said = gains_told([("fine-grained", 0.0123, 0.2), ("model failure", 0.0, 0.0)])

    assert said == (
        "Points gained in top-1 and in multi-label accuracy if a type never occurred. "
        "fine-grained: +1.23 and +20.00; model failure: +0.00 and +0.00."
    )


def test_calibration_is_told_in_percent() -> None:
    said = calibration_told(0.125, 0.0349)

    assert "12.5 % away from top-1 correctness" in said
    assert "3.5 % away from multi-label correctness" in said
    assert said.endswith(".")


def test_the_words_of_the_page_name_only_what_its_script_fills_in() -> None:
    filled = {"predicted", "label", "superclasses", "count", "examples", "num_texts", "texts", "text", "probability"}
    filled |= {"first", "last", "found", "file"}

    named = {part.split("}")[0] for text in messages.TABLE_WORDS.values() for part in text.split("{")[1:]}
    assert named == filled
    assert all(messages.TABLE_WORDS.values())


@pytest.mark.parametrize(
    ("own", "others", "said"),
    [
        (0, 0, "No models are stored of this data set."),
        (1, 0, "What kinds of errors 1 stored analysis makes at its accuracy."),
        (0, 3, "What kinds of errors 3 published models make at their accuracy."),
        (2, 1, "What kinds of errors 2 stored analyses and 1 published model make at their accuracy."),
    ],
)
def test_a_trend_says_whose_errors_it_shows(own: int, others: int, said: str) -> None:
    assert messages.trend_headline(own, others, 0) == said


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.4, "0 s"), (89.4, "89 s"), (89.6, "1 min"), (3600, "60 min"), (25_200, "7 h 0 min")]
)
def test_a_long_time_is_told_in_hours(seconds: float, told: str) -> None:
    progress = Progress(done=1, total=2, eta_seconds=seconds)

    assert messages.progress_words(State.RUNNING, progress) == f"1 of 2 images, about {told} left"


def test_without_a_probability_there_is_nothing_to_calibrate() -> None:
    assert "nothing to measure" in messages.calibration_told(None, None)


def test_templates_hold_no_words_of_their_own() -> None:
    """Given the templates, all that they say stands in messages.py, and all that stands there is said."""
    folder = files("service.report") / "templates"
    parts = re.compile(r"({{.*?}}|{%.*?%}|{#.*?#}|<!--.*?-->|<[^>]*>)", re.DOTALL)
    asked: set[str] = set()
    for template in [path for path in folder.iterdir() if path.name.endswith(".html")]:
        text = template.read_text()
        loose = [part for part in parts.split(text) if not parts.fullmatch(part) and re.search("[A-Za-z]{2}", part)]
        assert loose == [], template.name
        assert not re.findall(r'(?:aria-label|placeholder|alt|title)="[^"{]*[A-Za-z]', text), template.name
        asked |= set(re.findall(r'\b_\(\s*"([^"]*)"', text))
    assert asked == set(messages.PAGE)


def test_a_translation_takes_the_place_of_what_a_page_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "PAGE", {**messages.PAGE, "Broken: {count}": "Kaputt: {count}"})

    assert messages.said("Broken: {count}", count=3) == "Kaputt: 3"
