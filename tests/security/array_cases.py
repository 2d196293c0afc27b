"""Hostile npy and npz files. Each function writes one file."""

from typing import BinaryIO

from security.thrift import repeated
from security.zip_writer import Member, end_of_directory

LONGEST = 65_000  # bytes of a name, an extra field or a comment, near the most that 16 bits state


def hidden_entries(file: BinaryIO, entries: int) -> None:
    """Write a zip directory of many entries under a last one so long that no other is in the file's tail.

    The end record states one entry: `zipfile` reads as many as the directory's size holds.
    """
    start = file.write(Member(b"a").local_header())
    size = sum(file.write(block) for block in repeated(Member(b"a").directory_entry(), entries))
    extra = (0x9999).to_bytes(2, "little") + (LONGEST - 4).to_bytes(2, "little") + b"b" * (LONGEST - 4)
    size += file.write(Member(b"a" * LONGEST, extra=extra, comment=b"c" * LONGEST).directory_entry())
    file.write(end_of_directory(1, size, start))


def overstated_array(file: BinaryIO, rows: int, size: int) -> None:
    """Write an npz whose `top1` states more than it has: `rows` in its header, `size` bytes in the directory."""
    member = Member(b"top1.npy", size=size, packed=size)
    start = file.write(member.local_header() + _npy_header(f"({rows},)"))
    entry = member.directory_entry()
    file.write(entry + end_of_directory(1, len(entry), start))


def overstated_npy(file: BinaryIO, rows: int) -> None:
    """Write an npy header that states `rows` rows of 1,000 scores, and no data."""
    file.write(_npy_header(f"({rows}, 1000)", "<f4"))


def nested_npy_header(file: BinaryIO, depth: int) -> None:
    """Write an npy header whose shape is nested `depth` times: numpy hands it to Python's parser."""
    file.write(_npy_header("(" * depth + "1," + ")" * depth))


def _npy_header(shape: str, type: str = "<i8") -> bytes:
    text = f"{{'descr': '{type}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
