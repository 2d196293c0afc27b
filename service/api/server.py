"""The gRPC server: the services, health, and reflection on one port."""

import asyncio
import errno
import resource
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import grpc
from errata.v1 import (
    analysis_service_pb2,
    analysis_service_pb2_grpc,
    catalog_service_pb2,
    catalog_service_pb2_grpc,
    evidence_service_pb2,
    evidence_service_pb2_grpc,
    review_service_pb2,
    review_service_pb2_grpc,
)
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from service.analyses.ports import Ports
from service.api.analysis_service import AnalysisService
from service.api.catalog_service import CatalogService
from service.api.downloads import FileSender
from service.api.evidence_service import EvidenceService
from service.api.interceptors import CallInterceptor
from service.api.review_service import ReviewService
from service.api.upload_receiver import UploadReceiver
from service.authorization import ALLOW_ALL, REFUSAL_REASONS, Authorizer
from service.bounded_executor import BoundedExecutor
from service.concurrency import ConcurrencyLimit, upload_seconds
from service.quotas import RequestQuota
from service.telemetry import SERVICE_FAULT_CODES, Metrics, initialize_series

MAX_CONNECTIONS, RESERVED_FILES = 2000, 640  # reserved: file descriptors for HTTP connections, the archive, and Redis
NUM_THREADS, FILE_THREADS = 8, 3  # separate, so that short calls do not wait for pieces of files
MAX_CALLS, RETRY_SECONDS = 64, 1.0  # running and waiting
OPTIONS = (
    ("grpc.so_reuseport", 0),  # a second server on the same port fails to start
    ("grpc.max_receive_message_length", 4 << 20),
    ("grpc.max_metadata_size", 16 << 10),
    ("grpc.max_concurrent_streams", 128),  # of one connection
    ("grpc.server_handshake_timeout_ms", 15_000),  # for clients that connect and send nothing
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),  # clients that ping more often are disconnected
    ("grpc.http2.max_ping_strikes", 2),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.max_connection_idle_ms", 2 * 60_000),  # clients reconnect automatically
    ("grpc.max_connection_age_ms", 60 * 60_000),  # distributes clients over new replicas
    ("grpc.max_connection_age_grace_ms", 15 * 60_000),  # longer than any call except a watch, which clients resume
)
SERVICES: Sequence[ServiceDescriptor] = tuple(
    service
    for file in (analysis_service_pb2, catalog_service_pb2, review_service_pb2, evidence_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
)


@dataclass(frozen=True)
class GrpcServer:
    """A gRPC server that is bound to `port`."""

    server: grpc.aio.Server
    calls: CallInterceptor
    analyses: AnalysisService
    uploads: UploadReceiver
    downloads: FileSender
    health: health.aio.HealthServicer
    port: int

    async def serve(self) -> None:
        """Start serving, and report the health of each service as SERVING."""
        await self.server.start()
        for name in service_names():
            await self.health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, grace: float) -> None:
        """Refuse new calls, and stop the server once open calls have ended.

        Args:
            grace: Seconds after which the server aborts calls that are still open. Uploads end shortly before, with a
                status that asks the client to send the file again.
        """
        await self.health.enter_graceful_shutdown()
        self.analyses.stop_watches()
        self.calls.end_streams()
        self.downloads.stop()
        end_uploads = asyncio.get_running_loop().call_later(upload_seconds(grace), self.uploads.end_uploads)
        await self.server.stop(grace)
        end_uploads.cancel()


def make_server(
    ports: Ports,
    metrics: Metrics,
    address: str,
    uploads: ConcurrencyLimit,
    authorizer: Authorizer = ALLOW_ALL,
    credentials: grpc.ServerCredentials | None = None,
    quota: RequestQuota | None = None,
) -> GrpcServer:
    """Create a server and bind it to an address; without credentials, it serves plain text.

    The pages share the limit on uploads.

    Raises:
        RuntimeError: The address is in use, or gRPC cannot use a file of the credentials.
    """
    if _is_in_use(address):
        raise RuntimeError(f"Cannot listen on {address}. Check whether another process uses the port.")
    initialize_series(metrics.rpc_handled, rpc_names(), SERVICE_FAULT_CODES)
    initialize_series(metrics.refused_calls, ["grpc"], REFUSAL_REASONS)
    calls = CallInterceptor(metrics, authorizer, quota)
    connections = ("grpc.max_allowed_incoming_connections", max_connections())
    server = grpc.aio.server(interceptors=[calls], options=(*OPTIONS, connections))
    limit = ConcurrencyLimit(MAX_CALLS, "calls", RETRY_SECONDS)
    executor = BoundedExecutor(NUM_THREADS, "call", limit)
    receiver, sender = UploadReceiver(uploads), FileSender(executor, BoundedExecutor(FILE_THREADS, "file", limit))
    analyses = AnalysisService(ports, executor, receiver, sender)
    reviews = ReviewService(ports, executor, receiver, sender)
    evidence = EvidenceService(ports, executor, receiver)
    analysis_service_pb2_grpc.add_AnalysisServiceServicer_to_server(analyses, server)
    catalog_service_pb2_grpc.add_CatalogServiceServicer_to_server(CatalogService(ports, executor), server)
    review_service_pb2_grpc.add_ReviewServiceServicer_to_server(reviews, server)
    evidence_service_pb2_grpc.add_EvidenceServiceServicer_to_server(evidence, server)
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    reflection.enable_server_reflection((*service_names()[1:], health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    port = server.add_insecure_port(address) if credentials is None else server.add_secure_port(address, credentials)
    return GrpcServer(server, calls, analyses, receiver, sender, servicer, port)


def _is_in_use(address: str) -> bool:
    """Return whether gRPC cannot listen because an IP address and port are in use; it would write a line to stderr.

    A host name can have several addresses, of which gRPC uses the free ones: False.
    """
    host, _, port = address.rpartition(":")
    host = "0.0.0.0" if host == "[::]" else host.strip("[]")  # noqa: S104 - gRPC uses it if only IPv6 is in use
    try:
        family, kind, protocol, _, name = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gRPC does
            probe.bind(name)
    except (OSError, UnicodeError) as error:  # UnicodeError: an invalid host name
        return isinstance(error, OSError) and error.errno == errno.EADDRINUSE
    return False


def max_connections() -> int:
    """Return the maximum number of open connections, which leaves RESERVED_FILES file descriptors for other uses."""
    return max(1, min(MAX_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - RESERVED_FILES))


def rpc_names() -> Sequence[str]:
    """Return the names of the RPCs of the package errata.v1."""
    return [method.name for service in SERVICES for method in service.methods]


def service_names() -> tuple[str, ...]:
    """Return the names for health checks: the empty name (the whole server) and the full names of the services."""
    return ("", *(service.full_name for service in SERVICES))
