"""Analyses by the start of their ID, by display name, and by folder."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from errata import pb
from errata.cli.resolve import resolve
from errata.connection import ConnectionFailed
from errata.errors import AnalysisNotFound, InvalidRequest, Unavailable

IDS = ["1m8gjjm78yatht4tadvh4", "1m8gjjkxrqyt3n2nkhj47", "1m8gjjkxaqyt3n2nkhj47"]
NAMES = ["resnet50", "predictions.csv", "predictions.csv"]


class FakeService:
    """Lists analyses as a service does; an old one ignores the conditions that it does not know."""

    def __init__(self, is_old: bool = False, is_incomplete: bool = False) -> None:
        self.requests = 0
        self._is_old = is_old
        self._is_incomplete = is_incomplete

    def list(self, on_incomplete: Callable[[], None], **conditions: str) -> Iterator[pb.Analysis]:
        condition = pb.AnalysisFilter(**conditions)
        self.requests += 1
        if self._is_incomplete:
            on_incomplete()
        for identifier, name in zip(IDS, NAMES, strict=True):
            matches = identifier.startswith(condition.id_prefix) and condition.display_name in ("", name)
            if self._is_old or matches:
                yield pb.Analysis(name=f"analyses/{identifier}", display_name=name, dataset="demo")


def resolved(text: str, service: Any = None) -> str:
    return resolve(service or FakeService(), text)


@pytest.mark.parametrize("is_old", [False, True])
@pytest.mark.parametrize("text", ["1m8gjjm", "analyses/1m8gjjm", IDS[0], f"analyses/{IDS[0]}", "resnet50"])
def test_an_analysis_has_an_id_a_start_of_it_and_a_display_name(text: str, is_old: bool) -> None:
    assert resolved(text, FakeService(is_old)) == f"analyses/{IDS[0]}"


def test_a_whole_id_needs_no_request() -> None:
    service = FakeService()

    assert resolved(IDS[2], service) == f"analyses/{IDS[2]}"
    assert service.requests == 0


@pytest.mark.parametrize("text", ["1m8gjjm", "resnet50"])
def test_only_a_whole_id_is_resolved_while_analyses_can_be_missing(text: str) -> None:
    service = FakeService(is_incomplete=True)

    with pytest.raises(Unavailable, match=r"Analyses can be missing.* Use the whole ID"):
        resolved(text, service)
    assert resolved(IDS[0], service) == f"analyses/{IDS[0]}"


@pytest.mark.parametrize("text", ["1m8gjjkx", "1"])
def test_an_ambiguous_text_is_rejected_with_the_candidates(text: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        resolved(text)

    assert IDS[1] in error.value.message
    assert IDS[2] in error.value.message
    assert (IDS[0] in error.value.message) == (text == "1")


@pytest.mark.parametrize("is_old", [False, True])
def test_of_analyses_with_the_same_display_name_the_newest_is_used(
    is_old: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert resolved("predictions.csv", FakeService(is_old)) == f"analyses/{IDS[1]}"  # the service lists it first

    output = capsys.readouterr()
    assert output.err == f"'predictions.csv' is the newest of 2 analyses with this name: {IDS[1]}\n"
    assert output.out == ""


def test_the_number_of_analyses_with_a_name_is_bounded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("errata.cli.resolve.MAX_CANDIDATES", 1)

    assert resolved("predictions.csv") == f"analyses/{IDS[1]}"
    assert "the newest of more than 1 analyses" in capsys.readouterr().err


def test_a_name_that_is_also_the_start_of_an_id_is_ambiguous(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.NAMES", ["1m8gjjkx", *NAMES[1:]])

    with pytest.raises(InvalidRequest, match="Several analyses match"):
        resolved("1m8gjjkx")


def test_a_command_that_cannot_be_undone_needs_a_unique_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InvalidRequest) as error:
        resolve(FakeService(), "predictions.csv", unique=True)  # type: ignore[arg-type]

    assert IDS[1] in error.value.message and IDS[2] in error.value.message
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("text", ["zzz", "resnet", "analyses/zzz", "", "../x", "predictions"])
def test_a_text_that_matches_nothing_is_not_found(text: str) -> None:
    with pytest.raises(AnalysisNotFound, match="not found"):
        resolved(text)


def test_a_folder_is_the_analysis_that_it_was_written_from(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps({"name": f"analyses/{IDS[1]}"}))

    assert resolved(str(tmp_path)) == f"analyses/{IDS[1]}"


def test_without_a_service_an_error_names_an_argument_that_can_be_a_wrong_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ClosedService:
        def list(self, **conditions: str) -> Iterator[pb.Analysis]:
            raise ConnectionFailed("No service at 127.0.0.1:1.")

    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    for text, problem in (("empty", "'empty' is not a folder"), ("out/model", "'out/model' is not a folder")):
        with pytest.raises(ConnectionFailed, match=rf"^{problem} .*\. No service at 127\.0\.0\.1:1\.$"):
            resolved(text, ClosedService())
    for text in ("resnet50", "analyses/1m8gjjm", "x" * 300):
        with pytest.raises(ConnectionFailed, match=r"^No service at 127\.0\.0\.1:1\.$"):
            resolved(text, ClosedService())
