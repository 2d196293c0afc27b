"""File names mean the image with the longest end of their path, or are ambiguous."""

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.image_names import AMBIGUOUS, UNKNOWN, NameIndex

PARTS = st.sampled_from(["a", "b", "a.jpg", "a.JPEG", "b.png", "val", ""])
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


def without_extension(name: str) -> str:
    stem, _, extension = name.rpartition(".")
    return stem if extension.lower() in ("jpg", "jpeg", "png") else name


def slow_find(names: list[str], name: str) -> int:
    """Return the image of a name by comparing it with each image, part by part."""
    for change in (str, without_extension):
        parts = change(name.replace("\\", "/")).split("/")
        ends = [change(image).split("/") for image in names]
        matches = [image for image, end in enumerate(ends) if end[-1] == parts[-1]]
        if not matches:
            continue
        for count in range(2, 6):
            if len(matches) == 1:
                break
            longer = [image for image in matches if ends[image][-count:] == parts[-count:]]
            if not longer:
                break
            matches = longer
        return matches[0] if len(matches) == 1 else AMBIGUOUS
    return UNKNOWN


@given(names=st.lists(PATHS, min_size=1, max_size=6, unique=True), asked=st.lists(PATHS, min_size=1, max_size=5))
@example(names=["n1/a.jpg", "n2/a.jpg"], asked=["a.jpg", "x/n2/a.jpg", "n1\\a.png", "n3/a"])
def test_images_are_those_that_a_slow_loop_finds(names, asked) -> None:
    found = NameIndex(pa.array([name.encode() for name in names])).find(pa.array([name.encode() for name in asked]))

    assert found.tolist() == [slow_find(names, name) for name in asked]


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


def test_candidates_of_an_ambiguous_name_are_listed() -> None:
    index = NameIndex(pa.array([b"x/n1/a.jpg", b"y/n1/a.jpg", b"n2/a.jpg", b"b.jpg"]))

    assert index.candidates(b"n1/a.jpg", 5) == [b"x/n1/a.jpg", b"y/n1/a.jpg"]
    assert index.candidates(b"n1/a", 1) == [b"x/n1/a.jpg"]
    assert index.candidates(b"a.jpg", 5) == [b"x/n1/a.jpg", b"y/n1/a.jpg", b"n2/a.jpg"]
