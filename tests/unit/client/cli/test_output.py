"""Results at the path of --output."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from click import Command
from click.testing import CliRunner
from errata import Client, pb
from errata.cli.analyze import analyze
from errata.cli.folder import CLASSES, JUNIT, REPORT, SUMMARY, VERDICTS, clear_folder, write_folder
from errata.cli.gate import gate
from errata.cli.junit import to_junit
from errata.cli.output import check_outputs, write_output
from errata.cli.review import review
from errata.cli.trend import trend
from errata.connection import ConnectionFailed
from errata.errors import InvalidInput, InvalidPolicy, InvalidRequest


@pytest.mark.parametrize("name", ["loop", "loop/report.html"])
def test_loop_of_symbolic_links_is_bad_input(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")

    with pytest.raises(InvalidInput, match=r"Cannot write .*loop.*: Too many levels of symbolic links\."):
        write_output(tmp_path / name, b"x")


@pytest.mark.parametrize("name", ["loop", "loop/folder"])
def test_loop_of_symbolic_links_is_no_output_of_an_analysis(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    predictions = tmp_path / "a.csv"
    predictions.write_text("file_name,top1\n")

    error = CliRunner().invoke(analyze, ["--predictions", str(predictions), "--output", str(tmp_path / name)]).exception

    assert isinstance(error, InvalidInput)
    assert error.message.endswith("Too many levels of symbolic links.")


def test_two_documents_are_not_written_to_one_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    options = ["--junit", str(tmp_path / "file"), "--markdown", str(tmp_path / "link")]

    error = CliRunner().invoke(gate, ["a1", *options]).exception

    assert isinstance(error, InvalidRequest)
    assert error.message.startswith("Several documents would be written to")
    check_outputs(False, Path("/dev/null"), Path("/dev/null"))


def test_an_empty_file_of_reference_models_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()

    error = CliRunner().invoke(trend, ["a1", "--reference", str(tmp_path / "empty.csv")]).exception

    assert isinstance(error, InvalidInput)
    assert error.message.endswith("empty.csv is empty. Pass a CSV file of published models.")


def test_target_of_a_symbolic_link_is_replaced_and_keeps_its_mode(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    target.chmod(0o600)
    link.symlink_to(target)

    write_output(link, b"new")

    assert link.is_symlink()
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"new", 0o600)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (gate, ["a1", "--policy", "none"]),
        (trend, ["a1", "--reference", "none"]),
        (analyze, ["--predictions", __file__, "--subset", "none"]),
        (analyze, ["--predictions", __file__, "--answers-mapping", "none"]),
        (review, ["import", "products", "none"]),
    ],
)
def test_an_error_about_a_missing_file_has_a_remedy(command: Command, arguments: list[str]) -> None:
    error = CliRunner().invoke(command, arguments).exception

    assert isinstance(error, InvalidInput)
    assert error.message == "Cannot read none: No such file or directory. Check the path."


@pytest.mark.parametrize("content", [b"", b"\n", b"\xef\xbb\xbf", b"\xff\xfe"])
@pytest.mark.parametrize(
    ("command", "arguments"), [(gate, ["a1", "--policy"]), (analyze, ["--predictions", __file__, "--gate"])]
)
def test_an_empty_policy_is_refused_instead_of_replaced_by_the_stored_one(
    tmp_path: Path, command: Command, arguments: list[str], content: bytes
) -> None:
    (tmp_path / "empty.yaml").write_bytes(content)

    error = CliRunner().invoke(command, [*arguments, str(tmp_path / "empty.yaml"), "--server", "127.0.0.1:1"]).exception

    assert isinstance(error, InvalidPolicy)
    assert error.message == f"Policy {tmp_path}/empty.yaml is empty. Write a mapping with 'version' and 'bounds'."


def test_a_folder_without_a_policy_and_without_a_service_needs_a_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERRATA_SERVER", "127.0.0.1:1")
    (tmp_path / SUMMARY).write_text('{"name": "analyses/1m8gjjm78yatht4tadvh4"}')

    error = CliRunner().invoke(gate, [str(tmp_path)]).exception

    assert isinstance(error, ConnectionFailed)
    assert error.message.startswith("No service at 127.0.0.1:1.")
    assert error.message.endswith(f" To evaluate the folder {tmp_path} without a service, pass --policy FILE.")
    error = CliRunner().invoke(gate, [str(tmp_path), "--server", "127.0.0.1:1"]).exception
    assert isinstance(error, ConnectionFailed) and "--policy" not in error.message  # it would not help


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (gate, ["a1", "--junit", "-", "--json"]),
        (gate, ["a1", "--markdown", "-", "--json"]),
        (gate, ["a1", "--markdown", "-", "--junit", "-"]),
        (analyze, ["timm:m", "--gate", "policy.yaml", "--markdown", "-", "--json"]),
    ],
)
def test_several_documents_on_stdout_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command, options: list[str]
) -> None:
    """Otherwise none of them could be read."""
    monkeypatch.chdir(tmp_path)
    Path("policy.yaml").write_text("version: 1")

    with pytest.raises(InvalidRequest, match="Several documents would be written to stdout"):
        CliRunner().invoke(command, options, catch_exceptions=False)


def test_a_result_that_cannot_be_written_whole_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_at_report(path: Path, content: bytes) -> None:
        if path.name == REPORT:
            raise InvalidInput("No space left on device.")
        path.write_bytes(content)

    monkeypatch.setattr("errata.cli.folder.write_output", fail_at_report)
    (tmp_path / REPORT).write_text("of another command")
    client = SimpleNamespace(classes=lambda *_: [], export=lambda _: [b"{}"], report=lambda _: b"<html>")

    with pytest.raises(InvalidInput):
        write_folder(cast(Client, client), pb.Analysis(name="analyses/1m8gjjm78yatht4tadvh4"), tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == [REPORT]
    assert (tmp_path / REPORT).read_text() == "of another command"


def test_further_results_keep_the_links_and_permissions_of_their_files(tmp_path: Path) -> None:
    client = cast(Client, SimpleNamespace(classes=lambda *_: [], export=lambda _: [b"{}"], report=lambda _: b"<html>"))
    write_folder(client, pb.Analysis(name="analyses/1m8gjjm78yatht4tadvh4"), tmp_path / "results")
    (tmp_path / REPORT).write_text("published")
    (tmp_path / "results" / REPORT).unlink()
    (tmp_path / "results" / REPORT).symlink_to(tmp_path / REPORT)
    (tmp_path / "results" / VERDICTS).chmod(0o600)

    write_folder(client, pb.Analysis(name="analyses/1m8tvbbb7sc3jtazjymry"), tmp_path / "results")

    assert (tmp_path / REPORT).read_text() == "<html>"
    assert (tmp_path / "results" / VERDICTS).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("summary", "keeps_result", "remaining"),
    [
        ('{"name": "analyses/1m8gjjm78yatht4tadvh4"}', False, set()),
        ('{"name": "analyses/1m8gjjm78yatht4tadvh4"}', True, {SUMMARY, VERDICTS, REPORT, CLASSES}),
        ('{"name": "resnet50", "accuracy": 0.76}', False, {SUMMARY, VERDICTS, REPORT, CLASSES}),
        ('{"name": "analyses/1m8gjjm78yatht4tadvh4", "state": Infinity}', False, {SUMMARY, VERDICTS, REPORT, CLASSES}),
        (None, False, {VERDICTS, REPORT, CLASSES}),
    ],
)
def test_only_the_results_of_an_earlier_analysis_are_removed(
    tmp_path: Path, summary: str | None, keeps_result: bool, remaining: set[str]
) -> None:
    for name in (VERDICTS, REPORT, CLASSES, "notes.txt"):
        (tmp_path / name).write_text("content")
    (tmp_path / JUNIT).write_bytes(to_junit(pb.GateResult(), "resnet50"))
    if summary is not None:
        (tmp_path / SUMMARY).write_text(summary)

    clear_folder(tmp_path, keeps_result=keeps_result)

    assert {path.name for path in tmp_path.iterdir()} == {*remaining, "notes.txt"}


@pytest.mark.parametrize("content", [b"", b'<?xml version="1.0"?><testsuites><testsuite name="pytest"/></testsuites>'])
def test_the_junit_file_of_another_program_stays(tmp_path: Path, content: bytes) -> None:
    (tmp_path / JUNIT).write_bytes(content)
    client = cast(Client, SimpleNamespace(classes=lambda *_: [], export=lambda _: [b"{}"], report=lambda _: b"<html>"))

    clear_folder(tmp_path)
    write_folder(client, pb.Analysis(name="analyses/1m8gjjm78yatht4tadvh4"), tmp_path)
    clear_folder(tmp_path)

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {JUNIT: content}


def test_a_junit_file_that_cannot_be_read_is_taken_for_that_of_a_gate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise, an earlier PASS would stay. Root can read all files, so the error is simulated."""

    def refuse(*_: object, **__: object) -> bool:
        raise PermissionError

    for name in ("is_file", "open"):
        (tmp_path / JUNIT).write_text("<testsuites/>")
        with monkeypatch.context() as patch:
            patch.setattr(Path, name, refuse)
            clear_folder(tmp_path)
        assert not (tmp_path / JUNIT).exists()


def test_a_result_whose_earlier_gate_cannot_be_removed_has_no_files(tmp_path: Path) -> None:
    client = cast(Client, SimpleNamespace(classes=lambda *_: [], export=lambda _: [b"{}"], report=lambda _: b"<html>"))
    write_folder(client, pb.Analysis(name="analyses/1m8gjjm78yatht4tadvh4"), tmp_path)
    (tmp_path / JUNIT).mkdir()

    with pytest.raises(InvalidInput, match=r"Cannot replace \S+junit\.xml"):
        write_folder(client, pb.Analysis(name="analyses/1m8tvbbb7sc3jtazjymry"), tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == [JUNIT]
