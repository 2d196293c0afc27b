"""Options of channels."""

import json
from typing import Any

import pytest
from errata.channel import channel_options


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
