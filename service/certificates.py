"""Certificates: the PEM files that secure what a server listens on. Replaced files are taken up without a restart."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from errata.errors import InvalidSetting

from service.storage import ChangingFile

MAX_FILE = 1 << 20  # bytes
_log = structlog.get_logger()


@dataclass(frozen=True)
class Pem:
    """What the files say now."""

    certificate: bytes  # the server's, and those between it and the root
    key: bytes = field(repr=False)
    client_ca: bytes | None  # whose certificates callers show; None: they needn't
    context: ssl.SSLContext  # made of the same


class Certificates:
    """The files of one listener. `load` first."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None = None) -> None:
        self._paths = {"ERRATA_TLS_CERTIFICATE": certificate, "ERRATA_TLS_KEY": key}
        if client_ca is not None:
            self._paths["ERRATA_TLS_CLIENT_CA"] = client_ca
        self._files = {name: ChangingFile(path, MAX_FILE) for name, path in self._paths.items()}

    def load(self) -> Pem:
        """Read the files; raise InvalidSetting for one that isn't there, or a key of another certificate."""
        content, wrong = {}, []
        for name, file in self._files.items():  # all of them, so that each is known as it is now
            try:
                content[name] = file.read()
            except OSError as error:
                wrong.append((name, error))
        if wrong:
            name, why = wrong[0]
            raise InvalidSetting(
                f"{name}: expected a PEM file, got {str(self._paths[name])!r:.200}: {why.strerror}", field=name
            ) from why
        return Pem(
            content["ERRATA_TLS_CERTIFICATE"],
            content["ERRATA_TLS_KEY"],
            content.get("ERRATA_TLS_CLIENT_CA"),
            self._context(),
        )

    def fresh(self) -> Pem | None:
        """Return what the files say if they have changed; None if not, or if they don't fit together (yet)."""
        if not any(file.changed() for file in self._files.values()):
            return None
        try:
            result = self.load()
        except InvalidSetting as error:
            _log.error("the certificate stays as it was", error=error.message)
            return None
        _log.info("certificate read")
        return result

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        name = "ERRATA_TLS_CERTIFICATE"
        try:
            context.load_cert_chain(self._paths["ERRATA_TLS_CERTIFICATE"], self._paths["ERRATA_TLS_KEY"])
            if "ERRATA_TLS_CLIENT_CA" in self._paths:
                name = "ERRATA_TLS_CLIENT_CA"
                context.load_verify_locations(self._paths[name])
                context.minimum_version = ssl.TLSVersion.TLSv1_3  # in which, without tickets, no session is resumed
                context.num_tickets = 0  # with the certificate of a CA that was replaced since
                context.verify_mode = ssl.CERT_OPTIONAL  # which calls need one is the table's to say
        except (OSError, ValueError) as error:  # SSLError is an OSError
            raise InvalidSetting(f"{name}: expected a certificate and its key: {error!s:.120}", field=name) from error
        return context
