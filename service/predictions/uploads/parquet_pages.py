"""How much a Parquet file unpacks to, by the headers of its pages: Arrow believes them, whatever the file's index says.

Only as much of Thrift's compact protocol is read as leads to the pages: file → row groups → columns → pages. Nothing is
kept of the rest, and what two readers could understand in two ways is refused. The format is that of parquet.thrift in
apache/parquet-format.
"""

from collections.abc import Iterator
from typing import BinaryIO

MOST_PAGES = 50_000
MAX_INDEX = 4 << 20  # bytes of the file's index
HEADERS = (1 << 10, 64 << 10)  # bytes that a page's header may take: mostly, and at most
MAX_DEPTH = 16  # of structures in each other
TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)


def unpacked_size(content: BinaryIO) -> int:
    """Return how many bytes all pages unpack to; raise ValueError if their headers don't parse, or are too many."""
    size = pages = 0
    try:
        for start, end in _columns(_index(content)):
            while start < end:
                unpacked, following = _page(content, start)
                size, start, pages = size + unpacked, following, pages + 1
                if pages > MOST_PAGES:
                    raise ValueError(f"more than {MOST_PAGES} pages")
    except LookupError as error:
        raise ValueError("an index that lacks something") from error
    return size


def _index(content: BinaryIO) -> bytes:
    """Return the index, which stands before its length and the last four bytes."""
    end = content.seek(0, 2) - 8
    content.seek(max(end, 0))
    length = int.from_bytes(content.read(4), "little")
    if not 0 < length <= min(end, MAX_INDEX):
        raise ValueError(f"an index of {length} bytes")
    content.seek(end - length)
    return content.read(length)


def _columns(index: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the pages of each column of each row group start and end."""
    thrift = _Thrift(index)
    for _ in thrift.fields({4: LIST}):
        for _ in thrift.structs():
            for _ in thrift.fields({1: LIST}):
                for _ in thrift.structs():
                    for _ in thrift.fields({3: STRUCT}):
                        numbers = {field: thrift.number(48) for field in thrift.fields({7: I64, 9: I64, 11: I64})}
                        first = min(numbers[9], numbers.get(11) or numbers[9])  # data pages, and their dictionary
                        yield first, first + numbers[7]


def _page(content: BinaryIO, start: int) -> tuple[int, int]:
    """Return what the page at a place unpacks to, and where the next one starts."""
    for most in HEADERS:
        content.seek(start)
        thrift = _Thrift(content.read(most))
        try:
            numbers = {field: thrift.number(31) for field in thrift.fields({2: I32, 3: I32})}
        except IndexError:
            continue
        return numbers[2], start + thrift.at + numbers[3]
    raise ValueError("a page without its header")


class _Thrift:
    """A place in Thrift's compact form; IndexError past the end, ValueError for what isn't taken."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def fields(self, wanted: dict[int, int], depth: int = 0) -> Iterator[int]:
        """Yield those fields of a structure that have the type they should; each is to be read before the next.

        One that comes twice is refused, since readers differ in which of them they take.
        """
        field, seen = 0, set()
        while head := self._byte():
            step, kind = head >> 4, head & 15
            field = field + step if step else self._signed()
            if not -(1 << 15) <= field < 1 << 15:
                raise ValueError("a field that no structure has")
            if wanted.get(field) == kind:
                if field in seen:
                    raise ValueError("a field that comes twice")
                seen.add(field)
                yield field
            else:
                self._skip(kind, depth)

    def structs(self) -> Iterator[None]:
        """Step through a list of structures; each is to be read before the next."""
        for _ in range(self._head()[0]):
            yield

    def number(self, bits: int) -> int:
        """Return a size or a place."""
        value = self._signed()
        if not 0 <= value < 1 << bits:
            raise ValueError("a size or a place that no file has")
        return value

    def _byte(self) -> int:
        value = self._data[self.at]
        self.at += 1
        return value

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("a number that is too long")

    def _signed(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _head(self) -> tuple[int, int]:
        """Return a list's length and the type of what is in it."""
        head = self._byte()
        return self._varint() if head >> 4 == 15 else head >> 4, head & 15

    def _skip(self, kind: int, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise ValueError("structures that are too deep")
        if kind in (I16, I32, I64):
            self._varint()
        elif kind == BINARY:
            self._jump(self._varint())
        elif kind in (BYTE, DOUBLE):
            self._jump(1 if kind == BYTE else 8)
        elif kind == STRUCT:
            for _ in self.fields({}, depth + 1):
                pass
        elif kind in (LIST, SET):
            length, inner = self._head()
            for _ in range(length):
                self._skip_element(inner, depth)
        elif kind == MAP:
            length = self._varint()
            kinds = self._byte() if length else 0
            for _ in range(length):
                self._skip_element(kinds >> 4, depth)
                self._skip_element(kinds & 15, depth)
        elif kind not in (TRUE, FALSE):  # which stand in the field's head
            raise ValueError("a type that Thrift doesn't have")

    def _skip_element(self, kind: int, depth: int) -> None:
        if kind in (TRUE, FALSE):
            self._jump(1)
        else:
            self._skip(kind, depth + 1)

    def _jump(self, length: int) -> None:
        self.at += length
        if self.at > len(self._data):
            raise IndexError
