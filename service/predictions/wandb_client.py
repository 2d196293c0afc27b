"""Versions of W&B artifacts, and their files."""

import base64
import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errata.errors import ModelNotFound, ModelRefused, Unavailable
from errata.json_input import parse_json

from service.predictions.model_id import ModelId, WandbArtifact, parse_wandb_artifact
from service.predictions.model_policy import ModelPolicy
from service.predictions.public_files import PublicFiles
from service.predictions.registry_http import MAX_RESPONSE, RegistryAddress
from service.predictions.wandb_graphql import WandbGraphql

PAGE_SIZE = 500  # number of file addresses in one response
MAX_PAGES = 40
MAX_ENTRIES = MAX_PAGES * PAGE_SIZE  # files of one artifact
VERSION = re.compile(r"v[0-9]+")  # version number of an artifact; every other text is an alias
_DIGEST = re.compile(r"[0-9a-f]{32}")
_VERSION_FIELDS = "artifact { id state digest }"
_MANIFEST_QUERY = """
query FetchArtifactManifest($id: ID!) {
  artifact(id: $id) { currentManifest { file { directUrl } } }
}"""
_FILES_QUERY = """
query GetArtifactMembershipFileUrls($entity: String!, $project: String!, $collection: String!, $alias: String!,
                                    $cursor: String, $perPage: Int) {
  project(name: $project, entityName: $entity) {
    artifactCollection(name: $collection) {
      artifactMembership(aliasName: $alias) {
        files(after: $cursor, first: $perPage) {
          pageInfo { endCursor hasNextPage }
          edges { node { name directUrl } }
        }
      }
    }
  }
}"""


@dataclass(frozen=True)
class ArtifactVersion:
    """A version of an artifact."""

    id: str
    version: str  # vN
    state: str
    digest: str  # digest of the manifest


@dataclass(frozen=True)
class ManifestEntry:
    """A file of a version."""

    size: int
    digest: str  # base64
    algorithm: str  # MD5 or XXH128


class WandbClient:
    """A client of one server. Thread-safe.

    All methods raise ModelNotFound if the server has no such artifact, and Unavailable if it cannot be reached.
    """

    def __init__(self, address: RegistryAddress) -> None:
        self._api = WandbGraphql(address)
        self._files = PublicFiles(address)

    def version(self, artifact: WandbArtifact) -> ArtifactVersion:
        """Return the version that a version number or alias refers to."""
        membership = self._api.find_version(artifact.path, artifact.version, _VERSION_FIELDS)
        try:
            fields = membership["artifact"]
            version = ArtifactVersion(
                str(fields["id"]), f"v{int(membership['versionIndex'])}", str(fields["state"]), str(fields["digest"])
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:  # OverflowError: infinity
            raise self._api.invalid("an invalid artifact", error) from error
        if not _DIGEST.fullmatch(version.digest):
            raise self._api.http.unavailable(f"answered with the digest {version.digest!r:.60}")
        return version

    def manifest(self, version: ArtifactVersion) -> Mapping[str, ManifestEntry]:
        """Return the files of a version by path, without references to other stores.

        Raises:
            ModelRefused: The files do not match the digest of the version, or there are too many files.
        """
        artifact = self._api.find(_MANIFEST_QUERY, {"id": version.id}, "artifact", "currentManifest", "file")
        content = bytearray()
        with self._files.open(str(artifact.get("directUrl"))) as response:
            for chunk in self._api.http.stream(response):
                content += chunk
                if len(content) > MAX_RESPONSE:
                    raise ModelRefused(
                        f"The manifest of the artifact has more than {MAX_RESPONSE:,} bytes. Log an artifact with only "
                        "the files of the model."
                    )
        try:
            contents = parse_json(bytes(content))["contents"]
            digests = {str(path): str(entry["digest"]) for path, entry in contents.items()}
            entries = {
                str(path): ManifestEntry(
                    int(entry["size"]), str(entry["digest"]), str((entry.get("extra") or {}).get("alg") or "MD5")
                )
                for path, entry in contents.items()
                if not entry.get("ref")
            }
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise self._api.invalid("an invalid manifest", error) from error
        if any(entry.size < 0 for entry in entries.values()):  # it would lower the sum that a limit applies to
            raise self._api.http.unavailable("answered with a file of negative size")
        _check_manifest(digests, entries, version.digest)
        return entries

    def addresses(self, artifact: WandbArtifact, paths: Collection[str]) -> Mapping[str, str]:
        """Return the download address of each file. The addresses expire after some minutes."""
        addresses: dict[str, str] = {}
        variables: dict[str, Any] = {
            "entity": artifact.entity,
            "project": artifact.project,
            "collection": artifact.name,
            "alias": artifact.version,
            "cursor": None,
            "perPage": PAGE_SIZE,
        }
        keys = ("project", "artifactCollection", "artifactMembership", "files")
        for _ in range(MAX_PAGES):
            page = self._api.find(_FILES_QUERY, variables, *keys)
            try:
                nodes = [edge["node"] for edge in page["edges"] if edge["node"]]
                addresses |= {node["name"]: str(node["directUrl"]) for node in nodes if node["name"] in paths}
                has_more, variables["cursor"] = page["pageInfo"]["hasNextPage"], page["pageInfo"]["endCursor"]
            except (KeyError, TypeError) as error:
                raise self._api.invalid("invalid addresses of files", error) from error
            if len(addresses) == len(paths):
                return addresses
            if not has_more:
                break
        missing = sorted(set(paths) - addresses.keys())
        raise self._api.http.unavailable(f"has no address for the file {missing[0]!r:.120}")

    def download(self, url: str, target: Path, entry: ManifestEntry) -> None:
        """Write a file to a local path; raise ModelRefused unless it has the size and digest of its entry."""
        digest, size = _hasher(entry.algorithm), 0
        with self._files.open(url) as response, target.open("wb") as file:
            for chunk in self._api.http.stream(response, decode_content=False):
                if (size := size + len(chunk)) > entry.size:
                    break
                digest.update(chunk)
                file.write(chunk)
        if size != entry.size or base64.b64encode(digest.digest()).decode() != entry.digest:
            raise ModelRefused(
                f"The file {target.name!r:.80} differs from the manifest of its version. Log the artifact again."
            )


def pin_artifact(model: ModelId, policy: ModelPolicy) -> ModelId:
    """Return the model ID with its version number and digest. Raises the errors of `ready_version`."""
    artifact = parse_wandb_artifact(model.rest)
    if artifact.digest and VERSION.fullmatch(artifact.version) and artifact.registry:
        return model
    address = policy.registry(artifact.registry, str(model), "wandb")
    version = ready_version(str(model), WandbClient(address), artifact)
    return ModelId(model.source, f"//{address.id}/{artifact.path}:{version.version}@{version.digest}")


def ready_version(model: str, client: WandbClient, artifact: WandbArtifact) -> ArtifactVersion:
    """Return a version whose files are all stored.

    Raises:
        ModelNotFound: There is no such version, or it was deleted.
        ModelRefused: The version has another digest than the model ID.
        Unavailable: The files are not all stored yet.
    """
    version = client.version(artifact)
    if version.state == "DELETED":
        raise ModelNotFound(f"{model}: The version was deleted. Choose another version.", field="model")
    if version.state != "COMMITTED":
        raise Unavailable(
            f"{model}: The version is {version.state:.40}, not COMMITTED. Try again later.", retry_after=5
        )
    if artifact.digest not in ("", version.digest):
        raise ModelRefused(
            f"{model}: The version now has the digest {version.digest}. Submit the analysis again without a digest."
        )
    return version


def _check_manifest(digests: Mapping[str, str], entries: Mapping[str, ManifestEntry], expected: str) -> None:
    """Raise ModelRefused if the files do not match the digest of the version, or if there are too many files."""
    algorithm = "XXH128" if any(entry.algorithm == "XXH128" for entry in entries.values()) else "MD5"
    digest = _hasher(algorithm)
    digest.update(b"wandb-artifact-manifest-v1\n")
    for path, file_digest in sorted(digests.items()):
        digest.update(f"{path}:{file_digest}\n".encode())
    if digest.hexdigest() != expected:
        raise ModelRefused("The files of the artifact differ from the digest of its version. Log the artifact again.")
    if len(digests) > MAX_ENTRIES:
        raise ModelRefused(
            f"The artifact has {len(digests):,} files. Expected at most {MAX_ENTRIES:,}. Log an artifact with only the "
            "files of the model."
        )


def _hasher(algorithm: str) -> Any:
    """Return a hash object; raise ModelRefused if the package for it is missing."""
    if algorithm == "XXH128":
        try:
            import xxhash
        except ImportError as error:
            raise ModelRefused(
                "The digests of the artifact need the package xxhash. Install errata-service[wandb]."
            ) from error
        return xxhash.xxh128()
    return hashlib.md5(usedforsecurity=False)
