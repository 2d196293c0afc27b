"""gzip and zstd around text: valid files are read; truncated, damaged, and huge ones are rejected."""

import gzip
import io
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from errata.errors import InvalidUpload, TooLarge, TruncatedUpload
from pyarrow import parquet

TWELVE = list(range(100, 112))
MIB = 1 << 20

# Program of a child process: parses a file, and prints the result and the growth of its memory.
MEASURE = """
import os, resource, sys
import numpy as np, pyarrow as pa
from service.domain import RowOrder
from errata.errors import ErrataError
from service.predictions.uploads import Layout, parse_upload
from service.taxonomy.imagenet_1k import imagenet_1k
names = [f"ILSVRC2012_val_{number:08}.JPEG".encode() for number in range(1, 13)]
layout = Layout("small", pa.array(names, pa.binary()), lambda _: np.arange(12), imagenet_1k())
with open(sys.argv[1], "rb") as content:
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        parse_upload(content, layout, RowOrder.UNSPECIFIED, 1 << 20)
        end = "READ"
    except ErrataError as error:
        end = error.reason
    print(end, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - size) // 1024, flush=True)
os._exit(0)  # pyarrow may still read ahead in another thread, which aborts when the interpreter ends
"""


def gz(content: bytes) -> bytes:
    return gzip.compress(content, 1)


def zst(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


def zst_of_unknown_size(content: bytes) -> bytes:
    """As `zstd < pipe` writes it."""
    file = io.BytesIO()
    with zstandard.ZstdCompressor().stream_writer(file, closefd=False) as writer:
        writer.write(content)
    return file.getvalue()


PACKERS = [gz, zst, zst_of_unknown_size]


@pytest.mark.parametrize("pack", PACKERS)
def test_compressed_text_is_read_and_its_format_recognized(small, write, pack) -> None:
    for content, name in ((write.csv(small.rows(TWELVE)), "csv"), (write.jsonl(small.rows(TWELVE)), "jsonl")):
        result = small.parse(pack(content))

        assert result.format == name
        assert result.predictions.top1.tolist() == TWELVE


@pytest.mark.parametrize("pack", PACKERS)
def test_concatenated_compressed_parts_are_read_as_one_file(small, write, pack) -> None:
    content = write.csv(small.rows(TWELVE))

    assert small.top1(pack(content[:100]) + pack(content[100:])) == TWELVE


@pytest.mark.parametrize("pack", PACKERS)
def test_lines_are_those_of_the_text(small, write, expected_error, pack) -> None:
    error = small.rejection(pack(write.csv([*small.rows(TWELVE), ("zzz", 3)])))

    assert expected_error.lines(error) == [14]


@pytest.mark.parametrize("pack", PACKERS)
@pytest.mark.parametrize("cut", [1, 2, 4, 8, 20, 60])
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_packed_file_that_ends_too_early_is_rejected_as_truncated(small, write, pack, cut, form) -> None:
    packed = pack(getattr(write, form)(small.rows(TWELVE)))

    error = small.rejection(packed[:-cut])

    assert isinstance(error, TruncatedUpload)
    assert error.reason == "TRUNCATED_UPLOAD"


@pytest.mark.parametrize("pack", PACKERS)
def test_a_file_that_ends_between_two_blocks_is_rejected_as_truncated(small, write, pack) -> None:
    """Given 400 KB of text, packed as several blocks, and all but the last byte of it."""
    noise = np.random.default_rng(1).integers(0, 1000, (30_000, 2)).tolist()
    packed = pack(write.csv([*small.rows(TWELVE), *((f"x{a}.JPEG", b) for a, b in noise)]))

    for share in (0.3, 0.6, 0.999):
        assert isinstance(small.rejection(packed[: int(share * len(packed))]), TruncatedUpload)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\x1f\x8b", id="gzip: the mark alone"),
        pytest.param(b"\x1f\x8b" + b"nonsense" * 9, id="gzip: nonsense"),
        pytest.param(b"\x28\xb5\x2f\xfd", id="zstd: the mark alone"),
        pytest.param(b"\x28\xb5\x2f\xfd" + b"nonsense" * 9, id="zstd: nonsense"),
        pytest.param(gz(b""), id="gzip: nothing"),
        pytest.param(zst(b""), id="zstd: nothing"),
        pytest.param(gz(b"file_name,top1\n") + b"rubbish", id="gzip: rubbish after it"),
        pytest.param(zst(b"file_name,top1\n") + b"rubbish", id="zstd: rubbish after it"),
        pytest.param(gz(gz(b"file_name,top1\n")), id="packed twice"),
    ],
)
def test_invalid_compressed_files_are_rejected(small, content) -> None:
    assert isinstance(small.rejection(content), InvalidUpload)


@pytest.mark.parametrize("pack", [gz, zst])
def test_a_damaged_file_is_rejected(small, write, pack) -> None:
    packed = bytearray(pack(write.csv(small.rows(TWELVE))))
    for place in range(30, 60):
        packed[place] ^= 0xFF

    assert isinstance(small.rejection(bytes(packed)), InvalidUpload)


def test_a_gzip_whose_checksum_is_wrong_is_rejected(small, write) -> None:
    packed = bytearray(gz(write.csv(small.rows(TWELVE))))
    packed[-8] ^= 1

    assert isinstance(small.rejection(bytes(packed)), InvalidUpload)


def test_a_zstd_frame_that_asks_for_a_huge_window_is_rejected(small, write) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=30, write_content_size=False)
    file = io.BytesIO()
    with zstandard.ZstdCompressor(compression_params=parameters).stream_writer(file, closefd=False) as writer:
        writer.write(write.csv(small.rows(TWELVE)))

    assert isinstance(small.rejection(file.getvalue()), InvalidUpload)


@pytest.mark.parametrize("pack", PACKERS)
def test_text_within_the_limit_packed_and_over_it_unpacked_is_rejected(small, write, pack) -> None:
    packed = pack(write.csv(small.rows(TWELVE) * 10_000))
    assert len(packed) < 200_000

    error = small.rejection(packed)

    assert isinstance(error, TooLarge)
    assert error.reason == "TOO_LARGE"


@pytest.mark.parametrize("pack", PACKERS)
@pytest.mark.parametrize("size", [1, 1000])
def test_a_packed_binary_file_is_rejected_with_its_format(small, write, pack, size) -> None:
    """Given files below and above the limit of texts."""
    noise = np.random.default_rng(1).random((size, 1000), dtype=np.float32)
    for label, content in (
        ("npy", write.npy(noise)),
        ("npz", write.npz(probs=noise)),
        ("Parquet", write.parquet({"file_name": ["a"] * size, "probs": [*noise]})),
    ):
        with pytest.raises(InvalidUpload, match=f"Upload the {label} file without compression"):
            small.parse(pack(content), max_bytes=64 * MIB)


def _endless(start: bytes, again: bytes) -> bytes:
    return start + again * (128 * MIB // len(again))


def _zip_bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("top1.npy", bytes(128 * MIB))
    return file.getvalue()


def _understated_zip_bomb() -> bytes:
    """Return a ZIP bomb whose directory states 1 KiB."""
    content = _zip_bomb()
    size = (128 * MIB).to_bytes(4, "little")
    directory = content.index(b"PK\x01\x02")
    return content[:directory] + content[directory:].replace(size, (1024).to_bytes(4, "little"))


def _parquet_bomb() -> bytes:
    """One long name that all rows share: a page of 4 KB that unpacks to 256 MB."""
    rows = 64_000
    names = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, dtype=np.int32)), pa.array(["x" * 4096]))
    file = io.BytesIO()
    parquet.write_table(pa.table({"file_name": names, "top1": pa.array(np.ones(rows, dtype=np.int16))}), file)
    return file.getvalue()


BOMBS: dict[str, tuple[Callable[[], bytes], set[str]]] = {
    "csv.gz": (lambda: gz(_endless(b"file_name,top1\n", b"ILSVRC2012_val_00000001.JPEG,1\n")), {"TOO_LARGE"}),
    "csv.zst": (lambda: zst(_endless(b"file_name,top1\n", b"ILSVRC2012_val_00000001.JPEG,1\n")), {"TOO_LARGE"}),
    "one endless row.gz": (lambda: gz(_endless(b"file_name,top1\n", b"x")), {"TOO_LARGE", "INVALID_UPLOAD"}),
    "jsonl.gz": (lambda: gz(_endless(b'{"file_name": "x", "top1": 1}\n', b" ")), {"TOO_LARGE"}),
    "jsonl.zst": (lambda: zst(_endless(b'{"file_name": "x", "top1": 1}\n', b" ")), {"TOO_LARGE"}),
    "zeros.gz": (lambda: gz(bytes(128 * MIB)), {"TOO_LARGE", "INVALID_UPLOAD"}),
    "zeros.zst": (lambda: zst(bytes(128 * MIB)), {"TOO_LARGE", "INVALID_UPLOAD"}),
    "npy.gz": (lambda: gz(_endless(b"\x93NUMPY\x01\x00", b"\0")), {"INVALID_UPLOAD"}),
    "npz": (_zip_bomb, {"TOO_LARGE"}),
    "npz with a wrong size": (_understated_zip_bomb, {"TOO_LARGE", "INVALID_UPLOAD", "TRUNCATED_UPLOAD"}),
    "parquet": (_parquet_bomb, {"TOO_LARGE"}),
}


@pytest.mark.processes
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_rejected_in_bounded_memory(tmp_path: Path, name) -> None:
    """Given less than a megabyte that unpacks to more than 100, then it is refused and takes less than 48 MiB."""
    make, reasons = BOMBS[name]
    bomb = tmp_path / "bomb"
    bomb.write_bytes(make())
    assert bomb.stat().st_size < MIB

    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(bomb)], capture_output=True, text=True, check=True, timeout=60
    )

    reason, grown = done.stdout.split()
    assert reason in reasons
    assert int(grown) < 48


def test_a_raw_deflate_stream_is_not_read_as_gzip(small, write) -> None:
    assert isinstance(small.rejection(zlib.compress(write.csv(small.rows(TWELVE)))), InvalidUpload)
