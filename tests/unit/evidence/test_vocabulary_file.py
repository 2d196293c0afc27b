"""Vocabulary files: valid rows, and errors with lines."""

from pathlib import Path

import pytest
from errata.errors import InvalidEvidence

from service.domain import LabelSpace, create_label_space
from service.evidence import vocabulary_file
from service.evidence.vocabulary_file import read_vocabulary
from service.taxonomy.vocabulary_proposals import VocabularyText


@pytest.fixture
def space() -> LabelSpace:
    """Classes with a name that is a superclass, too, and with an ambiguous name."""
    rows = [
        ("c0", "bear", [], ["bears", "animals"]),
        ("c1", "polar bear", ["ice bear"], ["bears"]),
        ("c2", "crane", [], ["birds"]),
        ("c3", "crane", [], ["machines"]),
        ("c4", "machines", [], []),
    ]
    plain = [
        {"id": id_, "name": name, "synonyms": synonyms, "superclasses": superclasses, "groups": [], "synset": ""}
        for id_, name, synonyms, superclasses in rows
    ]
    return create_label_space("mine", plain)


def read(tmp_path: Path, space: LabelSpace, text: str) -> tuple[VocabularyText, ...]:
    (tmp_path / "vocabulary.csv").write_text(text, encoding="utf-8")
    return read_vocabulary(tmp_path / "vocabulary.csv", space)


def test_near_names_classes_and_superclasses(tmp_path: Path, space: LabelSpace) -> None:
    rows = read(
        tmp_path,
        space,
        '\ufefftext,near\n Panda , bears; C2 ;1\n"sun, bear",Ice Bear\nexcavator,machines\nロバ,BEARS\n',
    )

    assert rows == (
        VocabularyText("Panda", (1, 2), (0,)),
        VocabularyText("sun, bear", (1,), ()),
        VocabularyText("excavator", (4,), (3,)),  # a class and a superclass
        VocabularyText("ロバ", (), (0,)),
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (",bears", "empty text"),
        ("panda,", "empty near"),
        ("panda,;;", "empty near"),
        ("panda,beers", "no superclass 'beers', and unknown class 'beers'.*similar names: 'bear'"),
        ("panda,crane", "ambiguous class 'crane': index 2"),
        ("koala,bears", "duplicate text 'koala', also on line 2"),
        ("KOALA,bears", "duplicate text"),
        ("Polar_Bear,bears", "names class 1, so it is not out of vocabulary"),
        ("ice bear,bears", "names class 1"),
        ("a\x07b,bears", "control character"),
        ("x" * 301 + ",bears", "301 characters"),
        ("panda,bears,birds", "3 values in 2 columns"),
    ],
)
def test_invalid_row_is_rejected_with_its_line(tmp_path: Path, space: LabelSpace, row: str, message: str) -> None:
    with pytest.raises(InvalidEvidence, match=rf"vocabulary\.csv, line 3: .*{message}") as error:
        read(tmp_path, space, f"text,near\nkoala,bears\n{row}\n")

    assert [violation.line for violation in error.value.violations] == [3]


@pytest.mark.parametrize("text", ["", "text\nx\n", "near,text\n", "text,near\n", "text,near,near\nx,bears,bears\n"])
def test_file_without_columns_or_rows_is_rejected(tmp_path: Path, space: LabelSpace, text: str) -> None:
    with pytest.raises(InvalidEvidence, match=r"vocabulary\.csv"):
        read(tmp_path, space, text)


def test_problems_of_all_lines_are_counted(tmp_path: Path, space: LabelSpace) -> None:
    rows = "".join(f"text {number},nowhere\n" for number in range(50))

    with pytest.raises(InvalidEvidence, match=r"line 2: .* \(and 49 more\)\.") as error:
        read(tmp_path, space, f"text,near\n{rows}")

    assert [violation.line for violation in error.value.violations] == list(range(2, 12))


def test_too_many_texts_are_rejected(tmp_path: Path, space: LabelSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary_file, "MAX_ROWS", 2)

    with pytest.raises(InvalidEvidence, match=r"line 4: more than 2 texts"):
        read(tmp_path, space, "text,near\na,bears\nb,bears\nc,bears\nd,bears\n")


def test_missing_file_is_rejected(tmp_path: Path, space: LabelSpace) -> None:
    with pytest.raises(InvalidEvidence, match="Cannot read"):
        read_vocabulary(tmp_path / "nothing.csv", space)
