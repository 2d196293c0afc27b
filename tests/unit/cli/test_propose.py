"""errata dataset propose: the file that it writes, its errors, and its quality on the classes of CIFAR-100."""

import csv
import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from errata.errors import InvalidInput, InvalidRequest

from service.cli.dataset import dataset
from service.evidence.class_files import read_classes, read_superclasses

CLASSES = "id,name,superclass\na,cat,pets\nb,dog,\nc,bus,\nd,truck,\ne,vase,\n"
LABELS = "file_name,labels\n1.jpg,dog\n2.jpg,bus\n3.jpg,truck\n4.jpg,vase\n5.jpg,cat\n"
PREDICTIONS = "file_name,predicted_class\n1.jpg,cat\n2.jpg,truck\n3.jpg,bus\n4.jpg,vase\n5.jpg,dog\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("classes.csv").write_text(CLASSES)
    Path("labels.csv").write_text(LABELS)
    Path("predictions.csv").write_text(PREDICTIONS)
    return tmp_path


@pytest.fixture
def no_wordnet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WNSEARCHDIR", str(tmp_path))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(dataset, ["propose", *arguments], catch_exceptions=False)


def from_confusions(*arguments: str) -> Result:
    files = ("--classes", "classes.csv", "--labels", "labels.csv", "--predictions", "predictions.csv")
    return run(*files, "--output", "out.csv", *arguments)


def test_confusions_give_superclasses_to_classes_without_any(folder: Path) -> None:
    result = from_confusions()

    assert result.exit_code == 0
    # 'dog' is confused with 'cat' only, which has a superclass
    assert Path("out.csv").read_text() == (
        "class,name,superclasses\na,cat,pets\nb,dog,\nc,bus,bus and similar\nd,truck,bus and similar\ne,vase,\n"
    )
    assert "1 superclass for 2 of 5 classes, proposed from the confusions in predictions.csv." in result.stderr
    space = read_superclasses(Path("out.csv"), read_classes(Path("classes.csv"), "mine"))
    assert space.superclasses.similar_to(2).tolist() == [2, 3]
    assert space.superclasses.names_of(0) == ("pets",)


def test_rows_of_arrays_are_images_in_the_order_of_the_option(folder: Path) -> None:
    np.save("by-path.npy", np.array([1, 0, 3, 2, 4]))
    np.save("by-name.npy", np.array([0, 3, 2, 4, 1]))
    expected = from_confusions("--output", "expected.csv")

    by_path = from_confusions("--predictions", "by-path.npy", "--output", "by-path.csv")
    by_name = from_confusions("--predictions", "by-name.npy", "--row-order", "file-name", "--output", "by-name.csv")

    assert (expected.exit_code, by_path.exit_code, by_name.exit_code) == (0, 0, 0)
    assert Path("by-path.csv").read_text() == Path("by-name.csv").read_text() == Path("expected.csv").read_text()


def test_a_superclass_with_a_semicolon_is_refused(folder: Path) -> None:
    """Read again, it would be two superclasses."""
    rows = [{"name": "cat", "superclasses": ["small; soft"]}, {"name": "dog"}, {"name": "bus"}, {"name": "truck"}]
    Path("classes.csv").write_text(json.dumps({"classes": [*rows, {"name": "vase"}]}))

    with pytest.raises(InvalidInput, match="'small; soft' contains a semicolon"):
        from_confusions()
    assert not Path("out.csv").exists()


def test_existing_file_is_unchanged_without_force(folder: Path) -> None:
    Path("out.csv").write_text("edited")

    with pytest.raises(InvalidInput, match=r"out\.csv exists\. .* --force"):
        from_confusions()

    assert Path("out.csv").read_text() == "edited"
    assert from_confusions("--force").exit_code == 0
    assert Path("out.csv").read_text().startswith("class,name,superclasses\n")


def test_force_replaces_the_target_of_a_symbolic_link(folder: Path) -> None:
    Path("out.csv").symlink_to("target.csv")

    assert from_confusions("--force").exit_code == 0
    assert Path("out.csv").is_symlink()
    assert Path("target.csv").read_text().startswith("class,name,superclasses\n")


def test_output_is_stdout_or_a_file_in_a_folder(folder: Path) -> None:
    assert from_confusions().exit_code == 0
    content = Path("out.csv").read_text()

    to_stdout = from_confusions("--output", "-")
    (folder / "existing").mkdir()
    to_folders = [from_confusions("--output", name) for name in ("existing", "new/")]

    assert (to_stdout.stdout, Path("-").exists()) == (content, False)
    assert "Written" not in to_stdout.stderr and "1 superclass for 2 of 5 classes" in to_stdout.stderr
    assert [run_result.exit_code for run_result in to_folders] == [0, 0]
    assert [Path(name, "superclasses.csv").read_text() for name in ("existing", "new")] == [content] * 2
    with pytest.raises(InvalidInput, match=r"existing/superclasses\.csv exists\."):
        from_confusions("--output", "existing")


def test_output_and_json_cannot_both_go_to_stdout(folder: Path) -> None:
    with pytest.raises(InvalidRequest, match="Several documents"):
        from_confusions("--output", "-", "--json")


def test_json_has_the_counts(folder: Path) -> None:
    output = json.loads(from_confusions("--json").stdout)

    assert output == {
        "output": "out.csv",
        "origin": "the confusions in predictions.csv",
        "superclasses": 1,
        "classes_with_proposal": 2,
        "classes": 5,
        "notes": [],
    }


def test_names_give_superclasses_with_an_encoder(folder: Path) -> None:
    result = run(
        *("--classes", "classes.csv", "--encoder", "service.evidence.encoder:HashEncoder", "--output", "out.csv")
    )

    assert result.exit_code == 0
    assert "proposed from the similarity of class names according to service.evidence.encoder:HashEncoder" in (
        result.stderr
    )
    read_superclasses(Path("out.csv"), read_classes(Path("classes.csv"), "mine"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--labels", "labels.csv"], "Add --predictions FILE"),
        (["--predictions", "predictions.csv"], "Add --labels FILE"),
        (["--labels", "labels.csv", "--predictions", "predictions.csv", "--encoder", "a:B"], "not both"),
        (["--labels", "bad.csv", "--predictions", "predictions.csv"], r"bad\.csv, line 2: unknown class 'cow'"),
        (["--encoder", "nothing"], "MODULE:CLASS"),
    ],
)
def test_invalid_input_is_refused(folder: Path, arguments: list[str], message: str) -> None:
    Path("bad.csv").write_text("file_name,labels\n1.jpg,cow\n")

    with pytest.raises(InvalidInput, match=message):
        run("--classes", "classes.csv", "--output", "out.csv", *arguments)

    assert not Path("out.csv").exists()


def test_classes_with_superclasses_need_no_proposal(folder: Path) -> None:
    Path("classes.csv").write_text("name,superclass\ncat,pets\ndog,pets\n")

    with pytest.raises(InvalidInput, match="all classes have superclasses"):
        run("--classes", "classes.csv", "--output", "out.csv")


def test_without_wordnet_the_names_of_imagenet_are_known(folder: Path, no_wordnet: None) -> None:
    Path("classes.csv").write_text("name\ntench\ngoldfish\ngreat white shark\ntiger shark\nvase\nnothing at all\n")

    result = run("--classes", "classes.csv", "--output", "out.csv", "--max-size", "3")

    rows = csv.DictReader(Path("out.csv").read_text().splitlines())
    assert [row["superclasses"] for row in rows] == [*["bony fish"] * 2, *["cartilaginous fish"] * 2, "", ""]
    assert "Only the names of ImageNet-1k's classes and their hypernyms are known." in result.stderr.replace("\n", " ")


# quality: pairs of classes in a common superclass, compared with the 20 superclasses of CIFAR-100


def pairs(superclasses: list[str]) -> set[tuple[int, int]]:
    return {
        (a, b)
        for a, b in itertools.combinations(range(len(superclasses)), 2)
        if {*superclasses[a].split(";")} & {*superclasses[b].split(";")} - {""}
    }


def precision_and_recall(cifar100: Path, *arguments: str) -> tuple[float, float]:
    with (cifar100 / "classes.csv").open() as file:
        rows = list(csv.DictReader(file))
    Path("names.csv").write_text("\n".join(["name", *(row["name"] for row in rows)]))

    run("--classes", "names.csv", "--output", "out.csv", *arguments)

    space = read_classes(Path("names.csv"), "mine")
    assert len(read_superclasses(Path("out.csv"), space).superclasses.ids) > 10
    with Path("out.csv").open() as file:
        proposed = pairs([row["superclasses"] for row in csv.DictReader(file)])
    true = pairs([row["superclass"] for row in rows])
    return len(proposed & true) / len(proposed), len(proposed & true) / len(true)


@pytest.fixture
def cifar100() -> Path:
    folder = Path(os.environ.get("ERRATA_REFERENCE_DIR", "")) / "cifar100"
    if not (folder / "classes.csv").is_file():
        pytest.skip("set ERRATA_REFERENCE_DIR to the folder with the reference data")
    return folder


@pytest.mark.slow
def test_wordnet_finds_almost_half_of_the_pairs_of_cifar100(
    folder: Path, cifar100: Path, wordnet_in_environment: None
) -> None:
    precision, recall = precision_and_recall(cifar100)

    assert (round(precision, 2), round(recall, 2)) == (0.47, 0.44)


def test_a_model_that_confuses_classes_in_pairs_gives_superclasses_although_it_looks_implausible(folder: Path) -> None:
    Path("classes.csv").write_text("name\n" + "".join(f"c{number}\n" for number in range(12)))
    images = [(f"{image:02}.jpg", image % 12) for image in range(60)]
    Path("labels.csv").write_text("file_name,labels\n" + "".join(f"{name},{target}\n" for name, target in images))
    Path("predictions.csv").write_text(
        "file_name,top1\n" + "".join(f"{name},{target ^ 1}\n" for name, target in images)
    )

    files = ("--classes", "classes.csv", "--labels", "labels.csv", "--predictions", "predictions.csv")
    result = run(*files, "--output", "superclasses.csv")

    assert result.exit_code == 0, result.output
    assert "6 superclasses for 12 of 12 classes" in result.output


def test_confusions_find_two_fifths_of_the_pairs_of_cifar100(folder: Path, cifar100: Path) -> None:
    files = ("--labels", str(cifar100 / "labels.csv"), "--predictions", str(cifar100 / "predictions.csv"))

    precision, recall = precision_and_recall(cifar100, *files)

    assert (round(precision, 2), round(recall, 2)) == (0.45, 0.41)  # the model confuses 24 groups of 2 to 10 classes
