"""Uploads of any content are read or refused within limits, and valid predictions are equal in every format."""

import gzip
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pickle_trap import Trap

from service.domain import RowOrder
from service.predictions.uploads import parse_upload

from .bombs import BOMBS
from .checks import check_parse
from .conftest import FUZZ
from .files import (
    GOOD,
    MIB,
    OPTIONS,
    PACKERS,
    TWELVE,
    as_csv,
    as_jsonl,
    as_npy,
    as_parquet,
    as_zip,
    csv_like,
    damaged,
    json_like,
    npy_head,
    npy_like,
    parquet_like,
    zip_like,
    zstd,
)
from .parser import Parser, layout_of

MAGICS = (
    *(b"PK\x03\x04", b"PAR1", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x03\x00", b"\x1f\x8b\x08\x00", b"\x28\xb5\x2f\xfd"),
    *(b"\xef\xbb\xbf", b"{", b"[", b"\x80\x04\x95", b"file_name,top1\n", b'{"file_name": "x", "top1": '),
)
CLASSES = ((0, "n01440764", "tench"), (207, "n02099601", "golden retriever"), (999, "n15075141", "toilet tissue"))


@pytest.mark.parametrize("name", GOOD)
def test_the_files_that_are_damaged_below_are_good(parser: Parser, name: str) -> None:
    assert check_parse(parser, GOOD[name]).end == "read"


# -- any bytes


@FUZZ
@given(head=st.sampled_from((b"", *MAGICS)), rest=st.binary(max_size=400))
# f"{shape}" raised ValueError: Python prints no number of more than 4300 digits, which hexadecimal digits get past
@example(b"", npy_head(f"{{'descr': '<i8', 'fortran_order': False, 'shape': (0x{'f' * 9000},)}}"))
@example(b"", npy_head(f"{{'descr': '<f4', 'fortran_order': False, 'shape': (-0x{'f' * 9000}, 1000)}}"))
# Arrow's JSON reader takes any bytes for text, so that a class raised UnicodeDecodeError
@example(b'{"file_name": "x", "top1": "tench"}\n', b'{"file_name": "x", "top1": "\xff\xfe"}\n')
def test_any_bytes_are_read_or_rejected(parser: Parser, head: bytes, rest: bytes) -> None:
    check_parse(parser, head + rest)


# -- damaged files


@FUZZ
@given(data=st.data(), name=st.sampled_from(sorted(GOOD)))
def test_a_damaged_file_is_read_or_rejected(parser: Parser, data: st.DataObject, name: str) -> None:
    check_parse(parser, data.draw(damaged(GOOD[name])))


@FUZZ
@given(data=st.data(), name=st.sampled_from(["parquet", "parquet, text", "parquet, pages"]))
def test_a_parquet_file_with_a_damaged_index_is_read_or_rejected(
    parser: Parser, data: st.DataObject, name: str
) -> None:
    """Given a damaged index with the right length, the file is read or refused."""
    content = GOOD[name]
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    index = data.draw(damaged(content[start:-8]))

    check_parse(parser, content[:start] + index + len(index).to_bytes(4, "little") + b"PAR1")


@FUZZ
@given(
    data=st.data(),
    name=st.sampled_from(["csv", "jsonl", "npy", "npz", "parquet"]),
    pack=st.sampled_from(sorted(PACKERS)),
)
def test_a_packed_file_is_read_or_rejected_damaged_before_or_after_it_was_packed(
    parser: Parser, data: st.DataObject, name: str, pack: str
) -> None:
    content = data.draw(st.just(GOOD[name]) | damaged(GOOD[name]), label="within")
    packed = PACKERS[pack](content)

    check_parse(parser, data.draw(st.just(packed) | damaged(packed) | damaged(packed + GOOD[name]), label="around"))


@FUZZ
@given(
    first=st.sampled_from(sorted(GOOD)),
    second=st.sampled_from(sorted(GOOD)),
    cut=st.floats(0, 1),
    start=st.floats(0, 1),
)
def test_concatenated_files_are_read_or_rejected(
    parser: Parser, first: str, second: str, cut: float, start: float
) -> None:
    one, other = GOOD[first], GOOD[second]

    check_parse(parser, one[: round(cut * len(one))] + other[round(start * len(other)) :])


@FUZZ
@given(name=st.sampled_from(sorted(GOOD)), times=st.integers(1, 30), limit=st.integers(0, 2000))
def test_no_more_is_read_than_the_bound_allows(parser: Parser, name: str, times: int, limit: int) -> None:
    content = GOOD[name] * times

    result = check_parse(parser, content, limit)

    if len(content) > limit:
        assert result.end == "refused"


@FUZZ
@given(content=csv_like(), pack=st.sampled_from(["plain", "gzip", "zstd"]))
@example(b"file_name,top1\n" + b"\xf0\x9f\x98", "plain")
@example(b"file_name," * 6000 + b"\n", "plain")
@example(b"," * 60_000 + b"file_name,top1\n" + b"," * 60_000, "plain")
def test_damaged_csv_is_read_or_rejected(parser: Parser, content: bytes, pack: str) -> None:
    check_parse(parser, PACKERS[pack](content))


@FUZZ
@given(content=json_like(), pack=st.sampled_from(["plain", "gzip", "zstd"]))
@example(b'{"file_name": "x", "top1": "tench"}\n{"file_name": "\xff", "top1": "tench"}\n', "plain")
@example(b'{"file_name": "x", "top1": 1}\n{"file_name": "x", "top1": 1, "a": ' + b"[" * 500_000 + b"}\n", "plain")
@example(b'{"file_name": "x", "top1": 1}\n' + b'{"file_name":' * 30_000, "plain")
def test_damaged_jsonl_is_read_or_rejected(parser: Parser, content: bytes, pack: str) -> None:
    check_parse(parser, PACKERS[pack](content))


@pytest.mark.parametrize("depth", range(100, 1001, 100))
def test_however_deep_json_is_nested_it_is_read_or_rejected(parser: Parser, depth: int) -> None:
    """Python's JSON reader and its repr end at about a thousand levels, each at another."""
    for more in range(0, 100, 7):
        nested = "[" * (depth + more) + "]" * (depth + more)
        for key in ("file_name", "top1", "note"):
            line = {"file_name": '"x"', "top1": "1"} | {key: nested}
            text = "{" + ", ".join(f'"{name}": {value}' for name, value in line.items()) + "}\n"
            check_parse(parser, text.encode())


@FUZZ
@given(content=npy_like(), version=st.integers(0, 1))
@example(npy_head("{'descr': '<u8', 'fortran_order': False, 'shape': (12,)}") + b"\xff" * 96, 0)
def test_damaged_npy_is_read_or_rejected(parser: Parser, content: bytes, version: int) -> None:
    check_parse(parser, as_zip([("top1.npy", content)]) if version else content)


@FUZZ
@given(content=zip_like())
def test_damaged_npz_is_read_or_rejected(parser: Parser, content: bytes) -> None:
    check_parse(parser, content)


@FUZZ
@given(data=st.data())
def test_damaged_parquet_is_read_or_rejected(parser: Parser, data: st.DataObject) -> None:
    content = data.draw(parquet_like())

    check_parse(parser, data.draw(st.just(content) | damaged(content, max_changes=3)))


# -- bombs


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_a_bomb_is_rejected_in_bounded_memory(parser: Parser, name: str) -> None:
    content = BOMBS[name]()
    limit = 2 * MIB
    assert len(content) < limit

    result = check_parse(parser, content, limit)

    assert result.end == "refused" or name in {"classes of bzip2", "scores of LZMA"}


# -- pickles


@FUZZ
@given(data=st.data())
def test_no_pickle_is_ever_read(parser: Parser, canary: Path, data: st.DataObject) -> None:
    """Given arrays of objects, or bare pickles, in any position, damaged or not, nothing is unpickled."""
    with np.errstate(all="ignore"):
        objects = io.BytesIO()
        shape = data.draw(st.sampled_from([(12,), (12, 1000), (1,), ()]))
        np.save(objects, np.full(shape, Trap(canary), dtype=object), allow_pickle=True)
    protocol = data.draw(st.integers(0, pickle.HIGHEST_PROTOCOL))
    trap = data.draw(st.sampled_from([objects.getvalue(), pickle.dumps(Trap(canary), protocol)]))
    trap = data.draw(st.just(trap) | damaged(trap, max_changes=2))
    other = data.draw(st.sampled_from(["top1.npy", "probs.npy", "args.npy"]))
    content = data.draw(
        st.sampled_from(
            [trap, as_zip([("top1.npy", as_npy(TWELVE)), (other, trap)]), gzip.compress(trap, 1), zstd(trap)]
        )
    )

    check_parse(parser, content)

    assert not canary.exists()


def test_the_trap_works(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Trap(tmp_path / "woken")))

    assert (tmp_path / "woken").exists()


# -- valid files


@st.composite
def good_names(draw: st.DrawFn) -> list[str]:
    """Return unusual names with quotes, commas, spaces, and any script. A CSV cannot contain U+FFFD."""
    plain = st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0\ufffd"), min_size=1, max_size=20
    ).filter(lambda name: '"' not in name or name.count('"') < 5)
    return draw(st.lists(plain, min_size=1, max_size=20, unique=True))


@FUZZ
@given(data=st.data(), names=good_names())
def test_the_same_predictions_are_the_same_in_every_format_and_in_any_order(
    data: st.DataObject, names: list[str]
) -> None:
    layout = layout_of(names)
    count = len(names)
    predicted = data.draw(st.lists(st.integers(0, 999), min_size=count, max_size=count))
    parts = data.draw(st.lists(st.integers(512, 1024), min_size=count, max_size=count))
    order = data.draw(st.permutations(range(count)))
    ordered_rows = [(names[image], predicted[image], parts[image] / 1024) for image in order]
    spellings = {index: data.draw(st.sampled_from(names_of_class)) for index, *names_of_class in CLASSES}
    header = ("file_name", data.draw(st.sampled_from(["top1", "prediction", "predicted_class"])), "probability")
    rows = [(name, str(spellings.get(index, index)), chance) for name, index, chance in ordered_rows]
    texts, numbers = dict(zip(header, zip(*rows, strict=True), strict=True)), [index for _, index, _ in ordered_rows]
    scores = np.repeat((1 - np.array(parts, dtype=np.float32)[:, None] / 1024) / 999, 1000, axis=1)
    scores[np.arange(count), predicted] = np.array(parts, dtype=np.float32) / 1024
    walk = layout.positions(RowOrder.PATH)
    options = data.draw(OPTIONS)
    named = {
        "csv": as_csv(header, rows),
        "csv, crlf": as_csv(header, rows).replace(b"\n", b"\r\n"),
        "jsonl": as_jsonl(header, rows),
        "jsonl, numbers": as_jsonl(header, ordered_rows),
        "parquet": as_parquet(texts, **options),
        "parquet, numbers": as_parquet(texts | {header[1]: numbers}, **options),
    }
    named |= {f"{name}.{pack}": PACKERS[pack](named[name]) for name in ("csv", "jsonl") for pack in ("gzip", "zstd")}
    arrays = {
        "npz": (as_zip([("top1.npy", as_npy(predicted)), ("probs.npy", as_npy(scores))]), RowOrder.FILE_NAME),
        "npz, by path": (
            as_zip([("probs.npy", as_npy(scores[walk])), ("top1.npy", as_npy(np.array(predicted)[walk]))]),
            RowOrder.PATH,
        ),
        "npy": (as_npy(scores), RowOrder.FILE_NAME),
        "npy, by path": (as_npy(scores[walk]), RowOrder.UNSPECIFIED),
    }

    for name, (content, given_order) in (
        arrays.items() | {key: (value, RowOrder.UNSPECIFIED) for key, value in named.items()}.items()
    ):
        upload = parse_upload(io.BytesIO(content), layout, given_order, 64 * MIB)
        assert upload.format == name.split(",")[0].split(".")[0]
        assert upload.predictions.top1.tolist() == predicted, name
        assert upload.predictions.probability is not None, name
        assert upload.predictions.probability.tolist() == [part / 1024 for part in parts], name
