"""The generators of hostile files: small versions are what independent readers expect."""

import csv
import io
import json
import zipfile
from collections.abc import Callable
from functools import partial
from typing import BinaryIO

import numpy as np
import pytest
from pyarrow import parquet
from security.array_cases import hidden_entries, nested_npy_header, overstated_array, overstated_npy
from security.parquet_cases import (
    deep_and_wide_schema,
    delta_column,
    endless_rows,
    many_row_groups,
    nested_groups,
    wide_schema,
)
from security.text_cases import distinct_classes, repeated_images, short_json_rows

Write = Callable[[BinaryIO], None]


def content_of(write: Write) -> io.BytesIO:
    file = io.BytesIO()
    write(file)
    file.seek(0)
    return file


def test_nested_groups_are_one_column_below_as_many_groups() -> None:
    schema = parquet.ParquetFile(content_of(partial(nested_groups, depth=10))).schema

    assert [schema.column(0).path] == [".".join(["g"] * 10 + ["x"])]


def test_a_wide_schema_has_the_columns_of_an_upload_first() -> None:
    names = parquet.read_schema(content_of(partial(wide_schema, columns=100))).names

    assert names == ["file_name", "top1", *(f"c{number}" for number in range(100))]


def test_a_deep_and_wide_schema_has_each_column_below_all_groups() -> None:
    schema = parquet.ParquetFile(content_of(partial(deep_and_wide_schema, depth=5, columns=3))).schema

    assert [schema.column(place).path for place in range(3)] == ["g.g.g.g.g.x"] * 3


def test_endless_rows_are_readable_rows_that_the_footer_does_not_state() -> None:
    file = parquet.ParquetFile(content_of(partial(endless_rows, row_groups=4, rows=25)))

    assert (file.metadata.num_rows, file.metadata.num_row_groups) == (10, 4)
    assert file.read_row_group(3).to_pydict() == {"file_name": [b"ILSVRC2012_val_00000001.JPEG"] * 25, "top1": [1] * 25}


def test_many_row_groups_are_stated_in_the_footer() -> None:
    metadata = parquet.read_metadata(content_of(partial(many_row_groups, row_groups=7, chunks=2)))

    assert (metadata.num_row_groups, metadata.row_group(6).num_columns) == (7, 2)


@pytest.mark.parametrize("column", ["file_name", "top1"])
def test_a_delta_column_unpacks_to_far_more_than_it_is(column: str) -> None:
    content = content_of(partial(delta_column, column=column, size=5_000, rows=4_000))
    table = parquet.read_table(content)

    assert set(table[column].to_pylist()) == {"x" * 5_000}
    assert table.nbytes > 100 * len(content.getvalue())


def test_hidden_entries_are_all_listed_and_far_from_the_end() -> None:
    content = content_of(partial(hidden_entries, entries=30))

    with zipfile.ZipFile(content) as archive:
        assert len(archive.namelist()) == 31
    assert content.getvalue()[-(150 << 10) :].count(b"PK\1\2") == 0


def test_an_overstated_array_is_an_archive_whose_directory_states_4_gib() -> None:
    content = content_of(partial(overstated_array, rows=99, size=(1 << 32) - 2))

    with zipfile.ZipFile(content) as archive:
        assert [(info.filename, info.file_size) for info in archive.infolist()] == [("top1.npy", (1 << 32) - 2)]
    assert len(content.getvalue()) < 300


@pytest.mark.parametrize(
    ("write", "shape"),
    [(partial(overstated_npy, rows=1 << 40), (1 << 40, 1000)), (partial(nested_npy_header, depth=3), (1,))],
)
def test_an_npy_header_states_its_shape(write: Write, shape: tuple[int, ...]) -> None:
    content = content_of(write)
    np.lib.format.read_magic(content)

    assert np.lib.format.read_array_header_1_0(content)[0] == shape


def test_short_json_rows_are_objects_of_both_types_of_class() -> None:
    lines = content_of(partial(short_json_rows, size=5_000)).getvalue().splitlines()[1:-1]

    assert len(lines) > 150
    assert {type(json.loads(line)["top1"]) for line in lines} == {int, str}


def test_distinct_classes_do_not_repeat() -> None:
    rows = list(csv.reader(io.TextIOWrapper(content_of(partial(distinct_classes, size=50_000)))))[1:-1]

    assert len({row[1] for row in rows}) == len(rows) > 4_000


def test_repeated_images_are_rows_about_one_image() -> None:
    rows = list(csv.reader(io.TextIOWrapper(content_of(partial(repeated_images, size=5_000)))))[1:-1]

    assert {tuple(row) for row in rows} == {("ILSVRC2012_val_00000001.JPEG", "1")}
