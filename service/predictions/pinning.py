"""Pinning of model IDs: when an analysis is accepted, its commit or version replaces a branch or alias."""

import re
from typing import Any

from errata.errors import ModelNotFound, ModelRefused, Unavailable, UnsupportedFormat

from service.predictions.mlflow_client import MlflowClient
from service.predictions.model_id import (
    HUB_GRAPHS,
    HUB_SOURCES,
    HubModel,
    ModelId,
    parse_hub_model,
    parse_mlflow_model,
)
from service.predictions.model_policy import ModelPolicy
from service.predictions.registry_http import RETRY_AFTER
from service.predictions.wandb_client import pin_artifact

COMMIT = re.compile(r"[0-9a-f]{40}")
SAFETENSORS = frozenset({"model.safetensors", "model.safetensors.index.json"})
TIMEOUT_SECONDS = 5.0


def pin_model(
    model: ModelId, policy: ModelPolicy, endpoint: str | None = None, seconds: float = TIMEOUT_SECONDS
) -> ModelId:
    """Return the model at a revision that never changes: a commit on the hub, a version for `mlflow` and `wandb`.

    For the source `hf`, the returned model has the source that loads the repository.

    Args:
        model: The model ID.
        policy: Policy with the registries.
        endpoint: Address of the Hugging Face Hub; None: the default of huggingface_hub.
        seconds: Timeout for the response of the hub.

    Raises:
        ModelNotFound: The repository, revision, or alias does not exist.
        UnsupportedFormat: The repository has no weights that can be loaded without running code.
        Unavailable: The hub or registry cannot be reached.
    """
    if model.source == "mlflow":
        return _pin_version(model, policy)
    if model.source == "wandb":
        return pin_artifact(model, policy)
    if model.source not in (*HUB_SOURCES, "hf"):
        return model
    rest, hash_sign, path = model.rest.partition("#")
    hub_model = parse_hub_model(rest)
    if COMMIT.fullmatch(hub_model.revision) and model.source != "hf":
        return model
    info = _model_info(str(model), hub_model, endpoint, seconds)
    source = _find_source(str(model), info) if model.source == "hf" else model.source
    return ModelId(source, f"{hub_model.repository}@{info.sha}{hash_sign}{path}")


def _pin_version(model: ModelId, policy: ModelPolicy) -> ModelId:
    mlflow_model = parse_mlflow_model(model.rest)
    address = policy.registry(mlflow_model.registry, str(model))
    name, version = mlflow_model.name, mlflow_model.version
    if not version:
        version = MlflowClient(address).version_of_alias(name, mlflow_model.alias).version
    return ModelId(model.source, f"models://{address.id}/{name}/{version}")


def _model_info(model: str, hub_model: HubModel, endpoint: str | None, seconds: float) -> Any:
    """Return the hub's description of a revision, whose `sha` is a commit."""
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
    except ImportError as error:
        raise ModelRefused(
            f"{model}: Pinning the revision needs huggingface_hub. Install errata-service[hub]. ({error})"
        ) from error
    try:
        info = HfApi(endpoint=endpoint).model_info(
            hub_model.repository, revision=hub_model.revision or None, timeout=seconds
        )
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
    if not COMMIT.fullmatch(info.sha or ""):
        raise Unavailable(
            f"{model}: The Hugging Face Hub returned {info.sha!r:.60} instead of a commit. Try again later.",
            retry_after=RETRY_AFTER,
        )
    return info


def _find_source(model: str, info: Any) -> str:
    """Find the source that loads a repository, by its files and by the architectures in its config.json."""
    names = {str(file.rfilename) for file in info.siblings or ()}
    architectures = (info.config or {}).get("architectures") or []
    if names & SAFETENSORS:
        return "transformers" if architectures else "hf-hub"
    if names & set(HUB_GRAPHS):
        return "hf-onnx"
    graphs = sorted(name for name in names if name.endswith(".onnx"))
    remedy = f" Choose a graph with hf-onnx:ORG/REPO#PATH: {', '.join(graphs):.200}." if graphs else ""
    raise UnsupportedFormat(
        f"{model}: The repository has no {' or '.join(sorted(SAFETENSORS))}, and no {' or '.join(HUB_GRAPHS)}. Errata "
        f"reads no other weights, because pickles can run code.{remedy or ' Upload the weights as safetensors.'}"
    )
