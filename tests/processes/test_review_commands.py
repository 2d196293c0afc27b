"""errata review and errata images against a real service."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Done, run_command
from running_service import Running, start_service

from service.evidence.bundle import Bundle

from .conftest import environment


@pytest.fixture(scope="module")
def service(data_dir: Path, tmp_path_factory: pytest.TempPathFactory, demo_csv: bytes) -> Iterator[Running]:
    with start_service(data_dir, tmp_path_factory.mktemp("archive")) as running:
        running.client.upload(io.BytesIO(demo_csv), "demo", display_name="model")
        yield running


def errata(service: Running, *arguments: str) -> Done:
    return run_command(arguments, environment(Path("/nonexistent"), ERRATA_SERVER=service.addresses.grpc))


def test_a_review_from_the_queue_to_the_labels(service: Running, demo: Bundle, tmp_path: Path) -> None:
    done = errata(service, "review", "queue", "demo", "--limit", "1", "--json")
    item = json.loads(done.stdout)["items"][0]
    image, predicted = item["file_name"], item["predicted_class_id"]
    assert image in errata(service, "review", "queue", "demo", "--min-agreement", "1").stdout

    done = errata(service, "review", "add", "demo", image, "--add", predicted, "--reviewer", "ann", "--json")
    review = json.loads(done.stdout[done.stdout.index("{") :])  # after the log of the service, which is in this process
    assert (review["reviewer"], review["added_classes"]) == ("ann", [predicted])
    listed = errata(service, "review", "list", "demo", image)
    assert f"adds {predicted}" in listed.stdout
    assert "ann (unauthenticated)" in listed.stdout

    output = tmp_path / "out"
    output.mkdir()
    options = ["--format", "labels-csv", "--only-reviewed", "--output", str(output)]
    assert errata(service, "review", "export", "demo", *options).returncode == 0
    assert predicted in (output / "labels.csv").read_text()

    corrected = tmp_path / "corrected.csv"
    corrected.write_text((output / "labels.csv").read_text().replace(f";{predicted}", ""))
    done = errata(service, "review", "import", "demo", str(corrected))
    assert "The reviewer is missing. Use --reviewer NAME." in done.stderr
    done = errata(service, "review", "import", "demo", str(corrected), "--reviewer", "bob")
    assert "Imported 1 review. 0 existed before." in done.stderr
    listed = errata(service, "review", "list", "demo", image, "--reviewer", "bob")
    assert f"rejects {predicted}" in listed.stdout
    bob = listed.stdout.split("bob")[0].split()[-3][:12]
    assert errata(service, "review", "undo", "demo", image, bob, "--reviewer", "bob").returncode == 0

    short = review["name"].rpartition("/")[2][:12]
    assert errata(service, "review", "undo", "demo", image, short, "--reviewer", "ann").returncode == 0
    assert "(undone)" in errata(service, "review", "list", "demo", "--reviewer", "ann").stdout
    assert errata(service, "review", "export", "demo", *options).returncode == 0
    assert (output / "labels.csv").read_text() == "file_name,target,labels,problematic\n"

    file = tmp_path / "reviews.jsonl"
    file.write_text(errata(service, "review", "export", "demo").stdout)
    assert "Imported 0 reviews. 4 existed before." in errata(service, "review", "import", "demo", str(file)).stderr


def test_errors_have_a_remedy(service: Running, demo: Bundle, tmp_path: Path) -> None:
    image = demo.judged_names[0]
    for arguments, text in (
        (["add", "demo", image, "--comment", "x"], "The reviewer is missing. Use --reviewer NAME."),
        (["add", "demo", image, "--reviewer", "ann"], "The review is empty"),
        (["add", "demo", image, "--reviewer", "ann", "--add", "nonsense"], "Unknown class 'nonsense'"),
        (["undo", "demo", image, "ffff", "--reviewer", "ann"], "errata review list"),
        (["import", "demo", str(tmp_path / "missing")], "No such file"),
        (["export", "demo", "--min-reviews", "2"], "Add --format labels-csv or labels-jsonl"),
        (["export", "demo", "--only-reviewed"], "Add --format labels-csv or labels-jsonl"),
    ):
        done = errata(service, "review", *arguments)
        assert done.returncode != 0, arguments
        assert text in done.stderr
        assert "Traceback" not in done.stderr


def test_the_images_command_shows_counts_and_limits(service: Running, demo: Bundle) -> None:
    done = errata(service, "images", "model", "--limit", "3", "--facets")
    assert done.returncode == 0
    assert "Showing 3 of 20 images" in done.stderr
    assert "error type" in done.stdout
    assert "predicted class" in done.stdout
    response = json.loads(errata(service, "images", "model", "--sort", "class", "--json").stdout)
    assert response["total_size"] == len(demo.judged_names)
    changed = errata(service, "images", "model", "--baseline", "model", "--change", "fixed", "--json")
    assert json.loads(changed.stdout)["total_size"] == 0
