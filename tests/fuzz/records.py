"""Strategies for records of the domain, and for values as JSON holds them, odd ones above all."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from service.domain import (
    CLASS_GROUPS,
    ERROR_TYPES,
    Analysis,
    AnalysisRequest,
    ErrorType,
    Failure,
    Group,
    GroupSummary,
    ModelInfo,
    ProblematicTag,
    Progress,
    RowOrder,
    State,
    Summary,
    Verdict,
)

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
    predicted=st.integers(0, 999),
    error_type=st.sampled_from(ERROR_TYPES),
    problematic=st.lists(st.sampled_from(list(ProblematicTag)[1:]), max_size=2).map(tuple),
    probability=st.none()
    | st.floats(0, 1)
    | st.floats(0, 1, width=16)
    | st.sampled_from([0.0, 1.0, 5e-324, 0.1 + 0.2]),
    evidence=st.none(),
    groups=st.lists(st.sampled_from(CLASS_GROUPS), unique=True).map(tuple),
)


@st.composite
def _groups(draw: st.DrawFn) -> GroupSummary:
    counts = draw(st.fixed_dictionaries(dict.fromkeys(ERROR_TYPES, st.integers(0, 50_000))))
    shares = [draw(SHARES) for _ in range(4)]
    return GroupSummary(sum(counts.values()), counts, draw(COUNTS), *(draw(RATES) for _ in range(4)), *shares)


SUMMARIES = st.builds(
    Summary,
    groups=st.fixed_dictionaries(dict.fromkeys(Group, _groups())),
    abstained=st.lists(st.sampled_from(ABSTAINING), unique=True).map(tuple),
    num_problematic=COUNTS,
    num_images=COUNTS,
    num_predicted=COUNTS,
    top1_accuracy_all_images=RATES,
    top1_accuracy_among_classes=RATES,
    imagenet_m_errors=st.none() | COUNTS,
    num_judged=st.none() | COUNTS,
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
ANALYSES = st.builds(  # such as are archived: they have ended
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
).map(lambda each: replace(each, state=State.SUCCEEDED) if each.summary else each)

NUMBERS = (
    st.integers() | st.floats() | st.sampled_from([10**400, -(10**400), 2**31, 2**63, 2**64, 1e308, -1, -0.0, 0.5])
)
ANY_TEXT = st.text(max_size=12) | st.sampled_from(["\ud800", "\udcff", "\0", "a" * 6000, "NaN", "1970-01-01", "²"])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)


def nested(depth: int, within: type) -> Any:
    """A list of lists, or an object of objects, so deep."""
    value: Any = None
    for _ in range(depth):
        value = [value] if within is list else {"a": value}
    return value


@st.composite
def changed(draw: st.DrawFn, document: Any, most: int = 3) -> Any:
    """A JSON value in which something is another, is missing, or is there besides."""
    document = _copied(document)
    for _ in range(draw(st.integers(1, most))):
        places = list(_places(document))
        if not places:
            return draw(JSON)
        holder, key = draw(st.sampled_from(places))
        change = draw(st.sampled_from(["set", "set", "drop", "add", "swap", "nest"]))
        if change == "drop":
            del holder[key]
        elif change == "add" and isinstance(holder, dict):
            holder[draw(ANY_TEXT)] = draw(JSON)
        elif change == "swap":
            other, there = draw(st.sampled_from(places))
            if there in other if isinstance(other, dict) else there < len(other):
                holder[key] = _copied(other[there])
        elif change == "nest":
            holder[key] = nested(draw(st.sampled_from([1, 50, 500, 900])), draw(st.sampled_from([list, dict])))
        else:
            holder[key] = draw(JSON)
    return document


def _places(value: Any, depth: int = 0) -> "list[tuple[Any, Any]]":
    found: list[tuple[Any, Any]] = []
    if depth < 20 and isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            found += [(value, key), *_places(value[key], depth + 1)]
    return found


def _copied(value: Any, depth: int = 0) -> Any:
    if depth < 20 and isinstance(value, dict):
        return {key: _copied(each, depth + 1) for key, each in value.items()}
    if depth < 20 and isinstance(value, list):
        return [_copied(each, depth + 1) for each in value]
    return value
