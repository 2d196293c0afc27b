"""Slices, compared with a slow count over dictionaries."""

import random

import numpy as np
import pytest
from scipy import stats

from service.domain import (
    CORRECT_TYPES,
    ERROR_TYPES,
    MULTI_LABEL_ERROR_TYPES,
    NO_TYPE,
    Attributes,
    ErrorType,
    Slice,
)
from service.domain.slices import ImageAttribute
from service.summary.compare import pair_verdicts
from service.summary.slices import slice_changes, slice_table

IMAGES = 400
VALUES = {"time": ("day", "night"), "weather": ("fog", "rain", "sun"), "blurred": ("yes",)}


def make_attributes(of_image: list[dict[str, list[str]]]) -> Attributes:
    """Return the attributes of images, each a dictionary from an attribute to its values."""
    slices = [Slice(attribute, value) for attribute in sorted(VALUES) for value in VALUES[attribute]]
    pairs = sorted(
        (slices.index(Slice(attribute, value)), row)
        for row, attributes in enumerate(of_image)
        for attribute, values in attributes.items()
        for value in values
    )
    names = sorted(VALUES)
    return Attributes(
        "d" * 64,
        tuple(slices),
        np.array([number for number, _ in pairs], dtype=np.int32),
        np.array([row for _, row in pairs], dtype=np.int32),
        np.array([[name in attributes for attributes in of_image] for name in names]),
        np.array([names.index(item.attribute) for item in slices], dtype=np.int32),
    )


@pytest.fixture(params=range(3))
def images(request: pytest.FixtureRequest) -> list[dict[str, list[str]]]:
    draw = random.Random(request.param)
    return [
        {
            name: sorted(draw.sample(values, draw.randint(1, 2 if len(values) > 2 else 1)))
            for name, values in VALUES.items()
            if draw.random() < 0.6
        }
        for _ in range(IMAGES)
    ]


def draw_types(seed: int) -> np.ndarray:
    draw = random.Random(seed)
    return np.array([draw.choice([NO_TYPE, *(item.id for item in ERROR_TYPES)]) for _ in range(IMAGES)], dtype=np.uint8)


def test_rates_and_tests_equal_a_slow_count(images: list[dict[str, list[str]]]) -> None:
    types, problematic = draw_types(1), np.random.default_rng(1).random(IMAGES) < 0.2

    table = slice_table(make_attributes(images), types, problematic)

    assert table.digest == "d" * 64
    p_values = {}
    for row in table.rows:
        attribute, value = row.slice.attribute, row.slice.value
        counted = [image for image in range(IMAGES) if types[image] != NO_TYPE and not problematic[image]]
        inside = [image for image in counted if value in images[image].get(attribute, ())]
        population = counted if attribute == "blurred" else [image for image in counted if attribute in images[image]]
        rest = [image for image in population if image not in inside]
        assert (row.num_samples, row.num_rest) == (len(inside), len(rest))
        for error_type in ERROR_TYPES:
            assert row.counts[error_type] == sum(types[image] == error_type.id for image in inside)
        for contrast, ids in (
            (row.errors, [error_type.id for error_type in MULTI_LABEL_ERROR_TYPES]),
            (row.model_failures, [ErrorType.MODEL_FAILURE.id]),
        ):
            hits, rest_hits = (sum(types[image] in ids for image in part) for part in (inside, rest))
            assert contrast is not None
            assert (contrast.rate, contrast.rest) == (hits / len(inside), rest_hits / len(rest))
            expected = stats.fisher_exact([[hits, len(inside) - hits], [rest_hits, len(rest) - rest_hits]]).pvalue
            assert contrast.test.p_value == pytest.approx(expected)
        p_values[row.slice.id] = (row.errors, row.model_failures)
    for column in (0, 1):
        tests = [contrasts[column].test for contrasts in p_values.values()]
        expected_adjusted = stats.false_discovery_control([test.p_value for test in tests])
        assert [test.adjusted_p_value for test in tests] == pytest.approx(expected_adjusted)


def test_the_smallest_adjusted_p_value_is_first(images: list[dict[str, list[str]]]) -> None:
    types = draw_types(2)
    for row, attributes in enumerate(images):
        if "night" in attributes.get("time", ()):
            types[row] = ErrorType.MODEL_FAILURE.id

    first = slice_table(make_attributes(images), types, np.zeros(IMAGES, dtype=bool)).rows[0]

    assert first.slice.attribute == "time"
    assert first.errors is not None and first.errors.test.significant


def test_a_slice_without_samples_or_rest_has_no_rates() -> None:
    everything = [{"time": ["day"]}] * IMAGES
    rows = {
        row.slice.id: row
        for row in slice_table(make_attributes(everything), draw_types(3), np.zeros(IMAGES, bool)).rows
    }

    assert rows["time=day"].errors is None and rows["time=day"].num_rest == 0
    assert rows["time=night"].model_failures is None and rows["time=night"].num_samples == 0


def test_changes_equal_a_slow_count(images: list[dict[str, list[str]]]) -> None:
    a, b, problematic = draw_types(4), draw_types(5), np.random.default_rng(2).random(IMAGES) < 0.2
    pair = pair_verdicts(a, b, np.zeros(IMAGES, dtype=np.int16), problematic)

    changes = slice_changes(make_attributes(images), pair)

    correct = [error_type.id for error_type in CORRECT_TYPES]
    for change in changes:
        inside = [
            image
            for image in range(IMAGES)
            if a[image] and b[image] and not problematic[image]
            and change.slice.value in images[image].get(change.slice.attribute, ())
        ]  # fmt: skip
        fixed = sum(a[image] not in correct and b[image] in correct for image in inside)
        broken = sum(a[image] in correct and b[image] not in correct for image in inside)
        assert (change.num_samples, change.fixed, change.broken) == (len(inside), fixed, broken)
        assert change.errors_a == sum(a[image] not in correct for image in inside) / len(inside)
        assert change.errors_b == sum(b[image] not in correct for image in inside) / len(inside)
        expected = stats.binomtest(fixed, fixed + broken).pvalue
        assert change.test.p_value == pytest.approx(expected)
    assert len(changes) == 6
    adjusted = stats.false_discovery_control([change.test.p_value for change in changes])
    assert [change.test.adjusted_p_value for change in changes] == pytest.approx(adjusted)


def test_images_have_the_attributes_of_their_slices(images: list[dict[str, list[str]]]) -> None:
    attributes = make_attributes(images)

    for row, items in enumerate(attributes.of_rows(range(IMAGES))):
        expected = tuple(ImageAttribute(name, tuple(images[row][name])) for name in sorted(images[row]))
        assert items == expected
    assert attributes.mask(0).tolist() == ["blurred" in image for image in images]


def test_a_slice_is_found_by_its_id_or_by_a_unique_value() -> None:
    attributes = make_attributes([{"time": ["night"]}])
    ambiguous = Attributes(
        "", (Slice("a", "x"), Slice("b", "x")), np.zeros(0, np.int32), np.zeros(0, np.int32),
        np.zeros((2, 1), bool), np.array([0, 1], np.int32),
    )  # fmt: skip

    assert attributes.slices[attributes.find("time=night")] == Slice("time", "night")
    assert attributes.find("night") == attributes.find("time=night")
    assert attributes.find("nothing") is None
    assert ambiguous.find("x") is None
    assert ambiguous.find("b=x") == 1
