"""JSON documents: the layouts of libraries are read, and errors name the right entries."""

import io
import json
import math
from dataclasses import replace

import pyarrow as pa
import pytest
from errata.errors import ErrataError, InvalidRow, InvalidUpload, TooLarge, TruncatedUpload
from hypothesis import given
from hypothesis import strategies as st

from service.domain import RowOrder
from service.predictions.uploads import json as reader
from service.predictions.uploads import parse_upload
from service.predictions.uploads.json_reader import JsonReader

TWELVE = list(range(100, 112))
INDENTS = [None, 0, 2]


def records(small) -> list[dict[str, object]]:
    return [{"image": name, "label": index, "score": 0.5} for name, index in small.rows(TWELVE)]


LAYOUTS = {
    "array of objects": records,
    "array of one object": lambda small: records(small)[:1],
    "mapping": lambda small: dict(small.rows(TWELVE)),
    "mapping to objects": lambda small: {row["image"]: {"label": row["label"]} for row in records(small)},
    "mapping to lists": lambda small: {row["image"]: [row["label"], 3] for row in records(small)},
    "split": lambda small: {
        "columns": ["image", "label", "score"],
        "index": list(range(12)),
        "data": [list(row.values()) for row in records(small)],
    },
    "columns of lists": lambda small: {"filenames": list(small.names), "predictions": TWELVE},
    "columns of lists, classes first": lambda small: {"predictions": TWELVE, "filenames": list(small.names)},
    "columns of mappings": lambda small: {
        "filename": {str(row): name for row, name in enumerate(small.names)},
        "pred": {str(row): index for row, index in enumerate(TWELVE)},
    },
    "columns with others": lambda small: {
        "target": dict.fromkeys(small.names, 3),
        "filename": {str(row): name for row, name in enumerate(small.names)},
        "size": [[1, 2]] * 12,
        "pred": {str(row): index for row, index in enumerate(TWELVE)},
        "model": "resnet50",
        "accuracy": 0.5,
    },
    "samples": lambda small: {"info": {"a": [1, {"b": None}]}, "samples": records(small), "version": 3},
    "classes and labels": lambda small: {
        "classes": [str(999 - index) for index in range(1000)],
        "labels": {name: 999 - index for name, index in small.rows(TWELVE)},
    },
}


@pytest.mark.parametrize("indent", INDENTS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_layouts_of_libraries_are_read(small, layout, indent, bom) -> None:
    content = bom + json.dumps(LAYOUTS[layout](small), indent=indent).encode()

    upload = small.parse(content)

    assert upload.format == "json"
    expected = [*TWELVE[:1], *[-1] * 11] if layout == "array of one object" else TWELVE
    assert upload.predictions.top1.tolist() == expected


@pytest.mark.parametrize("order", list(RowOrder))
@pytest.mark.parametrize("value", [lambda index: index, str, lambda index: [{"label": str(index), "score": 0.5}]])
def test_values_without_file_names_are_in_the_row_order(small, order, value) -> None:
    images = small.order(RowOrder.PATH if order is RowOrder.UNSPECIFIED else order)

    upload = small.parse(json.dumps([value(index) for index in TWELVE]).encode(), order)

    assert [upload.predictions.top1[image] for image in images] == TWELVE
    others = small.order(RowOrder.PATH if order is RowOrder.FILE_NAME else RowOrder.FILE_NAME)
    assert [upload.reordered.top1[image] for image in others] == TWELVE
    assert "The JSON array has no file names" in upload.assumptions[0]


@pytest.mark.parametrize("count", [1, 11, 13])
def test_values_without_file_names_are_as_many_as_the_images(small, count) -> None:
    error = small.rejection(json.dumps([3] * count).encode())

    assert f"The JSON file has {count} values without file names. Expected 12" in error.message


def test_a_single_line_of_jsonl_is_not_a_document(small) -> None:
    line = json.dumps({"file_name": small.names[0], "top1": 3}).encode()

    assert not reader.recognizes(line)
    assert not reader.recognizes(line + b"\n")
    assert reader.recognizes(json.dumps({small.names[0]: 3, small.names[1]: 4}).encode())


@pytest.mark.parametrize("indent", INDENTS)
@pytest.mark.parametrize(
    "bad", ["no such class", 1000, -1, 3.5, None, True, [], {"a": 3}, {"score": 0.5}, [[[[[[3]]]]]]]
)
def test_an_invalid_class_is_rejected_with_its_entry(small, expected_error, bad, indent) -> None:
    rows = [{"image": name, "label": index} for name, index in small.rows(TWELVE)]
    rows[4]["label"] = bad

    error = small.rejection(json.dumps(rows, indent=indent).encode())

    assert isinstance(error, InvalidRow)
    assert error.message.startswith("Entry 5: ")
    assert expected_error.lines(error) == [5]


def test_the_first_ten_wrong_entries_are_named_and_the_rest_counted(small, expected_error) -> None:
    wrong = {f"no-{number}": 1 for number in range(37)}

    error = small.rejection(json.dumps(dict(small.rows(TWELVE)) | wrong).encode())

    assert expected_error.lines(error) == list(range(13, 23))
    assert expected_error.count(error, 37)


def test_a_repeated_key_is_a_repeated_image(small, expected_error) -> None:
    text = json.dumps(dict(small.rows(TWELVE)))[:-1] + f', "{small.names[0]}": 5}}'

    assert expected_error.lines(small.rejection(text.encode())) == [13]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("[", TruncatedUpload),
        ('{"a.jpg": 3,', TruncatedUpload),
        ('{\n"a.jpg": 3', TruncatedUpload),
        ("[1, 2", TruncatedUpload),
        ("[1 2]", InvalidUpload),
        ("[nonsense]", InvalidUpload),
        ('{\n"a.jpg" 3}', InvalidUpload),
        ("{\n3: 4}", InvalidUpload),
        ("[1], 2", InvalidUpload),
        ("[" * 100_000, InvalidUpload),
        ('{"info": ' + "[" * 10_000, InvalidUpload),
        ("[" + "[" * 5_000 + "]" * 5_000 + "]", InvalidUpload),
        ('["' + "x" * 100_000 + '"]', InvalidUpload),
        ('{"filenames": ["a"], "preds": [1, 2]}', InvalidUpload),
        ('{"classes": [' + "[]," * 40_000 + "3]}", InvalidUpload),
        ('{"columns": [' + "[]," * 40_000 + "3]}", InvalidUpload),
        ("[]", InvalidUpload),
        ("{\n}", InvalidUpload),
        ("[[]]", InvalidUpload),
        ('["\\ud800"]', InvalidUpload),
    ],
)
def test_damaged_documents_are_rejected(small, text, kind) -> None:
    assert isinstance(small.rejection(text.encode()), kind)


def test_an_image_can_have_the_name_of_a_column(small) -> None:
    names = [b"a.jpg", b"image", *(f"{number}.jpg".encode() for number in range(10))]
    layout = replace(small.layout, names=pa.array(names, pa.binary()))
    document = {name.decode(): [{"label": index, "score": 0.5}] for name, index in zip(names, TWELVE, strict=True)}

    upload = parse_upload(io.BytesIO(json.dumps(document).encode()), layout, RowOrder.UNSPECIFIED, 1 << 20)

    assert upload.predictions.top1.tolist() == TWELVE


def test_far_more_values_than_images_are_rejected_before_they_are_all_read(small) -> None:
    assert isinstance(small.rejection(b"[" + b"3," * 200_000 + b"3]"), TooLarge)
    assert isinstance(small.rejection(b'{"info": [' + b"1," * 200_000 + b"1]}"), TooLarge)
    columns = b'{"filenames": [' + b'"a",' * 200_000 + b'"a"]}'
    assert isinstance(small.rejection(columns), TooLarge)


@pytest.mark.parametrize("whole", [0, 1, -1])
def test_scores_of_which_some_are_integers_are_scores(small, whole) -> None:
    """JavaScript writes 1.0 as 1."""
    scores = {name: [whole] * 100 + [index + 0.5 if c == index - 100 else 0.25 for c in range(900)]
              for name, index in small.rows(TWELVE)}  # fmt: skip

    assert small.top1(json.dumps(scores).encode()) == TWELVE


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ([0] * 100 + [1] + [0] * 899, "zeros and ones"),
        ([0, 0.5, 0.5, 1], "scores"),
        ([10**400] + [0.5] * 999, "digits"),
        ([-math.inf] * 1000, "infinity"),
    ],
)
def test_a_list_of_numbers_that_is_neither_classes_nor_scores_is_rejected(small, value, problem) -> None:
    error = small.rejection(json.dumps(dict.fromkeys(small.names, value)).encode())

    assert isinstance(error, InvalidRow)
    assert problem in error.message


def test_coco_annotations_are_named(small) -> None:
    document = {"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 1, "category_id": 3}]}

    assert "COCO annotations" in small.rejection(json.dumps(document).encode()).message


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(value=VALUES, indent=st.sampled_from(INDENTS))
def test_values_are_read_and_skipped_like_those_of_the_standard_library(value, indent) -> None:
    text = json.dumps([value, 7], indent=indent)
    read, skipping = JsonReader(text), JsonReader(text)

    values = [read.read_value() for _ in read.iterate()]
    for position, _ in enumerate(skipping.iterate()):
        skipping.skip_value() if position == 0 else values.append(skipping.read_value())

    assert values == [value, 7, 7]


@given(data=st.data())
def test_damaged_layouts_are_read_or_rejected(small, data) -> None:
    layout = data.draw(st.sampled_from(sorted(LAYOUTS)))
    text = json.dumps(LAYOUTS[layout](small), indent=data.draw(st.sampled_from(INDENTS)))
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 20)))
    text = text[:start] + data.draw(st.text(st.sampled_from('{}[]":, \n01ean'), max_size=4)) + text[end:]

    try:
        images = len(small.parse(text.encode()).predictions.top1)
    except ErrataError as error:
        message = error.message
    else:
        message = f"{images} images"
    assert message


def test_objects_with_lists_of_indices_and_scores_have_the_first_class(small) -> None:
    document = {name: {"indices": [index, 999], "scores": [0.5, 0.25]} for name, index in small.rows(range(12))}

    upload = small.parse(json.dumps(document).encode())

    assert upload.predictions.top1.tolist() == [*range(12)]
    assert "Of several classes of an image, the first is the prediction." in upload.assumptions


def test_lines_with_a_list_of_indices_have_the_first_class(small, write) -> None:
    rows = [(name, [index, 999], [0.5, 0.25]) for name, index in small.rows(range(12))]

    assert small.top1(write.jsonl(rows, ("image", "indices", "scores"))) == [*range(12)]


@pytest.mark.parametrize("with_score", [range(9), range(8), range(4, 12), range(1, 12), [0, 1, 2, 3, 8, 9, 10, 11]])
@pytest.mark.parametrize("block", [4, 100])
def test_probabilities_that_some_images_do_not_have_are_not_used(small, monkeypatch, with_score, block) -> None:
    """Given images without a score, in any block, then no image has a probability, instead of 0.0."""
    monkeypatch.setattr(reader, "BLOCK_ROWS", block)
    document = {
        name: [{"label": str(index)} | ({"score": 0.5} if row in with_score else {})]
        for row, (name, index) in enumerate(small.rows(TWELVE))
    }

    upload = small.parse(json.dumps(document).encode())

    assert upload.predictions.top1.tolist() == TWELVE
    assert upload.predictions.probability is None
    assert upload.assumptions.count("Some rows have no probability, so Errata uses no probabilities.") == 1


@pytest.mark.parametrize("block", [4, 100])
def test_probabilities_of_several_blocks_are_used(small, monkeypatch, block) -> None:
    monkeypatch.setattr(reader, "BLOCK_ROWS", block)

    upload = small.parse(json.dumps({name: [{"label": "3", "score": 0.5}] for name in small.names}).encode())

    assert upload.predictions.probability.tolist() == [0.5] * 12


CLASS_LISTS = {
    "positions": [f"{999 - number}" for number in range(1000)],
    "objects": [{"name": f"{999 - number}"} for number in range(1000)],
    "IDs of COCO": [{"id": number, "name": f"{999 - number}", "supercategory": "x"} for number in range(999, -1, -1)],
    "a mapping": {str(number): f"{999 - number}" for number in range(999, -1, -1)},
}


@pytest.mark.parametrize("key", ["classes", "class_names", "categories"])
@pytest.mark.parametrize("names", CLASS_LISTS)
def test_classes_are_positions_or_ids_in_the_class_names_of_the_file(small, names, key) -> None:
    document = {key: CLASS_LISTS[names], "labels": {name: 999 - index for name, index in small.rows(TWELVE)}}

    upload = small.parse(json.dumps(document).encode())

    assert upload.predictions.top1.tolist() == TWELVE
    assert "The classes are indices of the file's own list of class names." in upload.assumptions


def test_ids_of_class_names_can_start_at_1(small) -> None:
    categories = [{"id": 1, "name": "tench"}, {"id": 2, "name": "goldfish"}]

    document = {"categories": categories, "labels": dict.fromkeys(small.names, 2)}

    assert small.top1(json.dumps(document).encode()) == [1] * 12


@pytest.mark.parametrize("key", ["predicted_class", "answer"])
def test_strings_are_no_positions_in_the_class_names_of_the_file(small, key) -> None:
    samples = [{"file_name": name, key: str(index)} for name, index in small.rows(TWELVE)]

    upload = small.parse(json.dumps({"classes": ["tench", "goldfish"], "samples": samples}).encode())

    if key == "answer":
        assert upload.predictions.answers.texts == tuple(map(str, TWELVE))
    else:
        assert upload.predictions.top1.tolist() == TWELVE


@pytest.mark.parametrize("layout", ["lists", "mappings", "objects"])
@pytest.mark.parametrize("has_label", [True, False])
@pytest.mark.parametrize("key", ["answer", "Answer"])
def test_answers_precede_labels_in_every_layout(small, layout, has_label, key) -> None:
    """A `label` beside answers is the ground truth."""
    columns = {"file_name": [*small.names], key: ["goldfish"] * 12} | ({"label": TWELVE} if has_label else {})
    document: object = columns
    if layout == "mappings":
        document = {key: dict(enumerate(values)) for key, values in columns.items()}
    elif layout == "objects":
        names = columns.pop("file_name")
        document = {
            name: dict(zip(columns, row, strict=True)) for name, *row in zip(names, *columns.values(), strict=True)
        }

    upload = small.parse(json.dumps(document).encode())

    assert upload.predictions.top1.tolist() == [1] * 12
    assert upload.predictions.answers.texts == ("goldfish",)


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize(
    "answers", [[{"text": "cat", "score": 1}] * 12, [], ["cat"], {"a": {}}, [None] * 12, ["cat"] * 50, ["cat"] * 10_100]
)
def test_answers_of_any_form_are_ignored_beside_a_clear_prediction(small, answers, is_first) -> None:
    columns = {"file_name": [*small.names], "predicted_class": TWELVE}
    document = {"answer": answers, **columns} if is_first else {**columns, "answer": answers}

    upload = small.parse(json.dumps(document).encode())

    assert upload.predictions.top1.tolist() == TWELVE
    assert upload.predictions.answers is None


@pytest.mark.parametrize("others", [{}, {"label": TWELVE}])
@pytest.mark.parametrize(
    ("answers", "problem"),
    [(["cat"], "'answer' has 1"), ([{"text": "cat"}] * 12, "Entry 1: Key 'answer' is an object. Expected a string")],
)
def test_answers_that_are_read_are_checked(small, others, answers, problem) -> None:
    document = {"file_name": [*small.names], "answer": answers, **others}

    assert problem in small.rejection(json.dumps(document).encode()).message


@pytest.mark.parametrize(
    "names", [["a", "gold\ud800fish"], {"1": "gold\ud800fish"}, [{"id": 1, "name": "gold\ud800fish"}]]
)
def test_a_class_name_with_a_lone_surrogate_is_rejected_with_a_remedy(small, names) -> None:
    error = small.rejection(json.dumps({"classes": names, "labels": dict.fromkeys(small.names, 1)}).encode())

    assert isinstance(error, InvalidUpload)
    assert "'classes'" in error.message
    assert "'gold\\ud800fish' has the lone surrogate U+D800" in error.message
    assert error.message.endswith("Write the whole character, or remove the surrogate.")


@pytest.mark.parametrize("value", ["\ud800", ["\ud800", "tench"], {"label": "\ud800"}, {"label": 3, "score": "\ud800"}])
def test_a_lone_surrogate_in_a_row_is_named_with_a_remedy(small, value) -> None:
    error = small.rejection(json.dumps({small.names[0]: value}).encode())

    assert isinstance(error, InvalidRow)
    description = error.violations[0].description
    assert "'\\ud800' has the lone surrogate U+D800" in description
    assert description.endswith("Write the whole character, or remove the surrogate.")


def test_a_list_of_class_names_after_indices_is_rejected(small) -> None:
    document = {"labels": dict(small.rows(TWELVE)), "classes": [f"{999 - number}" for number in range(1000)]}

    error = small.rejection(json.dumps(document).encode())

    assert "'classes' comes after classes that are indices. Write the list before the classes." in error.message


def test_a_list_of_class_names_after_names_is_not_needed(small) -> None:
    document = {"labels": dict.fromkeys(small.names, "tench"), "classes": ["goldfish", "tench"]}

    assert small.top1(json.dumps(document).encode()) == [0] * 12


def test_a_class_that_the_list_does_not_have_is_rejected_with_its_entry(small, expected_error) -> None:
    labels = dict.fromkeys(small.names, 1) | {small.names[4]: 2}

    error = small.rejection(json.dumps({"classes": ["goldfish", "tench"], "labels": labels}).encode())

    assert expected_error.lines(error) == [5]
    assert "Class 2 is not in the file's own list of 2 class names" in error.message


@pytest.mark.parametrize(
    "names",
    [
        {"tench": 0, "goldfish": 1},
        {"ground_truth": ["tench"]},
        [["n01440764", "tench"]],
        [{"id": 1}],
        [{"id": "a", "name": "tench"}],
        [{"id": 1, "name": "tench"}, {"id": 1, "name": "goldfish"}],
        [{"id": True, "name": "tench"}],
        [None],
        [True],
    ],
)
def test_class_names_that_are_not_understood_are_rejected(small, names) -> None:
    error = small.rejection(json.dumps({"classes": names, "labels": dict.fromkeys(small.names, 0)}).encode())

    assert "The list of class names 'classes' has" in error.message


def test_objects_without_file_names_are_in_the_row_order(small) -> None:
    images = small.order(RowOrder.PATH)

    upload = small.parse(json.dumps([{"label": index, "score": 0.5} for index in TWELVE]).encode())

    assert [upload.predictions.top1[image] for image in images] == TWELVE
    assert upload.predictions.probability.tolist() == [0.5] * 12


@pytest.mark.parametrize("key", ["image", "label", "score"])
def test_a_missing_key_is_named_with_its_entry(small, expected_error, key) -> None:
    rows = records(small)
    del rows[4][key]

    error = small.rejection(json.dumps(rows).encode())

    assert expected_error.lines(error) == [5]
    assert f"Missing key {key!r}. Write the keys of the first object in every entry." in error.message


@pytest.mark.parametrize("total", [1, 3])
def test_lists_of_scores_have_probabilities_if_they_are_distributions(small, total) -> None:
    """Given lists that are shorter than 16 KiB."""
    scores = {
        name: [round(total * (0.5 if c == index else 0.5 / 999), 6) for c in range(1000)]
        for name, index in small.rows(TWELVE)
    }

    upload = small.parse(json.dumps(scores).encode())

    assert upload.predictions.top1.tolist() == TWELVE
    note = "Errata derives no probabilities from lists of scores in JSON that are not probability distributions."
    assert (note in upload.assumptions) == (upload.predictions.probability is None) == (total == 3)
