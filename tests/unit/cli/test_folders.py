"""Comparisons of folders that --output wrote, for own classes and for folders of earlier versions."""

import json
from pathlib import Path

import pytest
from errata import pb
from errata.cli.folder import CLASSES, SUMMARY, VERDICTS
from errata.errors import InvalidInput
from errata.proto_json import to_dict, to_json
from unusual_classes import HTML, NAMES, TARGETS, label_space

from service import wire
from service.cli.folders import compare_folders, read_label_space
from service.domain import ERROR_TYPES


def write(folder: Path, predicted: list[int], with_classes: bool = True) -> Path:
    """Write a folder of the analysis of some predictions."""
    folder.mkdir()
    space = label_space()
    zero = {error_type.key: 0 for error_type in ERROR_TYPES}
    num_correct = sum(target == prediction for target, prediction in zip(TARGETS, predicted, strict=True))
    counts = {"correct": num_correct, "model_failure": 9 - num_correct}
    group = pb.GroupSummary(num_samples=9, counts=zero | counts)
    group.gain_if_fixed_top1.update(zero)
    group.gain_if_fixed_multi_label.update(zero)
    groups = dict.fromkeys(("all", "organism", "artifact", "other"), group)
    summary = pb.Summary(groups=groups, num_images=9, num_predicted=9)
    analysis = pb.Analysis(
        name=f"analyses/{folder.name}",
        dataset="datasets/products",
        evidence="datasets/products/evidence/e",
        state=pb.Analysis.STATE_SUCCEEDED,
        summary=summary,
    )
    (folder / SUMMARY).write_text(to_json(analysis))
    if with_classes:
        classes = wire.to_classes(space, range(space.num_classes), "datasets/products/evidence/e")
        (folder / CLASSES).write_text("".join(f"{json.dumps(to_dict(item))}\n" for item in classes))
    lines = [
        {
            "file_name": name,
            "target": target,
            "predicted": prediction,
            "error_type": "correct" if target == prediction else "model_failure",
            "problematic": [],
            "groups": [],
        }
        for name, target, prediction in zip(NAMES, TARGETS, predicted, strict=True)
    ]
    (folder / VERDICTS).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return folder


def test_a_comparison_has_the_names_and_superclasses_of_the_classes(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [0, 1, *TARGETS[2:-1], 0])
    b = write(tmp_path / "b", TARGETS)

    comparison, html = compare_folders(a, b, with_report=True)

    assert [(image.file_name, image.target_name, image.predicted_a_name) for image in comparison.fixed] == [
        (NAMES[1], "running shoe", "ballet shoe"),
        (NAMES[8], label_space().names[7], "running shoe"),
    ]
    assert {row.display_name: row.fixed for row in comparison.superclasses} == {"shoes": 2, HTML: 1}
    text = html.decode()
    assert "ballet shoe" in text and "&lt;script&gt;alert(&#39;1&#39;)" in text
    assert HTML not in text


@pytest.mark.parametrize(("max_images", "num_fixed"), [(None, 1000), (1, 1), (1100, 1100), (50_000, 1200)])
def test_the_number_of_changed_images_is_limited(tmp_path: Path, max_images: int | None, num_fixed: int) -> None:
    folders = [write(tmp_path / name, TARGETS) for name in ("a", "b")]
    for folder, predicted in zip(folders, (1, 0), strict=True):
        line = json.loads((folder / VERDICTS).read_text().splitlines()[0])
        line |= {"target": 0, "predicted": predicted, "error_type": "model_failure" if predicted else "correct"}
        lines = [json.dumps(line | {"file_name": f"{number}.jpg"}) for number in range(1200)]
        (folder / VERDICTS).write_text("\n".join(lines))
        summary = json.loads((folder / SUMMARY).read_text())
        group = summary["summary"]["groups"]["all"]
        group |= {"num_samples": 1200, "counts": dict.fromkeys(group["counts"], 0) | {line["error_type"]: 1200}}
        (folder / SUMMARY).write_text(json.dumps(summary))

    limit = {} if max_images is None else {"max_images": max_images}
    comparison, _ = compare_folders(*folders, with_report=False, **limit)

    assert (len(comparison.fixed), comparison.groups["all"].fixed) == (num_fixed, 1200)


def test_an_answer_without_a_class_is_an_error(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", [-1, *TARGETS[1:]]), write(tmp_path / "b", [TARGETS[0], -1, *TARGETS[2:]])

    comparison, html = compare_folders(a, b, with_report=True)

    assert [(image.file_name, image.predicted_a, image.predicted_a_name) for image in comparison.fixed] == [
        (NAMES[0], -1, "no class")
    ]
    assert [(image.file_name, image.predicted_b) for image in comparison.broken] == [(NAMES[1], -1)]
    assert (comparison.groups["all"].top1_fixed, comparison.groups["all"].top1_broken) == (1, 1)
    assert "no class" in html.decode()


def test_a_target_must_be_a_class(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", TARGETS), write(tmp_path / "b", TARGETS)
    text = (b / VERDICTS).read_text()
    (b / VERDICTS).write_text(text.replace(f'"target": {TARGETS[0]}', '"target": -1', 1))

    with pytest.raises(InvalidInput, match="line 1, is not a line"):
        compare_folders(a, b, with_report=False)


@pytest.mark.parametrize("predicted", [8, -2])
def test_a_class_outside_of_the_label_space_is_rejected(tmp_path: Path, predicted: int) -> None:
    a, b = write(tmp_path / "a", TARGETS), write(tmp_path / "b", [predicted, *TARGETS[1:]])

    with pytest.raises(InvalidInput, match="line 1, is not a line"):
        compare_folders(a, b, with_report=False)


def test_a_folder_of_an_earlier_version_has_the_classes_of_imagenet(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [999, *TARGETS[1:]], with_classes=False)
    b = write(tmp_path / "b", TARGETS, with_classes=False)

    comparison, _ = compare_folders(a, b, with_report=False)

    assert read_label_space(a) is None
    assert [(image.target_name, image.predicted_a_name) for image in comparison.fixed] == [("tench", "toilet tissue")]
    assert list(comparison.superclasses) == []


@pytest.mark.parametrize("has_file", [(False, True), (True, False)])
@pytest.mark.parametrize("index", [0, 1000])
def test_a_missing_file_of_classes_is_named_unless_the_classes_are_those_of_imagenet(
    tmp_path: Path, index: int, has_file: tuple[bool, bool]
) -> None:
    folders = [write(tmp_path / name, TARGETS, with_classes) for name, with_classes in zip("ab", has_file, strict=True)]
    for folder, with_classes in zip(folders, has_file, strict=True):
        if not with_classes:
            lines = [json.loads(line) for line in (folder / VERDICTS).read_text().splitlines()]
            names = {"effective_target": index, "effective_target_name": "running shoe"}
            (folder / VERDICTS).write_text("".join(f"{json.dumps(line | names)}\n" for line in lines))

    with pytest.raises(InvalidInput, match=rf"[ab]/classes\.jsonl is missing.*class {index}, 'running") as error:
        compare_folders(*folders, with_report=False)

    assert error.value.violations[0].field == "classes"


def test_a_folder_of_imagenet_needs_no_file_of_classes(tmp_path: Path) -> None:
    a, b = (write(tmp_path / name, TARGETS, with_classes=False) for name in "ab")
    names = ["tench", "tench", "goldfish", "great white shark", "tiger shark", "hammerhead"]
    lines = [json.loads(line) for line in (b / VERDICTS).read_text().splitlines()]
    for line, name in zip(lines, names, strict=False):
        line |= {"effective_target": line["target"], "effective_target_name": name}
    (b / VERDICTS).write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    comparison, _ = compare_folders(a, b, with_report=False)

    assert comparison.groups["all"].fixed == 0


def test_too_many_groups_are_rejected(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", TARGETS)
    lines = [{"class_index": index, "display_name": "x", "groups": [str(index)]} for index in range(17)]
    (folder / CLASSES).write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    with pytest.raises(InvalidInput, match=r"classes\.jsonl is not a file"):
        read_label_space(folder)
