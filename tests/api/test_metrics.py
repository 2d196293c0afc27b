"""The metrics of a running service: calls, pages, stages, caches, evidence, and results."""

import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from errata import pb
from errata.errors import InvalidRow
from prometheus_client.parser import text_string_to_metric_families
from redis_server import free_port
from running_service import MODEL, Running, Start

Sample = Callable[..., float | None]


def sample_of(running: Running) -> Sample:
    """Return a function that looks up a sample of a scrape by name and labels."""
    with urllib.request.urlopen(f"http://{running.addresses.http}/metrics") as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    values = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }
    return lambda name, **labels: values.get((name, frozenset(labels.items())))


def wait_for(seconds: float, condition: Callable[[], Any]) -> Any:
    """Wait until a condition is true; return its value."""
    end = time.monotonic() + seconds
    while not (result := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    return result


@pytest.fixture
def predictions(tmp_path: Path, demo_csv: bytes) -> Path:
    path = tmp_path / "net.csv"
    path.write_bytes(demo_csv)
    return path


def test_failure_counters_start_at_0(start: Start) -> None:
    """Otherwise, Prometheus would compute no increase for the first failures."""
    with start() as running:
        sample = sample_of(running)

    assert sample("errata_analyses_total", state="failed") == 0
    assert sample("errata_rpc_handled_total", method="ListVerdicts", code="INTERNAL") == 0
    assert sample("errata_rpc_handled_total", method="CreateAnalysis", code="UNAVAILABLE") == 0
    assert sample("errata_http_requests_total", path="/v1/hooks/{kind}/{registry_id}", status="500") == 0


def test_metrics_can_be_served_only_on_a_separate_port(start: Start) -> None:
    port = free_port()
    with start(metrics_address=f"127.0.0.1:{port}") as running:
        for path in ("/metrics", "/livez", "/readyz"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
                assert answer.status == 200
        for address, path in ((f"127.0.0.1:{port}", "/"), (running.addresses.http, "/metrics")):
            with pytest.raises(urllib.error.HTTPError, match="404") as refused:
                urllib.request.urlopen(f"http://{address}{path}")
            refused.value.close()
        for path in ("/", "/livez", "/readyz"):
            with urllib.request.urlopen(f"http://{running.addresses.http}{path}") as answer:
                assert answer.status == 200


def test_calls_pages_and_stages_are_counted_and_timed(start: Start, predictions: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("file_name,predicted_class\nnobody.jpg,1\n")
    with start() as running:
        analysis = running.client.upload(predictions, dataset="demo")
        with pytest.raises(InvalidRow):
            running.client.upload(bad, dataset="demo")
        name = analysis.name.removeprefix("analyses/")
        for _ in range(3):
            with urllib.request.urlopen(f"http://{running.addresses.http}/analyses/{name}") as answer:
                assert answer.read()
        assert wait_for(  # a call is counted after its response
            30,
            lambda: (
                sample_of(running)("errata_http_request_duration_seconds_count", path="/analyses/{id}") == 3
                and sample_of(running)("errata_rpc_duration_seconds_count", method="UploadPredictions") == 2
            ),
        )
        sample = sample_of(running)

    assert sample("errata_rpc_started_total", method="UploadPredictions") == 2
    assert sample("errata_rpc_handled_total", method="UploadPredictions", code="OK") == 1
    assert sample("errata_rpc_handled_total", method="UploadPredictions", code="INVALID_ARGUMENT") == 1
    assert sample("errata_rpc_duration_seconds_count", method="UploadPredictions") == 2
    assert sample("errata_http_requests_total", path="/analyses/{id}", status="200") == 3
    assert sample("errata_http_request_duration_seconds_count", path="/analyses/{id}") == 3
    assert sample("errata_stage_duration_seconds_count", stage="parse") == 2
    for stage in ("judge", "archive", "render"):
        assert sample("errata_stage_duration_seconds_count", stage=stage) == 1
    assert sample("errata_cache_requests_total", cache="pages", outcome="miss") == 1
    assert sample("errata_cache_requests_total", cache="pages", outcome="hit") == 2
    assert sample("errata_cache_bytes", cache="pages") > 10_000  # type: ignore[operator]
    assert sample("errata_ready") == 1
    assert sample("process_resident_memory_bytes") > 0  # type: ignore[operator]


def test_unknown_paths_share_one_series(start: Start) -> None:
    with start() as running:
        for path in ("/nope", "/wp-admin", "/analyses/a/b/c/d"):
            with pytest.raises(urllib.error.HTTPError) as error:
                urllib.request.urlopen(f"http://{running.addresses.http}{path}")
            error.value.close()
        sample = sample_of(running)

    assert sample("errata_http_requests_total", path="other", status="404") == 3


def test_model_runs_and_open_work_are_reported(start: Start) -> None:
    with start(open_gate=False, batch_size=8) as running:
        first = running.client.analyze(MODEL, "demo")
        second = running.client.analyze("demo:efficientnet_lite1", "demo")

        def read() -> Sample | None:
            """Return the metrics if they have both analyses: the job store is read once a second."""
            sample = sample_of(running)
            has_both = all(sample("errata_open_analyses", state=state) == 1 for state in ("running", "queued"))
            return sample if has_both else None

        sample = wait_for(30, read)
        running.gate.set()
        for item in (first, second):
            *_, last = running.client.watch(item.name)
            assert last.state == pb.Analysis.STATE_SUCCEEDED
        again = running.client.analyze(MODEL, "demo")
        # an analysis is counted after its result
        assert wait_for(30, lambda: sample_of(running)("errata_analyses_total", state="succeeded") == 3)
        assert wait_for(30, lambda: sample_of(running)("errata_open_analyses", state="running") == 0)
        after = sample_of(running)

    assert sample is not None
    assert sample("errata_open_shards", state="running") == 1
    assert sample("errata_open_shards", state="queued") == 1
    assert sample("errata_oldest_open_seconds", state="running") > 0  # type: ignore[operator]
    assert sample("errata_live_workers") == 1
    assert again.cached
    assert after("errata_images_total") == 20  # both models have the same weights, so the second does not run
    assert after("errata_stage_duration_seconds_count", stage="inference") == 1
    assert after("errata_cache_requests_total", cache="predictions", outcome="miss") == 1
    assert after("errata_cache_requests_total", cache="predictions", outcome="hit") == 1
    assert after("errata_cache_requests_total", cache="results", outcome="hit") == 1
    assert after("errata_cache_requests_total", cache="results", outcome="miss") == 2
    assert after("errata_analyses_total", state="succeeded") == 3
    assert after("errata_open_analyses", state="queued") == after("errata_open_analyses", state="running") == 0
    assert after("errata_oldest_open_seconds", state="running") == 0


def test_the_newest_results_of_watched_models_are_reported_and_others_are_counted(
    start: Start, predictions: Path
) -> None:
    with start(watched_models=["net*"], max_watched=2) as running:
        for model, version in (("net", "1"), ("net", "2"), ("net", "3"), ("other", "1")):
            running.client.upload(predictions, dataset="demo", labels={"model": model, "version": version})
        assert wait_for(15, lambda: sample_of(running)("errata_results_dropped") == 2)
        sample = sample_of(running)
        summary = running.client.upload(predictions, dataset="demo").summary

    names = {"model": "net", "version": "3", "dataset": "demo"}
    for group, group_summary in summary.groups.items():
        assert sample("errata_result_samples", **names, group=group) == group_summary.num_samples
        for kind, count in group_summary.counts.items():
            severity = {"model_failure": "severe", "fine_grained": "minor", "correct": "none"}.get(kind)
            if severity:
                labels = {"group": group, "error_type": kind.upper(), "severity": severity}
                assert sample("errata_result_errors", **names, **labels) == count
    everything = summary.groups["all"]
    assert sample("errata_result_top1_accuracy_ratio", **names, group="all") == everything.top1_accuracy
    assert sample("errata_result_multi_label_accuracy_ratio", **names, group="all") == everything.multi_label_accuracy
    severe = everything.counts["model_failure"] / everything.num_samples
    assert sample("errata_result_severe_error_ratio", **names) == severe
    assert sample("errata_result_baseline_severe_error_ratio", **names) == severe
    assert sample("errata_result_severe_error_ratio", model="net", version="1", dataset="demo") is None
    assert sample("errata_result_severe_error_ratio", model="other", version="1", dataset="demo") is None


def test_served_bundles_are_reported(start: Start, predictions: Path) -> None:
    with start() as running:
        digest = running.client.upload(predictions, dataset="demo").evidence.rpartition("/")[2]
        rules = str(running.client.evidence("demo").rules_version)
        assert wait_for(
            15, lambda: sample_of(running)("errata_evidence_info", dataset="demo", digest=digest, rules=rules)
        )


def test_the_request_id_of_a_call_is_returned(start: Start) -> None:
    with start() as running:
        request = urllib.request.Request(f"http://{running.addresses.http}/livez", headers={"X-Request-Id": "mine-1"})
        with urllib.request.urlopen(request) as answer:
            assert answer.headers["X-Request-Id"] == "mine-1"
        request.add_header("X-Request-Id", "bad id\t")
        with urllib.request.urlopen(request) as answer:
            assert answer.headers["X-Request-Id"] != "bad id\t"
            assert len(answer.headers["X-Request-Id"]) == 16
