"""Own label spaces in a running service: uploads, statistics, exports, reports, and pages."""

import csv
import io
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from errata import errors, pb
from label_space_strategy import write_csv
from running_service import Start

from service.bootstrap.build import Inputs, build_evidence
from service.evidence.bundle import Bundle

from .test_pages import request

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(1)>'
CLASSES = [
    {"id": "sku-1", "name": "polar bear", "synonyms": "white bear", "superclasses": "bears;Arktis", "groups": "a b"},
    {"id": "sku-2", "name": "brown bear", "synonyms": "", "superclasses": "bears", "groups": "a b"},
    {"id": "sku-3", "name": "熊猫", "synonyms": "panda", "superclasses": "", "groups": "Süden"},
    {"id": "sku-4", "name": "crane", "synonyms": "", "superclasses": "", "groups": ""},
    {"id": "sku-5", "name": "crane", "synonyms": "", "superclasses": "Arktis", "groups": "Süden"},
]
LABELS = [
    {"file_name": "1.png", "target": "0", "labels": "0"},
    {"file_name": "2.png", "target": "0", "labels": "0"},
    {"file_name": "3.png", "target": "0", "labels": "polar bear;panda"},
    {"file_name": "4.png", "target": "sku-4", "labels": "sku-2"},  # a rejected target
    {"file_name": "5.png", "target": "sku-4", "labels": "sku-2"},
    {"file_name": "6.png", "target": "sku-3", "labels": "sku-3"},
]
PREDICTED = {  # image -> the text of the class, and the error type
    "1.png": ("sku-1", "correct"),
    "2.png": ("brown bear", "fine_grained"),
    "3.png": ("panda", "multi_label"),
    "4.png": ("sku-4", "model_failure"),  # the rejected target
    "5.png": ("1", "multi_label"),
    "6.png": ("white bear", "model_failure"),
}


def build(folder: Path, classes: list[dict[str, str]], labels: list[dict[str, str]], dataset: str = "odd") -> Bundle:
    inputs = Inputs(classes=write_csv(folder / "classes.csv", classes), labels=write_csv(folder / "labels.csv", labels))
    return build_evidence(dataset, inputs, folder / "bundle")


def predictions(predicted: dict[str, str]) -> io.BytesIO:
    text = io.StringIO()
    csv.writer(text).writerows([("file_name", "predicted_class"), *predicted.items()])
    return io.BytesIO(text.getvalue().encode())


def texts() -> dict[str, str]:
    return {name: text for name, (text, _) in PREDICTED.items()}


def test_predictions_name_classes_by_id_name_synonym_and_index(start: Start, tmp_path: Path) -> None:
    bundle = build(tmp_path, CLASSES, LABELS)
    with start(evidence={"odd": [str(bundle.path)]}) as service:
        analysis = service.client.upload(predictions(texts()), "odd")
        verdicts = {verdict.file_name: verdict for verdict in service.client.verdicts(analysis.name)}
        rows = b"".join(service.client.export(analysis.name, pb.VERDICT_FORMAT_JSONL)).decode().splitlines()

    assert {name: verdict.error_type for name, verdict in verdicts.items()} == {
        name: error_type for name, (_, error_type) in PREDICTED.items()
    }
    named = {row["file_name"]: (row["target_name"], row["predicted_name"]) for row in map(json.loads, rows)}
    assert named["6.png"] == ("熊猫", "polar bear")
    assert named["4.png"] == ("crane", "crane")


def test_statistics_have_the_groups_of_the_label_space_and_three_accuracies(start: Start, tmp_path: Path) -> None:
    bundle = build(tmp_path, CLASSES, LABELS)
    with start(evidence={"odd": [str(bundle.path)]}) as service:
        summary = service.client.upload(predictions(texts()), "odd").summary

    assert {*summary.groups} == {"all", "a b", "Süden"}
    assert {name: group.num_samples for name, group in summary.groups.items()} == {"all": 6, "a b": 5, "Süden": 2}
    every = summary.groups["all"]
    assert every.top1_accuracy == pytest.approx(2 / 6)  # images 1 and 4
    assert every.accuracy_against_labels == pytest.approx(3 / 6)  # images 1, 3, and 5
    assert every.image_multi_label_accuracy == pytest.approx(3 / 6)
    assert summary.num_rejected_targets == 2


@pytest.mark.parametrize(
    ("text", "candidates"), [("crane", ["sku-4", "sku-5"]), ("Crane", ["sku-4", "sku-5"]), ("5", []), ("polar", [])]
)
def test_an_ambiguous_or_unknown_class_is_refused_with_its_row(
    start: Start, tmp_path: Path, text: str, candidates: list[str]
) -> None:
    bundle = build(tmp_path, CLASSES, LABELS)
    with start(evidence={"odd": [str(bundle.path)]}) as service, pytest.raises(errors.InvalidRow) as caught:
        service.client.upload(predictions(texts() | {"3.png": text}), "odd")

    assert caught.value.violations[0].line == 4
    assert all(candidate in str(caught.value) for candidate in candidates)
    assert "999" not in str(caught.value) and "WordNet" not in str(caught.value)


def test_html_in_names_is_escaped_in_the_report_and_on_all_pages(start: Start, tmp_path: Path) -> None:
    hostile = [SCRIPT, IMAGE, "<b>bold</b>", "{{ 7 * 7 }}"]
    classes = [
        {
            "id": f"{name}{number}",
            "name": name,
            "synonyms": f"also {name}",
            "superclasses": f"{name};super {IMAGE if number % 2 else SCRIPT}",
            "groups": f"group {SCRIPT if number % 2 else IMAGE}",
        }
        for number, name in enumerate(hostile)
    ]
    images = [f"{number} {name.replace('/', '')}.png" for number, name in enumerate(hostile)]
    labels = [
        {"file_name": image, "target": str(index), "labels": str((index + 1) % 4 if index == 2 else index)}
        for index, image in enumerate(images)
    ]
    predicted = {image: str((index + 2) % 4) for index, image in enumerate(images)}
    bundle = build(tmp_path, classes, labels)
    with start(evidence={"odd": [str(bundle.path)]}) as service:
        analysis = service.client.upload(predictions(predicted), "odd", display_name=SCRIPT)
        other = service.client.upload(predictions(dict.fromkeys(images, "0")), "odd", display_name=IMAGE)
        first, second = (name.removeprefix("analyses/") for name in (analysis.name, other.name))
        report = service.client.report(analysis.name).decode()
        paths = [
            "/",
            f"/{analysis.name}",
            f"/compare?a={first}&b={second}",
            "/trend?dataset=odd",
            f"/{analysis.name}/images",
            *(f"/datasets/odd/images/{quote(image, safe='')}?analysis={first}" for image in images),
        ]
        pages = {path: request(service, path) for path in paths}
        missing = request(service, f"/trend?dataset=odd&group={quote(SCRIPT, safe='')}")

    assert {path: page.status for path, page in pages.items()} == dict.fromkeys(paths, 200)
    assert missing.status in (200, 400)
    scripts = report.count("<script")
    assert scripts == 2  # the page's data and code
    for text in [report, missing.text, *(page.text for page in pages.values())]:
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "<b>bold" not in text
    assert "&lt;script&gt;" in report and "&lt;b&gt;bold" in report and "{{ 7 * 7 }}" in report


@pytest.mark.parametrize("on_two", [("defect", "no defect"), ("yes", "no")])
def test_a_data_set_of_two_classes_has_only_the_group_of_all_images(
    start: Start, tmp_path: Path, on_two: tuple[str, str]
) -> None:
    labels = [{"file_name": f"{number}.png", "labels": on_two[number % 2]} for number in range(10)]
    bundle = build(tmp_path, [{"name": name} for name in on_two], labels, dataset="two")
    predicted = {row["file_name"]: on_two[0] for row in labels}
    with start(evidence={"two": [str(bundle.path)]}) as service:
        analysis = service.client.upload(predictions(predicted), "two", accept_implausible=True)
        report = service.client.report(analysis.name).decode()

    assert {*analysis.summary.groups} == {"all"}
    assert analysis.summary.groups["all"].counts["model_failure"] == 5
    assert on_two[1] in report
    assert "WordNet ID" not in report and "0 to 999" not in report
