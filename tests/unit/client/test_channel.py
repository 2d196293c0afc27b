"""Options of channels."""

import json
from typing import Any

import pytest
from errata.channel import channel_options
from errata.v1 import analysis_service_pb2, catalog_service_pb2, evidence_service_pb2, review_service_pb2

SERVICES = [
    service
    for file in (analysis_service_pb2, catalog_service_pb2, evidence_service_pb2, review_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
]
NOT_REPEATED = {
    "UploadPredictions", "DeleteAnalysis", "RetryAnalysis", "ReanalyzeAnalysis",
    "ImportReviews",
    "UploadLabels", "UploadEvidence", "PublishEvidence", "ReanalyzeAnalyses",
    "WatchAnalysis",  # the client watches again, also after the first message
}  # fmt: skip


def _service_config(server: str, attempts: int) -> dict[str, Any]:
    return json.loads(dict(channel_options(server, attempts)).get("grpc.service_config", "{}"))


@pytest.mark.parametrize("server", ["dns:///errata-api-headless:50051", "ipv4:10.0.0.1:50051,10.0.0.2:50051"])
@pytest.mark.parametrize("attempts", [1, 4])
def test_calls_of_a_target_with_several_addresses_are_balanced(server: str, attempts: int) -> None:
    assert _service_config(server, attempts)["loadBalancingConfig"] == [{"round_robin": {}}]


@pytest.mark.parametrize("server", ["localhost:50051", "unix:/run/errata.sock"])
def test_calls_of_one_address_are_not_balanced(server: str) -> None:
    assert "loadBalancingConfig" not in _service_config(server, 4)


def test_calls_are_repeated_only_with_several_attempts() -> None:
    (config,) = _service_config("localhost:50051", 3)["methodConfig"]
    assert config["retryPolicy"]["maxAttempts"] == 3
    assert "methodConfig" not in _service_config("dns:///errata:50051", 1)


def test_all_methods_except_some_with_side_effects_are_repeated() -> None:
    (config,) = _service_config("localhost:50051", 4)["methodConfig"]
    expected = {
        (service.full_name, method.name)
        for service in SERVICES
        for method in service.methods
        if method.name not in NOT_REPEATED
    }
    assert {(name["service"], name["method"]) for name in config["name"]} == expected
    assert {method.name for service in SERVICES for method in service.methods} >= NOT_REPEATED
