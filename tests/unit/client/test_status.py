"""Statuses of calls that Errata has not sent: those of proxies and of other programs."""

import grpc
import pytest
from errata.errors import Unavailable
from errata.status import error_of
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2


def refused(details: bytes) -> grpc.RpcError:
    return grpc.aio.AioRpcError(
        grpc.StatusCode.UNAVAILABLE,
        grpc.aio.Metadata(),
        grpc.aio.Metadata(("grpc-status-details-bin", details)),
        "try again",
    )


@pytest.mark.parametrize(
    "details",
    [
        b"\xff\xff no message",
        status_pb2.Status(code=code_pb2.INTERNAL, message="try again").SerializeToString(),
        status_pb2.Status(code=code_pb2.UNAVAILABLE, message="another message").SerializeToString(),
        status_pb2.Status(
            code=code_pb2.UNAVAILABLE,
            message="try again",
            details=[any_pb2.Any(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff\xff")],
        ).SerializeToString(),
    ],
    ids=["no status", "another code", "another message", "damaged detail"],
)
def test_details_that_do_not_match_the_status_are_ignored(details: bytes) -> None:
    assert isinstance(error_of(refused(details), "errata:443"), Unavailable)


def test_a_negative_delay_is_none() -> None:
    details = [any_pb2.Any(), any_pb2.Any()]
    details[0].Pack(error_details_pb2.ErrorInfo(reason="TOO_BUSY"))
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromSeconds(-5)
    details[1].Pack(retry)
    status = status_pb2.Status(code=code_pb2.UNAVAILABLE, message="try again", details=details)

    assert error_of(refused(status.SerializeToString()), "errata:443").retry_after == 0.0
