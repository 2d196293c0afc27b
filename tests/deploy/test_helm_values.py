"""Values of the Helm chart: patches, images, formats, and combinations that the chart refuses."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import helm_python
import pytest
import yaml

from .conftest import KUBERNETES, ROOT, Document
from .test_helm import CHART, KEEP, normalize, render_objects
from .test_kubernetes import find, names, pod


def _fail(values: Document) -> str:
    """Return the error of values that the chart refuses."""
    with pytest.raises(helm_python.HelmError) as refused:
        render_objects(values)
    return str(refused.value)


# Patches


def _pod_patch(spec: Document) -> Document:
    return {"spec": {"template": {"spec": spec}}}


PATCHES: dict[str, Document] = {
    "Service-errata-api": {"spec": {"ports": [{"name": "debug", "port": 5678}]}},
    "Service-errata-api-headless": {"spec": {"ports": [{"port": 50051, "name": "calls"}, {"name": "new", "port": 1}]}},
    "Deployment-errata-api": _pod_patch(
        {
            "dnsConfig": {"nameservers": None, "searches": ["example"]},
            "containers": [
                {
                    "name": "api",
                    "ports": [{"containerPort": 5678, "name": "debug"}, {"containerPort": 9464, "name": "m"}],
                },
                {"name": "proxy", "image": "registry.example/proxy:1", "ports": [{"containerPort": 3128}]},
            ],
        }
    ),
    "Deployment-errata-worker": _pod_patch(
        {
            "securityContext": {"$patch": "delete"},
            "containers": [{"name": "worker", "ports": [{"containerPort": 8081, "$patch": "delete"}]}],
        }
    ),
}


def _kustomize(folder: Path, patches: dict[str, Document]) -> list[Document]:
    """Return the objects of the overlay for CPUs with patches."""
    targets = [dict(zip(("kind", "name"), name.split("-", 1), strict=True)) for name in patches]
    content = [
        {"apiVersion": "v1" if target["kind"] == "Service" else "apps/v1", "kind": target["kind"]}
        | {"metadata": {"name": target["name"]}}
        | patch
        for target, patch in zip(targets, patches.values(), strict=True)
    ]
    kustomization = {
        "resources": [os.path.relpath(KUBERNETES / "overlays" / "cpu", folder.resolve())],
        "patches": [{"patch": json.dumps(patch)} for patch in content],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    run = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    return list(yaml.safe_load_all(run.stdout))


@pytest.mark.usefixtures("render")  # skips the test without kubectl
def test_patches_have_the_results_of_kustomize(tmp_path: Path) -> None:
    expected = dict(map(normalize, _kustomize(tmp_path, PATCHES)))
    actual = dict(map(normalize, render_objects({"patches": PATCHES})))

    for name in PATCHES:
        assert actual[name] == expected[name], name


def test_a_service_keeps_ports_with_other_numbers_or_protocols() -> None:
    ports = [{"name": "debug", "port": 5678}, {"name": "http3", "port": 8080, "protocol": "UDP"}]
    documents = render_objects({"patches": {"Service-errata-api": {"spec": {"ports": ports}}}})

    actual = find(documents, "Service", "errata-api")["spec"]["ports"]
    assert [(item["port"], item["name"]) for item in actual] == [
        (5678, "debug"),
        (8080, "http3"),
        (50051, "grpc"),
        (8080, "http"),
        (9464, "metrics"),
    ]


@pytest.mark.parametrize(
    "patch",
    [
        {"$patch": "replace", "spec": {}},
        {"spec": {"$patch": "merge"}},
        {"spec": {"template": {"spec": {"tolerations": [{"$patch": "replace"}, {"key": "gpu"}]}}}},
    ],
    ids=str,
)
def test_a_patch_with_an_unknown_directive_is_refused(patch: Document) -> None:
    error = _fail({"patches": {"Deployment-errata-api": patch}})
    assert "patches: Deployment-errata-api has `$patch: " in error
    assert "The chart applies only `$patch: delete`" in error


def test_a_list_without_a_key_has_no_elements_to_delete() -> None:
    patch = _pod_patch({"tolerations": [{"key": "gpu", "$patch": "delete"}]})
    error = _fail({"patches": {"Deployment-errata-worker": patch}})
    assert "patches: `$patch: delete` cannot remove an element of tolerations. Give the elements that stay." in error


def test_a_patch_removes_annotations_and_settings() -> None:
    patches = {
        "Deployment-errata-api": {"spec": {"template": {"metadata": {"annotations": None}}}},
        "ConfigMap-errata-api": {"$patch": "delete"},
    }
    documents = render_objects({"patches": patches, "api": {"podAnnotations": {"example/team": "vision"}}})

    template = find(documents, "Deployment", "errata-api")["spec"]["template"]
    assert template["metadata"]["annotations"].keys() == {"checksum/config"}
    assert "errata-api" not in names(documents, "ConfigMap")


def test_a_patch_changes_images() -> None:
    containers = [{"name": "api", "image": "errata-api:debug"}, {"name": "cache", "image": "redis:8-alpine"}]
    documents = render_objects({"patches": {"Deployment-errata-api": _pod_patch({"containers": containers})}})

    spec = pod(documents, "api").spec
    assert [item["image"] for item in spec["containers"]] == ["errata-api:debug", "redis:8-alpine"]
    assert {item["image"] for item in spec["initContainers"]} == {"errata-api:0.1.0"}
    assert pod(documents, "redis").spec["containers"][0]["image"] == "redis:7.4.6-alpine"


@pytest.mark.parametrize("field", ["containers", "initContainers"])
def test_a_container_without_an_image_is_refused(field: str) -> None:
    error = _fail({"patches": {"Deployment-errata-api": _pod_patch({field: [{"name": "apii", "tty": True}]})}})
    assert "patches: the container apii of Deployment-errata-api has no image. Set its image, or correct" in error


def test_a_patch_adds_annotations_to_a_claim() -> None:
    patch = {"metadata": {"annotations": {"backup.example/schedule": "daily"}}}
    documents = render_objects({"patches": {"PersistentVolumeClaim-errata-archive": patch}})

    metadata = find(documents, "PersistentVolumeClaim", "errata-archive")["metadata"]
    assert metadata["annotations"] == KEEP | {"backup.example/schedule": "daily"}


# Generated files


def _generate(root: Path, path: str) -> tuple[int, str]:
    """Run generate.py in a copy of the repository with the given PATH. Return its status and standard error."""
    command = [sys.executable, str(root / "deploy" / "helm" / "generate.py")]
    run = subprocess.run(command, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False)
    return run.returncode, run.stderr


def _files(folder: Path) -> dict[Path, str]:
    return {path.relative_to(folder): path.read_text() for path in folder.rglob("*.yaml")}


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Return a folder with a copy of the chart and of the manifests for Kustomize."""
    for folder in ("kubernetes", "helm"):
        shutil.copytree(ROOT / "deploy" / folder, tmp_path / "deploy" / folder)
    return tmp_path


def test_without_kubectl_the_generated_files_stay(copied: Path) -> None:
    status, error = _generate(copied, path=str(copied / "empty"))

    assert (status, error) == (1, "kubectl is not installed. Install it, and add it to PATH.\n")
    assert _files(copied / "deploy" / "helm") == _files(ROOT / "deploy" / "helm")


@pytest.mark.usefixtures("render")
def test_with_a_broken_kustomization_the_generated_files_stay(copied: Path) -> None:
    kustomization = copied / "deploy" / "kubernetes" / "base" / "kustomization.yaml"
    kustomization.write_text(kustomization.read_text().replace("resources:", "resources:\n  - absent.yaml", 1))

    status, error = _generate(copied, path=os.environ["PATH"])

    assert status == 1
    assert error.startswith("kubectl cannot render deploy/kubernetes/base:\n")
    assert "absent.yaml" in error
    assert "Traceback" not in error
    assert _files(copied / "deploy" / "helm") == _files(ROOT / "deploy" / "helm")


@pytest.mark.usefixtures("render")
def test_files_of_removed_manifests_are_deleted(copied: Path) -> None:
    chart = copied / "deploy" / "helm" / "errata"
    (chart / "manifests" / "base" / "Service-removed.yaml").write_text("kind: Service\n")

    assert _generate(copied, path=os.environ["PATH"]) == (0, "")
    assert _files(chart) == _files(ROOT / "deploy" / "helm" / "errata")


# Refused values


def _paths(values: Document, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the paths of all values, also of those that are objects."""
    paths: list[tuple[str, ...]] = []
    for name, value in values.items():
        paths.append((*prefix, name))
        if isinstance(value, dict):
            paths += _paths(value, (*prefix, name))
    return paths


def _nested(path: tuple[str, ...], value: object) -> Document:
    for name in reversed(path):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def _schema_error(chart: helm_python.Chart, values: Document) -> str:
    """Return the schema's error, or an empty string if the chart renders."""
    try:
        chart.render(values, name="errata", namespace="errata")
    except helm_python.HelmError as error:
        return str(error) if "schema" in str(error) else ""
    return ""


def test_null_is_refused_for_each_value_except_the_number_of_workers() -> None:
    with helm_python.Chart.load(CHART) as chart:
        paths = set(_paths(chart.values)) - {("worker", "replicas")}
        errors = {path: _schema_error(chart, _nested(path, None)) for path in paths}

    assert len(errors) > 100
    assert [path for path, error in errors.items() if path[-1] not in error] == []


REFUSED: list[tuple[str, object]] = [
    ("images.redis.tag", ""),
    ("images.api.tag", ".1"),
    ("images.api.tag", "1.0:debug"),
    ("images.api.repository", ""),
    ("images.api.repository", "registry.example//errata"),
    ("images.api.repository", "registry.example/errata/"),
    ("images.api.repository", "registry.example/Errata"),
    ("images.api.repository", "errata:1.0"),
    ("ingress.http.host", "https://errata.example"),
    ("ingress.http.host", "errata.example:443"),
    ("ingress.http.host", "errata..example"),
    ("ingress.http.host", "192.0.2.1"),
    ("httpRoute.hostnames", ["errata_example"]),
    ("secrets.tokens", "errata..tokens"),
    ("archive.storageClass", "Fast SSD"),
    ("redis.storageClass", "fast_ssd"),
    ("archive.size", "100 GB"),
    ("worker.cache.size", "100GB"),
    ("api.resources.requests", {"cpu": "2 cores"}),
    ("api.resources.requests", {"cpu": -1}),
    ("api.resources.requests", {"cpu": "1Gi"}),
    ("api.resources.limits", {"memory": "500m"}),
    ("api.resources.limits", {"mem": "2Gi"}),
    ("worker.resources.limits", {"nvidia.com/gpu": "one"}),
]


@pytest.mark.parametrize(("path", "value"), REFUSED, ids=str)
def test_values_with_a_wrong_format_are_refused(path: str, value: object) -> None:
    error = _fail(_nested(tuple(path.split(".")), value))
    assert "schema" in error
    assert path.split(".")[-1] in error


def test_values_with_a_correct_format_are_accepted() -> None:
    limits = {"cpu": 1.5, "memory": 2147483648, "ephemeral-storage": "1.5Gi", "nvidia.com/mig-1g.5gb": 1}
    host = {"enabled": True, "host": "*.errata.example", "tlsSecret": "errata"}
    values = {
        "images": {"api": {"repository": "registry.example:5000/team/errata_api", "tag": "v1.0_debug"}},
        "worker": {"resources": {"requests": {"cpu": "500m", "memory": "2Gi"}, "limits": limits}},
        "ingress": {"http": host},
        "archive": {"size": "1.5Ti", "storageClass": "fast.example"},
    }
    documents = render_objects(values)

    (container,) = pod(documents, "worker").spec["containers"]
    assert container["resources"]["limits"] == limits
    (container,) = pod(documents, "api").spec["containers"]
    assert container["image"] == "registry.example:5000/team/errata_api:v1.0_debug"


ONE_API_POD: Document = {"replicas": 1, "autoscaling": {"enabled": False}}
EXTERNAL: Document = {"redis": {"bundled": False}}
INGRESS: Document = {"enabled": True, "host": "errata.example"}
REDIS_EGRESS: Document = {"networkPolicy": {"extraEgress": [{"ports": [{"port": 6379}]}]}}
CONFLICTS: list[tuple[Document, str]] = [
    (
        {"api": {"autoscaling": {"minReplicas": 7}}},
        "api.autoscaling.minReplicas is 7, but api.autoscaling.maxReplicas is 6. Set maxReplicas to at least",
    ),
    (
        {"keda": {"enabled": True, "minReplicas": 3, "maxReplicas": 2}},
        "keda.minReplicas is 3, but keda.maxReplicas is 2. Set maxReplicas to at least",
    ),
    (
        {"archive": {"accessMode": "ReadWriteOnce"}},
        "archive.accessMode is ReadWriteOnce, but up to 6 pods (api) mount the claim. Set archive.accessMode to",
    ),
    (
        {"archive": {"accessMode": "ReadWriteOncePod"}, "api": ONE_API_POD | {"replicas": 2}},
        "archive.accessMode is ReadWriteOncePod, but up to 2 pods (api)",
    ),
    (
        {"worker": {"replicas": 2, "cache": {"persistent": True, "accessMode": "ReadWriteOnce"}}},
        "worker.cache.accessMode is ReadWriteOnce, but up to 2 pods (worker)",
    ),
    (
        {"keda": {"enabled": True}, "worker": {"cache": {"persistent": True, "accessMode": "ReadWriteOncePod"}}},
        "worker.cache.accessMode is ReadWriteOncePod, but up to 4 pods (worker)",
    ),
    (
        {"evidence": {"source": "volume", "digest": "0" * 64, "accessMode": "ReadWriteOnce"}},
        "evidence.accessMode is ReadWriteOnce, but up to 6 pods (api)",
    ),
    (
        {"datasetImages": {"enabled": True, "accessMode": "ReadWriteOncePod"}, "trial": True},
        "datasetImages.accessMode is ReadWriteOncePod, but up to 2 pods (api, worker)",
    ),
    (
        {"archive": {"url": "s3://errata/archive", "existingClaim": "archive"}},
        "archive.url is s3://errata/archive, but archive.existingClaim is archive. Remove",
    ),
    (
        {"redis": {"host": "redis.example:6379"}},
        "redis.host is redis.example:6379, but redis.bundled is true. Set redis.bundled to false",
    ),
    ({"redis": {"tls": True}}, "redis.tls is true, but the bundled Redis has no TLS. Set redis.bundled to false"),
    (EXTERNAL, "networkPolicy.extraEgress is empty, but redis.bundled is false. Add a rule"),
    (
        {"ingress": {"http": INGRESS}},
        "ingress.http.tlsSecret is empty, so tokens would cross the network in plain text",
    ),
    (
        {"ingress": {"grpc": INGRESS}},
        "ingress.grpc.tlsSecret is empty, so tokens would cross the network in plain text",
    ),
]


@pytest.mark.parametrize(("values", "message"), CONFLICTS, ids=str)
def test_values_that_contradict_each_other_are_refused(values: Document, message: str) -> None:
    assert message in _fail(values)


@pytest.mark.parametrize(
    "values",
    [
        {"api": {"autoscaling": {"minReplicas": 6}}},
        {"api": {"autoscaling": {"enabled": False, "minReplicas": 7}}},
        {"keda": {"enabled": True, "minReplicas": 4}},
        {"keda": {"minReplicas": 5}},
        {"archive": {"accessMode": "ReadWriteMany"}},
        {"archive": {"accessMode": "ReadWriteOncePod"}, "api": ONE_API_POD},
        {"archive": {"accessMode": "ReadWriteOnce"}, "trial": True},
        {"datasetImages": {"enabled": True, "accessMode": "ReadWriteOnce"}, "trial": True},
        {"evidence": {"accessMode": "ReadWriteOnce"}, "datasetImages": {"accessMode": "ReadWriteOnce"}},
        {"worker": {"cache": {"persistent": True, "accessMode": "ReadWriteOnce"}}},
        {"worker": {"replicas": 2, "cache": {"accessMode": "ReadWriteOnce"}}},
        EXTERNAL | REDIS_EGRESS,
        EXTERNAL | {"networkPolicy": {"enabled": False}},
        {"ingress": {"http": INGRESS}, "trial": True},
        {"ingress": {"grpc": INGRESS | {"tlsSecret": "errata"}}},
    ],
    ids=str,
)
def test_values_that_fit_together_are_accepted(values: Document) -> None:
    assert render_objects(values)


NEW_POD_FIRST = {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
OLD_POD_FIRST = {"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
ONCE = {"accessMode": "ReadWriteOnce"}
EVIDENCE_VOLUME = {"source": "volume", "digest": "0" * 64}


@pytest.mark.parametrize(
    ("values", "strategy"),
    [
        ({"archive": {"accessMode": "ReadWriteMany"}}, NEW_POD_FIRST),
        ({"archive": ONCE}, OLD_POD_FIRST),
        ({"archive": ONCE | {"url": "s3://errata/archive"}}, NEW_POD_FIRST),
        ({"evidence": EVIDENCE_VOLUME | {"accessMode": "ReadWriteOncePod"}}, OLD_POD_FIRST),
        ({"evidence": ONCE}, NEW_POD_FIRST),
    ],
    ids=str,
)
def test_the_old_pod_is_stopped_first_if_only_one_can_mount_a_claim(values: Document, strategy: Document) -> None:
    objects = render_objects(values | {"api": ONE_API_POD})
    assert find(objects, "Deployment", "errata-api")["spec"]["strategy"] == strategy
