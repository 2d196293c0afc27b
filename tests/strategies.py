"""Hypothesis strategies for records of the domain."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from service.domain import (
    ALL,
    ERROR_TYPES,
    NO_CLASS,
    Analysis,
    AnalysisRequest,
    AnswerExample,
    AnswerOutcome,
    AnswerRelation,
    AnswerSummary,
    ErrorType,
    Failure,
    GroupSummary,
    ModelInfo,
    ProblematicTag,
    Progress,
    RowOrder,
    State,
    Summary,
    Verdict,
)
from service.taxonomy.imagenet_1k import GROUPS

ABSTAINING = (ErrorType.FINE_GRAINED_OOV, ErrorType.SPURIOUS_CORRELATION, ErrorType.NON_PROTOTYPICAL)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
COUNTS = st.integers(0, 2**31 - 1)
RATES = st.none() | st.floats(0, 1)
SHARES = st.dictionaries(st.sampled_from(ERROR_TYPES), st.floats(0, 1))
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(9998, 12, 31), timezones=st.just(UTC))

VERDICTS = st.builds(
    Verdict,
    file_name=TEXTS,
    target=st.integers(0, 999),
    predicted=st.integers(0, 999) | st.just(NO_CLASS),
    error_type=st.sampled_from(ERROR_TYPES),
    problematic=st.lists(st.sampled_from(list(ProblematicTag)[1:]), max_size=2).map(tuple),
    probability=st.none()
    | st.floats(0, 1)
    | st.floats(0, 1, width=16)
    | st.sampled_from([0.0, 1.0, 5e-324, 0.1 + 0.2]),
    evidence=st.none(),
    groups=st.lists(st.sampled_from(GROUPS), unique=True).map(tuple),
    matches_label=st.booleans(),
    answer=TEXTS,
    answer_outcome=st.sampled_from(AnswerOutcome),
    answer_relation=st.sampled_from(AnswerRelation),
    replaced_by=st.none() | st.integers(0, 999),
)


@st.composite
def _groups(draw: st.DrawFn) -> GroupSummary:
    counts = draw(st.fixed_dictionaries(dict.fromkeys(ERROR_TYPES, st.integers(0, 50_000))))
    shares = [draw(SHARES) for _ in range(4)]
    rates: list[Any] = [draw(RATES) for _ in range(4)]  # Any: mypy does not know the length
    summary = GroupSummary(sum(counts.values()), counts, draw(COUNTS), *rates, *shares)
    return replace(summary, accuracy_against_labels=draw(RATES))


SUMMARIES = st.builds(
    Summary,
    groups=st.fixed_dictionaries(dict.fromkeys((ALL, *GROUPS), _groups())),
    abstained=st.lists(st.sampled_from(ABSTAINING), unique=True).map(tuple),
    num_problematic=COUNTS,
    num_images=COUNTS,
    num_predicted=COUNTS,
    top1_accuracy_all_images=RATES,
    top1_accuracy_among_classes=RATES,
    imagenet_m_errors=st.none() | COUNTS,
    num_judged=st.none() | COUNTS,
    num_rejected_targets=st.none() | COUNTS,
)
REQUESTS = st.builds(
    AnalysisRequest,
    dataset=TEXTS,
    model=TEXTS,
    display_name=TEXTS,
    evidence=TEXTS,
    labels=st.dictionaries(TEXTS, TEXTS, max_size=3),
    request_id=TEXTS,
    row_order=st.sampled_from(RowOrder),
    fresh=st.booleans(),
    gate_policy=TEXTS,
)
ANSWERS = st.builds(
    AnswerSummary,
    *[COUNTS] * 11,
    examples=st.lists(
        st.builds(AnswerExample, TEXTS, st.sampled_from(AnswerOutcome), COUNTS, st.lists(TEXTS, max_size=2).map(tuple)),
        max_size=3,
    ).map(tuple),
    mapping_digest=TEXTS,
)
ANALYSES = st.builds(  # finished analyses
    Analysis,
    id=st.text("0123456789abcdefghjkmnpqrstvwxyz", min_size=1, max_size=21),
    request=REQUESTS,
    state=st.sampled_from([State.FAILED, State.CANCELLED]),
    evidence=TEXTS,
    create_time=TIMES,
    owner=TEXTS,
    start_time=st.none() | TIMES,
    end_time=st.none() | TIMES,
    progress=st.builds(Progress, done=COUNTS, total=COUNTS),
    predictions_digest=TEXTS,
    model_info=st.none() | st.builds(ModelInfo, TEXTS, TEXTS, TEXTS, TEXTS),
    summary=st.none() | SUMMARIES,
    failure=st.none() | st.builds(Failure, TEXTS, TEXTS),
    warnings=st.lists(TEXTS, max_size=3).map(tuple),
    request_digest=TEXTS,
    cached=st.booleans(),
    implausible=st.booleans(),
    answers=st.none() | ANSWERS,
).map(lambda analysis: replace(analysis, state=State.SUCCEEDED) if analysis.summary else analysis)
