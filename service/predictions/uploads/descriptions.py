"""Descriptions of wrong values in uploads: the problem with the value, and the remedy."""

from collections.abc import Sequence

from service.domain import IMAGENET_1K, LabelSpace

ONE_BASED = "Class indices start at 0: subtract 1 if yours start at 1."
REPLACEMENT = "\ufffd"  # replaces bytes that are not UTF-8, here or where the file was written
NOT_UTF8 = f"{REPLACEMENT} replaces bytes that were not UTF-8. Save the original file as UTF-8."
SCORES_REMEDY = "Write scores of all classes to a Parquet file."  # if text is too long


def describe_unknown_name(name: object, dataset: str, similar: Sequence[bytes]) -> str:
    """Return the description of a file name that the data set does not have."""
    names = f" Similar names: {_list_names(similar)}." if similar else ""
    remedy = NOT_UTF8 if REPLACEMENT in decode_name(name) else "Correct the name, or remove the row."
    return f"Image {decode_name(name)!r:.80} is not in data set '{dataset}'.{names} {remedy}"


def describe_ambiguous_name(name: object, candidates: Sequence[bytes]) -> str:
    """Return the description of a file name that can mean several images."""
    images = _list_names(candidates)
    return f"Image {decode_name(name)!r:.80} can mean several images: {images}. Write more folders of the path."


def _list_names(names: Sequence[bytes]) -> str:
    return ", ".join(f"{decode_name(name)!r:.80}" for name in names)


def describe_number(number: object, images: int) -> str:
    """Return the description of a number that no image has."""
    return f"Unknown image number {decode_name(number)!r:.40}. Expected a number from 0 to {images - 1:,}, or a name."


def describe_repeat(name: object, first: str = "") -> str:
    """Return the description of a repeated row for the same image; `first` is its first row, such as "line 3"."""
    where = f": {first} also names it" if first else ""
    return f"Image {decode_name(name)!r:.80} has more than one row{where}. Keep one row per image."


def describe_inexact_repeat(name: object, image: object, first: str) -> str:
    """Return the description of a row with another name for an image; `first` is its first row, such as "line 3"."""
    return (
        f"{decode_name(name)!r:.80} is read as image {decode_name(image)!r:.80}, which {first} also names. Keep one "
        "row per image, or correct the name."
    )


def class_forms(label_space: LabelSpace) -> str:
    """Describe how an upload can write a class."""
    id_ = "a WordNet ID" if label_space.name == IMAGENET_1K else "an ID"
    return f"a class index from 0 to {label_space.num_classes - 1}, {id_}, or a unique name"


def describe_index(index: int, label_space: LabelSpace) -> str:
    """Describe a class index in an uploaded array that is out of range."""
    last = label_space.num_classes - 1
    description = f"Unknown class {index}. Expected a class index from 0 to {last}."
    return f"{description} {ONE_BASED}" if index == last + 1 else description


def one_based_note(label_space: LabelSpace) -> str:
    """Return the problem of a file whose classes are numbered from 1, and its remedy."""
    last = label_space.num_classes
    return (
        f"The classes look numbered from 1 to {last}: {last} is the only unknown class, and no row has class 0. "
        "Subtract 1 from each."
    )


def describe_class(value: object, label_space: LabelSpace) -> str:
    """Return the description of a class that is unknown, or that can mean several classes."""
    classes = label_space.match(str(value))
    if len(classes) > 1:
        return (
            f"Class {value!r:.80} can mean {len(classes)} classes: {label_space.describe(classes)}. Write an ID, an "
            "index, or a name that means only one class."
        )
    description = f"Unknown class {value!r:.80}. Expected {class_forms(label_space)}."
    if str(value).strip() == str(label_space.num_classes):
        return f"{description} {ONE_BASED}"
    if isinstance(value, str) and "." in value and parse_number(value).is_integer():
        return f"{description} Write the index without a decimal point."
    if isinstance(value, str) and (names := label_space.similar_names(value)):
        description = f"{description} Similar names: {', '.join(f'{name:.80}' for name in names)}."
    return f"{description} {NOT_UTF8}" if REPLACEMENT in str(value) else description


def describe_probability(value: object) -> str:
    """Return the description of an invalid probability."""
    description = f"Invalid probability {value!r:.80}. Expected a number from 0 to 1."
    number = parse_number(str(value).strip().removesuffix("%"))
    if 1 < number <= 100 or "%" in str(value):
        return f"{description} Divide percentages by 100."
    if str(value).strip().lower() == "nan":
        return f"{description} Replace NaN, or leave the probabilities out."
    return description


def decode_name(name: object) -> str:
    """Return a file name as text."""
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def parse_number(text: str) -> float:
    """Return the number, or NaN for other text. Unlike `float`, this refuses underscores and non-ASCII digits."""
    if "_" in text or not text.isascii():
        return float("nan")
    try:
        return float(text)
    except ValueError:
        return float("nan")
