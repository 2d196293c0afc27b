"""The URL of Redis: an invalid URL is refused without exposing its password."""

import traceback

import pytest
from errata.errors import InvalidSetting

from service.bootstrap.serve import redis_url
from service.settings import read_settings


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379/0",
        "rediss://:secret@redis:6379/1",
        "redis://errata:a%2Fb%23c%3Fd%40e@redis:6379/0?health_check_interval=5",
        "redis://[::1]:6379",
        "redis://redis",
        "unix:///run/redis.sock",
        "unix://:secret@/run/redis.sock?db=1",
    ],
)
def test_valid_urls_are_accepted(url: str) -> None:
    assert redis_url(read_settings({"ERRATA_REDIS_URL": url})) == url


@pytest.mark.parametrize("url", ["localhost:6379", "http://redis:6379", "redis:/x", ":secret@redis:6379"])
def test_invalid_urls_are_rejected_with_the_expected_form(url: str) -> None:
    with pytest.raises(InvalidSetting, match=r"ERRATA_REDIS_URL .*redis://HOST:PORT/DATABASE") as caught:
        redis_url(read_settings({"ERRATA_REDIS_URL": url}))

    assert "secret" not in caught.value.message


@pytest.mark.parametrize("character", "/#?[")
@pytest.mark.parametrize("form", ["redis://:{}@redis:6379/0", "rediss://errata:{}@redis", "unix://:{}@/run/redis.sock"])
@pytest.mark.parametrize("start", ["secret", "12"])
def test_a_special_character_in_the_password_is_reported_without_the_password(
    character: str, form: str, start: str
) -> None:
    password = f"{start}{character}hidden"

    with pytest.raises(InvalidSetting, match=r"ERRATA_REDIS_URL is not a valid URL.*Percent-encode") as caught:
        redis_url(read_settings({"ERRATA_REDIS_URL": form.format(password)}))

    text = "".join(traceback.format_exception(caught.value))
    assert "secret" not in text
    assert "hidden" not in text


@pytest.mark.parametrize(
    "url",
    [
        "redis://redis:6379x",
        "redis://redis:70000",
        "redis://[::1:6379",
        "redis://redis:0",
        "redis://redis:6379/one",  # redis-py would use database 0
        "redis://redis:6379/0/1",
        "unix://",
        "redis://redis:6379/0?socket_timeout=abc",
        "redis://redis:6379/0?foo=bar",
        "rediss://redis:6379/0?ssl_cert_reqs=banana",
    ],
)
def test_urls_that_redis_cannot_read_are_rejected(url: str) -> None:
    with pytest.raises(InvalidSetting, match=r"ERRATA_REDIS_URL .*HOST:PORT/DATABASE"):
        redis_url(read_settings({"ERRATA_REDIS_URL": url}))
