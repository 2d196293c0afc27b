"""The Helm chart in deploy/helm/errata: its files, its renderings, and the values that it refuses."""

import copy
import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml

from service.settings import Settings, read_settings

from .conftest import KUBERNETES, ROOT, Document, Render
from .test_kubernetes import (
    CUSTOM,
    SCHEMAS,
    SECRETS,
    expand,
    find,
    names,
    pod,
    pods,
    required_secrets,
    settings,
    violations,
)

CHART = ROOT / "deploy" / "helm" / "errata"
FILES = sorted((CHART / "ci").iterdir())
CUSTOM_KINDS = CUSTOM | {"HTTPRoute", "GRPCRoute"}
DIGEST = "ab" * 32
KEEP = {"helm.sh/resource-policy": "keep"}
SECRET_VALUES = yaml.safe_load((CHART / "values.yaml").read_text())["secrets"]  # names of Secrets by their value
OBJECT_STORE = {"archive": {"url": "s3://errata/archive"}}
TLS = {"tls": {"enabled": True}}
IMAGES = {"datasetImages": {"enabled": True}}
GPU = {"worker": {"device": "gpu"}}
VOLUME = {"evidence": {"source": "volume", "digest": DIGEST}}
STORED = {"evidence": {"source": "objectStore", "digest": DIGEST, "url": "s3://errata/evidence/imagenet"}}
OPEN = {"networkPolicy": {"enabled": False}}
KEDA, MONITORING = {"keda": {"enabled": True}}, {"monitoring": {"enabled": True}}
EQUAL: dict[tuple[str, ...], Document] = {  # an overlay with components: the values for the same objects
    ("cpu",): {},
    ("gpu",): GPU,
    ("keda",): GPU | KEDA,
    ("monitoring",): MONITORING,
    ("trial",): {"trial": True},
    ("cpu", "tls"): TLS,
    ("monitoring", "tls"): MONITORING | TLS,
    ("cpu", "tls", "client-certificates"): {"tls": {"enabled": True, "clientCertificates": True}},
    ("cpu", "object-store"): OBJECT_STORE,
    ("cpu", "images"): IMAGES,
    ("cpu", "weights-volume"): {"worker": {"cache": {"persistent": True}}},
    ("cpu", "evidence-volume"): VOLUME,
    ("cpu", "evidence-object-store"): STORED,
    ("keda", "monitoring", "tls", "object-store", "images", "evidence-object-store"): (
        GPU | KEDA | MONITORING | TLS | OBJECT_STORE | IMAGES | STORED
    ),
}


def render_chart(values: Document, namespace: str = "errata") -> dict[str, str]:
    """Return the rendered templates by name."""
    with helm_python.Chart.load(CHART) as chart:
        rendered = chart.render(values, name="errata", namespace=namespace)
    return {path.removeprefix("errata/templates/"): text for path, text in rendered.items()}


def render_objects(values: Document, namespace: str = "errata") -> list[Document]:
    """Return the objects of a release."""
    texts = [text for path, text in render_chart(values, namespace).items() if path.endswith(".yaml")]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def _read(file: Path) -> Document:
    return yaml.safe_load(file.read_text())


def _manual_examples() -> list[str]:
    """Return the values in the manual."""
    manual = (ROOT / "docs" / "how-to" / "helm.md").read_text()
    return re.findall(r"^ *```yaml\n(.+?)^ *```", manual, re.MULTILINE | re.DOTALL)


# Files


def test_the_manifests_of_the_chart_are_those_of_kustomize(render: Render) -> None:
    generated = runpy.run_path(str(ROOT / "deploy" / "helm" / "generate.py"))["chart_files"]()

    files = [path for folder in ("manifests", "patches") for path in (CHART / folder).rglob("*.yaml")]
    assert {str(path.relative_to(CHART)): path.read_text() for path in files} == generated, (
        "python deploy/helm/generate.py"
    )


def test_the_chart_has_the_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = _read(CHART / "Chart.yaml")
    assert (chart["version"], chart["appVersion"]) == (project, project)


@pytest.mark.parametrize("values", [{}, *map(_read, FILES)], ids=["defaults", *(file.stem for file in FILES)])
def test_lint_has_no_warnings(values: Document) -> None:
    report = helm_python.lint(CHART, values, strict=True)
    assert report["errors"] == []
    assert [item["error"] for item in report["messages"]] == ["icon is recommended"]


def test_a_package_has_all_files(tmp_path: Path) -> None:
    archive = helm_python.package(CHART, destination=tmp_path)
    with helm_python.Chart.load(archive) as chart:
        assert chart.render({}, name="errata", namespace="errata") == {
            f"errata/templates/{path}": text for path, text in render_chart({}).items()
        }


# The same objects as Kustomize


def normalize(document: Document) -> tuple[str, Document]:
    """Return the name and content of an object without what only Kustomize or only Helm adds."""
    text = re.sub(r"\b(errata-(?:api|worker|redis|fetch))-[a-z0-9]{10}\b", r"\1", yaml.safe_dump(document))
    document = yaml.safe_load(text.replace("the-digest-of-your-bundle", DIGEST))
    labels = document["metadata"].pop("labels", {})
    own = {key: value for key, value in labels.items() if not re.match(r"helm\.sh/|app\.kubernetes\.io/(?!comp)", key)}
    if own:
        document["metadata"]["labels"] = own
    if document["metadata"].get("annotations") in ({}, KEEP):
        del document["metadata"]["annotations"]
    if "template" in document.get("spec", {}) and "annotations" in document["spec"]["template"]["metadata"]:
        annotations = document["spec"]["template"]["metadata"].pop("annotations")
        assert annotations.keys() == {"checksum/config"}
    return f"{document['kind']}-{document['metadata']['name']}", document


@pytest.mark.parametrize("parts", EQUAL, ids="-".join)
def test_the_chart_renders_the_objects_of_kustomize(render: Render, parts: tuple[str, ...]) -> None:
    overlay = [document for document in render(*parts) if document["kind"] != "Namespace"]

    expected = dict(map(normalize, overlay))
    actual = dict(map(normalize, render_objects(EQUAL[parts])))

    assert actual.keys() == expected.keys()
    for name in expected:
        assert actual[name] == expected[name], name


def test_each_component_is_compared() -> None:
    compared = {part for parts in EQUAL for part in parts}
    folders = [*(KUBERNETES / "components").iterdir(), *(KUBERNETES / "overlays").iterdir()]
    assert {folder.name for folder in folders} == compared


# Value files


def _installed(values: Document) -> list[Document]:
    """Return the objects in the namespace of a release, with the default names of Secrets and images."""
    text = yaml.safe_dump_all(render_objects(values)).replace("registry.example/", "")
    for name, secret in values.get("secrets", {}).items():
        text = re.sub(rf"(\b(?:name|secretName): ){secret}$", rf"\1{SECRET_VALUES[name]}", text, flags=re.MULTILINE)
    documents = list(yaml.safe_load_all(text))
    documents.append(yaml.safe_load((KUBERNETES / "base" / "namespace.yaml").read_text()))
    claims = [
        value["existingClaim"] for value in values.values() if isinstance(value, dict) and "existingClaim" in value
    ]
    documents += [
        {"kind": "PersistentVolumeClaim", "metadata": {"name": claim, "namespace": "errata"}} for claim in claims
    ]
    return documents


def test_there_are_five_value_files() -> None:
    assert len(FILES) == 5


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_objects_of_a_value_file_meet_the_policy(file: Path) -> None:
    assert violations(_installed(_read(file))) == []


@pytest.mark.parametrize("version", SCHEMAS)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_objects_of_a_value_file_match_the_schemas(file: Path, version: str) -> None:
    for document in render_objects(_read(file)):
        if document["kind"] not in CUSTOM_KINDS:
            kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_objects_are_in_the_namespace_of_the_release_and_have_its_labels(file: Path) -> None:
    documents = render_objects(_read(file), namespace="ml")

    for document in documents:
        assert document["metadata"]["namespace"] == "ml"
        assert document["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"
    assert ".errata.svc" not in yaml.safe_dump_all(documents)
    assert len({(document["kind"], document["metadata"]["name"]) for document in documents}) == len(documents)


# Values


def _strings(node: Any) -> set[str]:
    """Return all strings in an object."""
    if isinstance(node, dict):
        return {item for value in node.values() for item in _strings(value)}
    if isinstance(node, list):
        return {item for value in node for item in _strings(value)}
    return {node} if isinstance(node, str) else set()


def test_secrets_are_renamed_wherever_they_are_used() -> None:
    secrets = {name: f"renamed-{name.lower()}" for name in SECRET_VALUES}
    values = EQUAL[("keda", "monitoring", "tls", "object-store", "images", "evidence-object-store")]
    values = copy.deepcopy(values) | {"secrets": secrets}
    values["tls"]["clientCertificates"] = True

    used = {text for document in render_objects(values) for text in _strings(document)}

    assert set(secrets.values()) <= used
    assert not (set(SECRETS) - {"errata-redis", "errata-client"}) & used  # names of a Service and of a label, too
    for document in render_objects(values):
        for text in re.findall(r"secret\w*: \{[^}]*name: ([\w-]+)", yaml.safe_dump(document, default_flow_style=True)):
            assert text.startswith("renamed-"), document["metadata"]["name"]


def _numbers(node: Any, key: str = "") -> set[str]:
    """Return the keys of numbers in an object."""
    if isinstance(node, dict):
        return {item for name, value in node.items() for item in _numbers(value, name)}
    if isinstance(node, list):
        return {item for value in node for item in _numbers(value, key)}
    return {key} if isinstance(node, float | int) and not isinstance(node, bool) else set()


def test_names_that_look_like_numbers_stay_strings() -> None:
    values = {
        "secrets": dict.fromkeys(SECRET_VALUES, "123"),
        "images": {"pullSecrets": ["123"]},
        "archive": {"storageClass": "123", "size": "456"},
        "keda": {"enabled": True, "namespace": "123"},
        "monitoring": {"enabled": True, "namespace": "123", "labels": {"release": "123"}},
        "tls": {"enabled": True, "clientCertificates": True},
        "worker": {"runtimeClassName": "123", "nodeSelector": {"pool": "123"}, "cache": {"persistent": True}},
        "ingress": {"http": {"enabled": True, "host": "123", "className": "123", "tlsSecret": "123"}},
    }

    for document in render_objects(values, namespace="123"):
        kinds = {"name", "namespace", "secretName", "storageClassName", "storage", "host", "hosts", "release", "pool"}
        assert not kinds & _numbers(document), document["metadata"]["name"]
        assert document["metadata"]["namespace"] == "123"
        if document["kind"] not in CUSTOM_KINDS:
            kubernetes_validate.validate(document, SCHEMAS[-1], strict=True)


def test_images_come_from_the_registry_by_digest_or_tag() -> None:
    documents = render_objects(_read(CHART / "ci" / "production.yaml"))

    api = {container["image"] for container in pod(documents, "api").containers}
    assert api == {f"registry.example/errata-api@sha256:{'1' * 64}"}
    (redis,) = pod(documents, "redis").containers
    assert redis["image"] == "registry.example/redis:7.4.6-alpine"
    assert all(item.spec["imagePullSecrets"] == [{"name": "registry"}] for item in pods(documents))


def test_resources_are_merged_with_those_of_the_manifests() -> None:
    values = {"api": {"resources": {"requests": {"cpu": 3}, "limits": {"memory": "5Gi"}}}}
    default = pod(render_objects({}), "api").spec["containers"][0]["resources"]

    (container,) = pod(render_objects(values), "api").spec["containers"]

    assert container["resources"]["requests"] == default["requests"] | {"cpu": 3}
    assert container["resources"]["limits"] == {"memory": "5Gi"}


def test_large_numbers_and_booleans_become_settings() -> None:
    values = {"worker": {"settings": {"ERRATA_MAX_DOWNLOAD_BYTES": 21474836480, "ERRATA_LOG_FORMAT": "text"}}}
    documents = render_objects(values)

    known = settings(documents, pod(documents, "worker").spec["containers"][0])

    assert known.max_download_bytes == 21474836480
    assert known.log_format == "text"
    variables = {"ERRATA_TLS": True, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.monitoring:4317"}
    data = find(render_objects({"api": {"settings": variables}}), "ConfigMap", "errata-api")["data"]
    assert data["ERRATA_TLS"] == "true"
    assert data["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector.monitoring:4317"


@pytest.mark.parametrize(
    ("component", "grace", "period"),
    [
        ("api", 20, 35),
        ("worker", 60, 70),
        ("api", "300", 315),
        ("worker", 90.5, 101),
        ("api", 0, 15),
        ("worker", 0, 10),
    ],
)
def test_pods_are_killed_only_after_the_grace_period(component: str, grace: float | str, period: int) -> None:
    documents = render_objects({component: {"settings": {"ERRATA_GRACE_SECONDS": grace}}})

    assert pod(documents, component).spec["terminationGracePeriodSeconds"] == period
    if grace in (20, 60):  # the defaults
        assert pod(render_objects({}), component).spec["terminationGracePeriodSeconds"] == period


def _checksum(documents: list[Document], component: str) -> str:
    (document,) = [
        document
        for document in documents
        if document["kind"] in {"Deployment", "StatefulSet"} and document["metadata"]["name"] == f"errata-{component}"
    ]
    return document["spec"]["template"]["metadata"]["annotations"]["checksum/config"]


def test_changed_settings_restart_only_the_pods_that_read_them() -> None:
    before = render_objects({})
    after = render_objects({"api": {"settings": {"ERRATA_PUBLIC_URL": "https://errata.example"}}})

    assert _checksum(before, "api") != _checksum(after, "api")
    assert _checksum(before, "worker") == _checksum(after, "worker")
    assert _checksum(before, "redis") == _checksum(after, "redis")


@pytest.mark.parametrize("values", [VOLUME, STORED], ids=["volume", "objectStore"])
def test_the_bundle_of_an_own_data_set_is_verified_and_served(values: Document) -> None:
    documents = render_objects({"evidence": values["evidence"] | {"dataset": "products"}})
    (*fetch, verify) = pod(documents, "api").spec["initContainers"]
    (container,) = pod(documents, "api").spec["containers"]

    assert settings(documents, container).evidence == {"products": [Path("/evidence/products")]}
    assert expand(documents, verify) == ["evidence", "verify", "/evidence/products", "--digest", DIGEST]
    assert all(expand(documents, item) == [STORED["evidence"]["url"], "/evidence/products"] for item in fetch)


def test_claims_have_the_size_class_and_mode_of_the_values() -> None:
    claim = {"size": "7Gi", "storageClass": "fast", "accessMode": "ReadWriteOnce"}
    values = {
        "api": {"replicas": 1, "autoscaling": {"enabled": False}},
        "archive": claim,
        "evidence": claim | VOLUME["evidence"],
        "datasetImages": claim | {"enabled": True, "accessMode": "ReadWriteMany"},  # API and workers mount it
        "worker": {"cache": claim | {"persistent": True}},
        "redis": {"size": "7Gi", "storageClass": "fast"},
    }
    documents = render_objects(values)
    (template,) = find(documents, "StatefulSet")["spec"]["volumeClaimTemplates"]
    assert template["metadata"]["name"] == "data"

    expected = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "7Gi"}},
    }
    claims = {item["metadata"]["name"]: item["spec"] for item in documents if item["kind"] == "PersistentVolumeClaim"}
    assert claims.pop("errata-images") == expected | {"accessModes": ["ReadWriteMany"]}
    assert [*claims.values(), template["spec"]] == [expected] * 4


def test_one_node_can_mount_all_claims_of_a_trial() -> None:
    values = IMAGES | VOLUME | {"trial": True, "worker": {"cache": {"persistent": True}}}
    claims = [item for item in render_objects(values) if item["kind"] == "PersistentVolumeClaim"]

    assert [claim["spec"]["accessModes"] for claim in claims] == [["ReadWriteOnce"]] * 4
    values["datasetImages"] = {"enabled": True, "accessMode": "ReadWriteMany"}
    claim = find(render_objects(values), "PersistentVolumeClaim", "errata-images")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_an_uninstallation_keeps_the_claims() -> None:
    documents = render_objects(IMAGES | VOLUME | {"worker": {"cache": {"persistent": True}}})

    claims = [document for document in documents if document["kind"] == "PersistentVolumeClaim"]
    assert len(claims) == 4
    assert all(claim["metadata"]["annotations"] == KEEP for claim in claims)


def test_an_existing_claim_is_mounted_and_no_claim_is_made() -> None:
    values = {"archive": {"existingClaim": "mine"}, "worker": {"cache": {"persistent": True, "existingClaim": "cache"}}}
    documents = render_objects(values)

    assert names(documents, "PersistentVolumeClaim") == set()
    for component, claim in (("api", "mine"), ("worker", "cache")):
        (volume,) = [item for item in pod(documents, component).spec["volumes"] if item["name"] == "data"]
        assert volume["persistentVolumeClaim"] == {"claimName": claim}


def test_an_external_redis_replaces_the_bundled_one() -> None:
    documents = render_objects(_read(CHART / "ci" / "external-redis.yaml"))

    assert names(documents, "StatefulSet") == set()
    assert "errata-redis" not in names(documents, "Service") | names(documents, "ConfigMap")
    assert not {"redis", "to-redis", "outside"} & names(documents, "NetworkPolicy")
    egress = find(documents, "NetworkPolicy", "extra-egress")["spec"]["egress"]
    assert egress[0]["ports"][0]["port"] == 6380
    (trigger,) = find(documents, "ScaledObject")["spec"]["triggers"]
    assert trigger["metadata"] == {
        "address": "redis.example:6380",
        "databaseIndex": "0",
        "enableTLS": "true",
        "listLength": "1",
        "listName": "errata:open:models",
    }


def test_without_autoscaling_the_number_of_pods_is_fixed() -> None:
    documents = render_objects(_read(CHART / "ci" / "own-evidence.yaml"))

    assert names(documents, "HorizontalPodAutoscaler") == set()
    assert find(documents, "Deployment", "errata-api")["spec"]["replicas"] == 3
    assert find(documents, "Deployment", "errata-worker")["spec"]["replicas"] == 2


def test_the_autoscalers_have_the_limits_of_the_values() -> None:
    values = {"api": {"autoscaling": {"minReplicas": 3, "maxReplicas": 9, "targetCPU": 50}}}
    documents = render_objects(values | {"keda": {"enabled": True, "minReplicas": 2, "maxReplicas": 7}})

    spec = find(documents, "HorizontalPodAutoscaler")["spec"]
    target = spec["metrics"][0]["resource"]["target"]["averageUtilization"]
    assert (spec["minReplicas"], spec["maxReplicas"], target) == (3, 9, 50)
    spec = find(documents, "ScaledObject")["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 7)


def test_workers_run_on_the_chosen_nodes() -> None:
    spec = pod(render_objects(_read(CHART / "ci" / "gpu-keda.yaml")), "worker").spec

    assert spec["runtimeClassName"] == "nvidia"
    assert spec["nodeSelector"] == {"accelerator": "nvidia"}
    assert spec["tolerations"] == [{"key": "gpu-only", "operator": "Exists", "effect": "NoSchedule"}]
    assert spec["containers"][0]["image"] == "errata-worker:0.1.0-cuda"


def test_an_ingress_leads_to_the_port_of_its_name() -> None:
    documents = render_objects(_read(CHART / "ci" / "production.yaml"))
    ports = {item["name"] for item in find(documents, "Service", "errata-api")["spec"]["ports"]}

    for port, host in (("http", "errata.example"), ("grpc", "grpc.errata.example")):
        spec = find(documents, "Ingress", f"errata-api-{port}")["spec"]
        (rule,) = spec["rules"]
        service = rule["http"]["paths"][0]["backend"]["service"]
        assert port in ports
        assert (rule["host"], service) == (host, {"name": "errata-api", "port": {"name": port}})
        assert spec["tls"] == [{"hosts": [host], "secretName": "errata-example"}]
        assert spec["ingressClassName"] == "nginx"


def test_nginx_accepts_uploads_of_the_maximum_size() -> None:
    """Its default of 1 MB also limits the stream of a gRPC call."""
    values = [_read(CHART / "ci" / "production.yaml"), *map(yaml.safe_load, _manual_examples())]
    ingresses = [item for value in values for item in render_objects(value) if item["kind"] == "Ingress"]

    limit = f"{read_settings({}).max_upload_bytes >> 20}m"
    assert len(ingresses) == 3
    for ingress in ingresses:
        assert ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-body-size"] == limit


def test_routes_of_the_gateway_lead_to_the_ports_of_the_service() -> None:
    documents = render_objects(_read(CHART / "ci" / "external-redis.yaml"))
    ports = {item["name"]: item["port"] for item in find(documents, "Service", "errata-api")["spec"]["ports"]}

    for kind, port in (("HTTPRoute", "http"), ("GRPCRoute", "grpc")):
        route = find(documents, kind, "errata-api")
        assert route["apiVersion"] == "gateway.networking.k8s.io/v1"
        assert route["spec"]["parentRefs"] == [{"name": "public", "namespace": "gateways"}]
        assert route["spec"]["rules"] == [{"backendRefs": [{"name": "errata-api", "port": ports[port]}]}]


def test_network_policies_and_budgets_can_be_left_out() -> None:
    kinds = {
        document["kind"]
        for document in render_objects(
            {
                "networkPolicy": {"enabled": False, "extraEgress": [{}]},
                "podDisruptionBudget": {"enabled": False},
                "monitoring": {"enabled": True, "rules": False},
            }
        )
    }
    assert not {"NetworkPolicy", "PodDisruptionBudget", "PrometheusRule"} & kinds
    assert "ServiceMonitor" in kinds


def test_the_namespaces_of_prometheus_and_keda_can_be_set() -> None:
    values = {"monitoring": {"enabled": True, "namespace": "prom", "labels": {"release": "stack"}}}
    documents = render_objects(values | {"keda": {"enabled": True, "namespace": "scaler"}})

    for name, space in (("prometheus-to-api", "prom"), ("prometheus-to-worker", "prom"), ("keda-to-redis", "scaler")):
        (rule,) = find(documents, "NetworkPolicy", name)["spec"]["ingress"]
        labels = {"kubernetes.io/metadata.name": space}
        assert rule["from"] == [{"namespaceSelector": {"matchLabels": labels}}]
    for kind, name in (("ServiceMonitor", "errata-api"), ("ServiceMonitor", "errata-worker"), ("PrometheusRule", "")):
        assert find(documents, kind, name)["metadata"]["labels"]["release"] == "stack"


def test_a_patch_changes_what_no_value_changes() -> None:
    api = {
        "containers": [{"name": "api", "env": [{"name": "HTTPS_PROXY", "value": "http://proxy"}], "lifecycle": None}]
    }
    patches = {
        "Deployment-errata-api": {"spec": {"template": {"spec": api}}},
        "Service-errata-api-headless": {"$patch": "delete"},
    }
    documents = render_objects({"patches": patches})

    (container,) = pod(documents, "api").spec["containers"]
    assert {"name": "HTTPS_PROXY", "value": "http://proxy"} in container["env"]
    assert "lifecycle" not in container
    assert container["args"] == ["serve"]
    assert "errata-api-headless" not in names(documents, "Service")


# Refused values


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"replicas": 3}, "replicas"),
        ({"api": {"replica": 3}}, "replica"),
        ({"images": {"api": {"name": "errata-api"}}}, "name"),
        ({"ingress": {"http": {"hosts": ["errata.example"]}}}, "hosts"),
        ({"api": {"replicas": "3"}}, "replicas"),
        ({"trial": "yes"}, "trial"),
        ({"worker": {"device": "tpu"}}, "device"),
        ({"api": {"resources": {"request": {}}}}, "request"),
        ({"api": {"resources": {"requests": {"memory": "2 GB"}}}}, "memory"),
        ({"api": {"settings": {"PUBLIC_URL": "https://errata.example"}}}, "PUBLIC_URL"),
        ({"images": {"api": {"tag": "latest"}}}, "tag"),
        ({"images": {"api": {"digest": "sha256:1"}}}, "digest"),
        ({"archive": {"accessMode": "ReadOnlyMany"}}, "accessMode"),
        ({"archive": {"url": "bucket/archive"}}, "url"),
        ({"evidence": {"digest": "the-digest"}}, "digest"),
        ({"ingress": {"http": {"enabled": True}}}, "host"),
        ({"grpcRoute": {"enabled": True}}, "parentRefs"),
        ({"patches": {"errata-api": {}}}, "errata-api"),
    ],
    ids=str,
)
def test_the_schema_refuses_unknown_keys_and_wrong_values(values: Document, key: str) -> None:
    with pytest.raises(helm_python.HelmError) as refused:
        render_objects(values)
    assert key in str(refused.value)
    assert "schema" in str(refused.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (KEDA | {"redis": {"bundled": False}}, "set redis.host to HOST:PORT"),
        (KEDA | {"worker": {"replicas": 2}}, "worker.replicas is 2, but KEDA sets the number of workers"),
        ({"evidence": {"source": "volume"}}, "evidence.digest is empty"),
        ({"evidence": {"dataset": "products"}}, "evidence.source is package, which has only imagenet-real"),
        ({"evidence": {"source": "objectStore", "digest": DIGEST}}, "evidence.url is empty"),
        ({"tls": {"clientCertificates": True}}, "Set tls.enabled to true"),
        ({"api": {"settings": {"ERRATA_FOO": 1}}}, "api.settings: unknown setting ERRATA_FOO. Settings: ERRATA_ALLOW"),
        ({"worker": {"settings": {"ERRATA_LOG_LEVELS": "info"}}}, "unknown setting ERRATA_LOG_LEVELS"),
        ({"patches": {"Deployment-errata": {}}}, "unknown object Deployment-errata. Objects: ConfigMap-errata-api,"),
    ],
    ids=str,
)
def test_values_that_do_not_fit_together_are_refused_with_a_remedy(values: Document, message: str) -> None:
    with pytest.raises(helm_python.HelmError) as refused:
        render_objects(values)
    assert message in str(refused.value)


def test_settings_are_refused_with_the_replacement_in_the_manual() -> None:
    manual = (ROOT / "docs" / "how-to" / "helm.md").read_text()
    rows = re.findall(r"^\| (`(?:ERRATA|OTEL)_.+?) \| .*?`([\w.]+)`.* \|$", manual, re.MULTILINE)
    refused = {setting: value for cell, value in rows for setting in re.findall(r"`(\w+)`", cell)}
    api_only, worker_only = {"ERRATA_ARCHIVE"}, {"ERRATA_DEVICE", "ERRATA_THREADS"}
    assert api_only | worker_only | {"ERRATA_ALLOW_INSECURE", "ERRATA_REGISTRIES"} <= refused.keys()

    for component, settings_of_others in (("api", worker_only), ("worker", api_only)):
        for setting in refused.keys() - settings_of_others:
            with pytest.raises(helm_python.HelmError) as error:
                render_objects({component: {"settings": {setting: "1"}}})
            message = re.search(rf"{component}\.settings must not have {setting}\. Use .+ instead\.", str(error.value))
            value = refused[setting]
            if (component, setting) == ("worker", "ERRATA_REGISTRIES"):
                value = "secrets.workerRegistries"
            assert message is not None
            assert value == "valueFrom.secretKeyRef" or value in message[0]


def test_all_settings_of_the_service_are_known_except_the_replaced_ones() -> None:
    known = yaml.safe_load((CHART / "manifests" / "settings.yaml").read_text())
    assert set(known) == {f"ERRATA_{name.upper()}" for name in Settings.model_fields}
    assert render_objects({"worker": {"settings": {"ERRATA_BATCH_SIZE": 8, "OTEL_TRACES_EXPORTER": "none"}}})


def _nodes(schema: Document, path: str = "") -> list[tuple[str, Document]]:
    """Return the objects with properties in a schema, by their path."""
    nodes = [(path, schema)] if "properties" in schema and "type" in schema else []
    for name, part in {**schema.get("properties", {}), **schema.get("$defs", {})}.items():
        nodes += _nodes(part, f"{path}.{name}")
    return nodes


def test_the_schema_has_exactly_the_values_and_refuses_others() -> None:
    with helm_python.Chart.load(CHART) as chart:
        schema, values = chart.schema, chart.values

    assert schema is not None
    assert schema["properties"].keys() == values.keys() | {"global"}
    for path, node in _nodes(schema):
        assert node["additionalProperties"] is False, path
    for name, part in values.items():
        if isinstance(part, dict) and "properties" in schema["properties"][name]:
            assert schema["properties"][name]["properties"].keys() == part.keys(), name


# Notes and manual


def test_the_notes_name_the_secrets_and_warn_about_plain_text() -> None:
    plain = render_chart({})["NOTES.txt"]
    secure = render_chart(_read(CHART / "ci" / "production.yaml"), namespace="ml")["NOTES.txt"]

    assert "errata-tokens with the key `tokens`" in plain
    assert "TLS is off" in plain
    assert "errata-client=true" not in plain
    assert "TLS is off" not in secure
    assert "errata-certificate with the keys" in secure
    assert "kubectl label namespace NAMESPACE errata-client=true" in secure
    assert "kubectl -n ml port-forward" in secure
    for notes in (plain, secure):
        assert re.search(r"port-forward .+ &\n  until errata health; .+\n  ERRATA_TOKEN=.+ errata list$", notes, re.M)
    assert "export ERRATA_SERVER=localhost:50051 ERRATA_TLS=true ERRATA_CA_FILE=ca.crt\n" in secure


@pytest.mark.parametrize(
    ("values", "keys"),
    [
        ({}, "keys `url` and `password`"),
        (OPEN | {"redis": {"bundled": False}}, "key `url`"),
        (OPEN | KEDA | {"redis": {"bundled": False, "host": "redis.example:6379"}}, "keys `url` and `password`"),
    ],
    ids=str,
)
def test_the_notes_name_the_keys_of_redis_that_pods_read(values: Document, keys: str) -> None:
    assert f"errata-redis with the {keys}\n" in render_chart(values)["NOTES.txt"]


def test_the_manual_has_each_value_and_its_example_renders() -> None:
    manual = (ROOT / "docs" / "how-to" / "helm.md").read_text()
    with helm_python.Chart.load(CHART) as chart:
        values = chart.values

    for name in values:
        assert re.search(rf"`{name}\b", manual), name
    examples = _manual_examples()
    assert len(examples) == 3
    for example in examples:
        assert violations(_installed(yaml.safe_load(example))) == []
    created = set(re.findall(r"create secret \w+ (\S+)", manual))
    assert created == {"errata-tokens", "errata-redis", "errata-tls", "errata-example"}
    documents = _installed(yaml.safe_load(examples[0]))
    ingresses = [document["spec"] for document in documents if document["kind"] == "Ingress"]
    assert created == required_secrets(documents) | {item["tls"][0]["secretName"] for item in ingresses}
    for path in re.findall(r"\bdeploy/[\w./-]+", manual):
        assert (ROOT / path).exists(), path


def test_secrets_of_the_manual_are_private_files() -> None:
    manual = (ROOT / "docs" / "how-to" / "helm.md").read_text()
    assert manual.index("umask 077") < manual.index("> ci.token")
