"""A Weights & Biases server for tests: artifacts with aliases and metadata, and runs with summaries.

It answers the GraphQL requests of the client `wandb` 0.31, from whose generated operations the fields are taken.
"""

import base64
import json
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from registry_server import LocalServer, send

KEY = "0123456789abcdef0123456789abcdef01234567"  # API key; the client requires 40 characters
AUTHORIZATION = "Basic " + base64.b64encode(f"api:{KEY}".encode()).decode()
TIME = "2026-11-29T00:00:00Z"
ENTITY, PROJECT, COLLECTION = "team", "model-registry", "resnet50"
MUTATIONS = ("UpsertBucket", "UpdateArtifact", "AddAliases", "DeleteAliases")


@dataclass
class Artifact:
    """A version of the only collection."""

    index: int
    aliases: set[str] = field(default_factory=set)
    metadata: dict[str, Any] = field(default_factory=dict)
    run: str = "run-1"  # empty: none

    @property
    def id(self) -> str:
        return f"QXJ0aWZhY3Q6{self.index}"


class WandbServer(LocalServer):
    """A running server. `after` is called with the name of an operation before its answer."""

    def __init__(self) -> None:
        self.is_public = False  # whether requests without an API key can read the artifacts
        self.artifacts: list[Artifact] = []
        self.summaries: dict[str, dict[str, Any]] = {"run-1": {"loss": 0.5}}
        self.requests: list[tuple[str, Mapping[str, Any]]] = []  # name and variables of operations
        self.queries: list[str] = []
        self.after: Callable[[str], None] = lambda operation: None
        self._lock = threading.Lock()
        super().__init__()

    def respond(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        operation = json.loads(body)
        result = re.search(r"(?:query|mutation)\s+(\w+)", operation["query"])
        assert result, operation
        name, variables = result[1], operation.get("variables") or {}
        status, answer = 401, {"errors": [{"message": "invalid API key"}]}
        has_access = (self.is_public and name not in MUTATIONS) or request.headers.get("Authorization") == AUTHORIZATION
        if has_access and request.path == "/graphql":
            with self._lock:
                self.requests.append((name, variables))
                self.queries.append(operation["query"])
                status, answer = 200, self.answer(name, variables)
        with suppress(OSError):  # the connection ends before the answer
            self.after(name)
            send(request, status, json.dumps(answer).encode(), **{"Content-Type": "application/json"})

    def changes(self) -> list[str]:
        """Return the names of the operations that change something."""
        return [name for name, _ in self.requests if name in MUTATIONS]

    def answer(self, name: str, variables: Mapping[str, Any]) -> Any:
        """Return the response to an operation."""
        values = variables.get("input", {})
        match name:
            case "Viewer" | "GetDefaultEntity":
                viewer = {"id": "u", "entity": ENTITY, "username": "bot", "email": "", "flags": "{}"}
                return {"data": {"viewer": {**viewer, "teams": {"edges": []}}}}
            case "ArtifactMembershipByName":
                return {"data": {"project": self._project(variables)}}
            case "UpdateArtifact":
                artifact = self._artifact(values["artifactID"])
                artifact.metadata = json.loads(values["metadata"])
                return {"data": {"result": {"artifact": self._artifact_fields(artifact)}}}
            case "AddAliases" | "DeleteAliases":
                for alias in values["aliases"]:
                    self._change_alias(values["artifactID"], alias, is_new=name == "AddAliases")
                return {"data": {"result": {"success": True}}}
            case "UpsertBucket":
                self.summaries[variables["id"]] = json.loads(variables["summaryMetrics"])
                return {"data": {"upsertBucket": {"bucket": {"id": variables["id"]}}}}
        return {"data": {}}

    def _artifact(self, artifact_id: str) -> Artifact:
        return next(artifact for artifact in self.artifacts if artifact.id == artifact_id)

    def _change_alias(self, artifact_id: str, target: Mapping[str, str], *, is_new: bool) -> None:
        """Set or delete an alias, which only one version of a collection has."""
        place = (target["entityName"], target["projectName"], target["artifactCollectionName"])
        assert place == (ENTITY, PROJECT, COLLECTION)
        for artifact in self.artifacts:
            artifact.aliases -= {target["alias"]} if is_new or artifact.id == artifact_id else set()
        if is_new:
            self._artifact(artifact_id).aliases.add(target["alias"])

    def _project(self, variables: Mapping[str, Any]) -> Any:
        collection, _, version = variables["name"].partition(":")
        if (variables["entity"], variables["project"]) != (ENTITY, PROJECT):
            return None
        artifacts = self.artifacts if collection == COLLECTION else []
        artifact = next((it for it in artifacts if version == f"v{it.index}" or version in it.aliases), None)
        if artifact is None:
            return {"artifactCollectionMembership": None}
        membership = {"__typename": "ArtifactCollectionMembership", "id": f"m{artifact.index}", "createdAt": TIME}
        fields = {"versionIndex": artifact.index, "aliases": _aliases(artifact), "artifactCollection": _collection()}
        return {"artifactCollectionMembership": {**membership, **fields, "artifact": self._artifact_fields(artifact)}}

    def _artifact_fields(self, artifact: Artifact) -> dict[str, Any]:
        run = {"__typename": "Run", "id": artifact.run, "summaryMetrics": json.dumps(self.summaries.get(artifact.run))}
        return {
            "__typename": "Artifact",
            "id": artifact.id,
            "artifactSequence": {**_collection(), "__typename": "ArtifactSequence"},
            "versionIndex": artifact.index,
            "artifactType": {"name": "model"},
            "description": None,
            "metadata": json.dumps(artifact.metadata),
            "ttlDurationSeconds": -2,
            "ttlIsInherited": True,
            "tags": [],
            "historyStep": None,
            "state": "COMMITTED",
            "size": 1,
            "digest": "d" * 32,
            "commitHash": None,
            "fileCount": 1,
            "createdAt": TIME,
            "updatedAt": TIME,
            "aliases": [{**alias, "artifactCollection": _collection()} for alias in _aliases(artifact)],
            "createdBy": run if artifact.run else {"__typename": "User"},
        }


def _aliases(artifact: Artifact) -> list[dict[str, Any]]:
    return [{"__typename": "ArtifactAlias", "id": name, "alias": name} for name in sorted(artifact.aliases)]


def _collection() -> dict[str, Any]:
    project = {"id": "p", "internalId": "1", "name": PROJECT, "entity": {"name": ENTITY}}
    return {"__typename": "ArtifactSequence", "name": COLLECTION, "project": project}
