"""Checks of an untrusted Arrow stream before Arrow reads the data in it.

Arrow decompresses buffers, which can then be a thousand times as large, and has no option to refuse compressed buffers.
"""

import struct

import pyarrow as pa

MAX_BATCHES = 1 << 14
ALLOWED_TYPES = ("schema", "record batch")  # the allowed types; dictionaries and tensors are refused
HEADER, COMPRESSION = 2, 3  # numbers of fields in the tables Message and RecordBatch of Arrow's format


def check_messages(stream: pa.Buffer) -> None:
    """Raise ValueError for more than MAX_BATCHES batches, compressed batches, or messages of other types."""
    try:
        _check(pa.ipc.MessageReader.open_stream(stream))
    except struct.error as error:
        raise ValueError(f"Expected a FlatBuffers message: {error}.") from error


def _check(reader: pa.ipc.MessageReader) -> None:
    for _ in range(MAX_BATCHES + 1):
        try:
            message = reader.read_next_message()
        except StopIteration:
            return
        if message.type not in ALLOWED_TYPES:
            raise ValueError(f"Expected a schema and record batches, got a {message.type}.")
        if message.type == "record batch" and _is_compressed(message.metadata.to_pybytes()):
            raise ValueError("Expected uncompressed batches, got a compressed batch.")
    raise ValueError(f"Expected at most {MAX_BATCHES} batches, got more.")


def _is_compressed(metadata: bytes) -> bool:
    """Return whether a batch is compressed. Arrow must already have verified the FlatBuffers of the message."""
    (message,) = struct.unpack_from("<I", metadata)
    field = _field_position(metadata, message, HEADER)
    if not field:
        return False
    (offset,) = struct.unpack_from("<I", metadata, field)
    return bool(_field_position(metadata, field + offset, COMPRESSION))


def _field_position(content: bytes, table: int, index: int) -> int:
    """Return the position of a field of a FlatBuffers table; 0 if the table does not have it."""
    (distance,) = struct.unpack_from("<i", content, table)
    vtable = table - distance
    (size,) = struct.unpack_from("<H", content, vtable)
    entry = 4 + 2 * index  # after the sizes of the vtable and of the table
    if entry >= size:
        return 0
    (offset,) = struct.unpack_from("<H", content, vtable + entry)
    return table + offset if offset else 0
