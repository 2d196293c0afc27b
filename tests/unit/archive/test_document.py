"""The documents of the archive: they are read as they were written, and damaged ones are refused."""

import errno
import json
import math
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from errata.errors import NewerRecord, Unavailable
from example_counts import max_examples
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import HealthCheck, given
from strategies import ANALYSES

from service.archive.archive import EVENTS, FileArchive, open_archive
from service.archive.document import from_document, to_document
from service.archive.files import Files, FolderFiles, ObjectFiles, PartlyWritten
from service.archive.port import OutcomeUnknown
from service.archive.record_log import RecordLog
from service.domain import (
    ALL,
    ERROR_TYPES,
    Analysis,
    AnalysisRequest,
    AuditAction,
    AuditEvent,
    ErrorType,
    Failure,
    GroupSummary,
    ModelInfo,
    Predictions,
    State,
    Summary,
)
from service.taxonomy.imagenet_1k import GROUPS

WRITTEN = Path(__file__).parent / "written"  # by earlier versions


def group_summary(samples: int = 3) -> GroupSummary:
    return GroupSummary(
        samples,
        dict.fromkeys(ERROR_TYPES, 0),
        0,
        0.5,
        0.5,
        0.5,
        None,
        {ErrorType.CLASS_OVERLAP: 1.0},
        {},
        {},
        {ErrorType.MODEL_FAILURE: 0.25},
    )


def analysis(id: str = "one", **changes: Any) -> Analysis:
    """Return an analysis with all optional fields."""
    whole = Analysis(
        id=id,
        request=AnalysisRequest("demo", "demo:m", labels={"k": "v"}),
        state=State.SUCCEEDED,
        evidence="e" * 64,
        create_time=datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC),
        model_info=ModelInfo("demo:m", "net", "0" * 64, "none"),
        summary=Summary(
            dict.fromkeys((ALL, *GROUPS), group_summary()), (ErrorType.FINE_GRAINED_OOV,), 0, 3, 3, 1.0, None, None
        ),
        failure=Failure("OOPS", "it broke"),
        warnings=("careful",),
        assumptions=("The columns are separated by tabs.",),
    )
    return replace(whole, **changes)


def predictions(size: int = 4) -> Predictions:
    return Predictions(np.arange(size, dtype=np.int16), np.linspace(0, 1, size, dtype=np.float16))


# round trip


@given(ANALYSES)
@max_examples(100, suppress_health_check=[HealthCheck.too_slow])
def test_an_analysis_is_read_as_it_was_written(original: Analysis) -> None:
    text = json.dumps(to_document(original), allow_nan=False)

    assert from_document(json.loads(text)) == original


def test_a_document_has_names_instead_of_numbers() -> None:
    document = to_document(analysis())

    assert document["schema"] == 1
    assert document["state"] == "SUCCEEDED"
    assert document["request"]["row_order"] == "UNSPECIFIED"
    assert document["create_time"] == "2024-02-29T23:59:59.999999+00:00"
    assert document["summary"]["abstained"] == ["FINE_GRAINED_OOV"]
    assert set(document["summary"]["groups"]) == {"all", "organism", "artifact", "other"}
    everything = document["summary"]["groups"]["all"]
    assert set(everything["counts"]) == {error_type_.name for error_type_ in ERROR_TYPES}
    assert everything["portions_of_top1_errors"] == {"CLASS_OVERLAP": 1.0}
    assert everything["gain_if_fixed_multi_label"] == {"MODEL_FAILURE": 0.25}
    assert everything["multi_label_accuracy_forgiving_explainable"] is None


# damage


@pytest.mark.parametrize("schema", [0, "1", None, -1, 1.5, True])
def test_an_invalid_schema_is_rejected(schema: object) -> None:
    with pytest.raises(ValueError, match="expected schema 1"):
        from_document(to_document(analysis()) | {"schema": schema})


@pytest.mark.parametrize("schema", [2, 17])
def test_a_newer_schema_is_rejected_as_newer(schema: int) -> None:
    with pytest.raises(NewerRecord, match=rf"a newer version of Errata .*schema {schema};"):
        from_document(to_document(analysis()) | {"schema": schema})


def test_fields_of_a_newer_version_are_ignored() -> None:
    """A release can be rolled back: an older version ignores fields that it does not know."""
    document = to_document(analysis())
    parts = (document, document["request"], document["progress"], document["summary"], document["model_info"])
    for part in (*parts, document["summary"]["groups"]["all"]):
        part["added_later"] = {"any": "thing"}

    assert from_document(document) == analysis()


@pytest.mark.parametrize("file", sorted(WRITTEN.glob("*.json")), ids=lambda file: file.stem)
def test_documents_of_earlier_versions_are_read(file: Path) -> None:
    """Documents of versions without gains, job shards, registries, num_judged, …"""
    document = json.loads(file.read_text())

    result = from_document(document)

    assert document["schema"] == 1
    assert (result.id, result.request.labels, result.state) == (
        document["id"],
        {"model": "net", "version": "1"},
        State.SUCCEEDED,
    )
    assert result.summary is not None
    stored = document["summary"]["groups"]["all"]
    assert result.summary.groups[ALL].num_samples == stored["num_samples"] == 20
    assert {kind.name: count for kind, count in result.summary.groups[ALL].counts.items()} == stored["counts"]
    assert to_document(result).keys() >= document.keys()


PARTS = ["schema", "id", "request", "state", "evidence", "create_time", "start_time", "progress", "warnings", "failure"]


@pytest.mark.parametrize("name", [*PARTS, "model_info", "summary"])
def test_a_document_without_a_field_is_rejected(name: str) -> None:
    document = to_document(analysis())
    del document[name]

    with pytest.raises((KeyError, TypeError)):
        from_document(document)


DAMAGE: dict[str, Callable[[dict[str, Any]], object]] = {
    "an unknown state": lambda document: document.update(state="DONE"),
    "a state by number": lambda document: document.update(state=3),
    "a request that is text": lambda document: document.update(request="demo"),
    "a request without its order": lambda document: document["request"].pop("row_order"),
    "a request of an unknown order": lambda document: document["request"].update(row_order="RANDOM"),
    "a time that is none": lambda document: document.update(create_time="yesterday"),
    "a time by number": lambda document: document.update(create_time=17),
    "a summary that is text": lambda document: document.update(summary="good"),
    "groups that are a list": lambda document: document["summary"].update(groups=["all"]),
    "an unknown group": lambda document: document["summary"]["groups"].update(plants={}),
    "a group without counts": lambda document: document["summary"]["groups"]["all"].pop("counts"),
    "an unknown error type": lambda document: document["summary"]["groups"]["all"]["counts"].update(BAD_LUCK=1),
    "an unknown abstention": lambda document: document["summary"].update(abstained=["BAD_LUCK"]),
    "a failure without its words": lambda document: document["failure"].pop("message"),
    "a count that no message holds": lambda document: document["progress"].update(done=2**40),
    "a negative count": lambda document: document["summary"].update(num_images=-1),
    "a number that is text": lambda document: document["summary"].update(num_images="many"),
    "an accuracy that is no number": lambda document: document["summary"]["groups"]["all"].update(
        top1_accuracy=math.nan
    ),
    "an infinite accuracy": lambda document: document["summary"]["groups"]["all"].update(top1_accuracy=math.inf),
    "a name that is no text": lambda document: document["request"].update(display_name=5),
    "half a character": lambda document: document["request"].update(display_name="\ud800"),
    "a time beyond all calendars": lambda document: document.update(create_time="0001-01-01T00:00:00+14:00"),
    "a time without its zone": lambda document: document.update(create_time="2024-02-29T23:59:59"),
    "a group that is missing": lambda document: document["summary"]["groups"].pop("all"),
    "a count that is missing": lambda document: document["summary"]["groups"]["all"]["counts"].pop("CORRECT"),
    "a rule that can't abstain": lambda document: document["summary"].update(abstained=["CORRECT"]),
    "a rule that abstains twice": lambda document: document["summary"].update(abstained=["FINE_GRAINED_OOV"] * 2),
    "a success without a summary": lambda document: document.update(summary=None),
    "a state that isn't final": lambda document: document.update(state="QUEUED"),
    "the id of another": lambda document: document.update(id="other"),
    "a number as text": lambda document: document["summary"].update(num_images="5"),
    "a count that is a Boolean": lambda document: document["summary"]["groups"]["all"].update(num_samples=True),
    "a count that is a float": lambda document: document["progress"].update(total=1.0),
    "a Boolean that is a number": lambda document: document.update(implausible=1),
    "evidence that is no text": lambda document: document.update(evidence=5),
}


def readable(archive: FileArchive) -> list[str]:
    """Return the ids of all records that can be read, sorted."""
    return sorted(record.analysis.id for record in archive.records(archive.ids()))


@pytest.mark.parametrize("damage", sorted(DAMAGE))
def test_a_damaged_document_is_rejected_and_not_listed(tmp_path: Path, damage: str) -> None:
    FileArchive(FolderFiles(tmp_path)).put(analysis("good"), predictions())
    document = to_document(analysis("bad"))
    DAMAGE[damage](document)
    (tmp_path / "bad.json").write_text(json.dumps(document))
    archive = FileArchive(FolderFiles(tmp_path))

    if damage != "the id of another":
        with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
            from_document(document)
    assert readable(archive) == ["good"]
    assert archive.get("bad") is None


@pytest.mark.parametrize(
    "content", [b"", b"{", b"null", b"[]", b"1", b'"x"', b"\xff\xfe", b"\x00" * 100, b"[" * 50_000]
)
def test_a_file_that_is_not_a_document_is_not_listed(tmp_path: Path, content: bytes) -> None:
    FileArchive(FolderFiles(tmp_path)).put(analysis("good"), predictions())
    (tmp_path / "bad.json").write_bytes(content)
    archive = FileArchive(FolderFiles(tmp_path))

    assert readable(archive) == ["good"]
    assert archive.get("bad") is None


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["a folder", "a pipe", "a large file"])
def test_other_files_in_the_folder_are_not_listed(tmp_path: Path, kind: str) -> None:
    FileArchive(FolderFiles(tmp_path)).put(analysis("good"), predictions())
    if kind == "a folder":
        (tmp_path / "bad.json").mkdir()
    elif kind == "a pipe":
        os.mkfifo(tmp_path / "bad.json")  # no process writes to it, so that a read would block
    else:
        with (tmp_path / "bad.json").open("wb") as file:
            file.truncate(3 << 30)
    archive = FileArchive(FolderFiles(tmp_path))
    before = len(os.listdir("/proc/self/fd"))

    assert readable(archive) == ["good"]
    assert [archive.get("bad") for _ in range(20)] == [None] * 20
    assert len(os.listdir("/proc/self/fd")) == before, "no file stays open"


def test_compressed_predictions_are_rejected(tmp_path: Path) -> None:
    archive = FileArchive(FolderFiles(tmp_path))
    archive.put(analysis(), predictions(8))
    np.savez_compressed(tmp_path / "one.predictions.npz", top1=np.zeros(8, dtype=np.int16))

    with pytest.raises(Unavailable, match="damaged"):
        archive.predictions("one")


def test_truncated_predictions_are_unavailable(tmp_path: Path) -> None:
    archive = FileArchive(FolderFiles(tmp_path))
    archive.put(analysis(), predictions(8))
    file = tmp_path / "one.predictions.npz"
    whole = file.read_bytes()

    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(Unavailable, match="one"):
            archive.predictions("one")


@pytest.mark.parametrize("flip", [0x01, 0x40, 0xFF])
def test_a_wrong_byte_in_predictions_is_detected_or_changes_nothing(tmp_path: Path, flip: int) -> None:
    archive = FileArchive(FolderFiles(tmp_path))
    archive.put(analysis(), predictions(8))
    file = tmp_path / "one.predictions.npz"
    whole = file.read_bytes()

    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= flip
        file.write_bytes(damaged)
        try:
            result = archive.predictions("one")
        except Unavailable:
            continue
        assert result is not None
        assert result.top1.tolist() == list(range(8))
        if result.probability is not None:  # a damaged zip directory can lose them
            assert result.probability.tolist() == np.linspace(0, 1, 8, dtype=np.float16).tolist()


def test_predictions_are_never_unpickled(tmp_path: Path) -> None:
    archive = FileArchive(FolderFiles(tmp_path))
    archive.put(analysis(), predictions())
    np.savez(tmp_path / "one.predictions.npz", top1=np.array([{"a": 1}], dtype=object))

    with pytest.raises(Unavailable):
        archive.predictions("one")


# the folder


def test_a_partially_written_file_is_not_listed(tmp_path: Path) -> None:
    archive = FileArchive(FolderFiles(tmp_path))
    archive.put(analysis("good"), predictions())
    half = json.dumps(to_document(analysis("half"))).encode()
    (tmp_path / ".half.json.x1y2z3").write_bytes(half[:100])
    (tmp_path / ".half.json").write_bytes(half)
    (tmp_path / "half.json.tmp").write_bytes(half)

    for reader in (archive, FileArchive(FolderFiles(tmp_path))):
        assert readable(reader) == ["good"]
        assert reader.get("half") is None


def test_predictions_without_a_document_are_not_listed(tmp_path: Path) -> None:
    """They are written first, so that a killed process can leave them without a document."""
    FileArchive(FolderFiles(tmp_path)).put(analysis(), predictions())
    (tmp_path / "one.json").unlink()
    archive = FileArchive(FolderFiles(tmp_path))

    assert readable(archive) == []
    assert archive.get("one") is None
    assert archive.delete("one") is False


def test_an_analysis_has_exactly_two_files(tmp_path: Path) -> None:
    archive = FileArchive(FolderFiles(tmp_path))
    archive.put(analysis(), predictions())
    archive.put(analysis(), predictions())
    assert {file.name for file in tmp_path.iterdir()} == {"one.json", "one.predictions.npz"}

    archive.delete("one")
    assert list(tmp_path.iterdir()) == []


def test_an_archive_is_read_by_another_process(tmp_path: Path) -> None:
    FileArchive(FolderFiles(tmp_path / "new" / "folder")).put(analysis(), predictions())
    archive = FileArchive(FolderFiles(tmp_path / "new" / "folder"))

    assert archive.get("one") == analysis()
    assert readable(archive) == ["one"]
    numbers = archive.predictions("one")
    assert numbers is not None
    assert numbers.top1.tolist() == [0, 1, 2, 3]


def test_the_list_shows_changes_of_another_process(tmp_path: Path) -> None:
    mine, others = FileArchive(FolderFiles(tmp_path)), FileArchive(FolderFiles(tmp_path))
    mine.put(analysis("one"), predictions())
    mine.put(analysis("two"), predictions())
    others.delete("one")
    others.put(analysis("three"), predictions())

    assert readable(mine) == ["three", "two"]


def test_a_missing_folder_is_an_empty_archive(tmp_path: Path) -> None:
    archive = FileArchive(FolderFiles(tmp_path / "none"))

    assert readable(archive) == []
    assert archive.get("one") is None


def test_an_unwritable_folder_is_unavailable_and_a_write_can_be_retried(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"in the way")
    archive = FileArchive(FolderFiles(tmp_path / "file"))

    with pytest.raises(Unavailable) as error:
        archive.put(analysis(), predictions())

    assert error.value.retry_after is not None
    assert archive.get("one") is None


class LostReplies(ObjectFiles):
    """Files in an object store. The next `num_failures` calls write the first `num_written` files and then fail."""

    num_written, num_failures = 0, 1000

    def write(self, contents: Mapping[str, bytes]) -> None:
        if not self.num_failures:
            return super().write(contents)
        self.num_failures -= 1
        super().write(dict([*contents.items()][: self.num_written]))
        raise (PartlyWritten if self.num_written else Unavailable)("The connection was closed.")


def unavailable(_: str) -> NoReturn:
    raise Unavailable("The object store does not answer.")


@pytest.fixture
def lost_replies() -> LostReplies:
    return LostReplies(MemoryFileSystem(), f"/{uuid.uuid4().hex}")


def test_a_write_whose_reply_was_lost_succeeds_if_the_document_is_stored(lost_replies: LostReplies) -> None:
    lost_replies.num_written = 2
    archive = FileArchive(lost_replies)

    record = archive.put(analysis(), predictions())

    assert record.analysis == archive.get("one") == analysis()
    assert [*archive.records(["one"])] == [record]
    assert archive.predictions("one") is not None


CREATION = AuditEvent("0" * 32, datetime(2026, 5, 1, tzinfo=UTC), "ci", AuditAction.CREATE, "demo", analysis="one")


def event_log(files: Files) -> RecordLog[AuditEvent]:
    return RecordLog(files, AuditEvent)


def test_an_analysis_is_stored_with_its_event_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    archive = open_archive(str(folder))
    archive.put(analysis(), predictions(), CREATION)
    assert event_log(FolderFiles(folder / EVENTS)).all() == (CREATION,)
    assert archive.ids() == {"one"}

    shutil.rmtree(folder / EVENTS)
    (folder / EVENTS).write_text("no folder")
    with pytest.raises(Unavailable):
        archive.put(analysis("two"), predictions(), replace(CREATION, id="1" * 32))
    assert archive.ids() == {"one"}
    assert {file.name for file in folder.iterdir()} == {"one.json", "one.predictions.npz", EVENTS}


def test_an_event_is_written_again_after_a_lost_reply(lost_replies: LostReplies) -> None:
    archive = FileArchive(lost_replies, event_log(lost_replies))
    lost_replies.num_written, lost_replies.num_failures = 2, 1
    archive.put(analysis(), predictions(), CREATION)
    assert lost_replies.read(f"{EVENTS}/{CREATION.id}.json") is not None

    lost_replies.num_written, lost_replies.num_failures = 2, 2
    with pytest.raises(Unavailable):
        archive.put(analysis("two"), predictions(), replace(CREATION, id="1" * 32))
    assert archive.ids() == {"one"}


@pytest.mark.parametrize("is_readable", [True, False])
def test_the_outcome_of_a_creation_whose_reply_was_lost_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_readable: bool
) -> None:
    files, events = FolderFiles(tmp_path), event_log(FolderFiles(tmp_path / EVENTS))
    archive, create = FileArchive(files, events), files.create

    def lose_reply(name: str, content: bytes) -> NoReturn:
        create(name, content)
        raise Unavailable("The connection was closed.")

    monkeypatch.setattr(files, "create", lose_reply)
    with monkeypatch.context() as patch:
        if not is_readable:
            patch.setattr(files, "read", unavailable)
        with nullcontext() if is_readable else pytest.raises(OutcomeUnknown):
            archive.put(analysis(), predictions(), CREATION, replaces=False)
    assert archive.get("one") == analysis()
    assert events.all() == ((CREATION,) if is_readable else ())


def test_the_outcome_of_a_write_is_unknown_if_the_document_cannot_be_read(
    lost_replies: LostReplies, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost_replies.num_written, lost_replies.num_failures = 2, 1
    archive = FileArchive(lost_replies)

    with monkeypatch.context() as patch:
        patch.setattr(lost_replies, "read", unavailable)
        with pytest.raises(OutcomeUnknown, match=r"analysis one may have been stored\.$") as error:
            archive.put(analysis(), predictions())
    assert error.value.retry_after is not None
    assert archive.get("one") == analysis()


@pytest.mark.parametrize("is_readable", [True, False])
def test_the_outcome_of_a_rename_whose_reply_was_lost_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_readable: bool
) -> None:
    """A network folder loses replies."""
    files = FolderFiles(tmp_path)
    archive = FileArchive(files)
    replace_file = os.replace

    def lose_reply(source: str, target: Path) -> None:
        replace_file(source, target)
        if target.name == "one.json":
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lose_reply)
        if not is_readable:
            patch.setattr(files, "read", unavailable)
        with nullcontext() if is_readable else pytest.raises(OutcomeUnknown):
            archive.put(analysis(), predictions())
    assert archive.get("one") == analysis()


@pytest.mark.parametrize(("refused", "is_partly_written"), [("a", False), ("b", True)])
def test_a_failed_write_after_the_first_file_of_a_folder_is_partly_written(
    tmp_path: Path, refused: str, is_partly_written: bool
) -> None:
    (tmp_path / refused).mkdir()

    with pytest.raises(Unavailable, match="Is a directory") as error:
        FolderFiles(tmp_path).write({"a": b"1", "b": b"2"})
    assert isinstance(error.value, PartlyWritten) is is_partly_written
    assert error.value.retry_after is not None


def test_a_document_that_was_not_sent_is_not_stored(lost_replies: LostReplies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost_replies, "read", unavailable)

    with pytest.raises(Unavailable) as error:
        FileArchive(lost_replies).put(analysis(), predictions())
    assert not isinstance(error.value, OutcomeUnknown)


def test_the_outcome_of_a_write_is_unknown_if_the_analysis_without_event_cannot_be_deleted(
    lost_replies: LostReplies, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost_replies.num_written, lost_replies.num_failures = 2, 2
    monkeypatch.setattr(lost_replies, "delete", unavailable)
    archive = FileArchive(lost_replies, event_log(lost_replies))

    with pytest.raises(OutcomeUnknown, match="may have been stored"):
        archive.put(analysis(), predictions(), CREATION)
    assert archive.get("one") is not None


@pytest.mark.parametrize("num_written", [0, 1])
def test_a_write_that_was_not_applied_fails_and_leaves_no_predictions(
    lost_replies: LostReplies, num_written: int
) -> None:
    lost_replies.num_written = num_written

    with pytest.raises(Unavailable):
        FileArchive(lost_replies).put(analysis(), predictions())

    assert lost_replies.names() == set()


def test_a_failed_replacement_of_an_analysis_is_no_success(lost_replies: LostReplies) -> None:
    lost_replies.num_written = 2
    archive = FileArchive(lost_replies)
    archive.put(analysis(), predictions())
    lost_replies.num_written = 0

    with pytest.raises(Unavailable):
        archive.put(analysis(warnings=("new",)), predictions())

    assert archive.get("one") == analysis()
    assert archive.predictions("one") is not None


def test_a_path_in_an_id_does_not_reach_files_outside(tmp_path: Path) -> None:
    outside = FileArchive(FolderFiles(tmp_path))
    outside.put(analysis("secret"), predictions())
    archive = FileArchive(FolderFiles(tmp_path / "archive"))
    (tmp_path / "archive").mkdir()

    for id in ("../secret", f"{tmp_path}/secret", "./../secret", "x/../../secret"):
        assert (archive.get(id), archive.predictions(id), archive.delete(id)) == (None, None, False)
    assert outside.get("secret") is not None


def test_50_000_images_with_probabilities_take_at_most_400_kilobytes(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    chances = random.random(50_000).astype(np.float16)
    labels = {f"{number:02}": "x" * 256 for number in range(64)}
    original = analysis(request=AnalysisRequest("imagenet", "timm:m", labels=labels), warnings=("w" * 200,) * 5)

    FileArchive(FolderFiles(tmp_path)).put(
        original, Predictions(random.integers(0, 1000, 50_000).astype(np.int16), chances)
    )

    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 400_000
