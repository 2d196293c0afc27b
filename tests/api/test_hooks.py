"""Webhook calls of registries: queued, repeated, and refused deliveries, and gates."""

import base64
import http.client
import io
import itertools
import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from errata import pb
from errata.errors import InvalidRequest
from http_answer import Answer, send
from prometheus_client.parser import text_string_to_metric_families
from registry_server import RegistryServer
from running_service import MODEL, Running, Start, start_service
from standardwebhooks import Webhook

SECRET = "whsec_" + base64.b64encode(b"a secret of the tests, 32 bytes.").decode()
BEFORE = "whsec_" + base64.b64encode(b"the secret that was before this.").decode()
OTHER = "whsec_" + base64.b64encode(b"a secret that is not configured").decode()
MLFLOW_SECRET = "errata-test-secret"
LITE1 = "demo:efficientnet_lite1"
SMALL, LARGE = 256 << 10, 1 << 20  # bytes of a body
SOON = 60.0  # seconds
POLICIES = {  # the predictions of the fake predictor are hashes, so some are wrong
    "good": "{measure: top1_accuracy, min: 0}",
    "bad": "{measure: top1_accuracy, min: 1}",
    "few": "{measure: top1_accuracy, min: 0, min_samples: 1000}",
    "first": "{measure: top1_error_rate, max_increase: 0}",
}
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Call:
    """A delivery of a generic registry, signed with the Standard Webhooks library."""

    body: bytes
    id: str = field(default_factory=lambda: f"msg_{next(_numbers)}")
    secret: str = SECRET
    age: int = 0  # seconds

    @property
    def headers(self) -> dict[str, str]:
        at = int(time.time()) - self.age
        signature = Webhook(self.secret).sign(self.id, datetime.fromtimestamp(at, UTC), self.body.decode())
        return {
            "Content-Type": "application/json",
            "webhook-id": self.id,
            "webhook-timestamp": str(at),
            "webhook-signature": signature,
        }


def event(name: str, version: str, kind: str = "model_version.created", /, **data: object) -> bytes:
    return json.dumps({"type": kind, "data": {"name": name, "version": version, "model": MODEL, **data}}).encode()


def new_version() -> str:
    """Return a version that no other test uses."""
    return str(next(_numbers))


@dataclass(frozen=True)
class Site:
    """A service with registries, and functions for its HTTP interface."""

    running: Running

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, chunked: bool = False
    ) -> Answer:
        return send(self.running.addresses.http, method, path, body, headers, chunked=chunked)

    def send(self, call: Call, path: str = "/v1/hooks/generic/any") -> Answer:
        return self.request("POST", path, call.body, call.headers)

    def send_mlflow(self, entity: str, action: str, data: Mapping[str, object], age: int = 0) -> Answer:
        """Send a call as MLflow does: the key is the UTF-8 secret, and the headers have other names."""
        name, at = f"delivery-{next(_numbers)}", int(time.time()) - age
        body = json.dumps({"entity": entity, "action": action, "timestamp": "2026-11-24T18:20:54+00:00", "data": data})
        signature = Webhook(MLFLOW_SECRET.encode()).sign(name, datetime.fromtimestamp(at, UTC), body)
        headers = {"X-MLflow-Delivery-Id": name, "X-MLflow-Timestamp": str(at), "X-MLflow-Signature": signature}
        return self.request("POST", "/v1/hooks/mlflow/prod", body.encode(), headers)

    def analyses(self, **labels: str) -> list[pb.Analysis]:
        return [item for item in self.running.client.list() if labels.items() <= dict(item.labels).items()]

    def count_calls(self, registry: str, outcome: str) -> float:
        text = self.request("GET", "/metrics").body.decode()
        labels = {"registry": registry, "outcome": outcome}
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return sum(
            sample.value for sample in samples if sample.name == "errata_hooks_total" and sample.labels == labels
        )

    def count_all_calls(self) -> float:
        text = self.request("GET", "/metrics").body.decode()
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return sum(sample.value for sample in samples if sample.name == "errata_hooks_total")

    @contextmanager
    def expect_refusal(self) -> Iterator[None]:
        """Check that the calls in a block create no analysis and are counted."""
        before, counted = {analysis.name for analysis in self.analyses()}, self.count_all_calls()
        yield
        assert {
            analysis.name for analysis in self.analyses()
        } <= before  # the analysis of a deleted version may be removed meanwhile
        assert self.count_all_calls() == counted + 1

    def gate(self, path: str) -> Answer:
        answer = self.request("GET", f"/v1/gates/{path}")
        assert answer.headers["Content-Type"] == "application/json"
        assert set(answer.json["gate"]) >= {"decision", "pass", "reasons", "report"}
        return answer

    def wait_for_decision(self, path: str) -> tuple[str, bool | None]:
        """Poll a gate until it is not pending."""
        deadline = time.monotonic() + SOON
        while (gate := self.gate(path).json["gate"])["decision"] == "pending":
            assert gate["pass"] is None
            assert time.monotonic() < deadline, "a gate stays pending"
            time.sleep(0.05)
        return gate["decision"], gate["pass"]


def registries(folder: Path, mlflow_url: str = "http://127.0.0.1:9") -> dict[str, Any]:
    """Return the registry settings."""
    gated = []
    for name, bound in POLICIES.items():
        path = folder / f"{name}.yaml"
        least = 1000 if name == "few" else 1
        bound = bound.replace(", min_samples: 1000", "")
        path.write_text(f"version: 1\nname: {name}\nmin_samples: {least}\nbounds:\n  - {bound}\n")
        rule = {"event": "created", "model": f"{name}/*", "dataset": "demo", "policy": str(path)}
        gated.append({**rule, "baseline": "alias:champion"} if name == "first" else rule)
    rules = [
        {"event": "created", "model": "photo*", "dataset": "demo"},
        {"event": "alias:champion", "model": "photo*", "dataset": "demo"},
        {"event": "tag:stage", "model": "photo*", "dataset": "demo"},
    ]
    return {
        "any": {"kind": "generic", "secrets": [BEFORE, SECRET], "rules": [*rules, *gated]},
        "prod": {"kind": "mlflow", "url": mlflow_url, "secrets": [MLFLOW_SECRET], "rules": rules},
    }


@pytest.fixture(scope="module")
def site(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with RegistryServer() as mlflow:
        mlflow.fallback = 404, {"error_code": "RESOURCE_DOES_NOT_EXIST"}
        registry_settings = registries(tmp_path_factory.mktemp("policies"), mlflow.url)
        with start_service(data_dir, tmp_path_factory.mktemp("archive"), registries=registry_settings) as running:
            yield Site(running)


def test_a_new_version_is_analyzed_and_labeled(site: Site) -> None:
    queued, version = site.count_calls("any", "queued"), new_version()

    answer = site.send(Call(event("photos", version)))

    assert answer.outcome == (202, "queued")
    assert answer.headers["Content-Type"] == "application/json"
    assert site.count_calls("any", "queued") == queued + 1
    (analysis,) = site.analyses(version=version)
    assert dict(analysis.labels) == {"registry": "any", "model": "photos", "version": version}
    assert analysis.dataset == "datasets/demo"
    assert [*site.running.client.watch(analysis.name)][-1].state == pb.Analysis.State.STATE_SUCCEEDED


def test_a_repeated_delivery_has_no_effect(site: Site) -> None:
    repeated, version = site.count_calls("any", "repeated"), new_version()
    call = Call(event("photos", version))

    assert site.send(call).status == 202
    assert site.send(call).outcome == (200, "repeated")
    assert site.send(Call(call.body)).outcome == (200, "repeated"), "an equivalent delivery with another id"
    assert site.send(Call(call.body, secret=BEFORE)).outcome == (200, "repeated")
    assert site.count_calls("any", "repeated") == repeated + 3
    assert len(site.analyses(version=version)) == 1


def test_a_delivery_repeated_after_the_analysis_ended_has_no_effect(site: Site) -> None:
    version = new_version()
    assert site.send(Call(event("photos", version))).status == 202
    (analysis,) = site.analyses(version=version)
    assert [*site.running.client.watch(analysis.name)][-1].state == pb.Analysis.State.STATE_SUCCEEDED

    assert site.send(Call(event("photos", version))).outcome == (200, "repeated")
    assert len(site.analyses(version=version)) == 1


def test_equivalent_concurrent_deliveries_create_one_analysis(site: Site) -> None:
    version = new_version()
    calls = [Call(event("photos", version)) for _ in range(12)]
    with ThreadPoolExecutor(6) as pool:
        statuses = {item.status for item in pool.map(site.send, calls)}

    assert 202 in statuses
    assert statuses <= {200, 202, 503}, "503: it is being queued by another"
    assert len(site.analyses(version=version)) == 1


def test_each_of_several_secrets_is_accepted(site: Site) -> None:
    for secret in (BEFORE, SECRET):
        assert site.send(Call(event("photos", new_version()), secret=secret)).outcome == (202, "queued")


def test_each_version_and_each_model_is_analyzed(site: Site) -> None:
    version = new_version()
    for model in ("photos", "photos-2"):
        assert site.send(Call(event(model, version))).outcome == (202, "queued")
    assert len(site.analyses(version=version)) == 2


def test_deliveries_with_different_ids_create_different_analyses(site: Site) -> None:
    version = new_version()
    request = event("photos", version, "model_version_tag.set", key="errata.request", value="analyze")
    call = Call(request)

    assert site.send(Call(event("photos", version))).status == 202
    assert site.send(call).outcome == (202, "queued")
    assert site.send(call).outcome == (200, "repeated")
    assert site.send(Call(request)).status == 202
    assert len(site.analyses(version=version)) == 3


@pytest.mark.parametrize(
    "kind", [("model_version_alias.created", {"alias": "champion"}), ("model_version_tag.set", {"key": "stage"})]
)
def test_a_watched_alias_or_tag_is_accepted(site: Site, kind: tuple[str, dict[str, str]]) -> None:
    version = new_version()

    assert site.send(Call(event("photos", version, kind[0], **kind[1]))).outcome == (202, "queued")
    assert len(site.analyses(version=version, registry="any", model="photos")) == 1


def test_a_deleted_mlflow_version_is_accepted_once(site: Site) -> None:
    version = new_version()
    data: dict[str, Any] = {"name": "photos", "version": version, "source": "models:/m-1", "run_id": None, "tags": {}}

    assert site.send_mlflow("model_version", "created", data).outcome == (202, "queued")
    deadline = time.monotonic() + SOON
    while site.gate(f"prod/photos/{version}").status != 404:  # removed, since the registry does not have the version
        assert time.monotonic() < deadline, "it isn't dropped"
        time.sleep(0.05)
    assert site.send_mlflow("model_version", "created", data).outcome == (200, "repeated")


@pytest.mark.parametrize("age", [301, -302, 86_400])
def test_a_late_or_early_delivery_is_rejected(site: Site, age: int) -> None:
    before = site.count_calls("any", "unverified")
    with site.expect_refusal():
        assert site.send(Call(event("photos", new_version()), age=age)).status == 401
    assert site.count_calls("any", "unverified") == before + 1
    with site.expect_refusal():
        assert (
            site.send_mlflow("model_version", "created", {"name": "photos", "version": new_version()}, age).status
            == 401
        )


def test_a_delivery_that_is_minutes_old_is_accepted(site: Site) -> None:
    assert site.send(Call(event("photos", new_version()), age=290)).status == 202


def test_a_wrong_secret_is_rejected_without_a_reason(site: Site) -> None:
    bodies = []
    for secret, age in ((OTHER, 0), (SECRET, 400)):
        with site.expect_refusal():
            answer = site.send(Call(event("photos", new_version()), secret=secret, age=age))
        assert answer.status == 401
        bodies.append(answer.body)
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize("without", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_an_unsigned_call_is_rejected(site: Site, without: str) -> None:
    call = Call(event("photos", new_version()))
    headers = {name: value for name, value in call.headers.items() if name != without}

    with site.expect_refusal():
        assert site.request("POST", "/v1/hooks/generic/any", call.body, headers).status == 401


@pytest.mark.parametrize("signature", ["v1,é", "v1,====", "v1,A", "\xff\xfe", "v1," + "A" * 20_000, "v1, v1, v1,"])
def test_an_invalid_signature_is_rejected(site: Site, signature: str) -> None:
    call = Call(event("photos", new_version()))
    headers: dict[str, Any] = {**call.headers, "webhook-signature": signature.encode("latin-1")}

    with site.expect_refusal():
        assert site.request("POST", "/v1/hooks/generic/any", call.body, headers).status == 401


def test_an_unverified_body_is_not_parsed(site: Site) -> None:
    call = Call(b"no JSON", secret=OTHER)
    with site.expect_refusal():
        assert site.send(call).status == 401


def test_a_body_with_a_large_declared_length_is_not_read(site: Site) -> None:
    for path, limit in (("generic/any", SMALL), ("mlflow/prod", LARGE)):
        registry, before = path.rpartition("/")[2], site.count_calls(path.rpartition("/")[2], "too_large")
        host, port = site.running.addresses.http.rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=10)
        with site.expect_refusal():
            try:
                connection.putrequest("POST", f"/v1/hooks/{path}")
                connection.putheader("Content-Length", str(limit + 1))
                connection.endheaders()  # without a body
                assert connection.getresponse().status == 413
            finally:
                connection.close()
        assert site.count_calls(registry, "too_large") == before + 1


def test_a_body_of_unknown_length_is_read_up_to_the_limit(site: Site) -> None:
    for path, limit in (("generic/any", SMALL), ("mlflow/prod", LARGE)):
        chunks = itertools.chain(itertools.repeat(b"x" * 1024, limit // 1024), [b"x"])
        headers = {"Transfer-Encoding": "chunked"}
        with site.expect_refusal():
            assert site.request("POST", f"/v1/hooks/{path}", chunks, headers, chunked=True).status == 413


def test_a_body_at_the_size_limit_is_accepted(site: Site) -> None:
    body = event("photos", new_version())
    padded = body + b" " * (SMALL - len(body))

    assert site.send(Call(padded)).status == 202
    with site.expect_refusal():
        assert site.send(Call(padded + b" ")).status == 413


def test_a_chunked_body_below_the_limit_is_accepted(site: Site) -> None:
    call = Call(event("photos", new_version()))
    headers = {**call.headers, "Transfer-Encoding": "chunked"}

    assert site.request("POST", "/v1/hooks/generic/any", iter([call.body]), headers, chunked=True).status == 202


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no JSON",
        "[]",
        '"text"',
        "7",
        "null",
        "{}",
        "{",
        "[" * 50_000,
        "1" * 5000,
        '{"type": []}',
        '{"type": {}, "data": {}}',
        '{"type": "model_version.created"}',
        '{"type": "model_version.created", "data": []}',
        '{"type": "model_version.created", "data": "text"}',
        '{"type": "model_version.created", "data": null}',
    ],
)
def test_a_malformed_body_is_rejected(site: Site, body: str) -> None:
    before = site.count_calls("any", "malformed")
    with site.expect_refusal():
        answer = site.send(Call(body.encode()))
    assert answer.status == 400
    pythons_own = ("NoneType", "unhashable", "attribute", "set_int_max", "object has no", "subscriptable")
    assert not [words for words in pythons_own if words in answer.json["message"]], answer.json
    assert site.count_calls("any", "malformed") == before + 1


@pytest.mark.parametrize("field", ["name", "version", "model"])
@pytest.mark.parametrize("value", [None, 7, 1.5, True, [], {}, ["photos"]])
def test_a_field_with_a_wrong_type_is_rejected(site: Site, field: str, value: object) -> None:
    data = {"name": "photos", "version": "1", "model": MODEL, field: value}
    with site.expect_refusal():
        assert site.send(Call(json.dumps({"type": "model_version.created", "data": data}).encode())).status == 400


def test_a_binary_body_is_rejected(site: Site) -> None:
    headers = Call(b"").headers
    with site.expect_refusal():
        assert site.request("POST", "/v1/hooks/generic/any", b"\xff\xfe{}", headers).status == 401


def test_a_malformed_mlflow_event_is_rejected(site: Site) -> None:
    for data in (
        {"name": "photos", "version": 1},
        {"name": None, "version": "1"},
        {"version": "1"},
        {"name": "photos"},
    ):
        with site.expect_refusal():
            assert site.send_mlflow("model_version", "created", data).status == 400


@pytest.mark.parametrize("kind", ["model_version.deleted", "ping", "errata.analysis.completed"])
def test_an_unknown_event_is_ignored(site: Site, kind: str) -> None:
    before = site.count_calls("any", "ignored")
    with site.expect_refusal():
        assert site.send(Call(event("photos", new_version(), kind))).outcome == (200, "ignored")
    assert site.count_calls("any", "ignored") == before + 1


def test_an_unknown_mlflow_event_is_ignored(site: Site) -> None:
    for entity, action, data in (
        ("registered_model", "created", {"name": "photos", "tags": {}, "description": None}),
        ("model_version_alias", "deleted", {"name": "photos", "alias": "champion"}),
        ("model_version_tag", "deleted", {"name": "photos", "version": "1", "key": "stage"}),
        ("prompt", "created", {"name": "p"}),
    ):
        with site.expect_refusal():
            assert site.send_mlflow(entity, action, data).outcome == (200, "ignored")


def test_an_event_without_a_rule_is_ignored(site: Site) -> None:
    for body in (
        event("texts", new_version()),
        event("photos", new_version(), "model_version_alias.created", alias="challenger"),
        event("photos", new_version(), "model_version_tag.set", key="owner"),
    ):
        with site.expect_refusal():
            assert site.send(Call(body)).outcome == (200, "ignored")


def test_events_caused_by_write_backs_are_ignored(site: Site) -> None:
    for body in (
        event("photos", new_version(), "model_version_alias.created", alias="errata-passed"),
        event("photos", new_version(), "model_version_tag.set", key="errata.gate", value="pass"),
        event("photos", new_version(), "model_version_tag.set", key="errata.request", value="other"),
    ):
        with site.expect_refusal():
            assert site.send(Call(body)).outcome == (200, "ignored")
    data = {"name": "photos", "version": "1", "key": "errata.verdict", "value": "fail"}  # as captured
    with site.expect_refusal():
        assert site.send_mlflow("model_version_tag", "set", data).outcome == (200, "ignored")
    with site.expect_refusal():
        alias = {"name": "photos", "version": "1", "alias": "errata-passed"}
        assert site.send_mlflow("model_version_alias", "created", alias).outcome == (200, "ignored")


@pytest.mark.parametrize(
    "path",
    ["generic/nothing", "mlflow/any", "generic/prod", "wandb/any", "odd/any", "generic/any%00", "generic/ANY"],
)
def test_an_unknown_registry_or_kind_is_not_found(site: Site, path: str) -> None:
    before = site.count_calls("unknown", "not_found")
    with site.expect_refusal():
        answer = site.send(Call(event("photos", new_version())), f"/v1/hooks/{path}")
    assert answer.status == 404
    assert site.count_calls("unknown", "not_found") == before + 1


@pytest.mark.parametrize(
    "model", ["nonsense:thing", "demo:../../etc", "hf-hub:no", "file:../x", "é", " ", "timm:" * 200]
)
def test_an_invalid_model_is_rejected_without_retry(site: Site, model: str) -> None:
    before = site.count_calls("any", "refused")
    with site.expect_refusal():
        assert site.send(Call(event("photos", new_version(), model=model))).outcome == (200, "refused")
    assert site.count_calls("any", "refused") == before + 1


def test_names_that_are_not_valid_labels_are_rejected_without_retry(site: Site) -> None:
    for model, version in (("photos" + "x" * 300, new_version()), ("photos", "9" * 300)):
        with site.expect_refusal():
            assert site.send(Call(event(model, version))).outcome == (200, "refused")


def test_a_model_without_a_worker_is_rejected_with_retry(site: Site) -> None:
    with site.expect_refusal():
        answer = site.send(Call(event("photos", new_version(), model="demo:efficientnet_lite9")))
    assert answer.status == 503
    assert 1 <= int(answer.headers["Retry-After"]) <= 30


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD"])
def test_a_webhook_accepts_only_post(site: Site, method: str) -> None:
    assert site.request(method, "/v1/hooks/generic/any").status == 405


def test_no_response_redirects(site: Site) -> None:
    for path in ("/v1/hooks/generic/any/", "/v1/hooks/generic", "/v1/hooks//generic/any", "/v1/hooks/generic/"):
        assert site.send(Call(event("photos", new_version())), path).status in (404, 405)


def test_caller_input_is_not_used_as_a_metric_label(site: Site) -> None:
    site.send(Call(event("photos", new_version())), "/v1/hooks/generic/odd-name-of-a-caller")

    text = site.request("GET", "/metrics").body.decode()
    assert "odd-name-of-a-caller" not in text
    assert 'errata_http_requests_total{path="/v1/hooks/{kind}/{registry_id}",status="404"}' in text


def test_a_full_queue_rejects_with_retry_and_the_retry_is_accepted(start: Start, tmp_path: Path) -> None:
    with start(open_gate=False, max_open=1, registries=registries(tmp_path)) as running:
        site = Site(running)
        assert site.send(Call(event("photos", "1"))).outcome == (202, "queued")
        second = Call(event("photos", "2", model=LITE1))

        answer = site.send(second)

        assert answer.status == 503
        assert 1 <= int(answer.headers["Retry-After"]) <= 30
        assert site.analyses(version="2") == []
        assert site.count_calls("any", "later") == 1
        assert site.send(Call(event("photos", "1"))).outcome == (200, "repeated"), (
            "a repeated delivery needs no queue slot"
        )
        running.gate.set()
        (first,) = site.analyses(version="1")
        assert [*running.client.watch(first.name)][-1].state == pb.Analysis.State.STATE_SUCCEEDED
        # The archive has the result shortly before the job ends, so the registry may have to repeat the delivery twice.
        refused = iter(lambda: site.send(second).outcome, (202, "queued"))
        assert set(itertools.islice(refused, 1000)) <= {(503, "later")}
        assert len(site.analyses(version="2")) == 1


def test_request_ids_of_registries_cannot_be_used_by_callers(site: Site, demo_csv: bytes) -> None:
    before = {analysis.name for analysis in site.analyses()}
    with pytest.raises(InvalidRequest):
        site.running.client.analyze(MODEL, "demo", request_id="hook:mine")
    with pytest.raises(InvalidRequest):
        site.running.client.upload(io.BytesIO(demo_csv), "demo", request_id="hook:mine")
    assert {analysis.name for analysis in site.analyses()} == before


def test_a_service_without_registries_has_no_webhooks(running: Running) -> None:
    site = Site(running)

    assert site.send(Call(event("photos", "1"))).status == 404


# Gates


@pytest.mark.parametrize(
    ("model", "decision", "passes"),
    [
        ("good/one", "pass", True),
        ("good/team/two", "pass", True),
        ("bad/one", "fail", False),
        ("few/one", "undecided", None),
        ("first/one", "undecided", None),  # bounds a change, and there is no previous version
        ("photos", "undecided", None),  # its rule has no policy
    ],
)
def test_a_gate_returns_the_decision_of_the_policy(site: Site, model: str, decision: str, passes: bool | None) -> None:
    version = new_version()
    assert site.send(Call(event(model, version))).outcome == (202, "queued")

    assert site.wait_for_decision(f"any/{model}/{version}") == (decision, passes)

    answer = site.gate(f"any/{model}/{version}")
    (analysis,) = site.analyses(version=version, model=model)
    assert answer.status == 200
    assert answer.json["gate"]["reasons"]
    assert all(isinstance(item, str) for item in answer.json["gate"]["reasons"])
    assert answer.json["gate"]["report"].endswith(f"/{analysis.name}")
    assert site.request("GET", f"/{analysis.name}").status == 200


@pytest.mark.parametrize(
    ("version", "path"),
    [
        ("release/{}", "good/team/two/release%2F{}"),
        ("release/{}", "good%2Fteam%2Ftwo/release%2F{}"),
        ("{}%2F1", "good/team/two/{}%252F1"),
        ("{}", "good%2Fteam%2Ftwo/{}"),
        ("{}", "good%2Fteam%2Ftwo%2F{}"),
    ],
)
def test_a_version_with_a_slash_has_a_gate(site: Site, version: str, path: str) -> None:
    number = new_version()
    assert site.send(Call(event("good/team/two", version.format(number)))).status == 202

    assert site.wait_for_decision(f"any/{path.format(number)}") == ("pass", True)


def test_a_deleted_version_does_not_pass_the_gate(site: Site) -> None:
    version = new_version()
    assert site.send_mlflow("model_version", "created", {"name": "photos", "version": version}).status == 202

    assert site.wait_for_decision(f"prod/photos/{version}") == ("error", None)


@pytest.mark.parametrize(
    "path",
    [
        "any/photos/none",
        "nothing/photos/1",
        "any/a/b/c/1",
        "prod/photos/1e9",
        "any/%00/1",
        "any/%C3%A9/1",
        "any/photos/" + "9" * 2000,
        "any/../../1",
        "any/" + "x" * 2000 + "/1",
    ],
)
def test_an_unknown_version_is_not_found(site: Site, path: str) -> None:
    answer = site.gate(path)

    assert answer.status == 404
    assert answer.json["gate"]["pass"] is None
    assert answer.json["gate"]["decision"] not in ("pass", "fail")


def test_a_gate_of_an_unknown_registry_names_the_registry(site: Site) -> None:
    unknown, known = (site.gate(f"{registry}/photos/1e9") for registry in ("typo", "any"))

    assert (unknown.status, known.status) == (404, 404)
    assert unknown.json["gate"]["reasons"] == ["Registry 'typo' is not configured. Check its ID in ERRATA_REGISTRIES."]
    assert known.json["gate"]["reasons"][0].startswith("No analysis of model 'photos', version '1e9'")


@pytest.mark.parametrize(
    ("name", "model", "decision"), [("good/one", MODEL, ("pass", True)), ("photos", LITE1, ("undecided", None))]
)
def test_a_gate_is_pending_while_the_analysis_is_open(
    start: Start, tmp_path: Path, name: str, model: str, decision: tuple[str, bool | None]
) -> None:
    with start(open_gate=False, registries=registries(tmp_path)) as running:
        site = Site(running)
        assert site.send(Call(event(name, "1", model=model))).status == 202
        answer = site.gate(f"any/{name}/1")
        assert answer.status == 200
        assert (answer.json["gate"]["decision"], answer.json["gate"]["pass"]) == ("pending", None)
        running.gate.set()
        assert site.wait_for_decision(f"any/{name}/1") == decision


def test_a_gate_ignores_labels_set_by_callers(site: Site, demo_csv: bytes) -> None:
    version = new_version()
    labels = {"registry": "any", "model": "good/one", "version": version}
    site.running.client.upload(io.BytesIO(demo_csv), "demo", labels=labels)

    assert site.gate(f"any/good/one/{version}").status == 404


def test_gates_of_registries_are_separate(site: Site) -> None:
    version = new_version()
    assert site.send(Call(event("good/one", version))).status == 202

    assert site.wait_for_decision(f"any/good/one/{version}") == ("pass", True)
    assert site.gate(f"prod/good/one/{version}").status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_gate_accepts_only_get(site: Site, method: str) -> None:
    assert site.request(method, "/v1/gates/any/photos/1").status == 405
