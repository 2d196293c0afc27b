"""The manifests in deploy/examples: users, network access, and the resources that they name.

That their commands run is shown by tests/processes/test_examples.py.
"""

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import kubernetes_validate
import pytest
import yaml
from errata.cli.main import errata

from service.settings import read_settings

from .policy import Document, container_violations, pod_violations

DEPLOY = Path(__file__).parents[2] / "deploy"
EXAMPLES = DEPLOY / "examples"
FILES = ("argo-cd-presync.yaml", "argo-rollouts.yaml", "argo-workflows.yaml", "kserve-promotion.yaml")
OF_ROLLOUTS = ("argo-workflows.yaml", "kserve-promotion.yaml")  # examples with the ConfigMap of argo-rollouts.yaml
KUBECTL = "kubectl:1.33.4"
API = "errata-api.errata.svc"  # valid in every namespace
MANUAL = (DEPLOY / "kubernetes" / "README.md").read_text()
VERSION = re.findall(r"newTag: (\S+)", (DEPLOY / "kubernetes" / "overlays" / "cpu" / "kustomization.yaml").read_text())[
    0
]


def load(name: str) -> list[Document]:
    return [item for item in yaml.safe_load_all((EXAMPLES / name).read_text()) if item]


def jobs(documents: list[Document]) -> Iterator[Document]:
    """Return the specs of all Jobs, including those of analysis templates, and of the pods of workflows."""
    for document in documents:
        if document["kind"] == "Job":
            yield document["spec"]
        for metric in document.get("spec", {}).get("metrics", []):
            if "job" in metric["provider"]:
                yield metric["provider"]["job"]["spec"]
        if document["kind"] == "WorkflowTemplate":
            for template in document["spec"]["templates"]:
                pod = template | json.loads(template["podSpecPatch"]) | {"containers": [template["container"]]}
                yield {"template": {"metadata": template["metadata"], "spec": pod}}


def secrets(part: object) -> Iterator[Document]:
    """Yield the references to keys of Secrets in a document."""
    if isinstance(part, dict):
        if "secretKeyRef" in part:
            yield part["secretKeyRef"]
        for item in part.values():
            yield from secrets(item)
    elif isinstance(part, list):
        for item in part:
            yield from secrets(item)


def violations(documents: list[Document]) -> list[str]:
    """Return the problems of an example."""
    result: list[str] = []
    config_maps = {
        document["metadata"]["name"]: document["data"] for document in documents if document["kind"] == "ConfigMap"
    }
    for secret in (item for document in documents for item in secrets(document)):
        commands = re.findall(rf"create secret generic {secret['name']} --from-literal={secret['key']}=", MANUAL)
        if not commands:
            result.append(f"no Secret {secret['name']} with {secret['key']}")
        if secret.get("optional"):
            result.append(f"the Secret {secret['name']} is optional")
    for job in jobs(documents):
        spec = job["template"]["spec"]
        result += pod_violations(spec)
        if job["template"].get("metadata", {}).get("labels", {}).get("errata-client") != "true":
            result.append("has no label for access to the API")
        for volume in spec.get("volumes", []):
            if "configMap" in volume:
                name = volume["configMap"]["name"]
                keys = {item["key"] for item in volume["configMap"].get("items", [])}
                if not keys <= config_maps.get(name, {}).keys() or name not in config_maps:
                    result.append(f"no ConfigMap {name} with {keys or 'any key'}")
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            result += container_violations(container)
            if container["image"] != KUBECTL:
                result += _container_problems(container, config_maps)
    for template in documents:
        for metric in template.get("spec", {}).get("metrics", []):
            if "web" in metric["provider"]:
                result += _web_metric_problems(metric["provider"]["web"], template["spec"]["args"])
    return result


def _container_problems(container: Document, config_maps: Document) -> Iterator[str]:
    environment = {item["name"]: item for item in container["env"]}
    if container["image"] != f"errata-api:{VERSION}":
        yield f"runs an unknown image: {container['image']}"
    if "secretKeyRef" not in environment.get("ERRATA_TOKEN", {}).get("valueFrom", {}):
        yield "sends no token"
    if environment["ERRATA_SERVER"].get("value") != f"{API}:50051":
        yield "calls an address that other namespaces don't know"
    for item in environment.values():
        reference = item.get("valueFrom", {}).get("configMapKeyRef")
        if reference and reference["key"] not in config_maps.get(reference["name"], {}):
            yield f"no ConfigMap {reference['name']} with {reference['key']}"
    read_settings(
        {name: variable.get("value", "x") for name, variable in environment.items() if name.startswith("ERRATA_")}
    )
    name, *arguments = container["args"]
    command = errata.get_command(click.Context(errata), name)
    assert command is not None
    command.make_context(name, arguments)
    for option, value in zip(container["args"], container["args"][1:], strict=False):
        if option == "--policy":
            (mount,) = [item for item in container["volumeMounts"] if value.startswith(f"{item['mountPath']}/")]
            if not any(Path(value).name in item for item in config_maps.values()) or not mount["readOnly"]:
                yield f"no policy {value}"


def _web_metric_problems(web: Document, parameters: list[Document]) -> Iterator[str]:
    arguments = {item["name"]: item for item in parameters}
    if not web["url"].startswith(f"http://{API}:8080/v1/gates/"):
        yield "calls an address that other namespaces don't know"
    if {"key": "Authorization", "value": "Bearer {{args.token}}"} not in web.get("headers", []):
        yield "sends no token"
    if "secretKeyRef" not in arguments.get("token", {}).get("valueFrom", {}):
        yield "has a token in plain text, or none"
    for name in re.findall(r"\{\{\s*args\.(\w+)\s*\}\}", json.dumps(web)):
        if name not in arguments:
            yield f"has no argument {name}"


@pytest.mark.parametrize("name", FILES)
def test_an_example_meets_the_policy_and_names_existing_resources(name: str) -> None:
    release = [item for item in load("argo-rollouts.yaml") if item["kind"] == "ConfigMap"]
    assert violations(load(name) + (release if name in OF_ROLLOUTS else [])) == []


def test_a_promotion_runs_only_after_the_gate_and_only_for_one_service() -> None:
    account, role, binding, job = load("kserve-promotion.yaml")
    spec = job["spec"]["template"]["spec"]
    (gate,), (promote,) = spec["initContainers"], spec["containers"]
    assert (gate["name"], promote["name"], spec["restartPolicy"]) == ("gate", "promote", "Never")
    assert spec["serviceAccountName"] == account["metadata"]["name"] == binding["subjects"][0]["name"]
    assert role["rules"] == [
        {
            "apiGroups": ["serving.kserve.io"],
            "resources": ["inferenceservices"],
            "resourceNames": [promote["args"][2]],
            "verbs": ["get", "patch"],
        }
    ]
    assert json.loads(promote["args"][-1].removeprefix("--patch=")) == {
        "spec": {"predictor": {"canaryTrafficPercent": 100}}
    }
    assert "token" not in [mount["name"] for mount in gate["volumeMounts"]]


def test_each_example_of_a_cluster_is_tested() -> None:
    kinds = {file.name for file in EXAMPLES.glob("*.yaml") if "\nkind:" in file.read_text()}
    assert kinds == set(FILES)


def test_a_hook_of_argo_cd_uses_only_what_is_applied_before_it() -> None:
    config_map, job = load("argo-cd-presync.yaml")
    annotations = [item["metadata"]["annotations"] for item in (config_map, job)]
    assert [item["argocd.argoproj.io/hook"] for item in annotations] == ["PreSync", "PreSync"]
    before, after = (int(item.get("argocd.argoproj.io/sync-wave", "0")) for item in annotations)
    assert before < after


def test_a_job_fits_the_schema() -> None:
    for item in load("argo-cd-presync.yaml") + load("kserve-promotion.yaml"):
        kubernetes_validate.validate(item, kubernetes_validate.latest_version(), strict=True)
    (job,) = jobs(load("argo-rollouts.yaml"))
    whole = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "errata"}, "spec": job}
    kubernetes_validate.validate(whole, kubernetes_validate.latest_version(), strict=True)


def test_the_executor_of_a_workflow_has_an_account_with_a_token() -> None:
    """Without one, Argo refuses a template whose pods have no token."""
    documents = {(item["kind"], item["metadata"]["name"]): item for item in load("argo-workflows.yaml")}
    (template,) = documents["WorkflowTemplate", "errata-gate"]["spec"]["templates"]
    account = template["executor"]["serviceAccountName"]

    assert template["automountServiceAccountToken"] is False
    assert ("ServiceAccount", account) in documents
    secret = documents["Secret", f"{account}.service-account-token"]
    assert secret["metadata"]["annotations"] == {"kubernetes.io/service-account.name": account}
    binding = documents["RoleBinding", account]
    assert [(item["kind"], item["name"]) for item in binding["subjects"]] == [("ServiceAccount", account)]
    (rule,) = documents["Role", binding["roleRef"]["name"]]["rules"]
    assert (rule["resources"], rule["verbs"]) == (["workflowtaskresults"], ["create", "patch"])
    for kind, name in documents:
        if kind != "WorkflowTemplate":
            kubernetes_validate.validate(documents[kind, name], kubernetes_validate.latest_version(), strict=True)


def test_the_policies_in_the_examples_equal_the_example_policy() -> None:
    policy = yaml.safe_load((EXAMPLES / "release.yaml").read_text())
    texts = [item["data"]["release.yaml"] for name in FILES for item in load(name) if item["kind"] == "ConfigMap"]

    assert len(texts) == 2
    assert all(yaml.safe_load(text) == policy for text in texts)


def test_the_token_of_an_example_is_private_and_read_only() -> None:
    (block,) = [item for item in re.findall(r"^```\w*\n(.+?)^```", MANUAL, re.M | re.S) if "errata-token " in item]
    assert block.startswith("(umask 077; errata token ")
    assert "--scope read" in block


def _job(documents: list[Document]) -> Document:
    return next(jobs(documents))


def _container(documents: list[Document]) -> Document:
    return _job(documents)["template"]["spec"]["containers"][0]


def _web(documents: list[Document]) -> Document:
    return documents[0]["spec"]["metrics"][0]["provider"]["web"]


BREAKING: dict[str, tuple[Callable[[list[Document]], object], str]] = {
    "no label": (lambda all_: _job(all_)["template"].pop("metadata"), "no label"),
    "root": (lambda all_: _job(all_)["template"]["spec"].pop("securityContext"), "may run as root"),
    "a writable root": (lambda all_: _container(all_).pop("securityContext"), "may write to its root"),
    "no limits": (lambda all_: _container(all_).pop("resources"), "no memory limit"),
    "latest": (lambda all_: _container(all_).update(image="errata-api:latest"), "an unknown image"),
    "no token": (lambda all_: _container(all_)["env"].pop(), "sends no token"),
    "a short name": (lambda all_: _container(all_)["env"][0].update(value="errata-api:50051"), "don't know"),
    "another's ConfigMap": (lambda all_: all_.pop(), "no ConfigMap errata-release"),
    "no header": (lambda all_: _web(all_).pop("headers"), "sends no token"),
    "a short address": (lambda all_: _web(all_).update(url="http://errata-api:8080/v1/gates/"), "don't know"),
    "a token in plain text": (lambda all_: all_[0]["spec"]["args"][-1].update(valueFrom={}), "in plain text"),
    "an unknown Secret": (
        lambda all_: all_[0]["spec"]["args"][-1]["valueFrom"]["secretKeyRef"].update(name="more"),
        "no Secret more",
    ),
    "an optional Secret": (
        lambda all_: all_[0]["spec"]["args"][-1]["valueFrom"]["secretKeyRef"].update(optional=True),
        "is optional",
    ),
}


@pytest.mark.parametrize("change", BREAKING)
def test_the_checks_detect_invalid_examples(change: str) -> None:
    documents = copy.deepcopy(load("argo-rollouts.yaml"))
    do, complaint = BREAKING[change]

    do(documents)

    assert any(complaint in violation for violation in violations(documents)), violations(documents)
