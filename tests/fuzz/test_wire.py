"""Any message is decoded or refused, encoded records decode to themselves, and JSON is valid proto3 JSON."""

import base64
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from errata import v1 as pb
from errata.errors import InvalidInput, NewerRecord
from errata.names import verdict_name
from errata.proto_json import to_json
from google.protobuf.json_format import Parse, SerializeToJsonError
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import example, given
from hypothesis import strategies as st
from indexed_archive import temporary_index
from strategies import ANALYSES, VERDICTS

from service import wire
from service.analyses.verdicts import VerdictFilter
from service.archive.document import from_document, to_document
from service.domain import NEWEST_FIRST, ORDERS, Analysis, AnalysisFilter, AnalysisRequest, Order, Verdict
from service.taxonomy.imagenet_1k import imagenet_1k
from service.wire import paging

from .conftest import FUZZ
from .messages import messages
from .values import JSON, changed


def verdict_filter(message: pb.VerdictFilter) -> VerdictFilter:
    return wire.verdict_filter(message, imagenet_1k())


DECODERS: dict[Callable[[Any], object], tuple[type[Message], type]] = {
    wire.request_from_create: (pb.CreateAnalysisRequest, AnalysisRequest),
    wire.request_from_header: (pb.UploadHeader, AnalysisRequest),
    wire.analysis_filter: (pb.AnalysisFilter, AnalysisFilter),
    verdict_filter: (pb.VerdictFilter, VerdictFilter),
    wire.from_analysis: (pb.Analysis, Analysis),
}
INDEX = temporary_index()
SENT = sorted(name for name, value in vars(pb).items() if isinstance(value, type) and issubclass(value, Message))


@pytest.mark.parametrize("decode", DECODERS, ids=lambda decode: decode.__name__)
def test_any_message_becomes_a_record_or_is_rejected(decode: Callable[[Any], object]) -> None:
    kind, record = DECODERS[decode]

    @FUZZ
    @given(messages(kind))
    def fuzz(message: Message) -> None:
        with suppress(InvalidInput):
            assert isinstance(decode(message), record)

    fuzz()


# Timestamp.ToDatetime raised OverflowError and ValueError for times that no calendar has
@pytest.mark.parametrize(
    "time", [Timestamp(seconds=2**62), Timestamp(seconds=-(2**62)), Timestamp(nanos=-1), Timestamp(nanos=2**31 - 1)]
)
def test_an_analysis_with_an_invalid_timestamp_is_rejected(time: Timestamp) -> None:
    with pytest.raises(InvalidInput):
        wire.from_analysis(pb.Analysis(name="a1", state=pb.Analysis.STATE_QUEUED, create_time=time))


@FUZZ
@given(value=st.integers(-(2**31), 2**31 - 1) | st.integers(-3, 1003), size=st.integers(1, 1000))
def test_any_number_is_a_class_and_a_page_size_or_is_rejected(value: int, size: int) -> None:
    with suppress(InvalidInput):
        assert wire.class_named(str(value), "target", imagenet_1k()) == value
    with suppress(InvalidInput):
        assert 1 <= wire.page_size(value, size) <= 1000


@FUZZ
@given(st.text() | st.text("analyse/verdict0129 .%²é\0", max_size=70).map(lambda text: f"analyses/a/verdicts/{text}"))
def test_any_name_is_a_verdict_or_is_rejected(name: str) -> None:
    with suppress(InvalidInput):
        analysis, file_name = wire.verdict_ids(name)
        assert wire.verdict_ids(verdict_name(analysis, file_name)) == (analysis, file_name)


@FUZZ
@given(st.text() | st.text("analyse/0123456789 .%²é\0", max_size=70).map(lambda text: f"analyses/{text}"))
def test_any_name_is_an_id_or_is_rejected(name: str) -> None:
    with suppress(InvalidInput):
        result = wire.analysis_id(name)
        assert wire.analysis_id(wire.analysis_name(result)) == result
        assert result.isascii() and result.isalnum()


def test_a_page_token_gives_its_place_for_its_own_query_and_any_other_text_is_rejected() -> None:
    kind = pb.ListVerdictsRequest

    @FUZZ
    @given(data=st.data(), query=messages(kind), place=st.integers(0, 2**63))
    def fuzz(data: st.DataObject, query: Any, place: int) -> None:
        token = paging.page_token(place, query)
        assert paging.page_offset(token, query) == place
        forged = st.one_of(
            st.text(max_size=40),
            st.binary(max_size=40).map(lambda content: base64.urlsafe_b64encode(content).decode()),
            JSON.map(lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).decode()),
            st.integers(0, len(token) - 1).map(lambda cut: token[:cut] + token[cut + 1 :]),
            messages(kind).map(lambda other: paging.page_token(place, other)),
        )
        with suppress(InvalidInput):
            assert paging.page_offset(data.draw(forged), query) >= 0

    fuzz()


@FUZZ
@given(
    content=JSON
    | st.lists(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("key"), max_size=4),
    order=st.sampled_from(ORDERS),
)
@example([1.5, "a", "key"], NEWEST_FIRST)
@example(["é", "a", "key"], Order("display_name"))
def test_any_cursor_is_a_position_that_the_index_accepts_or_is_rejected(content: Any, order: Any) -> None:
    token = base64.urlsafe_b64encode(json.dumps(content).encode()).decode()
    with suppress(InvalidInput):
        cursor = wire.token_cursor(token, "key", order)
        assert cursor is not None
        assert INDEX.find(AnalysisFilter(), order, cursor, 10) == []
        assert wire.token_cursor(wire.cursor_token(cursor, "key"), "key", order) == cursor


@FUZZ
@given(st.sampled_from(SENT).flatmap(lambda name: messages(getattr(pb, name))))
@example(pb.Analysis(create_time=Timestamp(seconds=1 << 40)))
def test_the_json_of_any_message_is_read_back_by_protobuf_itself(message: Message) -> None:
    try:
        text = to_json(message)
    except SerializeToJsonError:
        assert _has_time(message), "only a time or a span may have no form in JSON"
        return
    back = Parse(text, type(message)())
    assert back.SerializeToString(deterministic=True) == message.SerializeToString(deterministic=True)


def _has_time(message: Message) -> bool:
    """Return whether a message contains a timestamp or a duration, at any depth."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.full_name in ("google.protobuf.Timestamp", "google.protobuf.Duration"):
            return True
        is_map = field.message_type.GetOptions().map_entry
        inner = [value[key] for key in value] if is_map else value if field.is_repeated else [value]
        if any(_has_time(item) for item in inner if isinstance(item, Message)):
            return True
    return False


# -- round trips

READ_FIELDS = ("name", "model", "display_name", "dataset", "evidence", "labels", "state", "create_time", "summary")
READ_FIELDS += ("warnings", "predictions_digest", "model_info")


def with_read_fields(message: pb.Analysis) -> pb.Analysis:
    """Return a copy with only the fields that from_analysis reads."""
    plain = pb.Analysis()
    plain.CopyFrom(message)
    for field in message.DESCRIPTOR.fields:
        if field.name not in READ_FIELDS:
            plain.ClearField(field.name)
    return plain


@FUZZ
@given(ANALYSES)
def test_an_analysis_survives_conversion_to_a_message_and_json(analysis: Analysis) -> None:
    message = wire.to_analysis(analysis)

    back = wire.from_analysis(message)

    assert with_read_fields(wire.to_analysis(back)) == with_read_fields(message)
    assert wire.from_analysis(Parse(to_json(message), pb.Analysis())) == back


@FUZZ
@given(analysis=ANALYSES, changes=messages(pb.Analysis))
def test_an_analysis_with_odd_fields_becomes_a_record_that_can_be_sent_or_is_rejected(
    analysis: Analysis, changes: pb.Analysis
) -> None:
    message = wire.to_analysis(analysis)
    message.MergeFrom(changes)

    try:
        back = wire.from_analysis(message)
    except InvalidInput:
        return
    assert wire.from_analysis(wire.to_analysis(back)).id == back.id


@FUZZ
@given(VERDICTS)
def test_the_line_of_a_verdict_is_protobufs_own_json(verdict: Verdict) -> None:
    def words(text: str) -> Any:
        return json.loads(text, parse_int=str, parse_float=str)

    line = wire.verdict_line(verdict, imagenet_1k().names)

    assert "\n" not in line
    message = wire.to_verdict(verdict, imagenet_1k().names)
    assert words(line) == {name: value for name, value in words(to_json(message)).items() if name != "name"}
    assert Parse(line, pb.Verdict()) == message


# -- the archive's documents

DAMAGED = (
    NewerRecord,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
)  # errors that the archive handles


@FUZZ
@given(data=st.data(), analysis=ANALYSES)
def test_a_changed_document_is_rejected_as_damaged_or_is_an_analysis_that_can_be_sent(
    data: st.DataObject, analysis: Analysis
) -> None:
    document = data.draw(changed(to_document(analysis)))

    try:
        result = from_document(document)
    except DAMAGED:
        return
    assert to_json(wire.to_analysis(result))
    assert from_document(json.loads(json.dumps(to_document(result)))) == result


@pytest.mark.parametrize("schema", [2, 1 << 40])
def test_a_document_of_a_newer_schema_is_rejected_as_newer(schema: int) -> None:
    with pytest.raises(NewerRecord):
        from_document({"schema": schema})


@FUZZ
@given(JSON)
def test_any_json_is_rejected_as_a_document(document: Any) -> None:
    with pytest.raises(DAMAGED):
        from_document(document)
