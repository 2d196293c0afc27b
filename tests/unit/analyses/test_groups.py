"""Groups with any name, and none at all, in statistics, pages, comparisons, gates, trends, exports, and metrics."""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from errata.cli.folder import VerdictSelection, select_verdicts
from errata.cli.views import show_analysis
from errata.errors import InvalidPolicy, InvalidRequest
from errata.frames import analysis_rows, change_rows, comparison_rows
from errata.groups import group_title
from errata.html import analysis_html
from errata.plots import analysis_chart
from errata.proto_json import to_json
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from service import wire
from service.analyses.compare import compare_judged
from service.analyses.export import write_csv, write_jsonl
from service.analyses.gate import evaluate_gate
from service.analyses.judge import JudgedAnalysis
from service.analyses.report import comparison_report, report, trend_page, trend_report
from service.analyses.trend import TrendRequest, trend
from service.analyses.upload import upload
from service.analyses.verdicts import VerdictFilter, load_judged, select_rows
from service.archive.document import encode_document, from_document
from service.bootstrap.metrics_collectors import ResultsCollector
from service.cli.folders import compare_folders, evaluate_folder
from service.domain import (
    ALL,
    Analysis,
    AnalysisRequest,
    GateDecision,
    Labels,
    LabelSource,
    NoReferenceReason,
    StoredResult,
    create_label_space,
)
from service.evidence.build import write_bundle
from service.evidence.bundle import Bundle, open_bundle
from service.evidence.inputs import BundleInputs, LabelInputs, Source
from service.evidence.repository import EvidenceRepository
from service.report.messages.gate import gate_reason
from service.taxonomy.imagenet_1k import imagenet_1k
from service.telemetry import Metrics

from .conftest import Backend


def _export(judged: JudgedAnalysis) -> Iterator[bytes]:
    return write_jsonl(judged, partial(wire.verdict_line, names=judged.bundle.label_space.names))


ODD = (
    "fish & <b>chips</b>", "it's \"quoted\"", "two words", "größe", "日本語", "organism", "a.b", "$", "back\\slash",
    "100%", "=1+1", "all images", "other", "'; DROP TABLE analyses; --", "[bold]", "x" * 200,
)  # fmt: skip
IMAGES = 400
NUM_CLASSES = 1000


def groups_of(class_index: int, groups: Sequence[str]) -> list[str]:
    """Return the groups of a class: group g if bit g of a number is set. Class 0 has all groups."""
    code = 0xFFFF if class_index == 0 else class_index * 40_503 % 65_521
    return [group for bit, group in enumerate(groups) if code >> bit & 1]


def make_bundle(folder: Path, groups: Sequence[str]) -> Bundle:
    """Write a data set of 400 images with one label each."""
    targets = (np.arange(IMAGES) * 7 % NUM_CLASSES).astype(np.int16)
    space = imagenet_1k()
    classes = [
        {
            "id": space.ids[index],
            "name": space.names[index],
            "synonyms": space.synonyms[index],
            "superclasses": space.superclasses.names_of(index),
            "groups": groups_of(index, groups),
            "synset": "",
        }
        for index in range(NUM_CLASSES)
    ]
    label_space = create_label_space("products", classes)
    labels = LabelInputs(
        names=np.array([f"image_{number:03}.jpg".encode() for number in range(IMAGES)], dtype=np.bytes_),
        all_targets=targets,
        rows=np.arange(IMAGES, dtype=np.int32),
        labels=Labels(
            np.arange(IMAGES + 1, dtype=np.int32), targets, np.full(IMAGES, LabelSource.ORIGINAL, dtype=np.uint8)
        ),
        problematic=np.zeros(IMAGES, dtype=bool),
    )
    source = Source("labels", "synthetic", "none", "0" * 64)
    write_bundle(BundleInputs("products", labels, label_space, None, None, None, (source,)), folder)
    return open_bundle(folder)


@pytest.fixture(scope="module", params=[ODD, ()], ids=["16 groups", "no groups"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "products", request.param)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "odd", ODD)


def backend_of(bundle: Bundle, folder: Path) -> Backend:
    return Backend(EvidenceRepository({"products": [bundle.path]}, folder))


def predictions(bundle: Bundle, wrong: int) -> np.ndarray:
    """Return predictions of which the first `wrong` ones are the next class but six."""
    predicted = np.array(bundle.all_targets)
    predicted[:wrong] = (predicted[:wrong] + 6) % NUM_CLASSES
    return predicted


def send(backend: Backend, bundle: Bundle, wrong: int = 100, **fields: object) -> Analysis:
    rows = zip(bundle.judged_names, predictions(bundle, wrong).tolist(), strict=True)
    content = "file_name,top1\n" + "".join(f"{name},{predicted}\n" for name, predicted in rows)
    request = AnalysisRequest("products", **fields)  # type: ignore[arg-type]
    return upload(backend.ports, request, io.BytesIO(content.encode()))


def policy(*groups: str) -> str:
    bounds = [{"measure": "top1_accuracy", "min": 0.1, "group": group} for group in groups]
    return json.dumps({"version": 1, "min_samples": 1, "bounds": bounds})


def expected_members(bundle: Bundle) -> dict[str, set[int]]:
    """Return the images of each group, in a loop."""
    members: dict[str, set[int]] = {ALL: set(range(IMAGES))} | {group: set() for group in bundle.label_space.groups}
    for image, target in enumerate(bundle.all_targets.tolist()):
        for group in groups_of(target, bundle.label_space.groups):
            members[group].add(image)
    return members


class _Cells(HTMLParser):
    """The texts of elements, and the elements of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, text: str) -> None:
        self.texts.append(text)


def parse(html: str) -> _Cells:
    cells = _Cells()
    cells.feed(html)
    return cells


def test_summary_has_all_images_and_the_groups_of_the_label_space_in_order(bundle: Bundle, tmp_path: Path) -> None:
    analysis = send(backend_of(bundle, tmp_path), bundle)

    assert analysis.summary is not None
    members = expected_members(bundle)
    assert list(analysis.summary.groups) == [ALL, *bundle.label_space.groups] == list(members)
    for group, images in members.items():
        result = analysis.summary.groups[group]
        wrong = sum(image < 100 for image in images)
        assert (result.num_samples, result.top1_errors) == (len(images), wrong)


def test_archived_document_keeps_groups_and_their_order(bundle: Bundle, tmp_path: Path) -> None:
    analysis = send(backend_of(bundle, tmp_path), bundle)

    read = from_document(json.loads(encode_document(analysis)))

    assert analysis.summary is not None and read.summary is not None
    assert read == analysis
    assert list(read.summary.groups) == list(analysis.summary.groups)


def test_index_has_the_numbers_of_each_group(bundle: Bundle, tmp_path: Path) -> None:
    backend = backend_of(bundle, tmp_path)
    analyses = [send(backend, bundle, wrong) for wrong in (100, 200)]

    for group in expected_members(bundle):
        results = backend.ports.stores.index.results("products", bundle.digest, group)
        assert list(results) == [StoredResult.of(analysis, group) for analysis in reversed(analyses)]


def test_report_shows_group_names_as_text_and_filters_by_numbers(bundle: Bundle, tmp_path: Path) -> None:
    backend = backend_of(bundle, tmp_path)
    html = report(backend.ports, send(backend, bundle).id)

    page = parse(html)
    for group in (ALL, *bundle.label_space.groups):
        assert group_title(group) in page.texts
    assert not re.search(r"<b>chips", html)
    data = json.loads(html.split('id="errors-data"', 1)[1].split(">", 1)[1].split("</script>", 1)[0])
    assert data["group_names"] == [group_title(group) for group in bundle.label_space.groups]
    members = list(expected_members(bundle).values())[1:]
    for name, bits in zip(data["file"], data["group"], strict=True):
        image = int(re.findall(r"\d+", data["prefix"] + name + data["suffix"])[0])
        assert bits == sum(1 << bit for bit, images in enumerate(members) if image in images)
    numbers = {attributes["data-groups"] for _, attributes in page.tags if "data-groups" in attributes}
    assert {number for text in numbers for number in (text or "").split()} == set(map(str, range(len(members))))
    options = [attributes["value"] for tag, attributes in page.tags if tag == "option"]
    assert options.count("15") == bool(members)


def test_comparison_has_each_group(bundle: Bundle, tmp_path: Path) -> None:
    backend = backend_of(bundle, tmp_path)
    a, b = send(backend, bundle, 100), send(backend, bundle, 200)

    stores = backend.ports.stores
    comparison = compare_judged(load_judged(stores, a.id), load_judged(stores, b.id))

    members = expected_members(bundle)
    assert list(comparison.groups) == list(members)
    for group, images in members.items():
        assert comparison.groups[group].top1_broken == sum(100 <= image < 200 for image in images)
    message = wire.to_comparison(comparison, load_judged(stores, a.id).bundle.label_space.names)
    assert set(message.groups) == set(members)
    assert {row["group"] for row in comparison_rows(message)} == set(members)
    assert {row["group"] for row in change_rows(message, "class")} == set(members)
    page = parse(comparison_report(backend.ports.stores, a.id, b.id))
    assert {group_title(group) for group in members} <= set(page.texts)
    assert not any(tag == "b" for tag, _ in page.tags)


def test_gate_uses_groups_and_refuses_unknown_ones(bundle: Bundle, tmp_path: Path) -> None:
    backend = backend_of(bundle, tmp_path)
    groups = (ALL, *bundle.label_space.groups)
    analysis = send(backend, bundle, gate_policy=policy(*groups))

    result = evaluate_gate(backend.ports.stores, analysis.id)

    assert result.decision is GateDecision.PASS
    assert analysis.summary is not None
    assert [reason.value for reason in result.reasons[1:]] == [
        analysis.summary.groups[group].top1_accuracy for group in groups
    ]
    assert all(
        f"({group_title(group)})" in gate_reason(reason)
        for group, reason in zip(groups, result.reasons[1:], strict=True)
        if group != ALL
    )
    expected = re.escape(f"Expected one of the groups of the data set: {', '.join(groups)} (line 7).")
    bound = "  - measure: top1_accuracy\n    min: 0.1\n"
    text = f"version: 1\nbounds:\n{bound}{bound}    group: plants\n"
    for refused in (
        lambda: evaluate_gate(backend.ports.stores, analysis.id, text),
        lambda: evaluate_gate(backend.ports.stores, analysis.id, text, min_coverage=0.5),
        lambda: send(backend, bundle, gate_policy=text),
    ):
        with pytest.raises(InvalidPolicy, match=rf"bounds\[1\]\.group: Unknown group 'plants'\. {expected}") as error:
            refused()
        assert [(violation.field, violation.line) for violation in error.value.violations] == [("bounds[1].group", 7)]


def test_changes_of_groups_are_bounded(odd: Bundle, tmp_path: Path) -> None:
    backend = backend_of(odd, tmp_path)
    before, after = send(backend, odd, 100), send(backend, odd, 200)
    bounds = [{"measure": "top1_accuracy", "max_decrease": 0.5, "group": group} for group in ODD]

    result = evaluate_gate(
        backend.ports.stores, after.id, json.dumps({"version": 1, "min_samples": 1, "bounds": bounds}), before.id
    )

    assert result.decision is GateDecision.PASS
    assert before.summary is not None
    assert [reason.baseline for reason in result.reasons[1:]] == [
        pytest.approx(before.summary.groups[group].top1_accuracy) for group in ODD
    ]


def test_baseline_with_other_groups_leaves_changes_undecided(odd: Bundle, tmp_path: Path) -> None:
    other = make_bundle(tmp_path / "other", ("other group",))
    backend = Backend(EvidenceRepository({"products": [odd.path, other.path]}, tmp_path))
    before, after = send(backend, odd, evidence=other.digest), send(backend, odd)
    bounds = [{"measure": "top1_accuracy", "max_decrease": 0.5, "group": ODD[0]}]

    result = evaluate_gate(backend.ports.stores, after.id, json.dumps({"version": 1, "bounds": bounds}), before.id)

    assert result.decision is GateDecision.UNDECIDED
    assert result.reasons[1].baseline is None


def test_trend_of_a_group(bundle: Bundle, tmp_path: Path) -> None:
    backend = backend_of(bundle, tmp_path)
    analyses = [send(backend, bundle, wrong) for wrong in (100, 200)]

    for group in expected_members(bundle):
        result = trend(backend.ports.stores, TrendRequest(dataset="products", group=group))
        assert wire.to_trend(result).group == group
        values = [point.values["multi_label_accuracy"] for point in result.points]
        assert values == [a.summary.groups[group].multi_label_accuracy for a in reversed(analyses) if a.summary]
    page = parse(trend_page(backend.ports.stores, TrendRequest(dataset="products"), ""))
    options = [attributes["value"] for tag, attributes in page.tags if tag == "option"]
    start = options.index(ALL)  # after the data sets
    assert options[start : start + 1 + len(bundle.label_space.groups)] == [ALL, *bundle.label_space.groups]


def test_unknown_group_of_a_request_lists_the_groups(bundle: Bundle, tmp_path: Path) -> None:
    backend = backend_of(bundle, tmp_path)
    judged = load_judged(backend.ports.stores, send(backend, bundle).id)
    groups = re.escape(", ".join((ALL, *bundle.label_space.groups)))

    with pytest.raises(InvalidRequest, match=f"Unknown group 'plants'.*: {groups}"):
        trend(backend.ports.stores, TrendRequest(dataset="products", group="plants"))
    with pytest.raises(InvalidRequest, match=f"Unknown group 'plants'.*: {groups}") as error:
        select_rows(judged, VerdictFilter(group="plants"))
    assert error.value.violations[0].field == "filter.group"


def test_groups_of_an_unserved_bundle_are_those_of_its_analyses(odd: Bundle, tmp_path: Path) -> None:
    backend = backend_of(odd, tmp_path)
    send(backend, odd)
    other = make_bundle(tmp_path / "other", ("other group",))
    backend.repository = EvidenceRepository({"products": [other.path]}, tmp_path)

    assert trend(backend.ports.stores, TrendRequest(dataset="products", group=ODD[0])).groups == (ALL, *ODD)
    with pytest.raises(InvalidRequest, match="Unknown group 'other group'"):
        trend(backend.ports.stores, TrendRequest(dataset="products", group="other group"))


@pytest.mark.slow
def test_verdicts_are_filtered_and_exported_with_groups(bundle: Bundle, tmp_path: Path) -> None:
    backend = backend_of(bundle, tmp_path)
    judged = load_judged(backend.ports.stores, send(backend, bundle).id)
    members = expected_members(bundle)

    for group, images in members.items():
        assert select_rows(judged, VerdictFilter(group=group)).tolist() == sorted(images)
    own = list(members)[1:]
    rows = list(csv.DictReader(io.StringIO(b"".join(write_csv(judged)).decode())))
    lines = [json.loads(line) for line in b"".join(_export(judged)).splitlines()]
    for image, (row, line) in enumerate(zip(rows, lines, strict=True)):
        expected = [group for group in own if image in members[group]]
        text = ";".join(expected)
        assert row["groups"] == (f"'{text}" if text.startswith(("=", "+", "-", "@")) else text)
        assert line["groups"] == expected


def test_groups_without_spaces_are_separated_by_spaces(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", ("organism", "größe"))
    backend = backend_of(bundle, tmp_path)
    judged = load_judged(backend.ports.stores, send(backend, bundle).id)

    texts = {row["groups"] for row in csv.DictReader(io.StringIO(b"".join(write_csv(judged)).decode()))}

    assert texts == {"", "organism", "größe", "organism größe"}


def test_metrics_have_the_label_of_each_group(bundle: Bundle, tmp_path: Path) -> None:
    backend = backend_of(bundle, tmp_path)
    analysis = send(backend, bundle, labels={"model": "net", "version": "1"})
    registry = CollectorRegistry()
    metrics = Metrics(registry)

    ResultsCollector(backend.ports.stores, metrics, ["*"], 10)()

    assert analysis.summary is not None
    assert samples_of(registry) == {
        group: summary.num_samples for group, summary in analysis.summary.groups.items() if summary.num_samples
    }


def samples_of(registry: CollectorRegistry) -> Mapping[str, float]:
    """Return the number of samples by group, parsed from the text of the endpoint."""
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        sample.labels["group"]: sample.value
        for family in families
        for sample in family.samples
        if sample.name == "errata_result_samples"
    }


def test_client_shows_all_groups(bundle: Bundle, tmp_path: Path) -> None:
    backend = backend_of(bundle, tmp_path)
    message = wire.to_analysis(send(backend, bundle))
    groups = {ALL, *bundle.label_space.groups}

    assert {row["group"] for row in analysis_rows(message)} == groups
    page = parse(analysis_html(message))
    assert {group_title(group) for group in groups} <= set(page.texts)
    assert {tag for tag, _ in page.tags}.isdisjoint({"b"})
    values = analysis_chart(message).to_dict()["data"]["values"]
    assert len({row["group"] for row in values}) == len(groups)
    console = Console(file=io.StringIO(), width=1000)
    show_analysis(message, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(group in text for group in groups)


def test_folders_have_the_groups(odd: Bundle, tmp_path: Path) -> None:
    backend = backend_of(odd, tmp_path)
    folders = []
    for wrong in (100, 200):
        analysis = send(backend, odd, wrong)
        folder = tmp_path / f"results {wrong}"
        folder.mkdir()
        (folder / "summary.json").write_text(to_json(wire.to_analysis(analysis)))
        judged = load_judged(backend.ports.stores, analysis.id)
        (folder / "verdicts.jsonl").write_bytes(b"".join(_export(judged)))
        folders.append(folder)
    members = expected_members(odd)

    for group, images in members.items():
        assert len(select_verdicts(folders[0], VerdictSelection(group=group))) == len(images)
    with pytest.raises(InvalidRequest, match="Unknown group 'plants'"):
        select_verdicts(folders[0], VerdictSelection(group="plants"))
    comparison, _ = compare_folders(folders[0], folders[1], with_report=False)
    assert {group: comparison.groups[group].num_samples for group in comparison.groups} == {
        group: len(images) for group, images in members.items()
    }
    assert evaluate_folder(policy(*members), folders[0], None).decision == 1
    with pytest.raises(InvalidPolicy, match="Unknown group 'plants'"):
        evaluate_folder(policy("plants"), folders[0], None)


# own models as the reference


def test_reports_and_trends_compare_with_the_latest_version_of_each_other_model(odd: Bundle, tmp_path: Path) -> None:
    backend = backend_of(odd, tmp_path)
    for number in range(22):
        send(backend, odd, 100 + number % 8, labels={"model": f"net {number}", "version": "1"})
    send(backend, odd, 390, labels={"model": "net 0", "version": "0"}, accept_implausible=True)
    newest = send(backend, odd, 102, labels={"model": "net 0", "version": "2"})

    result = trend(backend.ports.stores, TrendRequest(names=[newest.id]))
    html = report(backend.ports, newest.id)

    assert result.num_other_models == 21
    rank = next(rank for rank in result.points[0].percentile_ranks if rank.metric == "multi_label_accuracy")
    assert rank.low is not None
    assert (rank.percentile, rank.missing) == (None, NoReferenceReason.INDISTINCT)  # 400 images are too few
    assert "the latest version of each of the 21 other models" in html
    assert "Percentile among the reference models" in html
    page = trend_report(backend.ports.stores, TrendRequest(names=[newest.id]))
    assert "the latest version of each of the 21 other models" in page
    assert any("21 other models" in note for note in wire.to_trend(result).notes)


def test_report_says_why_there_are_no_percentiles(odd: Bundle, tmp_path: Path) -> None:
    backend = backend_of(odd, tmp_path)

    html = report(backend.ports, send(backend, odd).id)

    assert "Percentiles are not available: they need at least 20 other models" in html
    assert "There are no other models yet." in html
    assert "Percentile among the reference models" not in html
