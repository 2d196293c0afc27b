"""The output file of a sandboxed parser: any content is read or rejected."""

import io
import json

import numpy as np
import pyarrow as pa
import pytest
from errata.errors import ErrataError, InvalidRow, Violation
from hypothesis import given
from hypothesis import strategies as st

from service.predictions.sandbox.arrow_stream import MAX_BATCHES
from service.predictions.sandbox.rows_file import MAX_TEXT, read_rows, write_error, write_rows
from service.predictions.uploads.rows import NamedRows, OrderedRows

REFUSED = (ErrataError, ValueError)


def written(rows: object) -> bytes:
    file = io.BytesIO()
    write_rows(file, rows)  # type: ignore[arg-type]
    return file.getvalue()


def named() -> bytes:
    block = NamedRows(pa.array([b"a", b"b"]), pa.array([1, 2]), pa.array([0.5, 0.25]), np.array([1, 2]))
    return written(iter([block]))


def ordered() -> bytes:
    return written(OrderedRows(np.array([3, 4]), np.array([0.5, 0.25], dtype=np.float32), np.array([1, 1]), ("odd",)))


def with_document(stream: bytes, document: object) -> bytes:
    content = json.dumps(document).encode()
    return stream + content + len(content).to_bytes(8, "little")


def stream_of(compression: str | None = None, batches: int = 1, **columns: object) -> bytes:
    batch = pa.record_batch(columns)
    file = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(file, batch.schema, options=options) as stream:
        for _ in range(batches):
            stream.write_batch(batch)
    return file.getvalue()


def consume(content: bytes) -> None:
    rows = read_rows(content)
    if not isinstance(rows, OrderedRows):
        list(rows)


def test_an_error_is_read_as_it_was_written() -> None:
    file = io.BytesIO(b"rows that were written before")
    write_error(file, InvalidRow("line 3: bad", violations=[Violation("row", "bad", 3)]))

    with pytest.raises(InvalidRow, match="line 3: bad") as caught:
        read_rows(file.getvalue())
    assert caught.value.violations == (Violation("row", "bad", 3),)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(bytes(8), id="no document"),
        pytest.param((1 << 60).to_bytes(8, "little"), id="a length past all bytes"),
        pytest.param(with_document(b"", []), id="no object"),
        pytest.param(with_document(b"", {"kind": "other"}), id="an unknown kind"),
        pytest.param(with_document(b"", {"kind": "error", "reason": "ERRATA_ERROR", "message": "x"}), id="a reason"),
        pytest.param(with_document(b"", {"kind": "error", "reason": "TOO_LARGE", "message": 5}), id="a number as text"),
        pytest.param(with_document(b"", {"kind": "ordered", "warnings": []}), id="no arrays"),
        pytest.param(with_document(stream_of(top1=["x"]), {"kind": "ordered", "warnings": []}), id="text as classes"),
        pytest.param(with_document(stream_of(other=[1]), {"kind": "ordered", "warnings": []}), id="an unknown column"),
        pytest.param(
            with_document(stream_of(name=["x"], **{"class": [1]}, line=[1]), {"kind": "named"}), id="text as names"
        ),
        pytest.param(
            with_document(
                stream_of(name=[b"x"], **{"class": [1]}, line=[1]),
                {"kind": "named", "are_answers": True, "is_numbered": False, "is_certain": True},
            ),
            id="numbers as answers",
        ),
    ],
)
def test_an_invalid_rows_file_is_rejected(content: bytes) -> None:
    with pytest.raises(REFUSED):
        consume(content)


ZEROS = np.zeros(1 << 16, dtype=np.int64)


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (stream_of("zstd", top1=ZEROS), "got a compressed batch"),
        (stream_of("lz4", top1=ZEROS), "got a compressed batch"),
        (stream_of(batches=MAX_BATCHES + 1, top1=[1]), f"at most {MAX_BATCHES} batches"),
        (stream_of(top1=pa.array(["1", "2"]).dictionary_encode()), "got a dictionary"),
    ],
    ids=["zstd", "lz4", "many batches", "dictionary"],
)
def test_a_stream_that_takes_far_more_memory_than_its_size_is_rejected_before_it_is_unpacked(
    stream: bytes, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        read_rows(with_document(stream, {"kind": "ordered", "warnings": []}))


def test_long_messages_are_cut() -> None:
    document = {"kind": "error", "reason": "TOO_LARGE", "message": "x" * 10_000, "violations": []}

    with pytest.raises(ErrataError) as caught:
        read_rows(with_document(b"", document))

    assert len(caught.value.message) == MAX_TEXT


@pytest.mark.parametrize("content", [named(), ordered()], ids=["named", "ordered"])
@given(data=st.data())
def test_a_damaged_rows_file_is_read_or_rejected(content: bytes, data: st.DataObject) -> None:
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 8))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        consume(bytes(changed))
    except REFUSED:
        pass


def test_assumptions_and_the_kind_of_names_survive() -> None:
    """Given blocks with different assumptions, each is read once."""
    lines = np.array([1])
    blocks = [
        NamedRows(
            pa.array([b"0"]),
            pa.array(["a fish"]),
            None,
            lines,
            are_answers=True,
            is_numbered=True,
            is_certain=False,
            assumptions=texts,
        )
        for texts in (("one",), ("one", "two"))
    ]

    rows = list(read_rows(written(iter(blocks))))

    assert all(block.are_answers and block.is_numbered and not block.is_certain for block in rows[:-1])
    assert [text for block in rows for text in block.assumptions] == ["one", "two"]
    arrays = read_rows(written(OrderedRows(np.array([3]), None, assumptions=("three",))))
    assert isinstance(arrays, OrderedRows)
    assert arrays.assumptions == ("three",)


@pytest.mark.parametrize("assumptions", [3, [3], [["x"]], None])
def test_assumptions_of_another_type_are_rejected(assumptions: object) -> None:
    content = named()
    length = int.from_bytes(content[-8:], "little")
    document = json.loads(content[-8 - length : -8]) | {"assumptions": assumptions}

    with pytest.raises(REFUSED):
        consume(with_document(content[: -8 - length], document))
