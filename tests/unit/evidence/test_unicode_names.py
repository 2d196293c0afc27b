"""Image names of a data set and of other files in different Unicode forms, as file systems and archives write them."""

from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from errata.errors import ImageNotFound, InvalidEvidence

from service.bootstrap.build import Inputs, build_evidence
from service.evidence.attribute_files import read_attributes
from service.evidence.attributes import resolve
from service.evidence.bundle import Bundle
from service.evidence.uploaded_labels import relabel_from_file

FORMS = ["NFC", "NFD"]
LABELS = {"é1.jpg": "cat", "é2.jpg": "dog", "plain.jpg": "cat"}


def write(path: Path, form: str, text: str) -> Path:
    path.write_text(normalize(form, text), encoding="utf-8")  # type: ignore[arg-type]
    return path


@pytest.fixture(params=FORMS)
def bundle(request: pytest.FixtureRequest, tmp_path: Path) -> Bundle:
    classes = write(tmp_path / "classes.csv", "NFC", "id,name\ncat,cat\ndog,dog\n")
    rows = "".join(f"{name},{label}\n" for name, label in LABELS.items())
    labels = write(tmp_path / "labels.csv", request.param, f"file_name,labels\n{rows}")
    return build_evidence("street", Inputs(classes=classes, labels=labels), tmp_path / "bundle")


@pytest.mark.parametrize("form", FORMS)
def test_rows_are_found_in_both_forms(bundle: Bundle, form: str) -> None:
    names = [normalize(form, name) for name in LABELS]  # type: ignore[arg-type]

    own_names = [bundle.judged_names[bundle.find_row(name) or 0] for name in names]
    assert [normalize("NFC", name) for name in own_names] == [*LABELS]
    assert bundle.find_row("é3.jpg") is None


def test_a_name_that_two_images_have_in_another_form_is_not_guessed(tmp_path: Path) -> None:
    names = ["\u1e69.jpg", "s\u0323\u0307.jpg"]  # one character, and its parts in their canonical order
    rows = "".join(f"{name},cat\n" for name in names)
    (tmp_path / "labels.csv").write_text(f"file_name,labels\n{rows}", encoding="utf-8")
    (tmp_path / "classes.csv").write_text("name\ncat\ndog\n")
    inputs = Inputs(classes=tmp_path / "classes.csv", labels=tmp_path / "labels.csv")
    bundle = build_evidence("street", inputs, tmp_path / "bundle")

    assert [bundle.judged_names[bundle.row(name)] for name in names] == names
    assert bundle.find_row("s\u0307\u0323.jpg") is None


def test_the_error_for_another_form_shows_the_characters(bundle: Bundle) -> None:
    (own,) = (name for name in bundle.judged_names if "1" in name)
    (other,) = {normalize(form, own) for form in ("NFC", "NFD")} - {own}

    with pytest.raises(ImageNotFound) as error:
        bundle.row(other)

    assert f"Image {other!a} was not found" in error.value.message
    assert f"in another Unicode form: {own!a}. Use this form." in error.value.message


@pytest.mark.parametrize("form", FORMS)
def test_attributes_in_both_forms_are_those_of_the_images(bundle: Bundle, tmp_path: Path, form: str) -> None:
    rows = "é1.jpg,time,night\né2.jpg,time,day\nplain.jpg,time,day\n"
    table = read_attributes([write(tmp_path / "attributes.csv", form, f"file_name,attribute,value\n{rows}")])

    attributes = resolve(table, bundle)

    numbers = attributes.slice_numbers[np.argsort(attributes.rows)].tolist()
    values = [attributes.slices[number].value for number in numbers]
    expected = {"é1.jpg": "night", "é2.jpg": "day", "plain.jpg": "day"}
    assert values == [expected[normalize("NFC", name)] for name in bundle.judged_names]


@pytest.mark.parametrize("form", FORMS)
def test_uploaded_labels_in_both_forms_are_those_of_the_images(bundle: Bundle, tmp_path: Path, form: str) -> None:
    rows = "é1.jpg,dog\né2.jpg,dog\nplain.jpg,cat\n"
    path = write(tmp_path / "uploaded.csv", form, f"file_name,labels\n{rows}")

    facts = relabel_from_file(bundle, path)

    assert len(facts.labels.rows) == len(bundle.rows)


def test_two_forms_of_one_image_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    rows = "".join(f"{normalize(form, 'é1.jpg')},cat\n" for form in ("NFC", "NFD"))
    (tmp_path / "uploaded.csv").write_text(f"file_name,labels\n{rows}", encoding="utf-8")

    with pytest.raises(InvalidEvidence, match=r"line 3: .* is the same image as the one on line 2; write one row"):
        relabel_from_file(bundle, tmp_path / "uploaded.csv")
