"""errata compare: which changes its tables have, and how they fit a narrow terminal."""

import io

import pytest
from errata import pb
from errata.cli import compare
from errata.cli.compare import _show_comparison
from errata.error_types import TOP1_ERROR_TYPES
from rich.console import Console


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


def test_the_lines_of_a_changed_image_start_after_its_label(monkeypatch: pytest.MonkeyPatch) -> None:
    result = comparison()
    result.groups["all"].broken = 1
    image = result.broken.add(file_name="ILSVRC2012_val_00000293.JPEG", target_name="great white shark")
    image.predicted_a_name, image.predicted_b_name = "great white shark", "hammerhead"
    image.error_type_a, image.error_type_b = "correct", "model_failure"

    *_, first, second = shown(result, 10, monkeypatch, width=80).splitlines()

    assert first.startswith("  broken  ILSVRC2012_val_00000293.JPEG, label great white shark: ")
    assert second.startswith(" " * len("  broken  ") + "shark (")
