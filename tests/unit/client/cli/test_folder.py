"""Folders that --output wrote: the classes of any label space, and folders of earlier versions."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click import Command
from click.testing import CliRunner
from errata import Client, pb
from errata.cli import analyze
from errata.cli.compare import compare
from errata.cli.explain import explain
from errata.cli.folder import CLASSES, SUMMARY, VERDICTS, VerdictSelection, read_classes, select_verdicts
from errata.cli.gate import gate
from errata.cli.resolve import resolve
from errata.cli.show import show
from errata.cli.trend import trend
from errata.errors import InvalidInput, InvalidRequest
from errata.proto_json import to_dict, to_json
from unusual_classes import NAMES, PREDICTED, TARGETS, label_space

from service import wire


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one verdict per image."""
    space = label_space()
    num_correct = sum(target == predicted for target, predicted in zip(TARGETS, PREDICTED, strict=True))
    counts = {"correct": num_correct, "model_failure": len(NAMES) - num_correct, "fine_grained": 0}
    summary = pb.Summary(groups={"all": pb.GroupSummary(counts=counts)})
    (tmp_path / SUMMARY).write_text(to_json(pb.Analysis(name="analyses/a1", summary=summary)))
    classes = wire.to_classes(space, range(space.num_classes), "datasets/products/evidence/e")
    (tmp_path / CLASSES).write_text("".join(f"{json.dumps(to_dict(item))}\n" for item in classes))
    lines = [
        {
            "file_name": name,
            "target": target,
            "predicted": predicted,
            "error_type": "correct" if target == predicted else "model_failure",
            "target_name": space.names[target],
            "predicted_name": space.names[predicted],
        }
        for name, target, predicted in zip(NAMES, TARGETS, PREDICTED, strict=True)
    ]
    (tmp_path / VERDICTS).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return tmp_path


def selected(folder: Path, target: str = "", predicted: str = "") -> list[str]:
    return [verdict.file_name for verdict in select_verdicts(folder, VerdictSelection(frozenset(), target, predicted))]


@pytest.mark.parametrize("text", ["sku-1", "0", "running shoe", "trainer", "Running_Shoe"])
def test_verdicts_are_selected_by_id_index_name_and_synonym(folder: Path, text: str) -> None:
    assert selected(folder, target=text) == NAMES[:2]
    assert selected(folder, predicted=text) == [NAMES[0], NAMES[7], NAMES[8]]


@pytest.mark.parametrize("change", ["missing", "other"])
def test_verdicts_that_the_summary_does_not_count_are_refused(folder: Path, change: str) -> None:
    """A line is missing, or another command wrote the verdicts."""
    first, *lines = (folder / VERDICTS).read_text().splitlines()
    other = first.replace('"correct"', '"fine_grained"').replace('"model_failure"', '"fine_grained"')
    (folder / VERDICTS).write_text("\n".join(lines if change == "missing" else [other, *lines]))

    with pytest.raises(InvalidInput, match=r"does not have the verdicts that summary\.json counts .*Run the analysis"):
        selected(folder)


def test_a_class_without_verdicts_selects_none(folder: Path) -> None:
    assert selected(folder, predicted="sku-8") == []


def test_a_name_of_two_classes_is_rejected_with_their_indices(folder: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"2 classes match 'crane'\. Use the index of one of them: 3, 4"):
        selected(folder, target="crane")
    assert selected(folder, target="machine") == [NAMES[5]]


@pytest.mark.parametrize("text", ["8", "no such class", "n01440764"])
def test_an_unknown_class_is_rejected(folder: Path, text: str) -> None:
    with pytest.raises(InvalidRequest, match="The folder has no class"):
        selected(folder, target=text)


@pytest.mark.parametrize("content", [None, ""])
def test_a_folder_of_an_earlier_version_has_the_names_of_its_verdicts(folder: Path, content: str | None) -> None:
    (folder / CLASSES).unlink()
    if content is not None:
        (folder / CLASSES).write_text(content)

    assert read_classes(folder) == []
    assert selected(folder, target="running shoe") == selected(folder, target="0") == NAMES[:2]
    with pytest.raises(InvalidRequest, match="The folder has no class 'sku-1'"):
        selected(folder, target="sku-1")


def write_earlier_summary(folder: Path) -> Path:
    """Write the summary of a folder as a version before API v1, with other names of the error types."""
    summary = folder / SUMMARY
    summary.write_text(summary.read_text().replace('"correct"', '"CORRECT"').replace('"model_f', '"MODEL_F'))
    return summary


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (show, ["FOLDER"]),
        (show, ["FOLDER", "--errors"]),
        (show, ["FOLDER", "--export", "jsonl"]),
        (explain, ["a.jpg", "--analysis", "FOLDER"]),
        (compare, ["FOLDER", "FOLDER"]),
        (trend, ["FOLDER"]),
        (gate, ["FOLDER", "--policy", "POLICY"]),
    ],
)
def test_a_folder_with_other_names_of_the_error_types_is_refused(
    folder: Path, command: Command, arguments: list[str]
) -> None:
    summary, policy = write_earlier_summary(folder), folder / "policy.yaml"
    policy.write_text("version: 1\nbounds: [{measure: top1_accuracy, min: 0.5}]")
    paths = {"FOLDER": str(folder), "POLICY": str(policy)}

    result = CliRunner().invoke(command, [paths.get(argument, argument) for argument in arguments])

    assert isinstance(result.exception, InvalidInput) and not result.stdout
    assert result.exception.message == (
        f"An earlier version of Errata wrote {summary}, with other names of the error types. Run the analysis again "
        "with --output."
    )


def test_the_analysis_of_a_folder_of_a_version_before_api_v1_is_named_to_a_service(folder: Path) -> None:
    write_earlier_summary(folder)

    with Client("127.0.0.1:1") as client:
        assert resolve(client, str(folder)) == "analyses/a1"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", r"classes\.jsonl, line 1, is not a line"),
        ("[]", r"classes\.jsonl, line 1, is not a line"),
        ('{"class_index": "x"}', r"classes\.jsonl, line 1, is not a line"),
        ('{"class_index": 0}', r"classes\.jsonl, line 1, is not a line"),
        ('{"class_index": 7, "display_name": "x"}', r"classes\.jsonl, line 1, has the class 7. Expected 0"),
    ],
)
def test_damaged_classes_are_rejected_with_their_line(folder: Path, line: str, problem: str) -> None:
    (folder / CLASSES).write_text(f"{line}\n")

    with pytest.raises(InvalidInput, match=problem):
        selected(folder, target="0")


@pytest.mark.processes
def test_an_analysis_is_shown_in_an_encoding_without_its_characters(folder: Path) -> None:
    (folder / SUMMARY).write_text(to_json(pb.Analysis(name="analyses/a1", display_name="na\u00efve \u2713")))
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}

    done = subprocess.run(
        [sys.executable, "-m", "errata.cli", "show", folder], env=environment, capture_output=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, b"")
    assert b"na?ve ?" in done.stdout


def test_a_folder_of_results_is_not_a_folder_of_predictions(folder: Path) -> None:
    with pytest.raises(InvalidInput, match=r"is a result of 'errata analyze': it has summary\.json and"):
        analyze._check_source((), folder, "", None)
