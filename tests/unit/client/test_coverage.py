"""Coverage in the client: its counts, its text, and results of earlier versions."""

import io

import pytest
from errata import Analysis, errors, pb
from errata.coverage import (
    compared_coverage_note,
    coverage_counts,
    describe_coverage,
    partial_coverage,
    partial_coverage_note,
)
from errata.messages import coverage_text, format_coverage
from errata.requests import MAX_SUBSET, upload_header


def analysis(num_samples: int = 0, **summary: int) -> pb.Analysis:
    groups = {"all": pb.GroupSummary(num_samples=num_samples)}
    return pb.Analysis(display_name="net", dataset="datasets/demo", summary=pb.Summary(groups=groups, **summary))


@pytest.mark.parametrize(
    ("covered", "expected", "text"),
    [(0, 20, "0.0 %"), (49_999, 50_000, "99.9 %"), (50_000, 50_000, "100.0 %"), (1, 3, "33.3 %"), (0, 0, "–")],
)
def test_only_a_complete_coverage_is_100_percent(covered: int, expected: int, text: str) -> None:
    assert format_coverage(covered, expected) == text


def test_problematic_images_are_covered() -> None:
    result = analysis(970, num_problematic=10, num_judged=1000)

    assert coverage_counts(result) == (980, 1000, None)
    assert describe_coverage(result) == "980 of 1,000 images (98.0 %)"
    assert partial_coverage(result) == "98.0 %"
    complete = analysis(1000, num_judged=1000)
    assert partial_coverage(complete) == partial_coverage_note(complete) == ""


def test_the_coverage_of_a_subset_refers_to_the_subset() -> None:
    result = analysis(99, num_judged=1000)
    result.subset.num_judged = 100

    assert coverage_counts(result) == (99, 100, 1000)
    assert (
        describe_coverage(result)
        == coverage_text(99, 100, 1000)
        == "99 of 100 images of a subset (99.0 %); the data set has 1,000 evaluated images"
    )
    assert partial_coverage(result) == "99.0 % of a subset"
    assert partial_coverage_note(result) == f"Coverage: {describe_coverage(result)}."


def test_the_coverage_of_an_early_analysis_is_known_if_all_images_have_a_prediction() -> None:
    assert coverage_counts(analysis(700, num_predicted=1000, num_images=1000)) == (1000, 1000, None)
    assert coverage_counts(analysis(700, num_predicted=990, num_images=1000)) is None  # some are perhaps not evaluated
    assert coverage_counts(analysis()) is None
    assert describe_coverage(pb.Analysis()) == partial_coverage(pb.Analysis()) == ""


def test_a_comparison_states_the_coverage_of_both_analyses_unless_both_are_complete() -> None:
    complete, unknown = analysis(1000, num_judged=1000), analysis()
    subset = analysis(50, num_judged=1000)
    subset.subset.num_judged = 50

    assert compared_coverage_note([subset, complete], 50) == (
        "Compared on 50 images with predictions in both analyses, without problematic images. Coverage of A: "
        "50 of 50 images of a subset (100.0 %); the "
        "data set has 1,000 evaluated images. Coverage of B: 1,000 of 1,000 images (100.0 %)."
    )
    assert "A: –. Coverage of B: 1 of 1,000 images" in compared_coverage_note(
        [unknown, analysis(1, num_judged=1000)], 1
    )
    assert compared_coverage_note([complete, unknown], 1000) == ""


def test_a_notebook_shows_a_partial_coverage() -> None:
    assert "Coverage: 50 of 100 images (50.0 %)." in Analysis(analysis(50, num_judged=100))._repr_html_()
    assert "Coverage" not in Analysis(analysis(100, num_judged=100))._repr_html_()


def test_an_upload_names_the_images_of_a_subset() -> None:
    header = upload_header(io.BytesIO(), "demo", "", {}, min_coverage=0.5, subset=["a.jpg", "b.jpg"])

    assert (header.subset, header.min_coverage) == ("a.jpg\nb.jpg", 0.5)
    assert upload_header(io.BytesIO(), "demo", "", {}) == pb.UploadHeader(analysis=pb.Analysis(dataset="demo"))
    with pytest.raises(errors.InvalidRequest, match="Use at most 3,000,000"):
        upload_header(io.BytesIO(), "demo", "", {}, subset=["x" * (MAX_SUBSET + 1)])
    with pytest.raises(errors.InvalidRequest, match=r"'subset' is one text\. Pass a list of image names\."):
        upload_header(io.BytesIO(), "demo", "", {}, subset="name.jpg")
