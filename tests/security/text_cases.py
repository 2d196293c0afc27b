"""Hostile text uploads: small files that become large Python objects. Each function writes one file."""

import random
from typing import BinaryIO

AT_ONCE = 1_000  # rows, which gzip sees again in its window of 32 KiB


def short_json_rows(file: BinaryIO, size: int) -> None:
    """Write `size` bytes of JSONL with as many rows as fit, half of them about no image of any data set.

    A blank line comes first, and class texts alternate with numbers, so that no reader of whole columns takes it.
    """
    file.write(b"\n")
    pattern = b"".join(
        b'{"file_name":"%d","top1":%d}\n' % (row, row % 10)
        if row % 2
        else b'{"top1":"%d","file_name":"%d"}\n' % (row % 10, row)
        for row in range(AT_ONCE)
    )
    _repeat(file, pattern, size)


def distinct_classes(file: BinaryIO, size: int) -> None:
    """Write `size` bytes of CSV whose every row names another class, none of which exists."""
    numbers = random.Random(1)
    written, row = file.write(b"file_name,top1\n"), 0
    while written < size:
        rows = b"".join(b"a,%08x\n" % (number << 8 | numbers.getrandbits(8)) for number in range(row, row + AT_ONCE))
        written += file.write(rows[: size - written])
        row += AT_ONCE


def repeated_images(file: BinaryIO, size: int) -> None:
    """Write `size` bytes of CSV that names one image again and again: each row but the first is wrong."""
    file.write(b"file_name,top1\n")
    _repeat(file, b"ILSVRC2012_val_00000001.JPEG,1\n" * AT_ONCE, size)


def _repeat(file: BinaryIO, pattern: bytes, size: int) -> None:
    for start in range(0, size, len(pattern)):
        file.write(pattern[: size - start])
