"""Connection settings that the client and the `errata` command read from environment variables."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from errata.errors import InvalidSetting

DEFAULT_SERVER = "127.0.0.1:50051"
_TRUE, _FALSE = ("1", "on", "true", "yes"), ("", "0", "off", "false", "no")


@dataclass(frozen=True)
class ConnectionSettings:
    """The address of a service, and the credentials for it."""

    server: str = DEFAULT_SERVER  # host:port
    token: str | None = None  # bearer token
    tls: bool = False
    ca_file: Path | None = None  # PEM, instead of the system's certificate authorities
    certificate: Path | None = None  # PEM, of the client
    key: Path | None = None  # PEM, of `certificate`


def connection_settings(environ: Mapping[str, str] | None = None) -> ConnectionSettings:
    """Read the connection settings. An empty variable counts as unset.

    Args:
        environ: The variables; the process environment if omitted.

    Returns:
        The values of `ERRATA_SERVER`, `ERRATA_TOKEN`, `ERRATA_TLS`, `ERRATA_CA_FILE`, `ERRATA_CLIENT_CERTIFICATE`,
        and `ERRATA_CLIENT_KEY`, with defaults for those that are unset.

    Raises:
        InvalidSetting: If `ERRATA_TLS` is not a boolean, or a path has an unknown `~user`.
    """
    variables = os.environ if environ is None else environ

    def path(name: str) -> Path | None:
        value = variables.get(name)
        if not value:
            return None
        try:
            return Path(value).expanduser()
        except RuntimeError as error:  # there is no such user
            raise InvalidSetting(
                f"{name} is {value!r:.200}. There is no such user. Use another path.", field=name
            ) from error

    return ConnectionSettings(
        server=variables.get("ERRATA_SERVER") or DEFAULT_SERVER,
        token=variables.get("ERRATA_TOKEN") or None,
        tls=_boolean("ERRATA_TLS", variables.get("ERRATA_TLS", "")),
        ca_file=path("ERRATA_CA_FILE"),
        certificate=path("ERRATA_CLIENT_CERTIFICATE"),
        key=path("ERRATA_CLIENT_KEY"),
    )


def _boolean(name: str, value: str) -> bool:
    if value.lower() not in _TRUE + _FALSE:
        raise InvalidSetting(f"{name} is {value!r:.40}. Expected 'true' or 'false'.", field=name)
    return value.lower() in _TRUE
