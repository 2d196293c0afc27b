"""Security of the listeners: tokens, TLS certificates, and the check of bind addresses."""

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog
from errata.errors import InvalidSetting
from errata.tokens import Quota

from service.authorization import Authorizer, Tokens
from service.certificates import Certificates
from service.settings import Settings

_log = structlog.get_logger()


@dataclass(frozen=True)
class Security:
    """The authorizer and the certificates of a process."""

    authorizer: Authorizer
    certificates: Callable[[], Certificates | None]  # returns a new instance, since each listener needs its own
    allow_insecure: bool

    def check(self, hosts: Mapping[str, str]) -> None:
        """Check that callers from other machines need a token, unless the operator allows calls without a token.

        Args:
            hosts: Variable of the setting -> host to bind to.

        Raises:
            InvalidSetting: A host is not loopback, and there are no tokens.
        """
        public_hosts = {variable: host for variable, host in hosts.items() if not is_loopback(host)}
        if not public_hosts:
            return
        if self.authorizer.tokens is None and not self.allow_insecure:
            variable, host = next(iter(public_hosts.items()))
            raise InvalidSetting(
                f"{variable}: the host {host!r} is not loopback, and callers need no token. Set ERRATA_TOKENS "
                "(`errata token` creates a token), or set ERRATA_ALLOW_INSECURE=true to allow calls without tokens.",
                field=variable,
            )
        if self.authorizer.tokens is not None and self.certificates() is None:
            _log.warning("tokens are sent in plain text: set ERRATA_TLS_CERTIFICATE or use a proxy with TLS")


def make_api_security(settings: Settings) -> Security:
    """Return the security of the API's listeners.

    Raises:
        InvalidSetting: A file is invalid, or an address must not be used without tokens.
    """
    security = make_security(settings, is_for_grpc=True)
    addresses = {"ERRATA_GRPC_ADDRESS": settings.grpc_address, "ERRATA_HTTP_ADDRESS": settings.http_address}
    security.check({variable: split_address(address)[0] for variable, address in addresses.items()})
    return security


def make_security(settings: Settings, *, is_for_grpc: bool) -> Security:
    """Return the security of a process; raise InvalidSetting if a file is missing or invalid."""
    paths = {
        "ERRATA_TLS_CERTIFICATE": settings.tls_certificate,
        "ERRATA_TLS_KEY": settings.tls_key,
    }
    missing = [name for name, path in paths.items() if path is None]
    if missing and (len(missing) < len(paths) or settings.tls_client_ca is not None):
        raise InvalidSetting(
            f"{missing[0]} is missing. Set it together with the other ERRATA_TLS_ variables.", field=missing[0]
        )
    tokens = None if settings.tokens is None else Tokens(settings.tokens)
    if tokens is not None:
        tokens.load()
    elif settings.isolate_owners:
        raise InvalidSetting(
            "ERRATA_ISOLATE_OWNERS needs tokens, which identify the owners. Set ERRATA_TOKENS, or unset "
            "ERRATA_ISOLATE_OWNERS.",
            field="ERRATA_ISOLATE_OWNERS",
        )

    def certificates() -> Certificates | None:
        if settings.tls_certificate is None or settings.tls_key is None:
            return None
        return Certificates(settings.tls_certificate, settings.tls_key, settings.tls_client_ca, is_for_grpc=is_for_grpc)

    if (initial := certificates()) is not None:
        initial.load()
    authorizer = Authorizer(
        tokens,
        settings.tls_client_ca is not None,
        Quota(settings.token_requests, settings.token_open),
        settings.isolate_owners,
    )
    return Security(authorizer, certificates, settings.allow_insecure)


def is_loopback(host: str) -> bool:
    """Return whether a host is a loopback address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def split_address(address: str) -> tuple[str, int]:
    """Split `host:port`."""
    host, _, port = address.rpartition(":")
    return host, int(port)
