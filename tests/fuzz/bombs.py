"""Decompression bombs: small files that state a small size and unpack to a large one."""

import gzip
import io
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from .files import MIB, TWELVE, as_npy, as_parquet, as_zip, zstd

ROWS = 8192  # fewer than are refused by their number alone


def padded(number: int, length: int) -> bytes:
    """Return a number in Thrift's compact encoding, padded to a length."""
    number = number << 1
    return bytes((number >> 7 * place) & 127 | (128 if place < length - 1 else 0) for place in range(length))


def understated(content: bytes, size: int) -> bytes:
    """A Parquet file whose index states an unpacked size of 100 bytes."""
    width = next(width for width in range(1, 10) if size << 1 < 1 << 7 * width)
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    assert padded(size, width) in content[start:]
    return content[:start] + content[start:].replace(padded(size, width), padded(100, width))


def lying(content: bytes, size: int, of: str = "top1.npy") -> bytes:
    """An archive whose index states a wrong size of a member."""
    entry = content.rindex(of.encode()) - 46
    return content[: entry + 24] + size.to_bytes(4, "little") + content[entry + 28 :]


def parquet_bomb(columns: dict[str, Any], **options: Any) -> bytes:
    """Return a file in which all rows share one value."""
    options |= {"compression": "zstd", "write_statistics": False, "dictionary_pagesize_limit": 1 << 30}
    return as_parquet({"file_name": ["x"] * ROWS, "top1": [1] * ROWS} | columns, **options)


def listed(text: str) -> pa.Array:
    """Return a column with a list of one text in each row."""
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(ROWS, dtype=np.int32)), pa.array([text]))
    return pa.ListArray.from_arrays(pa.array(np.arange(ROWS + 1, dtype=np.int32)), texts)


def one_page(megabytes: int) -> bytes:
    content = as_parquet(
        {"file_name": ["x" * (megabytes * MIB)], "top1": [1]}, compression="zstd", write_statistics=False
    )
    return understated(content, parquet.ParquetFile(io.BytesIO(content)).metadata.row_group(0).total_byte_size)


def scores(method: int, size: int) -> bytes:
    """An archive in which half of the scores are noise, so that they are read in two steps, and megabytes follow."""
    noise = np.zeros((12, 1000))
    noise[:6] = np.random.default_rng(1).random((6, 1000))
    members = [("top1.npy", as_npy(TWELVE)), ("probs.npy", as_npy(noise) + bytes(size * MIB))]
    return lying(as_zip(members, method), 96_128, of="probs.npy")


BOMBS: dict[str, Callable[[], bytes]] = {
    # zipfile unpacks bzip2 and LZMA without a bound: 516 bytes took 1 GiB
    "bzip2 in npz": lambda: lying(as_zip([("top1.npy", bytes(192 * MIB))], zipfile.ZIP_BZIP2), 1024),
    "classes of bzip2": lambda: lying(
        as_zip([("top1.npy", as_npy(TWELVE) + bytes(192 * MIB))], zipfile.ZIP_BZIP2), 224
    ),
    "scores of LZMA": lambda: scores(zipfile.ZIP_LZMA, 192),
    "deflate in npz": lambda: lying(as_zip([("top1.npy", bytes(128 * MIB))]), 1024),
    # Arrow reserves the size in the header of a page, and the index may state another: 17 KB took 2 GiB
    "parquet, whose index lies": lambda: one_page(192),
    # values other than text were materialized for each row: less than 1 KB took 400 MiB
    "parquet, bytes of fixed width": lambda: parquet_bomb(
        {"top1": pa.array([b"x" * 25_000] * ROWS, pa.binary(25_000))}
    ),
    "parquet, lists": lambda: parquet_bomb({"top1": listed("x" * 25_000)}, store_schema=False),
    "parquet, text": lambda: parquet_bomb({"top1": ["x" * 25_000] * ROWS}),
    "parquet, names": lambda: parquet_bomb({"file_name": pa.array([b"x" * 25_000] * ROWS, pa.large_binary())}),
    "gzip": lambda: gzip.compress(b"file_name,top1\n" + bytes(128 * MIB), 1),
    "zstd": lambda: zstd(b"file_name,top1\n" + b"x,1\n" * (64 * MIB)),
    "zstd of JSON": lambda: zstd(b'{"file_name": "x", "top1": 1}\n' + b"[" * (128 * MIB)),
    "gzip twice": lambda: gzip.compress(gzip.compress(bytes(128 * MIB), 1)),
}
