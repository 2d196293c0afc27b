"""What secures the gRPC server: its certificate, and the CA of its callers' certificates, as the files are now."""

import grpc

from service.certificates import Certificates, Pem


def server_credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """Return credentials that take up replaced files; raise InvalidSetting for files that can't be used.

    Where a CA is given, who shows no certificate of it gets no connection.
    """
    first = certificates.load()

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        fresh = certificates.reload()
        return None if fresh is None else _configuration(fresh)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(first),
        fetch,  # type: ignore[arg-type]  # None is its word for no change
        require_client_authentication=first.client_ca is not None,
    )


def _configuration(pem: Pem) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pem.key, pem.certificate)], pem.client_ca)
