"""A grammar of ZIP archives: members, directory, and end record, with wrong values in any of them."""

import bz2
import lzma
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st
from security.zip_writer import Member, end_of_directory, zip64_end, zip64_extra

from .files import SCORES, TWELVE, as_npy, mostly


def deflate(content: bytes) -> bytes:
    """Return a raw deflate stream."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(content) + packer.flush()


def lzma_stream(content: bytes) -> bytes:
    """Return LZMA as zip has it: a version, the length of the properties, these, and the raw stream."""
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16}]
    return b"\x09\x04\x05\x00\x5d\x00\x00\x01\x00" + lzma.compress(content, lzma.FORMAT_RAW, filters=filters)


METHODS: dict[int, Callable[[bytes], bytes]] = {
    zipfile.ZIP_STORED: bytes,
    zipfile.ZIP_DEFLATED: deflate,
    zipfile.ZIP_BZIP2: bz2.compress,
    zipfile.ZIP_LZMA: lzma_stream,
}
ARRAYS = ((b"top1.npy", as_npy(TWELVE)), (b"probs.npy", as_npy(SCORES)), (b"top5.npy", as_npy(TWELVE)))
LIES16 = st.sampled_from([0, 1, 2, 4, 8, 12, 14, 22, 46, 93, 99, 0x7FFF, 0xFFFE, 0xFFFF])
LIES32 = LIES16 | st.sampled_from([100, 1 << 16, 1 << 20, 1 << 28, (1 << 31) - 1, 1 << 31, (1 << 32) - 1])
LIES64 = LIES32 | st.sampled_from([1 << 32, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
NAMES = st.sampled_from([b"top1.npy", b"probs.npy", b"top1", b"", b"../top1.npy", b"\xff.npy", b"a" * 300, b"PK\1\2"])
EXTRAS = st.lists(LIES64, max_size=3).map(lambda numbers: zip64_extra(*numbers)) | st.sampled_from(
    [b"\1\0\xff\xff", b"\1\0", b"\x75\x70\x05\x00\x01abcd", b"PK\1\2" * 20]
)
COMMENTS = st.sampled_from([b"", b"x", b"PK\5\6" + bytes(18), b"PK\1\2" * 30, b"c" * 65_000])
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "name": NAMES,
    "method": LIES16,
    "crc": LIES32,
    "packed": LIES32,
    "size": LIES32,
    "offset": LIES32,
    "flags": LIES16 | st.sampled_from([1, 8, 9, 0x20, 0x800, 0x2000]),
    "extra": EXTRAS,
    "comment": COMMENTS,
    "lengths": st.dictionaries(st.sampled_from(["name", "extra", "comment"]), LIES16, min_size=1),
}


@dataclass(frozen=True)
class Part:
    """A member: its content, local header, and directory entry."""

    content: bytes  # packed
    local: Member
    entry: Member


@st.composite
def parts(draw: st.DrawFn, name: bytes, content: bytes) -> Part:
    """Return a consistent member."""
    method = draw(st.sampled_from(sorted(METHODS)))
    packed = METHODS[method](content)
    member = Member(name, method, zlib.crc32(content), len(packed), len(content))
    return Part(packed, member, member)


@st.composite
def lying_member(draw: st.DrawFn, member: Member) -> Member:
    """Return a member with one field changed."""
    name = draw(st.sampled_from(sorted(FIELDS)))
    return replace(member, **{name: draw(FIELDS[name])})


@st.composite
def zip_files(draw: st.DrawFn, lies: int = 4) -> bytes:
    """Return an archive of predictions with up to `lies` wrong values."""
    arrays = ARRAYS[: draw(st.integers(1, len(ARRAYS)))]
    members = [draw(parts(name, content)) for name, content in arrays]
    honest = lies == 0
    for _ in range(draw(st.integers(0, lies))):
        place = draw(st.integers(0, len(members) - 1))
        part = members[place]
        where = draw(st.sampled_from(["local", "entry", "both", "again"]))
        if where == "again":  # another entry for the same bytes, or for others under the same name
            members.append(draw(st.just(part) | parts(part.entry.name, as_npy(TWELVE))))
            continue
        local, entry = (part.local, part.entry)
        local = local if where == "entry" else draw(lying_member(local))
        entry = entry if where == "local" else draw(lying_member(entry))
        members[place] = Part(part.content, local, entry)
    return draw(joined(members, honest))


@st.composite
def joined(draw: st.DrawFn, members: list[Part], honest: bool) -> bytes:
    """Return members, directory and end record; unless all is honest, counts and places may be others."""

    def usual(value: int, lies: st.SearchStrategy[int]) -> int:
        return value if honest else draw(mostly(st.just(value), lies))

    body, directory = bytearray(), bytearray()
    if not honest:
        body += draw(mostly(st.just(b""), st.sampled_from([b"PK\3\4", b"MZ" * 20])))
    for part in members:
        entry = part.entry if part.entry.offset else replace(part.entry, offset=len(body))
        body += part.local.local_header() + part.content
        if not honest and draw(st.integers(0, 7)) == 0:
            body += draw(st.binary(max_size=30))
        directory += entry.directory_entry() * usual(1, st.sampled_from([0, 2, 15, 17, 900]))
    count, size, start = len(members), usual(len(directory), LIES32), usual(len(body), LIES32)
    end = end_of_directory(usual(count, LIES16), size, start, b"" if honest else draw(mostly(st.just(b""), COMMENTS)))
    if not honest and draw(st.integers(0, 4)) == 0:
        large = (usual(count, LIES64), usual(len(directory), LIES64), usual(len(body), LIES64))
        end = zip64_end(*large, at=usual(len(body) + len(directory), LIES64)) + end
    return bytes(body + directory) + end
