"""The security policy for pods and containers; each function yields violations."""

from collections.abc import Iterator
from typing import Any

Document = dict[str, Any]

VOLUMES = {"configMap", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def pod_violations(spec: Document) -> Iterator[str]:
    """Yield violations of the restricted Pod Security Standard, and of stricter rules, by a pod."""
    context = spec.get("securityContext", {})
    if context.get("runAsNonRoot") is not True or not context.get("runAsUser") or not context.get("fsGroup"):
        yield "may run as root"
    if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "has no seccomp profile"
    if spec.get("automountServiceAccountToken") is not False:
        yield "has a token for Kubernetes' API"
    if spec.get("enableServiceLinks") is not False:
        yield "has variables for each Service"
    if any(spec.get(item) for item in ("hostNetwork", "hostPID", "hostIPC")):
        yield "shares the host's namespaces"
    for volume in spec.get("volumes", []):
        match {key: value for key, value in volume.items() if key != "name"}:
            case {"emptyDir": content} if "sizeLimit" not in content:
                yield f"its folder {volume['name']} may fill the node's disk"
            case source if not source.keys() <= VOLUMES:
                yield f"mounts a forbidden volume: {', '.join(source)}"


def container_violations(container: Document) -> Iterator[str]:
    """Yield violations by a container of a pod."""
    context = container.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
        yield "may gain privileges"
    if context.get("capabilities") != {"drop": ["ALL"]}:
        yield "keeps capabilities"
    if context.get("readOnlyRootFilesystem") is not True:
        yield "may write to its root"
    if context.keys() & {"runAsUser", "runAsNonRoot", "seccompProfile"}:
        yield "runs as another user than its pod"
    resources = container.get("resources", {})
    if "memory" not in resources.get("limits", {}) or not {"cpu", "memory"} <= resources.get("requests", {}).keys():
        yield "has no memory limit, or no requests"
    if "ephemeral-storage" not in resources.get("requests", {}):
        yield "has no request for ephemeral-storage"
    name, _, tag = container["image"].partition(":")
    if tag in {"", "latest"} or "/" in name:
        yield f"runs an image with a mutable tag or from a foreign registry: {container['image']}"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "takes a port of the host"
