"""Analyses and verdicts as the command line shows them."""

import io

import pytest
from errata import pb
from errata.cli.images import _print_facets, _print_images
from errata.cli.views import indented, labeled, show_analysis, show_breakdown, show_verdicts
from errata.groups import ALL
from rich.console import Console

from service.taxonomy.imagenet_1k import GROUPS


def analysis(num_rejected: int, dataset: str = "imagenet-real") -> pb.Analysis:
    """Return an analysis of 10 images: 4 correct, 2 label noise, and 4 model failures."""
    group = pb.GroupSummary(
        num_samples=10,
        counts={"correct": 4, "multi_label": 2, "model_failure": 4},
        top1_errors=5 if num_rejected else 6,
        top1_accuracy=0.5 if num_rejected else 0.4,
        accuracy_against_labels=0.625,
        multi_label_accuracy=0.55,
        image_multi_label_accuracy=0.6,
    )
    summary = pb.Summary(groups=dict.fromkeys((ALL, *GROUPS), group), num_rejected_targets=num_rejected)
    return pb.Analysis(dataset=f"datasets/{dataset}", state=pb.Analysis.STATE_SUCCEEDED, summary=summary)


def lines_of(message: pb.Analysis) -> dict[str, str]:
    """Return the first cell of each row of the summary, by the title of the row."""
    console = Console(file=io.StringIO(), width=140)
    show_analysis(message, console)
    rows = [line.strip().split("  ") for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    return {row[0]: next((cell.strip() for cell in row[1:] if cell.strip()), "") for row in rows}


def test_real_accuracy_and_all_errors_are_shown_if_labels_reject_targets() -> None:
    rows = lines_of(analysis(3))

    assert rows["counted images"] == "10", "evaluated images also include problematic ones"
    assert rows["top-1 accuracy"] == "50.0 %"
    assert rows["ReaL accuracy"] == "62.5 %"
    assert rows["multi-label accuracy (images)"] == "60.0 %"
    assert rows["top-1 errors"] == "5"
    assert rows["all errors"] == "6"
    assert rows["model failure"] == "4"


@pytest.mark.parametrize(("groups", "is_shown"), [((ALL,), False), ((ALL, *GROUPS), True)])
def test_groups_are_described_only_if_there_are_any(groups: tuple[str, ...], is_shown: bool) -> None:
    message = analysis(0)
    for group in {*message.summary.groups} - {*groups}:
        del message.summary.groups[group]
    console = Console(file=io.StringIO(), width=140)
    show_analysis(message, console)

    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert ("An image can be in several groups." in text) == is_shown
    assert "Class mean: the mean over target classes." in text


def test_portions_divide_by_all_errors() -> None:
    console = Console(file=io.StringIO(), width=140)
    show_analysis(analysis(3), console)

    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "66.7 %" in text  # 4 of 6
    assert "The labels reject the original label of 3 images." in text


def test_labels_without_rejected_targets_have_no_real_accuracy() -> None:
    for message in (analysis(0), analysis(3, "mine")):
        rows = lines_of(message)
        assert "ReaL accuracy" not in rows
        assert rows["accuracy against the labels"] == "62.5 %"
    assert "all errors" not in lines_of(analysis(0))


@pytest.mark.parametrize(
    ("abstained", "cells"),
    [
        ([], ["2", "1", "0", "4"]),
        (["fine_grained_oov", "spurious_correlation"], ["2", "1", "0", "4"]),
        (["fine_grained_oov", "spurious_correlation", "non_prototypical"], ["2", "1", "–", "4"]),
    ],
)
def test_breakdown_has_no_count_of_a_severity_without_evaluated_rules(abstained: list[str], cells: list[str]) -> None:
    counts = {"correct": 4, "multi_label": 2, "fine_grained": 1, "model_failure": 4}
    row = pb.BreakdownRow(display_name="fish", num_samples=11, counts=counts)
    console = Console(file=io.StringIO(), width=140)
    show_breakdown(pb.Breakdown(rows=[row]), abstained, False, console)

    text = console.file.getvalue()  # type: ignore[attr-defined]
    (line,) = [line.split() for line in text.splitlines() if line.startswith("fish")]
    assert line == ["fish", "11", "–", *cells, "0.00"]


def test_verdict_shows_the_first_label_and_the_rejected_one() -> None:
    verdict = pb.Verdict(
        file_name="a.jpg", target_name="bakery", predicted_name="bakery", error_type="model_failure",
        rejected_target=True, effective_target=3, effective_target_name="paper towel",
    )  # fmt: skip
    console = Console(file=io.StringIO(), width=140)

    show_verdicts([verdict], console)

    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "a.jpg: paper towel predicted as bakery" in text
    assert "The labels of the image reject its original label, “bakery”." in text


def test_verdict_shows_that_clip_prefers_a_true_label() -> None:
    vocabulary = pb.VocabularyEvidence(gate=True, num_texts=9, prefers_label=True)
    verdict = pb.Verdict(error_type="fine_grained_oov", evidence=pb.VerdictEvidence(vocabulary=vocabulary))
    console = Console(file=io.StringIO(), width=200)

    show_verdicts([verdict], console)

    assert "CLIP prefers a true label" in console.file.getvalue()  # type: ignore[attr-defined]


def test_wrapped_lines_keep_their_indent() -> None:
    console = Console(file=io.StringIO(), width=20)
    for item in (labeled("advice", "one two three four five"), indented("one two three four five", 4)):
        console.print(item)

    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    assert lines == ["advice  one two", "        three four", "        five", "    one two three", "    four five"]


def test_no_line_ends_with_spaces_in_a_pipe() -> None:
    console = Console(file=io.StringIO(), width=200)
    for item in (labeled("pass", "one"), labeled("fail", "one two three", 11), indented("one", 2)):
        console.print(item)

    assert console.file.getvalue() == "pass  one\n       fail  one two three\n  one\n"  # type: ignore[attr-defined]


def test_classes_with_the_same_name_are_distinguished() -> None:
    console = Console(file=io.StringIO(), width=200)
    rows = [
        pb.BreakdownRow(display_name=name, class_index=index, num_samples=1)
        for index, name in enumerate(["x", "x", "y"])
    ]
    show_breakdown(pb.Breakdown(rows=rows), [], False, console)
    show_breakdown(pb.Breakdown(rows=[pb.BreakdownRow(display_name="bird", num_samples=1)]), [], False, console)
    evidence = pb.VerdictEvidence(labels=[pb.Label(class_index=134, class_name="crane")])
    evidence.co_occurrences.add(label=134, label_name="crane", count=2, examples=["a.jpg"])
    evidence.shared_superclasses.add(label=134, label_name="crane", superclasses=["s"])
    verdict = pb.Verdict(
        file_name="a.jpg", target=134, target_name="crane", effective_target=134, effective_target_name="crane",
        predicted=517, predicted_name="crane", error_type="spurious_correlation", evidence=evidence,
    )  # fmt: skip
    show_verdicts([verdict], console)
    verdict.predicted_name = "boat"
    show_verdicts([verdict], console)

    text = console.file.getvalue()  # type: ignore[attr-defined]
    starts = [line.split("  ")[0] for line in text.splitlines()]
    assert {"x (class 0)", "x (class 1)", "y", "bird"} <= {*starts}
    assert "a.jpg: crane (class 134) predicted as crane (class 517)" in text
    assert "Labels: crane (class 134)\n" in text
    assert "“crane (class 517)” and “crane (class 134)” occur together in 2 images" in text
    assert "“crane (class 517)” and “crane (class 134)” share a superclass" in text
    assert "a.jpg: crane predicted as boat" in text and "“boat” and “crane” occur together" in text


def test_images_and_facets_distinguish_classes_with_the_same_name() -> None:
    response = pb.ListImagesResponse()
    response.images.add(
        effective_target=134, effective_target_name="crane", predicted=517, predicted_name="crane",
        baseline_predicted=3, baseline_predicted_name="boat",
    )  # fmt: skip
    for class_id, name in (("n2", "crane"), ("n3", "crane"), ("n4", "boat")):
        response.facets.target_classes.counts.add(value=class_id, display_name=name, num_images=1)
    console = Console(file=io.StringIO(), width=200)
    _print_images(response, True, console)
    _print_facets(response.facets, console)

    cells = [cell.strip() for cell in console.file.getvalue().replace("\n", "  ").split("  ")]  # type: ignore[attr-defined]
    assert {"crane (class 134)", "crane (class 517)", "boat", "crane (n2)", "crane (n3)"} <= {*cells}
