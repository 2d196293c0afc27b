"""A W&B server for tests: artifacts by GraphQL as the client wandb 0.31 asks for them, and a store of their files."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote, urlsplit

import xxhash
from registry_server import RegistryServer, send

API_KEY = "0123456789abcdef" * 2 + "01234567"


@dataclass
class StoredArtifact:
    """A version of an artifact."""

    files: Mapping[str, bytes]
    version: int = 0
    aliases: tuple[str, ...] = ("latest",)
    algorithm: str = "MD5"
    state: str = "COMMITTED"
    references: Mapping[str, str] = field(default_factory=dict)

    def hash(self, content: bytes = b"") -> Any:
        return xxhash.xxh128(content) if self.algorithm == "XXH128" else hashlib.md5(content)

    @property
    def manifest(self) -> dict[str, Any]:
        extra = {"extra": {"alg": "XXH128"}} if self.algorithm == "XXH128" else {}
        contents: dict[str, Any] = {
            path: {"digest": base64.b64encode(self.hash(content).digest()).decode(), "size": len(content), **extra}
            for path, content in self.files.items()
        }
        for path, reference in self.references.items():
            contents[path] = {"digest": "etag", "size": 5, "ref": reference}
        return {
            "version": 1,
            "storagePolicy": "wandb-storage-policy-v1",
            "storagePolicyConfig": {"storageLayout": "V2"},
            "contents": contents,
        }

    @property
    def digest(self) -> str:
        digest = self.hash(b"wandb-artifact-manifest-v1\n")
        for path, entry in sorted(self.manifest["contents"].items()):
            digest.update(f"{path}:{entry['digest']}\n".encode())
        return str(digest.hexdigest())


class WandbServer:
    """The versions of one artifact, `team/project/small`."""

    def __init__(self, server: RegistryServer) -> None:
        self.server = server
        self.versions: list[StoredArtifact] = []
        self.page_size = 1000
        self.store_url = server.url  # of the addresses that the API returns
        self.sent_manifest: dict[str, Any] | None = None  # instead of the real one
        server.responses["/graphql"] = self._answer
        server.fallback = self._send_file

    @property
    def url(self) -> str:
        return self.server.url

    def file_requests(self) -> list[tuple[str, str]]:
        """Return path and Authorization of the requests for files and manifests."""
        return [(path, token) for verb, path, token, _ in self.server.requests if verb == "GET"]

    def _find(self, name: str) -> StoredArtifact | None:
        alias = name.rpartition(":")[2]
        return next((version for version in self.versions if alias in (f"v{version.version}", *version.aliases)), None)

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        request = json.loads(self.server.requests[-1][3])
        expected = "Basic " + base64.b64encode(f"api:{API_KEY}".encode()).decode()
        if handler.headers.get("Authorization") != expected:
            return send(handler, 401, b'{"error": "user is not logged in"}')
        operation = re.search(r"query (\w+)", request["query"])
        data = self._data(operation[1] if operation else "", request.get("variables") or {})
        return send(handler, 200, json.dumps({"data": data}).encode(), **{"Content-Type": "application/json"})

    def _data(self, operation: str, variables: dict[str, Any]) -> dict[str, Any]:
        if operation == "FetchArtifactManifest":
            number = variables["id"].rpartition("-")[2]
            return {"artifact": {"currentManifest": {"file": {"directUrl": f"{self.store_url}/manifests/{number}"}}}}
        if operation not in ("ArtifactMembershipByName", "GetArtifactMembershipFileUrls"):
            return {"viewer": {"id": "u", "username": "u", "entity": "team", "flags": "{}"}, "serverInfo": None}
        if (variables["entity"], variables["project"]) != ("team", "project"):
            return {"project": None}
        version = self._find(variables.get("name") or variables["alias"])
        name = variables.get("collection") or variables["name"].partition(":")[0]
        if version is None or name != "small":
            return {"project": {"artifactCollectionMembership": None, "artifactCollection": None}}
        if operation == "ArtifactMembershipByName":
            return {"project": {"artifactCollectionMembership": self._membership(version)}}
        return {"project": {"artifactCollection": {"__typename": "ArtifactSequence", "artifactMembership": {
            "files": self._page(version, int(variables["cursor"] or 0))}}}}  # fmt: skip

    def _page(self, artifact: StoredArtifact, start: int) -> dict[str, Any]:
        paths = sorted(artifact.files)[start : start + self.page_size]
        edges = [
            {"node": {"__typename": "File", "name": path,
                      "directUrl": f"{self.store_url}/files/{artifact.version}/{path}?signature=s"}}
            for path in paths
        ]  # fmt: skip
        end = start + len(paths)
        return {"pageInfo": {"endCursor": str(end), "hasNextPage": end < len(artifact.files)}, "edges": edges}

    def _membership(self, artifact: StoredArtifact) -> dict[str, Any]:
        project = {"id": "p", "internalId": "p", "name": "project", "entity": {"name": "team"}}
        collection = {"__typename": "ArtifactSequence", "name": "small", "project": project}
        names = [f"v{artifact.version}", *artifact.aliases]
        return {
            "__typename": "ArtifactCollectionMembership",
            "id": "m",
            "versionIndex": artifact.version,
            "createdAt": "2026-01-01T00:00:00",
            "aliases": [{"__typename": "ArtifactAlias", "id": name, "alias": name} for name in names],
            "artifactCollection": collection,
            "artifact": {
                "__typename": "Artifact", "id": f"artifact-{artifact.version}", "artifactSequence": collection,
                "versionIndex": artifact.version, "artifactType": {"name": "model"}, "description": None,
                "metadata": "{}", "ttlDurationSeconds": -2, "ttlIsInherited": True, "tags": [], "historyStep": None,
                "state": artifact.state, "size": sum(map(len, artifact.files.values())), "digest": artifact.digest,
                "digestAlgorithm": f"MANIFEST_{artifact.algorithm}",
                "commitHash": "c", "fileCount": len(artifact.files), "createdAt": "2026-01-01T00:00:00",
                "updatedAt": "2026-01-01T00:00:00",
            },
        }  # fmt: skip

    def _send_file(self, handler: BaseHTTPRequestHandler) -> None:
        _, kind, number, *rest = unquote(urlsplit(handler.path).path).split("/")
        artifact = next((version for version in self.versions if str(version.version) == number), None)
        if artifact is None or kind not in ("manifests", "files"):
            return send(handler, 404, b"")
        if kind == "manifests":
            return send(handler, 200, json.dumps(self.sent_manifest or artifact.manifest).encode())
        return send(handler, 200, artifact.files["/".join(rest)])


@contextmanager
def wandb_server() -> Iterator[WandbServer]:
    """Yield a running server without artifacts."""
    with RegistryServer() as server:
        yield WandbServer(server)
