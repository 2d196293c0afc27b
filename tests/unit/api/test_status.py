"""The mapping of errors to statuses and back, also over a real connection."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from errata import Client, error_of, errors
from errata import v1 as pb
from errata.connection import UnknownMethod
from errata.errors import ErrataError, InvalidRequest, InvalidRow, ModelNotFound, TooBusy, Violation
from errata.v1 import analysis_service_pb2_grpc
from example_counts import max_examples
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from unit.test_errors import ALL

from service.api.interceptors import CallInterceptor
from service.api.status import DOMAIN, code_of, internal_status, status_of
from service.authorization import ALLOW_ALL
from service.redact import redact
from service.telemetry import Metrics

# The codes that the proto documents.
CODES = {
    errors.InvalidInput: "INVALID_ARGUMENT",
    errors.NotFound: "NOT_FOUND",
    errors.AlreadyExists: "ALREADY_EXISTS",
    errors.NotReady: "FAILED_PRECONDITION",
    errors.TooLarge: "RESOURCE_EXHAUSTED",
    errors.TooBusy: "RESOURCE_EXHAUSTED",
    errors.Unavailable: "UNAVAILABLE",
    errors.Unauthenticated: "UNAUTHENTICATED",
    errors.PermissionDenied: "PERMISSION_DENIED",
    errors.Cancelled: "CANCELLED",
    errors.PermanentError: "FAILED_PRECONDITION",
}
BELOW_THE_ROOT = [kind for kind in ALL if kind is not ErrataError]


def detail(status: Status, kind: Any) -> Any:
    """Return the only detail of a type, or None."""
    result = []
    for item in status.details:
        message = kind()
        if item.Unpack(message):
            result.append(message)
    assert len(result) <= 1
    return result[0] if result else None


class FailedCall(grpc.RpcError, grpc.Call):
    """A failed call with a status."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def code(self) -> grpc.StatusCode:
        return next(item for item in grpc.StatusCode if item.value[0] == self._status.code)

    def details(self) -> str:
        return self._status.message

    def trailing_metadata(self) -> Any:
        return (("grpc-status-details-bin", self._status.SerializeToString()),)

    initial_metadata = is_active = time_remaining = cancel = add_callback = None


FailedCall.__abstractmethods__ = frozenset()


def round_trip(error: ErrataError) -> ErrataError:
    return error_of(FailedCall(status_of(error)), "somewhere:1")


@pytest.mark.parametrize("kind", BELOW_THE_ROOT)
def test_every_class_has_the_code_of_its_branch(kind: type[ErrataError]) -> None:
    branch = next(item for item in kind.__mro__ if item in CODES)

    assert code_of(kind("x")).name == CODES[branch]


@pytest.mark.parametrize("kind", ALL)
def test_every_status_has_its_reason_and_domain(kind: type[ErrataError]) -> None:
    status = status_of(kind("expected this, got that"))

    assert status.message == "expected this, got that"
    info = detail(status, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain) == (kind.reason, "errata")


# the details


def test_a_status_has_fields_and_lines() -> None:
    violations = [Violation("file_name", "unknown", 3), Violation("predicted_class", "no class", 17)]
    status = status_of(InvalidRow("2 rows", violations=violations))

    bad = detail(status, error_details_pb2.BadRequest)
    assert [(field_violation.field, field_violation.description) for field_violation in bad.field_violations] == [
        ("file_name[line 3]", "unknown"),
        ("predicted_class[line 17]", "no class"),
    ]
    assert dict(detail(status, error_details_pb2.ErrorInfo).metadata) == {"lines": "3,17"}


def test_a_status_says_what_the_numbers_count() -> None:
    violations = [Violation("predicted_class", "no class", 17, "entry")]
    status = status_of(InvalidRow("Entry 17: no class", violations=violations))

    assert dict(detail(status, error_details_pb2.ErrorInfo).metadata) == {"lines": "17", "unit": "entry"}


def test_a_status_has_a_field_without_a_line() -> None:
    status = status_of(InvalidRequest("expected a data set, got none", field="dataset"))

    bad = detail(status, error_details_pb2.BadRequest)
    assert [field_violation.field for field_violation in bad.field_violations] == ["dataset"]
    assert dict(detail(status, error_details_pb2.ErrorInfo).metadata) == {}


def test_a_status_without_field_and_delay_has_no_details_for_them() -> None:
    status = status_of(ModelNotFound("gone"))

    assert detail(status, error_details_pb2.BadRequest) is None
    assert detail(status, error_details_pb2.RetryInfo) is None


@pytest.mark.parametrize(
    ("seconds", "seconds_and_nanos"), [(0.0, (0, 0)), (2.0, (2, 0)), (0.25, (0, 250_000_000)), (90, (90, 0))]
)
def test_a_status_has_the_retry_delay(seconds: float, seconds_and_nanos: tuple[int, int]) -> None:
    delay = detail(status_of(TooBusy("full", retry_after=seconds)), error_details_pb2.RetryInfo).retry_delay

    assert (delay.seconds, delay.nanos) == seconds_and_nanos


def test_an_unexpected_error_has_only_its_request_id() -> None:
    status = internal_status("abc123")

    assert status.code == grpc.StatusCode.INTERNAL.value[0]
    assert "abc123" in status.message
    info = detail(status, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain, dict(info.metadata)) == ("INTERNAL", DOMAIN, {"request_id": "abc123"})


# round trips without a server

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60).filter(lambda text: redact(text) == text)


@given(
    kind=st.sampled_from(ALL),
    message=texts.filter(bool),
    violations=st.lists(st.builds(Violation, texts.filter(bool), texts, st.none() | st.integers(1, 10**6)), max_size=4),
    retry_after=st.none() | st.integers(0, 600_000).map(lambda milliseconds: milliseconds / 1000),
)
@max_examples(200)
def test_a_client_raises_the_error_of_the_service(
    kind: type[ErrataError], message: str, violations: list[Violation], retry_after: float | None
) -> None:
    back = round_trip(kind(message, violations=violations, retry_after=retry_after))

    assert type(back) is kind
    assert back.message == message
    assert back.violations == tuple(violations)
    assert back.retry_after == (None if retry_after is None else pytest.approx(retry_after, abs=0.0011))


@pytest.mark.parametrize("field", ["labels['[line ']", "[line ", "[line x]", "a[line 3]b", "labels['[line 3]']"])
def test_a_field_that_resembles_a_line_is_unchanged(field: str) -> None:
    """A label name, which the caller chooses, is part of the field."""
    back = round_trip(InvalidRequest("too long", field=field))

    assert back.violations == (Violation(field, "too long", None),)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.Unavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.Unavailable),
        (grpc.StatusCode.CANCELLED, errors.Cancelled),
        (grpc.StatusCode.INTERNAL, ErrataError),
        (grpc.StatusCode.UNIMPLEMENTED, UnknownMethod),
    ],
)
def test_a_status_without_error_info_is_mapped_by_its_code(code: grpc.StatusCode, kind: type[ErrataError]) -> None:
    back = error_of(FailedCall(Status(code=code.value[0], message="a message of gRPC")), "somewhere:1")

    assert type(back) is kind


def test_an_unreachable_service_is_named() -> None:
    back = error_of(FailedCall(Status(code=grpc.StatusCode.UNAVAILABLE.value[0], message="refused")), "somewhere:1")

    assert "somewhere:1" in back.message


def test_an_unknown_reason_is_a_general_error() -> None:
    status = status_of(TooBusy("later"))
    status.details[0].Pack(error_details_pb2.ErrorInfo(reason="FROM_THE_FUTURE", domain=DOMAIN))

    back = error_of(FailedCall(status), "somewhere:1")

    assert type(back) is ErrataError
    assert "later" in back.message


# round trips over a connection


class Refusing(analysis_service_pb2_grpc.AnalysisServiceServicer):
    """A service whose calls raise `error`."""

    error: Exception = RuntimeError("a test replaces this error")

    async def GetAnalysis(self, request: Any, context: Any) -> pb.Analysis:
        raise self.error

    async def WatchAnalysis(self, request: Any, context: Any) -> AsyncIterator[pb.Analysis]:
        yield pb.Analysis(name="analyses/a")
        raise self.error

    async def UploadPredictions(self, request_iterator: Any, context: Any) -> pb.Analysis:
        async for _ in request_iterator:
            pass
        raise self.error


class Server:
    """A server with the interceptor, and a client that calls it from a thread."""

    def __init__(self, servicer: Refusing, address: str, registry: CollectorRegistry) -> None:
        self.servicer = servicer
        self.address = address
        self.registry = registry

    async def call(self, error: Exception, method: str = "get") -> ErrataError:
        """Call a method whose implementation raises an error; return the error that the client raises."""
        self.servicer.error = error

        def call_method() -> None:
            with Client(self.address) as client:
                match method:
                    case "get":
                        client.get("analyses/a")
                    case "watch":
                        list(client.watch("analyses/a"))

        with pytest.raises(ErrataError) as caught:
            await asyncio.to_thread(call_method)
        return caught.value

    async def count(self, method: str, code: str) -> float:
        """Return the number of calls with a code; a call is counted shortly after its client gets the response."""
        labels = {"method": method, "code": code}
        for _ in range(200):
            if result := self.registry.get_sample_value("errata_rpc_handled_total", labels):
                return result
            await asyncio.sleep(0.01)
        return 0


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    registry = CollectorRegistry()
    grpc_server = grpc.aio.server(interceptors=[CallInterceptor(Metrics(registry), ALLOW_ALL)])
    servicer = Refusing()
    analysis_service_pb2_grpc.add_AnalysisServiceServicer_to_server(servicer, grpc_server)
    port = grpc_server.add_insecure_port("127.0.0.1:0")
    await grpc_server.start()
    yield Server(servicer, f"127.0.0.1:{port}", registry)
    await grpc_server.stop(None)


@pytest.mark.slow
async def test_every_error_class_survives_a_connection(server: Server) -> None:
    for kind in BELOW_THE_ROOT:
        violations = [Violation("file_name", "expected „ä“, got 🦊", 3)]
        back = await server.call(kind("nicht da: 🦊", violations=violations, retry_after=1.5))
        assert type(back) is kind
        assert (back.message, back.violations, back.retry_after) == ("nicht da: 🦊", tuple(violations), 1.5)
        assert await server.count("GetAnalysis", code_of(kind("x")).name) >= 1


async def test_an_error_within_a_stream_is_raised(server: Server) -> None:
    back = await server.call(errors.AnalysisNotFound("deleted meanwhile"), method="watch")

    assert type(back) is errors.AnalysisNotFound
    assert await server.count("WatchAnalysis", "NOT_FOUND") == 1


@pytest.mark.parametrize("call", ["get", "watch"])
async def test_an_unexpected_error_does_not_expose_its_message(server: Server, call: str) -> None:
    back = await server.call(KeyError("/home/me/secret.py"), call)

    assert type(back) is ErrataError
    assert "secret" not in back.message
    assert "Internal error" in back.message
    assert await server.count("GetAnalysis" if call == "get" else "WatchAnalysis", "INTERNAL") == 1


async def test_ten_long_violations_in_any_script_fit_into_a_status(server: Server) -> None:
    """An upload error has up to ten violations that quote the input; gRPC metadata is limited to 8 KiB."""
    described = f"expected a class index 0..999, a WordNet id or a class name that is unique, got {'🦊' * 80!r:.80}"
    violations = [Violation("predicted_class", described, line) for line in range(49_990, 50_000)]

    back = await server.call(InvalidRow(f"line 49990: {described} (and 49999 more)", violations=violations))

    assert type(back) is InvalidRow
    assert back.violations == tuple(violations)


async def test_a_long_error_fits_into_a_status(server: Server) -> None:
    back = await server.call(errors.InvalidUpload("expected a row for each: " + "name, " * 5000, field="file_name"))

    assert type(back) is errors.InvalidUpload
    assert back.message.startswith("expected a row for each: name")
    assert [violation.field for violation in back.violations] == ["file_name"]


async def test_a_stopped_service_is_unavailable() -> None:
    with Client("127.0.0.1:1", deadline=5) as client, pytest.raises(errors.Unavailable, match=r"127\.0\.0\.1:1"):
        await asyncio.to_thread(client.get, "analyses/a")
