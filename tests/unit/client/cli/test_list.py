"""The table of analyses: one line for each, readable at 80 columns, with IDs that are unique."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from errata import pb
from errata.cli.list import analysis_lines, list_analyses
from errata.errors import DatasetNotFound
from errata.names import short_id_length
from google.protobuf.timestamp_pb2 import Timestamp
from rich.cells import cell_len

START = datetime(2026, 11, 28, 7, 38, tzinfo=UTC)
IDS = ["1m8gjjm78yatht4tadvh4", "1m8gjjkxrqyt3n2nkhj47", "1m8gjjkxaqyt3n2nkhj47", "1m8gjjjzbqmyz8t4t22vy"]


def analysis(identifier: str, name: str = "predictions.csv", dataset: str = "imagenet-real") -> pb.Analysis:
    created = Timestamp()
    created.FromDatetime(START)
    group = pb.GroupSummary(num_samples=46_837, top1_accuracy=0.761, multi_label_accuracy=0.839)
    group.counts["model_failure"] = 1234
    return pb.Analysis(
        name=f"analyses/{identifier}",
        display_name=name,
        dataset=dataset,
        state="STATE_SUCCEEDED",
        create_time=created,
        summary=pb.Summary(groups={"all": group}),
    )


def lines(analyses: list[pb.Analysis], width: int) -> list[str]:
    return analysis_lines(analyses, len(analyses), width)


@pytest.mark.parametrize("name", ["a.csv", "resnet50-" + "x" * 200, "漢字" * 40, "[bold]x[/]", "two\nlines", ""])
@pytest.mark.parametrize("dataset", ["demo", "imagenet-real", "street-scenes-of-2026-with-a-long-name"])
def test_each_analysis_is_one_line_of_at_most_80_columns(name: str, dataset: str) -> None:
    analyses = [analysis(identifier, name, dataset) for identifier in IDS]

    header, *rows = lines(analyses, 80)

    assert len(rows) == len(analyses)
    assert {cell_len(row) <= 80 for row in rows} == {True}
    for row in rows:
        assert "11-28 07:38" in row
        assert "succeeded" in row
        assert row.split()[-5:] == ["76.1", "%", "83.9", "%", "1,234"]
    assert header.split() == ["ID", "created", "name", "data", "set", "state", "top-1", "m-label", "fail."]


def test_a_wide_table_has_whole_names() -> None:
    _, row = lines([analysis(IDS[0], "resnet50-" + "x" * 100)], 300)

    assert "x" * 100 in row
    assert row.split()[-4:] == ["%", "83.9", "%", "1,234"]


def test_uploads_of_the_same_file_have_different_ids_in_the_list() -> None:
    _, *rows = lines([analysis(identifier) for identifier in IDS], 80)

    short_ids = [row.split()[0] for row in rows]
    assert len({*short_ids}) == len(IDS)
    for short, identifier in zip(short_ids, IDS, strict=True):
        assert identifier.startswith(short)
        assert [full for full in IDS if full.startswith(short)] == [identifier]


def test_short_ids_are_as_short_as_possible_and_have_at_least_8_characters() -> None:
    assert short_id_length([IDS[0], IDS[3]]) == 8
    assert short_id_length(IDS) == 9
    assert short_id_length([]) == 8


def test_an_analysis_without_a_result_has_no_rates() -> None:
    queued = pb.Analysis(name=f"analyses/{IDS[0]}", display_name="net", dataset="demo", state="STATE_QUEUED")

    _, row = lines([queued], 80)

    assert row.split()[-4:] == ["queued", "–", "–", "–"]


@pytest.mark.parametrize(
    ("num_expected", "narrow", "wide"),
    [
        (None, "partial 98.0 %", "succeeded (coverage 98.0 %)"),
        (49_500, "subset 99.0 %", "(coverage 99.0 % of a subset)"),
    ],
)
def test_an_analysis_that_does_not_cover_all_images_has_its_coverage(
    num_expected: int | None, narrow: str, wide: str
) -> None:
    partial = analysis(IDS[0], "resnet50-" + "x" * 100, "street-scenes-of-2026-with-a-long-name")
    partial.summary.groups["all"].num_samples = 46_837
    partial.summary.num_problematic = 49_005 - 46_837
    partial.summary.num_judged = 50_000
    if num_expected is not None:
        partial.subset.num_judged = num_expected

    _, row = lines([partial], 80)

    assert narrow in row
    assert cell_len(row) <= 80
    assert wide in lines([partial], 200)[1]
    partial.summary.num_problematic = 50_000 - 46_837
    partial.ClearField("subset")
    assert "coverage" not in lines([partial], 200)[1]


def test_a_wide_table_of_analyses_with_owners_has_their_column() -> None:
    owned, other = analysis(IDS[0]), analysis(IDS[1])
    owned.owner = "pipe\nline"

    header, first, second = lines([owned, other], 140)

    assert "owner" in header
    start = header.index("owner")
    assert first[start:].startswith("pipe line")
    assert second[start : start + len("pipe line")].strip() == ""
    assert "owner" not in lines([owned, other], 80)[0]
    assert "owner" not in lines([other], 140)[0]


def test_an_incomplete_list_does_not_tell_whether_a_data_set_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def listed(condition: pb.AnalysisFilter, on_incomplete: Callable[[], None]) -> Iterator[pb.Analysis]:
        on_incomplete()
        return iter(())

    def find(name: str) -> pb.Dataset:
        raise DatasetNotFound(f"Data set {name!r} not found.")

    connection = SimpleNamespace(client=SimpleNamespace(list=listed, dataset=find))
    monkeypatch.setattr("errata.cli.list.connect", lambda _: nullcontext(connection))

    result = CliRunner().invoke(list_analyses, ["--dataset", "unknown"])

    assert (result.exit_code, "Analyses can be missing" in result.stderr) == (0, True)


@pytest.mark.parametrize("dataset", ["removed", "unknown"])
def test_a_data_set_without_evidence_is_unknown_only_if_it_has_no_analyses(
    dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listed(condition: pb.AnalysisFilter, **_: object) -> Iterator[pb.Analysis]:
        if condition.dataset == "removed" and not condition.states:
            yield analysis(IDS[0], dataset="removed")

    def find(name: str) -> pb.Dataset:
        raise DatasetNotFound(f"Data set {name!r} not found.")

    connection = SimpleNamespace(client=SimpleNamespace(list=listed, dataset=find))
    monkeypatch.setattr("errata.cli.list.connect", lambda _: nullcontext(connection))

    result = CliRunner().invoke(list_analyses, ["--dataset", dataset, "--state", "failed"])

    assert isinstance(result.exception, DatasetNotFound) == (dataset == "unknown")
    assert (result.exit_code == 0) == (dataset == "removed")
