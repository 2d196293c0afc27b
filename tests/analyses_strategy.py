"""Small analyses for tests of listings: few distinct values, so that filters match and sort values are equal."""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from service.archive.document import encode_document
from service.archive.port import Record
from service.domain import (
    ALL,
    ERROR_TYPES,
    Analysis,
    AnalysisRequest,
    ErrorType,
    GroupSummary,
    ModelInfo,
    State,
    Summary,
)
from service.taxonomy.imagenet_1k import GROUPS

START = datetime(2026, 1, 1, tzinfo=UTC)
TITLES = ("", "net", "Net 2", "Ärger ß", "z\0z")
ACCURACIES = (None, 0.25, 0.5, 0.75)
LABELS = ("a", "b", "c")


def make_summary(accuracy: float | None, failures: int) -> Summary:
    counts = dict.fromkeys(ERROR_TYPES, 0) | {ErrorType.CORRECT: 100 - failures, ErrorType.MODEL_FAILURE: failures}
    group = GroupSummary(100, counts, failures, accuracy, accuracy, None, None, {}, {}, {}, {})
    return Summary(dict.fromkeys((ALL, *GROUPS), group), (ErrorType.FINE_GRAINED_OOV,), 0, 100, 100, None, None, None)


def make_analysis(analysis_id: str, minutes: int = 0, **changes: object) -> Analysis:
    """Return a successful analysis that was created `minutes` after START."""
    created = START + timedelta(minutes=minutes)
    request = AnalysisRequest("demo", display_name="net", labels={"n": str(minutes % 3)})
    values: dict[str, object] = {
        "request": request,
        "state": State.SUCCEEDED,
        "evidence": "e" * 64,
        "create_time": created,
        "end_time": created + timedelta(seconds=5),
        "summary": make_summary(0.5, 7),
        "predictions_digest": analysis_id,
    }
    return Analysis(analysis_id, **(values | changes))  # type: ignore[arg-type]


def make_record(analysis: Analysis) -> Record:
    return Record(analysis, encode_document(analysis))


@st.composite
def archived_analyses(draw: st.DrawFn, ids: st.SearchStrategy[str] | None = None) -> Analysis:
    """Generate an archived analysis."""
    state = draw(st.sampled_from([State.SUCCEEDED, State.SUCCEEDED, State.FAILED, State.CANCELLED]))
    request = AnalysisRequest(
        draw(st.sampled_from(["demo", "imagenet"])),
        draw(st.sampled_from(["", "timm:a", "timm:b"])),
        draw(st.sampled_from(TITLES)),
        labels=draw(st.dictionaries(st.sampled_from(LABELS), st.sampled_from(LABELS), max_size=2)),
        request_id=draw(st.sampled_from(["", "r1", "r2"])),
    )
    accuracy, failures = draw(st.sampled_from(ACCURACIES)), draw(st.integers(0, 3))
    return make_analysis(
        draw(ids if ids is not None else st.text("ab01", min_size=1, max_size=4)),
        draw(st.integers(0, 5)),
        request=request,
        state=state,
        evidence=draw(st.sampled_from(["e" * 64, "ef" * 32, "f" * 64])),
        owner=draw(st.sampled_from(["", "me", "registry:prod"])),
        computation=draw(st.sampled_from(["", "c1", "c2"])),
        end_time=draw(st.none() | st.integers(0, 5).map(lambda minutes: START + timedelta(minutes=minutes))),
        model_info=draw(st.sampled_from([None, ModelInfo("timm:a", "resnet", "w", "t")])),
        summary=make_summary(accuracy, failures) if state is State.SUCCEEDED else None,
        implausible=draw(st.booleans()) and state is State.SUCCEEDED,
    )


def unique_analyses(max_size: int = 30) -> st.SearchStrategy[list[Analysis]]:
    """Generate analyses with different ids."""
    return st.lists(archived_analyses(), max_size=max_size, unique_by=lambda analysis: analysis.id)
