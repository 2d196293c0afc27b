"""A writer of ZIP archives from parts that may be inconsistent.

The records are those of PKWARE's APPNOTE.TXT, sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16 and 4.5.3.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

LOCAL = struct.Struct("<4s5H3I2H")
ENTRY = struct.Struct("<4s6H3I5H2I")
END = struct.Struct("<4s4H2IH")
END64 = struct.Struct("<4sQ2H2I4Q")
LOCATOR64 = struct.Struct("<4sIQI")
STORED = 0


@dataclass(frozen=True)
class Member:
    """The fields of a local header or a directory entry."""

    name: bytes
    method: int = STORED
    crc: int = 0
    packed: int = 0  # bytes
    size: int = 0  # bytes unpacked
    offset: int = 0  # of the local header; local headers themselves do not state it
    flags: int = 0
    extra: bytes = b""
    comment: bytes = b""
    lengths: Mapping[str, int] | None = None  # of name, extra, comment, where they are not the real ones

    def length(self, part: str) -> int:
        """Return the length that is stated for a part."""
        stated = self.lengths or {}
        return stated.get(part, len(getattr(self, part)))

    def local_header(self) -> bytes:
        """Return the header before the content of the member."""
        stated = (self.crc, self.packed, self.size, self.length("name"), self.length("extra"))
        return LOCAL.pack(b"PK\x03\x04", 20, self.flags, self.method, 0, 0x21, *stated) + self.name + self.extra

    def directory_entry(self) -> bytes:
        """Return the member's entry of the central directory."""
        lengths = (self.length("name"), self.length("extra"), self.length("comment"))
        head = (b"PK\x01\x02", 20, 20, self.flags, self.method, 0, 0x21, self.crc, self.packed, self.size)
        return ENTRY.pack(*head, *lengths, 0, 0, 0, self.offset) + self.name + self.extra + self.comment


def end_of_directory(entries: int, size: int, offset: int, comment: bytes = b"") -> bytes:
    """Return the record that ends an archive.

    Args:
        entries: Number of entries to state, at most 65,535.
        size: Bytes of the central directory.
        offset: Where the central directory begins.
        comment: The archive's comment.
    """
    return END.pack(b"PK\x05\x06", 0, 0, entries, entries, size, offset, len(comment)) + comment


def zip64_extra(*numbers: int) -> bytes:
    """Return the extra field of large sizes: unpacked, packed, and the offset, as many as are given."""
    return struct.pack(f"<2H{len(numbers)}Q", 1, 8 * len(numbers), *numbers)


def zip64_end(entries: int, size: int, offset: int, at: int) -> bytes:
    """Return the records that end a large archive; `at` is where they begin, as the second one states it."""
    record = END64.pack(b"PK\x06\x06", END64.size - 12, 45, 45, 0, 0, entries, entries, size, offset)
    return record + LOCATOR64.pack(b"PK\x06\x07", 0, at, 1)
