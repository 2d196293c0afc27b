"""Coverage: partial uploads are judged on the images with a prediction; a subset has the images to cover."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from errata.errors import AlreadyExists, InvalidRequest, InvalidRow, InvalidUpload

from service.analyses.compare import compare_judged
from service.analyses.gate import evaluate_gate
from service.analyses.judge import compute_verdicts
from service.analyses.reanalyze import reanalyze
from service.analyses.trend import TrendRequest, trend
from service.analyses.upload import upload
from service.analyses.verdicts import load_judged
from service.archive.document import from_document, to_document
from service.domain import ALL, ERROR_TYPES, Analysis, AnalysisRequest, Coverage, GateDecision, coverage_of
from service.evidence.bundle import Bundle
from service.report.messages.gate import gate_reason
from service.report.messages.trend import trend_notes
from service.rules.table import error_types

from .conftest import Backend

POLICY = "version: 1\nmin_samples: 1\nbounds:\n- {measure: top1_error_rate, max: 1}\n"
CHANGE = "version: 1\nmin_samples: 1\nbounds:\n- {measure: MEASURE, max_increase: 1}\n"


def send(backend: Backend, demo: Bundle, images: range, predicted: int = 7, **fields: Any) -> Analysis:
    rows = "".join(f"{demo.image_names[image]},{predicted}\n" for image in images)
    fields["subset"] = "\n".join(demo.image_names[image] for image in fields.get("subset", ()))
    return upload(backend.ports, AnalysisRequest("demo", **fields), io.BytesIO(f"file_name,top1\n{rows}".encode()))


def test_a_partial_upload_is_judged_on_the_images_that_are_there(backend: Backend, demo: Bundle) -> None:
    analysis = send(backend, demo, range(5, 12))

    assert analysis.summary is not None
    assert analysis.summary.num_predicted == 7
    assert coverage_of(analysis.summary) == Coverage(7, 20)
    # Each image alone: the verdicts of the seven images are those of a complete upload.
    complete = load_judged(backend.ports.stores, send(backend, demo, range(20)).id)
    types = error_types(compute_verdicts(demo, complete.predictions))[5:12]
    expected = {kind: int((types == kind.id).sum()) for kind in ERROR_TYPES}
    assert analysis.summary.groups[ALL].counts == expected
    targets = demo.evidence.targets[5:12]
    assert analysis.summary.groups[ALL].top1_accuracy == pytest.approx((targets == 7).mean())
    assert analysis.summary.top1_accuracy_all_images is None


def test_the_warning_has_the_coverage_and_names_ten_missing_images(backend: Backend, demo: Bundle) -> None:
    (warning,) = send(backend, demo, range(5)).warnings

    assert "5 of 20 images (25.0 %)" in warning
    assert [name for name in demo.image_names if name in warning] == demo.image_names[5:15]
    assert "and 5 more" in warning
    assert send(backend, demo, range(20)).warnings == ()


def test_an_upload_that_covers_less_than_required_is_refused(backend: Backend, demo: Bundle) -> None:
    with pytest.raises(InvalidUpload, match=r"19 of 20 images \(95.0 %\). At least 96 % is required.*--min-coverage"):
        send(backend, demo, range(19), min_coverage=0.96)
    assert not backend.finished

    assert send(backend, demo, range(19), min_coverage=0.95).summary is not None


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_minimum_coverage_is_a_fraction(backend: Backend, demo: Bundle, share: float) -> None:
    with pytest.raises(InvalidRequest, match="Use a fraction from 0 to 1"):
        send(backend, demo, range(20), min_coverage=share)


def test_the_coverage_of_a_subset_refers_to_the_subset(backend: Backend, demo: Bundle) -> None:
    analysis = send(backend, demo, range(20), subset=range(4), min_coverage=1.0)

    assert analysis.subset is not None and analysis.summary is not None
    assert (analysis.subset.num_images, analysis.subset.num_judged) == (4, 4)
    assert coverage_of(analysis.summary, analysis.subset) == Coverage(4, 4, 20)
    assert analysis.summary.groups[ALL].num_samples + analysis.summary.num_problematic == 4
    assert analysis.warnings == ()
    assert analysis.request.subset == ""  # names are not stored
    stored = backend.archive.predictions(analysis.id)
    assert stored is not None and stored.subset is not None
    assert np.flatnonzero(stored.top1 >= 0).tolist() == np.flatnonzero(stored.subset).tolist() == [0, 1, 2, 3]


def test_answers_and_probabilities_outside_of_a_subset_have_no_effect(backend: Backend, demo: Bundle) -> None:
    names = demo.image_names
    subset = "\n".join(names[:4])

    def send_answers(outside: str, probability: float) -> Analysis:
        rows = [f"{name},{'a tench' if row < 4 else outside},0.{row + 1}" for row, name in enumerate(names[:8])]
        rows += [f"{name},{outside},{probability}" for name in names[8:]]
        content = "\n".join(["file_name,answer,probability", *rows]).encode()
        return upload(backend.ports, AnalysisRequest("demo", subset=subset), io.BytesIO(content))

    first, second = send_answers("a secret", 0.5), send_answers("nothing", 0.25)

    assert first.answers is not None
    assert (first.answers.num_answers, first.answers.num_unknown, first.answers.examples) == (4, 0, ())
    assert first.answers == second.answers
    assert first.predictions_digest == second.predictions_digest


def test_an_image_of_the_subset_without_a_prediction_is_missing(backend: Backend, demo: Bundle) -> None:
    analysis = send(backend, demo, range(3), subset=range(4))

    assert "3 of 4 images of a subset (75.0 %)" in analysis.warnings[0]
    assert demo.image_names[3] in analysis.warnings[0] and demo.image_names[4] not in analysis.warnings[0]
    with pytest.raises(InvalidUpload, match="cover 0 of 4 images of a subset"):
        send(backend, demo, range(4, 20), subset=range(4))


def test_equal_subsets_have_one_digest(backend: Backend, demo: Bundle) -> None:
    def digest(*lines: str) -> str:
        rows = "".join(f"{name},7\n" for name in demo.image_names)
        request = AnalysisRequest("demo", subset="".join(lines))
        subset = upload(backend.ports, request, io.BytesIO(f"file_name,top1\n{rows}".encode())).subset
        assert subset is not None
        return subset.digest

    a, b, c = demo.image_names[:3]
    assert digest(f"{a}\n{b}\n") == digest(f"\ufeff{b}\r\n\r\n", f"  {a}\r\n{b}") != digest(f"{a}\n{c}")


def test_unknown_names_of_a_subset_are_named_with_their_lines(backend: Backend, demo: Bundle) -> None:
    request = AnalysisRequest("demo", subset=f"{demo.image_names[0]}\n\nzzz.jpg\nyyy.jpg\n")

    with pytest.raises(InvalidRow, match=r"Line 3 of the subset file: .*'zzz.jpg'.*1 more") as refused:
        upload(backend.ports, request, io.BytesIO(b"file_name,top1\n"))

    assert [(item.field, item.line) for item in refused.value.violations] == [("subset", 3), ("subset", 4)]


def test_far_more_names_than_images_are_refused_before_they_are_looked_up(backend: Backend, demo: Bundle) -> None:
    request = AnalysisRequest("demo", subset="x\n" * 10_021)

    with pytest.raises(InvalidUpload, match="10,021 names, but the data set has 20 images"):
        upload(backend.ports, request, io.BytesIO(b"file_name,top1\n"))


def test_requests_with_other_subsets_are_different_requests(backend: Backend, demo: Bundle) -> None:
    first = send(backend, demo, range(20), subset=range(4), request_id="r")

    assert send(backend, demo, range(20), subset=range(4), request_id="r") == first
    with pytest.raises(AlreadyExists, match="different request"):
        send(backend, demo, range(20), subset=range(5), request_id="r")


def test_a_reanalysis_has_the_subset(backend: Backend, demo: Bundle) -> None:
    before = send(backend, demo, range(20), subset=range(4))

    after = reanalyze(backend.ports, before.id, "")

    assert (after.subset, after.summary) == (before.subset, before.summary)


def test_a_document_has_the_subset_and_is_read_without_one(backend: Backend, demo: Bundle) -> None:
    analysis = send(backend, demo, range(20), subset=range(4), min_coverage=0.5)

    document = to_document(analysis)
    assert from_document(document) == analysis
    del document["subset"], document["request"]["subset"], document["request"]["min_coverage"]  # an earlier version
    earlier = from_document(document)
    assert earlier == replace(analysis, subset=None, request=replace(analysis.request, min_coverage=0.0))


def test_analyses_of_other_images_are_compared_on_their_common_images(backend: Backend, demo: Bundle) -> None:
    a, b = send(backend, demo, range(12), predicted=7), send(backend, demo, range(8, 20), predicted=9)
    stores = backend.ports.stores

    comparison = compare_judged(load_judged(stores, a.id), load_judged(stores, b.id))

    counted = ~demo.evidence.problematic
    assert comparison.groups[ALL].num_samples == counted[8:12].sum()
    assert comparison.num_left_out == counted[:8].sum() + counted[12:].sum()
    assert comparison.coverages == (Coverage(12, 20), Coverage(12, 20))


def test_a_gate_requires_99_percent_unless_the_policy_or_the_request_says_otherwise(
    backend: Backend, demo: Bundle
) -> None:
    stores, analysis = backend.ports.stores, send(backend, demo, range(10))

    result = evaluate_gate(stores, analysis.id, POLICY)
    assert result.decision is GateDecision.FAIL
    assert gate_reason(result.reasons[0]) == "Coverage: 10 of 20 images (50.0 %); at least 99 % is required."
    assert evaluate_gate(stores, analysis.id, f"min_coverage: 0.5\n{POLICY}").decision is GateDecision.PASS
    assert evaluate_gate(stores, analysis.id, POLICY, min_coverage=0.5).decision is GateDecision.PASS
    assert evaluate_gate(stores, analysis.id, POLICY, min_coverage=0.51).decision is GateDecision.FAIL
    with pytest.raises(InvalidRequest, match="fraction"):
        evaluate_gate(stores, analysis.id, POLICY, min_coverage=2.0)


def test_a_gate_of_a_subset_names_it(backend: Backend, demo: Bundle) -> None:
    analysis = send(backend, demo, range(10), subset=range(10))

    result = evaluate_gate(backend.ports.stores, analysis.id, POLICY)

    assert result.decision is GateDecision.PASS
    assert "10 of 10 images of a subset (100.0 %); the data set has 20 evaluated images" in gate_reason(
        result.reasons[0]
    )


def test_a_change_of_a_measure_of_whole_analyses_is_undecided_for_other_images(backend: Backend, demo: Bundle) -> None:
    stores = backend.ports.stores
    baseline, analysis = send(backend, demo, range(12)), send(backend, demo, range(20))

    rate = evaluate_gate(stores, analysis.id, CHANGE.replace("MEASURE", "severe_error_rate"), baseline.id).reasons[1]
    forgiving = CHANGE.replace("MEASURE", "multi_label_accuracy_forgiving_minor")
    whole = evaluate_gate(stores, analysis.id, forgiving, baseline.id).reasons[1]

    num_common = int((~demo.evidence.problematic)[:12].sum())
    assert f"Compared on {num_common} images with predictions in both analyses" in gate_reason(rate)
    assert whole.decision is GateDecision.UNDECIDED
    assert "cover different images" in gate_reason(whole)
    same = evaluate_gate(stores, analysis.id, forgiving, send(backend, demo, range(20)).id).reasons[1]
    assert "cover different images" not in gate_reason(same)


def test_a_trend_names_models_that_do_not_cover_all_images(backend: Backend, demo: Bundle) -> None:
    send(backend, demo, range(20), display_name="whole")
    send(backend, demo, range(15), display_name="part")
    send(backend, demo, range(20), display_name="some", subset=range(5))

    result = trend(backend.ports.stores, TrendRequest(dataset="demo"))

    assert {point.title: point.coverage for point in result.points} == {"whole": 1.0, "part": 0.75, "some": 0.25}
    (note,) = [note for note in trend_notes(result) if "do not cover all images" in note]
    assert "“part”" in note and "“some”" in note and "whole" not in note
