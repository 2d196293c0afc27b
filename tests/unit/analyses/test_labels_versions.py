"""Analyses of imagenet-real by an earlier version, which added the original label to the ReaL labels."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from errata.errors import NotComparable
from errata.messages import labels_accuracy_name

from service.analyses.compare import compare_judged, to_side
from service.analyses.explain import explain_prediction
from service.analyses.gate import evaluate_policy
from service.analyses.judge import JudgedAnalysis, compute_summary, compute_verdicts
from service.analyses.policy import parse_policy
from service.analyses.trend import check_same_evidence
from service.bootstrap.build import verify_evidence
from service.domain import ALL, Analysis, AnalysisRequest, GateDecision, Predictions, State, UndecidedReason
from service.evidence.build import write_bundle
from service.evidence.bundle import Bundle, open_bundle
from service.evidence.labels import real_and_original_labels
from service.evidence.recipes import gather
from service.evidence.repository import EvidenceRepository, fingerprint

POLICY = parse_policy("version: 1\nbounds: [{measure: top1_accuracy, max_decrease: 0.01}]")


@pytest.fixture(scope="module")
def old_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle of the earlier version."""
    inputs = gather("imagenet-real")
    labels = replace(inputs.labels, labels=real_and_original_labels()[0].take(inputs.labels.rows.astype(np.intp)))
    path = tmp_path_factory.mktemp("old") / "bundle"
    write_bundle(replace(inputs, labels=labels), path)
    return open_bundle(path)


@pytest.fixture(scope="module")
def predictions(imagenet_real: Bundle) -> Predictions:
    """The original label, except for each third image."""
    top1 = np.array(imagenet_real.all_targets)
    top1[::3] = (top1[::3] + 1) % 1000
    return Predictions(top1)


def judge(bundle: Bundle, predictions: Predictions, analysis_id: str) -> JudgedAnalysis:
    analysis = Analysis(
        id=analysis_id,
        request=AnalysisRequest("imagenet-real"),
        state=State.SUCCEEDED,
        evidence=bundle.digest,
        create_time=datetime(2026, 1, 1, tzinfo=UTC),
        summary=compute_summary(bundle, predictions),
    )
    return JudgedAnalysis(analysis, bundle, predictions, compute_verdicts(bundle, predictions))


@pytest.fixture(scope="module")
def old(old_bundle: Bundle, predictions: Predictions) -> JudgedAnalysis:
    return judge(old_bundle, predictions, "old1")


@pytest.fixture(scope="module")
def new(imagenet_real: Bundle, predictions: Predictions) -> JudgedAnalysis:
    return judge(imagenet_real, predictions, "new2")


@pytest.mark.slow
def test_old_bundle_stays_readable_and_rejects_no_target(old_bundle: Bundle, old: JudgedAnalysis) -> None:
    assert verify_evidence(old_bundle.path) == []
    assert not old_bundle.evidence.rejected.any()
    summary = old.analysis.summary
    assert summary is not None
    assert summary.num_rejected_targets == 0
    overall = summary.groups[ALL]
    assert overall.top1_errors == overall.num_errors
    assert overall.gain_if_fixed_top1
    name = old_bundle.judged_names[0]
    assert explain_prediction(old_bundle, name, int(old_bundle.evidence.targets[0])).error_type.id == 1


def test_accuracy_of_old_labels_is_not_named_real_accuracy(old: JudgedAnalysis, new: JudgedAnalysis) -> None:
    names = []
    for judged in (old, new):
        assert judged.analysis.summary is not None
        names.append(labels_accuracy_name("imagenet-real", judged.analysis.summary.num_rejected_targets or 0))

    assert names == ["accuracy against the labels", "ReaL accuracy"]


@pytest.mark.parametrize("is_reversed", [False, True])
def test_old_and_new_analyses_are_not_compared(old: JudgedAnalysis, new: JudgedAnalysis, is_reversed: bool) -> None:
    pair = (new, old) if is_reversed else (old, new)

    with pytest.raises(NotComparable, match="added the original label to the ReaL labels") as raised:
        compare_judged(*pair)

    assert f"errata reanalyze old1 --evidence {new.bundle.digest[:12]}" in str(raised.value)


def test_archived_analysis_without_the_number_of_rejected_targets_is_an_old_one(
    old: JudgedAnalysis, new: JudgedAnalysis
) -> None:
    assert old.analysis.summary is not None
    archived = replace(old.analysis, summary=replace(old.analysis.summary, num_rejected_targets=None))

    with pytest.raises(NotComparable, match="added the original label to the ReaL labels"):
        check_same_evidence([archived, new.analysis])


def test_gate_with_an_old_baseline_is_undecided(old: JudgedAnalysis, new: JudgedAnalysis) -> None:
    result = evaluate_policy(POLICY, new.analysis, to_side(new), to_side(old))

    assert result.decision is GateDecision.UNDECIDED
    assert UndecidedReason.OTHER_EVIDENCE in result.reasons[1].causes


def test_reanalyzed_predictions_are_compared(old: JudgedAnalysis, new: JudgedAnalysis, imagenet_real: Bundle) -> None:
    again = judge(imagenet_real, old.predictions, "old3")

    comparison = compare_judged(again, new)

    assert comparison.num_rejected_targets == 4_673  # spec/label-space
    assert comparison.groups[ALL].fixed() == comparison.groups[ALL].broken() == 0
    assert evaluate_policy(POLICY, new.analysis, to_side(new), to_side(again)).decision is GateDecision.PASS


def test_old_bundle_in_the_data_folder_is_served_beside_the_new_one(
    old_bundle: Bundle, imagenet_real: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    current = fingerprint.__wrapped__("imagenet-real")
    monkeypatch.setattr("service.evidence.repository.VERSIONS", {})
    earlier = fingerprint.__wrapped__("imagenet-real")
    folder = tmp_path / "evidence" / "imagenet-real"
    folder.mkdir(parents=True)
    (folder / earlier).symlink_to(old_bundle.path)
    (folder / current).symlink_to(imagenet_real.path)

    bundles = EvidenceRepository({}, tmp_path).bundles("imagenet-real")

    assert earlier != current
    assert [bundle.digest for bundle in bundles] == [imagenet_real.digest, old_bundle.digest]
