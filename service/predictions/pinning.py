"""Pinning of model IDs: a branch or alias is replaced by its commit or version when an analysis is accepted."""

import re

from errata.errors import ModelNotFound, ModelRefused, Unavailable

from service.predictions.mlflow_client import MlflowClient
from service.predictions.model_id import ModelId, parse_hub_model, parse_mlflow_model
from service.predictions.model_policy import ModelPolicy

COMMIT = re.compile(r"[0-9a-f]{40}")
TIMEOUT_SECONDS = 5.0
RETRY_AFTER = 15.0  # seconds


def pin_model(
    model: ModelId, endpoint: str | None = None, seconds: float = TIMEOUT_SECONDS, policy: ModelPolicy | None = None
) -> ModelId:
    """Return the model at a revision that never changes: a commit for `hf-hub`, a version for `mlflow`.

    Args:
        model: The model ID.
        endpoint: Address of the Hugging Face Hub; None: the default of huggingface_hub.
        seconds: Timeout for the response of the hub.
        policy: Policy with the MLflow registries.

    Raises:
        ModelNotFound: The repository, revision, or alias does not exist.
        Unavailable: The hub or registry cannot be reached.
    """
    if model.source == "mlflow" and policy is not None:
        return _pin_version(model, policy)
    if model.source != "hf-hub":
        return model
    hub_model = parse_hub_model(model.rest)
    if COMMIT.fullmatch(hub_model.revision):
        return model
    commit = _find_commit(hub_model.repository, hub_model.revision or None, endpoint, seconds)
    return ModelId(model.source, f"{hub_model.repository}@{commit}")


def _pin_version(model: ModelId, policy: ModelPolicy) -> ModelId:
    mlflow_model = parse_mlflow_model(model.rest)
    address = policy.registry(mlflow_model.registry, str(model))
    version = mlflow_model.version or MlflowClient(address).version_of_alias(mlflow_model.name, mlflow_model.alias)
    return ModelId(model.source, f"models://{address.id}/{mlflow_model.name}/{version}")


def _find_commit(repository: str, revision: str | None, endpoint: str | None, seconds: float) -> str:
    model = f"hf-hub:{repository}" + (f"@{revision}" if revision else "")
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
    except ImportError as error:
        raise ModelRefused(
            f"{model}: Pinning the revision needs huggingface_hub. Install errata-service[hub]. ({error})"
        ) from error
    try:
        commit = HfApi(endpoint=endpoint).model_info(repository, revision=revision, timeout=seconds).sha
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise ModelNotFound(
            f"The Hugging Face Hub has no model {model!r:.120}. Check the names of the repository and the revision.",
            field="model",
        ) from error
    except Exception as error:  # the hub's client does not wrap the errors of its transport
        raise Unavailable(
            f"{model}: The Hugging Face Hub cannot be reached. Try again later.",
            retry_after=RETRY_AFTER,
            detail=f"{error!s:.200}",
        ) from error
    if not COMMIT.fullmatch(commit or ""):
        raise Unavailable(
            f"{model}: The Hugging Face Hub returned {commit!r:.60} instead of a commit. Try again later.",
            retry_after=RETRY_AFTER,
        )
    return str(commit)
