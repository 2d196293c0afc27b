"""Export and import of reviews, and of the labels after them."""

import csv
import io
import json
from dataclasses import replace
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from errata.errors import DatasetNotFound, ImageNotFound, InvalidRequest, InvalidRow, ReviewNotFound, TooLarge
from hypothesis import given
from hypothesis import strategies as st

from service.analyses import review_import
from service.analyses.evidence_versions import set_default, upload_labels
from service.analyses.ports import Stores
from service.analyses.review_export import LabelsExport, export_labels, export_reviews
from service.analyses.review_import import ImportResult, import_reviews
from service.analyses.reviews import ReviewRequest, create_review, list_reviews
from service.bootstrap.build import Inputs, build_evidence
from service.domain import LabelSpace, Review, active_reviews
from service.evidence.bundle import Bundle
from service.evidence.label_files import read_labels
from service.evidence.repository import EvidenceRepository

from .conftest import Backend, make_review_log


@pytest.fixture
def stores(backend: Backend) -> Stores:
    return backend.ports.stores


def text_of(stores: Stores, content: LabelsExport | None = None) -> str:
    pieces = export_reviews(stores, "demo") if content is None else export_labels(stores, "demo", content)
    return b"".join(pieces).decode()


def read(text: str | bytes) -> io.BytesIO:
    return io.BytesIO(text.encode() if isinstance(text, str) else text)


def labels_of(bundle: Bundle, image: str) -> list[str]:
    return [bundle.label_space.ids[label] for label in bundle.evidence.labels.of(bundle.row(image))]


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Classes whose IDs count from 1, so that most of them are also the index of another class."""
    folder = tmp_path_factory.mktemp("numbered")
    (folder / "classes.csv").write_text("id,name\n1,person\n2,bicycle\n3,car\n")
    (folder / "labels.csv").write_text("file_name,labels\na.jpg,person\nb.jpg,car\n")
    inputs = Inputs(classes=folder / "classes.csv", labels=folder / "labels.csv")
    return build_evidence("street", inputs, folder / "bundle")


@pytest.fixture
def reviewed(stores: Stores, demo: Bundle) -> Stores:
    """Reviews of four images, one of them undone and one by nobody with a token."""
    first, second, third, fourth = demo.judged_names[:4]
    label, cat = labels_of(demo, first)[0], demo.label_space.ids[281]
    create_review(
        stores, ReviewRequest("demo", first, rejected=(label,), added=(cat,), comment="A\n\tcat 'é' ✓"), "ann"
    )
    create_review(stores, ReviewRequest("demo", second, problematic=True, reason="=1+1, blurred", reviewer="bob"))
    undone = create_review(stores, ReviewRequest("demo", third, problematic=True), "ann")
    create_review(stores, ReviewRequest("demo", third, undoes=undone.id), "ann")
    create_review(stores, ReviewRequest("demo", fourth, rejected=tuple(labels_of(demo, fourth))), "ann")
    return stores


def test_an_import_restores_an_export(backend: Backend, reviewed: Stores) -> None:
    lines = text_of(reviewed)
    other = replace(reviewed, reviews=make_review_log())

    assert import_reviews(other, "demo", read(lines), keep_authentication=True) == ImportResult(5, 0)
    assert list_reviews(other, "demo") == list_reviews(reviewed, "demo")
    assert import_reviews(other, "demo", read(lines)) == ImportResult(0, 5)
    assert text_of(other) == lines


def test_ids_that_are_the_indices_of_other_classes_are_imported(numbered: Bundle, tmp_path: Path) -> None:
    stores = Backend(EvidenceRepository({"street": [numbered.path]}, tmp_path)).ports.stores
    request = ReviewRequest("street", "a.jpg", confirmed=("person",), added=("bicycle",), rejected=("car",))
    review = create_review(stores, request, "ann")
    assert (review.confirmed, review.added, review.rejected) == (("1",), ("2",), ("3",))
    lines = b"".join(export_reviews(stores, "street"))
    other = replace(stores, reviews=make_review_log())

    assert import_reviews(stores, "street", read(lines)) == ImportResult(0, 1)
    assert import_reviews(other, "street", read(lines), keep_authentication=True) == ImportResult(1, 0)
    assert list_reviews(other, "street") == (review,)
    with pytest.raises(InvalidRequest, match="2 classes match '2'"):  # in a request, it can also be an index
        create_review(stores, replace(request, added=("2",)), "ann")


def test_a_review_can_be_undone_and_imported_after_its_image_left_the_default(numbered: Bundle, tmp_path: Path) -> None:
    stores = Backend(EvidenceRepository({"street": [numbered.path]}, tmp_path)).ports.stores
    review = create_review(stores, ReviewRequest("street", "a.jpg", comment="x"), "ann")
    labels = upload_labels(stores, "street", read("file_name,labels\nb.jpg,car\n"), "root")
    set_default(stores, "street", labels.digest, "root")

    undo = create_review(stores, ReviewRequest("street", "a.jpg", undoes=review.id), "ann")

    assert (undo.evidence, active_reviews(list_reviews(stores, "street"))) == (labels.digest, [])
    lines = b"".join(export_reviews(stores, "street"))
    other = replace(stores, reviews=make_review_log())
    assert import_reviews(stores, "street", read(lines)) == ImportResult(0, 2)
    assert import_reviews(other, "street", read(lines), keep_authentication=True) == ImportResult(2, 0)
    assert list_reviews(other, "street") == (review, undo)
    with pytest.raises(ImageNotFound):
        create_review(stores, ReviewRequest("street", "a.jpg", comment="x"), "ann")
    with pytest.raises(ReviewNotFound):
        create_review(stores, ReviewRequest("street", "nothing.jpg", undoes=review.id), "ann")


def test_imported_reviewers_are_not_authenticated_by_default(reviewed: Stores) -> None:
    other = replace(reviewed, reviews=make_review_log())
    import_reviews(other, "demo", read(text_of(reviewed)))

    assert {review.is_authenticated for review in list_reviews(other, "demo")} == {False}
    assert len(active_reviews(list_reviews(other, "demo"))) == 3  # the undo still belongs to the same reviewer


def test_a_line_without_an_id_is_imported_once(stores: Stores, demo: Bundle) -> None:
    line = json.dumps(
        {"image": demo.judged_names[0], "reviewer": "ann", "time": "2023-01-01T00:00:00Z", "added": ["tabby"]}
    )

    assert import_reviews(stores, "demo", read(line)) == ImportResult(1, 0)
    assert import_reviews(stores, "demo", read(f"\n{line}\n{line}\n")) == ImportResult(0, 2)
    assert list_reviews(stores, "demo")[0].added == (demo.label_space.ids[281],)


def valid_line(demo: Bundle, **changes: object) -> dict[str, object]:
    base = {"image": demo.judged_names[0], "reviewer": "ann", "time": "2023-01-01T00:00:00+00:00", "comment": "x"}
    return {key: value for key, value in (base | changes).items() if value != "MISSING"}


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"image": "MISSING"}, "image", "field image is missing"),
        ({"reviewer": " "}, "reviewer", "field reviewer is missing"),
        ({"time": "yesterday"}, "time", "is invalid. Write a time such as"),
        ({"time": "2023-01-01T00:00:00"}, "time", "has no zone"),
        ({"time": "2999-01-01T00:00:00Z"}, "time", "in the future"),
        ({"time": "0001-01-01T00:00:00+14:00"}, "time", "before 1970"),
        ({"image": "nothing.jpg"}, "file_name", "was not found in demo"),
        ({"dataset": "imagenet"}, "dataset", "data set is 'imagenet'"),
        ({"confirmed": "cat"}, "confirmed", "Write a list of classes"),
        ({"added": ["no such class"]}, "added", "Unknown class"),
        ({"added": [3]}, "added", "Write a list of classes"),
        ({"problematic": 1}, "problematic", "true or false"),
        ({"is_authenticated": None}, "problematic", "true or false"),
        ({"id": "../../x"}, "id", "32 hexadecimal digits"),
        ({"evidence": "E" * 64}, "evidence", "64 hexadecimal digits"),
        ({"undoes": "0" * 32, "comment": ""}, "undoes", "has no review"),
        ({"score": 1}, "row", "Unknown field 'score'"),
        ({"comment": "a\x1bb"}, "comment", "control character"),
        ({"comment": ""}, "review", "is empty"),
        ({"comment": "x" * 2001}, "comment", "2,001 characters"),
        ({"comment": 5}, "comment", "Write a text"),
    ],
)
def test_nothing_is_stored_unless_all_lines_are_valid(
    stores: Stores, demo: Bundle, changes: dict[str, object], field: str, message: str
) -> None:
    lines = [json.dumps(valid_line(demo)), "", json.dumps(valid_line(demo, **changes))]

    with pytest.raises(InvalidRow, match=rf"(?s)Line 3: .*{message}.* Nothing was imported") as error:
        import_reviews(stores, "demo", read("\n".join(lines)))

    assert [(violation.field, violation.line) for violation in error.value.violations] == [(field, 3)]
    assert stores.reviews.all() == ()


@pytest.mark.parametrize("line", [b"[1]", b"{", b"\xff\xfe{", b"[" * 100_000, b'{"image": "\\ud800"}', b"\x00"])
def test_lines_that_are_no_reviews(stores: Stores, line: bytes) -> None:
    with pytest.raises(InvalidRow, match="Line 1"):
        import_reviews(stores, "demo", read(line))


def test_a_line_that_is_no_json_names_the_expected_format(stores: Stores, demo: Bundle) -> None:
    content = f"{json.dumps(valid_line(demo))}\nno JSON\n"
    with pytest.raises(InvalidRow, match=r"Line 2: The line is not JSON .* Write lines as 'errata review export' does"):
        import_reviews(stores, "demo", read(content))


def test_a_repeated_field_is_named(stores: Stores) -> None:
    message = "Line 1: Invalid JSON: duplicate field 'image'; write it once. Nothing was imported."
    with pytest.raises(InvalidRow) as error:
        import_reviews(stores, "demo", read('{"image": "a", "image": "b", "reviewer": "ann"}'))
    assert error.value.message == message


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_empty(data_dir: Path, content: bytes) -> None:
    stores = Backend(EvidenceRepository({}, data_dir)).ports.stores
    try:
        assert import_reviews(stores, "demo", read(content)) == ImportResult(0, 0)
    except InvalidRow:
        pass
    assert stores.reviews.all() == ()


def test_ten_of_many_problems_are_listed(stores: Stores) -> None:
    with pytest.raises(InvalidRow, match=r"Line 1: .*and 24 more") as error:
        import_reviews(stores, "demo", read("{}\n" * 25))
    assert [violation.line for violation in error.value.violations] == list(range(1, 11))


def test_an_import_does_not_undo_reviews_of_others(stores: Stores, demo: Bundle) -> None:
    image = demo.judged_names[0]
    stored = create_review(stores, ReviewRequest("demo", image, comment="x"), "ann")
    later = (stored.time + timedelta(seconds=1)).isoformat()
    line = valid_line(demo, undoes=stored.id, comment="MISSING", time=later)

    with pytest.raises(InvalidRow, match="by 'ann'"):  # without a token, "ann" is another reviewer
        import_reviews(stores, "demo", read(json.dumps(line)))
    early = line | {"time": "2001-01-01T00:00:00Z", "is_authenticated": True}
    with pytest.raises(InvalidRow, match="not older"):
        import_reviews(stores, "demo", read(json.dumps(early)), keep_authentication=True)
    import_reviews(stores, "demo", read(json.dumps(line | {"is_authenticated": True})), keep_authentication=True)
    assert active_reviews(list_reviews(stores, "demo", image)) == []


def test_an_undo_that_was_made_in_two_archives_is_imported_once(stores: Stores, demo: Bundle) -> None:
    """The ID of an undo follows from the review that it undoes."""
    image = demo.judged_names[0]
    stored = create_review(stores, ReviewRequest("demo", image, comment="x"), "ann")
    undo = create_review(stores, ReviewRequest("demo", image, undoes=stored.id), "ann")
    later = (undo.time + timedelta(seconds=1)).isoformat()
    line = valid_line(demo, id=undo.id, undoes=stored.id, comment="MISSING", time=later, reviewer="ann")

    assert import_reviews(stores, "demo", read(json.dumps(line))) == ImportResult(0, 1)


def test_an_id_of_another_review_is_refused(reviewed: Stores, demo: Bundle) -> None:
    stored = list_reviews(reviewed, "demo")[0]
    with pytest.raises(InvalidRow, match="belongs to another review"):
        import_reviews(reviewed, "demo", read(json.dumps(valid_line(demo, id=stored.id))))


def test_reviews_of_a_bundle_that_is_not_served_are_imported(stores: Stores, demo: Bundle) -> None:
    line = valid_line(demo, evidence="0" * 64, confirmed=["tabby"])  # a label of that bundle, possibly
    import_reviews(stores, "demo", read(json.dumps(line)))

    assert list_reviews(stores, "demo")[0].confirmed == (demo.label_space.ids[281],)


def test_the_size_of_a_file_is_bounded(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TooLarge):
        import_reviews(stores, "demo", read(b" " * (3 << 20)))  # one line
    monkeypatch.setattr(review_import, "MAX_BYTES", 1 << 20)
    with pytest.raises(TooLarge):
        import_reviews(stores, "demo", read(b"\n" * (3 << 20)))


@pytest.mark.parametrize("content", [LabelsExport(), LabelsExport(as_csv=False), LabelsExport(only_reviewed=True)])
def test_labels_that_are_imported_as_reviews_are_exported_again(reviewed: Stores, content: LabelsExport) -> None:
    lines, other = text_of(reviewed, content), replace(reviewed, reviews=make_review_log())

    assert import_reviews(other, "demo", read(lines), caller="eve") == ImportResult(3, 0)
    assert text_of(other, content) == lines
    assert {review.voter for review in list_reviews(other, "demo")} == {("eve", True)}
    assert import_reviews(other, "demo", read(lines), caller="eve") == ImportResult(0, 0)
    assert import_reviews(reviewed, "demo", read(lines), reviewer="eve") == ImportResult(0, 0)


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("is_array", [True, False])
def test_labels_in_a_json_document(stores: Stores, demo: Bundle, indent: int | None, is_array: bool) -> None:
    rows = {image: labels_of(demo, image) for image in demo.judged_names}
    rows[demo.judged_names[0]].append("281")
    array = [{"labels": labels, "file_name": image} for image, labels in rows.items()]
    file = "\ufeff" + json.dumps(array if is_array else rows, indent=indent)

    assert import_reviews(stores, "demo", read(file), reviewer="ann") == ImportResult(1, 0)
    (review,) = list_reviews(stores, "demo")
    assert (review.image, review.added) == (demo.judged_names[0], (demo.label_space.ids[281],))


def test_statements_of_a_labels_file(stores: Stores, demo: Bundle) -> None:
    first, second = demo.judged_names[:2]
    (label,), cat = labels_of(demo, first), demo.label_space.ids[281]
    for other in ("ann", "bob"):
        create_review(stores, ReviewRequest("demo", first, rejected=(label,), added=(cat, "282")), other)
        create_review(stores, ReviewRequest("demo", second, problematic=True), other)
    file = (
        f"\ufefffile_name,labels,problematic\n{first},{label};{cat};283,small\n{second},{labels_of(demo, second)[0]},\n"
    )

    assert import_reviews(stores, "demo", read(file), reviewer=" eve ") == ImportResult(2, 0)
    changed, confirmed = (list_reviews(stores, "demo", image, "eve")[0] for image in (first, second))
    assert (changed.confirmed, changed.added) == ((label,), (demo.label_space.ids[283],))
    assert (changed.rejected, changed.problematic, changed.reason) == ((demo.label_space.ids[282],), True, "small")
    assert (confirmed.problematic, confirmed.confirmed + confirmed.added + confirmed.rejected) == (False, ())
    # The majority decides, so the labels still differ. The statements are not repeated.
    assert import_reviews(stores, "demo", read(file), reviewer="eve") == ImportResult(0, 2)
    create_review(stores, ReviewRequest("demo", first, undoes=changed.id, reviewer="eve"))
    assert import_reviews(stores, "demo", read(file), reviewer="eve") == ImportResult(1, 1)


def test_two_imports_of_a_labels_file_at_once_store_its_reviews_once(
    stores: Stores, demo: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = "file_name,labels\n" + "".join(f"{image},281\n" for image in demo.judged_names)
    append, first = stores.reviews.append_new, list[ImportResult]()

    def import_before(*reviews: Review) -> int:
        monkeypatch.undo()  # the second import has read the same reviews as the first one
        first.append(import_reviews(stores, "demo", read(file), reviewer="ann"))
        return append(*reviews)

    monkeypatch.setattr(stores.reviews, "append_new", import_before)
    second = import_reviews(stores, "demo", read(file), reviewer="ann")

    (num_added,) = {result.num_added for result in first}
    assert second == ImportResult(0, num_added)
    reviews = list_reviews(stores, "demo")
    assert len({review.image for review in reviews}) == len(reviews) == num_added > 10
    assert len({review.id[:8] for review in reviews}) == num_added


@pytest.mark.parametrize(
    "layout",
    [
        '{{"{0}": ["281"],\n "{1}": ["281"], "{2}": ["281"]}}',
        '{{"{0}": [\n"281"], "{1}": ["281"], "{2}": ["281"]}}',
        '{{"{0}": ["281"], "{1}": ["281"],\n"{2}": ["281"]}}',
    ],
)
def test_labels_in_an_object_with_any_line_breaks(stores: Stores, demo: Bundle, layout: str) -> None:
    lines = layout.format(*demo.judged_names)

    assert import_reviews(stores, "demo", read(lines), reviewer="ann") == ImportResult(3, 0)


def test_imported_labels_of_a_problematic_image_without_labels_make_it_not_problematic(
    stores: Stores, tmp_path: Path
) -> None:
    (tmp_path / "classes.csv").write_text("id,name\nx1,person\nx2,bicycle\nx3,car\n")
    (tmp_path / "labels.csv").write_text(
        "file_name,target,labels,problematic\na.jpg,person,person,\nc.jpg,car,,no label\nd.jpg,car,,no label\n"
    )
    inputs = Inputs(classes=tmp_path / "classes.csv", labels=tmp_path / "labels.csv")
    build_evidence("street", inputs, tmp_path / "street")
    stores = replace(stores, evidence=EvidenceRepository({"street": [tmp_path / "street"]}, tmp_path / "data"))
    create_review(stores, ReviewRequest("street", "d.jpg", problematic=True, reason="copyright"), "bob")

    file = "file_name,target,labels\nc.jpg,car,bicycle\nd.jpg,car,bicycle\n"
    assert import_reviews(stores, "street", read(file), reviewer="ann") == ImportResult(2, 0)

    statements = {review.image: review.problematic for review in list_reviews(stores, "street", reviewer="ann")}
    assert statements == {"c.jpg": False, "d.jpg": None}


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Images with and without labels that are problematic or not."""
    folder = tmp_path_factory.mktemp("states")
    (folder / "classes.csv").write_text("id,name\nx1,person\nx2,bicycle\nx3,car\n")
    (folder / "labels.csv").write_text(
        "file_name,target,labels,problematic\nbase.jpg,x1,x1,small\nempty.jpg,x1,,no label\nplain.jpg,x1,x1,\n"
    )
    inputs = Inputs(classes=folder / "classes.csv", labels=folder / "labels.csv")
    return build_evidence("street", inputs, folder / "bundle")


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        *(("", reason) for reason in ("too dark", "no label", "problematic")),
        *product(("x1", "x2", "x1;x2"), (None, "", "too dark", "no label", "problematic")),
    ],
)
@pytest.mark.parametrize("statements", [{}, {"rejected": ("x1",)}, {"problematic": True, "reason": "copyright"}])
@pytest.mark.parametrize("image", ["base.jpg", "empty.jpg", "plain.jpg"])
@pytest.mark.parametrize("reviewer", ["kim", "bob"])
def test_an_imported_row_is_exported_and_adds_nothing_the_second_time(
    street: Bundle,
    tmp_path: Path,
    reviewer: str,
    image: str,
    statements: dict[str, Any],
    labels: str,
    reason: str | None,
) -> None:
    stores = Backend(EvidenceRepository({"street": [street.path]}, tmp_path)).ports.stores
    if statements:
        create_review(stores, ReviewRequest("street", image, **statements), reviewer)

    def export() -> dict[str, str]:
        text = b"".join(export_labels(stores, "street")).decode()
        return next(row for row in csv.DictReader(io.StringIO(text)) if row["file_name"] == image)

    before = export()
    row = {"file_name": image, "target": "x1", "labels": labels} | ({} if reason is None else {"problematic": reason})
    file = f"{','.join(row)}\n{','.join(row.values())}\n"
    import_reviews(stores, "street", read(file), caller="kim")

    after = export()
    assert import_reviews(stores, "street", read(file), caller="kim").num_added == 0
    if reviewer == "bob" and statements:
        return  # a tie can keep the labels
    assert after["labels"] == labels
    is_only_reason = image != "plain.jpg" and "problematic" not in statements and before["labels"] == labels and reason
    if is_only_reason:  # of a row of the file that the bundle was built from
        assert after == before
    elif reason in ("", "too dark") or (reason == "no label" and labels):
        assert after["problematic"] == reason
    elif reason is not None:
        assert after["problematic"]
    elif before["labels"]:
        assert bool(after["problematic"]) == bool(before["problematic"])


@pytest.mark.parametrize("as_csv", [True, False])
def test_a_labels_file_without_problematic_leaves_images_set_aside(stores: Stores, demo: Bundle, as_csv: bool) -> None:
    first, second = demo.judged_names[:2]
    create_review(stores, ReviewRequest("demo", first, problematic=True, reason="copyright"), "bob")
    label, cat = labels_of(demo, second)[0], demo.label_space.ids[281]
    rows = {first: labels_of(demo, first), second: [label, cat]}
    file = "".join(json.dumps({"file_name": image, "labels": labels}) + "\n" for image, labels in rows.items())
    if as_csv:
        file = "file_name,labels\n" + "".join(f"{image},{';'.join(labels)}\n" for image, labels in rows.items())

    assert import_reviews(stores, "demo", read(file), reviewer="ann") == ImportResult(1, 0)
    (review,) = list_reviews(stores, "demo", reviewer="ann")
    assert (review.image, review.added, review.problematic) == (second, (cat,), None)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("nothing.jpg,1,1,", r"line 2: 'nothing.jpg' is no evaluated image"),
        ("IMAGE,1,1,", r"line 2: the original label of"),
        ("IMAGE,,no such class,", r"line 2: unknown class"),
        ("IMAGE,TARGET,TARGET," + "x" * 201, r"line 2: Invalid reason: .*201 characters"),
    ],
)
def test_rows_of_an_invalid_labels_file(stores: Stores, demo: Bundle, row: str, message: str) -> None:
    row = row.replace("IMAGE", demo.judged_names[0]).replace("TARGET", labels_of(demo, demo.judged_names[0])[0])
    with pytest.raises(InvalidRow, match=rf"{message}.*Nothing was imported") as error:
        import_reviews(stores, "demo", read(f"file_name,target,labels,problematic\n{row}\n"), caller="eve")
    assert [violation.line for violation in error.value.violations] == [2]
    assert stores.reviews.all() == ()


def test_the_reviewer_of_a_file(stores: Stores, demo: Bundle) -> None:
    labels = "file_name,labels\n"
    with pytest.raises(InvalidRequest, match="reviewer is missing"):
        import_reviews(stores, "demo", read(labels))
    with pytest.raises(InvalidRequest, match="the token is 'eve'"):
        import_reviews(stores, "demo", read(labels), caller="eve", reviewer="bob")
    with pytest.raises(InvalidRequest, match="name their reviewers"):
        import_reviews(stores, "demo", read(json.dumps(valid_line(demo))), reviewer="bob")


@pytest.mark.parametrize("content", ["\nimage,label\na.jpg,3\n", "PK\x03\x04", "[]", '[\n{"image": "a"}]'])
def test_an_error_names_the_formats_of_a_file(stores: Stores, content: str) -> None:
    with pytest.raises(InvalidRow, match=r"Expected a file .* JSON lines, or CSV with the header file_name,target,"):
        import_reviews(stores, "demo", read(content))


@pytest.mark.parametrize("as_csv", [True, False])
def test_the_labels_file_can_be_read_again(reviewed: Stores, demo: Bundle, tmp_path: Path, as_csv: bool) -> None:
    path = tmp_path / ("labels.csv" if as_csv else "labels.jsonl")
    path.write_text(text_of(reviewed, LabelsExport(as_csv=as_csv)))
    labels = read_labels(path, demo.label_space)

    first, second, third, fourth = demo.judged_names[:4]
    names = [name.decode() for name in labels.names.tolist()]
    read_ids = {
        name: [demo.label_space.ids[label] for label in labels.labels.of(row)] for row, name in enumerate(names)
    }
    problematic = {name for name, aside in zip(names, labels.problematic.tolist(), strict=True) if aside}
    assert read_ids[first] == [*labels_of(demo, first)[1:], demo.label_space.ids[281]]
    assert read_ids[fourth] == []
    assert {second, fourth} <= problematic
    assert third not in problematic
    for name in demo.judged_names[4:]:
        assert read_ids[name] == labels_of(demo, name)
    targets = {name: int(target) for name, target in zip(names, labels.all_targets.tolist(), strict=True)}
    assert targets == dict(zip(demo.judged_names, demo.evidence.targets.tolist(), strict=True))


def test_the_labels_of_reviewed_images(reviewed: Stores, demo: Bundle) -> None:
    rows = [*csv.DictReader(io.StringIO(text_of(reviewed, LabelsExport(only_reviewed=True))))]

    assert [row["file_name"] for row in rows] == [demo.judged_names[index] for index in (0, 1, 3)]
    assert [row["problematic"] for row in rows] == ["", "=1+1, blurred", "no label"]


def test_the_minimum_number_of_reviewers(reviewed: Stores, demo: Bundle) -> None:
    rows = [*csv.DictReader(io.StringIO(text_of(reviewed, LabelsExport(min_reviews=2))))]

    assert [row["labels"].split(";") for row in rows] == [labels_of(demo, name) for name in demo.judged_names]
    with pytest.raises(InvalidRequest, match="at least 1"):
        export_labels(reviewed, "demo", LabelsExport(min_reviews=0))
    with pytest.raises(DatasetNotFound):
        export_reviews(reviewed, "nothing")


def test_a_field_that_occurs_twice_is_refused(stores: Stores, demo: Bundle) -> None:
    line = json.dumps(valid_line(demo))
    with pytest.raises(InvalidRow, match="duplicate field 'image'"):
        import_reviews(stores, "demo", read(line[:-1] + ', "image": "other.jpg"}'))


def test_the_number_of_lines_is_bounded(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review_import, "MAX_IMPORT_LINES", 10)
    assert import_reviews(stores, "demo", read(b"\n" * 9)) == ImportResult(0, 0)
    with pytest.raises(TooLarge, match="more than 10 lines"):
        import_reviews(stores, "demo", read(b"\n" * 10))


def test_similar_names_are_searched_only_for_the_shown_problems(
    stores: Stores, demo: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search takes milliseconds for each of up to 250,000 lines."""
    searches: list[str] = []
    monkeypatch.setattr(LabelSpace, "similar_names", lambda _, text: searches.append(text) or ["cat"])
    lines = [json.dumps(valid_line(demo, added=[f"no such class {number}"])) for number in range(50)]

    with pytest.raises(InvalidRow, match="and 49 more") as error:
        import_reviews(stores, "demo", read("\n".join(lines)))

    assert len(searches) == len(error.value.violations) == 10
