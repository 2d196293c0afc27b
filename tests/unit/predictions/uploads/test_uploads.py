"""Uploads: formats are recognized and equivalent, limits are enforced, and only expected errors are raised."""

import gzip
import io
import json
import subprocess
import sys
import warnings

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from errata.errors import ErrataError, InvalidUpload, TooLarge
from example_counts import max_examples
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from service.domain import RowOrder
from service.predictions.uploads import FORMATS, Upload, parse_upload

TWELVE = list(range(100, 112))
HEADER = ("file_name", "predicted_class", "predicted_probability")


# Program of a child process: parses a file with one byte changed, at each position in turn.
DAMAGE = """
import io, sys
import numpy as np, pyarrow as pa
from service.domain import RowOrder
from errata.errors import ErrataError
from service.predictions.uploads import Layout, parse_upload
from service.taxonomy.imagenet_1k import imagenet_1k
names = [f"ILSVRC2012_val_{number:08}.JPEG".encode() for number in range(1, 13)]
layout = Layout("small", pa.array(names, pa.binary()), lambda _: np.arange(12), imagenet_1k())
good = open(sys.argv[1], "rb").read()
for place in range(len(good)):
    here, after = good[place : place + 1], good[place + 1 :]
    for change in (b"", bytes([here[0] ^ 0xFF]), bytes([here[0] ^ 1]), bytes([here[0] ^ 4]), here + here):
        print("byte", place, change, flush=True)
        try:
            parse_upload(io.BytesIO(good[:place] + change + after), layout, RowOrder.UNSPECIFIED, 1 << 20)
        except ErrataError:
            pass
print("all read or refused")
"""


class Dripping:
    """A stream that returns small pieces, like a network."""

    def __init__(self, content: bytes, size: int) -> None:
        self._content = io.BytesIO(content)
        self._size = size

    def read(self, size: int = -1) -> bytes:
        return self._content.read(self._size if size < 0 else min(size, self._size))


def files(small, write, predicted: list[int]) -> dict[str, bytes]:
    """Return the same classes in every format, arrays in file name order."""
    rows = small.rows(predicted)
    return {
        "csv": write.csv(rows),
        "jsonl": write.jsonl(rows),
        "parquet": write.parquet({"file_name": small.names, "predicted_class": predicted}),
        "npz": write.npz(top1=np.array(predicted)),
        "npy": write.npy(predicted),
    }


def file_name_order(form: str) -> RowOrder:
    """The row order to request for a file in the order of the data set; named rows need none."""
    return RowOrder.FILE_NAME if form in {"npz", "npy"} else RowOrder.UNSPECIFIED


def test_every_format_of_the_contract_is_in_the_table() -> None:
    assert {format.name for format in FORMATS} == {"csv", "json", "jsonl", "parquet", "npz", "npy"}


def test_the_format_is_recognized_by_the_content(small, write) -> None:
    for name, content in files(small, write, TWELVE).items():
        assert small.parse(content).format == name


@pytest.mark.parametrize("name", ["csv", "jsonl", "parquet", "npz", "npy", "csv.gz", "csv.zst", "jsonl.gz"])
@pytest.mark.parametrize("size", [1, 3, 7, 4096])
def test_a_file_in_small_pieces_is_read_like_a_whole_file(small, write, name, size) -> None:
    form, _, packed = name.partition(".")
    content = files(small, write, TWELVE)[form]
    content = {"": bytes, "gz": gzip.compress, "zst": zstandard.compress}[packed](content)

    upload = parse_upload(Dripping(content, size), small.layout, file_name_order(form), 1 << 20)

    assert upload.format == form
    assert upload.predictions.top1.tolist() == TWELVE


@pytest.mark.parametrize("name", ["csv", "jsonl", "parquet", "npz", "npy"])
def test_a_file_of_exactly_the_limit_is_read_and_one_byte_more_is_too_large(small, write, name) -> None:
    content = files(small, write, TWELVE)[name]
    limit = len(content)

    assert small.parse(content, file_name_order(name), max_bytes=limit).predictions.top1.tolist() == TWELVE
    error = small.rejection(content, max_bytes=limit - 1)

    assert isinstance(error, TooLarge)
    assert error.reason == "TOO_LARGE"
    assert f"{limit - 1:,} bytes" in error.message


def test_no_more_is_read_of_an_endless_file_than_the_limit_and_a_buffer(small) -> None:
    for start in (b"file_name,top1\n", b"{", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"PAR1"):
        endless = Endless(start)

        with pytest.raises(ErrataError):
            parse_upload(endless, small.layout, RowOrder.UNSPECIFIED, 1 << 20)

        assert endless.bytes_read < 4 << 20


class Endless:
    """A stream without an end."""

    def __init__(self, start: bytes) -> None:
        self._start = start
        self.bytes_read = 0

    def read(self, size: int = -1) -> bytes:
        piece = (self._start + b"x,1\n" * (1 << 14))[: size if size >= 0 else None]
        self._start = b""
        self.bytes_read += len(piece)
        return piece


def test_an_empty_file_is_rejected(small) -> None:
    error = small.rejection(b"")

    assert isinstance(error, InvalidUpload)
    assert error.reason == "INVALID_UPLOAD"
    assert "empty" in error.message


@pytest.mark.parametrize(
    "content",
    [
        b" ",
        b"\n",
        b"\n\n\n",
        b"\xef\xbb\xbf",
        b"\0" * 100,
        b"%PDF-1.7",
        b"<html></html>",
        b"\x89PNG\r\n",
        b"PK\x05\x06" + bytes(18),
    ],
)
def test_unknown_formats_are_rejected(small, content) -> None:
    assert isinstance(small.rejection(content), InvalidUpload)


# -- the same predictions through every format


@max_examples(40)
@given(predicted=st.lists(st.integers(0, 999), min_size=12, max_size=12), data=st.data())
def test_all_formats_give_the_same_classes(small, write, predicted, data) -> None:
    for name, content in files(small, write, predicted).items():
        for pack in (bytes, gzip.compress, zstandard.compress) if name in {"csv", "jsonl"} else (bytes,):
            assert small.top1(pack(content), file_name_order(name)) == predicted
    by_path = np.array([predicted[image] for image in small.order(RowOrder.PATH)])
    assert small.top1(write.npz(top1=by_path)) == predicted
    assert small.top1(write.npy(by_path)) == predicted
    scores = np.zeros((12, 1000), dtype=np.float32)
    scores[np.arange(12), by_path] = 3
    assert small.top1(write.npy(scores)) == predicted


@max_examples(40)
@given(
    predicted=st.lists(st.integers(0, 999), min_size=12, max_size=12),
    parts=st.lists(st.integers(512, 1024), min_size=12, max_size=12),
)
def test_all_formats_give_the_same_probabilities(small, write, predicted, parts) -> None:
    """Given probabilities that float16 represents exactly, every format preserves them."""
    probability = [part / 1024 for part in parts]
    rows = [(*row, value) for row, value in zip(small.rows(predicted), probability, strict=True)]
    probs = np.repeat((1 - np.array(probability, dtype=np.float32)[:, None]) / 999, 1000, axis=1)
    probs[np.arange(12), predicted] = probability
    named = [
        write.csv(rows, header=HEADER),
        gzip.compress(write.csv(rows, header=HEADER)),
        write.jsonl(rows, keys=HEADER),
        zstandard.compress(write.jsonl(rows, keys=HEADER)),
        write.parquet(dict(zip(HEADER, (small.names, predicted, probability), strict=True))),
        write.parquet(dict(zip(HEADER, (small.names, predicted, pa.array(probability, pa.float32())), strict=True))),
    ]
    ordered = [write.npz(top1=np.array(predicted), probs=probs), write.npy(probs)]

    for content in (*named, *ordered):
        result = small.parse(content, RowOrder.FILE_NAME if content in ordered else RowOrder.UNSPECIFIED).predictions
        assert result.top1.tolist() == predicted
        assert result.probability.dtype == np.float16
        assert result.probability.tolist() == probability


@max_examples(40)
@given(data=st.data())
def test_a_class_is_the_same_as_index_id_or_name(small, write, classes, data) -> None:
    drawn = data.draw(st.lists(st.sampled_from(classes), min_size=12, max_size=12))
    spelled = [str(data.draw(st.sampled_from(item))) for item in drawn]
    expected = [index for index, _, _ in drawn]

    for rows in (small.rows(spelled), data.draw(st.permutations(small.rows(spelled)))):
        assert small.top1(write.csv(rows)) == expected
        assert small.top1(write.jsonl(rows)) == expected
        names, texts = zip(*rows, strict=True)
        assert small.top1(write.parquet({"file_name": names, "top1": texts})) == expected


# -- only expected errors


def check_parse(small, content: bytes) -> None:
    """Parse, and check the result; only errors of the service are expected."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numpy, about damaged files
        try:
            result: Upload | ErrataError = small.parse(content)
        except ErrataError as error:
            result = error
    if isinstance(result, ErrataError):
        assert result.message
        assert all(violation.description for violation in result.violations)
        assert len(result.violations) <= 10
    else:
        judged = result.predictions.top1[small.judged]
        assert ((judged >= -1) & (judged < 1000)).all()  # -1: the image has no row


@max_examples(300)
@given(
    head=st.sampled_from(
        [
            b"",
            b"file_name,top1\n",
            b"file_name,top1,probability\nILSVRC2012_val_00000001.JPEG,",
            b'{"file_name": "ILSVRC2012_val_00000001.JPEG", "top1": ',
            b"{",
            b"PK\x03\x04",
            b"PAR1",
            b"\x93NUMPY\x01\x00",
            b"\x93NUMPY\x01\x00\x10\x00",
            b"\x1f\x8b\x08\x00",
            b"\x28\xb5\x2f\xfd",
            b"\xef\xbb\xbf",
        ]
    ),
    rest=st.binary(max_size=300),
)
@example(b"file_name,top1\n", b"ILSVRC2012_val_00000001.JPEG,1\n")
@example(b"\x93NUMPY\x01\x00", b"\x05\x00((((\n")
@example(b'{"file_name": "ILSVRC2012_val_00000001.JPEG", "top1": ', b'"\\ud800"}')
def test_any_bytes_are_read_or_rejected(small, head, rest) -> None:
    check_parse(small, head + rest)


@max_examples(200)
@given(
    text=st.text(st.sampled_from('{}[]":, \n\r\t\\ud8001.5e-naNtrufls_'), max_size=80),
    head=st.sampled_from(['{"file_name": "x", "top1": ', "file_name,top1\n", "file_name,top1,probability\nx,1,"]),
)
def test_any_text_is_read_or_rejected(small, head, text) -> None:
    check_parse(small, (head + text).encode())


@max_examples(400, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_damaged_file_is_read_or_rejected(small, write, data) -> None:
    """Given a good file in which some bytes are changed, dropped or doubled."""
    name = data.draw(st.sampled_from(["csv", "jsonl", "npz", "npy", "csv.gz", "csv.zst", "scores"]))
    content = bytearray(_good(small, write, name))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(content) - 1))
        change = data.draw(st.sampled_from(["set", "drop", "double", "cut"]))
        if change == "set":
            content[place] = data.draw(st.integers(0, 255))
        elif change == "drop":
            del content[place : place + data.draw(st.integers(1, 8))]
        elif change == "double":
            content[place:place] = content[place : place + data.draw(st.integers(1, 40))]
        else:
            del content[place:]
        if not content:
            break

    check_parse(small, bytes(content))


@pytest.mark.processes
@pytest.mark.parametrize("name", ["parquet", "names", "npz", "npy", "csv.gz", "csv.zst"])
def test_a_file_with_any_one_byte_dropped_changed_or_doubled_is_read_or_rejected(small, write, name, tmp_path) -> None:
    """Run in a separate process, because a C++ library can crash it."""
    file = tmp_path / "upload"
    file.write_bytes(_good(small, write, name))

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DAMAGE, str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.stdout.splitlines()[-1:] == ["all read or refused"], (
        done.returncode,
        done.stdout[-60:],
        done.stderr[-300:],
    )
    assert done.returncode == 0


def _good(small, write, name: str) -> bytes:
    plain = files(small, write, TWELVE)
    rows = [(image, "tench" if row % 2 else row, 0.5) for row, image in enumerate(small.names)]
    special = {
        "csv.gz": lambda: gzip.compress(plain["csv"]),
        "csv.zst": lambda: zstandard.compress(plain["csv"]),
        "names": lambda: write.parquet(
            {"file_name": small.names, "top1": ["tench"] * 12, "probability": [0.5] * 12, "note": [[1]] * 12}
        ),
        "scores": lambda: write.npz(top1=np.array(TWELVE), probs=np.full((12, 1000), 0.001, dtype=np.float32)),
        "jsonl": lambda: "".join(json.dumps(dict(zip(HEADER, row, strict=True))) + "\n" for row in rows).encode(),
    }
    return special[name]() if name in special else plain[name]
