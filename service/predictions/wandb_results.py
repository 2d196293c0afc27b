"""Results in W&B: aliases and metadata of artifacts, and summaries of runs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from errata.json_input import parse_json

from service.predictions.registry_http import RegistryAddress
from service.predictions.wandb_graphql import WandbGraphql, split_collection

_VERSION_FIELDS = """
aliases { alias }
artifact {
  id
  metadata
  createdBy {
    __typename
    ... on Run { id summaryMetrics }
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
class ArtifactMembership:
    """A version of an artifact in a collection."""

    id: str  # of the artifact
    version: str  # v0, v1, and so on; unlike an alias, a version always refers to the same artifact
    aliases: frozenset[str]  # in the collection
    metadata: Mapping[str, Any]
    run: str  # id of the run that created the artifact; empty: none
    summary: Mapping[str, Any]  # of the run


class WandbResults:
    """A client of one server. Thread-safe. Raises the errors of WandbGraphql."""

    def __init__(self, address: RegistryAddress) -> None:
        self._api = WandbGraphql(address)

    def artifact(self, collection: str, version: str) -> ArtifactMembership:
        """Return the artifact of a version or alias; raise ModelNotFound if there is none."""
        membership = self._api.find_version(collection, version, _VERSION_FIELDS)
        try:
            artifact = membership["artifact"]
            creator = artifact.get("createdBy") or {}
            is_run = creator.get("__typename") == "Run"
            return ArtifactMembership(
                id=str(artifact["id"]),
                version=f"v{int(membership['versionIndex'])}",
                aliases=frozenset(str(alias["alias"]) for alias in membership["aliases"]),
                metadata=_to_mapping(artifact.get("metadata")),
                run=str(creator["id"]) if is_run else "",
                summary=_to_mapping(creator.get("summaryMetrics")) if is_run else {},
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:  # OverflowError: infinity
            raise self._api.invalid("an invalid artifact", error) from error

    def set_summary(self, run: str, summary: Mapping[str, Any]) -> None:
        """Replace the summary of a run."""
        self._api.execute(_UPSERT_BUCKET, {"id": run, "summaryMetrics": json.dumps(summary)})

    def set_metadata(self, artifact: str, metadata: Mapping[str, Any]) -> None:
        """Replace the metadata of an artifact."""
        self._api.execute(_UPDATE_ARTIFACT, {"input": {"artifactID": artifact, "metadata": json.dumps(metadata)}})

    def add_alias(self, artifact: str, collection: str, alias: str) -> None:
        """Make an alias of a collection refer to this artifact only."""
        self._api.execute(_ADD_ALIASES, _alias_input(artifact, collection, alias))

    def delete_alias(self, artifact: str, collection: str, alias: str) -> None:
        """Delete an alias of an artifact in a collection."""
        self._api.execute(_DELETE_ALIASES, _alias_input(artifact, collection, alias))


def _alias_input(artifact: str, collection: str, alias: str) -> Mapping[str, Any]:
    entity, project, name = split_collection(collection)
    target = {"alias": alias, "artifactCollectionName": name, "entityName": entity, "projectName": project}
    return {"input": {"artifactID": artifact, "aliases": [target]}}


def _to_mapping(text: str | None) -> Mapping[str, Any]:
    """Parse the text of a JSON object; raise ValueError or TypeError for any other value."""
    value = parse_json(text) if text else {}
    if not isinstance(value, dict):
        raise TypeError("not a JSON object")
    return value
