"""Requests from the arguments of the clients' methods."""

import io
import re
import time
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd
import pytest
from errata import Analysis, errors, pb, requests
from errata.choices import choice, choices
from errata.names import verdict_name
from errata.requests import (
    analysis_filter,
    audit_request,
    create_request,
    name_of,
    trend_request,
    upload_header,
    verdict_filter,
)


@pytest.mark.parametrize(
    "value", ["file-name", "FILE_NAME", "file_name", "ROW_ORDER_FILE_NAME", pb.ROW_ORDER_FILE_NAME]
)
def test_an_enumeration_is_a_value_or_a_name(value: str | int) -> None:
    assert choice(pb.RowOrder, value, "row_order") == pb.ROW_ORDER_FILE_NAME


def test_empty_text_is_the_default() -> None:
    assert choice(pb.VerdictFormat, "", "format") == pb.VERDICT_FORMAT_UNSPECIFIED


@pytest.mark.parametrize("value", ["xlsx", "unspecified", "ROW_ORDER_PATH"])
def test_an_unknown_name_is_rejected_with_the_permitted_ones(value: str) -> None:
    message = f"Unknown format {value!r}. Expected one of: jsonl, csv, parquet, arrow."
    with pytest.raises(errors.InvalidRequest, match=re.escape(message)) as rejected:
        choice(pb.VerdictFormat, value, "format")
    assert rejected.value.violations[0].field == "format"


def test_several_values_are_one_or_a_list() -> None:
    assert choices(pb.Analysis.State, "failed", "state") == [pb.Analysis.STATE_FAILED]
    assert choices(pb.Analysis.State, ["failed", pb.Analysis.STATE_QUEUED], "state") == [
        pb.Analysis.STATE_FAILED,
        pb.Analysis.STATE_QUEUED,
    ]


def test_a_verdict_filter_is_built_from_keywords() -> None:
    built = verdict_filter(
        None, {"error_types": ["model-failure", "Blurred"], "group": "organism", "target": 3, "predicted": "cat"}
    )

    assert built == pb.VerdictFilter(
        error_types=["model_failure", "blurred"], group="organism", target_class="3", predicted_class="cat"
    )


def test_an_analysis_filter_is_built_from_keywords() -> None:
    built = analysis_filter(None, {"states": "succeeded", "labels": {"team": "a"}})

    assert built == pb.AnalysisFilter(states=[pb.Analysis.STATE_SUCCEEDED], labels={"team": "a"})


@pytest.mark.parametrize("kind", [datetime, pd.Timestamp])
def test_times_of_an_analysis_filter_without_a_zone_are_local(
    monkeypatch: pytest.MonkeyPatch, kind: type[datetime]
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        built = analysis_filter(None, {"created_after": kind(2026, 1, 1, 9), "created_before": None})
    finally:
        monkeypatch.undo()
        time.tzset()

    assert built == pb.AnalysisFilter(start_create_time=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("value", ["2026-01-01", "", 0, (), date(2026, 1, 1), datetime.min, pd.NaT])
def test_a_value_that_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(errors.InvalidRequest, match=r"cannot be used as created_after\. Expected a datetime"):
        analysis_filter(None, {"created_after": value})  # type: ignore[typeddict-item]


def test_a_trend_request_is_built_from_keywords() -> None:
    analyses = [Analysis(pb.Analysis(name="analyses/a")), "b"]
    built = trend_request(None, {"analyses": analyses, "group": "artifact", "owner": "ann"})

    assert built == pb.ComputeTrendRequest(analyses=["analyses/a", "b"], group="artifact", owner="ann")


def test_a_message_is_passed_on() -> None:
    message = pb.VerdictFilter(target_class="1")

    assert verdict_filter(message, {}) is message
    assert verdict_filter(None, {}) is None
    assert trend_request(None, {}) == pb.ComputeTrendRequest()


def test_a_message_together_with_keywords_is_rejected() -> None:
    with pytest.raises(errors.InvalidRequest, match=r"Both a VerdictFilter and keywords \(target\)"):
        verdict_filter(pb.VerdictFilter(), {"target": 1})


@pytest.mark.parametrize(
    "build",
    [
        lambda options: create_request("m", "d", options),
        lambda options: verdict_filter(None, options),
        lambda options: audit_request("d", "", options),
    ],
)
def test_an_unknown_keyword_is_a_type_error(build: Any) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'eror_types'"):
        build({"eror_types": []})


@pytest.mark.parametrize(
    "build",
    [
        lambda text: upload_header(io.BytesIO(), "demo", "", {}, subset=["a" * 1000, text]),
        lambda text: upload_header(text, "demo", "", {}),
        lambda text: trend_request(None, {"analyses": [text]}),
        lambda text: verdict_name("a", text),
    ],
)
def test_a_text_that_cannot_be_sent_is_an_invalid_request(build: Any) -> None:
    with pytest.raises(errors.InvalidRequest, match=r"a\\udc80\.jpg' has the lone surrogate U\+DC80.* remove the surr"):
        build("a\udc80.jpg")


def test_a_number_that_cannot_be_sent_is_an_invalid_request() -> None:
    with pytest.raises(errors.InvalidRequest, match=r"A value cannot be sent: .*1000000000000"):
        requests.build(pb.ExportReviewsRequest, min_reviews=10**12)


def test_bytes_in_a_name_are_a_type_error() -> None:
    with pytest.raises(TypeError, match="bytes"):
        verdict_name("a", b"a.jpg")  # type: ignore[arg-type]


def test_a_request_for_a_model_gets_an_id() -> None:
    first, second = create_request("m", "demo", {}), create_request("m", "demo", {})

    assert first.request_id
    assert first.request_id != second.request_id
    assert create_request("m", "demo", {"request_id": "mine"}).request_id == "mine"


def test_an_upload_is_named_after_its_file() -> None:
    assert upload_header("folder/mine.csv", "demo", "path", {}).analysis.display_name == "mine.csv"
    assert upload_header("folder/mine.csv", "demo", "", {"display_name": "other"}).analysis.display_name == "other"
    assert upload_header(io.BytesIO(), "demo", "", {}).analysis.display_name == ""


@pytest.mark.parametrize(
    "analysis", ["analyses/a", pb.Analysis(name="analyses/a"), Analysis(pb.Analysis(name="analyses/a"))]
)
def test_an_analysis_is_a_name_a_message_or_a_result(analysis: Any) -> None:
    assert name_of(analysis) == "analyses/a"
    assert create_request("m", "demo", {"gate_baseline": analysis}).analysis.gate_baseline == "analyses/a"
