"""Verification of untrusted requests: invalid input raises only Unverified."""

import base64
import hmac
from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from service.web.hooks import generic, huggingface, mlflow, wandb
from service.web.hooks.signature import TOLERANCE, Unverified, check_time

Verify = Callable[[Mapping[str, str], bytes, Sequence[str], float], None]

NOW = 1795544309
VERIFIED: dict[str, tuple[Verify, list[str], list[str]]] = {  # by kind: function, headers, secrets
    "mlflow": (
        mlflow.verify,
        ["X-MLflow-Delivery-Id", "X-MLflow-Timestamp", "X-MLflow-Signature"],
        ["errata-test-secret"],
    ),
    "generic": (
        generic.verify,
        ["webhook-id", "webhook-timestamp", "webhook-signature"],
        ["whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="],
    ),
    "wandb": (wandb.verify, ["Authorization", "X-Wandb-Signature"], ["wandb-test-secret"]),
    "huggingface": (huggingface.verify, ["X-Webhook-Secret"], ["hugging-face-secret"]),
}
JUNK = st.one_of(
    st.text(max_size=80),  # arbitrary text in a header
    st.binary(max_size=80).map(lambda raw: raw.decode("latin-1")),  # the decoding of Starlette
    st.binary(max_size=80).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    st.text("0123456789+-_ .", max_size=14),
    st.text("0123456789abcdefABCDEF", min_size=64, max_size=64),
    st.sampled_from(["", " ", "v1", "v1,", "v1,,", "v1,=", "v1,A", "v1,====", "v1a,AAAA", "v2,AAAA", "v1,é", ",", "é"]),
    st.sampled_from(["v1,AAAA " * 2000, "x" * 200_000, "=" * 64, "Bearer ", "Bearer é", str(NOW), "NaN", "inf", "١٢"]),
)


@pytest.mark.parametrize("kind", VERIFIED)
def test_random_headers_raise_only_unverified(kind: str) -> None:
    verify, names, secrets = VERIFIED[kind]

    @given(st.fixed_dictionaries({}, optional=dict.fromkeys(names, JUNK)), st.binary(max_size=60))
    def refused(headers: dict[str, str], body: bytes) -> None:
        with pytest.raises(Unverified):
            verify(headers, body, secrets, NOW)

    refused()


@pytest.mark.parametrize("kind", ["mlflow", "generic"])
def test_random_signature_with_a_valid_timestamp_raises_only_unverified(kind: str) -> None:
    verify, (name, stamp, signature), secrets = VERIFIED[kind]

    @given(JUNK, JUNK, st.binary(max_size=60))
    def refused(given_id: str, given_signature: str, body: bytes) -> None:
        with pytest.raises(Unverified):
            verify({name: given_id, stamp: str(NOW), signature: given_signature}, body, secrets, NOW)

    refused()


@pytest.mark.parametrize("kind", VERIFIED)
def test_request_without_headers_is_rejected(kind: str) -> None:
    verify, _, secrets = VERIFIED[kind]

    with pytest.raises(Unverified):
        verify({}, b"{}", secrets, NOW)


@pytest.mark.parametrize("kind", VERIFIED)
def test_empty_headers_are_rejected(kind: str) -> None:
    verify, names, secrets = VERIFIED[kind]

    with pytest.raises(Unverified):
        verify(dict.fromkeys(names, ""), b"", secrets, NOW)


def received(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers that a registry sends in UTF-8, as Starlette decodes them."""
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return dict(Headers(raw=raw))


SECRET = "geheimnis-ü"
BODY = b"{}"


def signature_of(message: bytes) -> str:
    return base64.b64encode(hmac.digest(SECRET.encode(), message, "sha256")).decode()


@pytest.mark.parametrize(
    ("verify", "secret", "headers"),
    [
        (huggingface.verify, SECRET, {"X-Webhook-Secret": SECRET}),
        (wandb.verify, SECRET, {"Authorization": f"Bearer {SECRET}", "X-Wandb-Signature": signature_of(BODY)}),
        (
            generic.verify,
            base64.b64encode(SECRET.encode()).decode(),
            {
                "webhook-id": "Lieferung ü",
                "webhook-timestamp": str(NOW),
                "webhook-signature": f"v1,{signature_of(f'Lieferung ü.{NOW}.'.encode() + BODY)}",
            },
        ),
        (
            mlflow.verify,
            SECRET,
            {
                "X-MLflow-Delivery-Id": "Lieferung ü",
                "X-MLflow-Timestamp": str(NOW),
                "X-MLflow-Signature": f"v1,{signature_of(f'Lieferung ü.{NOW}.'.encode() + BODY)}",
            },
        ),
    ],
)
def test_headers_in_utf8_are_verified(verify: Verify, secret: str, headers: Mapping[str, str]) -> None:
    verify(received(headers), BODY, [secret], NOW)

    for name in headers:
        with pytest.raises(Unverified):
            verify(received({**headers, name: f"{headers[name]}ü"}), BODY, [secret], NOW)


def test_tolerance_is_five_minutes() -> None:
    assert TOLERANCE == 300  # spec: registries, "Rules for every incoming call", 3
    for off in (-300, 0, 300):
        check_time(str(NOW), NOW + off)


@pytest.mark.parametrize("off", [-301, -300.001, 300.001, 301, 10**9])
def test_timestamp_out_of_tolerance_is_rejected(off: float) -> None:
    with pytest.raises(Unverified):
        check_time(str(NOW), NOW + off)


@pytest.mark.parametrize(
    "stamp",
    [
        "",
        " ",
        "-1795544309",
        "+1795544309",
        "1795544309.0",
        "1795544309 ",
        "1_795_544_309",
        "0x6b05e535",
        "9" * 5000,
        "١٧٩٥٥٤٤٣٠٩",
        "１７９５５４４３０９",
        "1795544309²",
        "nan",
        "inf",
        "1e9",
    ],
)
def test_timestamp_must_be_ascii_digits(stamp: str) -> None:
    with pytest.raises(Unverified):
        check_time(stamp, NOW)
