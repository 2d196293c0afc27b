"""Slices through the API: error rates, comparisons, gates, filters, exports, reports, and pages."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pyarrow.parquet as pq
import pytest
from command import run_command
from errata import errors, pb
from scipy import stats

from service.bootstrap.build import Inputs, build_evidence

from .conftest import Running, start_service

IMAGES, NIGHT = 120, 40  # the first images are at night
POLICY = "version: 1\nname: p\nmin_samples: 1\nbounds:\n  - "
HOSTILE = "<script>alert(1)</script>"


def names() -> list[str]:
    return [f"{number:03}.jpg" for number in range(IMAGES)]


def predictions(num_night: int, num_day: int) -> io.BytesIO:
    """Return predictions with these numbers of model failures at night and by day: a goldfish for a balloon."""
    wrong = {*range(num_night), *range(NIGHT, NIGHT + num_day)}
    rows = [f"{name},{1 if row in wrong else 417}" for row, name in enumerate(names())]
    return io.BytesIO(("file_name,top1\n" + "\n".join(rows) + "\n").encode())


def write_labels(folder: Path) -> Path:
    (folder / "labels.csv").write_text("file_name,labels\n" + "".join(f"{name},417\n" for name in names()))
    return folder / "labels.csv"


def read(url: str) -> str:
    with urlopen(url) as response:
        return response.read().decode()


@pytest.fixture(scope="module")
def attributes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("attributes") / "attributes.csv"
    rows = [f"{name},time,{'night' if row < NIGHT else 'day'}" for row, name in enumerate(names())]
    path.write_text("file_name,attribute,value\n" + "\n".join([*rows, f"000.jpg,note,{HOSTILE}"]) + "\n")
    return path


@pytest.fixture(scope="module")
def running(data_dir: Path, tmp_path_factory: pytest.TempPathFactory, attributes: Path) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("slices")
    bundle = build_evidence("street", Inputs(labels=write_labels(folder)), folder / "bundle")
    settings = {"evidence": {"street": [str(bundle.path)]}, "attributes": {"street": [str(attributes)]}}
    with start_service(data_dir, folder / "archive", **settings) as service:
        yield service


@pytest.fixture(scope="module")
def pair(running: Running) -> tuple[pb.Analysis, pb.Analysis]:
    """Two analyses: the second one has more failures at night, and fewer by day."""
    first = running.client.upload(predictions(10, 20), "street", display_name="before")
    return first, running.client.upload(predictions(30, 15), "street", display_name="after")


def test_slices_have_rates_tests_and_a_digest(
    running: Running, pair: tuple[pb.Analysis, pb.Analysis], attributes: Path
) -> None:
    slices = running.client.slices(pair[1])

    rows = {(row.attribute, row.value): row for row in slices.rows}
    assert rows.keys() == {("time", "day"), ("time", "night"), ("note", HOSTILE)}
    night = rows["time", "night"]
    assert (night.num_samples, night.num_rest, night.counts["model_failure"]) == (NIGHT, IMAGES - NIGHT, 30)
    assert (night.errors.rate, night.errors.rest_rate) == (30 / 40, 15 / 80)
    expected = stats.fisher_exact([[30, 10], [15, 65]]).pvalue
    assert night.model_failures.p_value == pytest.approx(expected)
    assert night.model_failures.adjusted_p_value == pytest.approx(expected * 3 / 2), "day and night have the same p"
    assert night.model_failures.significant
    assert len(slices.attributes) == 64


def test_a_comparison_has_the_changes_of_slices(running: Running, pair: tuple[pb.Analysis, pb.Analysis]) -> None:
    comparison = running.client.compare(*pair)

    night, day = comparison.slices
    assert (night.value, night.fixed, night.broken, night.significant) == ("night", 0, 20, True)
    assert (night.error_rate_a, night.error_rate_b) == (10 / 40, 30 / 40)
    assert (day.value, day.fixed, day.broken) == ("day", 5, 0)
    assert day.p_value == pytest.approx(2 / 2**5)
    assert comparison.attributes == running.client.slices(pair[0]).attributes
    html = running.client.comparison_report(*pair).decode()
    assert "Slices with changes: 2 of 2." in html and "time: night" in html


@pytest.mark.parametrize(
    ("bound", "decision", "value"),
    [
        ("{measure: multi_label_error_rate, slice: night, max: 0.5}", pb.GATE_DECISION_FAIL, 0.75),
        ("{measure: severe_error_rate, slice: time=day, max: 0.5}", pb.GATE_DECISION_PASS, 15 / 80),
        ("{measure: multi_label_accuracy, slice: night, min: 0.2}", pb.GATE_DECISION_PASS, 0.25),
        ("{measure: count, types: MODEL_FAILURE, slice: night, max: 30}", pb.GATE_DECISION_PASS, 30),
        ("{measure: severe_error_rate, slice: night, max_increase: 0.1}", pb.GATE_DECISION_FAIL, 0.75),
        ("{measure: severe_error_rate, slice: day, max_increase: 0}", pb.GATE_DECISION_PASS, 15 / 80),
        ("{measure: severe_error_rate, slice: dusk, max: 0.5}", pb.GATE_DECISION_UNDECIDED, None),
    ],
)
def test_a_gate_bounds_a_slice(
    running: Running, pair: tuple[pb.Analysis, pb.Analysis], bound: str, decision: int, value: float | None
) -> None:
    result = running.client.gate(pair[1], POLICY + bound, pair[0])

    (_, reason) = result.reasons
    assert reason.decision == decision
    assert (reason.value if reason.HasField("value") else None) == pytest.approx(value)
    assert reason.slice and f"(slice {reason.slice})" in reason.message
    assert (pb.UNDECIDED_REASON_UNKNOWN_SLICE in reason.undecided_reasons) == (value is None)


def test_a_change_in_a_slice_is_tested_on_its_images(running: Running, pair: tuple[pb.Analysis, pb.Analysis]) -> None:
    bound = "{measure: severe_error_rate, slice: night, max_increase: 0.1, alpha: 0.01}"
    (_, reason) = running.client.gate(pair[1], POLICY + bound, pair[0]).reasons

    assert (reason.num_samples, reason.baseline_value) == (NIGHT, 0.25)
    assert reason.p_value == pytest.approx(2 / 2**20)


def test_a_bound_on_the_value_in_a_slice_does_not_depend_on_the_baseline(
    running: Running, pair: tuple[pb.Analysis, pb.Analysis], demo_csv: bytes
) -> None:
    baseline = running.client.upload(io.BytesIO(demo_csv), "demo")  # a data set without attributes
    on_value = "{measure: severe_error_rate, slice: day, max: 0.5}"
    on_change = "{measure: severe_error_rate, slice: day, max_increase: 0.5}"

    _, value, change = running.client.gate(pair[1], f"{POLICY}{on_value}\n  - {on_change}", baseline).reasons

    assert (value.decision, value.value) == (pb.GATE_DECISION_PASS, 15 / 80)
    assert change.decision == pb.GATE_DECISION_UNDECIDED
    assert [*change.undecided_reasons] == [pb.UNDECIDED_REASON_OTHER_EVIDENCE]


def test_a_policy_has_no_slices_of_imagenet_m(running: Running, pair: tuple[pb.Analysis, pb.Analysis]) -> None:
    with pytest.raises(errors.InvalidPolicy, match="has no slices"):
        running.client.gate(pair[0], POLICY + "{measure: imagenet_m_errors, slice: night, max: 3}")


def test_verdicts_are_filtered_by_slice(running: Running, pair: tuple[pb.Analysis, pb.Analysis]) -> None:
    client = running.client

    failures = [*client.verdicts(pair[1], slice="night", error_types=["model_failure"])]
    assert [verdict.file_name for verdict in failures] == names()[:30]
    with pytest.raises(errors.InvalidRequest, match=r"Unknown slice 'dusk'\. Expected a slice such as"):
        next(client.verdicts(pair[1], slice="dusk"))


def test_a_value_of_several_attributes_is_named_with_its_attribute(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("file_name,attribute,value\n000.jpg,time,night\n001.jpg,camera,night\n")
    bundle = build_evidence("street", Inputs(labels=write_labels(tmp_path)), tmp_path / "bundle")
    settings = {"evidence": {"street": [str(bundle.path)]}, "attributes": {"street": [str(tmp_path / "own.csv")]}}
    with start_service(data_dir, tmp_path / "archive", **settings) as service:
        analysis = service.client.upload(predictions(10, 20), "street")
        message = r"2 attributes have the value 'night'\. Expected a slice such as 'camera=night', 'time=night'"
        with pytest.raises(errors.InvalidRequest, match=message):
            next(service.client.verdicts(analysis, slice="night"))
        assert [verdict.file_name for verdict in service.client.verdicts(analysis, slice="time=night")] == ["000.jpg"]


def test_the_evidence_has_the_attributes_and_the_verdict_does_not_depend_on_them(
    running: Running, pair: tuple[pb.Analysis, pb.Analysis]
) -> None:
    client = running.client
    verdict = client.explain(pair[1], "000.jpg")

    assert [(item.attribute, list(item.values)) for item in verdict.evidence.attributes] == [
        ("note", [HOSTILE]),
        ("time", ["night"]),
    ]
    assert client.explain_prediction("street", "000.jpg", 1).evidence.attributes == verdict.evidence.attributes
    assert verdict.error_type == client.verdict(pair[1], "045.jpg").error_type == "model_failure"
    line = json.loads(b"".join(client.export(pair[1], "jsonl", with_evidence=True)).splitlines()[0])
    table = pq.read_table(io.BytesIO(b"".join(client.export(pair[1], "parquet", with_evidence=True))))
    expected = [{"attribute": "note", "values": [HOSTILE]}, {"attribute": "time", "values": ["night"]}]
    assert line["evidence"]["attributes"] == table["attributes"][0].as_py() == expected


def test_values_are_text_in_reports_and_pages(running: Running, pair: tuple[pb.Analysis, pb.Analysis]) -> None:
    address = f"http://{running.addresses.http}/analyses/{pair[1].name.removeprefix('analyses/')}"
    image = read(f"{address}/errors/000.jpg")
    report = running.client.report(pair[1]).decode()

    assert "time: night" in image and "note: &lt;script&gt;alert(1)" in image
    assert "Slices: 3 of 3." in report and "attributes digest" in report
    for page in (image, report, read(address)):
        assert HOSTILE not in page


def test_commands_show_slices(running: Running, pair: tuple[pb.Analysis, pb.Analysis], tmp_path: Path) -> None:
    environment = {"ERRATA_SERVER": running.addresses.grpc, "HOME": str(tmp_path)}

    table = run_command(["show", "after", "--by", "slice"], environment)
    document = run_command(["show", "after", "--by", "slice", "--json"], environment)
    listed = run_command(["show", "after", "--slice", "night", "--errors", "--json"], environment)
    compared = run_command(["compare", "before", "after"], environment)

    assert "or all other images if the attribute has only one value" in " ".join(table.stdout.split())
    assert "time: night" in table.stdout and "75.0 %" in table.stdout and "< 0.001" in table.stdout
    assert {row["value"] for row in json.loads(document.stdout)["rows"]} == {"day", "night", HOSTILE}
    assert json.loads(listed.stdout)["total_size"] == 30
    assert "time: night" in compared.stdout
    for text in (table.stdout, compared.stdout):
        assert "The number of model failures is an upper bound." in " ".join(text.split())


@pytest.mark.parametrize("by", ["class", "superclass", "slice"])
def test_the_json_of_a_breakdown_names_the_abstained_rules(
    running: Running, pair: tuple[pb.Analysis, pb.Analysis], tmp_path: Path, by: str
) -> None:
    environment = {"ERRATA_SERVER": running.addresses.grpc, "HOME": str(tmp_path)}

    document = json.loads(run_command(["show", "after", "--by", by, "--json"], environment).stdout)

    assert document["rows"]
    assert document["abstained"] == [*pair[1].summary.abstained] != []


def test_a_data_set_without_attributes_has_no_slices(running: Running, demo_csv: bytes) -> None:
    analysis = running.client.upload(io.BytesIO(demo_csv), "demo")

    with pytest.raises(errors.NotFound, match="ERRATA_ATTRIBUTES"):
        running.client.slices(analysis)
    assert not running.client.compare(analysis, analysis).slices
    assert ">Slices<" not in running.client.report(analysis).decode()
    (_, reason) = running.client.gate(analysis, POLICY + "{measure: top1_accuracy, slice: night, min: 0.5}").reasons
    assert [*reason.undecided_reasons] == [pb.UNDECIDED_REASON_UNKNOWN_SLICE]


def test_unknown_images_are_an_error_with_lines_and_leave_the_report(
    data_dir: Path, demo_csv: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "attributes.csv"
    path.write_text("file_name,attribute,value\nno.jpg,time,night\n")
    with start_service(data_dir, tmp_path / "archive", attributes={"demo": [str(path)]}) as service:
        analysis = service.client.upload(io.BytesIO(demo_csv), "demo")

        with pytest.raises(errors.InvalidEvidence, match=r"attributes.csv, line 2: image 'no.jpg'") as refused:
            service.client.slices(analysis)
        assert refused.value.violations[0].line == 2
        assert b"Error breakdown" in service.client.report(analysis)


def test_a_service_does_not_start_with_an_invalid_file(data_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "attributes.csv"
    path.write_text("file_name,attribute\n")

    with (
        pytest.raises(errors.InvalidEvidence, match="line 1: invalid header"),
        start_service(data_dir, tmp_path / "archive", attributes={"demo": [str(path)]}),
    ):
        pass


def test_rates_are_those_of_the_verdicts(running: Running, pair: tuple[pb.Analysis, pb.Analysis]) -> None:
    verdicts = [verdict.error_type for verdict in running.client.verdicts(pair[0], slice="day")]

    day = next(row for row in running.client.slices(pair[0]).rows if row.value == "day")
    assert day.errors.rate == np.mean([error_type == "model_failure" for error_type in verdicts])
