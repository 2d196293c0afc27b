"""The door: what callers must show, how what is listened on is secured, and which addresses may be listened on."""

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog
from errata.errors import InvalidSetting

from service.authorization import Authorizer, Tokens
from service.certificates import Certificates
from service.settings import Settings

_log = structlog.get_logger()


@dataclass(frozen=True)
class Security:
    """How a process lets callers in."""

    access: Authorizer
    certificates: Callable[[], Certificates | None]  # for a listener of its own each
    allow_insecure: bool

    def check(self, addresses: Mapping[str, str]) -> None:
        """Raise InvalidSetting for an address beyond loopback without tokens, unless the operator allows it.

        addresses: hosts by the variable that names them.
        """
        beyond = {variable: host for variable, host in addresses.items() if not is_loopback(host)}
        if not beyond:
            return
        if self.access.tokens is None and not self.allow_insecure:
            variable, host = next(iter(beyond.items()))
            raise InvalidSetting(
                f"{variable}: expected a loopback address, since callers show no tokens, got {host!r}: set "
                "ERRATA_TOKENS (`errata token` makes one); ERRATA_ALLOW_INSECURE=true listens there without",
                field=variable,
            )
        if self.access.tokens is not None and self.certificates() is None:
            _log.warning("tokens come in plain text: let something in front speak TLS, or set ERRATA_TLS_CERTIFICATE")


def open_security(settings: Settings) -> Security:
    """Return the door of the API; raise InvalidSetting for what isn't safe to listen on, or can't be used."""
    security = make_security(settings)
    addresses = {"ERRATA_GRPC_ADDRESS": settings.grpc_address, "ERRATA_HTTP_ADDRESS": settings.http_address}
    security.check({variable: split(address)[0] for variable, address in addresses.items()})
    return security


def make_security(settings: Settings) -> Security:
    """Return the door that the settings ask for; raise InvalidSetting for files that can't be used."""
    given = {
        "ERRATA_TLS_CERTIFICATE": settings.tls_certificate,
        "ERRATA_TLS_KEY": settings.tls_key,
    }
    missing = [name for name, path in given.items() if path is None]
    if missing and (len(missing) < len(given) or settings.tls_client_ca is not None):
        raise InvalidSetting(
            f"{missing[0]}: expected a file beside the other ERRATA_TLS_ ones, got none", field=missing[0]
        )
    tokens = None if settings.tokens is None else Tokens(settings.tokens)
    if tokens is not None:
        tokens.load()

    def certificates() -> Certificates | None:
        if settings.tls_certificate is None or settings.tls_key is None:
            return None
        return Certificates(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)

    if (result := certificates()) is not None:
        result.load()
    return Security(Authorizer(tokens, settings.tls_client_ca is not None), certificates, settings.allow_insecure)


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def split(address: str) -> tuple[str, int]:
    """Return host and port of `host:port`."""
    host, _, port = address.rpartition(":")
    return host, int(port)
