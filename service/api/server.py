"""The gRPC server: services, health and reflection on one port."""

import resource
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc
from errata.v1 import errata_pb2, errata_pb2_grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from service.analyses.ports import Ports
from service.api.analysis_service import AnalysisService
from service.api.catalog_service import CatalogService
from service.api.executors import Executors
from service.api.interceptors import CallInterceptor
from service.authorization import ALLOW_ALL, Authorizer
from service.telemetry import FAILURES, Metrics, at_zero

MOST_CONNECTIONS, OTHER_FILES = 2000, 640
OPTIONS = (
    ("grpc.so_reuseport", 0),  # a second server on the same port is an error, not a surprise
    ("grpc.max_receive_message_length", 4 << 20),
    ("grpc.max_metadata_size", 16 << 10),
    ("grpc.max_concurrent_streams", 128),  # of one connection
    ("grpc.server_handshake_timeout_ms", 15_000),  # for who connects and says nothing
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),  # who pings more often is sent away
    ("grpc.http2.max_ping_strikes", 2),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.max_connection_idle_ms", 2 * 60_000),  # clients connect again by themselves
    ("grpc.max_connection_age_ms", 60 * 60_000),  # so that clients find replicas that are new
    ("grpc.max_connection_age_grace_ms", 15 * 60_000),  # longer than any call but a watch, which goes on elsewhere
)


@dataclass(frozen=True)
class GrpcServer:
    """A server that listens on `port`."""

    server: grpc.aio.Server
    calls: CallInterceptor
    analyses: AnalysisService
    health: health.aio.HealthServicer
    port: int

    async def serve(self) -> None:
        """Start to answer, and say so per service."""
        await self.server.start()
        for name in service_names():
            await self.health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, grace: float) -> None:
        """Refuse new calls at once, give those in hand `grace` seconds."""
        await self.health.enter_graceful_shutdown()
        self.analyses.stop_watches()
        self.calls.end_watches()
        await self.server.stop(grace)


def make_server(
    ports: Ports,
    metrics: Metrics,
    address: str,
    max_uploads: int,
    access: Authorizer = ALLOW_ALL,
    credentials: grpc.ServerCredentials | None = None,
) -> GrpcServer:
    """Return a server bound to an address, in plain text without credentials; raise RuntimeError if it is taken."""
    at_zero(metrics.rpc_handled, rpc_names(), FAILURES)
    calls = CallInterceptor(metrics, access)
    connections = ("grpc.max_allowed_incoming_connections", most_connections())
    server = grpc.aio.server(interceptors=[calls], options=(*OPTIONS, connections))
    readers = Executors()
    uploaders = ThreadPoolExecutor(max_uploads, thread_name_prefix="uploader")
    analyses = AnalysisService(ports, readers, uploaders, max_uploads)
    errata_pb2_grpc.add_AnalysisServiceServicer_to_server(analyses, server)
    errata_pb2_grpc.add_CatalogServiceServicer_to_server(CatalogService(ports, readers), server)
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    reflection.enable_server_reflection((*service_names()[1:], health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    port = server.add_insecure_port(address) if credentials is None else server.add_secure_port(address, credentials)
    return GrpcServer(server, calls, analyses, servicer, port)


def most_connections() -> int:
    """Return how many connections may be open: as many as leave files for those of HTTP and for all else."""
    return max(1, min(MOST_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - OTHER_FILES))


def rpc_names() -> Sequence[str]:
    """Return the names of Errata's own RPCs."""
    services = errata_pb2.DESCRIPTOR.services_by_name.values()
    return [method.name for service in services for method in service.methods]


def service_names() -> tuple[str, ...]:
    """Return the full names of Errata's services, and the empty name that stands for the server."""
    services = errata_pb2.DESCRIPTOR.services_by_name.values()
    return ("", *(service.full_name for service in services))
