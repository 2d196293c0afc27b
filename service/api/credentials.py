"""TLS credentials of the gRPC server, reloaded when their files change."""

import grpc

from service.certificates import Certificates, Pem


def server_credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """Return credentials that follow changes of the certificate files.

    With a client CA, the TLS handshake fails for clients without a certificate that the CA signed.

    Raises:
        InvalidSetting: A file can't be read or isn't a certificate or key.
    """
    initial = certificates.load()

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        changed = certificates.reload()
        return None if changed is None else _to_configuration(changed)

    return grpc.dynamic_ssl_server_credentials(
        _to_configuration(initial),
        fetch,  # type: ignore[arg-type]  # gRPC accepts None: the configuration did not change
        require_client_authentication=initial.client_ca is not None,
    )


def _to_configuration(pem: Pem) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pem.key, pem.certificate)], pem.client_ca)
