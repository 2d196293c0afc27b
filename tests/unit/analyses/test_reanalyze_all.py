"""All archived analyses of a data set are judged again with a bundle, each at most once."""

import io
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from errata.errors import PermanentError, Unavailable

from service.analyses import evidence_versions, lifecycle
from service.analyses import reanalyze_all as reanalyze_all_module
from service.analyses.judge import compute_summary
from service.analyses.ports import Ports
from service.analyses.reanalyze import judge_again, reanalyze
from service.analyses.reanalyze_all import ReanalysisProgress, reanalyze_all
from service.analyses.trend import TrendRequest, trend
from service.analyses.upload import upload
from service.domain import Analysis, AnalysisRequest, Predictions, Review
from service.evidence.bundle import Bundle
from service.evidence.repository import EvidenceRepository

from .conftest import Backend


@pytest.fixture
def backend(street: Bundle, tmp_path: Path) -> Backend:
    return Backend(EvidenceRepository({"street": [street.path]}, tmp_path))


def analyze(backend: Backend, predicted: str, name: str = "", version: str = "", owner: str = "") -> Analysis:
    labels = {"model": "net", "version": version} if version else {}
    rows = "".join(f"{image},{label}\n" for image, label in zip("abcd", predicted.split(), strict=True))
    content = f"file_name,top1\n{rows}".encode()
    request = AnalysisRequest("street", display_name=name, labels=labels)
    return upload(backend.ports, request, io.BytesIO(content), owner=owner)


@pytest.fixture
def corrected(backend: Backend) -> Bundle:
    """Evidence in which `a` is also an owl."""
    review = Review("1" * 32, "street", "a", "e" * 64, "ann", True, datetime(2026, 1, 1, tzinfo=UTC), added=("owl",))
    backend.reviews.append(review)
    return evidence_versions.build_from_reviews(backend.ports.stores, "street", "", 1, "root")


def run(ports: Ports, digest: str) -> list[ReanalysisProgress]:
    return [*reanalyze_all(ports, "street", digest, "root")]


def on(backend: Backend, bundle: Bundle) -> list[Analysis]:
    return [analysis for analysis in backend.archive.list() if analysis.evidence == bundle.digest]


def test_each_analysis_is_judged_with_the_corrected_labels(backend: Backend, corrected: Bundle) -> None:
    befores = [analyze(backend, "owl dog cat owl", "one"), analyze(backend, "cat cat cat cat", "two")]

    progress = run(backend.ports, corrected.digest[:9])

    assert [(p.done, p.total, p.before, p.is_new, p.reason) for p in progress] == [
        (number, 2, before.id, True, "") for number, before in enumerate(befores, start=1)
    ]
    for before, step in zip(befores, progress, strict=True):
        after = backend.archive.get(step.after)
        predictions = backend.archive.predictions(step.after)
        assert after is not None and predictions is not None and after.summary is not None
        assert after.summary == compute_summary(corrected, predictions)
        assert np.array_equal(predictions.top1, backend.archive.predictions(before.id).top1)
        assert (after.evidence, after.owner, after.request.display_name) == (
            corrected.digest,
            "root",
            before.request.display_name,
        )
    after = backend.archive.get(progress[0].after)
    assert befores[0].summary.groups["all"].counts != after.summary.groups["all"].counts


@pytest.mark.parametrize("are_isolated", [False, True])
def test_isolated_owners_keep_their_analyses(
    backend: Backend, isolated: Ports, corrected: Bundle, are_isolated: bool
) -> None:
    """Otherwise only administrators would find the new analyses."""
    analyze(backend, "owl dog cat owl", owner="alice")
    analyze(backend, "owl dog cat owl", owner="bob")  # the same predictions
    analyze(backend, "cat cat cat cat", owner="registry:prod")
    ports = isolated if are_isolated else backend.ports

    created = run(ports, corrected.digest)
    again = run(ports, corrected.digest)
    backend.reviews.append(replace(backend.reviews.all()[0], id="2" * 32, image="b"))
    later = evidence_versions.build_from_reviews(backend.ports.stores, "street", "", 1, "root")
    run(ports, later.digest)

    owners = ["alice", "bob", "root"] if are_isolated else ["root", "root"]
    for bundle in (corrected, later):
        assert sorted(analysis.owner for analysis in on(backend, bundle)) == owners
    assert all(step.is_new for step in created) and not any(step.is_new for step in again)


def test_a_second_run_creates_nothing(backend: Backend, corrected: Bundle) -> None:
    analyze(backend, "owl dog cat owl", "one")
    analyze(backend, "owl dog cat owl", "other name")
    first = run(backend.ports, corrected.digest)
    writes = backend.archive.num_writes

    second = run(backend.ports, corrected.digest)

    assert [(step.before, step.after) for step in second] == [(step.before, step.after) for step in first]
    assert not any(step.is_new for step in second)
    assert backend.archive.num_writes == writes
    assert len(on(backend, corrected)) == 2


def test_a_run_that_stops_in_the_middle_is_continued(backend: Backend, corrected: Bundle) -> None:
    for number in range(4):
        analyze(backend, "owl dog cat owl", str(number))
    steps = reanalyze_all(backend.ports, "street", corrected.digest, "root")
    next(steps)
    backend.archive.errors = [Unavailable("the disk is full")]
    with pytest.raises(Unavailable):
        next(steps)

    again = run(backend.ports, corrected.digest)

    assert [step.is_new for step in again] == [False, True, True, True]
    assert len(on(backend, corrected)) == 4


def test_two_concurrent_runs_create_each_analysis_once(backend: Backend, corrected: Bundle) -> None:
    for number in range(3):
        analyze(backend, "owl dog cat owl", str(number))
    one, two = (reanalyze_all(backend.ports, "street", corrected.digest, "root") for _ in range(2))

    pairs = [*zip(one, two, strict=True)]

    assert all(first.after == second.after for first, second in pairs)
    assert [(first.is_new, second.is_new) for first, second in pairs] == [(True, False)] * 3
    assert len(on(backend, corrected)) == 3


def test_an_analysis_that_a_concurrent_run_has_created_stays(
    backend: Backend, corrected: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other run creates it while this one judges."""
    analyze(backend, "owl dog cat owl")
    others = list[ReanalysisProgress]()

    def judge_slowly(*args: Any) -> Any:
        monkeypatch.undo()
        others.extend(run(backend.ports, corrected.digest))
        return judge_again(*args)

    monkeypatch.setattr(reanalyze_all_module, "judge_again", judge_slowly)

    (step,) = reanalyze_all(backend.ports, "street", corrected.digest, "another")

    ((other,), (stored,)) = others, on(backend, corrected)
    assert (step.after, step.is_new, other.after, other.is_new) == (stored.id, False, stored.id, True)
    assert stored.owner == "root"
    assert backend.archive.get(stored.id) == stored
    assert [analysis.id for analysis in backend.finished].count(stored.id) == 1


def test_an_analysis_that_is_deleted_during_a_run_is_created_only_by_a_later_run(
    backend: Backend, corrected: Bundle
) -> None:
    for number in range(3):
        analyze(backend, "owl dog cat owl", str(number))
    paused = reanalyze_all(backend.ports, "street", corrected.digest, "root")
    first = next(paused)
    _, second, third = (step.after for step in run(backend.ports, corrected.digest))
    lifecycle.delete(backend.ports.stores, second)
    backend.archive.stored.delete(third)  # by another process, which sends a notice
    backend.archive.refresh(third)

    steps = [*paused]

    assert [(step.after, step.reason) for step in steps] == [("", "Its new analysis was deleted during this run.")] * 2
    assert [analysis.id for analysis in on(backend, corrected)] == [first.after]
    assert [step.after for step in run(backend.ports, corrected.digest) if step.is_new] == [second, third]


def test_no_analysis_is_created_of_one_that_is_deleted_meanwhile(
    backend: Backend, corrected: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = analyze(backend, "owl dog cat owl")

    def judge_slowly(*args: Any) -> Any:
        result = judge_again(*args)
        backend.archive.delete(before.id)
        return result

    monkeypatch.setattr(reanalyze_all_module, "judge_again", judge_slowly)

    (step,) = run(backend.ports, corrected.digest)

    assert step.reason == "The analysis was deleted."
    assert backend.archive.list() == []


def test_an_analysis_that_is_judged_again_is_newer_than_those_created_before(
    backend: Backend, corrected: Bundle
) -> None:
    """Its id has the time of the analysis whose predictions it judges."""
    analyze(backend, "owl dog cat owl", version="1")
    between = analyze(backend, "cat cat cat cat", version="1")
    second = reanalyze(backend.ports, between.id, corrected.digest)

    (again,) = (step.after for step in run(backend.ports, corrected.digest) if step.is_new)

    assert again < second.id
    stores = backend.ports.stores
    assert [version.id for version in stores.index.newest_versions()] == [again]
    assert [point.id for point in trend(stores, TrendRequest(dataset="street")).points] == [again]


def test_predictions_that_were_judged_again_before_count_once(
    backend: Backend, street: Bundle, corrected: Bundle
) -> None:
    before = analyze(backend, "owl dog cat owl")
    again = reanalyze(backend.ports, before.id, corrected.digest)

    (step,) = run(backend.ports, corrected.digest)
    (back,) = run(backend.ports, street.digest)

    assert (step.after, step.is_new) == (again.id, False)
    assert (back.after, back.is_new) == (before.id, False)


def test_analyses_that_cannot_be_judged_are_skipped_with_the_reason(backend: Backend, corrected: Bundle) -> None:
    good = analyze(backend, "owl dog cat owl", "good")
    bad = Predictions(np.zeros(4, dtype=np.int16))
    backend.archive.put(replace(good, id="other", images="0" * 64, predictions_digest="1" * 64), bad)
    backend.archive.put(replace(good, id="classes", classes="0" * 64, predictions_digest="2" * 64), bad)
    backend.archive.put(
        replace(good, id="range", predictions_digest="3" * 64), Predictions(np.full(4, 9, dtype=np.int16))
    )

    reasons = {step.before: step.reason for step in run(backend.ports, corrected.digest)}

    assert reasons.pop(good.id) == ""
    assert {name: reason.split(". ")[0] for name, reason in reasons.items()} == {
        "other": f"Bundle {corrected.digest[:12]} has other images than analysis other",
        "classes": f"Bundle {corrected.digest[:12]} has other classes than analysis classes",
        "range": "The predictions have class 9, but label space 'street' has the classes 0 to 2",
    }
    assert len(on(backend, corrected)) == 1


def test_reasons_contain_no_paths_of_the_service(
    backend: Backend, corrected: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise PermanentError("Cannot read /data/archive/a.json.")

    analyze(backend, "owl dog cat owl", "good")
    monkeypatch.setattr(reanalyze_all_module, "judge_again", fail)

    assert [step.reason for step in run(backend.ports, corrected.digest)] == ["Cannot read [path]."]


def test_an_index_that_is_being_built_is_an_error(backend: Backend, corrected: Bundle) -> None:
    backend.archive.index.mark(is_complete=False)

    with pytest.raises(Unavailable, match="being built"):
        run(backend.ports, corrected.digest)
