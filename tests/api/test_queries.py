"""Queries of analyses: listings, pages, filters, verdicts, exports, reports, and explanations."""

import csv
import io
import json
from collections.abc import Callable

import pyarrow.parquet as pq
import pytest
from errata import Client, errors, pb
from errata.names import evidence_id
from google.protobuf.json_format import MessageToDict

from service.domain import ERROR_TYPES
from service.evidence.bundle import Bundle


@pytest.fixture
def analysis(client: Client, demo_csv: bytes) -> pb.Analysis:
    return client.upload(io.BytesIO(demo_csv), "demo", display_name="two wrong", labels={"kind": "look"})


def test_an_analysis_is_found_by_name_and_by_bare_id(client: Client, analysis: pb.Analysis) -> None:
    assert client.get(analysis.name) == analysis
    assert client.get(analysis.name.removeprefix("analyses/")) == analysis


@pytest.mark.parametrize("name", ["analyses/nosuch", "nosuch"])
def test_an_unknown_analysis_is_not_found(client: Client, name: str) -> None:
    with pytest.raises(errors.AnalysisNotFound):
        client.get(name)


@pytest.mark.parametrize("name", ["", "analyses/../../etc/passwd", "analyses/a b", "a" * 100])
def test_an_invalid_name_is_rejected(client: Client, name: str) -> None:
    with pytest.raises(errors.InvalidRequest):
        client.get(name)


def test_a_listing_is_paged_without_loss_and_newest_first(start, demo_csv: bytes) -> None:
    with start() as service:
        names = [service.client.upload(io.BytesIO(demo_csv), "demo", display_name=str(i)).name for i in range(5)]
        stub = service.client._analyses
        collected, token = [], ""
        while True:
            page = stub.ListAnalyses(pb.ListAnalysesRequest(page_size=2, page_token=token))
            assert len(page.analyses) <= 2
            collected += [item.name for item in page.analyses]
            token = page.next_page_token
            if not token:
                break

        assert collected == names[::-1]


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda client: client.dataset(""), "name"),
        (lambda client: client.evidence(""), "name"),
        (lambda client: client.evidence_bundles(""), "parent"),
        (lambda client: client.find_class("", 3), "name"),
        (lambda client: client.classes(""), "parent"),
        (lambda client: client.analyze("demo:x", ""), "dataset"),
        (lambda client: [*client.review_queue("")], "parent"),
        (lambda client: [*client.list_reviews("")], "parent"),
        (lambda client: client.create_review("", "a.jpg", "ann", comment="x"), "parent"),
        (lambda client: client.build_evidence(""), "parent"),
        (lambda client: client.upload_labels(io.BytesIO(b"{}"), ""), "parent"),
        (lambda client: [*client.reanalyze_all("")], "dataset"),
    ],
)
def test_a_missing_data_set_is_no_unknown_one(client: Client, call: Callable[[Client], object], field: str) -> None:
    with pytest.raises(errors.InvalidRequest) as error:
        call(client)

    assert error.value.message == f"The data set is missing. Set `{field}`; ListDatasets returns the names."
    assert error.value.violations[0].field == field


def test_a_page_token_of_another_query_is_rejected(start, demo_csv: bytes) -> None:
    with start() as service:
        for _ in range(2):
            service.client.upload(io.BytesIO(demo_csv), "demo")
        stub = service.client._analyses
        token = stub.ListAnalyses(pb.ListAnalysesRequest(page_size=1)).next_page_token
        other = pb.AnalysisFilter(dataset="demo")

        with pytest.raises(errors.InvalidPageToken):
            service.client._call(stub.ListAnalyses, pb.ListAnalysesRequest(filter=other, page_token=token))


def test_a_page_token_of_another_list_with_equal_fields_is_rejected(client: Client) -> None:
    catalog = client._catalog
    token = catalog.ListDatasets(pb.ListDatasetsRequest(page_size=1)).next_page_token
    assert catalog.ListDatasets(pb.ListDatasetsRequest(page_size=2, page_token=token)).datasets

    for call, request in [
        (catalog.ListModels, pb.ListModelsRequest(page_token=token)),
        (catalog.ListErrorTypes, pb.ListErrorTypesRequest(page_token=token)),
    ]:
        with pytest.raises(errors.InvalidPageToken):
            client._call(call, request)


@pytest.mark.parametrize("size", [1, 3])
def test_the_lists_of_the_catalog_are_paged_without_loss(client: Client, size: int) -> None:
    catalog = client._catalog
    for call, request, field in [
        (catalog.ListDatasets, pb.ListDatasetsRequest(), "datasets"),
        (catalog.ListErrorTypes, pb.ListErrorTypesRequest(), "error_types"),
        (catalog.ListModels, pb.ListModelsRequest(), "models"),
        (catalog.ListEvidence, pb.ListEvidenceRequest(parent="datasets/demo"), "evidence"),
        (catalog.ListClasses, pb.ListClassesRequest(parent="datasets/demo/evidence/default"), "classes"),
    ]:
        expected = list(getattr(call(request), field))[: 4 * size]
        collected: list[object] = []
        request.page_size = size
        while len(collected) < len(expected):
            page = call(request)
            collected += getattr(page, field)
            request.page_token = page.next_page_token
        assert collected == expected


def test_a_filter_selects_analyses_that_meet_all_conditions(client: Client, analysis: pb.Analysis) -> None:
    conditions = pb.AnalysisFilter(states=["STATE_SUCCEEDED"], dataset="demo", labels={"kind": "look"})
    other = pb.AnalysisFilter(dataset="demo", labels={"kind": "none such"})

    assert analysis.name in [item.name for item in client.list(conditions)]
    assert [*client.list(other)] == []


def test_a_deleted_analysis_is_not_found(client: Client, demo_csv: bytes) -> None:
    name = client.upload(io.BytesIO(demo_csv), "demo").name

    client.delete(name)

    with pytest.raises(errors.AnalysisNotFound):
        client.get(name)
    with pytest.raises(errors.AnalysisNotFound):
        client.delete(name)


def test_an_open_analysis_cannot_be_deleted(start) -> None:
    with start(open_gate=False) as service:
        name = service.client.analyze("demo:efficientnet_lite0", "demo").name

        with pytest.raises(errors.NotReady):
            service.client.delete(name)
        with pytest.raises(errors.NotReady):
            next(service.client.verdicts(name))
        service.gate.set()


def test_verdicts_are_filtered_by_each_condition(client: Client, analysis: pb.Analysis, demo: Bundle) -> None:
    every = [*client.verdicts(analysis.name)]

    def names(**conditions: object) -> list[str]:
        return [verdict.file_name for verdict in client.verdicts(analysis.name, pb.VerdictFilter(**conditions))]

    assert [item.file_name for item in every] == demo.judged_names
    assert names(error_types=["correct"]) == demo.judged_names[2:]
    assert names(predicted_class="0") == demo.judged_names[:2]
    assert names(target_class="609") == [name for name in demo.judged_names if name.endswith("_609.jpg")]
    assert names(problematic=True) == []
    organisms, artifacts, other = (names(group=g) for g in ("organism", "artifact", "other"))
    assert (
        sorted(organisms + artifacts + other) == demo.judged_names
    )  # each image has one label, and therefore one group
    superclass = demo.manifest.superclasses[0]
    members = demo.label_space.superclasses.mask(superclass)
    assert names(superclass=superclass) == [
        item.file_name for item in every if members[item.target] or members[item.predicted]
    ]


@pytest.mark.parametrize(
    "conditions",
    [
        pb.VerdictFilter(target_class="1000"),
        pb.VerdictFilter(predicted_class="-1"),
        pb.VerdictFilter(superclass="no such superclass"),
        pb.VerdictFilter(error_types=["bad_luck"]),
        pb.VerdictFilter(group="animal"),
    ],
)
def test_an_invalid_filter_is_rejected(client: Client, analysis: pb.Analysis, conditions: pb.VerdictFilter) -> None:
    with pytest.raises(errors.InvalidRequest):
        next(client.verdicts(analysis.name, conditions))


def test_verdict_pages_contain_every_row_once(client: Client, analysis: pb.Analysis, demo: Bundle) -> None:
    stub, collected, token = client._analyses, [], ""
    while True:
        page = stub.ListVerdicts(pb.ListVerdictsRequest(parent=analysis.name, page_size=7, page_token=token))
        collected += [verdict.file_name for verdict in page.verdicts]
        token = page.next_page_token
        assert page.total_size == 20
        if not token:
            break

    assert collected == demo.judged_names


def test_evidence_is_optional_and_its_trace_ends_at_the_verdict(client: Client, analysis: pb.Analysis) -> None:
    without = next(client.verdicts(analysis.name))
    with_evidence = next(client.verdicts(analysis.name, with_evidence=True))

    steps = with_evidence.evidence.trace
    assert not without.HasField("evidence")
    assert [step.error_type for step in steps] == [error_type.key for error_type in ERROR_TYPES]
    assert [s.error_type for s in steps if s.outcome == pb.OUTCOME_HIT] == [with_evidence.error_type]
    assert [label.class_index for label in with_evidence.evidence.labels] == [with_evidence.target]


def test_the_explanation_of_the_models_prediction_is_its_verdict(client: Client, analysis: pb.Analysis) -> None:
    verdict = next(client.verdicts(analysis.name, with_evidence=True))

    assert client.explain(analysis.name, verdict.file_name) == verdict
    assert client.verdict(analysis.name, verdict.file_name) == verdict
    assert verdict.name == f"{analysis.name}/verdicts/{verdict.file_name}"


def test_the_evidence_of_a_verdict_is_part_of_the_full_view(client: Client, analysis: pb.Analysis) -> None:
    listed = next(client.verdicts(analysis.name))

    assert client.verdict(analysis.name, listed.file_name, with_evidence=False) == listed


def test_a_hypothetical_verdict_has_no_name(client: Client, analysis: pb.Analysis, demo: Bundle) -> None:
    image = demo.judged_names[0]

    assert client.explain(analysis.name, image, 5).name == ""
    assert client.explain_prediction("demo", image, 5).name == ""


@pytest.mark.parametrize("name", ["", "analyses/a", "analyses/a/verdicts/", "analyses/a/verdicts/b/c", "a/b"])
def test_an_invalid_name_of_a_verdict_is_rejected(client: Client, name: str) -> None:
    with pytest.raises(errors.InvalidRequest) as error:
        client._call(client._analyses.GetVerdict, pb.GetVerdictRequest(name=name))
    assert error.value.violations[0].field == "name"


@pytest.mark.parametrize("view", [3, -1])
def test_an_unknown_view_is_rejected(client: Client, analysis: pb.Analysis, view: int) -> None:
    with pytest.raises(errors.InvalidRequest, match="VerdictView"):
        client._call(client._analyses.ListVerdicts, pb.ListVerdictsRequest(parent=analysis.name, view=view))


def test_a_report_without_a_subject_is_rejected(client: Client) -> None:
    with pytest.raises(errors.InvalidRequest, match="subject"):
        client._report(pb.RenderReportRequest())


def test_only_the_report_of_an_analysis_can_have_thumbnails(client: Client, analysis: pb.Analysis) -> None:
    comparison = pb.CompareAnalysesRequest(a=analysis.name, b=analysis.name)
    for request in (pb.RenderReportRequest(comparison=comparison), pb.RenderReportRequest()):
        request.thumbnails = True
        with pytest.raises(errors.InvalidRequest, match="Only the report of an analysis can have thumbnails"):
            client._report(request)


def test_any_prediction_can_be_explained_without_an_analysis(client: Client, demo: Bundle) -> None:
    verdict = client.explain_prediction("demo", demo.judged_names[0], int(demo.all_targets[0]))

    assert verdict.error_type == "correct"


@pytest.mark.parametrize(
    ("image", "predicted", "error"),
    [("no.jpg", 1, errors.ImageNotFound), ("imagenet_00_243.jpg", 1000, errors.InvalidRequest)],
)
def test_an_explanation_of_an_unknown_image_or_class_is_rejected(
    client: Client, image: str, predicted: int, error: type
) -> None:
    with pytest.raises(error):
        client.explain_prediction("demo", image, predicted)


def test_the_three_exports_have_the_same_verdicts(client: Client, analysis: pb.Analysis) -> None:
    listed = [*client.verdicts(analysis.name)]
    lines = b"".join(client.export(analysis.name)).decode().splitlines()
    table = csv.DictReader(io.StringIO(b"".join(client.export(analysis.name, pb.VERDICT_FORMAT_CSV)).decode()))
    columns = pq.read_table(io.BytesIO(b"".join(client.export(analysis.name, pb.VERDICT_FORMAT_PARQUET)))).to_pylist()

    as_json = [
        MessageToDict(item, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        for item in listed
    ]
    for item in as_json:
        del item["name"]
    assert [json.loads(line) for line in lines] == as_json
    flat = [
        {**item, "problematic": " ".join(item["problematic"]), "groups": " ".join(item["groups"])} for item in as_json
    ]
    for item in flat:
        for name in ("answer", "answer_outcome", "answer_relation"):  # only tables of free-text answers have them
            del item[name]
    assert {group for item in listed for group in item.groups} >= {"organism", "artifact"}
    assert [_typed(row) for row in table] == flat
    assert columns == flat


def _typed(row: dict[str, str]) -> dict[str, object]:
    """Return a row of the CSV export with numbers and booleans."""
    numbers = {name: int(row[name]) for name in ("target", "predicted", "effective_target")}
    return {**row, **numbers, **{name: row[name] == "true" for name in ("rejected_target", "matches_label")}}


def test_a_report_is_one_html_file_with_the_headline(client: Client, analysis: pb.Analysis) -> None:
    html = client.report(analysis.name).decode()

    assert html.startswith("<!doctype html>")
    assert "two wrong makes 2 top-1 errors on 20 images: " in html
    assert evidence_id(analysis.evidence) in html


def test_a_hostile_name_is_escaped_in_the_report(client: Client, demo_csv: bytes) -> None:
    hostile = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    name = client.upload(io.BytesIO(demo_csv), "demo", display_name=hostile).name

    html = client.report(name).decode()

    assert html.count("<script") == 2  # the page's data and code
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert "&lt;script&gt;" in html
