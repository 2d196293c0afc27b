"""The URL of Redis: an invalid URL is refused without exposing its password."""

import pytest
from errata.errors import InvalidSetting

from service.bootstrap.serve import redis_url
from service.settings import read_settings


@pytest.mark.parametrize("url", ["redis://127.0.0.1:6379/0", "rediss://:secret@redis:6379/1", "unix:///run/redis.sock"])
def test_valid_urls_are_accepted(url: str) -> None:
    assert redis_url(read_settings({"ERRATA_REDIS_URL": url})) == url


@pytest.mark.parametrize("url", ["localhost:6379", "http://redis:6379", "redis:/x", ":secret@redis:6379"])
def test_invalid_urls_are_rejected_with_the_expected_form(url: str) -> None:
    with pytest.raises(InvalidSetting, match=r"ERRATA_REDIS_URL .*redis://HOST:PORT/DATABASE") as caught:
        redis_url(read_settings({"ERRATA_REDIS_URL": url}))

    assert "secret" not in caught.value.message
