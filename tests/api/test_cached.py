"""Cached results, retries of failed analyses, and retention."""

import time
from pathlib import Path

import pytest
from errata import Client, errors, pb

from service.bootstrap.build import Inputs, build_evidence

MODEL = "demo:efficientnet_lite0"


def wait_for_end(client: Client, name: str) -> pb.Analysis:
    return [*client.watch(name)][-1]


def test_a_repeated_request_returns_a_cached_analysis(start) -> None:
    with start() as service:
        first = wait_for_end(service.client, service.client.analyze(MODEL, "demo").name)
        service.gate.clear()  # models are blocked

        again = service.client.analyze(MODEL, "demo", labels={"run": "2"}, display_name="again")

        assert again.state == pb.Analysis.STATE_SUCCEEDED
        assert (again.cached, first.cached) == (True, False)
        assert again.name != first.name
        assert dict(again.labels) == {"run": "2"}
        assert again.summary.groups == first.summary.groups
        assert again.predictions_digest == first.predictions_digest
        assert again.model_info == first.model_info
        assert [verdict.file_name for verdict in service.client.verdicts(again.name)]
        service.gate.set()


def test_cached_results_survive_a_restart(start) -> None:
    with start() as service:
        wait_for_end(service.client, service.client.analyze(MODEL, "demo").name)
    with start(open_gate=False) as service:
        assert service.client.analyze(MODEL, "demo").cached
        service.gate.set()


def test_fresh_ignores_cached_results(start) -> None:
    with start() as service:
        wait_for_end(service.client, service.client.analyze(MODEL, "demo").name)

        fresh = service.client.analyze(MODEL, "demo", fresh=True)

        assert not fresh.cached
        assert wait_for_end(service.client, fresh.name).state == pb.Analysis.STATE_SUCCEEDED


def test_another_model_is_not_served_from_the_cache(start) -> None:
    with start() as service:
        wait_for_end(service.client, service.client.analyze(MODEL, "demo").name)

        assert not service.client.analyze("demo:efficientnet_lite1", "demo").cached


def test_another_bundle_judges_archived_predictions_without_running_the_model(start, tmp_path: Path) -> None:
    """A bundle with other superclasses gives other verdicts for the cached predictions."""
    (tmp_path / "all.json").write_text('{"anything": [["entity"]]}\n')
    other = build_evidence("demo", Inputs(superclasses=tmp_path / "all.json"), tmp_path / "other")
    with start() as service:
        first = wait_for_end(service.client, service.client.analyze(MODEL, "demo").name)
    with start(evidence={"demo": [str(other.path)]}, open_gate=False) as service:
        again = service.client.analyze(MODEL, "demo")

        assert again.cached
        assert again.evidence == f"datasets/demo/evidence/{other.digest}" != first.evidence
        counts = again.summary.groups["all"].counts
        assert (
            counts["fine_grained"] == 20 - counts["correct"] - counts["class_overlap"]
        )  # all other errors are fine-grained
        service.gate.set()


def test_a_request_id_returns_the_cached_analysis_again(start) -> None:
    with start() as service:
        wait_for_end(service.client, service.client.analyze(MODEL, "demo").name)

        first = service.client.analyze(MODEL, "demo", request_id="r")
        again = service.client.analyze(MODEL, "demo", request_id="r")

        assert first.cached
        assert again == first
        with pytest.raises(errors.AlreadyExists):
            service.client.analyze(MODEL, "demo", request_id="r", display_name="another body")


def test_a_failed_analysis_can_be_retried_under_the_same_name(start, tmp_path: Path) -> None:
    """A model that no worker can load fails again after a retry, with its reason."""
    with start(model_sources=["*"]) as service:
        failing = service.client.analyze("timm:no_such_model_anywhere", "demo", labels={"k": "v"})
        failed = wait_for_end(service.client, failing.name)
        assert failed.state == pb.Analysis.STATE_FAILED

        again = service.client.retry(failed.name)

        assert again.name == failed.name
        assert again.state in (pb.Analysis.STATE_QUEUED, pb.Analysis.STATE_RUNNING, pb.Analysis.STATE_FAILED)
        final = wait_for_end(service.client, again.name)
        assert (final.state, final.failure.reason) == (pb.Analysis.STATE_FAILED, failed.failure.reason)
        assert dict(final.labels) == {"k": "v"}
        listed = service.client.list(pb.AnalysisFilter(states=["STATE_FAILED"]))
        assert [item.name for item in listed] == [failed.name]


def test_only_failed_analyses_can_be_retried(start) -> None:
    with start() as service:
        done = wait_for_end(service.client, service.client.analyze(MODEL, "demo").name)

        with pytest.raises(errors.NotReady, match="SUCCEEDED"):
            service.client.retry(done.name)
        with pytest.raises(errors.AnalysisNotFound):
            service.client.retry("analyses/nosuch")


def test_expired_analyses_are_deleted(start, demo_csv: bytes, tmp_path: Path) -> None:
    import io

    with start() as service:
        old = service.client.upload(io.BytesIO(demo_csv), "demo").name
    time.sleep(0.2)
    with start(retention_days=0.1 / 86_400) as service:
        deadline = time.monotonic() + 10
        while [*service.client.list()] and time.monotonic() < deadline:
            time.sleep(0.05)

        with pytest.raises(errors.AnalysisNotFound):
            service.client.get(old)
    assert not [*(tmp_path / "archive").glob("*.npz")]


def test_a_full_archive_rejects_analyses_and_names_the_remedy(start, demo_csv: bytes) -> None:
    import io

    with start(max_stored_bytes=100) as service:
        first = service.client.upload(io.BytesIO(demo_csv), "demo").name

        for refused in (
            lambda: service.client.upload(io.BytesIO(demo_csv), "demo"),
            lambda: service.client.analyze(MODEL, "demo"),
        ):
            with pytest.raises(errors.TooBusy, match="ERRATA_RETENTION_DAYS") as error:
                refused()
            assert error.value.retry_after
        service.client.delete(first)
        assert service.client.upload(io.BytesIO(demo_csv), "demo").name
