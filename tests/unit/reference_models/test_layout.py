"""The authors' CSV layout: valid files are parsed, and invalid rows are rejected with their lines."""

import pytest
from errata.errors import InvalidUpload, TooLarge
from example_counts import max_examples
from hypothesis import example, given
from hypothesis import strategies as st

from service.domain import Axis, ErrorType, GroupNumbers
from service.reference_models.layout import MAX_BYTES, MAX_MODELS, PublishedModel, read_models, size_label

GOOD = {
    "model_dir_id": "timm--resnet50",
    "num_params": "25557032",
    "training_data": "ImageNet-1k (1.2M)",
    "arch": "resnet",
    "arch_family": "cnn",
    "arch_group": "ResNet",
    "num_all_samples": "200",
    "num_all_top1_errors": "50",
    "num_group_correct": "60",
    "num_collapsed_mappings": "1",
    "num_ambiguous": "2",
    "num_same_superclass": "3",
    "num_OOV_clip": "4",
    "num_common_co_occ": "5",
    "num_non_prototypical": "6",
    "num_not_classified": "7",
    "mla_all": "75",
    "mla_group": "87.5",
}
COUNTS = [name for name in GOOD if name.startswith("num_") and name != "num_params"]
NEEDED = ["model_dir_id", "mla_all", "mla_group", *COUNTS]


def csv_of(*rows: dict[str, str], columns: list[str] | None = None) -> bytes:
    """Write rows without quoting."""
    columns = columns or list(GOOD)
    lines = [",".join(columns), *(",".join(row[name] for name in columns) for row in rows)]
    return ("\n".join(lines) + "\n").encode()


def refused(content: bytes) -> InvalidUpload:
    with pytest.raises(InvalidUpload) as error:
        read_models(content)
    assert error.value.violations
    assert {violation.field for violation in error.value.violations} == {"reference"}
    return error.value


# valid files


def test_row_is_parsed() -> None:
    (model,) = read_models(csv_of(GOOD))

    assert model == PublishedModel(
        name="timm--resnet50",
        accuracies={Axis.TOP1: 0.75, Axis.MULTI_LABEL: 0.75},
        numbers=GroupNumbers(dict(zip(tuple(ErrorType), (60, 1, 2, 3, 4, 5, 6, 7), strict=True)), 0.875),
        labels={
            "architecture": "ResNet",
            "architecture-family": "cnn",
            "pre-training": "ImageNet-1k (1.2M)",
            "size": "10 to 30 M",
        },
        covers_all_samples=None,
    )


@pytest.mark.parametrize(("samples", "covers_all_samples"), [("200", True), ("80", False)])
def test_file_can_state_whether_its_group_covers_all_samples(samples: str, covers_all_samples: bool) -> None:
    (model,) = read_models(csv_of({**GOOD, "num_group_samples": samples}, columns=[*GOOD, "num_group_samples"]))

    assert model.covers_all_samples is covers_all_samples


def test_models_have_the_order_of_the_file() -> None:
    names = ["b", "a", "c", "a"]

    assert [
        read_model.name for read_model in read_models(csv_of(*({**GOOD, "model_dir_id": name} for name in names)))
    ] == names


def test_columns_can_have_any_order_and_unknown_columns_are_ignored() -> None:
    row = {**GOOD, "extra_annotations": "[]"}

    assert read_models(csv_of(row, columns=sorted(row))) == read_models(csv_of(GOOD))


def test_labels_may_be_missing() -> None:
    (model,) = read_models(csv_of(GOOD, columns=NEEDED))

    assert set(model.labels.values()) == {""}


def test_quotes_windows_line_ends_and_a_byte_order_mark_are_accepted() -> None:
    name = 'a, "b"\nc'
    quoted = csv_of({**GOOD, "model_dir_id": '"a, ""b""\nc"'})

    for content in (quoted, b"\xef\xbb\xbf" + quoted, csv_of(GOOD).replace(b"\n", b"\r\n")):
        (model,) = read_models(content)
        assert model.accuracies[Axis.TOP1] == 0.75
        assert model.name in (name, "timm--resnet50")


def test_file_with_only_a_header_has_no_models() -> None:
    assert read_models(csv_of()) == []


@pytest.mark.parametrize("end", ["", "\n", "\n\n\n"])
def test_end_of_the_last_line_does_not_matter(end: str) -> None:
    assert len(read_models(csv_of(GOOD).rstrip() + end.encode())) == 1


def test_long_names_and_labels_are_cut() -> None:
    (model,) = read_models(csv_of({**GOOD, "model_dir_id": "m" * 5000, "arch_group": "a" * 5000}))

    assert 0 < len(model.name) <= 200
    assert 0 < len(model.labels["architecture"]) <= 80


@pytest.mark.parametrize(
    ("parameters", "label"),
    [
        (0, "under 10 M"),
        (9_999_999, "under 10 M"),
        (10_000_000, "10 to 30 M"),
        (29_999_999, "10 to 30 M"),
        (30_000_000, "30 to 100 M"),
        (99_999_999, "30 to 100 M"),
        (100_000_000, "100 M and more"),
        (10**15, "100 M and more"),
    ],
)
def test_sizes_have_four_labels(parameters: int, label: str) -> None:
    (model,) = read_models(csv_of({**GOOD, "num_params": str(parameters)}))

    assert size_label(parameters) == label
    assert model.labels["size"] == label


def test_model_of_unknown_size_has_no_size_label() -> None:
    (model,) = read_models(csv_of({**GOOD, "num_params": ""}))

    assert model.labels["size"] == ""


def test_accuracies_of_0_and_1_are_accepted() -> None:
    perfect, useless = read_models(
        csv_of({**GOOD, "num_all_top1_errors": "0", "mla_group": "100"}, {**GOOD, "num_all_top1_errors": "200"})
    )

    assert (perfect.accuracies[Axis.TOP1], perfect.numbers.multi_label_accuracy) == (1, 1)
    assert useless.accuracies[Axis.TOP1] == 0


# invalid files


@pytest.mark.parametrize("column", NEEDED)
def test_missing_column_is_named(column: str) -> None:
    error = refused(csv_of(GOOD, columns=[name for name in GOOD if name != column]))

    assert [violation.line for violation in error.violations] == [1]
    assert column in error.message


def test_empty_file_has_no_columns() -> None:
    assert [violation.line for violation in refused(b"").violations] == [1]


@pytest.mark.parametrize("column", COUNTS)
@pytest.mark.parametrize(
    "cell", ["many", "", " ", "-1", "nan", "NaN", "inf", "-inf", "1e999", "0.5", "0x10", "9" * 30, "9" * 400, "1;2"]
)
def test_invalid_count_is_rejected_with_its_line(column: str, cell: str) -> None:
    error = refused(csv_of(GOOD, {**GOOD, column: cell}, GOOD))

    assert [violation.line for violation in error.violations] == [3]
    assert column in error.violations[0].description
    assert len(error.violations[0].description) < 200


@pytest.mark.parametrize("cell", ["many", "", "-0.01", "100.01", "nan", "inf", "-inf", "9" * 400])
def test_invalid_percentage_is_rejected_with_its_line(cell: str) -> None:
    error = refused(csv_of(GOOD, GOOD, {**GOOD, "mla_group": cell}))

    assert [violation.line for violation in error.violations] == [4]
    assert "mla_group" in error.violations[0].description


@pytest.mark.parametrize("cell", ["many", "-1", "nan", "inf", "1.5", "9" * 30, "9" * 400])
def test_invalid_size_is_rejected_with_its_line(cell: str) -> None:
    error = refused(csv_of({**GOOD, "num_params": cell}))

    assert [violation.line for violation in error.violations] == [2]
    assert "num_params" in error.violations[0].description


@pytest.mark.parametrize(("samples", "errors"), [("200", "201"), ("0", "0"), ("0", "1")])
def test_more_errors_than_samples_or_no_samples_are_rejected(samples: str, errors: str) -> None:
    error = refused(csv_of(GOOD, {**GOOD, "num_all_samples": samples, "num_all_top1_errors": errors}))

    assert [violation.line for violation in error.violations] == [3]


@pytest.mark.parametrize("cells", [1, 2, len(GOOD) - 1])
def test_row_with_too_few_cells_is_rejected_with_its_line(cells: int) -> None:
    short = ",".join(list(GOOD.values())[:cells]).encode()

    error = refused(csv_of(GOOD) + short + b"\n" + csv_of(GOOD).splitlines()[1])

    assert [violation.line for violation in error.violations] == [3]


def test_line_number_is_that_of_an_editor() -> None:
    error = refused(csv_of({**GOOD, "model_dir_id": '"two\nlines"'}, {**GOOD, "mla_group": "x"}))

    assert [violation.line for violation in error.violations] == [4]


def test_first_ten_violations_are_listed() -> None:
    error = refused(csv_of(*[{**GOOD, "mla_group": "x"}] * 30, GOOD))

    assert "30" in error.message
    assert [violation.line for violation in error.violations] == [*range(2, 2 + len(error.violations))]
    assert 1 < len(error.violations) < 30


@pytest.mark.parametrize(
    "content",
    [
        csv_of(GOOD).replace(b"timm", b"\xff\xfe"),  # not UTF-8
        csv_of(GOOD).decode().encode("utf-16"),
        csv_of(GOOD).replace(b"timm", "é".encode("latin-1")),
        csv_of(GOOD).replace(b"timm", "\ud800".encode("utf-8", "surrogatepass")),
        csv_of(GOOD).replace(b"timm", b'"timm'),  # an unterminated quote
        csv_of(GOOD).replace(b"timm", b'"timm"x'),
        csv_of({**GOOD, "model_dir_id": "m" * 70_000}),
        b"\x00" * 100,
        b"\x93NUMPY\x01\x00v\x00{'descr'",
        b"PK\x03\x04",
        b'{"model": 1}',
    ],
    ids=lambda content: repr(content[:12]),
)
def test_malformed_file_is_rejected(content: bytes) -> None:
    refused(content)


@pytest.mark.parametrize("column", NEEDED[1:])
def test_zero_byte_in_a_number_is_rejected_with_its_line(column: str) -> None:
    error = refused(csv_of(GOOD, {**GOOD, column: "1\x000"}))

    assert [violation.line for violation in error.violations] == [3]


def test_large_file_is_rejected_early() -> None:
    with pytest.raises(TooLarge, match=str(MAX_BYTES)):
        read_models(b"\xff" * (MAX_BYTES + 1))


def test_too_many_models_are_rejected() -> None:
    least = {**dict.fromkeys(NEEDED, "0"), "num_all_samples": "1"}
    header, row = csv_of(least, columns=NEEDED).splitlines(keepends=True)

    assert len(read_models(header + row * MAX_MODELS)) == MAX_MODELS
    with pytest.raises(TooLarge, match=str(MAX_MODELS)):
        read_models(header + row * (MAX_MODELS + 1))


# arbitrary files


def survives(content: bytes) -> None:
    """Parse a file or reject it; parsed values must be plausible."""
    try:
        models = read_models(content)
    except (InvalidUpload, TooLarge):
        return
    for model in models:
        assert all(0 <= accuracy <= 1 for accuracy in model.accuracies.values())
        assert 0 <= (model.numbers.multi_label_accuracy or 0) <= 1
        assert all(count >= 0 for count in model.numbers.counts.values())


@max_examples(300)
@given(st.binary(max_size=300))
@example(b"\xef\xbb\xbf")
@example(b"\n")
@example(b'"')
@example(b"\r\r\n\r")
def test_any_bytes_are_read_or_rejected(content: bytes) -> None:
    survives(content)


CELLS = st.one_of(
    st.sampled_from(list(GOOD.values())),
    st.sampled_from(
        ["", "nan", "-0", "1e3", "1e308", "9" * 400, "1_0", "١٠", '"', '""', "\x00", "\r", "\n", ",", " 7 "]
    ),
    st.floats().map(str),
    st.integers().map(str),
    st.text(max_size=8),
)


@pytest.mark.slow
@max_examples(300)
@given(st.lists(st.lists(CELLS, max_size=len(GOOD) + 2), max_size=4), st.sampled_from(["\n", "\r\n", "\r"]))
def test_any_cells_below_a_good_header_are_read_or_rejected(rows: list[list[str]], end: str) -> None:
    text = end.join([",".join(GOOD), *map(",".join, rows)])

    survives(text.encode("utf-8", "surrogatepass"))


@max_examples(300)
@given(st.dictionaries(st.sampled_from(list(GOOD)), CELLS, max_size=4))
def test_good_row_with_any_cells_changed_is_read_or_rejected(changed: dict[str, str]) -> None:
    survives(csv_of({**GOOD, **changed}))


@max_examples(200)
@given(st.integers(0, len(csv_of(GOOD, GOOD))), st.integers(0, 30), st.binary(max_size=5))
def test_damaged_file_is_read_or_rejected(at: int, length: int, instead: bytes) -> None:
    content = csv_of(GOOD, GOOD)

    survives(content[:at] + instead + content[at + length :])
