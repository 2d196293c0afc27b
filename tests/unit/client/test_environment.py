"""Connection settings from environment variables."""

from pathlib import Path

import pytest
from errata import errors
from errata.environment import DEFAULT_SERVER, ConnectionSettings, connection_settings

ALL = {
    "ERRATA_SERVER": "errata.example:443",
    "ERRATA_TOKEN": "t0k3n",
    "ERRATA_TLS": "true",
    "ERRATA_CA_FILE": "/etc/ca.pem",
    "ERRATA_CLIENT_CERTIFICATE": "/etc/client.pem",
    "ERRATA_CLIENT_KEY": "/etc/client.key",
}


def test_every_variable_is_read() -> None:
    expected = ConnectionSettings(
        "errata.example:443", "t0k3n", True, Path("/etc/ca.pem"), Path("/etc/client.pem"), Path("/etc/client.key")
    )

    assert connection_settings(ALL) == expected


@pytest.mark.parametrize("environ", [{}, dict.fromkeys(ALL, "")])
def test_unset_and_empty_variables_have_defaults(environ: dict[str, str]) -> None:
    assert connection_settings(environ) == ConnectionSettings(DEFAULT_SERVER)


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERRATA_SERVER", "elsewhere:1")

    assert connection_settings().server == "elsewhere:1"


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("TRUE", True), ("1", True), ("false", False), ("0", False)]
)
def test_booleans_are_true_false_1_or_0_in_any_case(text: str, value: bool) -> None:
    assert connection_settings({"ERRATA_TLS": text}).tls is value


def test_a_value_that_is_no_boolean_is_rejected() -> None:
    with pytest.raises(errors.InvalidSetting, match="ERRATA_TLS is 'maybe'"):
        connection_settings({"ERRATA_TLS": "maybe"})


def test_a_path_may_start_with_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")

    assert connection_settings({"ERRATA_CA_FILE": "~/ca.pem"}).ca_file == Path("/home/someone/ca.pem")
