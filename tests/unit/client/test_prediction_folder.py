"""Folders of JSON files with predictions."""

import json
from pathlib import Path
from typing import Any

import pytest
from errata import prediction_folder
from errata.errors import InvalidInput, InvalidRow, Violation
from errata.prediction_folder import open_predictions


def rows(folder: Path) -> list[dict[str, Any]]:
    with open_predictions(folder) as content:
        return [json.loads(line) for line in content.read().splitlines()]


def write(file: Path, content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def test_a_file_is_the_result_of_the_image_with_its_name(tmp_path: Path) -> None:
    write(tmp_path / "b.json", [{"label": "tench", "score": 0.9}])
    write(tmp_path / "val" / "a.jpg.json", 7)
    (tmp_path / "readme.txt").write_text("not read")

    assert rows(tmp_path) == [
        {"file_name": "b", "prediction": [{"label": "tench", "score": 0.9}]},
        {"file_name": "val/a.jpg", "prediction": 7},
    ]


def test_a_file_can_have_objects_that_name_their_images(tmp_path: Path) -> None:
    write(tmp_path / "part-1.json", [{"image": "a.jpg", "label": 1}, {"image": "b.jpg", "label": 2}])

    assert [row["file_name"] for row in rows(tmp_path)] == ["a.jpg", "b.jpg"]


def test_an_error_of_the_upload_names_the_files(tmp_path: Path) -> None:
    write(tmp_path / "a.json", 7)
    write(tmp_path / "b.json", [{"image": "b.jpg", "label": 1}, {"image": "c.jpg", "label": 2}])
    write(tmp_path / "z.json", 8)
    violations = [
        Violation("row", "Image 'a' has more than one row: line 1 also names it.", 3),
        Violation("row", "Unknown class 'line 2: no'.", 4),
    ]

    with pytest.raises(InvalidRow) as refused, open_predictions(tmp_path):
        raise InvalidRow(f"Line 3: {violations[0].description} (and 1 more error)", violations=violations)

    error = refused.value
    repeated = "Image 'a' has more than one row: a.json also names it."
    assert error.message == str(error) == f"entry 2 of b.json: {repeated} (and 1 more error)"
    assert [(violation.place, violation.description) for violation in error.violations] == [
        ("entry 2 of b.json", repeated),
        ("z.json", "Unknown class 'line 2: no'."),
    ]


def test_an_error_in_another_file_keeps_its_lines(tmp_path: Path) -> None:
    write(tmp_path / "a.json", 7)

    with pytest.raises(InvalidRow) as refused, open_predictions(tmp_path):
        raise InvalidRow("Line 1 of the subset file: unknown", violations=[Violation("subset", "unknown", 1)])

    assert [violation.place for violation in refused.value.violations] == ["line 1"]


def test_folders_that_cannot_be_used_are_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="no JSON files"):
        rows(tmp_path)
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(InvalidInput, match=r"a\.json is not JSON"):
        rows(tmp_path)
    monkeypatch.setattr(prediction_folder, "MAX_FILES", 0)
    with pytest.raises(InvalidInput, match="more than 0 files"):
        rows(tmp_path)


def test_a_file_is_not_changed(tmp_path: Path) -> None:
    with open_predictions(tmp_path / "predictions.csv") as content:
        assert content == tmp_path / "predictions.csv"


@pytest.mark.parametrize("predictions", [b"file_name,top1", {"a.jpg": 1}, [1, 2]])
def test_other_types_are_rejected(predictions: Any) -> None:
    with pytest.raises(InvalidInput, match=f"type {type(predictions).__name__}. Pass the path of a file, or a binary"):
        rows(predictions)
