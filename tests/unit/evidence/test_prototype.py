"""Non-prototypical images from the two files of mistakes."""

import json
from pathlib import Path

import pytest
from errata.errors import InvalidEvidence
from unit.evidence.official import write_mistakes

from service.evidence.expert_judgments import read_expert_judgments
from service.evidence.prototype import read_non_prototypical


def test_reference_lists_36_images(reference: Path) -> None:
    folder = reference / "imagenet-mistakes" / "metadata"

    non_prototypical = read_non_prototypical(folder)

    assert len(non_prototypical) == 36  # spec: "36 names"
    text = (folder / "greedy_soups_mistakes.json").read_text() + (folder / "vit3b_mistakes.json").read_text()
    assert all(f'"{name}"' in text for name in non_prototypical)


def test_image_listed_in_either_file_is_non_prototypical(tmp_path: Path) -> None:
    names = [f"ILSVRC2012_val_0000000{number}.JPEG" for number in range(5)]

    assert read_non_prototypical(write_mistakes(tmp_path, names)) == set(names)


@pytest.mark.parametrize("file", ["greedy_soups_mistakes.json", "vit3b_mistakes.json"])
def test_file_that_is_missing_is_rejected_by_name(tmp_path: Path, file: str) -> None:
    (write_mistakes(tmp_path, ["a.JPEG"]) / file).unlink()

    with pytest.raises(InvalidEvidence, match=file) as error:
        read_non_prototypical(tmp_path)

    assert error.value.violations[0].field == "mistakes"


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "5", "null", '{"a.JPEG": {}}', '{"a.JPEG": null}', '{"a.JPEG": ["failure category"]}', "\xff"],
)
def test_file_of_another_form_is_rejected_by_name(tmp_path: Path, content: str) -> None:
    (write_mistakes(tmp_path, ["a.JPEG"]) / "vit3b_mistakes.json").write_text(content, encoding="latin-1")

    with pytest.raises(InvalidEvidence, match=r"vit3b_mistakes\.json"):
        read_non_prototypical(tmp_path)


def test_image_name_with_a_lone_surrogate_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidEvidence, match=r"_mistakes\.json: file_name '\\ud800\.JPEG' is not valid Unicode; correct"
    ):
        read_non_prototypical(write_mistakes(tmp_path, ["\ud800.JPEG"]))


@pytest.mark.parametrize("name", ["missing", "file"])
def test_missing_folder_is_rejected_with_its_path(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()

    for read in (read_non_prototypical, read_expert_judgments):
        with pytest.raises(InvalidEvidence, match=rf"Folder of mistakes '.*/{name}' not found\. Check the path of --"):
            read(tmp_path / name)


def test_category_is_exact(tmp_path: Path) -> None:
    write_mistakes(tmp_path, [])
    other = {name: {"failure category": name} for name in ("non-prototypical", "Non-prototypical ", "Spurious")}
    (tmp_path / "vit3b_mistakes.json").write_text(json.dumps(other))

    assert read_non_prototypical(tmp_path) == frozenset()
