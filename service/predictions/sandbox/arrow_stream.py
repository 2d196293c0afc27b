"""Messages of an Arrow stream whose writer isn't trusted, checked before Arrow reads what is in them.

Arrow unpacks compressed buffers, which may be a thousand times as large, and has no option that forbids it.
"""

import struct

import pyarrow as pa

MAX_BATCHES = 1 << 14
ALLOWED = ("schema", "record batch")  # no dictionaries, no tensors
HEADER, COMPRESSION = 2, 3  # fields of the tables Message and RecordBatch of Arrow's format


def check_messages(stream: pa.Buffer) -> None:
    """Raise ValueError for a stream of more than MAX_BATCHES batches, compressed ones, or messages of other types."""
    try:
        _check(pa.ipc.MessageReader.open_stream(stream))
    except struct.error as error:
        raise ValueError(f"expected a FlatBuffers message, got {error}") from error


def _check(reader: pa.ipc.MessageReader) -> None:
    for _ in range(MAX_BATCHES + 1):
        try:
            message = reader.read_next_message()
        except StopIteration:
            return
        if message.type not in ALLOWED:
            raise ValueError(f"expected a schema and batches, got a {message.type}")
        if message.type == "record batch" and _is_compressed(message.metadata.to_pybytes()):
            raise ValueError("expected batches as they are, got compressed ones")
    raise ValueError(f"expected at most {MAX_BATCHES} batches, got more")


def _is_compressed(metadata: bytes) -> bool:
    """Say whether a batch states a compression; Arrow has verified the FlatBuffers of a message that it returns."""
    (message,) = struct.unpack_from("<I", metadata)
    field = _field(metadata, message, HEADER)
    if not field:
        return False
    (offset,) = struct.unpack_from("<I", metadata, field)
    return bool(_field(metadata, field + offset, COMPRESSION))


def _field(content: bytes, table: int, index: int) -> int:
    """Return where a field of a FlatBuffers table lies; 0 if the table lacks it."""
    (distance,) = struct.unpack_from("<i", content, table)
    entries = table - distance
    (size,) = struct.unpack_from("<H", content, entries)
    place = 4 + 2 * index  # after the sizes of the list and of the table
    if place >= size:
        return 0
    (offset,) = struct.unpack_from("<H", content, entries + place)
    return table + offset if offset else 0
