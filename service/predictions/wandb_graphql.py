"""Requests to the GraphQL API of W&B, with the operations of the client `wandb` 0.31.

The operations are restricted to the fields that Errata reads. Errata does not use the client itself, because it starts
a background process that follows redirects and has no size limits.
"""

import json
from collections.abc import Mapping
from typing import Any

from errata.errors import ErrataError, ModelNotFound, Unavailable

from service.predictions.registry_http import RegistryAddress, RegistryHttp

_VERSION = """
query ArtifactMembershipByName($entity: String!, $project: String!, $name: String!) {
  project(name: $project, entityName: $entity) {
    artifactCollectionMembership(name: $name) { versionIndex %s }
  }
}"""


class WandbGraphql:
    """The API of one server. Thread-safe. A collection is named ENTITY/PROJECT/NAME.

    All methods raise ModelNotFound if the server does not have what is requested, and Unavailable if it cannot be
    reached or refuses a request.
    """

    def __init__(self, address: RegistryAddress) -> None:
        self.http = RegistryHttp(address)

    def execute(self, query: str, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the data of a response without errors."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        response = self.http.request("POST", "graphql", body=body)
        data, errors = response.get("data"), response.get("errors")
        if errors or not isinstance(data, dict):
            raise self._error(errors)
        return data

    def find(self, query: str, variables: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
        """Return the object at a path of keys in the data of a response."""
        value: Any = self.execute(query, variables)
        for key in keys:
            if value is None:
                break
            value = value.get(key) if isinstance(value, dict) else value
        if value is None:
            raise _not_found()
        if not isinstance(value, dict):
            raise self.http.unavailable("answered with an invalid artifact", repr(value)[:100])
        return value

    def find_version(self, collection: str, version: str, fields: str) -> Mapping[str, Any]:
        """Return `versionIndex`, `artifact`, and other fields of a version, by its number or an alias."""
        entity, project, name = split_collection(collection)
        variables = {"entity": entity, "project": project, "name": f"{name}:{version}"}
        membership = self.find(_VERSION % fields, variables, "project", "artifactCollectionMembership")
        if membership.get("artifact", {}) is None:  # the artifact was deleted
            raise _not_found()
        return membership

    def invalid(self, content: str, error: Exception) -> Unavailable:
        """Return the error for a response whose content does not have the expected form."""
        return self.http.unavailable(f"answered with {content}", repr(error))

    def _error(self, errors: Any) -> ErrataError:
        messages = [str(error.get("message")) for error in errors or () if isinstance(error, dict)]
        if messages and "not found" in messages[0].lower():
            return _not_found()
        return self.http.unavailable("refused a request", str(errors or "no data"))


def split_collection(collection: str) -> tuple[str, str, str]:
    """Return the entity, the project, and the name of a collection; raise ModelNotFound for another form."""
    parts = collection.split("/")
    if len(parts) != 3 or not all(parts):
        raise ModelNotFound(f"Invalid artifact {collection!r:.120}. Use ENTITY/PROJECT/NAME.", field="model")
    return parts[0], parts[1], parts[2]


def _not_found() -> ModelNotFound:
    return ModelNotFound(
        "The W&B server has no such artifact, version, or alias, or the token cannot read it. Check "
        "ENTITY/PROJECT/NAME:VERSION.",
        field="model",
    )
