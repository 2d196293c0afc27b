"""A data set with its own classes over a socket: catalog, filters, explanations, exports, and pages."""

import csv
import io
import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from errata import Client, errors, pb
from errata.cli.classes import class_lines
from errata.cli.folder import VerdictSelection, find_verdict, read_classes, select_verdicts, write_folder
from running_service import Running, start_service
from unusual_classes import (
    CLASSES,
    DATASET,
    HTML,
    LONG,
    NAMES,
    PREDICTED,
    TARGETS,
    label_space,
    upload_text,
    write_own_bundle,
)

from service.cli.folders import compare_folders

CLASS_NAMES = [str(row["name"]) for row in CLASSES]
FORMS = ["sku-1", "0", "running shoe", "Running_Shoe", "trainer"]  # of the first class


@pytest.fixture(scope="module")
def service(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    bundle = tmp_path_factory.mktemp("own") / "bundle"
    write_own_bundle(bundle)
    archive = tmp_path_factory.mktemp("archive")
    with start_service(data_dir, archive, evidence={DATASET: [str(bundle)]}) as running:
        yield running


@pytest.fixture(scope="module")
def client(service: Running) -> Client:
    return service.client


@pytest.fixture(scope="module")
def name(client: Client) -> str:
    return client.upload(io.BytesIO(upload_text()), DATASET).name


def test_the_catalog_has_the_label_space_of_each_data_set(client: Client) -> None:
    own, demo, evidence = client.dataset(DATASET), client.dataset("demo"), client.evidence(DATASET)

    assert (own.label_space, own.num_classes) == (DATASET, 8)
    assert (demo.label_space, demo.num_classes) == ("imagenet-1k", 1000)
    assert (evidence.label_space, evidence.num_classes) == (DATASET, 8)
    assert own in client.datasets()


def test_classes_are_listed_in_pages_and_found_by_id_name_and_index(client: Client) -> None:
    evidence = client.evidence(DATASET)
    classes = client.classes(DATASET)
    page = client._catalog.ListClasses(pb.ListClassesRequest(parent=evidence.name, page_size=3))
    rest = client._catalog.ListClasses(
        pb.ListClassesRequest(parent=evidence.name, page_size=100, page_token=page.next_page_token)
    )

    assert [item.display_name for item in classes] == CLASS_NAMES
    assert [item.class_id for item in classes] == [row["id"] for row in CLASSES]
    assert [item.name for item in classes] == [f"{evidence.name}/classes/{index}" for index in range(8)]
    assert [*page.classes, *rest.classes] == classes == client.classes(DATASET, evidence.digest[:12])
    assert (len(page.classes), rest.next_page_token) == (3, "")
    for text in (*FORMS, 0):
        assert client.find_class(DATASET, text) == classes[0]
    assert client.find_class(DATASET, "sku/7") == classes[6]
    assert client.find_class(DATASET, HTML) == classes[2]
    assert [*class_lines(classes)][:2] == [
        "index\tID\tname\tsuperclasses\tgroups",
        "0\tsku-1\trunning shoe\tshoes\tfootwear",
    ]


def test_all_classes_of_imagenet_take_one_call(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    list_classes = Mock(wraps=client._catalog.ListClasses)
    monkeypatch.setattr(client._catalog, "ListClasses", list_classes)

    assert len(client.classes("demo")) == 1000
    assert list_classes.call_count == 1


@pytest.mark.parametrize(
    ("parent", "error"),
    [
        ("", errors.InvalidRequest),
        (f"datasets/{DATASET}", errors.InvalidRequest),
        ("datasets/none/evidence/default", errors.DatasetNotFound),
        (f"datasets/{DATASET}/evidence/{'0' * 64}", errors.EvidenceNotFound),
    ],
)
def test_classes_of_another_parent_are_rejected(client: Client, parent: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        client._call(client._catalog.ListClasses, pb.ListClassesRequest(parent=parent))


@pytest.mark.parametrize("text", FORMS)
def test_verdicts_are_filtered_and_predictions_explained_by_id_name_and_index(
    client: Client, name: str, text: str
) -> None:
    assert [verdict.file_name for verdict in client.verdicts(name, target=text)] == NAMES[:2]
    assert [verdict.file_name for verdict in client.verdicts(name, predicted=text)] == [NAMES[0], NAMES[7], NAMES[8]]
    explained = client.explain(name, NAMES[2], text)
    assert (explained.predicted, explained.predicted_name, explained.error_type) == (0, "running shoe", "fine_grained")
    assert explained == client.explain_prediction(DATASET, NAMES[2], text)
    assert list(explained.evidence.shared_superclasses[0].superclasses) == ["shoes"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("crane", r"2 classes match 'crane': index 3 \(ID 'sku-4'\), index 4 \(ID 'sku-5'\)"),
        ("3", r"2 classes match '3': index 3 \(ID 'sku-4'\), index 6 \(ID '3'\)"),
        ("8", "an index from 0 to 7"),
        ("n01440764", "an index from 0 to 7"),
        ("runing shoe", "Similar names: running shoe"),
    ],
)
def test_another_class_is_rejected_with_candidates(client: Client, name: str, text: str, problem: str) -> None:
    calls = (
        lambda: next(client.verdicts(name, target=text)),
        lambda: next(client.verdicts(name, predicted=text)),
        lambda: b"".join(client.export(name, target=text)),
        lambda: client.explain(name, NAMES[0], text),
        lambda: client.explain_prediction(DATASET, NAMES[0], text),
        lambda: client.find_class(DATASET, text),
    )
    for call in calls:
        with pytest.raises(errors.InvalidRequest, match=problem):
            call()


def test_an_unknown_superclass_is_rejected_with_an_example(client: Client, name: str) -> None:
    assert len([*client.verdicts(name, superclass=HTML)]) == 1
    with pytest.raises(errors.InvalidRequest, match="Expected one such as 'shoes'"):
        next(client.verdicts(name, superclass="dogs"))


def test_the_example_of_a_superclass_is_the_most_similar_one(client: Client, name: str) -> None:
    with pytest.raises(errors.InvalidRequest, match=re.escape(f"Expected one such as {HTML!r}")):
        next(client.verdicts(name, superclass=HTML[1:]))


@pytest.mark.parametrize("with_evidence", [False, True])
def test_exports_have_the_names_of_the_classes(client: Client, name: str, with_evidence: bool) -> None:
    lines = [json.loads(line) for line in b"".join(client.export(name, with_evidence=with_evidence)).splitlines()]
    parquet = b"".join(client.export(name, pb.VERDICT_FORMAT_PARQUET, with_evidence=with_evidence))
    arrow = b"".join(client.export(name, pb.VERDICT_FORMAT_ARROW, with_evidence=with_evidence))
    tables = [pq.read_table(io.BytesIO(parquet)), pa.ipc.open_stream(arrow).read_all()]

    targets, predicted = ([CLASS_NAMES[index] for index in column] for column in (TARGETS, PREDICTED))
    assert [line["target_name"] for line in lines] == targets
    assert [line["predicted_name"] for line in lines] == predicted
    for table in tables:
        assert table["target_name"].to_pylist() == targets
        assert table["predicted_name"].to_pylist() == predicted
        assert table["effective_target_name"].to_pylist() == targets
        if with_evidence:
            assert [[label["class_name"] for label in row] for row in table["labels"].to_pylist()] == [
                [text] for text in targets
            ]


def test_a_csv_export_has_the_names_of_the_classes(client: Client, name: str) -> None:
    text = b"".join(client.export(name, pb.VERDICT_FORMAT_CSV)).decode()

    rows = [*csv.DictReader(io.StringIO(text))]
    assert [row["target_name"] for row in rows] == [CLASS_NAMES[index] for index in TARGETS]


def test_the_breakdown_has_the_classes_and_superclasses(client: Client, name: str) -> None:
    classes, superclasses = client.breakdown(name, "class").rows, client.breakdown(name, "superclass").rows

    assert [(row.class_index, row.display_name) for row in classes] == [*enumerate(CLASS_NAMES)]
    assert [(row.display_name, row.num_samples) for row in superclasses] == [("shoes", 4), (HTML, 1)]


def read(service: Running, path: str) -> str:
    with urllib.request.urlopen(f"http://{service.addresses.http}{path}") as response:
        return str(response.read().decode())


def test_pages_escape_names_and_show_ids_beside_equal_names(service: Running, client: Client, name: str) -> None:
    other = client.upload(io.BytesIO(upload_text().replace(b"4,0.5", b"sku-4,0.5", 1)), DATASET).name
    pages = [
        read(service, f"/{name}"),
        read(service, f"/{name}/errors/image%204.jpg"),
        read(service, f"/compare/{name.removeprefix('analyses/')}/{other.removeprefix('analyses/')}"),
    ]

    for page in pages:
        assert HTML not in page
        assert LONG not in page
    assert "crane (sku-4)" in pages[0] and "crane (sku-5)" in pages[0]
    assert "crane (sku-4)" in pages[1]
    assert f"{LONG[:59]}…" in pages[0]
    for word in ("1000", "WordNet", "wnid", "0 to 999"):
        assert word not in pages[0].partition('<script type="application/json"')[0].partition("</style>")[2], word


def test_a_folder_works_without_a_service(client: Client, name: str, tmp_path: Path) -> None:
    write_folder(client, client.get(name), tmp_path)

    assert read_classes(tmp_path) == client.classes(DATASET)
    for text in FORMS:
        verdicts = select_verdicts(tmp_path, VerdictSelection(frozenset(), target=text))
        assert [verdict.file_name for verdict in verdicts] == NAMES[:2]
    assert find_verdict(tmp_path, NAMES[5]).target_name == "crane"
    comparison, html = compare_folders(tmp_path, tmp_path, with_report=True)
    assert comparison == client.compare(name, name).message
    assert b"<script>alert" not in html


def test_two_classes_without_superclasses_and_groups_are_a_data_set(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row | {"superclasses": [], "groups": []} for row in CLASSES[:2]]
    write_own_bundle(tmp_path / "bundle", label_space(rows, "two"), [0, 1, 1, 0])
    lines = [f"{name},{top1}\n" for name, top1 in zip(NAMES, (0, 1, 0, 1), strict=False)]
    content = "".join(["file_name,predicted_class\n", *lines])
    with start_service(data_dir, tmp_path / "archive", evidence={DATASET: [str(tmp_path / "bundle")]}) as running:
        client = running.client
        analysis = client.upload(io.BytesIO(content.encode()), DATASET, accept_implausible=True)
        page = read(running, f"/{analysis.name}")

        assert [verdict.error_type for verdict in client.verdicts(analysis.name)] == [
            "correct",
            "correct",
            "model_failure",
            "model_failure",
        ]
        assert client.dataset(DATASET).num_classes == 2
        assert [*analysis.summary.groups] == ["all"]
        with pytest.raises(errors.InvalidRequest, match="The bundle has no superclasses"):
            next(client.verdicts(analysis.name, superclass="shoes"))
        assert ">Classes</h2>" in page and "Superclasses and classes" not in page
