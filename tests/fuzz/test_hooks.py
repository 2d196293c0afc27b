"""Registry payloads, gate policies, and model IDs are read or refused, and unsigned payloads are rejected."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from types import ModuleType
from typing import Any, cast

import pytest
import yaml
from errata import v1 as pb
from errata.errors import InvalidModelId, InvalidPolicy
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from service.analyses.policy import MAX_BYTES, parse_policy
from service.analyses.ports import Ports
from service.domain import Action, RegistryEvent
from service.predictions.model_id import SOURCES, parse_model_id
from service.telemetry import Metrics
from service.web.hooks import generic
from service.web.hooks.endpoint import KINDS, Hooks, HookSource
from service.web.hooks.receive_only import ReceiveOnlyRegistry
from service.web.hooks.signature import Unverified

from .conftest import FUZZ
from .values import JSON, changed

NOW = 1_795_544_309
SECRET, OTHER = "errata-test-secret", "a-secret-of-nobody"
KEYS = {"generic": ["whsec_" + base64.b64encode(item.encode()).decode() for item in (SECRET, OTHER)]}
CAUGHT = (ValueError, KeyError)  # errors that the endpoint answers with 400
SIGNED = ("generic", "mlflow", "wandb")  # huggingface has a secret beside the body
HEADERS = {
    "generic": ("webhook-id", "webhook-timestamp", "webhook-signature"),
    "mlflow": ("x-mlflow-delivery-id", "x-mlflow-timestamp", "x-mlflow-signature"),
    "wandb": ("authorization", "x-wandb-signature"),
    "huggingface": ("x-webhook-secret",),
}
PAYLOADS: Mapping[str, Sequence[dict[str, Any]]] = {
    "generic": [
        {
            "type": "model_version.created",
            "data": {"name": "photos", "version": "7", "model": "demo:efficientnet_lite0"},
        },
        {
            "specversion": "1.0",
            "id": "1",
            "source": "/x",
            "type": "model_version_alias.created",
            "data": {"name": "photos", "version": "7", "alias": "champion", "value": "a", "model": "timm:resnet50"},
        },
        {
            "type": "model_version_tag.set",
            "data": {"name": "p", "version": "7", "key": "k", "value": "v", "model": "m"},
        },
    ],
    "mlflow": [
        {"entity": "model_version", "action": "created", "data": {"name": "resnet50", "version": "1", "tags": {}}},
        {"entity": "model_version_alias", "action": "created", "data": {"name": "r", "version": "1", "alias": "c"}},
        {
            "entity": "model_version_tag",
            "action": "set",
            "data": {"name": "r", "version": "1", "key": "k", "value": "v"},
        },
    ],
    "wandb": [
        {"event_type": "LINK_ARTIFACT", "artifact_version_string": "team/registry/resnet50:v3", "alias": ""},
        {"event_type": "ADD_ARTIFACT_ALIAS", "artifact_version_string": "team/registry/resnet50:v3", "alias": "best"},
    ],
    "huggingface": [
        {
            "event": {"action": "update", "scope": "repo.content"},
            "repo": {"type": "model", "name": "timm/resnet50", "id": "621ffdc036468d709f17434d"},
            "updatedRefs": [{"ref": "refs/heads/main", "oldSha": None, "newSha": "0" * 40}],
            "webhook": {"id": "6390e855e30d9209411de93b", "version": 3},
        }
    ],
}


def secrets_of(kind: str) -> list[str]:
    return KEYS.get(kind, [SECRET, OTHER])


def signed(kind: str, body: bytes, secret: str = SECRET, delivery: str = "msg_1", at: int = NOW) -> dict[str, str]:
    """The headers with which a registry sends a body."""
    if kind == "huggingface":
        return {"X-Webhook-Secret": secret}
    prefix = b"" if kind == "wandb" else f"{delivery}.{at}.".encode()
    digest = base64.b64encode(hmac.new(secret.encode(), prefix + body, hashlib.sha256).digest()).decode()
    if kind == "wandb":
        return {"Authorization": f"Bearer {secret}", "X-Wandb-Signature": digest}
    return dict(zip(HEADERS[kind], (delivery, str(at), f"v1,{digest}"), strict=True))


ODD = st.sampled_from(
    [
        *("", " ", "v1,", "v1,=", "v1,AAAA v1,\xe9", "v1a,AAAA", "," * 50, "\xff", "0" * 64, "g" * 64, " " * 64),
        "=" * 44,
        *(str(NOW), f"0{NOW}", f"-{NOW}", f"{NOW}.0", "9" * 12, "9" * 5000, "\xb2", "1e9", "Bearer "),
        f"Bearer {OTHER}x",
    ]
)
LATIN = st.text(st.characters(max_codepoint=255), max_size=60)  # header values as the server decodes them


# -- verifying


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_unsigned_requests_with_any_headers_are_rejected(kind: str) -> None:
    @FUZZ
    @given(
        headers=st.dictionaries(st.sampled_from(HEADERS[kind]) | LATIN, ODD | LATIN, max_size=5),
        body=st.binary(max_size=60),
        now=st.integers(NOW - 301, NOW + 301) | st.floats(0, 1e12),
    )
    def fuzz(headers: dict[str, str], body: bytes, now: float) -> None:
        with pytest.raises(Unverified):
            KINDS[kind].verify(headers, body, secrets_of(kind), now)

    fuzz()


@pytest.mark.parametrize("kind", SIGNED)
def test_a_body_or_a_signed_header_that_is_changed_is_never_verified(kind: str) -> None:
    @FUZZ
    @given(
        data=st.data(),
        body=st.binary(min_size=1, max_size=300),
        delivery=st.text("abcxyz0189-_", min_size=1, max_size=20),
        at=st.integers(NOW - 300, NOW + 300),
    )
    def fuzz(data: st.DataObject, body: bytes, delivery: str, at: int) -> None:
        headers = signed(kind, body, delivery=delivery, at=at)
        KINDS[kind].verify(headers, body, secrets_of(kind), NOW)
        place = data.draw(st.integers(0, len(body) - 1))
        flipped = bytearray(body)
        flipped[place] ^= data.draw(st.integers(1, 255))
        others = [bytes(flipped), body[:place] + body[place + 1 :], body + b"\0", b" " + body, b"." + body]
        for other in others:
            with pytest.raises(Unverified):
                KINDS[kind].verify(headers, other, secrets_of(kind), NOW)
        with pytest.raises(Unverified):
            KINDS[kind].verify(signed(kind, body, "another-secret"), body, secrets_of(kind), NOW)
        name = data.draw(st.sampled_from(sorted(headers)))
        with pytest.raises(Unverified):
            KINDS[kind].verify(headers | {name: headers[name] + "0"}, body, secrets_of(kind), NOW)

    fuzz()


@FUZZ
@given(st.text(max_size=80) | st.binary(max_size=40).map(lambda key: "whsec_" + base64.b64encode(key).decode()))
def test_any_configured_secret_is_a_key_or_verifies_nothing(secret: str) -> None:
    with suppress(Unverified):
        assert isinstance(generic.key_of(secret), bytes)


# -- reading


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_any_payload_has_events_or_is_an_error_that_the_endpoint_answers(kind: str) -> None:
    @FUZZ
    @given(
        payload=st.sampled_from(PAYLOADS[kind]).flatmap(changed) | JSON.map(lambda value: {"data": value}),
        headers=st.dictionaries(st.sampled_from(HEADERS[kind]), LATIN, max_size=3),
    )
    def fuzz(payload: Any, headers: dict[str, str]) -> None:
        if not isinstance(payload, dict):
            return  # the endpoint rejects it before
        try:
            events = KINDS[kind].parse(headers, payload)
        except CAUGHT:
            return
        for event in events:
            assert isinstance(event, RegistryEvent) and isinstance(event.action, Action)
            assert all(isinstance(item, str) for item in (event.model, event.version, event.name, event.value))
            assert event.model
            with suppress(InvalidModelId):
                parse_model_id(_identifier(KINDS[kind], event))

    fuzz()


def _identifier(kind: ModuleType, event: RegistryEvent) -> str:
    endpoint: Callable[[RegistryEvent], str] = getattr(
        kind, "model_id", lambda event: f"mlflow:models:/{event.model}/1"
    )
    return endpoint(event)


# -- the endpoint, from bytes to a status


class Endpoint:
    """The hooks of four registries that ask for nothing, called without a socket."""

    def __init__(self) -> None:
        sources = {
            kind: HookSource(
                kind, secrets_of(kind), ReceiveOnlyRegistry(kind, (), identifier=lambda event: event.model)
            )
            for kind in KINDS
        }
        no_ports = cast("Ports", None)  # unused: there are no rules
        self.hooks = Hooks(no_ports, sources, Metrics(CollectorRegistry()), clock=lambda: float(NOW))
        self.app = Starlette(routes=list(self.hooks.routes()))
        self.runner = asyncio.Runner()

    def post(self, kind: str, headers: Mapping[str, str], pieces: Sequence[bytes], ended: bool = True) -> int:
        """Post a body in pieces, and return the status."""
        messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        messages.append({"type": "http.request", "body": b""} if ended else {"type": "http.disconnect"})
        sent: list[dict[str, Any]] = []

        async def receive() -> Any:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        path = f"/v1/hooks/{kind}/{kind}"
        scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b""}
        self.runner.run(self.app(scope | {"headers": raw, "root_path": "", "scheme": "http"}, receive, send))
        return int(sent[0]["status"])

    def stop(self) -> None:
        self.hooks.stop()
        self.runner.close()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    """Call the hooks."""
    endpoint = Endpoint()
    yield endpoint
    endpoint.stop()


RAW = st.sampled_from(
    [
        *(b"", b"null", b"[]", b"{", b"{}", b"\xff\xfe{}", b"\xef\xbb\xbf{}", b'{"type": "\xff"}', b'{"data": NaN}'),
        b"\0",
        *(b"[" * 100_000, b'{"data":' * 30_000, b'{"data": ' + b"9" * 5000 + b"}", b'{"type": "\\ud800"}'),
        b"x" * (257 << 10),
        b'{"type": "model_version.created", "data": {"name": "\\ud800", "version": "\\u0000", "model": "\\udfff"}}',
    ]
)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_any_signed_body_has_an_answer(endpoint: Endpoint, kind: str) -> None:
    too_long = b"x" * (KINDS[kind].MAX_BODY + 1)

    @FUZZ
    @example(too_long, 0, True, None)
    @given(
        body=RAW
        | st.binary(max_size=80)
        | (st.sampled_from(PAYLOADS[kind]).flatmap(changed) | JSON).map(lambda value: json.dumps(value).encode()),
        cut=st.integers(0, 100),
        ended=st.sampled_from([True, True, True, False]),
        length=st.none() | st.sampled_from(["", "x", "-1", "5", "\xb2", "9" * 30, "9" * 5000]),
    )
    def fuzz(body: bytes, cut: int, ended: bool, length: str | None) -> None:
        headers = signed(kind, body) | ({} if length is None else {"content-length": length})

        status = endpoint.post(kind, headers, [body[:cut], body[cut:]], ended)

        assert status in (200, 400, 413)
        if len(body) > KINDS[kind].MAX_BODY:
            assert status == 413
        elif not ended:
            assert status in (400, 413)

    fuzz()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_any_unsigned_call_is_rejected(endpoint: Endpoint, kind: str) -> None:
    @FUZZ
    @given(
        headers=st.dictionaries(st.sampled_from(HEADERS[kind]), ODD | LATIN, max_size=4), body=st.binary(max_size=80)
    )
    def fuzz(headers: dict[str, str], body: bytes) -> None:
        assert endpoint.post(kind, headers, [body]) == 401

    fuzz()


# -- policies

POLICY = {
    "version": 1,
    "name": "release",
    "min_samples": 100,
    "min_coverage": 0.99,
    "bounds": [
        {"name": "few", "measure": "severe_error_rate", "max": 0.12, "group": "organism"},
        {"measure": "severe_error_rate", "max_increase": 0, "alpha": 0.05, "undecided_within_interval": True},
        {"measure": "portion_of_multi_label_errors", "types": ["SPURIOUS_CORRELATION"], "min": 0.1, "max": 0.15},
        {"measure": "count", "types": "MODEL_FAILURE", "max": 3},
    ],
}
PIECES = st.sampled_from(
    [
        *("version: 1", "bounds:", "- measure: count", "  max: ", "types: [", "]", "{", "}", "<<: *a", "&a ", "*a"),
        "!!python/",
        *("!!binary ", "%YAML 9.9", "---", "...", "? ", ": ", "| ", ">-", "'", '"', '"\\ud800"', '"\\U00110000"'),
        *("\t", "\0"),
        *("0x1F", "1e999", "-.inf", ".nan", "1_000", "1:30:00", "2024-01-01", "9" * 5000, "0o7", "yes", "~", "1e5"),
        "\ufeff",
        *("\x85", "\u2028", "\x1b", "[" * 30, "- " * 300, "a: " * 30, "#", "\n", "\n", "\n ", "\n  "),
    ]
)
YAML = (
    changed(POLICY, max_changes=4).map(lambda value: json.dumps(value))
    | changed(POLICY, max_changes=4).map(lambda value: json.dumps(value, ensure_ascii=False))
    | st.lists(PIECES | st.text(max_size=6), max_size=25).map("".join)
    | st.text(max_size=120)
)


def checked_policy(text: str | bytes) -> None:
    """Parse a policy, and check an accepted one."""
    try:
        policy = parse_policy(text)
    except InvalidPolicy:
        return
    assert policy.bounds
    sent = pb.GateResult(policy=policy.name, reasons=[pb.GateReason(bound=bound.name) for bound in policy.bounds])
    assert sent.SerializeToString()


@FUZZ
@given(YAML)
@example("a" * (MAX_BYTES + 1))
@example("[" * MAX_BYTES)
def test_any_text_is_a_policy_or_is_rejected(text: str) -> None:
    checked_policy(text)


@FUZZ
@given(
    st.binary(max_size=120)
    | YAML.map(lambda text: text.encode("utf-8", "surrogatepass"))
    | YAML.map(lambda text: text.encode("utf-16", "surrogatepass"))
)
def test_any_bytes_are_a_policy_or_are_rejected(content: bytes) -> None:
    checked_policy(content)


def test_the_unchanged_policy_is_accepted() -> None:
    assert len(parse_policy(json.dumps(POLICY)).bounds) == len(parse_policy(yaml.safe_dump(POLICY)).bounds) == 4


# -- model identifiers

PARTS = st.sampled_from(
    [
        *(":", "/", "//", "#", "@", "..", "../", "./", "\\", "%2e", "models:/", "models://", "resnet50.a1_in1k"),
        "org/repo",
        *("a" * 600, " ", "\n", "\0", "\u202e", "é", "~", "C:", "file:", "1", "9" * 30, "@champion", "/etc/passwd"),
        *("-", "?"),
    ]
)
IDENTIFIERS = st.text(max_size=60) | st.builds(
    lambda source, parts: f"{source}:{''.join(parts)}",
    st.sampled_from((*SOURCES, "wandb", "", "FILE", "timm ")),
    st.lists(PARTS | st.text(max_size=6), max_size=6),
)


@FUZZ
@given(IDENTIFIERS)
@example("timm:resnet50.a1_in1k")  # without examples that are accepted, the assertions are not reached
@example("file:models/1.pth#resnet50")
@example("onnx:models/1.onnx")
def test_any_text_is_a_model_or_is_rejected(text: str) -> None:
    try:
        model_id = parse_model_id(text)
    except InvalidModelId:
        return
    assert parse_model_id(str(model_id)) == model_id
    assert str(model_id).isprintable()
    if model_id.source in ("file", "onnx"):
        path = PurePosixPath(model_id.rest.partition("#")[0] if model_id.source == "file" else model_id.rest)
        assert not path.is_absolute() and ".." not in path.parts
