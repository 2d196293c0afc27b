"""References that move, such as a branch, pinned to what they mean when an analysis is accepted. No torch here."""

import re

from errata.errors import ModelNotFound, ModelRefused, Unavailable

from service.predictions.model_id import ModelId, parse_hub_model, parse_mlflow_model
from service.predictions.model_policy import ModelPolicy
from service.predictions.registries import ALIAS_NOT_FOUND, mlflow_client

COMMIT = re.compile(r"[0-9a-f]{40}")
SECONDS = 5.0  # for the hub's answer
RETRY_AFTER = 15.0  # seconds


def pin_model(
    model: ModelId, endpoint: str | None = None, seconds: float = SECONDS, policy: ModelPolicy | None = None
) -> ModelId:
    """Return the model at a revision that never changes: `hf-hub:` at a commit, `mlflow:` at a version of a registry.

    `endpoint`: the hub's address, if it isn't huggingface_hub's own; `seconds`: for its answer. Raise ModelNotFound
    for a repository or revision that isn't there, Unavailable if the hub can't be asked.
    """
    if model.source == "mlflow" and policy is not None:
        return _versioned(model, policy)
    if model.source != "hf-hub":
        return model
    asked = parse_hub_model(model.rest)
    if COMMIT.fullmatch(asked.revision):
        return model
    commit = _commit(asked.repository, asked.revision or None, endpoint, seconds)
    return ModelId(model.source, f"{asked.repository}@{commit}")


def _versioned(model: ModelId, policy: ModelPolicy) -> ModelId:
    asked = parse_mlflow_model(model.rest)
    address = policy.registry(asked.registry, str(model))
    version = asked.version
    if not version:
        with mlflow_client(address, ALIAS_NOT_FOUND) as client:
            version = str(client.get_model_version_by_alias(asked.name, asked.alias).version)
    return ModelId(model.source, f"models://{address.id}/{asked.name}/{version}")


def _commit(repository: str, revision: str | None, endpoint: str | None, seconds: float) -> str:
    where = f"hf-hub:{repository}" + (f"@{revision}" if revision else "")
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
    except ImportError as error:
        raise ModelRefused(
            f"{where}: can't be pinned to a commit here: install errata-service[hub] ({error})"
        ) from error
    try:
        commit = HfApi(endpoint=endpoint).model_info(repository, revision=revision, timeout=seconds).sha
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise ModelNotFound(
            f"expected a repository and revision of the hub, got {where!r:.120}", field="model"
        ) from error
    except Exception as error:  # the hub's client passes on what its transport raises
        raise Unavailable(
            f"{where}: the hub can't be asked", retry_after=RETRY_AFTER, detail=f"{error!s:.200}"
        ) from error
    if not COMMIT.fullmatch(commit or ""):
        raise Unavailable(f"{where}: expected a commit from the hub, got {commit!r:.60}", retry_after=RETRY_AFTER)
    return str(commit)
