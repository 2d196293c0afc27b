"""Validation: rows are matched to images in any order, and wrong and repeated rows are rejected."""

import numpy as np
import pyarrow as pa
import pytest
from errata.errors import InvalidRow, InvalidUpload
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st

from service.domain import RowOrder
from service.evidence.bundle import Bundle
from service.evidence.manifest import Manifest
from service.predictions.uploads import validation
from service.predictions.uploads.rows import NamedRows
from service.predictions.uploads.terms import CSV_TERMS
from service.predictions.uploads.validation import place_named
from service.taxonomy.imagenet_1k import imagenet_1k

TWELVE = list(range(100, 112))
FORMS = ["csv", "jsonl", "parquet"]


def written(write, form: str, rows: list[tuple[str, object]]) -> bytes:
    """Return rows in a format with file names."""
    if form == "parquet":
        return write.parquet({"file_name": [row[0] for row in rows], "predicted_class": [row[1] for row in rows]})
    return getattr(write, form)(rows)


def first_line(form: str) -> int:
    """Return the line of the first row."""
    return 2 if form == "csv" else 1


@pytest.mark.parametrize("form", FORMS)
def test_images_that_are_not_judged_may_be_left_out(small, write, form) -> None:
    rows = small.rows(TWELVE)

    result = small.top1(written(write, form, [rows[image] for image in small.judged]))

    assert [result[image] for image in small.judged] == [TWELVE[image] for image in small.judged]
    assert [result[image] for image in small.unjudged] == [-1, -1]


@pytest.mark.parametrize("form", FORMS)
def test_an_image_without_a_row_has_no_prediction(small, write, form) -> None:
    rows = small.rows(TWELVE)
    del rows[9], rows[4]

    result = small.top1(written(write, form, rows))

    assert result == [-1 if image in (4, 9) else predicted for image, predicted in enumerate(TWELVE)]


@pytest.mark.parametrize("form", FORMS)
def test_a_name_outside_of_the_data_set_is_rejected_with_its_line(small, write, expected_error, form) -> None:
    rows = [*small.rows(TWELVE)[:6], ("ILSVRC2012_val_00000013.JPEG", 1), *small.rows(TWELVE)[6:]]

    error = small.rejection(written(write, form, rows))

    assert error.reason == "INVALID_ROW"
    assert [violation.field for violation in error.violations] == ["file_name"]
    assert "ILSVRC2012_val_00000013.JPEG" in error.message
    assert expected_error.lines(error) == [6 + first_line(form)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", [1, 5, 12])
def test_a_second_row_about_an_image_is_rejected_with_its_line(small, write, expected_error, form, place) -> None:
    rows = small.rows(TWELVE)
    rows.insert(place, rows[0])

    error = small.rejection(written(write, form, rows))

    assert error.reason == "INVALID_ROW"
    assert expected_error.lines(error) == [place + first_line(form)]
    first = f"{'row' if form == 'parquet' else 'line'} {first_line(form)}"
    assert f"Image '{small.names[0]}' has more than one row: {first} also names it." in error.message


@pytest.mark.parametrize("form", FORMS)
def test_too_many_rows_are_rejected(small, write, expected_error, form) -> None:
    error = small.rejection(written(write, form, small.rows(TWELVE) * 4))

    assert error.reason == "INVALID_ROW"
    assert expected_error.lines(error) == list(range(12 + first_line(form), 22 + first_line(form)))
    assert expected_error.count(error, 36)


@pytest.mark.parametrize("form", FORMS)
def test_names_can_include_their_folder(small, write, form) -> None:
    rows = list(zip(small.paths, TWELVE, strict=True))

    assert small.top1(written(write, form, rows[::-1])) == TWELVE


@pytest.mark.parametrize("form", FORMS)
def test_an_image_with_and_without_its_folder_is_one_image(small, write, expected_error, form) -> None:
    rows = [*small.rows(TWELVE), (small.paths[3], 5)]

    error = small.rejection(written(write, form, rows))

    assert expected_error.lines(error) == [12 + first_line(form)]
    first = f"{'row' if form == 'parquet' else 'line'} {3 + first_line(form)}"
    assert f"'{small.paths[3]}' is read as image '{small.names[3]}', which {first} also names." in error.message


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("is_in_order", [False, True])
def test_a_repeat_names_the_first_row_of_an_earlier_block(small, write, monkeypatch, form, is_in_order) -> None:
    monkeypatch.setattr("service.predictions.uploads.csv.MAX_BLOCK", 200)
    names = small.names if is_in_order else small.names[::-1]
    rows = [*zip(names, TWELVE, strict=True), (f"val/{names[1]}", 5)]

    message = small.rejection(written(write, form, rows)).message

    first = f"{'row' if form == 'parquet' else 'line'} {1 + first_line(form)}"
    assert f"'val/{names[1]}' is read as image '{names[1]}', which {first} also names." in message


@pytest.mark.parametrize(
    "name", ["", " ", "a/b", "../ILSVRC2012_val_00000001.JPEG", "ilsvrc2012_val_00000001.jpeg", "ö"]
)
@pytest.mark.parametrize("form", FORMS)
def test_unknown_names_are_rejected_with_their_line(small, write, expected_error, form, name) -> None:
    error = small.rejection(written(write, form, [*small.rows(TWELVE), (name, 5)]))

    assert expected_error.lines(error) == [12 + first_line(form)]


@pytest.mark.parametrize(
    "name",
    ["tench", "Tinca tinca", "TENCH", "tinca_tinca", " tench ", "tench, Tinca tinca", "n01440764", "0", "000"],
)
@pytest.mark.parametrize("form", FORMS)
def test_a_class_may_be_an_index_a_wordnet_id_or_a_unique_name(small, write, form, name) -> None:
    assert small.top1(written(write, form, small.rows([name] * 12))) == [0] * 12


@pytest.mark.parametrize("name", ["crane", "Crane", "maillot", "cardigan", "missile"])
@pytest.mark.parametrize("form", FORMS)
def test_a_name_that_two_classes_share_is_rejected(small, write, expected_error, form, name) -> None:
    """ILSVRC 2012 has two cranes (134, 517), maillots (638, 639), cardigans (264, 474) and missiles (657, 744)."""
    error = small.rejection(written(write, form, small.rows([*["5"] * 11, name])))

    assert error.reason == "INVALID_ROW"
    assert expected_error.lines(error) == [11 + first_line(form)]


@max_examples(60)
@given(data=st.data(), form=st.sampled_from(FORMS))
def test_the_order_of_named_rows_is_irrelevant(small, write, data, form) -> None:
    predicted = data.draw(st.lists(st.integers(0, 999), min_size=12, max_size=12))
    shuffled = data.draw(st.permutations(small.rows(predicted)))

    assert small.top1(written(write, form, shuffled)) == predicted


@max_examples(200)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000002.JPEG", "zzz.JPEG", "n1/x"]),
            st.sampled_from(["0", "999", "1000", "-1", "tench", "crane"]),
        ),
        max_size=4,
    ),
    form=st.sampled_from(FORMS),
)
def test_the_wrong_lines_are_those_that_a_slow_loop_finds(small, write, rows, form) -> None:
    """A repeat of a row with a wrong class may be reported or not."""
    rows = [*rows, ("ILSVRC2012_val_00000003.JPEG", "1")]
    wrong, either, good, bad = set(), set(), set(), set()
    for line, (name, predicted) in enumerate(rows, start=first_line(form)):
        if name not in small.names or predicted in {"1000", "-1", "crane"} or name in good:
            wrong.add(line)
            bad.add(name)
        else:
            good.add(name)
            if name in bad:
                either.add(line)

    try:
        small.parse(written(write, form, rows))
        reported = set()
    except InvalidUpload as error:
        reported = {violation.line for violation in error.violations if violation.line}
    assert wrong <= reported <= wrong | either


def bundle(names: list[str], targets: list[int]) -> Bundle:
    """Return a bundle with the arrays that define the row orders."""
    manifest = Manifest("small", "", 1, (), (), {}, (), {})
    arrays = {
        "names": np.array([name.encode() for name in names]),
        "all_targets": np.array(targets, dtype=np.int16),
        "rows": np.arange(len(names), dtype=np.int32),
    }
    return Bundle(None, manifest, imagenet_1k(), arrays)


def slow_sort(keys: list[str]) -> list[int]:
    """Return the rows in ascending order, with a selection sort."""
    left = list(range(len(keys)))
    result = []
    while left:
        lowest = left[0]
        for row in left:
            if keys[row].encode() < keys[lowest].encode():
                lowest = row
        result.append(lowest)
        left.remove(lowest)
    return result


def test_a_bundle_orders_bare_names_by_path_and_by_name_as_a_slow_sort_does(small) -> None:
    result = bundle([*small.names], [*small.targets])

    assert result.positions(RowOrder.PATH).tolist() == slow_sort(small.paths)
    assert result.positions(RowOrder.UNSPECIFIED).tolist() == slow_sort(small.paths)
    assert result.positions(RowOrder.FILE_NAME).tolist() == slow_sort([*small.names])


@max_examples(60)
@given(
    st.lists(
        st.tuples(st.integers(0, 11), st.text("ab01_.-Z", min_size=1, max_size=4)),
        min_size=1,
        max_size=15,
        unique_by=lambda image: image[1],
    )
)
def test_a_bundle_orders_images_in_folders_as_a_slow_sort_does(classes, images) -> None:
    paths = [f"{classes[row][1]}/{name}" for row, name in images]
    result = bundle(paths, [classes[row][0] for row, _ in images])

    assert result.positions(RowOrder.PATH).tolist() == slow_sort(paths)
    assert result.positions(RowOrder.FILE_NAME).tolist() == slow_sort([name for _, name in images])


@pytest.mark.parametrize("order", [RowOrder.PATH, RowOrder.FILE_NAME])
def test_both_orders_of_a_file_without_names_equal_named_rows(small, write, order) -> None:
    """Given the rows of a CSV, sorted slowly by path or by name, then the npz of their classes is the same upload."""
    keys = small.paths if order is RowOrder.PATH else [*small.names]
    in_order = [TWELVE[image] for image in slow_sort(keys)]

    assert small.top1(write.npz(top1=np.array(in_order)), order) == small.top1(write.csv(small.rows(TWELVE)))


@pytest.mark.slow
def test_the_path_order_of_imagenet_is_that_of_sorted_paths(imagenet_real: Bundle) -> None:
    """The WordNet ids of ILSVRC 2012 ascend with the class index, so that a zero-padded index sorts like them."""
    names = [name.decode() for name in imagenet_real.names.to_pylist()]
    paths = [f"{target:03}/{name}" for target, name in zip(imagenet_real.all_targets.tolist(), names, strict=True)]

    by_path = imagenet_real.positions(RowOrder.PATH)
    by_name = imagenet_real.positions(RowOrder.FILE_NAME)

    assert [paths[image] for image in by_path] == sorted(paths)
    assert [names[image] for image in by_name] == sorted(names)
    assert len(names) == 50_000


@pytest.mark.parametrize("size", [4, 100])
@pytest.mark.parametrize("reverse", [False, True])
def test_only_wrong_rows_that_an_error_can_list_are_described(small, monkeypatch, size, reverse) -> None:
    """The search of similar names takes up to 0.5 s for each description."""
    described = []

    def describe(value: object, _: object) -> str:
        described.append(value)
        return f"wrong {value}"

    monkeypatch.setattr(validation, "describe_class", describe)
    names = pa.array([small.names[0].encode()] * size, pa.binary())
    blocks = [
        NamedRows(names, pa.array([f"x{line}" for line in lines]), None, np.array(lines))
        for lines in (range(start, start + size) for start in range(1, 10 * size, size))
    ]

    with pytest.raises(InvalidRow) as caught:
        place_named(iter(blocks[::-1] if reverse else blocks), small.layout, CSV_TERMS)

    assert [violation.line for violation in caught.value.violations] == [*range(1, 11)]
    assert f"(and {10 * size - 1:,} more errors)" in caught.value.message
    assert reverse or len(described) <= 12
