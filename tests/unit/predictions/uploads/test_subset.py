"""Subset files: names are those of images, in any of the forms of uploads, and errors name the wrong lines."""

import pyarrow as pa
import pytest
from errata.errors import InvalidRow

from service.predictions.uploads.subset import parse_subset

NAMES = pa.array([b"cats/1.jpg", b"dogs/1.jpg", b"dogs/2.jpg"], pa.binary())


def rejection(*lines: str) -> InvalidRow:
    with pytest.raises(InvalidRow) as caught:
        parse_subset("\n".join(lines), NAMES, "pets")
    return caught.value


def test_names_are_compared_as_those_of_uploads() -> None:
    assert parse_subset("2.jpg\n\n/data/cats/1.png\n2.jpg\n", NAMES, "pets").tolist() == [True, False, True]


@pytest.mark.parametrize("name", ["1.jpg", "1"])
def test_a_name_that_can_mean_several_images_is_rejected_with_the_images(name: str) -> None:
    error = rejection("2.jpg", "", name)

    assert [violation.line for violation in error.violations] == [3]
    assert error.message.startswith(f"Line 3 of the subset file: Image {name!r} can mean several images: ")
    assert "'cats/1.jpg', 'dogs/1.jpg'. Write more folders of the path." in error.message


def test_an_unknown_name_is_rejected_with_its_line() -> None:
    error = rejection("2.jpg", "3.jpg")

    assert error.message.startswith("Line 2 of the subset file: Image '3.jpg' is not in data set 'pets'.")
    assert "more" not in error.message
    assert "Similar names: 'cats/1.jpg', 'dogs/1.jpg'." in rejection("birds/1.jpg").message


@pytest.mark.parametrize(("count", "rest"), [(2, "1 more wrong name"), (12, "11 more wrong names")])
def test_wrong_names_are_counted(count: int, rest: str) -> None:
    error = rejection("1.jpg", *(f"{number}.jpg" for number in range(3, count + 2)))

    assert error.message.endswith(f"(and {rest})")
    assert [violation.line for violation in error.violations] == [*range(1, min(count, 10) + 1)]
