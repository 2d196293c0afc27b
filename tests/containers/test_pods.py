"""The pods of the overlay `cpu`, run by Podman from the manifests as Kustomize renders them.

Podman has no Services, autoscalers, and policies, and runs no gRPC probes. Each Service is a network alias of its pod.
"""

import copy
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from errata import Client, pb
from errata.errors import ErrataError, Unauthenticated
from redis_server import free_port

from .conftest import API, WORKER
from .stack import ROOT, image_of, wait_for

Document = dict[str, Any]
PLAYED = {"ConfigMap", "Deployment", "PersistentVolumeClaim", "Secret"}
PASSWORD = "0123abcd"
NETWORK = "errata-test"


class Podman:
    """Podman with storage of its own."""

    def __init__(self, folder: Path) -> None:
        self._options = [f"--root={folder / 'storage'}", f"--runroot={folder / 'run'}", "--cgroup-manager=cgroupfs"]
        config = folder / "containers.conf"
        # iptables, since rules of nftables do not precede those of Docker; runc, since crun refuses hybrid cgroups.
        config.write_text('[network]\nfirewall_driver = "iptables"\n[engine]\nruntime = "runc"\n')
        self._environment = os.environ | {
            "CONTAINERS_CONF_OVERRIDE": str(config),
            "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
        }

    def __call__(self, *arguments: str, **options: Any) -> str:
        """Return what a command prints."""
        done = subprocess.run(
            ["podman", *self._options, *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            **options,
        )
        assert done.returncode == 0, f"podman {' '.join(arguments)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        return done.stdout

    def load(self, image: str, name: str) -> None:
        """Copy an image from Docker, under the name that the manifests use."""
        with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saved:
            loaded = self("load", "--quiet", stdin=saved.stdout)
        self("tag", loaded.strip().removeprefix("Loaded image: "), name)


def rendered(overlay: str) -> list[Document]:
    """Return the objects of an overlay."""
    command = ["kubectl", "kustomize", str(ROOT / "deploy" / "kubernetes" / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def secrets(folder: Path) -> list[Document]:
    """Return the Secrets that the manual creates, and write the token into a file."""
    program = str(Path(sys.executable).parent / "errata")
    done = subprocess.run([program, "token", "ci", "--scope", "write"], capture_output=True, text=True, check=True)
    (folder / "ci.token").write_text(done.stdout.strip())
    contents = {
        "errata-tokens": {"tokens": done.stderr},
        "errata-redis": {"password": PASSWORD, "url": f"redis://:{PASSWORD}@errata-redis:6379/0"},
    }
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": content}
        for name, content in contents.items()
    ]


def playable(document: Document) -> Document:
    """Return an object as Podman plays it: a StatefulSet as a Deployment, and files that need no fsGroup."""
    document = copy.deepcopy(document)
    document["metadata"].pop("namespace", None)
    if document["kind"] == "StatefulSet":
        document["kind"] = "Deployment"
        claims = document["spec"].pop("volumeClaimTemplates")
        document["spec"]["template"]["spec"]["volumes"] += [
            {
                "name": claim["metadata"]["name"],
                "persistentVolumeClaim": {"claimName": f"{document['metadata']['name']}-data"},
            }
            for claim in claims
        ]
    if document["kind"] == "Deployment":
        document["spec"]["replicas"] = 1
        pod = document["spec"]["template"]["spec"]
        for volume in pod["volumes"]:
            if "secret" in volume:
                volume["secret"]["defaultMode"] = 0o444
        for container in pod["containers"]:
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                if "grpc" in container.get(probe, {}):
                    del container[probe]
    return document


class Pods:
    """The pods of the overlay `cpu`."""

    def __init__(self, podman: Podman, folder: Path) -> None:
        self.podman = podman
        self._folder = folder
        self._port = free_port()
        documents = [playable(document) for document in [*rendered("cpu"), *secrets(folder)]]
        played = [document for document in documents if document["kind"] in PLAYED or document["kind"] == "StatefulSet"]
        self._shared = [document for document in played if document["kind"] != "Deployment"]
        self._deployments = {
            document["metadata"]["name"]: document for document in played if document["kind"] == "Deployment"
        }

    def play(self, name: str) -> None:
        """Start the pod of a deployment."""
        file = self._folder / f"{name}.yaml"
        configs = [document for document in self._shared if document["kind"] in ("ConfigMap", "PersistentVolumeClaim")]
        file.write_text(yaml.safe_dump_all([*configs, self._deployments[name]]))
        publish = ["--publish", f"127.0.0.1:{self._port}:50051"] if name == "errata-api" else []
        self.podman("kube", "play", f"--network={NETWORK}:alias={name}", *publish, str(file))

    def start(self) -> None:
        file = self._folder / "secrets.yaml"
        file.write_text(yaml.safe_dump_all([document for document in self._shared if document["kind"] == "Secret"]))
        self.podman("network", "create", NETWORK)
        self.podman("kube", "play", str(file))
        for name in ("errata-redis", "errata-api", "errata-worker"):
            self.play(name)

    def stop(self, name: str) -> None:
        """Remove the pod of a deployment, and keep its claims."""
        self.podman("kube", "down", str(self._folder / f"{name}.yaml"))

    def healthy(self, container: str) -> bool:
        """Run the probe of a container once; Podman runs probes by itself only with systemd."""
        try:
            return bool(self.podman("healthcheck", "run", container).strip() in ("", "healthy"))
        except AssertionError:
            return False

    def client(self, with_token: bool = True) -> Client:
        token = (self._folder / "ci.token").read_text() if with_token else None
        return Client(f"127.0.0.1:{self._port}", token=token)


@pytest.fixture(scope="module")
def pods(images: dict[str, float], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    """The pods, with Podman's own copies of the images."""
    folder = tmp_path_factory.mktemp("pods")
    podman = Podman(folder)
    try:
        for image, name in ((API, "errata-api:0.1.0"), (WORKER, "errata-worker:0.1.0"), *[(image_of("redis"),) * 2]):
            podman.load(image, name)
        result = Pods(podman, folder)
        result.start()
        yield result
    finally:
        podman("pod", "rm", "--all", "--force")
        podman("system", "reset", "--force")


def is_serving(client: Client) -> bool:
    try:
        return client.is_serving()
    except ErrataError:
        return False


def test_an_analysis_runs_on_the_pods_with_a_token(pods: Pods) -> None:
    with pods.client() as client, pods.client(with_token=False) as anonymous:
        wait_for(lambda: is_serving(client), "the API's pod serves")
        with pytest.raises(Unauthenticated):
            anonymous.datasets()
        analysis = client.wait(client.analyze("demo:efficientnet_lite0", "demo"))

    assert analysis.state == pb.Analysis.STATE_SUCCEEDED, analysis.failure
    assert analysis.summary.groups["all"].top1_accuracy == 0.9


def test_the_pods_run_as_the_manifests_say(pods: Pods) -> None:
    names = pods.podman("ps", "--format", "{{.Names}}").split()
    assert {"errata-api-pod-api", "errata-worker-pod-worker", "errata-redis-pod-redis"} <= set(names)
    for name in names:
        if name.endswith(("-api", "-worker", "-redis")):
            form = "{{.HostConfig.ReadonlyRootfs}} {{.Config.User}} {{.EffectiveCaps}}"
            expected = f"true {'999:1000' if name.endswith('redis') else '10001:10001'} []"
            assert pods.podman("inspect", "--format", form, name).strip() == expected


def test_the_probe_of_redis_succeeds(pods: Pods) -> None:
    wait_for(lambda: pods.healthy("errata-redis-pod-redis"), "the probe succeeds")


def test_a_new_pod_of_the_api_reads_the_archive_from_the_claim(pods: Pods) -> None:
    with pods.client() as client:
        before = [analysis.name for analysis in client.list()]
    assert before
    pods.stop("errata-api")
    pods.play("errata-api")
    with pods.client() as client:
        wait_for(lambda: is_serving(client), "the new pod serves")
        assert [analysis.name for analysis in client.list()] == before
