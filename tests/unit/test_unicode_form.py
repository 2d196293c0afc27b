"""Texts are normalized as by Python, except texts whose normalization would take very long."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.unicode_form import MAX_MARKS, normalize_unicode

FORMS = ("NFC", "NFKC")
HIGH, LOW = "\u0301", "\u0327"  # in canonical order, the cedilla comes first
VOICED, TWO_MARKS = "\uff9e", "\u0344"  # their decompositions are combining characters
CHARACTERS = st.sampled_from(
    ["a", "\u00e9", HIGH, LOW, "\u3099", "\uff9e", "\u0344", "\u0f73", "\ud55c", "\u1112", "x"]
)


@pytest.mark.parametrize("form", FORMS)
@given(text=st.text(CHARACTERS, max_size=MAX_MARKS // 2))
def test_usual_texts_are_normalized(form, text: str) -> None:
    assert normalize_unicode(form, text) == unicodedata.normalize(form, text)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("text", ["e\u0301" * 1000, "\ud55c\uae00" * 1000, "\u1112\u1161\u11ab" * 1000])
def test_long_texts_of_any_script_are_normalized(form, text: str) -> None:
    assert normalize_unicode(form, text) == unicodedata.normalize(form, text)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "text",
    [
        f"a{HIGH * 500}{LOW * 500}",
        f"caf\u00e9 {(HIGH + LOW) * 16} b",
        f"a{VOICED * 20}{HIGH * 20}",
        f"a{TWO_MARKS * 20}{LOW * 20}",
    ],
)
def test_a_text_with_many_combining_characters_in_a_row_is_unchanged(
    monkeypatch: pytest.MonkeyPatch, form, text: str
) -> None:
    normalized = []
    python = unicodedata.normalize
    with monkeypatch.context() as patch:
        patch.setattr(unicodedata, "normalize", lambda *args: normalized.append(args[1]) or python(*args))
        result = normalize_unicode(form, text)

    assert result == text
    assert max(map(len, normalized), default=1) == 1, "the whole text would take very long"


@pytest.mark.parametrize("form", FORMS)
def test_every_combining_character_counts(form) -> None:
    marks = [*filter(unicodedata.combining, map(chr, range(sys.maxunicode + 1)))]
    texts = [f"{HIGH}{mark * MAX_MARKS}e{HIGH}" for mark in marks]

    assert len(marks) > 900
    assert [normalize_unicode(form, text) for text in texts] == texts


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("ILSVRC2012_val_00000001.JPEG and other names", 0),
        ("\u732b\u306e\u5199\u771f\u3067\u3059\u3002" * 10, 1),
        ("\u0e1b\u0e39" * 40, 1),
    ],
)
def test_the_characters_of_usual_texts_are_not_normalized_one_by_one(
    monkeypatch: pytest.MonkeyPatch, text: str, calls: int
) -> None:
    normalize_unicode("NFC", "\u00e9")
    normalized = []
    with monkeypatch.context() as patch:
        patch.setattr(unicodedata, "normalize", lambda *args: normalized.append(args[1]) or args[1])
        normalize_unicode("NFC", text)

    assert normalized == [text] * calls
