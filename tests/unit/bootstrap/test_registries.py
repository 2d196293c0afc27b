"""The configuration of registries: an error names the place of the problem, and never contains a secret."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from errata.errors import InvalidSetting

from service.bootstrap.registries import make_hook_sources
from service.settings import read_settings
from service.web.hooks.endpoint import HookSource
from service.web.hooks.huggingface_registry import HuggingFaceRegistry
from service.web.hooks.wandb_registry import WandbRegistry

SECRET = "errata-test-secret"
KEY = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
TOKEN = "a-token-of-the-registry"
HIDDEN = (SECRET, KEY, KEY.removeprefix("whsec_"), TOKEN)
POLICY = "version: 1\nname: release\nbounds:\n  - {measure: top1_accuracy, min: 0.5}\n"
CHANGES = "version: 1\nname: release\nbounds:\n  - {measure: top1_error_rate, max_increase: 0}\n"
MLFLOW = {"kind": "mlflow", "url": "http://mlflow.example:5000", "token": TOKEN, "secrets": [SECRET]}
GENERIC = {"kind": "generic", "secrets": [KEY]}


def read(registries: Mapping[str, Any]) -> Mapping[str, HookSource]:
    """Read the configuration as a service does at its start."""
    return make_hook_sources(read_settings({"ERRATA_REGISTRIES": json.dumps(registries)}))


def expect_refusal(registries: Any, *words: str) -> str:
    """Check that the configuration is refused with a message that has the words and no secret; return it."""
    with pytest.raises(InvalidSetting) as error:
        read(registries)
    text = " ".join(
        [
            str(error.value),
            repr(error.value),
            error.value.message,
            *(f"{violation.field} {violation.description}" for violation in error.value.violations),
        ]
    )
    for word in ("ERRATA_REGISTRIES", *words):
        assert word in text
    for hidden in HIDDEN:
        assert hidden not in text
    assert error.value.__cause__ is None or not any(item in str(error.value.__cause__) for item in HIDDEN)
    return error.value.message


def remove_field(registry: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in registry.items() if key != name}


def test_no_registry_is_configured_by_default() -> None:
    assert make_hook_sources(read_settings({})) == {}


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("mlflow", {"url": "http://mlflow.example:5000"}),
        ("huggingface", {}),
        ("wandb", {}),
        ("generic", {"secrets": [KEY]}),
        ("generic", {"secrets": [KEY], "url": "https://receiver.example/results"}),
        ("generic", {"secrets": [KEY], "url": "https://receiver.example:8443/", "ports": [8443]}),
        ("generic", {"secrets": [KEY], "url": "https://receiver.example/", "networks": ["10.0.0.0/8"]}),
    ],
)
def test_each_kind_is_accepted(kind: str, more: dict[str, Any]) -> None:
    settings = {"kind": kind, "secrets": [SECRET], "rules": [{"event": "created", "dataset": "demo"}], **more}

    registries = read({"prod": settings})

    assert registries["prod"].kind == kind
    assert list(registries["prod"].secrets) == settings["secrets"]
    assert registries["prod"].registry.id == "prod"
    (rule,) = registries["prod"].registry.rules
    assert (rule.event, rule.model, rule.dataset, rule.policy, rule.baseline) == ("created", "*", "demo", "", "")


@pytest.mark.parametrize(
    ("kind", "url", "registry"),
    [("huggingface", "https://huggingface.co", HuggingFaceRegistry), ("wandb", "https://api.wandb.ai", WandbRegistry)],
)
def test_the_hub_and_wandb_have_an_address_with_and_without_a_token(
    kind: str, url: str, registry: type[HuggingFaceRegistry | WandbRegistry]
) -> None:
    settings = {"kind": kind, "secrets": [SECRET]}

    registries = read(
        {
            "without": settings,
            "default": {**settings, "token": TOKEN},
            "own": {**settings, "token": TOKEN, "url": "http://own.example"},
        }
    )

    for name, *expected in (("without", url, ""), ("default", url, TOKEN), ("own", "http://own.example", TOKEN)):
        item: Any = registries[name].registry
        assert isinstance(item, registry)
        assert [item.address.url, item.address.token] == expected
        assert TOKEN not in repr(item)
    scheme = {"huggingface": "Bearer", "wandb": "Basic"}[kind]
    assert item.address.authorization["Authorization"].startswith(f"{scheme} ")


@pytest.mark.parametrize("kind", ["huggingface", "wandb"])
@pytest.mark.parametrize("url", ["own.example", "ftp://own.example", f"https://user:{TOKEN}@own.example"])
def test_a_hub_or_wandb_with_an_invalid_address_is_rejected(kind: str, url: str) -> None:
    expect_refusal({"prod": {"kind": kind, "secrets": [SECRET], "token": TOKEN, "url": url}}, "prod.url")


def test_a_rule_has_the_text_of_its_policy(tmp_path: Path) -> None:
    for name, text in (("fixed", POLICY), ("changes", CHANGES)):
        (tmp_path / name).write_text(text)
    rules = [
        {"event": "created", "policy": str(tmp_path / "fixed")},
        {"event": "alias:champion", "policy": str(tmp_path / "changes"), "baseline": "alias:champion"},
        {"event": "tag:stage", "policy": str(tmp_path / "changes"), "baseline": "1m889f60xb5znne4avsbt"},
    ]

    registries = read({"prod": {**MLFLOW, "rules": rules}})["prod"].registry.rules

    assert [item.policy for item in registries] == [POLICY, CHANGES, CHANGES]
    assert [item.baseline for item in registries] == ["", "alias:champion", "1m889f60xb5znne4avsbt"]


@pytest.mark.parametrize("kind", ["mlflow", "huggingface", "wandb", "generic"])
def test_a_registry_without_secrets_is_rejected(kind: str) -> None:
    settings = {**MLFLOW, "kind": kind}

    expect_refusal({"prod": remove_field(settings, "secrets")}, "prod.secrets")
    expect_refusal({"prod": {**settings, "secrets": []}}, "prod.secrets")
    expect_refusal({"prod": {**settings, "secrets": None}}, "prod.secrets")


@pytest.mark.parametrize("short", ["", "       ", "seven77"])
def test_a_short_secret_is_rejected(short: str) -> None:
    expect_refusal({"prod": {**MLFLOW, "secrets": [short]}}, "prod.secrets")
    expect_refusal({"prod": {**MLFLOW, "secrets": [SECRET, short]}}, "prod.secrets")


@pytest.mark.parametrize("secrets", [SECRET, {"a": SECRET}, [SECRET, 7], [[SECRET]], [{"a": SECRET}], [None, SECRET]])
def test_secrets_of_another_type_are_rejected_and_not_printed(secrets: Any) -> None:
    expect_refusal({"prod": {**MLFLOW, "secrets": secrets}}, "prod.secrets")


@pytest.mark.parametrize("token", [[TOKEN], {"value": TOKEN}])
def test_a_token_of_another_type_is_rejected_and_not_printed(token: Any) -> None:
    expect_refusal({"prod": {**MLFLOW, "token": token}}, "prod.token")


def test_a_token_that_is_a_number_is_rejected_and_not_printed() -> None:
    with pytest.raises(InvalidSetting) as error:
        read({"prod": {**MLFLOW, "token": 8312947650}})
    assert "prod.token" in error.value.message
    assert "8312947650" not in error.value.message


@pytest.mark.parametrize("name", ["secret", "Secrets", "password", "signing_secret"])
def test_a_misspelt_secret_is_rejected_and_not_printed(name: str) -> None:
    expect_refusal({"prod": {**remove_field(MLFLOW, "secrets"), name: SECRET}}, "prod")
    expect_refusal({"prod": {**MLFLOW, name: [SECRET]}}, f"prod.{name}")


def test_a_registry_without_a_kind_is_rejected_and_its_secrets_are_not_printed() -> None:
    """For a missing field, Pydantic's error contains the surrounding object as its input."""
    expect_refusal({"prod": {"secrets": [SECRET], "token": TOKEN}}, "prod.kind")
    expect_refusal({"prod": {"token": TOKEN, "secrets": [SECRET]}}, "prod.kind")


def test_a_rule_without_an_event_is_rejected() -> None:
    expect_refusal({"prod": {**MLFLOW, "rules": [{"event": "created"}, {"dataset": "demo"}]}}, "prod.rules.1.event")


@pytest.mark.parametrize("settings", [SECRET, [SECRET], [{"kind": "mlflow", "secrets": [SECRET]}], None, 7])
def test_a_registry_of_another_type_is_rejected_and_not_printed(settings: Any) -> None:
    expect_refusal({"prod": settings}, "prod")


@pytest.mark.parametrize(
    "text", ['{"a": {"secrets": ["' + SECRET + '"]}', '["' + SECRET + '"]', '"' + SECRET + '"', SECRET]
)
def test_a_value_other_than_a_json_object_is_rejected_and_not_printed(text: str) -> None:
    with pytest.raises(InvalidSetting) as error:
        read_settings({"ERRATA_REGISTRIES": text})
    assert "ERRATA_REGISTRIES" in error.value.message
    assert SECRET not in error.value.message


@pytest.mark.parametrize("kind", ["sagemaker", "MLflow", "", None, 7])
def test_an_unknown_kind_is_rejected(kind: Any) -> None:
    expect_refusal({"prod": {**MLFLOW, "kind": kind}}, "prod.kind")


def test_an_unknown_field_is_rejected() -> None:
    expect_refusal({"prod": {**MLFLOW, "urls": "http://h"}}, "prod.urls")
    expect_refusal({"prod": {**MLFLOW, "rules": [{"event": "created", "datasets": "demo"}]}}, "prod.rules.0.datasets")


@pytest.mark.parametrize("name", ["", "a/b", "a b", ".a", "é", "x" * 65, "a\n", "{id}"])
def test_an_id_that_is_not_a_path_segment_is_rejected(name: str) -> None:
    expect_refusal({name: MLFLOW})


@pytest.mark.parametrize(
    "event", ["", "deleted", "alias", "alias:", "tag:", "created ", "CREATED", "tag:" + "x" * 300, 7]
)
def test_an_unknown_event_is_rejected(event: Any) -> None:
    expect_refusal({"prod": {**MLFLOW, "rules": [{"event": "created"}, {"event": event}]}}, "prod.rules.1.event")


@pytest.mark.parametrize("url", ["", "mlflow.example", "ftp://h", "databricks", "file:///tmp", "sqlite:///x"])
def test_mlflow_without_an_address_is_rejected(url: str) -> None:
    expect_refusal({"prod": {**MLFLOW, "url": url}}, "prod.url")


@pytest.mark.parametrize(
    "url",
    [
        "http://receiver.example/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://[::1]/",
        "https://receiver.example:8443/",
        f"https://{TOKEN}@receiver.example/",
        f"https://user:{TOKEN}@receiver.example/",
        "receiver.example",
    ],
)
def test_a_forbidden_address_for_results_is_rejected(url: str) -> None:
    expect_refusal({"prod": {**GENERIC, "url": url}}, "prod.url")


def test_an_invalid_network_is_rejected() -> None:
    settings = {**GENERIC, "url": "https://receiver.example/", "networks": ["10.0.0.0/8", "nonsense"]}

    assert "nonsense" in expect_refusal({"prod": settings}, "prod.networks")


@pytest.mark.parametrize("secret", ["whsec_no base64!", "errata test secret", "whsec_ééééé", "whsec_A"])
def test_a_generic_secret_that_is_not_base64_is_rejected_and_not_printed(secret: str) -> None:
    for secrets in ([secret], [KEY, secret]):
        text = expect_refusal({"prod": {"kind": "generic", "secrets": secrets}}, "prod.secrets")
        assert secret not in text


@pytest.mark.parametrize("secret", ["whsec_", "whsec_AA==", "whsec_MDEy"])
def test_a_generic_secret_with_a_short_key_is_rejected(secret: str) -> None:
    """The secrets have enough characters, but decode to a few bytes."""
    expect_refusal({"prod": {"kind": "generic", "secrets": [secret]}}, "prod.secrets")


@pytest.mark.parametrize(
    "text", ["", "version: 2\nname: x\nbounds: []\n", "no: policy", "{", "\x00", "[]", POLICY + "more: 1\n"]
)
def test_an_invalid_policy_is_rejected(tmp_path: Path, text: str) -> None:
    (tmp_path / "policy.yaml").write_text(text)
    rules = [{"event": "created"}, {"event": "created", "policy": str(tmp_path / "policy.yaml")}]

    expect_refusal({"prod": {**MLFLOW, "rules": rules}}, "prod.rules.1.policy")


def test_an_unreadable_policy_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes("name: é".encode("latin-1"))
    for path in (tmp_path / "nothing.yaml", tmp_path, tmp_path / "latin"):
        text = expect_refusal(
            {"prod": {**MLFLOW, "rules": [{"event": "created", "policy": str(path)}]}}, "prod.rules.0.policy"
        )
        assert str(path) in text


def test_a_policy_that_bounds_changes_needs_a_baseline(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(CHANGES)
    rule = {"event": "created", "policy": str(tmp_path / "policy.yaml")}

    expect_refusal({"prod": {**MLFLOW, "rules": [rule]}}, "prod.rules.0.baseline")
    assert read({"prod": {**MLFLOW, "rules": [{**rule, "baseline": "alias:champion"}]}})


@pytest.mark.parametrize("registry", [MLFLOW, GENERIC])
def test_printed_settings_contain_no_secret(registry: dict[str, Any]) -> None:
    settings = read_settings({"ERRATA_REGISTRIES": json.dumps({"prod": registry})})

    for text in (repr(settings), str(settings), settings.model_dump_json()):
        assert "prod" in text
        assert not any(hidden in text for hidden in HIDDEN)


def test_a_logged_registry_contains_no_secret() -> None:
    for registry in (MLFLOW, {**GENERIC, "url": "https://receiver.example/"}):
        registries = repr(read({"prod": registry}))
        assert registry["url"].partition("//")[2].partition(":")[0].strip("/") in registries
        assert not any(hidden in registries for hidden in (*HIDDEN, "0123456789abcdef"))


@pytest.mark.parametrize(
    "url", ["https://user:{}\uff03x@h", "https://user:{}[pw@h", "http://[", "https://h:{}", "https://"]
)
def test_an_invalid_address_is_refused_without_showing_it(url: str) -> None:
    message = expect_refusal({"prod": MLFLOW | {"url": url.format(TOKEN)}}, "prod.url", "invalid address")

    assert "https://HOST" in message
