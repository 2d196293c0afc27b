"""Files in the layouts of libraries are accepted with what was assumed, or refused with the reason."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from errata import Client, errors, pb
from files_in_the_wild import FILES, Images, WildFile, format_answer, to_table

from service.domain import RowOrder
from service.evidence.bundle import Bundle

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "upload-formats.md"


@pytest.fixture(scope="session")
def images(demo: Bundle) -> Images:
    """The demo photographs, with two wrong predictions."""
    order = demo.positions(RowOrder.PATH)
    classes = np.array(demo.all_targets)[order]
    classes[:2] = 0
    names = [demo.image_names[image] for image in order]
    space = demo.label_space
    return Images(names, classes.tolist(), space.ids, space.names)


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.source}: {file.layout}")
def test_a_file_is_accepted_with_its_assumptions_or_refused_with_the_reason(
    client: Client, images: Images, file: WildFile
) -> None:
    content = io.BytesIO(file.write(images))

    if file.refused:
        with pytest.raises(errors.InvalidUpload) as caught:
            client.upload(content, "demo")
        assert caught.value.message.startswith(file.refused)
        return
    analysis = client.upload(content, "demo")

    assert analysis.state == pb.Analysis.STATE_SUCCEEDED
    assert " ".join(analysis.assumptions) == format_answer(file.assumed, images.names[0])
    verdicts = [*client.verdicts(analysis.name)]
    assert {verdict.file_name: verdict.predicted for verdict in verdicts} == dict(images.rows)
    assert {verdict.HasField("probability") for verdict in verdicts} == {file.probability is not None}
    assert [verdict.probability for verdict in verdicts] == pytest.approx([file.probability or 0] * 20, abs=1e-3)
    assert client.get(analysis.name).assumptions == analysis.assumptions


def test_the_table_of_the_documentation_has_these_files(images: Images) -> None:
    table = to_table(images.names[0])

    assert table in PAGE.read_text(encoding="utf-8"), f"Replace the table of {PAGE.name} with:\n{table}"


def test_a_folder_of_json_files_is_uploaded(client: Client, images: Images, tmp_path: Path) -> None:
    for number, (name, index) in enumerate(images.rows):
        results = [{"label": images.ids[index], "score": 0.5}, {"label": "tench", "score": 0.1}]
        folder = tmp_path / "predictions" / str(number % 3)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(results))

    analysis = client.upload(tmp_path / "predictions", "demo")

    assert {verdict.file_name: verdict.predicted for verdict in client.verdicts(analysis.name)} == dict(images.rows)
    assert analysis.display_name == "predictions"
    assert "20 file names match by the end of the path" in " ".join(analysis.assumptions)


def test_an_error_in_a_folder_names_its_files(client: Client, images: Images, tmp_path: Path) -> None:
    (name, index), (other, _), *_ = images.rows
    (tmp_path / "one.json").write_text(json.dumps({"image": name, "label": index}))
    (tmp_path / "two.json").write_text(json.dumps([{"image": name, "label": index}, {"image": other, "label": "x?"}]))

    with pytest.raises(errors.InvalidRow, match=r"^entry 1 of two\.json: .* one\.json also names it\. ") as refused:
        client.upload(tmp_path, "demo")

    assert [violation.place for violation in refused.value.violations] == ["entry 1 of two.json", "entry 2 of two.json"]


def test_objects_of_a_folder_can_name_their_images(client: Client, images: Images, tmp_path: Path) -> None:
    rows = [{"image": name, "pred": index} for name, index in images.rows]
    (tmp_path / "first.json").write_text(json.dumps(rows[:7]))
    for number, row in enumerate(rows[7:]):
        (tmp_path / f"{number}.json").write_text(json.dumps(row))

    analysis = client.upload(tmp_path, "demo")

    assert {verdict.file_name: verdict.predicted for verdict in client.verdicts(analysis.name)} == dict(images.rows)


def test_a_folder_without_json_files_is_refused(client: Client, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")

    with pytest.raises(errors.InvalidInput, match="has no JSON files"):
        client.upload(tmp_path, "demo")


def test_a_damaged_file_of_a_folder_is_named(client: Client, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")

    with pytest.raises(errors.InvalidInput, match=r"a\.json is not JSON"):
        client.upload(tmp_path, "demo")


def test_assumptions_survive_a_restart_and_appear_in_the_report(start, images: Images) -> None:
    content = "".join(f"{name};{index}\n" for name, index in images.rows).encode()
    with start() as service:
        analysis = service.client.upload(io.BytesIO(content), "demo")
    with start() as service:
        stored = service.client.get(analysis.name)
        report = service.client.report(analysis.name)

    assert stored.assumptions == analysis.assumptions
    assert "The columns are separated by semicolons." in stored.assumptions
    assert b"The columns are separated by semicolons." in (report if isinstance(report, bytes) else report.encode())
