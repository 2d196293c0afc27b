"""Values from the environment, and messages of services, that a client must reject or clean."""

import inspect
import io
import os
from pathlib import Path
from typing import BinaryIO, get_args

import pytest
from errata import Client, pb
from errata.channel import check_token
from errata.choices import enum_name
from errata.cli.folder import is_folder
from errata.cli.main import print_error, run
from errata.cli.value_names import creation_time
from errata.connection import check_address
from errata.enums import UnknownValue
from errata.environment import connection_settings
from errata.error_types import ErrorType
from errata.errors import InvalidInput, InvalidRequest, InvalidSetting
from errata.files import read_file
from errata.messages import MISSING


@pytest.mark.parametrize("token", ["secret\nline", "secr\udcff", "secrét", "s" * 5000])
def test_a_token_that_cannot_be_sent_is_rejected_without_its_text(token: str) -> None:
    with pytest.raises(InvalidRequest, match="ERRATA_TOKEN") as caught:
        check_token(token)

    assert token[:4] not in caught.value.message
    with pytest.raises(InvalidRequest):
        Client("localhost:1", token)


@pytest.mark.parametrize("address", ["h\udcff:1", "unix:\x1b[31m", "x" * 1000 + ":1"])
def test_an_address_that_is_not_printable_or_too_long_is_rejected(address: str) -> None:
    with pytest.raises(InvalidRequest, match="printable"):
        check_address(address)


def test_the_home_folder_of_an_unknown_user_is_rejected() -> None:
    with pytest.raises(InvalidSetting, match="ERRATA_CA_FILE"):
        connection_settings({"ERRATA_CA_FILE": "~no-such-user/ca.pem"})


def test_a_device_as_certificate_file_is_rejected() -> None:
    with pytest.raises(InvalidRequest, match="Not a regular file"):
        Client("localhost:1", ca_file="/dev/zero")


def test_a_file_without_a_size_is_read_up_to_the_limit() -> None:
    with pytest.raises(OSError, match="Larger"):
        read_file(Path("/proc/self/maps"), 10)


def test_files_are_read_on_systems_without_flags_of_unix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "O_NONBLOCK")
    (tmp_path / "policy.yaml").write_bytes(b"a\r\n")

    assert read_file(tmp_path / "policy.yaml", 10) == b"a\r\n"


def test_empty_text_is_not_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "summary.json").write_text("{}")
    monkeypatch.chdir(tmp_path)

    assert is_folder(".")
    assert not is_folder("")


@pytest.mark.parametrize(
    "command",
    [["analyze", "m", "--predictions"], ["analyze", "m", "--output"], ["analyze", "m", "--gate"], ["demo", "--output"]],
)
def test_an_empty_path_is_rejected(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command, ""]) == 2
    assert "The path is empty." in capsys.readouterr().err


@pytest.mark.parametrize("command", [["analyze", "m"], ["demo"]])
def test_a_folder_cannot_be_written_to_stdout(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run([*command, "--output", "-"]) == 2
    assert "--output is '-', but the result is a folder" in capsys.readouterr().err
    assert [*tmp_path.iterdir()] == []


def test_a_limit_beyond_the_largest_integer_is_rejected() -> None:
    assert run(["list", "--limit", "99999999999999999999"]) == 2


def test_error_messages_have_no_terminal_controls(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(InvalidInput("a\x1b[31m\x07\r"))

    assert not {"\x1b", "\x07", "\r"} & {*capsys.readouterr().err}


def test_values_of_a_newer_service_have_a_name_or_a_clear_error() -> None:
    analysis = pb.Analysis(state=99)  # type: ignore[arg-type]
    analysis.create_time.seconds = 2**62

    assert enum_name(pb.Analysis.State, analysis.state) == "unknown_99"
    assert creation_time(analysis) == MISSING
    with pytest.raises(UnknownValue, match="Upgrade"):
        ErrorType(99)


def text_arguments() -> list[tuple[str, str]]:
    """Return the name of each method of the client with the name of each argument that can be a text, but no path."""
    arguments = []
    for method, function in inspect.getmembers(Client, inspect.isfunction):
        for parameter in inspect.signature(function).parameters.values():
            types = {parameter.name: parameter.annotation}
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                types = get_args(parameter.annotation)[0].__annotations__
            texts = [
                name for name, kind in types.items() if kind is str or {str, BinaryIO} & {*get_args(kind)} == {str}
            ]
            arguments += [(method, name) for name in texts if method[:1] != "_"]
    return arguments


@pytest.mark.parametrize(("method", "argument"), text_arguments())
def test_a_text_that_cannot_be_sent_is_rejected_in_every_argument(method: str, argument: str) -> None:
    call = getattr(Client("127.0.0.1:1", attempts=1), method)
    required = {
        parameter.name: io.BytesIO() if BinaryIO in get_args(parameter.annotation) else "a"
        for parameter in inspect.signature(call).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    }

    text = "a\udc80.jpg"
    value = {"labels": {text: text}, "subset": [text]}.get(argument, text)
    with pytest.raises(InvalidRequest, match="udc80"):
        next(iter(call(**required | {argument: value})))
