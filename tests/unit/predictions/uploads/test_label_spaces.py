"""Uploads for label spaces of 2 to 32,767 classes: matching of classes, and scores."""

import io
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from errata.errors import ErrataError
from pyarrow import parquet
from unit.predictions.label_spaces import label_space, label_space_of

from service.domain import LabelSpace, RowOrder
from service.predictions.sandbox import ParserPool
from service.predictions.uploads import Layout, Upload, parse_upload

SIZES = (2, 10, 1500, 32_767)
NAMES = [f"{number:02}.png" for number in range(40)]
MAX_BYTES = 1 << 24
# Texts that identify class N of `label_space`.
FORMS = {
    "index": str,
    "id": lambda number: f"id-{number}",
    "name": lambda number: f"Name_{number}",
    "synonym": lambda number: f" synonym {number} ",
}


def layout_of(space: LabelSpace) -> Layout:
    images = len(NAMES)
    return Layout(
        "own",
        pa.array([name.encode() for name in NAMES], pa.binary()),
        lambda _: np.arange(images),
        space,
    )


def parse(content: bytes, space: LabelSpace) -> Upload:
    return parse_upload(io.BytesIO(content), layout_of(space), RowOrder.UNSPECIFIED, MAX_BYTES)


def message_of(content: bytes, space: LabelSpace) -> str:
    with pytest.raises(ErrataError) as caught:
        parse(content, space)
    return caught.value.message


def some_classes(num_classes: int) -> list[int]:
    """Return a class for each image, with the first and the last one."""
    drawn = np.random.default_rng(num_classes).integers(0, num_classes, len(NAMES) - 2).tolist()
    return [0, num_classes - 1, *drawn]


@pytest.mark.parametrize("num_classes", SIZES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_a_class_may_be_an_index_an_id_a_name_or_a_synonym(write, num_classes, form, format) -> None:
    classes = some_classes(num_classes)
    texts = [FORMS[form](number) for number in classes]
    if format == "parquet":
        content = write.parquet({"file_name": NAMES, "predicted_class": texts})
    else:
        content = getattr(write, format)(list(zip(NAMES, texts, strict=True)))

    assert parse(content, label_space(num_classes)).predictions.top1.tolist() == classes


@pytest.mark.parametrize("num_classes", SIZES)
@pytest.mark.parametrize("format", ["jsonl", "parquet", "npy", "npz"])
def test_integers_are_indices(write, num_classes, format) -> None:
    classes = some_classes(num_classes)
    content = {
        "jsonl": write.jsonl(list(zip(NAMES, classes, strict=True))),
        "parquet": write.parquet({"file_name": NAMES, "predicted_class": classes}),
        "npy": write.npy(np.array(classes)),
        "npz": write.npz(top1=np.array(classes)),
    }[format]

    assert parse(content, label_space(num_classes)).predictions.top1.tolist() == classes


@pytest.mark.parametrize("num_classes", SIZES)
@pytest.mark.parametrize("format", ["npy", "npz"])
@pytest.mark.parametrize("is_sandboxed", [False, pytest.param(True, marks=pytest.mark.processes)])
def test_scores_have_a_column_for_each_class(write, num_classes, format, is_sandboxed) -> None:
    """Every second class belongs to the data set, and the classes with the odd numbers have the best scores."""
    scores = np.random.default_rng(3).random((len(NAMES), num_classes)).astype(np.float32)
    scores[:, 1::2] += 1
    content = write.npy(scores) if format == "npy" else write.npz(top1=scores.argmax(axis=1), probs=scores)
    layout = replace(layout_of(label_space(num_classes)), classes=np.arange(num_classes) % 2 == 0)
    with ParserPool(size=1 if is_sandboxed else 0) as parse_binary:
        result = parse_upload(io.BytesIO(content), layout, RowOrder.PATH, MAX_BYTES, parse_binary).predictions

    rows = scores.tolist()
    assert result.top1.tolist() == [row.index(max(row)) for row in rows]
    assert result.top1_restricted.tolist() == [row.index(max(row[::2])) for row in rows]


def test_scores_of_another_number_of_classes_are_rejected_with_the_shape(write) -> None:
    message = message_of(write.npy(np.zeros((40, 1000), dtype=np.float32)), label_space(10))

    assert "has shape (40, 1000). Expected (40, 10), one column for each class of the data set." in message
    assert "Save all images" not in message


@pytest.mark.parametrize("format", ["npy", "npz"])
def test_an_index_out_of_range_is_rejected_with_the_range(write, format) -> None:
    classes = np.arange(40) % 10 + 1
    message = message_of(write.npy(classes) if format == "npy" else write.npz(top1=classes), label_space(10))

    assert "Row 10: Unknown class 10. Expected a class index from 0 to 9. Class indices start at 0" in message
    assert "999" not in message


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("value", ["10", "no such class"])
def test_an_unknown_class_is_rejected_with_the_forms_of_the_label_space(write, format, value) -> None:
    rows = [(name, value if name == NAMES[3] else "1") for name in NAMES]
    if format == "parquet":
        content = write.parquet({"file_name": NAMES, "predicted_class": [text for _, text in rows]})
    else:
        content = getattr(write, format)(rows)

    message = message_of(content, label_space(10))

    assert f"Unknown class {value!r}. Expected a class index from 0 to 9, an ID, or a unique name." in message
    assert "WordNet" not in message


@pytest.mark.parametrize(("text", "similar"), [("watr bottle", "water bottle"), ("xyz", "")])
def test_an_unknown_class_lists_similar_names(write, text, similar) -> None:
    space = label_space_of([("a", "water bottle"), ("b", "espresso cup")])
    rows = [(name, text if name == NAMES[3] else "espresso cup") for name in NAMES]

    message = message_of(write.csv(rows), space)

    assert f"Unknown class {text!r}." in message
    assert message.endswith(f" Similar names: {similar}.") if similar else "Similar" not in message


CONFLICTING = label_space_of(
    [("7", "cat"), ("a", "crane", "bird"), ("b", "Crane", "machine"), ("2", "dog"), ("4", "4")]
)


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet", "parquet integers"])
def test_numbers_that_mean_two_classes_are_rejected_with_both(write, format) -> None:
    """ID 2 is class 3, so that 2 can also mean class 2; ID 7 is class 0; ID 4 is class 4 itself."""

    def content(numbers: list[int]) -> bytes:
        rows = list(zip(NAMES, map(str, numbers), strict=True))
        match format:
            case "parquet":
                return write.parquet({"file_name": NAMES, "predicted_class": [text for _, text in rows]})
            case "parquet integers":
                return write.parquet({"file_name": NAMES, "predicted_class": numbers})
            case "jsonl":
                return write.jsonl(list(zip(NAMES, numbers, strict=True)))
        return write.csv(rows)

    valid = [0, 7, 4, 1, 3] * 8
    message = message_of(content([*valid[:-1], 2]), CONFLICTING)

    assert parse(content(valid), CONFLICTING).predictions.top1.tolist() == [0, 0, 4, 1, 3] * 8
    value = "2" if format == "parquet integers" or (format == "jsonl") else "'2'"
    assert f"Class {value} can mean 2 classes: index 2 (ID 'b'), index 3 (ID '2')." in message


def test_indices_of_arrays_never_mean_ids(write) -> None:
    classes = [2, 1, 0, 4, 3] * 8

    assert parse(write.npy(np.array(classes)), CONFLICTING).predictions.top1.tolist() == classes


def test_a_name_of_two_classes_is_rejected_with_both(write) -> None:
    message = message_of(write.csv([(name, "crane") for name in NAMES]), CONFLICTING)

    assert "Class 'crane' can mean 2 classes: index 1 (ID 'a'), index 2 (ID 'b')." in message
    assert "Write an ID, an index, or a name that means only one class." in message


def test_long_numeric_ids_are_read_from_integers(write) -> None:
    """Article numbers of 13 digits."""
    ids = [4_006_381_333_931 + number for number in range(10)]
    space = label_space_of([(str(id_), f"article {number}") for number, id_ in enumerate(ids)])
    columns = {"file_name": NAMES, "predicted_class": ids * 4}

    assert parse(write.parquet(columns), space).predictions.top1.tolist() == [*range(10)] * 4
    assert parse(write.csv(list(zip(NAMES, ids * 4, strict=True))), space).predictions.top1.tolist() == [*range(10)] * 4
    assert "Unknown class 4006381333941" in message_of(
        write.parquet(columns | {"predicted_class": [*ids[:-1], 4_006_381_333_941] * 4}), space
    )


@pytest.mark.parametrize(
    "name", ["smörgås", "赤いりんご", "black & white, <b>bold</b>", "name;with;semicolons", "a  b"]
)
def test_names_may_have_any_characters(write, name) -> None:
    space = label_space_of([("first", name), ("second", "other")])
    content = write.csv([(image, name) for image in NAMES])

    assert parse(content, space).predictions.top1.tolist() == [0] * 40


def test_few_classes_may_have_many_names(write) -> None:
    """Two classes with 200 synonyms each: far more distinct texts than 20 for each class."""
    synonyms = [[f"{number} as {row}" for row in range(200)] for number in range(2)]
    space = label_space_of([(f"c{number}", "x", *synonyms[number]) for number in range(2)])
    names = [f"{row}.png" for row in range(400)]
    layout = Layout("own", pa.array(names).cast(pa.binary()), lambda _: np.arange(400), space)
    content = write.csv(list(zip(names, synonyms[0] + synonyms[1], strict=True)))

    result = parse_upload(io.BytesIO(content), layout, RowOrder.UNSPECIFIED, MAX_BYTES)

    assert result.predictions.top1.tolist() == [0] * 200 + [1] * 200


def test_an_unsigned_number_never_means_a_class_with_a_negative_id(write) -> None:
    space = replace(label_space(10), ids=("-3", *(f"id-{number}" for number in range(1, 10))))
    classes = pa.array([2**64 - 3] + [1] * (len(NAMES) - 1), pa.uint64())

    assert "Row 1: Unknown class 18446744073709551613" in message_of(
        write.parquet({"file_name": NAMES, "predicted_class": classes}), space
    )


@pytest.mark.parametrize("columns", [9, 11, 1000])
def test_scores_of_another_number_of_classes_are_described_as_such(write, columns) -> None:
    message = message_of(write.npy(np.zeros((len(NAMES), columns), dtype=np.float32)), label_space(10))

    assert "one column for each class" in message and "one row for each image" not in message


def test_pairs_of_a_class_and_its_score_are_no_scores_of_two_classes() -> None:
    pairs = {name: [[number % 2, 0.875], [1 - number % 2, 0.125]] for number, name in enumerate(NAMES)}

    predictions = parse(json.dumps(pairs).encode(), label_space(2)).predictions

    assert predictions.top1.tolist() == [0, 1] * 20
    assert predictions.probability is not None and set(predictions.probability.tolist()) == {0.875}


@pytest.mark.parametrize("value", [[0, 1], [1, 0], [1, 0.9], [[0, 1], [1, 0]]])
def test_a_list_that_can_be_scores_or_classes_of_two_classes_is_rejected(value) -> None:
    rows = {name: [0.25, 0.75] for name in NAMES} | {NAMES[3]: value}

    message = message_of(json.dumps(rows).encode(), label_space(2))

    assert message.startswith("Entry 4: With 2 classes, the list [") and "such as [0.0, 1.0]" in message


@pytest.mark.parametrize("value", [[0, 1], [1, 0], [1, 1]])
def test_a_vector_of_two_classes_is_rejected_in_tables(write, value: list[int]) -> None:
    """Read as a list of classes, a vector of zeros and ones would swap the two classes."""
    message = message_of(write.csv((name, str(value)) for name in NAMES), label_space(2))
    assert message.startswith(f"Line 2: With 2 classes, the list {value} can be scores, classes")

    lists = pa.array([[0], *[value] * (len(NAMES) - 1)], pa.list_(pa.uint8()))
    file = io.BytesIO()
    parquet.write_table(pa.table({"file_name": NAMES, "top1": lists}), file)
    message = message_of(file.getvalue(), label_space(2))
    assert message.startswith(f"Row 2: With 2 classes, the list {value} can be scores, classes")


def test_a_list_of_scores_in_a_csv_file_is_rejected(write) -> None:
    """In the first row, JavaScript or numpy may have written a score of 1.0 as 1."""
    for cell in ("[1, 0.0, 0.0]", "[0.5 0.25 0.25]"):
        message = message_of(write.csv((name, cell) for name in NAMES), label_space(3))

        assert message.startswith("Line 2: A list of scores cannot be a cell of a CSV file.")


BRACKETS = (("cat", "(cat) toy", "[dog] other", "{dog} third"), ("(1)", "(2)", "[none]", "{x}"))


@pytest.mark.parametrize("first", [0, 1, 2])
@pytest.mark.parametrize("class_names", BRACKETS)
def test_a_class_name_with_brackets_is_no_list(write, class_names: tuple[str, ...], first: int) -> None:
    """Read as a list, (1) would be the index of another class."""
    space = label_space_of([*zip("abcd", class_names, strict=True)])
    classes = [first, *(number % 4 for number in range(len(NAMES) - 1))]

    upload = parse(write.csv((name, space.names[index]) for name, index in zip(NAMES, classes, strict=True)), space)

    assert upload.predictions.top1.tolist() == classes
    assert upload.assumptions == ()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_lists_and_a_class_name_in_brackets_can_be_in_one_file(write, place: int) -> None:
    space = label_space_of([("a", "cat"), ("b", "dog"), ("c", "[None]")])
    cells, classes = ["[dog, cat]"] * len(NAMES), [1] * len(NAMES)
    cells[place], classes[place] = "[none]", 2

    upload = parse(write.csv(zip(NAMES, cells, strict=True)), space)

    assert upload.predictions.top1.tolist() == classes
