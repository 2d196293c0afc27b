"""Conversion of records to messages and JSON without loss; any input is accepted or refused without a crash."""

import base64
import itertools
import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import pytest
from errata import v1 as pb
from errata.errors import ErrataError, InvalidPageToken, InvalidRequest
from errata.proto_json import to_dict, to_json
from example_counts import max_examples
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import Parse, ParseDict
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import example, given
from hypothesis import strategies as st

from service import domain, wire
from service.analyses.verdicts import VerdictFilter
from service.domain import (
    ALL,
    ERROR_TYPES,
    Analysis,
    AnalysisRequest,
    BreakdownRow,
    CoOccurrence,
    ErrorType,
    ExpertJudgment,
    ExpertSeverity,
    Failure,
    GroupSummary,
    LabelSource,
    ModelInfo,
    Outcome,
    ProblematicTag,
    Progress,
    ProposedText,
    RowOrder,
    SharedSuperclass,
    State,
    Step,
    Summary,
    Verdict,
    VerdictEvidence,
    VocabularyEvidence,
)
from service.taxonomy.imagenet_1k import GROUPS, imagenet_1k
from service.wire import paging

NAMES = imagenet_1k().names


def verdict_filter(message: pb.VerdictFilter) -> VerdictFilter:
    return wire.verdict_filter(message, imagenet_1k())


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
classes = st.integers(0, 999)
int32 = st.integers(-(2**31), 2**31 - 1)
int64 = st.integers(-(2**63), 2**63 - 1)
NO_TIME = Timestamp(seconds=10**12)
counts = st.integers(0, 2**31 - 1)
rates = st.none() | st.floats(0, 1)
shares = st.dictionaries(st.sampled_from(ERROR_TYPES), st.floats(0, 1))
times = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
tags = st.lists(st.sampled_from(list(ProblematicTag)[1:]), max_size=2).map(tuple)

verdicts = st.builds(
    Verdict,
    file_name=texts,
    target=classes,
    predicted=classes,
    error_type=st.sampled_from(ERROR_TYPES),
    problematic=tags,
    probability=st.none() | st.floats(0, 1, width=16) | st.floats(0, 1),
    evidence=st.none(),
    groups=st.lists(st.sampled_from(GROUPS), unique=True).map(tuple),
    matches_label=st.booleans(),
    replaced_by=st.none() | classes,
)
evidence = st.builds(
    VerdictEvidence,
    labels=st.lists(st.tuples(classes, st.sampled_from(LabelSource)), max_size=3).map(tuple),
    shared_superclasses=st.lists(st.builds(SharedSuperclass, classes, st.lists(texts, max_size=2).map(tuple))).map(
        tuple
    ),
    co_occurrences=st.lists(st.builds(CoOccurrence, classes, counts, st.lists(texts, max_size=2).map(tuple))).map(
        tuple
    ),
    vocabulary=st.none()
    | st.builds(
        VocabularyEvidence,
        gate=st.booleans(),
        best=st.lists(st.builds(ProposedText, texts, st.floats(0, 1), st.booleans()), max_size=5).map(tuple),
        num_texts=counts,
        prefers_label=st.none() | st.booleans(),
    ),
    overlap=texts,
    expert_judgment=st.none()
    | st.builds(ExpertJudgment, st.sampled_from(ERROR_TYPES), st.sampled_from(list(ExpertSeverity)[1:])),
    trace=st.lists(st.builds(Step, st.sampled_from(ERROR_TYPES), st.sampled_from(Outcome), texts), max_size=9).map(
        tuple
    ),
)
groups = st.builds(
    GroupSummary,
    num_samples=counts,
    counts=st.fixed_dictionaries(dict.fromkeys(ERROR_TYPES, counts)),
    top1_errors=counts,
    top1_accuracy=rates,
    multi_label_accuracy=rates,
    multi_label_accuracy_forgiving_minor=rates,
    multi_label_accuracy_forgiving_explainable=rates,
    portions_of_top1_errors=shares,
    portions_of_multi_label_errors=shares,
    gain_if_fixed_top1=shares,
    gain_if_fixed_multi_label=shares,
    accuracy_against_labels=rates,
)
summaries = st.builds(
    Summary,
    groups=st.fixed_dictionaries(dict.fromkeys((ALL, *GROUPS), groups)),
    abstained=st.lists(st.sampled_from(ERROR_TYPES), unique=True).map(tuple),
    num_problematic=counts,
    num_images=counts,
    num_predicted=counts,
    top1_accuracy_all_images=rates,
    top1_accuracy_among_classes=rates,
    imagenet_m_errors=st.none() | counts,
    num_judged=st.none() | counts,
    num_rejected_targets=st.none() | counts,
)
analyses = st.builds(
    Analysis,
    id=st.text("0123456789abcdefghjkmnpqrstvwxyz", min_size=1, max_size=21),
    request=st.builds(
        AnalysisRequest,
        dataset=texts,
        model=texts,
        display_name=texts,
        labels=st.dictionaries(texts, texts, max_size=3),
        request_id=texts,
    ),
    state=st.sampled_from(list(State)[1:]),
    evidence=texts.filter(lambda text: text != "default"),  # the ID of the default evidence is no digest
    create_time=times,
    owner=texts,
    start_time=st.none() | times,
    end_time=st.none() | times,
    progress=st.builds(
        Progress,
        done=counts,
        total=counts,
        images_per_second=st.none() | st.floats(0, 1e6),
        eta_seconds=st.none() | st.integers(0, 10**6),
        queue_position=st.none() | counts,
        live_workers=st.none() | counts,
    ),
    predictions_digest=texts,
    model_info=st.none() | st.builds(ModelInfo, texts, texts, texts, texts),
    summary=st.none() | summaries,
    failure=st.none() | st.builds(Failure, texts, texts),
    warnings=st.lists(texts, max_size=3).map(tuple),
    cached=st.booleans(),
    implausible=st.booleans(),
    assumptions=st.lists(texts, max_size=3).map(tuple),
)


def optional(message: Message, name: str) -> Any:
    """Return the value of an optional field, or None if it is unset."""
    return getattr(message, name) if message.HasField(name) else None


# verdicts


@given(verdicts)
@max_examples(300)
def test_verdict_line_returns_the_proto3_json_form(verdict: Verdict) -> None:
    def parse_json_text(text: str) -> Any:
        """Parse JSON with numbers as text and without the order of fields."""
        return json.loads(text, parse_int=str, parse_float=str)

    expected = parse_json_text(to_json(wire.to_verdict(verdict, NAMES)))
    assert expected.pop("name") == ""
    assert parse_json_text(wire.verdict_line(verdict, NAMES)) == expected


@given(verdicts)
@max_examples(100)
def test_protobuf_parses_a_verdict_line(verdict: Verdict) -> None:
    line = wire.verdict_line(verdict, NAMES)

    assert "\n" not in line
    assert Parse(line, pb.Verdict()) == wire.to_verdict(verdict, NAMES)


def test_a_probability_of_zero_is_not_missing() -> None:
    verdict = Verdict("a.jpg", 0, 0, ErrorType.CORRECT, (), probability=0.0)

    assert wire.to_verdict(verdict, NAMES).HasField("probability")
    assert json.loads(wire.verdict_line(verdict, NAMES))["probability"] == 0


@given(verdicts, evidence)
@max_examples(100)
def test_a_verdict_is_converted_completely(verdict: Verdict, why: VerdictEvidence) -> None:
    names = NAMES
    sent = wire.to_verdict(Verdict(**(vars(verdict) | {"evidence": why})), NAMES)

    assert (sent.file_name, sent.target, sent.predicted) == (verdict.file_name, verdict.target, verdict.predicted)
    assert (sent.target_name, sent.predicted_name) == (names[verdict.target], names[verdict.predicted])
    effective_target = verdict.target if verdict.replaced_by is None else verdict.replaced_by
    assert (sent.rejected_target, sent.matches_label) == (verdict.replaced_by is not None, verdict.matches_label)
    assert (sent.effective_target, sent.effective_target_name) == (effective_target, names[effective_target])
    assert sent.error_type == verdict.error_type.key
    assert list(sent.problematic) == list(verdict.problematic)
    assert optional(sent, "probability") == verdict.probability
    assert [(label.class_index, label.source) for label in sent.evidence.labels] == list(why.labels)
    assert [
        (shared_superclass.label, tuple(shared_superclass.superclasses))
        for shared_superclass in sent.evidence.shared_superclasses
    ] == [(shared_superclass.label, shared_superclass.superclasses) for shared_superclass in why.shared_superclasses]
    assert [
        (co_occurrence.label, co_occurrence.count, tuple(co_occurrence.examples))
        for co_occurrence in sent.evidence.co_occurrences
    ] == [(co_occurrence.label, co_occurrence.count, co_occurrence.examples) for co_occurrence in why.co_occurrences]
    vocabulary = sent.evidence.vocabulary
    assert sent.evidence.HasField("vocabulary") == (why.vocabulary is not None)
    if why.vocabulary is not None:
        assert optional(vocabulary, "prefers_label") == why.vocabulary.prefers_label
        assert (vocabulary.gate, vocabulary.num_texts) == (why.vocabulary.gate, why.vocabulary.num_texts)
        assert [(item.text, item.probability, item.outside) for item in vocabulary.best] == [
            (item.text, item.probability, item.outside) for item in why.vocabulary.best
        ]
    assert sent.evidence.HasField("expert_judgment") == (why.expert_judgment is not None)
    if why.expert_judgment is not None:
        judgment = sent.evidence.expert_judgment
        assert judgment.error_type == why.expert_judgment.cause.key
        assert judgment.severity == why.expert_judgment.severity
    assert sent.evidence.overlap == why.overlap
    assert [(item.error_type, item.outcome, item.note) for item in sent.evidence.trace] == [
        (item.error_type.key, item.outcome, item.note) for item in why.trace
    ]


def test_default_values_are_included_in_json() -> None:
    verdict = Verdict("a.jpg", 0, 0, ErrorType.CORRECT, ())

    plain = json.loads(to_json(wire.to_verdict(verdict, NAMES)))

    assert (plain["target"], plain["predicted"], plain["problematic"]) == (0, 0, [])
    assert "probability" not in plain
    assert "evidence" not in plain
    assert to_dict(pb.ListAnalysesResponse()) == {
        "analyses": [],
        "next_page_token": "",
        "index_incomplete": False,
    }


# analyses


def from_message(message: pb.Analysis) -> Analysis:
    """Convert a message to an analysis field by field."""

    def time(name: str) -> datetime | None:
        return getattr(message, name).ToDatetime(UTC) if message.HasField(name) else None

    def group(sent: pb.GroupSummary) -> GroupSummary:
        names = ["counts", "portions_of_top1_errors", "portions_of_multi_label_errors"]
        names += ["gain_if_fixed_top1", "gain_if_fixed_multi_label"]
        by_type = {
            name: {ErrorType[key.upper()]: value for key, value in getattr(sent, name).items()} for name in names
        }
        names_of_fields = {field.name for field in fields(GroupSummary)}
        accuracies = [name for name in sorted(names_of_fields) if name.endswith("_accuracy")]
        accuracies.append("accuracy_against_labels")
        accuracies += ["multi_label_accuracy_forgiving_minor", "multi_label_accuracy_forgiving_explainable"]
        rates = {name: optional(sent, name) for name in accuracies}
        return GroupSummary(num_samples=sent.num_samples, top1_errors=sent.top1_errors, **by_type, **rates)

    summary, info, progress = message.summary, message.model_info, message.progress
    return Analysis(
        id=message.name.removeprefix("analyses/"),
        request=AnalysisRequest(
            dataset=unquote(message.dataset.removeprefix("datasets/")),
            model=unquote(message.model.removeprefix("models/")),
            display_name=message.display_name,
            labels=dict(message.labels),
            request_id=message.request_id,
        ),
        state=State(message.state),
        evidence=unquote(message.evidence.rpartition("/evidence/")[2]),
        create_time=message.create_time.ToDatetime(UTC),
        owner=message.owner,
        start_time=time("start_time"),
        end_time=time("end_time"),
        progress=Progress(
            progress.done,
            progress.total,
            optional(progress, "images_per_second"),
            progress.eta.ToMilliseconds() / 1000 if progress.HasField("eta") else None,
            optional(progress, "queue_position"),
            optional(progress, "live_workers"),
        ),
        predictions_digest=message.predictions_digest,
        model_info=ModelInfo(info.model, info.architecture, info.weights_sha256, info.transform)
        if message.HasField("model_info")
        else None,
        summary=Summary(
            {name: group(message_group) for name, message_group in summary.groups.items()},
            tuple(ErrorType[key.upper()] for key in summary.abstained),
            summary.num_problematic,
            summary.num_images,
            summary.num_predicted,
            optional(summary, "top1_accuracy_all_images"),
            optional(summary, "top1_accuracy_among_classes"),
            optional(summary, "imagenet_m_errors"),
            optional(summary, "num_judged"),
            optional(summary, "num_rejected_targets"),
        )
        if message.HasField("summary")
        else None,
        failure=Failure(message.failure.reason, message.failure.message) if message.HasField("failure") else None,
        warnings=tuple(message.warnings),
        cached=message.cached,
        implausible=message.implausible,
        assumptions=tuple(message.assumptions),
    )


@given(analyses)
@max_examples(80)
def test_an_analysis_is_converted_completely(analysis: Analysis) -> None:
    sent = wire.to_analysis(analysis)
    titled = AnalysisRequest(**(vars(analysis.request) | {"display_name": analysis.title}))

    back = from_message(pb.Analysis.FromString(sent.SerializeToString()))

    assert back == Analysis(**(vars(analysis) | {"request": titled}))
    for group, summary in analysis.summary.groups.items() if analysis.summary else ():
        message = sent.summary.groups[group]
        assert optional(message, "image_multi_label_accuracy") == summary.image_multi_label_accuracy


@given(analyses)
@max_examples(80)
def test_the_result_of_an_analysis_survives_a_round_trip(analysis: Analysis) -> None:
    """The file summary.json has the message; the commands compare, gate, and trend read it."""
    analysis = replace(analysis, summary=make_consistent(analysis.summary) if analysis.summary else None)
    back = wire.from_analysis(pb.Analysis.FromString(wire.to_analysis(analysis).SerializeToString()))

    fields = (
        "id",
        "state",
        "evidence",
        "create_time",
        "predictions_digest",
        "model_info",
        "summary",
        "warnings",
        "implausible",
        "assumptions",
    )
    assert {name: getattr(back, name) for name in fields} == {name: getattr(analysis, name) for name in fields}
    assert (back.title, back.request.dataset, back.request.labels) == (
        analysis.title,
        analysis.request.dataset,
        analysis.request.labels,
    )


def make_consistent(summary: Summary) -> Summary:
    """Return a summary with consistent counts."""
    groups = {}
    for group, group_summary in summary.groups.items():
        counts = {kind: count % 1000 for kind, count in group_summary.counts.items()}
        groups[group] = replace(group_summary, counts=counts, num_samples=sum(counts.values()))
    return replace(summary, groups=groups)


COUNTED = {"num_samples": 8, "counts": {error_type.key: 1 for error_type in ERROR_TYPES}}


@pytest.mark.parametrize(
    "summary",
    [
        {"groups": dict.fromkeys(("all", "organism", "artifact", "other"), COUNTED | {"top1_accuracy": 7})},
        {"groups": dict.fromkeys(("all", "organism", "artifact", "other"), COUNTED | {"top1_accuracy": "NaN"})},
        {"groups": dict.fromkeys(("all", "organism", "artifact", "other"), COUNTED | {"num_samples": 9})},
        {"groups": dict.fromkeys(("all", "organism", "artifact", "other"), COUNTED), "abstained": [""]},
        {"groups": {}},
        {"groups": {"all": {}, "organism": {}, "artifact": {}, "other": {}}},
        {"groups": {name: {"counts": {"odd": 1}} for name in ("all", "organism", "artifact", "other")}},
    ],
)
def test_an_invalid_summary_message_is_rejected(summary: dict[str, Any]) -> None:
    message = pb.Analysis(name="analyses/1", state="STATE_SUCCEEDED", summary=ParseDict(summary, pb.Summary()))

    with pytest.raises(InvalidRequest, match=r"Invalid|Unknown|missing|add up|no group|no error type"):
        wire.from_analysis(message)


@given(analyses)
@max_examples(80)
def test_protobuf_parses_the_json_of_an_analysis(analysis: Analysis) -> None:
    sent = wire.to_analysis(analysis)

    assert Parse(to_json(sent), pb.Analysis()) == sent


rows = st.builds(
    BreakdownRow,
    name=texts,
    class_index=st.none() | classes,
    num_samples=counts,
    counts=st.fixed_dictionaries(dict.fromkeys(ERROR_TYPES, counts)),
    multi_label_accuracy=rates,
    gain_if_fixed_top1=shares,
    gain_if_fixed_multi_label=shares,
)


@given(st.lists(rows, max_size=5))
@max_examples(80)
def test_a_breakdown_is_converted_completely(breakdown_rows: list[BreakdownRow]) -> None:
    sent = pb.Breakdown.FromString(wire.to_breakdown(breakdown_rows, ERROR_TYPES[3:5]).SerializeToString())

    assert [*sent.abstained] == [error_type.key for error_type in ERROR_TYPES[3:5]]
    back = [
        BreakdownRow(
            row.display_name,
            optional(row, "class_index"),
            row.num_samples,
            {ErrorType[name.upper()]: count for name, count in row.counts.items()},
            optional(row, "multi_label_accuracy"),
            {ErrorType[name.upper()]: gain for name, gain in row.gain_if_fixed_top1.items()},
            {ErrorType[name.upper()]: gain for name, gain in row.gain_if_fixed_multi_label.items()},
        )
        for row in sent.rows
    ]
    assert back == breakdown_rows


def make_analysis(**changes: Any) -> Analysis:
    group = GroupSummary(0, dict.fromkeys(ERROR_TYPES, 0), 0, None, None, None, None, {}, {}, {}, {})
    summary = Summary(dict.fromkeys((ALL, *GROUPS), group), (ErrorType.FINE_GRAINED_OOV,), 0, 0, 0, None, None, None)
    values: dict[str, Any] = {"id": "a1", "request": AnalysisRequest("demo"), "state": State.SUCCEEDED, "evidence": "e"}
    return Analysis(**(values | {"create_time": datetime(2024, 1, 1, tzinfo=UTC), "summary": summary} | changes))


def test_the_json_of_a_summary_has_the_documented_fields() -> None:
    plain = json.loads(to_json(wire.to_analysis(make_analysis())))

    assert set(plain["summary"]["groups"]) == {"all", "organism", "artifact", "other"}
    everything = plain["summary"]["groups"]["all"]
    assert everything["counts"] == dict.fromkeys(
        [
            "correct",
            "class_overlap",
            "multi_label",
            "fine_grained",
            "fine_grained_oov",
            "spurious_correlation",
            "non_prototypical",
            "model_failure",
        ],
        0,
    )
    assert everything["num_samples"] == 0
    assert not [name for name in everything if "accuracy" in name], "rates without samples are absent"
    assert plain["summary"]["abstained"] == ["fine_grained_oov"]
    assert (plain["state"], plain["name"]) == ("STATE_SUCCEEDED", "analyses/a1")
    assert "failure" not in plain


ENUMS = {
    "State": "STATE_",
    "Severity": "SEVERITY_",
    "ExpertSeverity": "EXPERT_SEVERITY_",
    "ProblematicTag": "PROBLEMATIC_TAG_",
    "RowOrder": "ROW_ORDER_",
    "LabelSource": "LABEL_SOURCE_",
    "Outcome": "OUTCOME_",
    "GateDecision": "GATE_DECISION_",
}


@pytest.mark.parametrize("name", sorted(ENUMS))
def test_integer_enums_match_the_proto(name: str) -> None:
    sent = dict(getattr(pb.Analysis if name == "State" else pb, name).items())

    assert sent == {ENUMS[name] + item.name: item.value for item in getattr(domain, name)}


def test_paired_metrics_match_the_proto() -> None:
    names = [name.removeprefix("PAIRED_METRIC_") for name in pb.PairedMetric.keys()[1:]]

    assert names == [metric.name for metric in domain.PairedMetric]


@pytest.mark.parametrize("key", ["blurred", "MODEL_FAILURE", ""])
def test_an_unknown_error_type_in_a_filter_is_rejected_with_the_known_ones(key: str) -> None:
    known = ", ".join(error_type.key for error_type in ERROR_TYPES)

    with pytest.raises(InvalidRequest, match=f"Unknown error type '{key}'. Expected one of: {known}.") as rejected:
        verdict_filter(pb.VerdictFilter(error_types=["correct", key]))
    assert [violation.field for violation in rejected.value.violations] == ["filter.error_types"]


def test_every_group_is_named_as_in_the_domain() -> None:
    groups = {name: verdict_filter(pb.VerdictFilter(group=name)).group for name in ("all", "organism", "")}

    assert groups == {"all": ALL, "organism": "organism", "": ALL}


# names


@pytest.mark.parametrize("name", ["analyses/01hx5", "01hx5"])
def test_a_name_and_an_id_are_both_accepted(name: str) -> None:
    assert wire.analysis_id(name) == "01hx5"
    assert wire.analysis_name("01hx5") == "analyses/01hx5"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "analyses/",
        "analyses/..",
        "analyses/../secret",
        "../secret",
        "/etc/passwd",
        "analyses/a/b",
        "analyses/analyses/a",
        "models/a",
        "a.json",
        "a\\b",
        "a b",
        "a\n",
        "a\x00",
        "ä",
        "²",
        "a" * 65,
        "%2e%2e",
    ],
)
def test_a_name_that_could_be_a_path_is_rejected(name: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        wire.analysis_id(name)

    assert error.value.violations[0].field == "name"


@given(st.text())
@max_examples(200)
def test_an_accepted_id_is_safe_in_a_file_name(name: str) -> None:
    with suppress(InvalidRequest):
        assert re.fullmatch("[0-9A-Za-z]{1,64}", wire.analysis_id(name))


# pages

ANALYSES = [
    pb.ListAnalysesRequest(),
    pb.ListAnalysesRequest(order_by="display_name"),
    pb.ListAnalysesRequest(filter=pb.AnalysisFilter(dataset="demo")),
    pb.ListAnalysesRequest(filter=pb.AnalysisFilter(dataset="mine")),
    pb.ListAnalysesRequest(filter=pb.AnalysisFilter(dataset="imagenet-real")),
    pb.ListAnalysesRequest(filter=pb.AnalysisFilter(model="demo")),
    pb.ListAnalysesRequest(filter=pb.AnalysisFilter(labels={"a": "b"})),
    pb.ListAnalysesRequest(filter=pb.AnalysisFilter(labels={"a": "c"})),
    pb.ListAnalysesRequest(filter=pb.AnalysisFilter(states=[pb.Analysis.STATE_FAILED])),
    pb.ListAnalysesRequest(filter=pb.AnalysisFilter(states=[pb.Analysis.STATE_FAILED, pb.Analysis.STATE_QUEUED])),
]
VERDICTS = [
    pb.ListVerdictsRequest(parent="analyses/a"),
    pb.ListVerdictsRequest(parent="analyses/b"),
    pb.ListVerdictsRequest(parent="analyses/a", view=pb.VERDICT_VIEW_FULL),
    pb.ListVerdictsRequest(parent="analyses/a", filter=pb.VerdictFilter(target_class="0")),
    pb.ListVerdictsRequest(parent="analyses/a", filter=pb.VerdictFilter(target_class="1")),
    pb.ListVerdictsRequest(parent="analyses/a", filter=pb.VerdictFilter(predicted_class="1")),
    pb.ListVerdictsRequest(parent="analyses/a", filter=pb.VerdictFilter(problematic=True)),
    pb.ListVerdictsRequest(parent="analyses/a", filter=pb.VerdictFilter(problematic=False)),
    pb.ListVerdictsRequest(parent="analyses/a", filter=pb.VerdictFilter(superclass="dog")),
    pb.ListVerdictsRequest(parent="analyses/a", filter=pb.VerdictFilter(group="other")),
    pb.ListVerdictsRequest(parent="analyses/a", filter=pb.VerdictFilter(error_types=["model_failure"])),
]


@pytest.mark.parametrize(
    ("convert", "message", "problem"),
    [
        (wire.analysis_filter, pb.AnalysisFilter(states=[3] * 4000), "The filter has 4000 states. Use each state"),
        (wire.trend_request, pb.ComputeTrendRequest(analyses=["a"] * 1001), "The request names 1001 analyses."),
        (
            wire.request_from_create,
            pb.CreateAnalysisRequest(analysis=pb.Analysis(model="m", labels={str(i): "" for i in range(65)})),
            "The analysis has 65 labels.",
        ),
    ],
    ids=["states", "trend", "labels"],
)
def test_a_request_with_too_many_values_is_rejected_by_its_conversion(
    convert: Callable[[Any], object], message: Message, problem: str
) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        convert(message)


def test_a_filter_may_have_every_state() -> None:
    assert wire.analysis_filter(pb.AnalysisFilter(states=[*State])).states == {*State}


@pytest.mark.parametrize("offset", [1, 50, 1000, 10**9])
def test_a_token_is_valid_for_the_same_query(offset: int) -> None:
    for query in [*ANALYSES, *VERDICTS]:
        assert paging.page_offset(paging.page_token(offset, query), query) == offset
    assert paging.page_offset("", ANALYSES[0]) == 0


def test_the_page_size_may_change_between_pages() -> None:
    token = paging.page_token(50, pb.ListAnalysesRequest(page_size=50))

    assert paging.page_offset(token, pb.ListAnalysesRequest(page_size=10, page_token=token)) == 50


@pytest.mark.parametrize("queries", [ANALYSES, VERDICTS], ids=["analyses", "verdicts"])
def test_a_token_of_another_query_is_rejected(queries: list[Message]) -> None:
    for mine, other in itertools.permutations(queries, 2):
        if mine != other:
            with pytest.raises(InvalidPageToken):
                paging.page_offset(paging.page_token(50, other), mine)


LISTS = [kind for name, kind in vars(pb).items() if name.startswith("List") and name.endswith("Request")]


@pytest.mark.parametrize("kind", LISTS)
def test_a_token_is_valid_only_for_its_own_list(kind: Any) -> None:
    """Given requests of all lists with equal fields, such as those of data sets and of models."""
    fields = {"parent": "datasets/demo"} if "parent" in kind.DESCRIPTOR.fields_by_name else {}
    token = paging.page_token(50, kind(**fields, page_size=50))

    assert paging.page_offset(token, kind(**fields, page_size=10, page_token=token)) == 50
    for other in {*LISTS} - {kind}:
        fields = {"parent": "datasets/demo"} if "parent" in other.DESCRIPTOR.fields_by_name else {}
        with pytest.raises(InvalidPageToken):
            paging.page_offset(token, other(**fields, page_size=10, page_token=token))


def later_version(query: Message) -> Any:
    """Return a query as a version reads it in which all messages have a further field."""
    pool = DescriptorPool()

    def add(file: Any) -> None:
        for dependency in file.dependencies:
            add(dependency)
        changed = FileDescriptorProto()
        file.CopyToProto(changed)
        for message in changed.message_type if file.package == "errata.v1" else ():
            message.field.add(
                name="later",
                number=1000,
                type=FieldDescriptorProto.TYPE_STRING,
                label=FieldDescriptorProto.LABEL_OPTIONAL,
            )
        pool.AddSerializedFile(changed.SerializeToString())

    add(query.DESCRIPTOR.file)
    kind = GetMessageClass(pool.FindMessageTypeByName(query.DESCRIPTOR.full_name))
    return kind.FromString(query.SerializeToString())


@pytest.mark.parametrize("query", [*ANALYSES, *VERDICTS, *(kind() for kind in LISTS)])
def test_a_token_is_valid_for_a_version_with_further_fields(query: Message) -> None:
    later = later_version(query)

    assert paging.page_offset(paging.page_token(50, later), query) == 50
    assert paging.page_offset(paging.page_token(50, query), later) == 50
    for changed in [later, *(value for field, value in later.ListFields() if field.name == "filter")]:
        changed.later = "x"
        with pytest.raises(InvalidPageToken):
            paging.page_offset(paging.page_token(50, query), later)
        changed.ClearField("later")


def forge_token(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode()


@pytest.mark.parametrize(
    "token",
    [
        "garbage",
        "=",
        "A",
        "ä",
        "🦊",
        "\x00",
        forge_token(b"\xff\xff"),
        forge_token(b"null"),
        forge_token(b"5"),
        forge_token(b'"ab"'),
        forge_token(b"[1]"),
        forge_token(b"[1, 2]"),
        forge_token(b"[1, 2, 3]"),
        forge_token(b'{"a": 1, "b": 2}'),
        forge_token(b"[" * 100_000),
        forge_token(b'{"":' * 50_000),
        forge_token(b"9" * 5000),
    ],
    ids=lambda token: repr(token[:16]),
)
def test_an_invalid_token_is_rejected(token: str) -> None:
    with pytest.raises(InvalidPageToken) as error:
        paging.page_offset(token, pb.ListAnalysesRequest())

    assert error.value.violations[0].field == "page_token"


def test_a_token_that_is_too_long_is_rejected_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "parse_json", lambda _: pytest.fail("the token was parsed"))

    with pytest.raises(InvalidPageToken):
        paging.page_offset(forge_token(b"[" + b"[]," * 10_000 + b"1]"), pb.ListAnalysesRequest())


def test_a_negative_offset_is_rejected() -> None:
    query = pb.ListAnalysesRequest()

    with pytest.raises(InvalidPageToken):
        paging.page_offset(paging.page_token(-1, query), query)


@given(token=st.text() | st.binary().map(forge_token), query=st.sampled_from([*ANALYSES, *VERDICTS]))
@max_examples(200)
def test_any_token_is_accepted_or_rejected(token: str, query: Message) -> None:
    with suppress(InvalidPageToken):
        assert paging.page_offset(token, query) >= 0


@pytest.mark.parametrize(
    ("requested", "expected"), [(0, 50), (1, 1), (50, 50), (1000, 1000), (1001, 1000), (2**31 - 1, 1000)]
)
def test_the_page_size_has_a_default_and_a_limit(requested: int, expected: int) -> None:
    assert wire.page_size(requested, default=50) == expected


@pytest.mark.parametrize("requested", [-1, -(2**31)])
def test_a_negative_page_size_is_refused(requested: int) -> None:
    with pytest.raises(InvalidRequest, match="Invalid page_size -"):
        wire.page_size(requested, default=50)


# requests


@pytest.mark.parametrize(
    ("model", "dataset", "evidence"),
    [
        (" timm:resnet50 ", "demo", "abc"),
        ("models/timm:resnet50", "datasets/demo", "datasets/demo/evidence/abc"),
    ],
)
def test_a_create_request_is_converted(model: str, dataset: str, evidence: str) -> None:
    analysis = pb.Analysis(
        name="analyses/ignored",
        state=pb.Analysis.STATE_SUCCEEDED,
        model=model,
        dataset=dataset,
        evidence=evidence,
        display_name="mine",
        labels={"a": "b"},
        gate_policy="version: 1",
        gate_baseline="analyses/7",
    )

    assert wire.request_from_create(
        pb.CreateAnalysisRequest(analysis=analysis, request_id="r", fresh=True)
    ) == AnalysisRequest(
        "demo", "timm:resnet50", "mine", "abc", {"a": "b"}, "r", RowOrder.UNSPECIFIED, True, "version: 1", "7"
    )


def test_a_header_is_converted() -> None:
    analysis = pb.Analysis(dataset="demo", evidence="abc", display_name="mine", labels={"a": "b"})
    message = pb.UploadHeader(analysis=analysis, request_id="r", row_order=pb.ROW_ORDER_FILE_NAME, fresh=True)

    assert wire.request_from_header(message) == AnalysisRequest(
        "demo", "", "mine", "abc", {"a": "b"}, "r", RowOrder.FILE_NAME, True
    )


def test_the_default_bundle_has_an_alias() -> None:
    analysis = pb.Analysis(dataset="demo", evidence="datasets/demo/evidence/default")

    assert wire.request_from_header(pb.UploadHeader(analysis=analysis)).evidence == ""
    assert wire.evidence_ids("datasets/demo/evidence/default") == ("demo", "")


@pytest.mark.parametrize("name", ["val_1.JPEG", "n01440764/a b.jpg", "50%.jpg", "ä/%2F?#.png", ".."])
def test_the_name_of_a_verdict_has_the_file_name_of_its_image(name: str) -> None:
    verdict = wire.to_verdict(Verdict(name, 0, 0, ErrorType.CORRECT, ()), NAMES, "a1")

    assert re.fullmatch(r"analyses/a1/verdicts/[^/?#]+", verdict.name)
    assert wire.verdict_ids(verdict.name) == ("a1", name)


@pytest.mark.parametrize(
    ("decode", "message", "field"),
    [
        (wire.request_from_create, pb.CreateAnalysisRequest(analysis=pb.Analysis(dataset="demo")), "model"),
        (wire.request_from_header, pb.UploadHeader(row_order=3), "row_order"),
        (wire.request_from_header, pb.UploadHeader(analysis=pb.Analysis(model="m")), "model"),
        (
            wire.request_from_header,
            pb.UploadHeader(analysis=pb.Analysis(dataset="demo", evidence="datasets/imagenet/evidence/abc")),
            "evidence",
        ),
        (
            wire.request_from_header,
            pb.UploadHeader(analysis=pb.Analysis(dataset="demo", evidence="datasets/demo")),
            "evidence",
        ),
        (wire.analysis_filter, pb.AnalysisFilter(states=[1, 99]), "filter.states"),
        (wire.analysis_filter, pb.AnalysisFilter(evidence="latest"), "filter.evidence"),
        (wire.analysis_filter, pb.AnalysisFilter(evidence="e" * 65), "filter.evidence"),
        (wire.analysis_filter, pb.AnalysisFilter(evidence="datasets/demo/evidence/default"), "filter.evidence"),
        (wire.analysis_filter, pb.AnalysisFilter(evidence="datasets/demo"), "filter.evidence"),
        (wire.analysis_filter, pb.AnalysisFilter(dataset="a", evidence="datasets/b/evidence/e1"), "filter.evidence"),
        (wire.analysis_filter, pb.AnalysisFilter(start_create_time=NO_TIME), "filter.start_create_time"),
        (wire.analysis_filter, pb.AnalysisFilter(end_create_time=NO_TIME), "filter.end_create_time"),
        (wire.audit_filter, pb.ListAuditEventsRequest(end_time=NO_TIME), "end_time"),
        (verdict_filter, pb.VerdictFilter(error_types=["UNSPECIFIED"]), "filter.error_types"),
        (verdict_filter, pb.VerdictFilter(target_class="1000"), "filter.target_class"),
        (verdict_filter, pb.VerdictFilter(predicted_class="-1"), "filter.predicted_class"),
    ],
)
def test_an_invalid_field_is_rejected_by_name(
    decode: Callable[[Message], object], message: Message, field: str
) -> None:
    with pytest.raises(InvalidRequest) as error:
        decode(message)

    assert error.value.violations[0].field == field


@pytest.mark.parametrize(
    ("bundle", "dataset", "expected"),
    [
        ("e" * 64, "", ("", "e" * 64)),
        ("e1", "datasets/demo", ("demo", "e1")),
        ("datasets/demo/evidence/e1", "", ("demo", "e1")),
        ("datasets/demo/evidence/e1", "demo", ("demo", "e1")),
    ],
)
def test_a_filter_of_evidence_is_a_name_or_a_digest_prefix(
    bundle: str, dataset: str, expected: tuple[str, str]
) -> None:
    converted = wire.analysis_filter(pb.AnalysisFilter(dataset=dataset, evidence=bundle))

    assert (converted.dataset, converted.evidence_prefix) == expected


def test_an_unset_condition_is_not_class_0() -> None:
    assert (verdict_filter(pb.VerdictFilter()).target, verdict_filter(pb.VerdictFilter()).predicted) == (
        None,
        None,
    )
    assert verdict_filter(pb.VerdictFilter(target_class="0")).target == 0
    assert verdict_filter(pb.VerdictFilter(problematic=False)).problematic is False


labels = st.dictionaries(texts, texts, max_size=3)
REQUESTS: dict[Callable[[Any], object], st.SearchStrategy[Message]] = {
    wire.request_from_create: st.builds(
        pb.CreateAnalysisRequest,
        analysis=st.builds(pb.Analysis, model=texts, dataset=texts, evidence=texts, display_name=texts, labels=labels),
        request_id=texts,
        fresh=st.booleans(),
    ),
    wire.request_from_header: st.builds(
        pb.UploadHeader,
        analysis=st.builds(pb.Analysis, dataset=texts, labels=labels),
        request_id=texts,
        row_order=int32,
        fresh=st.booleans(),
    ),
    wire.analysis_filter: st.builds(
        pb.AnalysisFilter,
        states=st.lists(int32, max_size=3),
        dataset=texts,
        model=texts,
        labels=labels,
        evidence=texts,
        request_id=texts,
        start_create_time=st.builds(Timestamp, seconds=int64, nanos=int32),
    ),
    verdict_filter: st.builds(
        pb.VerdictFilter,
        error_types=st.lists(texts | st.sampled_from([kind.key for kind in ERROR_TYPES]), max_size=3),
        target_class=texts | int32.map(str),
        predicted_class=texts | int32.map(str),
        superclass=texts,
        group=texts | st.sampled_from(["all", "organism"]),
        problematic=st.none() | st.booleans(),
    ),
}


@pytest.mark.parametrize("decode", REQUESTS, ids=lambda decode: decode.__name__)
def test_any_field_value_raises_only_errata_errors(decode: Callable[[Any], object]) -> None:
    @given(REQUESTS[decode])
    @max_examples(150)
    def fuzz(message: Message) -> None:
        with suppress(ErrataError):
            assert decode(message) is not None

    fuzz()


@pytest.mark.parametrize("kind", [pb.ListAnalysesRequest, pb.ListVerdictsRequest])
def test_any_query_has_its_own_token(kind: type[Message]) -> None:
    @given(st.binary(max_size=60))
    @example(b"")
    @max_examples(200)
    def fuzz(content: bytes) -> None:
        with suppress(DecodeError):
            query = kind.FromString(content)
            assert paging.page_offset(paging.page_token(7, query), query) == 7

    fuzz()


def test_error_types_have_the_shipped_agreement_with_experts() -> None:
    sent = {error_type: wire.to_error_type(error_type) for error_type in ERROR_TYPES}

    spurious = sent[ErrorType.SPURIOUS_CORRELATION].expert_agreement
    assert (spurious.num_judged, spurious.num_experts, spurious.num_agreed) == (49, 72, 17)
    assert 0.1 < spurious.kappa < 0.3
    without = [error_type for error_type, info in sent.items() if not info.HasField("expert_agreement")]
    assert without == [
        ErrorType.CORRECT, ErrorType.CLASS_OVERLAP, ErrorType.MULTI_LABEL, ErrorType.FINE_GRAINED_OOV
    ]  # fmt: skip
