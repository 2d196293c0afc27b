"""The newest result of each version of a watched model, with its baseline."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from indexed_archive import InMemoryIndexedArchive

from service.analyses.model_metrics import MAX_NAME_BYTES, find_watched_models, shorten_name
from service.analyses.ports import Stores
from service.domain import (
    ALL,
    ERROR_TYPES,
    Analysis,
    AnalysisRequest,
    ErrorType,
    GroupSummary,
    Predictions,
    State,
    Summary,
)
from service.taxonomy.imagenet_1k import GROUPS

START = datetime(2026, 1, 1, tzinfo=UTC)


def summary(failures: int, samples: int = 100) -> Summary:
    counts = dict.fromkeys(ERROR_TYPES, 0) | {
        ErrorType.CORRECT: samples - failures,
        ErrorType.MODEL_FAILURE: failures,
    }
    group = GroupSummary(samples, counts, failures, None, None, None, None, {}, {}, {}, {})
    return Summary(dict.fromkeys((ALL, *GROUPS), group), (), 0, samples, samples, None, None, None)


@pytest.fixture
def archive() -> InMemoryIndexedArchive:
    return InMemoryIndexedArchive()


@pytest.fixture
def stores(archive: InMemoryIndexedArchive) -> Stores:
    return cast(Stores, SimpleNamespace(archive=archive, index=archive.index))


def archive_analysis(
    archive: InMemoryIndexedArchive,
    number: int,
    failures: int,
    labels: Mapping[str, str] | None = None,
    model: str = "",
    dataset: str = "demo",
    baseline: str = "",
    samples: int = 100,
    evidence: str = "e",
    id: str = "",
) -> str:
    """Archive an analysis that ended at minute `number`; return its id."""
    request = AnalysisRequest(dataset, model, labels=labels or {}, gate_baseline=baseline)
    time = START + timedelta(minutes=number)
    analysis = Analysis(
        id or f"a{number:03}",
        request,
        State.SUCCEEDED,
        evidence,
        time,
        end_time=time,
        summary=summary(failures, samples),
    )
    archive.put(analysis, Predictions(np.zeros(3, dtype=np.int16)))
    return analysis.id


def version(name: str, number: str) -> dict[str, str]:
    return {"model": name, "version": number}


def test_a_version_has_its_newest_result_and_the_version_before_it_is_its_baseline(
    stores: Stores, archive: InMemoryIndexedArchive
) -> None:
    archive_analysis(archive, 1, 10, version("net", "1"))
    archive_analysis(archive, 2, 20, version("net", "2"))
    archive_analysis(archive, 3, 30, version("net", "2"))

    results = find_watched_models(stores, ["*"], 10).results

    assert [(result.version, result.severe, result.baseline) for result in results] == [
        ("2", 0.3, 0.1),
        ("1", 0.1, None),
    ]
    assert results[0].ended == START + timedelta(minutes=3)


def test_the_version_before_has_an_earlier_creation_time_not_an_earlier_id(
    stores: Stores, archive: InMemoryIndexedArchive
) -> None:
    archive_analysis(archive, 1, 10, version("net", "1"), id="b")
    archive_analysis(archive, 2, 20, version("net", "2"), id="a")

    results = find_watched_models(stores, ["*"], 10).results

    assert [(result.version, result.baseline) for result in results] == [("2", 0.1), ("1", None)]


def test_the_baseline_of_a_gate_is_preferred_to_the_version_before(
    stores: Stores, archive: InMemoryIndexedArchive
) -> None:
    champion = archive_analysis(archive, 1, 5, version("other", "7"))
    archive_analysis(archive, 2, 10, version("net", "1"))
    archive_analysis(archive, 3, 20, version("net", "2"), baseline=champion)

    assert find_watched_models(stores, ["net"], 10).results[0].baseline == 0.05


def test_without_its_baseline_a_version_is_compared_with_the_version_before(
    stores: Stores, archive: InMemoryIndexedArchive
) -> None:
    archive_analysis(archive, 2, 10, version("net", "1"))
    archive_analysis(archive, 3, 20, version("net", "2"), baseline="gone")

    assert find_watched_models(stores, ["net"], 10).results[0].baseline == 0.1


def test_only_results_of_the_same_images_and_evidence_are_compared(
    stores: Stores, archive: InMemoryIndexedArchive
) -> None:
    """Verdicts depend on the bundle, so that a new bundle would look like a change of the model."""
    elsewhere = archive_analysis(archive, 1, 5, version("other", "7"), dataset="imagenet")
    archive_analysis(archive, 2, 10, version("net", "1"))
    archive_analysis(archive, 3, 15, version("net", "2"), evidence="f")
    archive_analysis(archive, 4, 20, version("net", "3"), baseline=elsewhere)
    archive_analysis(archive, 5, 25, version("net", "4"), evidence="g")

    assert {result.version: result.baseline for result in find_watched_models(stores, ["net"], 10).results} == {
        "1": None,
        "2": None,
        "3": 0.1,
        "4": None,
    }


def test_results_of_different_data_sets_are_separate(stores: Stores, archive: InMemoryIndexedArchive) -> None:
    archive_analysis(archive, 1, 10, version("net", "1"), dataset="imagenet")
    archive_analysis(archive, 2, 20, version("net", "2"))

    assert [(result.dataset, result.baseline) for result in find_watched_models(stores, ["*"], 10).results] == [
        ("demo", None),
        ("imagenet", None),
    ]


def test_the_newest_results_are_returned_and_the_rest_is_counted(
    stores: Stores, archive: InMemoryIndexedArchive
) -> None:
    for number in range(8):
        archive_analysis(archive, number, number, version(f"net{number}", "1"))

    result = find_watched_models(stores, ["*"], 3)
    assert [result.model for result in result.results] == ["net7", "net6", "net5"]
    assert result.dropped == 5
    result = find_watched_models(stores, ["net[01]"], 3)
    assert [result.model for result in result.results] == ["net1", "net0"]
    assert result.dropped == 6
    assert find_watched_models(stores, [], 3).results == []
    assert find_watched_models(stores, ["*"], 0).dropped == 8


def test_an_upload_without_labels_is_not_watched_and_a_model_that_ran_is(
    stores: Stores, archive: InMemoryIndexedArchive
) -> None:
    archive_analysis(archive, 1, 1)
    archive_analysis(archive, 2, 2, model="timm:resnet50.a1_in1k")

    result = find_watched_models(stores, ["*"], 10)
    assert [(result.model, result.version) for result in result.results] == [("timm:resnet50.a1_in1k", "")]
    assert result.dropped == 0


@pytest.mark.parametrize("letter", ["n", "é", "𝒩"])
def test_long_names_are_shortened_and_stay_distinct(
    stores: Stores, archive: InMemoryIndexedArchive, letter: str
) -> None:
    names = [letter * 250 + end for end in ("", "1", "2", letter)]
    for number, name in enumerate(names):
        archive_analysis(archive, number, 10 * number, version(name, name))
        archive_analysis(archive, 10 + number, 50, version(name, "next"))

    results = find_watched_models(stores, ["*"], 20).results

    for result in results:
        assert max(len(result.model.encode()), len(result.version.encode())) <= MAX_NAME_BYTES
        assert result.model.startswith(letter * 20)
    assert len({result.model for result in results}) == len(names)
    assert len({(result.model, result.version) for result in results}) == len(results) == 2 * len(names)
    assert {result.baseline for result in results if result.version == "next"} == {0.0, 0.1, 0.2, 0.3}


def test_a_pattern_is_matched_against_the_whole_name(stores: Stores, archive: InMemoryIndexedArchive) -> None:
    archive_analysis(archive, 1, 1, version("n" * 250 + "-prod", "1"))
    archive_analysis(archive, 2, 1, version("n" * 250 + "-test", "1"))

    result = find_watched_models(stores, ["*-prod"], 10)

    assert (len(result.results), result.dropped) == (1, 1)


@pytest.mark.parametrize("name", ["", "net", "n" * MAX_NAME_BYTES, "é" * (MAX_NAME_BYTES // 2), "\ud800"])
def test_a_short_name_does_not_change(name: str) -> None:
    assert shorten_name(name) == name.encode(errors="replace").decode()


@pytest.mark.parametrize("size", [MAX_NAME_BYTES + 1, 1 << 22])
def test_a_name_of_any_length_is_shortened(size: int) -> None:
    first, other = shorten_name("n" * size), shorten_name("n" * size + "m")

    assert (len(first), len(other)) == (MAX_NAME_BYTES, MAX_NAME_BYTES)
    assert first != other
    assert shorten_name("n" * size) == first


def test_without_samples_there_is_no_error_rate() -> None:
    assert summary(0, samples=0).groups[ALL].severe_error_rate is None
    assert summary(3, samples=12).groups[ALL].severe_error_rate == 0.25
