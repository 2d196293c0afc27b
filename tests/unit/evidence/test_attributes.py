"""Files of attributes: formats, limits, hostile content, and the slices among the images of a bundle."""

import csv
import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from errata.errors import InvalidEvidence, NotFound
from example_counts import max_examples
from hypothesis import example, given
from hypothesis import strategies as st

from service.domain import Slice
from service.domain.slices import ImageAttribute
from service.evidence import attribute_files
from service.evidence.attribute_files import FACTORS, MAX_LINE, MAX_TEXT, read_attributes
from service.evidence.attributes import AttributeRepository
from service.evidence.bundle import Bundle

HEADER = "file_name,attribute,value\n"


def write(folder: Path, content: str | bytes, name: str = "attributes.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def imagenet_x(name: str, *factors: str, **changes: Any) -> str:
    """Return a line in the format of ImageNet-X."""
    values = {"file_name": name, "class": 1} | {factor: int(factor in factors) for factor in FACTORS}
    return json.dumps(values | {"justification": "seen from the side", "one_word": None} | changes) + "\n"


def test_a_csv_file_has_slices_and_a_digest(demo: Bundle, tmp_path: Path) -> None:
    first, second, third = demo.judged_names[:3]
    content = f"{HEADER}{first},time,night\n{second},time,day\n{second},tag,a b\n{third},time,night\n"
    attributes = AttributeRepository({"demo": [write(tmp_path, content)]}).get(demo)

    assert attributes.digest == hashlib.sha256(content.encode()).hexdigest()
    assert attributes.slices == (Slice("tag", "a b"), Slice("time", "day"), Slice("time", "night"))
    assert [np.flatnonzero(attributes.mask(number)).tolist() for number in range(3)] == [[1], [1], [0, 2]]
    assert attributes.annotated.sum(axis=1).tolist() == [3, 1]  # time, tag
    assert attributes.of_rows([1, 5]) == [(ImageAttribute("tag", ("a b",)), ImageAttribute("time", ("day",))), ()]


def test_columns_may_have_another_order_and_values_several_forms(demo: Bundle, tmp_path: Path) -> None:
    first, second = demo.judged_names[:2]
    content = f'\ufeffvalue,note,file_name,attribute\r\n"x, ""y""",?,{first},a\r\n\r\n é ,,{second},a\r\n'
    attributes = AttributeRepository({"demo": [write(tmp_path, content)]}).get(demo)

    assert attributes.slices == (Slice("a", 'x, "y"'), Slice("a", "é"))


def test_several_files_have_one_digest(demo: Bundle, tmp_path: Path) -> None:
    one = write(tmp_path, f"{HEADER}{demo.judged_names[0]},time,night\n", "one.csv")
    two = write(tmp_path, f"{HEADER}{demo.judged_names[0]},tag,x\n", "two.csv")
    attributes = AttributeRepository({"demo": [one, two]}).get(demo)

    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (one, two)]
    assert attributes.digest == hashlib.sha256("\n".join(digests).encode()).hexdigest()
    assert [item.id for item in attributes.slices] == ["tag=x", "time=night"]


def test_factors_of_imagenet_x_are_values_of_one_attribute(demo: Bundle, tmp_path: Path) -> None:
    names = demo.judged_names
    lines = [imagenet_x(names[0], "smaller", "pose"), imagenet_x(names[1]), imagenet_x(names[2], "pose")]
    write(tmp_path, f"file_name\n{names[2]}\n", "prototypical_paths.csv")
    attributes = AttributeRepository({"demo": [write(tmp_path, "".join(lines), "top.jsonl")]}).get(demo)

    assert [item.id for item in attributes.slices] == ["atypical=pose", "atypical=smaller"]
    assert attributes.of_rows(range(3)) == [(ImageAttribute("atypical", ("pose", "smaller")),), (), ()]
    assert np.flatnonzero(attributes.annotated[0]).tolist() == [0, 1], "a prototype has no factors"
    (tmp_path / "prototypical_paths.csv").unlink()
    assert read_attributes([tmp_path / "top.jsonl"]).digest != attributes.digest, "prototypes change the slices"


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        ("", None, "no rows"),
        (HEADER, None, "no rows"),
        ("name,value\na,b\n", 1, "invalid header"),
        ("file_name,attribute,value,value\na,b,c,d\n", 1, "invalid header"),
        (HEADER + "a,b,c\n\na,b\n", 4, "2 columns"),
        (HEADER + "a,b,c,d\n", 2, "4 columns"),
        (HEADER + "a,b,c\nx,y,z\na,b,c\n", 4, "duplicate row"),
        (HEADER + ",b,c\n", 2, "empty file_name"),
        (HEADER + "a,,c\n", 2, "empty attribute"),
        (HEADER + "a,b, \n", 2, "empty value"),
        (HEADER + f"a,b,{'c' * (MAX_TEXT + 1)}\n", 2, "101 characters"),
        (HEADER + "a,b,c\x00\n", 2, "control character U\\+0000"),
        (HEADER + "a,b,\u202ec\n", 2, "control character U\\+202E"),
        (HEADER + "a,b=c,d\n", 2, "'='"),
        (HEADER + 'a,b,"c\nd"\n', 2, "not valid CSV"),
        (HEADER + f"a,b,{'c' * MAX_LINE}\n", 2, "more than 64 KiB"),
        ((HEADER + "a,b,c\na,b,").encode() + b"\xff\n", 3, "not UTF-8"),
        (imagenet_x("a") + "[1]\n", 2, "no object"),
        (imagenet_x("a") + "{\n", 2, "not valid JSON"),
        (imagenet_x("a") + "{" * 50_000 + "\n", 2, "not valid JSON"),
        (imagenet_x("a") + imagenet_x("a"), 2, "duplicate image"),
        (imagenet_x("a", pose=2), 1, "'pose' is not 0 or 1"),
        (imagenet_x("a", pose=True), 1, "'pose' is not 0 or 1"),
        (imagenet_x("a", file_name=3), 1, "no object with the text 'file_name'"),
        (imagenet_x("a", file_name="\ud800"), 1, "not valid Unicode"),
    ],
)
def test_an_invalid_file_is_refused_with_its_line(
    tmp_path: Path, content: str | bytes, line: int, problem: str
) -> None:
    with pytest.raises(InvalidEvidence, match=problem) as refused:
        read_attributes([write(tmp_path, content)])

    assert refused.value.violations[0].line == line


@pytest.mark.parametrize(
    ("limit", "value", "content", "problem"),
    [
        ("MAX_BYTES", 60, HEADER + "a,b,c\n" * 10, "Expected at most"),
        ("MAX_ROWS", 2, HEADER + "a,b,c\na,b,d\na,b,e\n", "line 4: more than 2 rows"),
        ("MAX_IMAGES", 2, HEADER + "a,b,c\nb,b,c\nc,b,c\n", "line 4: more than 2 images"),
        ("MAX_ATTRIBUTES", 2, HEADER + "a,b,c\na,c,c\na,d,c\n", "line 4: more than 2 attributes"),
        ("MAX_VALUES", 2, HEADER + "a,b,1\na,b,2\na,b,3\n", "line 4: more than 2 distinct values. Group numbers"),
    ],
)
def test_a_file_over_a_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, content: str, problem: str
) -> None:
    monkeypatch.setattr(attribute_files, limit, value)

    with pytest.raises(InvalidEvidence, match=problem):
        read_attributes([write(tmp_path, content)])


def test_an_error_lists_ten_violations(tmp_path: Path) -> None:
    with pytest.raises(InvalidEvidence, match=r"line 2: empty value.*and 49 more") as refused:
        read_attributes([write(tmp_path, HEADER + "a,b,\n" * 50)])

    assert [violation.line for violation in refused.value.violations] == list(range(2, 12))


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe"])
def test_only_a_regular_file_is_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "attributes.csv"
    if kind == "folder":
        path.mkdir()
    if kind == "pipe":
        os.mkfifo(path)

    with pytest.raises(InvalidEvidence, match=r"Cannot read|not a regular file"):
        read_attributes([path])


def test_unknown_images_are_refused_with_their_lines(demo: Bundle, tmp_path: Path) -> None:
    content = f"{HEADER}{demo.judged_names[0]},a,b\nno.jpg,a,b\nnone.jpg,a,b\n"
    repository = AttributeRepository({"demo": [write(tmp_path, content)]})
    repository.check()

    with pytest.raises(
        InvalidEvidence, match=r"line 3: image 'no.jpg' is not in data set 'demo' \(and 1 more\)"
    ) as refused:
        repository.find(demo)

    assert [violation.line for violation in refused.value.violations] == [3, 4]
    with pytest.raises(InvalidEvidence, match=r"line 3") as again:
        repository.get(demo)
    assert again.value.violations == refused.value.violations


def test_images_that_are_not_judged_are_ignored(imagenet_real: Bundle, tmp_path: Path) -> None:
    judged = imagenet_real.judged_names[0]
    other = next(name for name in imagenet_real.image_names if name not in imagenet_real.row_of_name)
    content = f"{HEADER}{other},a,x\n{judged},a,y\n"
    attributes = AttributeRepository({"imagenet-real": [write(tmp_path, content)]}).get(imagenet_real)

    assert [attributes.mask(number).sum() for number in range(2)] == [0, 1]


def test_a_data_set_without_attributes_has_none(demo: Bundle) -> None:
    assert AttributeRepository({}).find(demo) is None
    with pytest.raises(NotFound, match="ERRATA_ATTRIBUTES"):
        AttributeRepository({}).get(demo)


@max_examples(300)
@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: (HEADER + text).encode()))
@example((HEADER + "a.jpg,weather,fog\n").encode())
def test_arbitrary_files_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = write(tmp_path_factory.getbasetemp(), content, "fuzzed.csv")
    with suppress(InvalidEvidence):
        table = read_attributes([path])
        assert len(table.value_images) == len(table.value_numbers) >= 1


texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Zl", "Zp", "Cs"]), min_size=1, max_size=9)
cells = texts.map(str.strip).filter(bool)


@max_examples(100)
@given(st.sets(st.tuples(cells, cells.filter(lambda text: "=" not in text), cells), min_size=1, max_size=20))
def test_written_rows_are_read(tmp_path_factory: pytest.TempPathFactory, rows: set[tuple[str, str, str]]) -> None:
    path = tmp_path_factory.getbasetemp() / "written.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file_name", "attribute", "value"), *sorted(rows)])

    table = read_attributes([path])

    values = [(table.attributes[attribute], text) for attribute, text in table.values]
    read = {(table.names[i], *values[n]) for i, n in zip(table.value_images, table.value_numbers, strict=True)}
    assert read == rows
