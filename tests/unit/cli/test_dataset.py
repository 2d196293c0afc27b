"""errata dataset check: what it prints, its JSON, and its exit codes."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from errata.errors import InvalidEvidence, InvalidInput

from service.cli.dataset import dataset

CLASSES = "name,superclass,synset\ncat,pets,n02121620\ndog,pets,n02084071\ncar,,n02958343\nbus,,n02924116\n"
LABELS = "file_name,labels\na.jpg,cat;car\nb.jpg,dog;car\nc.jpg,car\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("classes.csv").write_text(CLASSES)
    Path("labels.csv").write_text(LABELS)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(dataset, ["check", *arguments], catch_exceptions=False)


def test_advice_alone_has_exit_code_0(folder: Path) -> None:
    result = run("--classes", "classes.csv", "--labels", "labels.csv")

    assert result.exit_code == 0
    assert "advice  2 classes have no superclass: 'car', 'bus'." in result.stdout
    assert "advice  1 class is no label of any image: 'bus'." in result.stdout
    assert "advice  No pair of classes occurs together in at least 2 images." in result.stdout
    assert "4 classes, 3 images\n0 errors, 5 recommendations\n" in result.stdout


def test_errors_have_lines_and_exit_code_1(folder: Path) -> None:
    Path("labels.csv").write_text(LABELS + "d.jpg,cow\nd.jpg,cat\n")
    Path("overlaps.csv").write_text("class,also_correct\ncat,cat\n")

    result = run("--classes", "classes.csv", "--labels", "labels.csv", "--overlaps", "overlaps.csv")

    assert result.exit_code == 1
    assert "error  labels.csv, line 5, labels: unknown class 'cow'" in result.stdout
    assert "error  labels.csv, line 6, file_name: duplicate image 'd.jpg', also on line 5" in result.stdout
    assert "error  overlaps.csv, line 2, also_correct: 'cat' is the class itself" in result.stdout
    assert "\n3 errors, " in result.stdout


def test_the_output_is_that_of_the_guide(folder: Path) -> None:
    Path("labels.csv").write_text(LABELS + "d.jpg,cow\n")
    Path("predictions.csv").write_text("file_name,predicted_class\n")
    guide = (Path(__file__).parents[3] / "docs" / "how-to" / "check-data-set.md").read_text()
    (expected,) = re.findall(r"```text\n(.*?)```", guide, re.DOTALL)

    result = run("--classes", "classes.csv", "--labels", "labels.csv", "--predictions", "predictions.csv")

    assert result.stdout == re.sub(r"\n +", " ", expected)


def test_json_has_errors_advice_and_counts(folder: Path) -> None:
    Path("groups.csv").write_text("class,groups\ncow,animal\n")

    result = run("--classes", "classes.csv", "--labels", "labels.csv", "--groups", "groups.csv", "--json")

    assert result.exit_code == 1
    output = json.loads(result.stdout)
    (error,) = output["errors"]
    assert (error["file"], error["field"], error["unit"], error["line"]) == ("groups.csv", "class", "line", 2)
    assert (output["classes"], output["images"], output["unchecked"]) == (4, 3, [])
    assert {"classes-without-superclass", "large-superclasses"} <= {item["kind"] for item in output["advice"]}
    assert [item["items"] for item in output["advice"] if item["kind"] == "classes-without-images"] == [["bus"]]


def test_predictions_are_compared_with_the_labels(folder: Path) -> None:
    Path("predictions.csv").write_text("file_name,predicted_class\na.jpg,bus\nb.jpg,dog\nc.jpg,car\n")

    result = run("--classes", "classes.csv", "--labels", "labels.csv", "--predictions", "predictions.csv")

    assert result.exit_code == 0
    assert "advice  1 class is a label, but is never predicted: 'cat'." in result.stdout
    assert "advice  1 class is predicted, but is no label of any image: 'bus'." in result.stdout


def test_more_errors_of_predictions_than_are_listed_are_counted(folder: Path) -> None:
    Path("predictions.csv").write_text("file_name,predicted_class\n" + "a.jpg,cow\n" * 11)

    result = run("--classes", "classes.csv", "--labels", "labels.csv", "--predictions", "predictions.csv")

    lines = [line for line in result.stdout.splitlines() if line.startswith("error  predictions.csv")]
    assert "(and 10 more errors)" in lines[0]
    assert len(lines) == 10


def test_errors_of_predictions_have_lines(folder: Path) -> None:
    Path("predictions.csv").write_text("file_name,predicted_class\na.jpg,cow\nb.jpg,dog\nc.jpg,car\n")

    result = run("--classes", "classes.csv", "--labels", "labels.csv", "--predictions", "predictions.csv")

    assert result.exit_code == 1
    assert "error  predictions.csv, line 2, predicted_class: " in result.stdout


def test_errors_of_arrays_have_rows(folder: Path) -> None:
    np.save("predictions.npy", np.array([0, 1, 4]))

    result = run("--classes", "classes.csv", "--labels", "labels.csv", "--predictions", "predictions.npy")

    assert result.exit_code == 1
    assert "error  predictions.npy, row 3, " in result.stdout


def write_twelve_classes(predicted: Callable[[int], int], images: int = 60) -> None:
    """Write the files of a data set with images of 12 classes in turn, and the predictions of some images."""
    Path("classes.csv").write_text("name\n" + "".join(f"c{number}\n" for number in range(12)))
    Path("labels.csv").write_text(
        "file_name,labels\n" + "".join(f"{image:02}.jpg,{image % 12}\n" for image in range(60))
    )
    rows = "".join(f"{image:02}.jpg,{predicted(image % 12)}\n" for image in range(images))
    Path("predictions.csv").write_text("file_name,top1\n" + rows)


def test_another_class_numbering_is_an_error_as_in_an_analysis(folder: Path) -> None:
    write_twelve_classes(lambda target: (target + 1) % 12)

    result = run("--classes", "classes.csv", "--labels", "labels.csv", "--predictions", "predictions.csv")

    assert result.exit_code == 1
    assert "error  predictions.csv: Class numbering looks wrong: top-1 accuracy is 0.0 %" in result.stdout
    assert "Subtract 1, so that they start at 0." in result.stdout


def test_classes_in_alphabetical_order_are_advice_if_one_class_keeps_its_number(folder: Path) -> None:
    order = [0, *range(2, 12), 1]
    write_twelve_classes(lambda target: order[target])

    result = run("--classes", "classes.csv", "--labels", "labels.csv", "--predictions", "predictions.csv")

    assert result.exit_code == 0
    assert "advice  The class numbering may be wrong: top-1 accuracy is 8.3 %, but 100.0 %" in result.stdout
    assert "Number the classes as label space" in result.stdout


def test_images_without_a_prediction_are_advice(folder: Path) -> None:
    write_twelve_classes(lambda target: target, images=57)

    result = run("--classes", "classes.csv", "--labels", "labels.csv", "--predictions", "predictions.csv")

    assert result.exit_code == 0
    assert "advice  The predictions cover 57 of 60 images (95.0 %)." in result.stdout
    assert "Images without a prediction: 57.jpg, 58.jpg, 59.jpg." in result.stdout


def test_rows_of_arrays_have_the_order_of_the_option(folder: Path) -> None:
    write_twelve_classes(lambda target: target)
    np.save("predictions.npy", np.arange(60) % 12)  # in the order of the names
    files = ("--classes", "classes.csv", "--labels", "labels.csv", "--predictions", "predictions.npy")

    by_path, by_name = run(*files), run(*files, "--row-order", "file-name")

    assert by_path.exit_code == 1
    assert "error  predictions.npy: Row order looks wrong: top-1 accuracy is" in by_path.stdout
    assert "Try --row-order file-name." in by_path.stdout
    assert by_name.exit_code == 0


def test_predictions_without_labels_are_refused(folder: Path) -> None:
    with pytest.raises(InvalidEvidence, match=r"the labels of their images\. Add --labels FILE"):
        run("--classes", "classes.csv", "--predictions", "predictions.csv")


def test_predictions_are_not_checked_without_valid_labels(folder: Path) -> None:
    Path("predictions.csv").write_text("file_name,predicted_class\na.jpg,cat\n")
    Path("labels.csv").write_text("file_name,labels\na.jpg,cow\n")

    result = run("--classes", "classes.csv", "--labels", "labels.csv", "--predictions", "predictions.csv")

    assert result.exit_code == 1
    assert "not checked  predictions.csv: it depends on a file with errors" in result.stdout


def test_missing_predictions_are_an_error(folder: Path) -> None:
    result = run("--classes", "classes.csv", "--labels", "labels.csv", "--predictions", "missing.csv")

    assert result.exit_code == 1
    assert "error  missing.csv: Cannot read the file: No such file or directory." in result.stdout


def test_text_of_files_cannot_control_the_terminal(folder: Path) -> None:
    Path("labels.csv").write_text("file_name,labels\na.jpg,\x1b[31m[bold]cow\n")

    result = run("--classes", "classes.csv", "--labels", "labels.csv")

    assert "\x1b" not in result.stdout
    assert "[bold]cow" in result.stdout


def test_file_that_needs_classes_is_refused_without_them(folder: Path) -> None:
    with pytest.raises(InvalidEvidence, match=r"--groups describes classes of your own\. Add --classes FILE"):
        run("--labels", "labels.csv", "--groups", "groups.csv")


def test_command_without_files_names_the_options() -> None:
    with pytest.raises(InvalidInput, match="Add --classes FILE, --labels FILE, or both"):
        run()
