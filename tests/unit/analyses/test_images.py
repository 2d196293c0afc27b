"""Queries of images against filters, counts, and orders that are computed one image at a time."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from errata.errors import AnalysisNotFound, ErrataError, ImageNotFound, InvalidRequest, NotComparable, Unavailable
from indexed_archive import InMemoryIndexedArchive

from service.analyses import model_verdicts
from service.analyses.explain import explain_prediction
from service.analyses.image_details import find_image
from service.analyses.images import list_images, select_images
from service.analyses.judge import compute_summary
from service.analyses.model_verdicts import find_model_verdicts
from service.analyses.ports import Stores
from service.analyses.verdict_cache import VerdictCache
from service.bootstrap.build import Inputs, build_evidence
from service.domain import ALL, ERROR_TYPES, Analysis, AnalysisRequest, ErrorType, Predictions, State, Verdict
from service.domain.images import MAX_FACET_VALUES, Facet, ImageQuery, ImageRow, Neighbors
from service.evidence.bundle import Bundle
from service.evidence.labels import original_labels, validation_name
from service.evidence.repository import EvidenceRepository
from service.jobs.memory import InMemoryJobStore

from .conftest import make_review_log

IMAGES = 400
CLASSES = (248, 249, 250, 281, 282, 504, 620, 681, 968)
MODELS = ("main", "older", "better", "worst")
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Case:
    """Stores with four analyses of one bundle, and the verdict of each on each judged image."""

    stores: Stores
    bundle: Bundle
    verdicts: dict[str, list[Verdict | None]]  # None: no prediction

    def failing(self, row: int, own: str) -> int:
        others = (verdicts[row] for name, verdicts in self.verdicts.items() if name != own)
        return sum(verdict is not None and not verdict.error_type.counts_as_correct for verdict in others)

    def predicting(self, row: int, own: str) -> int:
        return sum(verdicts[row] is not None for name, verdicts in self.verdicts.items() if name != own)

    def matching(self, query: ImageQuery, without: str = "") -> list[tuple[int, Verdict]]:
        """Return the rows and verdicts that match a query; `without`: the condition to leave out."""
        query = _without(query, without)
        verdicts = enumerate(self.verdicts[query.analysis])
        return [(row, verdict) for row, verdict in verdicts if verdict and self._matches(query, row, verdict)]

    def _matches(self, query: ImageQuery, row: int, verdict: Verdict) -> bool:
        names = self.bundle.label_space.superclasses.names_of(verdict.effective_target)
        before = self.verdicts[query.baseline][row] if query.baseline else None
        return (
            query.error_type in (None, verdict.error_type)
            and query.class_id in (None, verdict.effective_target)
            and query.predicted_id in (None, verdict.predicted)
            and (not query.superclass or query.superclass in names)
            and (query.group == ALL or query.group in verdict.groups)
            and query.problematic in (None, bool(self.bundle.evidence.problematic[row]))
            and (
                query.min_confidence is None
                or (verdict.probability is not None and verdict.probability >= query.min_confidence)
            )
            and (not query.change or (before is not None and _changed(query.change, before, verdict)))
        )


def _without(query: ImageQuery, condition: str) -> ImageQuery:
    unset: dict[str, Any] = {"superclass": "", "group": ALL}
    changes: dict[str, Any] = {condition: unset.get(condition)} if condition else {}
    return replace(query, **changes)


def _changed(change: str, before: Verdict, after: Verdict) -> bool:
    if change in ("fixed", "broken"):
        first, second = (before, after) if change == "fixed" else (after, before)
        return not first.error_type.counts_as_correct and second.error_type.counts_as_correct
    return [before.error_type.key, after.error_type.key] == change.split(":")


def _predictions(bundle: Bundle, seed: int, accuracy: float) -> Predictions:
    draw = random.Random(seed)
    top1 = [
        -1 if draw.random() < 0.02 else int(target) if draw.random() < accuracy else draw.choice(CLASSES)
        for target in bundle.all_targets.tolist()
    ]
    probability = np.array([draw.choice((0.0, 0.25, draw.random(), 1.0)) for _ in top1], dtype=np.float16)
    probability[::50] = np.nan
    return Predictions(np.array(top1, dtype=np.int16), probability)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    draw, folder = random.Random(4), tmp_path_factory.mktemp("images")
    lines = ["id,original_label,proposed_labels,unclear_multi_labels,is_problematic"]
    for number in range(1, IMAGES + 1):
        problematic = draw.random() < 0.2
        labels = [] if problematic and draw.random() < 0.5 else draw.sample(CLASSES, draw.randint(1, 3))
        target = original_labels()[number - 1]
        proposed = ", ".join(map(str, labels if draw.random() < 0.3 else [*labels, target]))
        lines.append(f'{validation_name(number)},{target},"{proposed}",,{problematic}')
    (folder / "annotations.csv").write_text("\n".join(lines) + "\n")
    bundle = build_evidence("imagenet", Inputs(annotations=folder / "annotations.csv"), folder / "bundle")
    repository = EvidenceRepository({"imagenet": [folder / "bundle"]}, folder / "data")
    archive, verdicts = InMemoryIndexedArchive(), {}
    job_store = InMemoryJobStore(lambda: 0.0)
    stores = Stores(repository, job_store, archive, archive.index, lambda: START, make_review_log())
    for number, (name, accuracy) in enumerate(zip(MODELS, (0.4, 0.3, 0.7, 0.0), strict=True)):
        predictions = _predictions(bundle, number, accuracy)
        verdicts[name] = _explain(bundle, predictions)
        archive.put(_analysis(name, bundle, predictions, number), predictions)
    return Case(stores, bundle, verdicts)


def _analysis(name: str, bundle: Bundle, predictions: Predictions, number: int) -> Analysis:
    return Analysis(
        name,
        AnalysisRequest(bundle.dataset, display_name=name.title()),
        State.SUCCEEDED,
        bundle.digest,
        START + timedelta(hours=number),
        summary=compute_summary(bundle, predictions),
    )


def _explain(bundle: Bundle, predictions: Predictions) -> list[Verdict | None]:
    verdicts: list[Verdict | None] = []
    assert predictions.probability is not None
    for name, image in zip(bundle.judged_names, bundle.rows.tolist(), strict=True):
        predicted, probability = int(predictions.top1[image]), float(predictions.probability[image])
        known = None if np.isnan(probability) else probability
        verdicts.append(None if predicted < 0 else explain_prediction(bundle, name, predicted, known))
    return verdicts


QUERIES = [
    ImageQuery("main"),
    ImageQuery("main", problematic=None),
    ImageQuery("main", problematic=True),
    ImageQuery("main", error_type=ErrorType.MODEL_FAILURE),
    ImageQuery("main", error_type=ErrorType.CORRECT, group="organism"),
    ImageQuery("main", predicted_id=281),
    ImageQuery("main", class_id=0),
    ImageQuery("main", class_id=281, problematic=None),
    ImageQuery("main", min_confidence=0.25),
    ImageQuery("main", min_confidence=0.25, error_type=ErrorType.FINE_GRAINED, predicted_id=250),
    ImageQuery("main", baseline="older", change="fixed"),
    ImageQuery("main", baseline="older", change="broken", group="organism"),
    ImageQuery("main", baseline="better", change="correct:model_failure", predicted_id=504),
    ImageQuery("worst", baseline="main", problematic=None),
]


@pytest.fixture(params=range(len(QUERIES) + 1))
def query(request: pytest.FixtureRequest, case: Case) -> ImageQuery:
    if request.param < len(QUERIES):
        return QUERIES[int(request.param)]
    superclass = case.bundle.label_space.superclasses.names_of(281)[0]
    return ImageQuery("main", superclass=superclass, error_type=ErrorType.MODEL_FAILURE)


def test_the_rows_of_all_pages_are_the_images_that_match_each_condition(case: Case, query: ImageQuery) -> None:
    expected = {
        verdict.file_name: (
            verdict.target,
            verdict.effective_target,
            verdict.predicted,
            verdict.error_type,
            bool(case.bundle.evidence.problematic[row]),
            verdict.probability,
            case.failing(row, query.analysis),
            case.predicting(row, query.analysis),
        )
        for row, verdict in case.matching(query)
    }
    rows = _all_rows(case.stores, query)
    assert {
        row.file_name: (
            row.target,
            row.effective_target,
            row.predicted,
            row.error_type,
            row.problematic,
            row.probability,
            row.num_failing,
            row.num_predicting,
        )
        for row in rows
    } == expected
    assert len(rows) == len(expected)


def test_the_rows_have_the_prediction_of_the_baseline(case: Case) -> None:
    rows = _all_rows(case.stores, ImageQuery("main", baseline="older"))
    before = {name: case.verdicts["older"][row] for name, row in case.bundle.row_of_name.items()}
    expected = {
        name: (verdict.predicted, verdict.error_type) if verdict else (None, None) for name, verdict in before.items()
    }
    assert rows and all((row.baseline_predicted, row.baseline_type) == expected[row.file_name] for row in rows)


def _all_rows(stores: Stores, query: ImageQuery, page_size: int = 17) -> list[ImageRow]:
    first = list_images(stores, replace(query, page_size=page_size))
    pages = [
        first,
        *(
            list_images(stores, replace(query, page_size=page_size, page=page))
            for page in range(2, first.num_pages + 1)
        ),
    ]
    assert [page.page for page in pages] == [*range(1, first.num_pages + 1)]
    rows = [row for page in pages for row in page.rows]
    assert len(rows) == first.total
    return rows


def test_each_facet_counts_the_images_that_match_all_other_conditions(case: Case, query: ImageQuery) -> None:
    facets = list_images(case.stores, query).facets
    superclasses = case.bundle.label_space.superclasses
    check = _check_facet
    check(facets.error_types, query.error_type, [v.error_type for _, v in case.matching(query, "error_type")])
    check(facets.classes, query.class_id, [v.effective_target for _, v in case.matching(query, "class_id")])
    check(facets.predicted, query.predicted_id, [v.predicted for _, v in case.matching(query, "predicted_id")])
    names = [superclasses.names_of(v.effective_target) for _, v in case.matching(query, "superclass")]
    check(facets.superclasses, query.superclass or None, [name for row in names for name in row])
    selected = None if query.group == ALL else query.group
    check(facets.groups, selected, [group for _, v in case.matching(query, "group") for group in v.groups])


def _check_facet(facet: Facet[Any], selected: object, values: Sequence[object]) -> None:
    """Check the counts of all values of a facet, and that the most frequent values and the selected one are there."""
    expected, actual = Counter(values), {item.value: item.count for item in facet.counts}
    assert all(count == expected[value] for value, count in actual.items())
    assert len(actual) == len(facet.counts), "each value occurs once"
    assert facet.num_values == len(expected)
    assert selected is None or selected in actual
    others = sorted(actual.keys() - {selected}, key=lambda value: -expected[value])
    left_out = expected.keys() - actual.keys()
    lowest = min((expected[value] for value in others), default=0)
    assert all(expected[value] <= lowest for value in left_out)
    assert not left_out or len(facet.counts) >= MAX_FACET_VALUES


def _position(verdict: Verdict) -> int:
    return ERROR_TYPES.index(verdict.error_type)


def _unknown_last(verdict: Verdict, sign: int) -> tuple[bool, float]:
    return verdict.probability is None, sign * (verdict.probability or 0)


FIRST: dict[str, Callable[[Case, int, Verdict], object]] = {
    "severity": lambda case, row, verdict: _position(verdict),
    "severity desc": lambda case, row, verdict: -_position(verdict),
    "confidence": lambda case, row, verdict: _unknown_last(verdict, 1),
    "confidence desc": lambda case, row, verdict: _unknown_last(verdict, -1),
    "class": lambda case, row, verdict: verdict.effective_target,
    "class desc": lambda case, row, verdict: -verdict.effective_target,
    "models": lambda case, row, verdict: case.failing(row, "main"),
    "models desc": lambda case, row, verdict: -case.failing(row, "main"),
}


@pytest.mark.parametrize("sort", FIRST)
def test_images_are_in_the_selected_order_and_then_by_severity_confidence_and_row(case: Case, sort: str) -> None:
    query = ImageQuery("main", problematic=None, sort=sort)
    expected = sorted(
        case.matching(query),
        key=lambda item: (FIRST[sort](case, *item), -_position(item[1]), *_unknown_last(item[1], -1), item[0]),
    )
    selection, rows = select_images(case.stores, query), [row for row, _ in expected]
    assert selection.sorted_rows.tolist() == rows
    assert [selection.position(row) for row in rows] == [*range(len(rows))]
    assert selection.position(len(case.bundle.rows)) is None


@pytest.mark.parametrize(
    ("query", "field", "message"),
    [
        (ImageQuery("main", class_id=1000), "class", "Class 1000 does not exist. Expected an index from 0 to 999."),
        (ImageQuery("main", predicted_id=-1), "predicted", "Class -1 does not exist."),
        (ImageQuery("main", superclass="<b>"), "superclass", "Unknown superclass '<b>'"),
        (ImageQuery("main", group="pets"), "group", "Unknown group 'pets'"),
        (ImageQuery("main", min_confidence=float("nan")), "min_probability", "Confidence nan is not between 0 and 1."),
        (ImageQuery("main", sort="name"), "sort", "Unknown order 'name'"),
        (ImageQuery("main", sort="class desc desc"), "sort", "Unknown order"),
        (ImageQuery("main", page=0), "page", "Page 0 does not exist. The first page is 1."),
        (ImageQuery("main", page_size=1001), "page_size", "Page size 1001 is not between 1 and 1000."),
        (ImageQuery("main", change="fixed"), "baseline", "Name one, for example with --baseline."),
        (ImageQuery("main", baseline="older", change="a:b"), "change", "Unknown change 'a:b'"),
    ],
)
def test_an_invalid_query_is_refused(case: Case, query: ImageQuery, field: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message[:30].replace("(", r"\(")) as error:
        list_images(case.stores, query)
    assert error.value.violations[0].field == field
    assert message in error.value.message


def test_a_page_after_the_last_one_is_the_last_one(case: Case) -> None:
    page = list_images(case.stores, ImageQuery("main", page=10**9))
    assert page.page == page.num_pages
    assert page.rows == list_images(case.stores, ImageQuery("main", page=page.num_pages)).rows


def test_confidence_cannot_be_a_condition_without_probabilities(case: Case) -> None:
    predictions = Predictions(_predictions(case.bundle, 9, 0.5).top1)
    analysis = _analysis("plain", case.bundle, predictions, 9)
    case.stores.archive.put(analysis, predictions)
    try:
        assert all(row.probability is None for row in list_images(case.stores, ImageQuery("plain")).rows)
        with pytest.raises(ErrataError, match="has no probabilities"):
            list_images(case.stores, ImageQuery("plain", min_confidence=0.5))
    finally:
        case.stores.archive.delete("plain")


def test_a_baseline_with_other_evidence_is_refused(case: Case) -> None:
    bundle = case.stores.evidence.find("imagenet-real", "")
    predictions = Predictions(np.array(bundle.all_targets))
    case.stores.archive.put(_analysis("other", bundle, predictions, 8), predictions)
    with pytest.raises(NotComparable):
        list_images(case.stores, ImageQuery("main", baseline="other"))


def test_verdicts_of_other_analyses_follow_the_archive_and_are_computed_once(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = find_model_verdicts(case.stores, case.bundle)
    assert [verdicts.id for verdicts in before.analyses] == [*reversed(MODELS)]
    read: list[str] = []
    predictions = case.stores.archive.predictions

    def record(name: str) -> Predictions | None:
        read.append(name)
        return predictions(name)

    monkeypatch.setattr(case.stores.archive, "predictions", record)
    assert find_model_verdicts(case.stores, case.bundle) is before
    new = Predictions(_predictions(case.bundle, 7, 0.1).top1)
    case.stores.archive.put(_analysis("new", case.bundle, new, 7), new)
    after = find_model_verdicts(case.stores, case.bundle)
    assert read == ["new"]
    assert (after.num_failing - before.num_failing).tolist() == [
        verdict is not None and not verdict.error_type.counts_as_correct
        for verdict in _explain(case.bundle, Predictions(new.top1, np.zeros(len(new.top1), np.float16)))
    ]
    case.stores.archive.delete("new")
    assert np.array_equal(find_model_verdicts(case.stores, case.bundle).num_failing, before.num_failing)


def test_a_query_is_computed_once_until_an_analysis_or_the_order_changes(case: Case) -> None:
    query = ImageQuery("main", error_type=ErrorType.MODEL_FAILURE, baseline="older")
    selection = select_images(case.stores, query)
    assert select_images(case.stores, replace(query, page=3, page_size=7)) is selection
    assert select_images(case.stores, replace(query, sort="class")) is not selection

    before = list_images(case.stores, query)
    other = Predictions(_predictions(case.bundle, 7, 0.1).top1)
    case.stores.archive.put(_analysis("new", case.bundle, other, 7), other)
    after = list_images(case.stores, query)
    assert after.num_models == before.num_models + 1
    case.stores.archive.delete("new")
    assert list_images(case.stores, query).rows == before.rows


def test_an_implausible_analysis_does_not_count_as_another_analysis(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it take the place of another one if the number of analyses is limited."""
    monkeypatch.setattr(model_verdicts, "MAX_MODELS", len(MODELS))
    query = ImageQuery("main")
    before = list_images(case.stores, query)
    wrong = _predictions(case.bundle, 7, 0.0)
    case.stores.archive.put(replace(_analysis("wrong", case.bundle, wrong, 7), implausible=True), wrong)
    after = list_images(case.stores, query)
    details = find_image(case.stores, "imagenet", after.rows[0].file_name, query)
    own = list_images(case.stores, ImageQuery("wrong"))
    case.stores.archive.delete("wrong")

    assert (after.rows, after.num_models) == (before.rows, before.num_models)
    assert [other.analysis for other in details.others] == ["worst", "better", "older"]
    assert own.num_models == len(MODELS)


def test_an_image_has_its_neighbors_in_the_query_and_the_verdicts_of_all_analyses(case: Case) -> None:
    query = ImageQuery("main", error_type=ErrorType.MODEL_FAILURE, sort="class")
    selection = select_images(case.stores, query)
    names = [case.bundle.judged_names[row] for row in selection.sorted_rows]
    assert len(names) > 3
    for position in (0, 1, len(names) - 1):
        details = find_image(case.stores, "imagenet", names[position], query)
        assert details.neighbors == Neighbors(
            position,
            len(names),
            names[position - 1] if position else None,
            names[position + 1] if position + 1 < len(names) else None,
        )
        row = case.bundle.row(names[position])
        assert details.verdict.error_type is ErrorType.MODEL_FAILURE
        expected = {name: case.verdicts[name][row] for name in MODELS if name != "main"}
        assert {other.analysis: other.error_type for other in details.others} == {
            name: verdict.error_type if verdict else None for name, verdict in expected.items()
        }
        assert {other.analysis: other.predicted for other in details.others} == {
            name: verdict.predicted if verdict else -1 for name, verdict in expected.items()
        }


def test_an_image_outside_of_the_query_has_no_neighbors(case: Case) -> None:
    row = next(row for row, verdict in case.matching(ImageQuery("main", error_type=ErrorType.CORRECT)))
    query = ImageQuery("main", error_type=ErrorType.MODEL_FAILURE)

    assert find_image(case.stores, "imagenet", case.bundle.judged_names[row], query).neighbors is None


def test_an_image_without_a_prediction_is_not_found(case: Case) -> None:
    row = case.verdicts["main"].index(None)

    with pytest.raises(ImageNotFound, match="Analysis main has no prediction for the image"):
        find_image(case.stores, "imagenet", case.bundle.judged_names[row], ImageQuery("main"))


def test_unreadable_predictions_of_another_analysis_are_left_out(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = case.stores.archive.predictions

    def fail(name: str) -> Predictions | None:
        if name == "older":
            raise Unavailable("damaged")
        return None if name == "better" else predictions(name)

    monkeypatch.setattr(case.stores.archive, "predictions", fail)
    stores = replace(case.stores, verdict_cache=VerdictCache())

    assert [verdicts.id for verdicts in find_model_verdicts(stores, case.bundle).analyses] == ["worst", "main"]


def test_the_number_of_analyses_in_memory_is_bounded(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.analyses.model_verdicts.MAX_VERDICTS", 3 * len(case.bundle.rows) + 1)
    stores = replace(case.stores, verdict_cache=VerdictCache())

    page = list_images(stores, ImageQuery("main"))

    assert page.num_models == 3, "the three newest, without this analysis"
    assert [item.id for item in find_model_verdicts(stores, case.bundle).analyses] == ["worst", "better", "older"]


def test_pages_read_predictions_once_until_the_analysis_changes(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    stores = replace(case.stores, verdict_cache=VerdictCache())
    first = _predictions(case.bundle, 20, 0.0)
    stores.archive.put(_analysis("again", case.bundle, first, 20), first)
    before = list_images(stores, ImageQuery("again"))
    read: list[str] = []
    predictions = stores.archive.predictions

    def record(name: str) -> Predictions | None:
        read.append(name)
        return predictions(name)

    monkeypatch.setattr(stores.archive, "predictions", record)
    assert list_images(stores, ImageQuery("again")).rows == before.rows
    assert read == []

    second = _predictions(case.bundle, 21, 0.9)
    stores.archive.put(replace(_analysis("again", case.bundle, second, 20), predictions_digest="2"), second)
    assert list_images(stores, ImageQuery("again")).facets != before.facets
    stores.archive.delete("again")
    with pytest.raises(AnalysisNotFound):
        list_images(stores, ImageQuery("again"))
