"""errata compare: which changes and images it shows, and how its tables fit a narrow terminal."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result
from errata import pb
from errata.cli import compare
from errata.cli.compare import _show_comparison
from errata.error_types import TOP1_ERROR_TYPES
from errata.html import comparison_html
from errata.messages import CLASS_ACCURACY
from rich.console import Console

from service.api.analysis_service import MAX_IMAGES


def comparison() -> pb.Comparison:
    result = pb.Comparison(dataset="datasets/demo", display_name_a="before", display_name_b="after")
    group = result.groups["all"]
    group.num_samples = 1000
    for error_type in TOP1_ERROR_TYPES:
        group.type_changes.add(error_type=error_type.key, only_a=2, only_b=1)
    for number in range(6):
        group.superclasses.add(display_name=f"superclass {number}", num_samples=9, fixed=2, broken=1)
    return result


def shown(result: pb.Comparison, limit: int, monkeypatch: pytest.MonkeyPatch, width: int = 120) -> str:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    monkeypatch.setattr(compare, "stdout_console", lambda: console)
    _show_comparison(result, [pb.Analysis(), pb.Analysis()], limit)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("limit", [0, 1, 3, 10])
def test_the_limit_applies_to_superclasses_and_not_to_error_types(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(comparison(), limit, monkeypatch).splitlines()

    starts = [line.split("  ")[0] for line in lines]
    assert all(error_type.title in starts for error_type in TOP1_ERROR_TYPES)
    assert sum(line.startswith("superclass ") for line in lines) == min(limit, 6) + (limit > 0)  # and the header


def test_classes_with_the_same_name_are_distinguished(monkeypatch: pytest.MonkeyPatch) -> None:
    result = comparison()
    for index, name in ((134, "crane"), (517, "crane"), (3, "boat")):
        result.groups["all"].classes.add(display_name=name, class_index=index, num_samples=9, fixed=2, broken=1)

    starts = {line.split("  ")[0] for line in shown(result, 10, monkeypatch).splitlines()}
    assert {"crane (class 134)", "crane (class 517)", "boat", "superclass 1"} <= starts


def test_class_accuracies_without_an_interval_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    result = comparison()
    group = result.groups["all"]
    group.multi_label_accuracy_a, group.multi_label_accuracy_b = 0.5, 0.625

    lines = shown(result, 0, monkeypatch).splitlines()

    (rates,) = (line.split("  ") for line in lines if line.startswith(CLASS_ACCURACY))
    assert [*map(str.strip, filter(None, rates))] == [CLASS_ACCURACY, "50.0 %", "62.5 %", "+12.50", "no interval"]
    assert any(line.startswith("all ") and line.endswith("50.0 % → 62.5 %") for line in map(str.rstrip, lines))
    assert ">no interval<" in comparison_html(result)


def test_rules_without_evidence_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    result = comparison()
    result.abstained.append("non_prototypical")
    note = "The number of model failures is an upper bound."

    assert note in shown(result, 0, monkeypatch, width=300) and note in comparison_html(result)
    assert "upper bound" not in shown(comparison(), 0, monkeypatch) + comparison_html(comparison())


def test_transitions_of_rules_without_evidence_have_no_count() -> None:
    result = comparison()
    for key in ("correct", "non_prototypical"):
        result.groups["all"].transitions.add(error_type=key, counts={"correct": 7})

    assert ">7<" in comparison_html(result) and ">–<" not in comparison_html(result)
    result.abstained.append("non_prototypical")
    assert comparison_html(result).count(">–<") == 3


def test_the_lines_of_a_changed_image_start_after_its_label(monkeypatch: pytest.MonkeyPatch) -> None:
    result = comparison()
    result.groups["all"].broken = 1
    image = result.broken.add(file_name="ILSVRC2012_val_00000293.JPEG", target_name="great white shark")
    image.predicted_a_name, image.predicted_b_name = "great white shark", "hammerhead"
    image.error_type_a, image.error_type_b = "correct", "model_failure"

    *_, first, second = shown(result, 10, monkeypatch, width=80).splitlines()

    assert first.startswith("  broken  ILSVRC2012_val_00000293.JPEG, label great white shark: ")
    assert second.startswith(" " * len("  broken  ") + "shark (")


def run(monkeypatch: pytest.MonkeyPatch, num_broken: int, *options: str) -> Result:
    """Run the command with a client whose comparison has broken images, as a service limits them."""

    def compare_analyses(a: str, b: str, max_images: int = 0) -> pb.Comparison:
        result = comparison()
        result.a, result.b = a, b
        result.groups["all"].broken = num_broken
        for number in range(min(num_broken, max_images or 1000, MAX_IMAGES)):
            result.broken.add(file_name=f"{number}.jpg")
        return result

    @contextmanager
    def connect(target: object) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(client=SimpleNamespace(compare=compare_analyses, get=lambda name: pb.Analysis(name=name)))

    monkeypatch.setattr(compare, "connect", connect)
    identifiers = "1m8gjjm78yatht4tadvh4", "1m8gjjkxrqyt3n2nkhj47"
    return CliRunner().invoke(compare.compare, [*identifiers, *options], catch_exceptions=False)


@pytest.mark.parametrize(
    ("limit", "num_shown", "hint"),
    [
        ("10", 10, "Showing 10 of 2,734 broken images. Use --limit to show more.\n"),
        ("2000", 2000, "Showing 2,000 of 2,734 broken images. Use --limit to show more.\n"),
        ("100000", 2734, ""),
        ("0", 0, ""),
    ],
)
def test_the_limit_is_the_number_of_changed_images(
    limit: str, num_shown: int, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(monkeypatch, 2734, "--limit", limit)

    assert result.stdout.count("\n  broken  ") == num_shown
    assert result.stderr == hint


@pytest.mark.parametrize(("limit", "max_images"), [("10", 1000), ("60000", 60_000)])  # the report has 200 images
def test_the_limit_of_folders_has_no_maximum(limit: str, max_images: int, monkeypatch: pytest.MonkeyPatch) -> None:
    requested = []

    def compare_folders(*_: Path, with_report: bool, max_images: int) -> tuple[pb.Comparison, bytes]:
        requested.append(max_images)
        return comparison(), b""

    monkeypatch.setattr(compare, "all_folders", lambda _: True)
    monkeypatch.setattr(compare, "read_analysis", lambda _: pb.Analysis())
    monkeypatch.setattr(compare, "load_extension", lambda *_: compare_folders)

    CliRunner().invoke(compare.compare, ["a", "b", "--limit", limit], catch_exceptions=False)

    assert requested == [max_images]


def test_above_the_maximum_of_a_service_the_hint_names_a_command_for_all_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert compare.MAX_IMAGES == MAX_IMAGES == 50_000
    monkeypatch.setattr(compare, "MAX_IMAGES", 1500)

    result = run(monkeypatch, 2734, "--limit", "9" * 30)

    assert result.stdout.count("\n  broken  ") == 1500
    assert result.stderr == (
        "Showing 1,500 of 2,734 broken images. To list all of them, use 'errata images analyses/1m8gjjkxrqyt3n2nkhj47 "
        "--baseline analyses/1m8gjjm78yatht4tadvh4 --change broken --limit 2734'.\n"
    )


@pytest.mark.parametrize(
    ("options", "num_images"), [([], 1000), (["--limit", "2000"], 2000), (["--limit", "3"], 3), (["--limit", "0"], 0)]
)
def test_the_limit_applies_to_the_images_of_the_json(
    options: list[str], num_images: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = json.loads(run(monkeypatch, 2734, "--json", *options).stdout)

    assert len(document["broken"]) == num_images
    assert len(document["groups"]["all"]["superclasses"]) == 6
