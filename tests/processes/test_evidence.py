"""Builds of evidence and analyses with it on the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from demo_predictions import write_predictions

from service.evidence.agreement import agreement_to_plain, shipped_agreement
from service.evidence.bundle import Bundle

from .conftest import Errata, Serving, serving

ANNOTATIONS = ("human_accuracy_v3.0.0.json", "multilabel.csv")


@pytest.fixture
def predictions(demo: Bundle, tmp_path: Path) -> Path:
    """A predictions file for the 20 photographs with two errors."""
    return write_predictions(demo, 2, tmp_path / "predictions.csv")


@pytest.fixture
def build(errata: Errata, tmp_path: Path) -> Callable[[str, str], str]:
    """Return a function that builds a bundle of the 20 photographs with a grouping and returns its path."""

    def make_csv(name: str, grouping: str) -> str:
        (tmp_path / f"{name}.json").write_text(grouping)
        bundle = str(tmp_path / name)
        file = str(tmp_path / f"{name}.json")
        done = errata("evidence", "build", "--dataset", "demo", "--superclasses", file, "--output", bundle)
        assert done.returncode == 0, done.stderr
        return bundle

    return make_csv


def test_both_layouts_of_the_annotation_give_the_same_valid_bundle(
    errata: Errata, reference: Path, tmp_path: Path
) -> None:
    built = []
    for name in ANNOTATIONS:
        done = errata(
            "evidence",
            "build",
            "--dataset",
            "imagenet",
            "--annotations",
            str(reference / "imagenet-multilabel" / name),
            "--mistakes",
            str(reference / "imagenet-mistakes" / "metadata"),
            "--output",
            str(tmp_path / name),
            "--json",
        )
        assert done.returncode == 0, done.stderr
        built.append(json.loads(done.stdout))

    first, second = built
    assert first["digest"] == second["digest"]
    assert first["abstained"] == ["fine_grained_oov"]
    assert first["counts"]["judged"] == 20_000
    assert first["counts"]["problematic"] == 1_308
    assert first["counts"]["images"] == 50_000
    assert [(source["display_name"], source["license"]) for source in first["sources"]] == [
        ("WordNet 3.0", "WordNet 3.0 license"),
        ("superclasses", "Apache-2.0"),
        ("co-occurrence", "Apache-2.0"),
        ("multi-label annotation", "Apache-2.0"),
        ("non-prototypical images", "Apache-2.0"),
        ("non-prototypical images", "Apache-2.0"),
    ]
    assert errata("evidence", "verify", str(tmp_path / ANNOTATIONS[0])).returncode == 0


def test_agreement_with_experts_is_measured_and_their_judgment_is_explained(
    errata: Errata, reference: Path, tmp_path: Path
) -> None:
    bundle, metadata = str(tmp_path / "bundle"), reference / "imagenet-mistakes" / "metadata"
    annotations = str(reference / "imagenet-multilabel" / ANNOTATIONS[0])
    inputs = ("--dataset", "imagenet", "--annotations", annotations, "--mistakes", str(metadata))
    assert errata("evidence", "build", *inputs, "--output", bundle).returncode == 0
    judged = json.loads((metadata / "vit3b_mistakes.json").read_text())
    image, entry = next(item for item in judged.items() if item[1]["failure category"] == "Spurious Correlation")
    predicted = str(entry["top_prediction"])

    measured = errata("evidence", "agreement", bundle, "--json")
    table = errata("evidence", "agreement", bundle, "--mistakes", str(metadata))
    explained = errata("explain", image, "--local", "--evidence", bundle, "--predicted", predicted)
    plain = errata("explain", image, "--local", "--evidence", bundle, "--predicted", predicted, "--json")

    assert json.loads(measured.stdout) == agreement_to_plain(shipped_agreement())
    assert "Of 484 predictions that experts judged, the rules explain 359" in table.stdout
    severity = entry["failure severity"]
    assert f"Experts judged this prediction: spurious correlation, {severity.lower()}." in explained.stdout
    assert json.loads(plain.stdout)["evidence"]["expert_judgment"] == {
        "error_type": "spurious_correlation",
        "severity": f"EXPERT_SEVERITY_{severity.upper()}",
    }


def test_a_bundle_of_the_annotation_judges_a_resnet50(errata: Errata, reference: Path, tmp_path: Path) -> None:
    bundle = str(tmp_path / "bundle")
    annotations = str(reference / "imagenet-multilabel" / ANNOTATIONS[0])
    errata("evidence", "build", "--dataset", "imagenet", "--annotations", annotations, "--output", bundle)
    file = str(reference / "predictions" / "imagenet_val_resnet50_cv.csv")

    done = errata("analyze", "--local", "--predictions", file, "--dataset", "imagenet", "--evidence", bundle, "--json")

    summary = json.loads(done.stdout)["summary"]
    everything = summary["groups"]["all"]
    assert {name: group["num_samples"] for name, group in summary["groups"].items()} == {
        "all": 18_692,
        "organism": 7_624,
        "artifact": 10_184,
        "other": 1_596,
    }
    assert summary["num_problematic"] == 1_308
    assert sum(everything["counts"].values()) == 18_692
    assert everything["gain_if_fixed_top1"]["model_failure"] == pytest.approx(
        everything["counts"]["model_failure"] / 18_692
    )


def test_an_analysis_is_reanalyzed_with_another_bundle_of_a_server(
    errata: Errata, build: Callable[[str, str], str], predictions: Path, data_dir: Path, tmp_path: Path
) -> None:
    bundles = [build("apart", '{"none": [["no_such_lemma"]]}\n'), build("alike", '{"all": [["entity"]]}\n')]
    digests = [json.loads((Path(bundle) / "manifest.json").read_text())["digest"] for bundle in bundles]
    evidence = json.dumps({"demo": bundles})
    with serving(data_dir, tmp_path / "archive", ERRATA_EVIDENCE=evidence) as service:
        server = ("--server", service.grpc, "--json")
        before = json.loads(errata("analyze", "--predictions", str(predictions), "--dataset", "demo", *server).stdout)

        done = errata("reanalyze", before["name"], "--evidence", digests[1][:12], *server)
        unknown = errata("reanalyze", before["name"], "--evidence", "ffff", *server)

    after = json.loads(done.stdout)
    assert done.returncode == 0
    assert [before["evidence"], after["evidence"]] == [f"datasets/demo/evidence/{digest}" for digest in digests]
    assert after["name"] != before["name"]
    assert after["predictions_digest"] == before["predictions_digest"]
    assert before["summary"]["groups"]["all"]["counts"]["fine_grained"] == 0
    assert after["summary"]["groups"]["all"]["counts"]["fine_grained"] == 2
    assert unknown.returncode == 2
    assert unknown.stdout == ""


def test_an_analysis_is_reanalyzed_with_a_bundle_at_a_path(
    errata: Errata, build: Callable[[str, str], str], predictions: Path
) -> None:
    """With --local, BUNDLE is a path."""
    alike = build("alike", '{"all": [["entity"]]}\n')
    before = json.loads(
        errata("analyze", "--local", "--predictions", str(predictions), "--dataset", "demo", "--json").stdout
    )

    done = errata("reanalyze", before["name"], "--local", "--evidence", alike, "--json")

    assert done.returncode == 0, done.stderr
    after = json.loads(done.stdout)
    assert after["evidence"].endswith(json.loads((Path(alike) / "manifest.json").read_text())["digest"])
    assert after["summary"]["groups"]["all"]["counts"]["fine_grained"] == 2


def test_verdicts_are_shown_by_superclass_and_by_class(
    errata: Errata, server: Serving, predictions: Path, demo: Bundle
) -> None:
    at = ("--server", server.grpc)
    analysis = errata("analyze", *at, "--predictions", str(predictions), "--dataset", "demo", "--json")
    name = json.loads(analysis.stdout)["name"]

    by_superclass = json.loads(errata("show", name, "--by", "superclass", "--json", *at).stdout)["rows"]
    by_class = json.loads(errata("show", name, "--by", "class", "--json", *at).stdout)["rows"]
    table = errata("show", name, "--by", "class", *at)

    assert [row["display_name"] for row in by_superclass] == list(demo.manifest.superclasses)
    assert all("class_index" not in row for row in by_superclass)
    assert [row["class_index"] for row in by_class] == sorted(set(demo.all_targets.tolist()))
    assert sum(row["num_samples"] for row in by_class) == 20
    assert sum(row["counts"]["correct"] for row in by_class) == 18
    assert sum(sum(row["gain_if_fixed_top1"].values()) for row in by_class) == pytest.approx(2 / 20)
    assert table.returncode == 0
    assert all(row["display_name"] in table.stdout for row in by_class)


def test_a_custom_data_set_is_judged_at_a_path(errata: Errata, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file_name,labels\na.jpg,207\nb.jpg,n02099601 417\n")
    (tmp_path / "predictions.csv").write_text("file_name,top1\na.jpg,207\nb.jpg,417\n")
    bundle, labels = str(tmp_path / "bundle"), str(tmp_path / "labels.csv")

    built = errata("evidence", "build", "--dataset", "street", "--labels", labels, "--output", bundle, "--json")
    done = errata(
        "analyze",
        "--local",
        "--predictions",
        str(tmp_path / "predictions.csv"),
        "--dataset",
        "street",
        "--evidence",
        bundle,
        "--json",
    )

    counts = json.loads(done.stdout)["summary"]["groups"]["all"]["counts"]
    assert built.returncode == done.returncode == 0
    assert json.loads(built.stdout)["counts"]["judged"] == 2
    assert {name: count for name, count in counts.items() if count} == {"correct": 1, "multi_label": 1}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("--dataset imagenet", "The data set imagenet needs the multi-label annotation. Add --annotations FILE."),
        ("--dataset imagenet-a", "The data set imagenet-a needs its images. Add --images DIR"),
        ("--dataset imagenet-v2", "The data set imagenet-v2 needs its images. Add --images DIR"),
        ("--dataset cifar-100 --images nowhere", "Folder of images 'nowhere' not found. Check the path of --images."),
        ("--dataset street", "Unknown data set 'street'."),
        ("--dataset demo --labels nowhere.csv", "The data set demo has built-in labels."),
        ("--dataset street --labels nowhere.csv", "Cannot read nowhere.csv: No such file or directory."),
        ("--dataset ../street --labels nowhere.csv", "Invalid data set name '../street'."),
        ("--dataset imagenet --annotations nowhere.json", "Cannot read nowhere.json: No such file or directory. Check"),
        ("--dataset demo --artefacts nowhere", "Artifact folder 'nowhere' not found. Check the path of --artefacts."),
        ("--dataset demo --superclasses nowhere.json", "Cannot read nowhere.json: No such file or directory. Check"),
        ("--dataset demo --mistakes nowhere", "Folder of mistakes 'nowhere' not found. Check the path of --mistakes."),
        (
            "--dataset demo --train-images nowhere --encoder no.such.module:Encoder",
            "Cannot create the encoder 'no.such.module:Encoder': ModuleNotFoundError: No module named 'no'.",
        ),
    ],
)
def test_a_build_with_missing_inputs_exits_with_2_without_leftovers(
    errata: Errata, tmp_path: Path, arguments: str, problem: str
) -> None:
    done = errata("evidence", "build", *arguments.split(), "--output", str(tmp_path / "bundle"))

    assert done.returncode == 2
    assert problem in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "bundle").exists()


CLASSES = """id,name,synonyms,superclasses,groups
sku-1,water bottle,flask,dishes,a
sku-2,cup,,dishes,b
sku-3,spoon,,,c
"""
LABELS = "file_name,target,labels,problematic\na.jpg,cup,flask,\nb.jpg,cup,cup;spoon,\nc.jpg,2,,blurred\n"


@pytest.fixture
def products(tmp_path: Path) -> tuple[str, ...]:
    """Options that build a bundle of three images with own classes."""
    (tmp_path / "classes.csv").write_text(CLASSES)
    (tmp_path / "labels.csv").write_text(LABELS)
    files = ("--classes", str(tmp_path / "classes.csv"), "--labels", str(tmp_path / "labels.csv"))
    return ("--dataset", "products", *files)


def test_own_classes_are_built_shown_and_verified(errata: Errata, tmp_path: Path, products: tuple[str, ...]) -> None:
    (tmp_path / "overlaps.csv").write_text("class,also_correct\ncup,flask\n")
    (tmp_path / "training.csv").write_text("file_name,labels\nx,1;2\n")
    (tmp_path / "groups.csv").write_text("class,groups\n0,drinks\n")
    (tmp_path / "superclasses.csv").write_text("class,superclasses\nspoon,cutlery\n")
    bundle = str(tmp_path / "bundle")
    files = ("overlaps", "groups", "superclasses")
    options = [text for name in files for text in (f"--{name}", str(tmp_path / f"{name}.csv"))]
    options += ["--cooccurrence", str(tmp_path / "training.csv"), "--min-cooccurrence", "1"]

    built = errata("evidence", "build", *products, *options, "--output", bundle, "--json")
    shown = errata("evidence", "show", bundle)
    verified = errata("evidence", "verify", bundle)

    assert (built.returncode, shown.returncode, verified.returncode) == (0, 0, 0), built.stderr
    counts = {"images": 3, "judged": 3, "problematic": 1, "rejected_targets": 1, "classes": 3, "superclasses": 2}
    assert json.loads(built.stdout)["counts"] == counts | {"co_occurrence_pairs": 1}
    assert "label space: products, 3 classes" in shown.stdout
    assert "images with verdicts: 3\n" in shown.stdout
    assert "label space: products, 3 classes" in verified.stderr
    for name in ("classes", "labels", "training", *files):
        assert f"local file {name}.csv" in shown.stdout


def test_a_folder_with_other_files_is_not_replaced(errata: Errata, tmp_path: Path, products: tuple[str, ...]) -> None:
    bundle = tmp_path / "bundle"
    errata("evidence", "build", *products, "--output", str(bundle))
    (bundle / "notes.txt").write_text("mine")

    done = errata("evidence", "build", *products, "--output", str(bundle))

    assert done.returncode == 2
    assert "has other files than the bundle: notes.txt. Move them" in " ".join(done.stderr.split())
    assert (bundle / "notes.txt").read_text() == "mine"
    (bundle / "notes.txt").unlink()
    assert errata("evidence", "build", *products, "--output", str(bundle)).returncode == 0


def test_own_classes_are_served(errata: Errata, tmp_path: Path, products: tuple[str, ...]) -> None:
    bundle = str(tmp_path / "bundle")
    (tmp_path / "predictions.csv").write_text("file_name,top1\na.jpg,1\nb.jpg,2\nc.jpg,1\n")
    errata("evidence", "build", *products, "--output", bundle)

    predictions = str(tmp_path / "predictions.csv")
    done = errata(
        "analyze", "--local", "--predictions", predictions, "--dataset", "products", "--evidence", bundle, "--json"
    )

    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)["summary"]["groups"]["all"]
    assert {name: count for name, count in summary["counts"].items() if count} == {"fine_grained": 1, "multi_label": 1}


def test_problems_of_classes_are_listed_with_their_lines(errata: Errata, tmp_path: Path) -> None:
    (tmp_path / "classes.csv").write_text("name,groups\na,\na,\nb,all\n")
    (tmp_path / "labels.csv").write_text("file_name,labels\nx,a\n")
    files = ("--classes", str(tmp_path / "classes.csv"), "--labels", str(tmp_path / "labels.csv"))

    done = errata("evidence", "build", "--dataset", "mine", *files, "--output", str(tmp_path / "bundle"))

    assert done.returncode == 2
    assert "classes.csv, line 3: duplicate name 'a', also on line 2" in done.stderr
    assert "line 4: the group 'all' is reserved" in done.stderr
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--annotations", "x"), "Leave it out with --classes"),
        (("--mistakes", "x"), "Leave it out with --classes"),
        (("--artefacts", "x"), "Leave it out with --classes"),
        (("--cooccurrence", "nowhere"), "Cannot read nowhere"),
        (("--min-cooccurrence", "0"), "not in the range"),
        (("--superclasses", "nowhere"), "Cannot read nowhere"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_options_that_make_no_sense_with_own_classes_exit_with_2(
    errata: Errata, tmp_path: Path, products: tuple[str, ...], options: tuple[str, ...], words: str
) -> None:
    done = errata("evidence", "build", *products, *options, "--output", str(tmp_path / "bundle"))

    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
