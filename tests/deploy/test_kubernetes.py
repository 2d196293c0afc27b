"""The manifests in deploy/kubernetes: rendering, schemas, the security policy, and commands."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import kubernetes_validate
import pytest
import redis
import yaml
from errata.cli.main import errata
from errata.errors import InvalidSetting
from missing_tools import skip_or_fail
from redis.backoff import ConstantBackoff
from redis.retry import Retry
from redis_server import free_port

from service import authorization
from service.bootstrap.wiring import expected_offer, model_offers, model_policy
from service.evidence.bundle import Bundle
from service.jobs import transaction
from service.settings import Settings, read_settings

from .conftest import KUBERNETES, ROOT, Document, Render
from .policy import container_violations, pod_violations

OVERLAYS = ("cpu", "gpu", "keda", "monitoring", "trial")
EVIDENCE = {"evidence-volume", "evidence-object-store"}  # alternatives
COMPONENTS = (
    "monitoring",
    "keda",
    "tls",
    "client-certificates",
    "object-store",
    "images",
    "weights-volume",
    *sorted(EVIDENCE),
)
PERMISSIONS = {"client-certificates": ("tls",)}
ALL = tuple(component for component in COMPONENTS if component != "evidence-volume")
COMBINATIONS = [
    *((overlay,) for overlay in OVERLAYS),
    *(("cpu", *PERMISSIONS.get(component, ()), component) for component in COMPONENTS),
    ("gpu", *ALL),
    ("gpu", *(component for component in COMPONENTS if component != "evidence-object-store")),
]
SCHEMAS = ["1.30", kubernetes_validate.latest_version()]
CUSTOM = {"ScaledObject", "TriggerAuthentication", "ServiceMonitor", "PrometheusRule"}
SECRETS = {  # created by hand; values of the keys that become environment variables
    "errata-redis": {"url": "redis://:secret@errata-redis:6379/0", "password": "secret"},
    "errata-tokens": {},
    "errata-registries": {"registries": "{}"},
    "errata-worker-registries": {"registries": "{}"},
    "errata-client": {},
    "errata-tls": {},
    "errata-object-store": {"access-key-id": "key", "secret-access-key": "secret", "endpoint-url": "https://store"},
}
CONFIG_MAPS = {"errata-policies"}  # created by hand; optional
CLIENT = {"errata-client": "true"}  # the label of pods that may call the API
LEVELS = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}


@pytest.fixture(params=COMBINATIONS, ids="-".join)
def documents(request: pytest.FixtureRequest, render: Render) -> list[Document]:
    """All overlays, and each component with an overlay."""
    return render(*request.param)


# Access to documents


def find(documents: list[Document], kind: str, name: str = "") -> Document:
    """Return the document of a kind by name, without the hash suffix of a ConfigMap."""
    result = [
        document
        for document in documents
        if document["kind"] == kind and re.fullmatch(rf"{name or '.*'}(-[a-z0-9]{{10}})?", document["metadata"]["name"])
    ]
    assert result, f"no {kind} {name}"
    return result[0]


def names(documents: list[Document], kind: str) -> set[str]:
    return {document["metadata"]["name"] for document in documents if document["kind"] == kind}


@dataclass(frozen=True)
class Pod:
    """The pods of a workload."""

    name: str  # kind/name of the workload
    kind: str
    labels: dict[str, str]
    spec: Document

    @property
    def containers(self) -> list[Document]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def pods(documents: list[Document]) -> Iterator[Pod]:
    for document in documents:
        if "template" in document.get("spec", {}):
            template = document["spec"]["template"]
            name = f"{document['kind']}/{document['metadata']['name']}"
            yield Pod(name, document["kind"], template["metadata"]["labels"], template["spec"])


def pod(documents: list[Document], component: str) -> Pod:
    """Return the pods of `api`, `worker`, or `redis`."""
    return next(item for item in pods(documents) if item.labels["app.kubernetes.io/component"] == component)


def matches_selector(selector: Document, labels: dict[str, str]) -> bool:
    """Return whether a label selector matches labels."""
    assert all(item["operator"] == "In" for item in selector.get("matchExpressions", []))
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(item["key"]) in item["values"] for item in selector.get("matchExpressions", [])
    )


def environment(documents: list[Document], container: Document) -> dict[str, str]:
    """Return the environment of a container without the variables of its image."""
    result: dict[str, str] = {}
    for source in container.get("envFrom", []):
        result |= find(documents, "ConfigMap", source["configMapRef"]["name"])["data"]
    for variable in container.get("env", []):
        match variable.get("valueFrom"):
            case None:
                result[variable["name"]] = variable["value"]
            case {"configMapKeyRef": {"name": name, "key": key}}:
                result[variable["name"]] = find(documents, "ConfigMap", name)["data"][key]
            case {"secretKeyRef": {"name": name, "key": key}}:
                result[variable["name"]] = SECRETS[name][key]
            case {"resourceFieldRef": {"resource": "limits.cpu"}}:
                result[variable["name"]] = container["resources"]["limits"]["cpu"]
            case other:
                raise AssertionError(f"unknown kind of value: {other}")
    return result


def expand(documents: list[Document], container: Document) -> list[str]:
    """Return the arguments of a container with the values of its variables, as the kubelet does."""
    variables = environment(documents, container)
    return [re.sub(r"\$\((\w+)\)", lambda match: variables[match[1]], text) for text in container["args"]]


def settings(documents: list[Document], container: Document) -> Settings:
    """Return the settings of a container; raise InvalidSetting if they are invalid."""
    variables = environment(documents, container)
    return read_settings({key: value for key, value in variables.items() if key.startswith("ERRATA_")})


def required_secrets(documents: list[Document]) -> set[str]:
    """Return the names of the Secrets without which pods do not start."""
    result = set()
    for item in pods(documents):
        sources = [volume["secret"] for volume in item.spec.get("volumes", []) if "secret" in volume]
        for container in item.containers:
            sources += [variable.get("valueFrom", {}).get("secretKeyRef", {}) for variable in container.get("env", [])]
        result |= {source.get("secretName", source.get("name")) for source in sources if not source.get("optional")}
    return result - {None}


# The policy: each function yields violations


def violations(documents: list[Document]) -> list[str]:
    """Return the violations of the policy."""
    result = list(_application_violations(documents))
    for item in pods(documents):
        result += [f"{item.name}: {wrong}" for wrong in _pod_violations(documents, item)]
        for container in item.containers:
            result += [
                f"{item.name} {container['name']}: {wrong}"
                for wrong in _container_violations(documents, item, container)
            ]
        for container in item.spec["containers"]:
            if not {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys():
                result.append(f"{item.name} {container['name']}: a probe is missing")
    return result


def _application_violations(documents: list[Document]) -> Iterator[str]:
    for document in documents:
        if document["kind"] == "Secret":
            yield f"a Secret is rendered: {document['metadata']['name']}"
        if document["kind"] != "Namespace" and document["metadata"].get("namespace") != "errata":
            yield f"{document['kind']} {document['metadata']['name']} is not in the namespace"
    if not LEVELS.items() <= find(documents, "Namespace", "errata")["metadata"]["labels"].items():
        yield "the namespace does not enforce the restricted Pod Security Standard"
    denied = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    if denied not in [document["spec"] for document in documents if document["kind"] == "NetworkPolicy"]:
        yield "no NetworkPolicy denies traffic by default"
    every = list(pods(documents))
    budgets = [document["spec"]["selector"] for document in documents if document["kind"] == "PodDisruptionBudget"]
    for item in every:
        if item.kind == "Deployment" and not any(matches_selector(budget, item.labels) for budget in budgets):
            yield f"{item.name} has no PodDisruptionBudget"
    for document in documents:
        selector = document["spec"].get("podSelector", document["spec"].get("selector")) if "spec" in document else None
        if document["kind"] == "Service":
            selector = {"matchLabels": selector}
        if (
            document["kind"] in {"Service", "PodDisruptionBudget", "NetworkPolicy"}
            and selector != {"matchLabels": CLIENT}
            and not any(matches_selector(selector, candidate.labels) for candidate in every)
        ):
            yield f"{document['kind']} {document['metadata']['name']} selects no pod"
        if "scaleTargetRef" in document.get("spec", {}):
            target = document["spec"]["scaleTargetRef"]["name"]
            if target not in names(documents, "Deployment"):
                yield f"{document['kind']} {document['metadata']['name']} scales {target}, which does not exist"
            elif "replicas" in find(documents, "Deployment", target)["spec"]:
                yield f"{target} is scaled and has a fixed number of replicas"


def _pod_violations(documents: list[Document], pod: Pod) -> Iterator[str]:
    spec = pod.spec
    yield from pod_violations(spec)
    if spec.get("serviceAccountName") not in names(documents, "ServiceAccount"):
        yield "its ServiceAccount does not exist"
    claims = names(documents, "PersistentVolumeClaim")
    for volume in spec.get("volumes", []):
        match {key: value for key, value in volume.items() if key != "name"}:
            case {"persistentVolumeClaim": {"claimName": claim}} if claim not in claims:
                yield f"its claim {claim} does not exist"
            case {"configMap": {"name": name, "optional": True}} if name in CONFIG_MAPS:
                pass
            case {"configMap": {"name": name}} if name not in names(documents, "ConfigMap"):
                yield f"its ConfigMap {name} does not exist"
            case {"secret": {"secretName": name}} if name not in SECRETS:
                yield f"no Secret {name}"


def _container_violations(documents: list[Document], pod: Pod, container: Document) -> Iterator[str]:
    yield from container_violations(container)
    for source in container.get("envFrom", []):
        if source.get("configMapRef", {}).get("name") not in names(documents, "ConfigMap"):
            yield f"its environment source does not exist: {source}"
            return
    for variable in container.get("env", []):
        secret = variable.get("valueFrom", {}).get("secretKeyRef")
        if secret and secret["key"] not in SECRETS.get(secret["name"], {}):
            yield f"no Secret {secret['name']} with {secret['key']}"
            return
        if re.search(r"TOKEN$|PASSWORD|SECRET|REDIS_URL|REGISTRIES", variable["name"]) and not secret:
            yield f"has a secret in plain text: {variable['name']}"
    if container["image"].startswith("errata-") and "command" not in container:
        yield from _command_violations(documents, pod, container)


def _command_violations(documents: list[Document], pod: Pod, container: Document) -> Iterator[str]:
    """Yield invalid settings and commands of a container with an Errata image."""
    try:
        known = settings(documents, container)
        serves = container in pod.spec["containers"]
        stop = int(container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["0"])[-1])
        if serves and pod.spec.get("terminationGracePeriodSeconds", 30) < known.grace_seconds + 10 + stop:
            yield "is killed before its shutdown ends"
        if known.allow_insecure or (serves and container["args"][0] == "serve" and known.tokens is None):
            yield "accepts calls without tokens"
    except InvalidSetting as error:
        yield error.message
    probes = [value for key, value in container.items() if key.endswith("Probe")]
    commands = [probe["exec"]["command"] for probe in probes if "exec" in probe]
    for arguments in (container["args"], *(command[1:] for command in commands if command[0] == "errata")):
        try:
            _parse(list(arguments))
        except click.ClickException as error:
            yield f"errata {' '.join(arguments)}: {error.message}"


def _parse(arguments: list[str]) -> None:
    """Parse a command line of errata without running it; raise ClickException if it is invalid."""
    command: click.Command = errata
    while isinstance(command, click.Group):
        context = click.Context(command)
        name = arguments.pop(0)
        result = command.get_command(context, name)
        if result is None:
            raise click.UsageError(f"no such command: {name}")
        command = result
    command.make_context(command.name, arguments)


# Renderings


def test_an_overlay_renders_the_whole_application(documents: list[Document]) -> None:
    assert names(documents, "Deployment") == {"errata-api", "errata-worker"}
    assert names(documents, "StatefulSet") == {"errata-redis"}
    assert names(documents, "Service") == {"errata-api", "errata-api-headless", "errata-worker", "errata-redis"}
    scales = find(documents, "Deployment", "errata-api")["spec"].get("replicas") is None
    assert names(documents, "HorizontalPodAutoscaler") == ({"errata-api"} if scales else set())
    assert names(documents, "Namespace") == {"errata"}


@pytest.mark.parametrize("version", SCHEMAS)
def test_an_overlay_matches_the_schemas(documents: list[Document], version: str) -> None:
    for document in documents:
        if document["kind"] not in CUSTOM:
            kubernetes_validate.validate(document, version, strict=True)


def test_an_overlay_meets_the_policy(documents: list[Document]) -> None:
    assert violations(documents) == []


def test_each_overlay_and_component_is_tested() -> None:
    assert {path.name for path in (KUBERNETES / "overlays").iterdir()} == set(OVERLAYS)
    assert {path.name for path in (KUBERNETES / "components").iterdir()} == set(COMPONENTS)


# The policy detects violations


def _api(documents: list[Document]) -> Document:
    return find(documents, "Deployment", "errata-api")["spec"]["template"]["spec"]


def _worker(documents: list[Document]) -> Document:
    return find(documents, "Deployment", "errata-worker")["spec"]["template"]["spec"]


def _init(documents: list[Document]) -> Document:
    return _api(documents)["initContainers"][0]


def _container(documents: list[Document]) -> Document:
    return _worker(documents)["containers"][0]


def _redis(documents: list[Document]) -> Document:
    return find(documents, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]


def _data(documents: list[Document], name: str = "errata-worker") -> Document:
    return find(documents, "ConfigMap", name)["data"]


def _drop(documents: list[Document], kind: str, name: str) -> None:
    documents.remove(find(documents, kind, name))


BREAKING: dict[str, tuple[Callable[[list[Document]], object], str]] = {
    "root": (lambda all_: _api(all_)["securityContext"].pop("runAsNonRoot"), "may run as root"),
    "user 0": (lambda all_: _api(all_)["securityContext"].update(runAsUser=0), "may run as root"),
    "a container as root": (
        lambda all_: _init(all_)["securityContext"].update(runAsUser=0),
        "another user than its pod",
    ),
    "no seccomp": (lambda all_: _worker(all_)["securityContext"].pop("seccompProfile"), "seccomp"),
    "escalation": (lambda all_: _init(all_)["securityContext"].pop("allowPrivilegeEscalation"), "gain privileges"),
    "privileged": (lambda all_: _redis(all_)["securityContext"].update(privileged=True), "gain privileges"),
    "capabilities": (lambda all_: _container(all_)["securityContext"].pop("capabilities"), "keeps capabilities"),
    "a capability": (
        lambda all_: _redis(all_)["securityContext"]["capabilities"].update(add=["NET_RAW"]),
        "keeps capabilities",
    ),
    "a writable root": (
        lambda all_: _init(all_)["securityContext"].update(readOnlyRootFilesystem=False),
        "write to its root",
    ),
    "no limit": (lambda all_: _init(all_)["resources"].pop("limits"), "no memory limit"),
    "no requests for disk space": (
        lambda all_: _worker(all_)["containers"][0]["resources"]["requests"].pop("ephemeral-storage"),
        "no request for ephemeral-storage",
    ),
    "no requests": (lambda all_: _redis(all_)["resources"].pop("requests"), "no requests"),
    "latest": (lambda all_: _container(all_).update(image="errata-worker:latest"), "an image with a mutable tag"),
    "no tag": (lambda all_: _init(all_).update(image="errata-api"), "an image with a mutable tag"),
    "service links": (lambda all_: _api(all_).pop("enableServiceLinks"), "variables for each Service"),
    "a token": (lambda all_: _worker(all_).pop("automountServiceAccountToken"), "a token for Kubernetes' API"),
    "the host's network": (lambda all_: _worker(all_).update(hostNetwork=True), "the host's namespaces"),
    "the host's disk": (
        lambda all_: _worker(all_)["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
        "mounts a forbidden volume: hostPath",
    ),
    "a full disk": (lambda all_: _worker(all_)["volumes"][0]["emptyDir"].clear(), "may fill the node's disk"),
    "the host's port": (lambda all_: _container(all_)["ports"][0].update(hostPort=8081), "a port of the host"),
    "no account": (lambda all_: _drop(all_, "ServiceAccount", "errata-api"), "ServiceAccount does not exist"),
    "no claim": (lambda all_: _drop(all_, "PersistentVolumeClaim", "errata-archive"), "claim errata-archive does not"),
    "no ConfigMap": (lambda all_: _drop(all_, "ConfigMap", "errata-worker"), "environment source does not exist"),
    "an unknown Secret": (
        lambda all_: _api(all_)["volumes"].append({"name": "more", "secret": {"secretName": "more"}}),
        "no Secret more",
    ),
    "a Secret in git": (
        lambda all_: all_.append({"kind": "Secret", "metadata": {"name": "errata-redis", "namespace": "errata"}}),
        "a Secret is rendered",
    ),
    "a password in the open": (
        lambda all_: _redis(all_)["env"].append({"name": "REDIS_PASSWORD", "value": "hunter2"}),
        "a secret in plain text",
    ),
    "an unknown setting": (lambda all_: _data(all_).update(ERRATA_GRACE="1"), "Unknown setting ERRATA_GRACE"),
    "a wrong setting": (lambda all_: _data(all_).update(ERRATA_LOG_FORMAT="xml"), "ERRATA_LOG_FORMAT: unknown value"),
    "insecure calls": (lambda all_: _data(all_).update(ERRATA_ALLOW_INSECURE="true"), "without tokens"),
    "no tokens": (lambda all_: _data(all_, "errata-api").pop("ERRATA_TOKENS"), "without tokens"),
    "an unknown command": (lambda all_: _container(all_).update(args=["toil"]), "no such command: toil"),
    "an unknown option": (lambda all_: _init(all_)["args"].append("--quick"), "No such option"),
    "no probe": (lambda all_: _container(all_).pop("livenessProbe"), "a probe is missing"),
    "a short grace": (lambda all_: _worker(all_).update(terminationGracePeriodSeconds=60), "before its shutdown ends"),
    "a preStop that isn't counted": (
        lambda all_: _api(all_).update(terminationGracePeriodSeconds=30),
        "before its shutdown ends",
    ),
    "no default-deny": (lambda all_: _drop(all_, "NetworkPolicy", "default-deny"), "denies traffic by default"),
    "a default-deny for some": (
        lambda all_: find(all_, "NetworkPolicy", "default-deny")["spec"].update(
            podSelector={"matchLabels": {"a": "b"}}
        ),
        "denies traffic by default",
    ),
    "no budget": (lambda all_: _drop(all_, "PodDisruptionBudget", "errata-worker"), "no PodDisruptionBudget"),
    "a Service without pods": (
        lambda all_: find(all_, "Service", "errata-api")["spec"].update(selector={"app": "api"}),
        "selects no pod",
    ),
    "fixed replicas": (
        lambda all_: find(all_, "Deployment", "errata-worker")["spec"].update(replicas=1),
        "fixed number of replicas",
    ),
    "nothing to scale": (
        lambda all_: find(all_, "ScaledObject")["spec"]["scaleTargetRef"].update(name="worker"),
        "scales worker, which does not exist",
    ),
    "a lax namespace": (
        lambda all_: find(all_, "Namespace")["metadata"]["labels"].update(
            {"pod-security.kubernetes.io/enforce": "baseline"}
        ),
        "restricted Pod Security",
    ),
    "another namespace": (
        lambda all_: find(all_, "Service", "errata-api")["metadata"].update(namespace="default"),
        "is not in the namespace",
    ),
}


@pytest.mark.parametrize("change", BREAKING)
def test_the_policy_detects_violations(render: Render, change: str) -> None:
    documents = render("keda")
    do, complaint = BREAKING[change]

    do(documents)

    assert any(complaint in violation for violation in violations(documents)), violations(documents)


def test_the_schemas_detect_violations(render: Render) -> None:
    deployment = find(render("cpu"), "Deployment", "errata-api")
    deployment["spec"]["template"]["spec"]["container"] = []

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, SCHEMAS[-1], strict=True)


# Individual resources


def test_the_expected_digest_is_that_of_the_built_evidence(render: Render, imagenet_real: Bundle) -> None:
    documents = render("cpu")
    build, verify = pod(documents, "api").spec["initContainers"]
    (place,) = settings(documents, pod(documents, "api").spec["containers"][0]).evidence["imagenet-real"]

    assert environment(documents, verify)["EVIDENCE_DIGEST"] == imagenet_real.digest
    assert build["args"][build["args"].index("--output") + 1] == str(place) == verify["args"][2]
    assert verify["args"][3:] == ["--digest", "$(EVIDENCE_DIGEST)"]


def test_a_custom_bundle_is_verified_and_not_built(render: Render) -> None:
    documents = render("cpu", "evidence-volume")
    api = pod(documents, "api")
    (verify,) = api.spec["initContainers"]
    (place,) = settings(documents, api.spec["containers"][0]).evidence["imagenet"]

    assert expand(documents, verify)[:3] == ["evidence", "verify", str(place)]
    (volume,) = [item for item in api.spec["volumes"] if item["name"] == "evidence"]
    assert volume["persistentVolumeClaim"] == {"claimName": "errata-evidence", "readOnly": True}


def test_the_api_is_probed_by_grpc_and_a_worker_by_http(render: Render) -> None:
    (api,) = pod(render("cpu"), "api").spec["containers"]
    (worker,) = pod(render("cpu"), "worker").spec["containers"]

    assert all(api[f"{item}Probe"]["grpc"] == {"port": 50051} for item in ("startup", "readiness", "liveness"))
    paths = [worker[f"{item}Probe"]["httpGet"]["path"] for item in ("startup", "readiness", "liveness")]
    assert paths == ["/livez", "/readyz", "/livez"]


@pytest.mark.parametrize("component", ["api", "worker"])
def test_the_ports_are_those_of_the_image(render: Render, component: str) -> None:
    dockerfile = (ROOT / "deploy" / f"{component}.Dockerfile").read_text()
    (container,) = pod(render("cpu"), component).spec["containers"]
    service = find(render("cpu"), "Service", f"errata-{component}")["spec"]["ports"]

    listens = {int(port) for port in re.findall(r"ERRATA_\w*ADDRESS=0\.0\.0\.0:(\d+)", dockerfile)}
    if metrics := settings(render("cpu"), container).metrics_address:
        listens.add(int(metrics.removeprefix("0.0.0.0:")))

    assert {port["containerPort"] for port in container["ports"]} == listens
    assert {port["port"] for port in service} == listens
    assert {port["targetPort"] for port in service} == {port["name"] for port in container["ports"]}


def test_pods_run_as_the_user_of_the_image(render: Render) -> None:
    for component in ("api", "worker"):
        context = pod(render("cpu"), component).spec["securityContext"]
        user = f"{context['runAsUser']}:{context['runAsGroup']}"
        assert f"USER {user}" in (ROOT / "deploy" / f"{component}.Dockerfile").read_text()


def test_written_files_are_on_volumes(render: Render) -> None:
    for component in ("api", "worker"):
        (container,) = pod(render("cpu"), component).spec["containers"]
        writable = {item["mountPath"] for item in container["volumeMounts"] if not item.get("readOnly")}
        assert writable == {"/data", "/tmp"}


def test_redis_is_the_same_as_in_compose(render: Render) -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["redis"]
    of = pod(render("cpu"), "redis").spec
    (redis,) = of["containers"]

    assert redis["image"] == compose["image"]
    assert redis["args"] == [item.replace("$$", "$") for item in compose["command"]]
    assert compose["user"] == f"{of['securityContext']['runAsUser']}:{of['securityContext']['runAsGroup']}"
    assert "./deploy/kubernetes/base/redis.conf:/etc/redis/redis.conf:ro" in compose["volumes"]
    assert {item["mountPath"] for item in redis["volumeMounts"]} == {"/data", "/etc/redis"}
    config = _data(render("cpu"), "errata-redis")["redis.conf"]
    assert config == (KUBERNETES / "base" / "redis.conf").read_text()
    options = dict(line.split(" ", 1) for line in config.splitlines() if line[0] != "#")
    assert (options["appendonly"], options["maxmemory-policy"]) == ("yes", "volatile-lru")
    limit = redis["resources"]["limits"]["memory"]
    assert int(limit.removesuffix("Mi")) > 2 * int(options["maxmemory"].removesuffix("mb"))  # a fork can copy all of it


def test_redis_keeps_its_password_off_command_lines_and_its_data_across_restarts(
    render: Render, tmp_path: Path
) -> None:
    if shutil.which("redis-server") is None:
        skip_or_fail("redis-server is not installed")
    (container,) = pod(render("cpu"), "redis").spec["containers"]
    port, password = free_port(), "0123456789abcdef"
    config = tmp_path / "redis.conf"
    config.write_text(f"port {port}\n" + _data(render("cpu"), "errata-redis")["redis.conf"])
    data = tmp_path / "data"
    data.mkdir()
    shell, option, command = container["args"]
    assert "--requirepass" not in command  # container runtimes record the command line
    command = command.replace("/etc/redis/redis.conf", str(config)).replace("--dir /data", f"--dir {data}")

    for stored in (None, b"1"):  # the second start reads the data of the first
        server = subprocess.Popen(
            [shell, option, command], env=os.environ | {"REDISCLI_AUTH": password}, stdout=subprocess.DEVNULL
        )
        try:
            with redis.Redis(port=port, password=password, retry=Retry(ConstantBackoff(0.1), 50)) as known:
                known.ping()
                command_line = Path(f"/proc/{server.pid}/cmdline").read_bytes()
                assert command_line.startswith(b"redis-server")  # `exec` replaced the shell, so Redis gets the signals
                assert password.encode() not in command_line
                assert known.get("key") == stored
                known.set("key", 1)
                assert known.config_get("maxmemory-policy") == {"maxmemory-policy": "volatile-lru"}
            with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
                stranger.ping()
        finally:
            server.terminate()
            assert server.wait(30) == 0
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and password in path.read_text(errors="replace")]

    refused = subprocess.run(
        [shell, option, command], env=os.environ | {"REDISCLI_AUTH": ""}, capture_output=True, timeout=30, check=False
    )
    assert refused.returncode != 0  # Redis does not start without a password


def _is_allowed(documents: list[Document], source: str, target: str, port: int) -> bool:
    """Return whether the policies allow a connection between pods of the namespace."""
    ends = {"from": pod(documents, source).labels, "to": pod(documents, target).labels}
    policies = [document["spec"] for document in documents if document["kind"] == "NetworkPolicy"]

    def is_allowed(here: str, there: str, direction: str) -> bool:
        rules = [
            rule
            for policy in policies
            if matches_selector(policy["podSelector"], ends[here])
            for rule in policy.get(direction, [])
            if {"port": port, "protocol": "TCP"} in rule["ports"]
        ]
        peers = [peer for rule in rules for peer in rule[there] if peer.keys() == {"podSelector"}]
        return any(matches_selector(peer["podSelector"], ends[there]) for peer in peers)

    return is_allowed("from", "to", "egress") and is_allowed("to", "from", "ingress")


@pytest.mark.parametrize(
    ("source", "target", "port", "allowed"),
    [
        ("api", "redis", 6379, True),
        ("worker", "redis", 6379, True),
        ("redis", "api", 50051, False),
        ("worker", "api", 50051, False),
        ("api", "worker", 8081, False),
        ("worker", "redis", 22, False),
    ],
)
def test_pods_can_connect_only_to_redis(render: Render, source: str, target: str, port: int, allowed: bool) -> None:
    assert _is_allowed(render("gpu", *ALL), source, target, port) is allowed


NAMESPACES = {"errata": {}, "monitoring": {}, "shop": {}, "ingress": CLIENT, "kube-system": {}}  # name -> labels
STRANGER = {"app": "shop"}


def _can_connect(documents: list[Document], namespace: str, labels: dict[str, str], port: int) -> bool:
    """Return whether the policies allow a pod of a namespace to connect to a port of the API."""
    spaces = {name: {"kubernetes.io/metadata.name": name} | more for name, more in NAMESPACES.items()}
    peers = [
        peer
        for document in documents
        if document["kind"] == "NetworkPolicy"
        and matches_selector(document["spec"]["podSelector"], pod(documents, "api").labels)
        for rule in document["spec"].get("ingress", [])
        if {"port": port, "protocol": "TCP"} in rule["ports"]
        for peer in rule["from"]
    ]
    return any(
        (
            matches_selector(peer["namespaceSelector"], spaces[namespace])
            if "namespaceSelector" in peer
            else namespace == "errata"
        )
        and matches_selector(peer.get("podSelector", {}), labels)
        for peer in peers
    )


@pytest.mark.parametrize(
    ("namespace", "labels", "port", "reaches"),
    [
        ("errata", CLIENT, 50051, True),
        ("errata", CLIENT, 8080, True),
        ("errata", STRANGER, 50051, False),
        ("shop", CLIENT, 50051, False),  # users who create pods there could set the label
        ("ingress", STRANGER, 8080, True),
        ("monitoring", STRANGER, 9464, True),
        ("monitoring", STRANGER, 8080, False),
        ("monitoring", CLIENT, 50051, False),
        ("ingress", STRANGER, 9464, False),
        ("errata", CLIENT, 9464, False),
    ],
)
def test_clients_can_connect_to_the_api_and_prometheus_to_the_metrics(
    render: Render, namespace: str, labels: dict[str, str], port: int, reaches: bool
) -> None:
    assert _can_connect(render("monitoring"), namespace, labels, port) is reaches


def test_labeled_clients_can_call_the_api_and_resolve_its_name(render: Render) -> None:
    documents = render("cpu")
    spec = find(documents, "NetworkPolicy", "clients")["spec"]
    to_api, to_dns = spec["egress"]

    assert spec["podSelector"] == {"matchLabels": CLIENT}
    assert spec["policyTypes"] == ["Egress"]
    assert [item["port"] for item in to_api["ports"]] == [50051, 8080]
    (peer,) = to_api["to"]
    assert matches_selector(peer["podSelector"], pod(documents, "api").labels)
    assert to_dns == find(documents, "NetworkPolicy", "dns")["spec"]["egress"][0]


def test_metrics_have_a_separate_port(render: Render) -> None:
    (api,) = pod(render("cpu"), "api").spec["containers"]
    assert settings(render("cpu"), api).metrics_address == "0.0.0.0:9464"


def test_a_worker_gets_no_tokens_and_no_webhook_secrets(render: Render) -> None:
    for combination in COMBINATIONS:
        documents = render(*combination)
        of = pod(documents, "worker").spec
        secrets = {
            variable["valueFrom"]["secretKeyRef"]["name"]
            for container in of["containers"]
            for variable in container["env"]
            if "secretKeyRef" in variable.get("valueFrom", {})
        }
        assert secrets == {"errata-redis", "errata-worker-registries"}
        assert not any("secret" in volume for volume in of["volumes"])


def _manual_settings(name: str) -> dict[str, str]:
    """Return the setting in a file of the manual."""
    manual = (KUBERNETES / "README.md").read_text()
    (text,) = re.findall(rf"^cat > {name} <<'JSON'\n(.+?)^JSON$", manual, re.MULTILINE | re.DOTALL)
    return {"ERRATA_REGISTRIES": text}


def test_the_registry_settings_of_a_worker_are_sufficient(render: Render) -> None:
    whole, part = (read_settings(_manual_settings(name)) for name in ("registries", "worker-registries"))

    assert vars(model_policy(whole)) == vars(model_policy(part))
    assert model_policy(part).registries
    secrets = {secret.get_secret_value() for registry in whole.registries.values() for secret in registry.secrets}
    assert not any(item in _manual_settings("worker-registries")["ERRATA_REGISTRIES"] for item in secrets)


def test_policies_of_registries_have_the_path_in_the_manual(render: Render) -> None:
    known = read_settings(_manual_settings("registries"))
    of = pod(render("cpu"), "api").spec
    (mount,) = [item for item in of["containers"][0]["volumeMounts"] if item["name"] == "policies"]
    (volume,) = [item for item in of["volumes"] if item["name"] == "policies"]
    manual = (KUBERNETES / "README.md").read_text()

    policies = {rule.policy for registry in known.registries.values() for rule in registry.rules}
    assert {policy.parent for policy in policies if policy} == {Path(mount["mountPath"])}
    assert volume["configMap"] == {"name": "errata-policies", "optional": True}
    (config_map,) = re.findall(r"create configmap (\S+) --from-file=(\S+)", manual)
    assert config_map[0] == "errata-policies"
    assert {policy.name for policy in policies if policy} == {Path(config_map[1]).name}
    assert "rollout restart deployment/errata-api" in manual


def test_the_autoscaler_counts_open_shards_in_redis(render: Render) -> None:
    documents = render("keda")
    spec = find(documents, "ScaledObject", "errata-worker")["spec"]
    (trigger,) = spec["triggers"]
    redis = find(documents, "Service", "errata-redis")
    authentication = find(documents, "TriggerAuthentication", trigger["authenticationRef"]["name"])["spec"]

    assert spec["minReplicaCount"] == 0
    assert spec["maxReplicaCount"] > 1
    assert spec["cooldownPeriod"] > 0
    assert trigger["type"] == "redis"
    assert re.search(
        rf"^{trigger['metadata']['listName']}\s+zset\s+shards that are not done", transaction.__doc__, re.MULTILINE
    )
    assert trigger["metadata"]["listLength"] == "1"
    assert all(isinstance(item, str) for item in trigger["metadata"].values())
    place = f"{redis['metadata']['name']}.errata.svc:{redis['spec']['ports'][0]['port']}"
    assert trigger["metadata"]["address"] == place
    assert authentication["secretTargetRef"] == [{"parameter": "password", "name": "errata-redis", "key": "password"}]
    (peer,) = find(documents, "NetworkPolicy", "keda-to-redis")["spec"]["ingress"][0]["from"]
    assert peer == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda"}}}


def test_a_gpu_worker_releases_its_gpu_before_the_next_starts(render: Render) -> None:
    for overlay in ("gpu", "keda"):
        documents = render(overlay)
        (worker,) = pod(documents, "worker").spec["containers"]
        assert worker["resources"]["limits"]["nvidia.com/gpu"] == 1
        assert settings(documents, worker).device == "cuda:0"
        assert pod(documents, "worker").spec["tolerations"][0]["key"] == "nvidia.com/gpu"
        strategy = find(documents, "Deployment", "errata-worker")["spec"]["strategy"]
        assert strategy == {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}


def test_number_of_threads_of_a_cpu_worker_is_its_cpu_limit(render: Render) -> None:
    (worker,) = pod(render("cpu"), "worker").spec["containers"]

    assert str(settings(render("cpu"), worker).threads) == worker["resources"]["limits"]["cpu"]
    assert "nvidia.com/gpu" not in worker["resources"]["limits"]


def test_prometheus_finds_the_metrics_of_api_and_workers(render: Render) -> None:
    documents = render("monitoring")
    for component, port in (("api", 9464), ("worker", 8081)):
        monitor = find(documents, "ServiceMonitor", f"errata-{component}")["spec"]
        service = find(documents, "Service", f"errata-{component}")
        (endpoint,) = monitor["endpoints"]
        assert matches_selector(monitor["selector"], service["metadata"]["labels"])
        assert {item["name"]: item["port"] for item in service["spec"]["ports"]}[endpoint["port"]] == port
        assert endpoint["path"] == "/metrics"
        (rule,) = find(documents, "NetworkPolicy", f"prometheus-to-{component}")["spec"]["ingress"]
        assert rule["ports"] == [{"port": port, "protocol": "TCP"}]


def test_the_prometheus_rule_is_generated_from_the_rules(render: Render) -> None:
    script = ROOT / "deploy" / "prometheus" / "as_prometheus_rule.py"
    written = (KUBERNETES / "components" / "monitoring" / "prometheusrule.yaml").read_text()
    rules = yaml.safe_load((script.parent / "rules.yaml").read_text())

    generated = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True).stdout

    assert generated == written, f"python {script.relative_to(ROOT)} > deploy/kubernetes/components/monitoring/…"
    rule = find(render("monitoring"), "PrometheusRule", "errata")
    assert rule["spec"] == {"groups": rules["groups"]}
    assert rule["apiVersion"] == "monitoring.coreos.com/v1"


def test_the_base_url_of_the_runbook_can_be_set() -> None:
    script = ROOT / "deploy" / "prometheus" / "as_prometheus_rule.py"
    command = [sys.executable, str(script), "--runbook-base", "https://wiki.example/errata/"]
    rule = yaml.safe_load(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    alerts = [item for group in rule["spec"]["groups"] for item in group["rules"] if "alert" in item]
    assert alerts
    for alert in alerts:
        assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert alert["annotations"]["runbook_url"].startswith("https://wiki.example/errata/deploy/README.md#errata-")


def test_with_tls_probes_and_prometheus_use_tls(render: Render) -> None:
    documents = render("cpu", "monitoring", "tls")
    (api,) = pod(documents, "api").spec["containers"]
    known = settings(documents, api)

    for item in ("startup", "readiness", "liveness"):
        assert api[f"{item}Probe"]["httpGet"] == {"path": "/livez", "port": "http", "scheme": "HTTPS"}
        assert not {"grpc", "exec"} & api[f"{item}Probe"].keys()
    assert (
        authorization.PERMISSIONS["/livez"] is authorization.Scope.OPEN
    )  # the kubelet has neither a token nor a client certificate
    assert [known.tls_certificate, known.tls_key] == [Path("/etc/errata/tls/tls.crt"), Path("/etc/errata/tls/tls.key")]
    (endpoint,) = find(documents, "ServiceMonitor", "errata-api")["spec"]["endpoints"]
    assert endpoint["scheme"] == "https"
    assert endpoint["tlsConfig"]["ca"] == {"secret": {"name": "errata-tls", "key": "ca.crt"}}


def test_with_keda_the_api_knows_the_models_of_workers_that_never_ran(render: Render) -> None:
    """Otherwise, a first installation without workers lists no models."""
    (api,) = pod(render("keda"), "api").spec["containers"]
    known = settings(render("keda"), api)

    expected = {model for model, _ in expected_offer(known).models}
    offered = {offer.model for offer in model_offers(allow_files=False)}
    assert expected == offered - {
        "transformers:*",
        "hf-onnx:*",
    }  # they need transformers, which the image does not have


def test_no_probe_starts_an_interpreter(render: Render) -> None:
    for components in ((), ("tls",), ("tls", "client-certificates")):
        containers = [container for of in pods(render("cpu", *components)) for container in of.spec["containers"]]
        commands = [
            (
                container["name"],
                [
                    container[f"{probe}Probe"].get("exec", {}).get("command")
                    for probe in ("startup", "readiness", "liveness")
                ],
            )
            for container in containers
        ]
        assert sorted(commands) == [
            ("api", [None] * 3),
            ("redis", [["sh", "-c", "redis-cli ping | grep -q PONG"]] * 3),
            ("worker", [None] * 3),
        ]


def test_client_certificates_are_verified_by_the_ca_of_a_secret(render: Render) -> None:
    documents = render("cpu", "tls", "client-certificates")
    of = pod(documents, "api").spec
    known = settings(documents, of["containers"][0])
    (mount,) = [item for item in of["containers"][0]["volumeMounts"] if item["name"] == "client"]

    assert known.tls_client_ca == Path(mount["mountPath"]) / "ca.crt"
    (volume,) = [item for item in of["volumes"] if item["name"] == "client"]
    assert volume["secret"]["secretName"] == "errata-client"


def test_images_are_mounted_at_the_paths_in_the_settings(render: Render) -> None:
    documents = render("cpu", "images")
    for component in ("api", "worker"):
        of = pod(documents, component).spec
        (mount,) = [item for item in of["containers"][0]["volumeMounts"] if item["name"] == "images"]
        places = settings(documents, of["containers"][0]).images.values()
        assert places
        assert all(Path(place).is_relative_to(mount["mountPath"]) for place in places)
        assert mount["readOnly"] is True


def test_a_bundle_from_an_object_store_is_downloaded_and_verified(render: Render) -> None:
    documents = render("cpu", "evidence-object-store")
    api = pod(documents, "api")
    fetch, verify = api.spec["initContainers"]
    (place,) = settings(documents, api.spec["containers"][0]).evidence["imagenet"]

    assert fetch["command"] == ["python3", "/opt/fetch/fetch.py"]
    assert expand(documents, fetch) == ["s3://errata/evidence/imagenet", str(place)]
    assert expand(documents, verify) == ["evidence", "verify", str(place), "--digest", "the-digest-of-your-bundle"]
    assert fetch["image"] == verify["image"]
    script = KUBERNETES / "components" / "evidence-object-store" / "fetch.py"
    assert _data(documents, "errata-fetch") == {"fetch.py": script.read_text()}


@pytest.mark.parametrize("version", SCHEMAS)
def test_the_pod_that_fills_a_claim_is_allowed_and_its_files_are_readable(render: Render, version: str) -> None:
    (fill,) = yaml.safe_load_all((KUBERNETES / "fill.yaml").read_text())
    api = pod(render("cpu"), "api").spec
    (container,) = fill["spec"]["containers"]
    (volume,) = fill["spec"]["volumes"]

    kubernetes_validate.validate(fill, version, strict=True)
    assert [*pod_violations(fill["spec"]), *container_violations(container)] == []
    assert fill["metadata"]["namespace"] == "errata"
    assert fill["spec"]["securityContext"] == api["securityContext"]
    assert container["image"] == api["containers"][0]["image"]
    assert volume["persistentVolumeClaim"]["claimName"] in names(
        render("cpu", "evidence-volume"), "PersistentVolumeClaim"
    )
    manual = (KUBERNETES / "README.md").read_text()
    places = re.findall(rf"kubectl -n errata cp (\S+) {fill['metadata']['name']}:(\S+)", manual)
    assert places
    assert all(place.startswith(container["volumeMounts"][0]["mountPath"] + "/") for _, place in places)


def test_a_trial_has_one_api_pod_on_a_claim_that_one_node_can_mount(render: Render) -> None:
    documents = render("trial")
    api = find(documents, "Deployment", "errata-api")["spec"]

    assert api["replicas"] == 1
    assert api["strategy"] == {"type": "Recreate"}  # two pods on two nodes could not mount the claim
    assert find(documents, "PersistentVolumeClaim", "errata-archive")["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert names(documents, "HorizontalPodAutoscaler") == set()
    assert names(documents, "StatefulSet") == {"errata-redis"}


def test_the_requests_of_a_trial_fit_a_node_with_two_cores(render: Render) -> None:
    requests = [
        container["resources"]["requests"]["cpu"]
        for item in pods(render("trial"))
        for container in item.spec["containers"]
    ]

    cores = [int(cpu[:-1]) / 1000 if cpu.endswith("m") else float(cpu) for cpu in requests]
    assert sum(cores) <= 1.5  # the system's own pods request about half a core


def test_the_headless_service_has_the_addresses_of_the_api(render: Render) -> None:
    documents = render("cpu")
    service = find(documents, "Service", "errata-api-headless")["spec"]

    assert service["clusterIP"] == "None"  # DNS has the address of each ready pod
    assert service["selector"] == find(documents, "Service", "errata-api")["spec"]["selector"]
    assert [item["port"] for item in service["ports"]] == [50051]
    assert not service.get("publishNotReadyAddresses")
    assert "dns:///errata-api-headless:50051" in (KUBERNETES / "README.md").read_text()


def test_weights_on_a_claim_replace_the_folder_of_each_worker(render: Render) -> None:
    of = pod(render("cpu", "weights-volume"), "worker").spec
    (volume,) = [item for item in of["volumes"] if item["name"] == "data"]

    assert volume == {"name": "data", "persistentVolumeClaim": {"claimName": "errata-weights"}}
    assert of["containers"][0]["resources"]["requests"]["ephemeral-storage"] == "1Gi"


def test_an_object_store_replaces_the_shared_volume(render: Render) -> None:
    documents = render("cpu", "object-store")

    assert names(documents, "PersistentVolumeClaim") == set()
    assert settings(documents, pod(documents, "api").spec["containers"][0]).archive.startswith("s3://")


# The manual


def test_the_manual_names_existing_paths_secrets_and_commands() -> None:
    manual = (KUBERNETES / "README.md").read_text()

    for path in re.findall(r"\bdeploy/[\w./-]+", manual):
        assert (ROOT / path.rstrip(".")).exists() or path.startswith("deploy/kubernetes/mine"), (
            path
        )  # the reader's own overlay
    for overlay in OVERLAYS:
        assert f"overlays/{overlay}" in manual
    for component in COMPONENTS:
        assert f"`{component}`" in manual
    assert set(re.findall(r"create secret \w+ (\S+)", manual)) == set(SECRETS) | {"errata-token"}  # for the examples
    known = {f"ERRATA_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"\bERRATA_[A-Z_]+\b", manual)) <= known
    for line in re.findall(r"^errata (.+?)(?: \d?>.*)?$", manual, re.MULTILINE):
        _parse(line.split())


def test_the_manual_builds_the_images_of_the_overlays(render: Render) -> None:
    manual = (KUBERNETES / "README.md").read_text()
    builds = re.findall(r"^docker build -f deploy/(\w+)\.Dockerfile -t \$registry/(\S+)", manual, re.MULTILINE)
    pushed = re.findall(r"^docker push \$registry/(\S+)", manual, re.MULTILINE)
    run = set()
    for overlay in OVERLAYS:
        images = {container["image"] for item in pods(render(overlay)) for container in item.containers}
        own = {image for image in images if not image.startswith("redis:")}
        assert {image.partition(":")[0] for image in own} == {"errata-api", "errata-worker"}, overlay
        run |= own

    assert [f"errata-{file}" for file, _ in builds] == [image.partition(":")[0] for _, image in builds]
    assert sorted(pushed) == sorted(image for _, image in builds) == sorted(run)


def test_secrets_are_written_in_subshells_with_a_private_umask() -> None:
    """In the shell itself, the umask would make files unreadable for containers that a later pull or build writes."""
    for manual in (*ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*.md")):
        for block in re.findall(r"^ *```\w*\n(.+?)^ *```", manual.read_text(), re.MULTILINE | re.DOTALL):
            outside = re.sub(r"^[$ ]*\(umask 077.+?\)$", "", block, flags=re.MULTILINE | re.DOTALL)
            assert not re.search(r"umask|errata token .*> |openssl .*> |registries <<|> registries", outside), manual


def test_the_manual_waits_for_the_forwarded_port() -> None:
    manual = (KUBERNETES / "README.md").read_text()
    next_lines = re.findall(r"^kubectl .*port-forward .*&\n(.*)\n", manual, re.MULTILINE)
    assert set(next_lines) == {"until errata health; do sleep 1; done"}


def test_the_manual_installs_the_command_before_it_is_used() -> None:
    for manual in (KUBERNETES / "README.md", ROOT / "docs" / "how-to" / "helm.md"):
        text = manual.read_text()
        assert text.index("pip install ./client") < text.index("errata token")


def test_the_trial_of_the_manual_is_complete(render: Render) -> None:
    (commands,) = [block for block in _manual_blocks("") if "kind create cluster" in block]
    documents = render("trial")
    images = {item["image"] for of in pods(documents) for item in of.containers if item["image"].startswith("errata-")}

    assert set(re.findall(r"docker build -f \S+ -t (\S+)", commands)) == images
    assert set(re.findall(r"(?<=docker-image ).+", commands)[0].split()) == images
    assert set(re.findall(r"create secret \w+ (\S+)", commands)) == required_secrets(documents)
    steps = ["pip install", "docker build", "kind create", "kind load", "namespace.yaml", "errata token", "apply -k"]
    places = [commands.index(step) for step in steps]
    assert places == sorted(places)
    assert commands.rindex("create secret") < places[-1]


def test_the_manual_connects_to_localhost_with_tls() -> None:
    manual = (KUBERNETES / "README.md").read_text()
    (line,) = [item for item in manual.splitlines() if item.startswith("export ERRATA_SERVER=")]
    variables = dict(re.findall(r"(ERRATA_\w+)=(\S+)", line))
    known = read_settings(variables | {"ERRATA_TOKEN": "x"})

    assert known.server == "localhost:50051"
    assert known.tls is True
    assert known.ca_file == Path("ca.crt")


def _manual_blocks(kind: str) -> list[str]:
    """Return the code blocks of the manual in one language."""
    manual = (KUBERNETES / "README.md").read_text()
    blocks = re.findall(r"^```(\w*)\n(.+?)^```$", manual, re.MULTILINE | re.DOTALL)
    return [block for language, block in blocks if language == kind]


def _render_kustomization(folder: Path, kustomization: Document) -> list[Document]:
    """Render a kustomization whose paths are relative to a folder in deploy/kubernetes, such as `mine`."""
    here = os.path.relpath(KUBERNETES, folder.resolve())
    text = yaml.safe_dump(kustomization).replace("../", f"{here}/")
    (folder / "kustomization.yaml").write_text(text)
    command = [str(shutil.which("kubectl")), "kustomize", str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(run.stdout))


def test_the_example_of_the_manual_renders(tmp_path: Path, render: Render) -> None:
    (example,) = [block for block in _manual_blocks("yaml") if block.startswith("apiVersion")]

    documents = _render_kustomization(tmp_path, yaml.safe_load(example))
    images = {container["image"] for item in pods(documents) for container in item.containers}
    assert images == {"REGISTRY/errata-api:0.1.0", "REGISTRY/errata-worker:0.1.0-cuda", "redis:7.4.6-alpine"}
    assert not CUSTOM & {document["kind"] for document in documents}  # objects that a cluster may not know


def test_the_example_of_the_manual_can_have_monitors(tmp_path: Path, render: Render) -> None:
    (example,) = [block for block in _manual_blocks("yaml") if block.startswith("apiVersion")]

    documents = _render_kustomization(tmp_path, yaml.safe_load(example.replace("  # - ../", "  - ../")))
    assert find(documents, "ServiceMonitor", "errata-api")["spec"]["endpoints"][0]["scheme"] == "https"


def test_the_manual_creates_the_secrets_of_its_example_before_it_applies_it(tmp_path: Path, render: Render) -> None:
    (example,) = [block for block in _manual_blocks("yaml") if block.startswith("apiVersion")]
    (commands,) = [block for block in _manual_blocks("") if "kubectl apply -k deploy/kubernetes/mine" in block]
    before, _, _ = commands.partition("kubectl apply -k")

    documents = _render_kustomization(tmp_path, yaml.safe_load(example))

    assert required_secrets(documents) == set(re.findall(r"create secret \w+ (\S+)", before))


def test_one_node_can_mount_all_claims_of_the_manuals_trial(tmp_path: Path, render: Render) -> None:
    (example,) = [block for block in _manual_blocks("yaml") if block.startswith("resources")]
    parts = yaml.safe_load(example)
    parts["components"] += ["../components/evidence-volume", "../components/weights-volume"]

    documents = _render_kustomization(tmp_path, parts)

    claims = [item["spec"]["accessModes"] for item in documents if item["kind"] == "PersistentVolumeClaim"]
    assert claims == [["ReadWriteOnce"]] * 4


def test_the_settings_of_the_manual_replace_those_of_components(tmp_path: Path, render: Render) -> None:
    """Generators of the same kustomization would lose against its components, without an error."""
    (example,) = [block for block in _manual_blocks("yaml") if "ERRATA_PUBLIC_URL" in block]
    components = [f"../components/{name}" for name in ("object-store", "evidence-object-store", "keda", "images")]
    parts = {"resources": ["../overlays/gpu"], "components": components}

    documents = _render_kustomization(tmp_path, parts | yaml.safe_load(example))

    for component in ("api", "worker"):
        (container,) = pod(documents, component).spec["containers"]
        assert settings(documents, container).images.keys() == {"imagenet-real", "imagenet", "products"}
    (container,) = pod(documents, "api").spec["containers"]
    known = settings(documents, container)
    assert known.archive == "s3://BUCKET/archive"
    assert known.public_url == "https://errata.example"
    assert known.expected_models == ["timm:*", "file:*"]
    assert known.evidence == {"products": [Path("/evidence/products")]}
    fetch, verify = pod(documents, "api").spec["initContainers"]
    assert expand(documents, fetch) == ["s3://BUCKET/products", "/evidence/products"]
    assert expand(documents, verify) == ["evidence", "verify", "/evidence/products", "--digest", "DIGEST"]
    assert "the-digest-of-your-bundle" not in str(documents)
    assert "s3://errata" not in str(documents)
