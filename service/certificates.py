"""PEM files of TLS servers. Replaced files are loaded without a restart."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import structlog
from asn1crypto import pem, x509
from errata.errors import InvalidSetting

from service.storage import WatchedFile

# Server certificates of other types fail in the TLS library of gRPC (BoringSSL), some only when a client connects.
GRPC_KEY_TYPES = {"rsa": "RSA", "secp256r1": "P-256", "secp384r1": "P-384"}
_log = structlog.get_logger()


@dataclass(frozen=True)
class Pem:
    """Content of the files."""

    certificate: bytes  # certificate of the server and its intermediate certificates
    key: bytes = field(repr=False)
    client_ca: bytes | None  # verifies client certificates; None: clients need no certificate
    context: ssl.SSLContext  # TLS context with the same content


class Certificates:
    """The PEM files of one server. Call `load` first.

    Args:
        certificate: The certificate of the server and its intermediate certificates.
        key: The private key of the certificate.
        client_ca: The certificates that verify client certificates; None: clients need no certificate.
        is_for_grpc: Whether gRPC uses the certificate, which supports fewer types of keys.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None = None, *, is_for_grpc: bool) -> None:
        self._is_for_grpc = is_for_grpc
        self._paths = {"ERRATA_TLS_CERTIFICATE": certificate, "ERRATA_TLS_KEY": key}
        if client_ca is not None:
            self._paths["ERRATA_TLS_CLIENT_CA"] = client_ca
        self._files = {name: WatchedFile(path) for name, path in self._paths.items()}

    def load(self) -> Pem:
        """Read the files.

        Raises:
            InvalidSetting: If a file cannot be read, if the key is encrypted or belongs to another certificate, or if
                gRPC cannot use its type.
        """
        content, failures = {}, []
        for name, file in self._files.items():  # read all files, so that `has_changed` compares with their latest state
            try:
                content[name] = file.read()
            except OSError as error:
                failures.append((name, error))
        if failures:
            name, failure = failures[0]
            raise InvalidSetting(
                f"{name}: cannot read {str(self._paths[name])!r:.200}: {failure.strerror}. Expected a PEM file.",
                field=name,
            ) from failure
        context = self._context()
        if self._is_for_grpc:
            _check_key_type(content["ERRATA_TLS_CERTIFICATE"])
        return Pem(
            content["ERRATA_TLS_CERTIFICATE"], content["ERRATA_TLS_KEY"], content.get("ERRATA_TLS_CLIENT_CA"), context
        )

    def reload(self) -> Pem | None:
        """Return the content of all files if one has changed; None if no file has changed or a file is invalid."""
        if not any(file.has_changed() for file in self._files.values()):
            return None
        try:
            pem = self.load()
        except InvalidSetting as error:
            _log.error("certificate reload failed", error=error.message)
            return None
        _log.info("certificate reloaded")
        return pem

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        name = "ERRATA_TLS_CERTIFICATE"
        try:
            context.load_cert_chain(
                self._paths["ERRATA_TLS_CERTIFICATE"], self._paths["ERRATA_TLS_KEY"], _refuse_encrypted_key
            )
            if "ERRATA_TLS_CLIENT_CA" in self._paths:
                name = "ERRATA_TLS_CLIENT_CA"
                context.load_verify_locations(self._paths[name])
                # A resumed session would skip the check against a replaced CA. TLS 1.3 without tickets prevents that.
                context.minimum_version = ssl.TLSVersion.TLSv1_3
                context.num_tickets = 0
                context.verify_mode = ssl.CERT_OPTIONAL  # the permission table decides which calls need a certificate
        except (OSError, ValueError) as error:  # SSLError is an OSError
            raise InvalidSetting(
                f"{name}: the certificate cannot be loaded: {error!s:.120}. Check that the PEM file is complete, and "
                "that the key belongs to the certificate.",
                field=name,
            ) from error
        return context


def _refuse_encrypted_key() -> NoReturn:
    """Raise an error instead of returning a passphrase; without this callback, OpenSSL asks for it on the terminal."""
    raise InvalidSetting(
        "ERRATA_TLS_KEY: the key is encrypted. Decrypt it, for example with `openssl pkey -in KEY -out DECRYPTED`.",
        field="ERRATA_TLS_KEY",
    )


def _check_key_type(certificate: bytes) -> None:
    """Raise InvalidSetting if gRPC cannot use the key of a server certificate."""
    try:
        blocks = pem.unarmor(certificate, multiple=True)
        content = next(content for kind, _, content in blocks if kind.endswith("CERTIFICATE"))
        key = x509.Certificate.load(content).public_key
        key_type = key.algorithm
        if key_type == "ec":
            form, curve = key.curve
            key_type = curve if form == "named" else "elliptic curve with explicit parameters"
    except (ValueError, TypeError, StopIteration) as error:
        raise InvalidSetting(
            f"ERRATA_TLS_CERTIFICATE: the certificate cannot be read: {error!s:.120}. Expected a PEM file with "
            "'BEGIN CERTIFICATE'.",
            field="ERRATA_TLS_CERTIFICATE",
        ) from error
    if key_type not in GRPC_KEY_TYPES:
        raise InvalidSetting(
            f"ERRATA_TLS_CERTIFICATE: gRPC cannot use a key of the type {key_type}. Use one of "
            f"{', '.join(GRPC_KEY_TYPES.values())}.",
            field="ERRATA_TLS_CERTIFICATE",
        )
