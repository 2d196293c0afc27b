"""File names mean the image whose path is equal, an end of their path, or ends with it; or they are ambiguous."""

import io
import unicodedata
from dataclasses import replace
from typing import Literal

import pyarrow as pa
import pytest
from errata.errors import InvalidRow
from hypothesis import example, given
from hypothesis import strategies as st

from service import image_names
from service.domain import RowOrder
from service.image_names import AMBIGUOUS, UNKNOWN, NameIndex
from service.predictions.uploads import parse_upload

PARTS = st.sampled_from(["a", "b", "a.jpg", "a.JPEG", "b.png", "val", "", ".", ".."])
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
ODD_STEMS = ["a", "a ", " a", "a.j\u200bpg", "\u200ba", "a\u3000", "\u00fc", "u\u0308", "a\n", "a(.)[*", "\x00", ""]
ODD_PATHS = st.tuples(
    st.sampled_from(["", "a/", "b /", "\u3000a/b/", "b\\"]),
    st.sampled_from(ODD_STEMS),
    st.sampled_from(["", ".jpg", ".PNG", ".jpg.png", " .jpg", ".jpg "]),
).map("".join)


def without_extension(name: str) -> str:
    stem, _, extension = name.rpartition(".")
    return stem if extension.lower() in ("jpg", "jpeg", "png") else name


def parts_of(name: str) -> list[str]:
    *folders, file = name.replace("\\", "/").split("/")
    while folders and folders[0] in ("", ".", ".."):
        del folders[0]
    return [*(folder for folder in folders if folder not in ("", ".")), file]


def slow_find(names: list[str], name: str) -> int:
    """Return the image of a name by comparing it with each image, part by part."""
    for change in (str, without_extension):
        parts = parts_of(change(name))
        ends = [parts_of(change(image)) for image in names]
        equal = [image for image, end in enumerate(ends) if end == parts]
        longer = [image for image, end in enumerate(ends) if end[-len(parts) :] == parts]
        shorter = [image for image, end in enumerate(ends) if parts[-len(end) :] == end]
        length = max((len(ends[image]) for image in shorter), default=0)
        for matches in (equal, longer, [image for image in shorter if len(ends[image]) == length]):
            if matches:
                return matches[0] if len(matches) == 1 else AMBIGUOUS
    return UNKNOWN


@given(names=st.lists(PATHS, min_size=1, max_size=6, unique=True), queries=st.lists(PATHS, min_size=1, max_size=5))
@example(names=["n1/a.jpg", "n2/a.jpg"], queries=["a.jpg", "x/n2/a.jpg", "n1\\a.png", "n3/a"])
@example(names=["a.jpg", "a.png", "z/x/a.jpg"], queries=["y/x/a.JPEG", "./x/a.jpg", "/q/a.png", "../z//x/./a"])
def test_images_are_those_that_a_slow_loop_finds(names, queries) -> None:
    images = NameIndex(pa.array([name.encode() for name in names])).find(pa.array([name.encode() for name in queries]))

    assert images.tolist() == [slow_find(names, name) for name in queries]


@pytest.mark.parametrize(
    "name",
    [
        "val/{}.JPEG",
        "n01440764/{}.JPEG",
        "/data/imagenet/val/n01440764/{}.JPEG",
        "D:\\data\\{}.JPEG",
        "\\\\server\\share\\val\\{}.JPEG",
        "{}",
        "val/{}",
        "./{}.jpg",
        "file:///data/{}.png",
    ],
)
@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_paths_of_images_are_recognized_and_stated(small, write, name, form) -> None:
    names = [name.format(image.removesuffix(".JPEG")) for image in small.names]
    rows = list(zip(names, range(100, 112), strict=True))
    content = (
        write.parquet({"file_name": names, "top1": range(100, 112)})
        if form == "parquet"
        else getattr(write, form)(rows)
    )

    upload = small.parse(content)

    assert upload.predictions.top1.tolist() == [*range(100, 112)]
    way = "by the end of the path" if name.endswith(".JPEG") else "without the extension"
    assert upload.assumptions == (f"12 file names match {way}, such as '{names[0]}' for '{small.names[0]}'.",)


def test_exact_names_are_not_stated(small, write) -> None:
    assert small.parse(write.csv(small.rows(range(100, 112)))).assumptions == ()


def find(names: list[str], *queries: str) -> list[int]:
    index = NameIndex(pa.array([name.encode() for name in names], pa.binary()))
    return index.find(pa.array([name.encode() for name in queries], pa.binary())).tolist()


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("kitchen/002.jpg", "bath/002.jpg"),
        ("kitchen/002.jpg", "home/bath/002.png"),
        ("fog/3/n01440764/a.JPEG", "snow/5/n01440764/a.JPEG"),
        ("fog/3/n01440764/a.JPEG", "/data/fog/5/n01440764/a.JPEG"),
        ("data/kitchen/002.jpg", "/mnt/kitchen/002.jpg"),
        ("kitchen/002.jpg", "kitchen/2002.jpg"),
        ("kitchen/002.jpg", "xkitchen/002.jpg"),
    ],
)
def test_a_name_in_other_folders_is_another_image(image: str, name: str) -> None:
    assert find([image, "other.jpg"], name) == [UNKNOWN]


@pytest.mark.parametrize(
    "name", ["3/n0/a.JPEG", "/a.JPEG", "./n0/a", "../fog/3/n0/a.png", "c/fog/3/n0/a.JPEG", r"D:\c\fog\3\n0\a.JPEG"]
)
def test_folders_may_be_left_out_or_added_at_the_start(name: str) -> None:
    assert find(["fog/3/n0/a.JPEG", "fog/3/n0/b.JPEG"], name) == [0]


def test_names_in_other_unicode_forms_are_recognized_and_stated(small, write) -> None:
    names = [f"café/é {name}" for name in small.names]
    layout = replace(small.layout, names=pa.array([name.encode() for name in names], pa.binary()))
    rows = [(unicodedata.normalize("NFD", name), 7) for name in names]

    upload = parse_upload(io.BytesIO(write.csv(rows)), layout, RowOrder.UNSPECIFIED, 1 << 20)

    assert upload.predictions.top1.tolist() == [7] * 12
    assert [text for text in upload.assumptions if "12 file names match in Unicode NFC, such as 'cafe\u0301/" in text]


def test_unicode_forms_differ_if_they_are_different_images() -> None:
    names = ["x/caf\u00e9.jpg", "x/cafe\u0301.jpg", "u\u0308.jpg", "\u00fc.png"]

    assert find(names, "y/x/caf\u00e9.jpg", "y/x/cafe\u0301.jpg", "u\u0308.png", "\u00fc.jpg") == [0, 1, 3, 2]


@pytest.mark.parametrize(
    ("image", "name", "shown"),
    [
        ("kitchen/001.jpg ", "kitchen/001.jpg", "'kitchen/001.jpg '"),
        ("\u200be.jpg", "e.jpg", r"'\u200be.jpg'"),
        ("e.jpg", "val/e\ufeff.jpg", "'e.jpg'"),
        ("kitchen/001.jpg", "bath/001.jpg", "'kitchen/001.jpg'"),
        ("bath/x.jpg", "bath/y.jpg", ""),
    ],
)
def test_an_unknown_name_has_similar_names(small, write, image: str, name: str, shown: str) -> None:
    layout = replace(small.layout, names=pa.array([image.encode(), b"known.jpg"], pa.binary()))

    with pytest.raises(InvalidRow) as error:
        parse_upload(io.BytesIO(write.csv([("known.jpg", 1), (name, 7)])), layout, RowOrder.UNSPECIFIED, 1 << 20)

    similar = f" Similar names: {shown}." if shown else ""
    assert f"is not in data set 'small'.{similar} Correct the name, or remove the row." in error.value.message


def test_names_of_windows_match_by_the_end_of_the_path(small, write) -> None:
    layout = replace(small.layout, names=pa.array([rb"kitchen\001.jpg", rb"kitchen\002.jpg"], pa.binary()))

    upload = parse_upload(io.BytesIO(write.csv([("kitchen/001.jpg", 1)])), layout, RowOrder.UNSPECIFIED, 1 << 20)

    assert upload.assumptions == (
        r"1 file name matches by the end of the path, such as 'kitchen/001.jpg' for 'kitchen\001.jpg'.",
    )


def test_candidates_of_an_ambiguous_name_are_listed() -> None:
    index = NameIndex(pa.array([b"x/n1/a.jpg", b"y/n1/a.jpg", b"n2/a.jpg", b"b.jpg"]))

    assert index.candidates(b"n1/a.jpg", 5) == [b"x/n1/a.jpg", b"y/n1/a.jpg"]
    assert index.candidates(b"n1/a", 1) == [b"x/n1/a.jpg"]
    assert index.candidates(b"a.jpg", 5) == [b"x/n1/a.jpg", b"y/n1/a.jpg", b"n2/a.jpg"]
    index = NameIndex(pa.array([b"a.jpg", b"a.png", b"z/x/a.jpg"]))
    assert index.candidates(b"y/x/a.gif", 5) == [b"a.jpg", b"a.png"]


def test_a_name_with_more_characters_than_a_pattern_can_have_has_no_candidates() -> None:
    index = NameIndex(pa.array([b"a.jpg", b"y/a.jpg"], pa.binary()))
    assert index.candidates(b"a" * 700_000 + b".jpg", 5) == []


def test_only_names_with_special_characters_are_compared_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    normalized = []

    def normalize(form: Literal["NFC"], text: str) -> str:
        normalized.append(text)
        return unicodedata.normalize(form, text)

    monkeypatch.setattr(image_names, "normalize_unicode", normalize)
    special = ["d/\u00e9.jpg", "e/b.jpg ", "f /c.jpg"]
    index = NameIndex(pa.array([name.encode() for name in (*special, "a/1.jpg", "b/2.jpg")], pa.binary()))

    assert index.find(pa.array([b"c/1.jpg", "\u00fc.jpg".encode()])).tolist() == [UNKNOWN, UNKNOWN]
    assert index.candidates(b"c/1.jpg", 5) == [b"a/1.jpg"]
    assert index.candidates(b"e/b.jpg", 5) == [b"e/b.jpg "]
    assert index.candidates(b"f/c.jpg", 5) == [b"f /c.jpg"]
    assert {*normalized} == {*special, "\u00fc.jpg"}


@given(names=st.lists(ODD_PATHS, min_size=1, max_size=6, unique=True), query=ODD_PATHS)
def test_ambiguous_names_have_candidates_in_every_form(names: list[str], query: str) -> None:
    index = NameIndex(pa.array([name.encode() for name in names], pa.binary()))

    (image,) = index.find(pa.array([query.encode()], pa.binary())).tolist()
    candidates = index.candidates(query.encode(), len(names))

    assert image == UNKNOWN or candidates == [names[image].encode()] or (image == AMBIGUOUS and len(candidates) > 1)
