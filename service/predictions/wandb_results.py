"""Results in Weights & Biases by its GraphQL API: aliases and metadata of artifacts, and summaries of runs.

The operations are those of the client `wandb` (0.31), restricted to the fields that Errata reads. The client itself
would start a background process, which follows redirects and has no limits on sizes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from errata.errors import ModelNotFound
from errata.json_input import parse_json

from service.predictions.registry_http import RegistryAddress, RegistryHttp

_MEMBERSHIP = """
query ArtifactMembershipByName($entity: String!, $project: String!, $name: String!) {
  project(name: $project, entityName: $entity) {
    artifactCollectionMembership(name: $name) {
      versionIndex
      aliases { alias }
      artifact {
        id
        metadata
        createdBy {
          __typename
          ... on Run { id summaryMetrics }
        }
      }
    }
  }
}
"""
_UPSERT_BUCKET = """
mutation UpsertBucket($id: String, $summaryMetrics: JSONString) {
  upsertBucket(input: {id: $id, summaryMetrics: $summaryMetrics}) { bucket { id } }
}
"""
_UPDATE_ARTIFACT = """
mutation UpdateArtifact($input: UpdateArtifactInput!) {
  result: updateArtifact(input: $input) { artifact { id } }
}
"""
_ADD_ALIASES = """
mutation AddAliases($input: AddAliasesInput!) { result: addAliases(input: $input) { success } }
"""
_DELETE_ALIASES = """
mutation DeleteAliases($input: DeleteAliasesInput!) { result: deleteAliases(input: $input) { success } }
"""


@dataclass(frozen=True)
class ArtifactVersion:
    """A version of an artifact in a collection."""

    id: str  # of the artifact
    version: str  # v0, v1, and so on; unlike an alias, it never refers to another artifact
    aliases: frozenset[str]  # in the collection
    metadata: Mapping[str, Any]
    run: str  # id of the run that created the artifact; empty: none
    summary: Mapping[str, Any]  # of the run


class WandbResults:
    """A client of one server. Thread-safe.

    All methods raise Unavailable if the server cannot be reached or refuses a request. A collection is named
    ENTITY/PROJECT/NAME.
    """

    def __init__(self, address: RegistryAddress) -> None:
        self._http = RegistryHttp(address)

    def artifact(self, collection: str, version: str) -> ArtifactVersion:
        """Return the artifact of a version or alias; raise ModelNotFound if there is none."""
        entity, project, name = _split(collection)
        variables = {"entity": entity, "project": project, "name": f"{name}:{version}"}
        data = self._execute(_MEMBERSHIP, variables)
        try:
            membership = (data.get("project") or {}).get("artifactCollectionMembership")
            if not membership or not membership.get("artifact"):
                raise ModelNotFound(
                    f"Artifact {collection}:{version!s:.120} not found. Check its name and version.", field="model"
                )
            artifact = membership["artifact"]
            creator = artifact.get("createdBy") or {}
            is_run = creator.get("__typename") == "Run"
            return ArtifactVersion(
                id=str(artifact["id"]),
                version=f"v{int(membership['versionIndex'])}",
                aliases=frozenset(str(alias["alias"]) for alias in membership["aliases"]),
                metadata=_to_mapping(artifact.get("metadata")),
                run=str(creator["id"]) if is_run else "",
                summary=_to_mapping(creator.get("summaryMetrics")) if is_run else {},
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:  # OverflowError: infinity
            raise self._http.unavailable("answered with an invalid artifact", str(error)) from error

    def set_summary(self, run: str, summary: Mapping[str, Any]) -> None:
        """Replace the summary of a run."""
        self._execute(_UPSERT_BUCKET, {"id": run, "summaryMetrics": json.dumps(summary)})

    def set_metadata(self, artifact: str, metadata: Mapping[str, Any]) -> None:
        """Replace the metadata of an artifact."""
        self._execute(_UPDATE_ARTIFACT, {"input": {"artifactID": artifact, "metadata": json.dumps(metadata)}})

    def add_alias(self, artifact: str, collection: str, alias: str) -> None:
        """Let an alias of a collection refer to an artifact, and to no other artifact of the collection."""
        self._execute(_ADD_ALIASES, _alias_input(artifact, collection, alias))

    def delete_alias(self, artifact: str, collection: str, alias: str) -> None:
        """Delete an alias of an artifact in a collection."""
        self._execute(_DELETE_ALIASES, _alias_input(artifact, collection, alias))

    def _execute(self, query: str, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the data of a response."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        response = self._http.request("POST", "graphql", body=body)
        data = response.get("data")
        if response.get("errors") or not isinstance(data, dict):
            raise self._http.unavailable("refused a request", str(response.get("errors") or "no data"))
        return data


def _alias_input(artifact: str, collection: str, alias: str) -> Mapping[str, Any]:
    entity, project, name = _split(collection)
    target = {"alias": alias, "artifactCollectionName": name, "entityName": entity, "projectName": project}
    return {"input": {"artifactID": artifact, "aliases": [target]}}


def _split(collection: str) -> tuple[str, str, str]:
    """Return the entity, the project, and the name of a collection."""
    parts = collection.split("/")
    if len(parts) != 3 or not all(parts):
        raise ModelNotFound(f"Invalid artifact {collection!r:.120}. Use ENTITY/PROJECT/NAME.", field="model")
    return parts[0], parts[1], parts[2]


def _to_mapping(text: str | None) -> Mapping[str, Any]:
    """Parse a JSON object that is text; raise ValueError or TypeError if it is none."""
    value = parse_json(text) if text else {}
    if not isinstance(value, dict):
        raise TypeError("not a JSON object")
    return value
