"""A writer of Thrift's compact protocol, the encoding of Parquet metadata. It can write invalid values.

The protocol: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

BLOCK = 1 << 20  # bytes that `repeated` yields at once
SHORT_LIST = 15  # from this many elements on, the count has separate bytes
STOP = b"\0"


class Kind(IntEnum):
    """The wire type of a field or a list element."""

    TRUE = 1
    FALSE = 2
    BYTE = 3
    I16 = 4
    I32 = 5
    I64 = 6
    DOUBLE = 7
    BINARY = 8
    LIST = 9
    SET = 10
    MAP = 11
    STRUCT = 12


@dataclass(frozen=True)
class Value:
    """An encoded value. `pieces` is read once, so a large list need not fit into memory."""

    kind: Kind
    pieces: Iterable[bytes]

    def content(self) -> bytes:
        """Return the encoded bytes, without the head of a field."""
        return b"".join(self.pieces)


def varint(number: int) -> bytes:
    """Encode a non-negative number with seven bits per byte, lowest first."""
    content = bytearray()
    while number > 127:
        content.append(number & 127 | 128)
        number >>= 7
    return bytes([*content, number])


def zigzag(number: int) -> bytes:
    """Encode a signed number: 0, -1, 1, -2 become 0, 1, 2, 3."""
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)


def i32(number: int) -> Value:
    """Return a number of type i32; its size is not checked."""
    return Value(Kind.I32, [zigzag(number)])


def i64(number: int) -> Value:
    """Return a number of type i64; its size is not checked."""
    return Value(Kind.I64, [zigzag(number)])


def binary(content: bytes, length: int | None = None) -> Value:
    """Return bytes or text.

    Args:
        content: The bytes.
        length: The length to state; None states the real one.
    """
    return Value(Kind.BINARY, [varint(len(content) if length is None else length), content])


def array(items: Sequence[Value], kind: Kind | None = None, count: int | None = None) -> Value:
    """Return a list.

    Args:
        items: The elements.
        kind: The element type to state; None states that of the first element, or STRUCT for an empty list.
        count: The number of elements to state; None states the real one.
    """
    stated = kind or (items[0].kind if items else Kind.STRUCT)
    return streamed_array(stated, len(items) if count is None else count, (item.content() for item in items))


def streamed_array(kind: Kind, count: int, pieces: Iterable[bytes]) -> Value:
    """Return a list of `count` elements whose encoded bytes come in pieces."""

    def content() -> Iterator[bytes]:
        yield bytes([count << 4 | kind]) if count < SHORT_LIST else bytes([0xF0 | kind]) + varint(count)
        yield from pieces

    return Value(Kind.LIST, content())


def struct(fields: Mapping[int, Value] | Sequence[tuple[int, Value]]) -> Value:
    """Return a structure with these fields, by their numbers, in their order; pairs may repeat a number."""
    pairs = fields.items() if isinstance(fields, Mapping) else fields

    def content() -> Iterator[bytes]:
        last = 0
        for number, value in pairs:
            step = number - last
            yield bytes([step << 4 | value.kind]) if 0 < step < 16 else bytes([value.kind]) + zigzag(number)
            yield from value.pieces
            last = number
        yield STOP

    return Value(Kind.STRUCT, content())


def repeated(element: bytes, count: int) -> Iterator[bytes]:
    """Yield an encoded element `count` times, in blocks of about 1 MiB."""
    at_once = max(1, BLOCK // len(element))
    block = element * at_once
    for _ in range(count // at_once):
        yield block
    yield element * (count % at_once)
