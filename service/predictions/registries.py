"""Addresses of MLflow registries, and clients of them.

MLflow's client reads its address and token from environment variables. Only this module sets them, under a lock and for
the duration of a block.
"""

import os
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlparse

from errata.errors import ModelNotFound, ModelRefused, Unavailable, UnsupportedFormat

RETRY_AFTER = 15.0  # seconds
LOCK_SECONDS = 15.0  # maximum wait for a call to another registry
NOT_FOUND = frozenset({"RESOURCE_DOES_NOT_EXIST"})  # MLflow's error codes for a missing model or version
ALIAS_NOT_FOUND = NOT_FOUND | {"INVALID_PARAMETER_VALUE"}  # for a missing alias or run
_LOCK = threading.RLock()
_FIXED_VARIABLES = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


@dataclass(frozen=True)
class RegistryAddress:
    """One registry of the operator's configuration."""

    id: str
    url: str
    token: str = field(default="", repr=False)


@contextmanager
def mlflow_client(address: RegistryAddress, not_found: Collection[str] = NOT_FOUND) -> Iterator[Any]:
    """Yield an MlflowClient of a registry.

    Args:
        address: The registry.
        not_found: Error codes of MLflow that mean ModelNotFound.

    Raises:
        ModelNotFound: The registry has no such model, version, alias, or run.
        ModelRefused: MLflow's client is not installed.
        Unavailable: The registry cannot be reached.
    """
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise ModelRefused(f"mlflow: models need MLflow's client. Install errata-service[mlflow]. ({error})") from error
    variables = {"MLFLOW_TRACKING_URI": address.url, "MLFLOW_REGISTRY_URI": address.url, **_FIXED_VARIABLES}
    if address.token:
        variables["MLFLOW_TRACKING_TOKEN"] = address.token
    with _exclusive(address), _environment(variables):
        try:
            yield MlflowClient(tracking_uri=address.url, registry_uri=address.url)
        except MlflowException as error:
            if error.error_code in not_found:
                raise ModelNotFound(
                    f"Model not found in registry {address.id}: {error!s:.200}. Check its name and version.",
                    field="model",
                ) from error
            raise Unavailable(
                f"Registry {address.id} answered {error.error_code}. Try again later.",
                retry_after=RETRY_AFTER,
                detail=f"{error!s:.200}",
            ) from error
        except OSError as error:  # errors of the transport
            raise Unavailable(
                f"Registry {address.id} cannot be reached. Try again later.",
                retry_after=RETRY_AFTER,
                detail=f"{error!s:.200}",
            ) from error


def resolve_artifact_uri(client: Any, uri: str, address: RegistryAddress, steps: int = 3) -> str:
    """Return the mlflow-artifacts: URI of files that the registry itself serves.

    Args:
        client: Client of the registry.
        uri: A URI that the registry returned.
        address: The registry.
        steps: Maximum number of runs: and models: URIs to follow.

    Raises:
        UnsupportedFormat: The files are elsewhere. Reading them would send the token to another server.
    """
    parsed = urlparse(uri)
    first, _, rest = parsed.path.lstrip("/").partition("/")
    if parsed.scheme == "runs" and steps:
        root = resolve_artifact_uri(client, client.get_run(first).info.artifact_uri, address, steps - 1)
        return _join(root, rest)
    if parsed.scheme == "models" and first.startswith("m-") and steps:
        root = resolve_artifact_uri(client, client.get_logged_model(first).artifact_location, address, steps - 1)
        return _join(root, rest)
    if parsed.scheme != "mlflow-artifacts" or parsed.netloc not in ("", urlparse(address.url).netloc):
        raise UnsupportedFormat(
            f"Registry {address.id} does not serve the files at {uri!r:.80} itself. Configure it to serve artifacts "
            "(mlflow-artifacts:)."
        )
    return uri


def _join(uri: str, path: str) -> str:
    return f"{uri.rstrip('/')}/{path}" if path else uri


@contextmanager
def _exclusive(address: RegistryAddress) -> Iterator[None]:
    if not _LOCK.acquire(timeout=LOCK_SECONDS):
        raise Unavailable(
            f"Registry {address.id} is waiting for a call to another registry. Try again later.",
            retry_after=RETRY_AFTER,
        )
    try:
        yield
    finally:
        _LOCK.release()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    previous = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in previous.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
