"""Hostile and broken files of classes and labels: a clear error with the lines, and no bundle."""

import time
import tracemalloc
from pathlib import Path

import pytest
from errata.errors import InvalidEvidence

from service.bootstrap.build import Inputs, build_evidence

CLASSES = "id,name,synonyms\nc1,crane,bird\nc2,crane,machine\nc3,owl,\n2,heron,grey heron\n"
LABELS = "file_name,target,labels,problematic\n1.png,owl,owl,\n2.png,heron,heron;owl,\n"


def build(folder: Path, classes: str = CLASSES, labels: str = LABELS, overlaps: str = "") -> None:
    paths = {name: folder / f"{name}.csv" for name in ("classes", "labels", "overlaps")}
    for path, content in zip(paths.values(), (classes, labels, overlaps), strict=True):
        path.write_text(content, encoding="utf-8")
    inputs = Inputs(classes=paths["classes"], labels=paths["labels"], overlaps=paths["overlaps"] if overlaps else None)
    build_evidence("hostile", inputs, folder / "bundle")


def refused(folder: Path, **files: str) -> InvalidEvidence:
    """Build, and return the error; there must be no bundle."""
    with pytest.raises(InvalidEvidence) as caught:
        build(folder, **files)
    assert not (folder / "bundle").exists()
    assert len(caught.value.message) < 2_000
    return caught.value


def lines(error: InvalidEvidence) -> list[int | None]:
    return [violation.line for violation in error.violations]


def test_the_files_are_valid_without_a_change(tmp_path: Path) -> None:
    build(tmp_path)

    assert (tmp_path / "bundle" / "manifest.json").is_file()


def test_duplicate_ids_are_refused_with_both_lines(tmp_path: Path) -> None:
    error = refused(tmp_path, classes="id,name\na,one\nb,two\na,three\nb,four\n")

    assert lines(error) == [4, 5]
    assert "'a'" in error.message and "line 2" in error.message


def test_duplicate_names_without_ids_are_refused(tmp_path: Path) -> None:
    error = refused(tmp_path, classes="name\nowl\ncrane\nowl\n")

    assert lines(error) == [4]
    assert "'owl'" in error.message


def test_ambiguous_labels_are_refused_with_their_lines_and_the_candidates(tmp_path: Path) -> None:
    rows = "1.png,owl,owl,\n2.png,crane,owl,\n3.png,owl,owl;crane,\n4.png,2,owl,\n5.png,owl,c1 2,\n"
    error = refused(tmp_path, labels=f"file_name,target,labels,problematic\n{rows}")

    assert lines(error) == [3, 4, 5, 6]  # 2: the ID of one class, and the index of another
    ambiguous, _, number, _ = (violation.description for violation in error.violations)
    assert "crane" in ambiguous and "c1" in ambiguous and "c2" in ambiguous
    assert "c3" in number and "'2'" in number


def test_unknown_labels_are_refused_with_similar_names(tmp_path: Path) -> None:
    error = refused(tmp_path, labels="file_name,labels\n1.png,owl\n2.png,herron\n3.png,99\n")

    assert lines(error) == [3, 4]
    assert "herron" in error.message and "heron" in error.violations[0].description


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("1.png,owl,,", "no label that counts as correct"),
        ("2.png,owl,owl,", "a file name that repeats"),
        (",owl,owl,", "no file name"),
        ('"a\x1b[31m.png",owl,owl,', "a control character in the file name"),
        ("3.png,owl,owl,x,y,z", "too many values"),
    ],
)
def test_broken_rows_of_labels_are_refused_with_their_line(tmp_path: Path, row: str, problem: str) -> None:
    error = refused(tmp_path, labels=f"file_name,target,labels,problematic\n2.png,owl,owl,\n{row}\n")

    assert lines(error) == [3], problem


@pytest.mark.parametrize(
    "row",
    ["c9,\x1b[2Jowl,,", "c9,a\u202eb,,", f"c9,{'x' * 100_000},,", "c9,,,", "c9,x,all,", "c9,x,,dog"],
    ids=["escape sequence", "direction override", "long name", "empty name", "reserved group", "synset"],
)
def test_broken_rows_of_classes_are_refused_with_their_line(tmp_path: Path, row: str) -> None:
    error = refused(tmp_path, classes=f"id,name,groups,synset\nc3,owl,,\n2,heron,,\n{row}\n")

    assert lines(error) == [4]
    assert "\x1b" not in error.message and "\u202e" not in error.message


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 1, 32_768])
def test_too_few_or_too_many_classes_are_refused(tmp_path: Path, count: int) -> None:
    error = refused(tmp_path, classes="name\n" + "".join(f"class {index}\n" for index in range(count)))

    assert "32,767" in error.message and f"{count:,}" in error.message


def test_seventeen_groups_are_refused(tmp_path: Path) -> None:
    rows = "".join(f"class {index},group {index}\n" for index in range(17))
    error = refused(tmp_path, classes=f"name,groups\n{rows}")

    assert lines(error) == [18]
    assert "16" in error.message


def test_overlaps_of_unknown_or_ambiguous_classes_are_refused(tmp_path: Path) -> None:
    error = refused(tmp_path, overlaps="class,also_correct\nowl,c1\nowl,crane\nraven,owl\n")

    assert lines(error) == [3, 4]


def test_a_missing_column_is_refused_with_the_columns_of_the_file(tmp_path: Path) -> None:
    error = refused(tmp_path, classes="label,sku\nowl,1\n")

    assert "name" in error.message and "label" in error.message


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"PK\x03\x04\x00\x00", b"name\nK\xe4se\nowl\n"])
def test_a_file_that_is_not_text_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "labels.csv").write_text(LABELS)
    (tmp_path / "classes.csv").write_bytes(content)

    with pytest.raises(InvalidEvidence, match=r"classes\.csv"):
        build_evidence(
            "hostile", Inputs(classes=tmp_path / "classes.csv", labels=tmp_path / "labels.csv"), tmp_path / "bundle"
        )


@pytest.mark.parametrize("file", ["classes", "labels"])
def test_a_file_of_100_mb_is_refused_without_reading_it(tmp_path: Path, file: str) -> None:
    (tmp_path / "classes.csv").write_text(CLASSES)
    (tmp_path / "labels.csv").write_text(LABELS)
    with (tmp_path / f"{file}.csv").open("ab") as large:
        large.truncate(100_000_000)
    tracemalloc.start()
    start = time.monotonic()

    with pytest.raises(InvalidEvidence, match=rf"{file}\.csv.*MiB"):
        build_evidence(
            "hostile", Inputs(classes=tmp_path / "classes.csv", labels=tmp_path / "labels.csv"), tmp_path / "bundle"
        )

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.monotonic() - start < 10
    assert peak < 80_000_000


def test_many_problems_are_counted_but_few_are_listed(tmp_path: Path) -> None:
    rows = "".join(f"{number}.png,raven\n" for number in range(50_000))

    error = refused(tmp_path, labels=f"file_name,labels\n{rows}")

    assert len(error.violations) <= 100
    assert "49,999" in error.message
