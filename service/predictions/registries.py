"""Where model registries are, and how MLflow's client reaches one of them: it reads address and token from the process.

Only this file sets MLflow's variables, for the length of a block and under a lock.
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
_LOCK = threading.RLock()
_FIXED = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
MISSING = frozenset({"RESOURCE_DOES_NOT_EXIST"})  # what MLflow says of a model or a version that isn't there
ALIAS_NOT_FOUND = MISSING | {"INVALID_PARAMETER_VALUE"}  # … of an alias, or a run
LOCK_SECONDS = 15.0  # that a call waits for another registry's


@dataclass(frozen=True)
class RegistryAddress:
    """One registry, as an operator names it."""

    id: str
    url: str
    token: str = field(default="", repr=False)


@contextmanager
def mlflow_client(address: RegistryAddress, missing: Collection[str] = MISSING) -> Iterator[Any]:
    """Give an MlflowClient of a registry; raise ModelNotFound for what isn't there, Unavailable where it is away."""
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise ModelRefused(
            f"mlflow: registries need MLflow's client: install errata-service[mlflow] ({error})"
        ) from error
    own = {"MLFLOW_TRACKING_URI": address.url, "MLFLOW_REGISTRY_URI": address.url, **_FIXED}
    if address.token:
        own["MLFLOW_TRACKING_TOKEN"] = address.token
    with _alone(address), _environment(own):
        try:
            yield MlflowClient(tracking_uri=address.url, registry_uri=address.url)
        except MlflowException as error:
            if error.error_code in missing:
                raise ModelNotFound(f"registry {address.id}: {error!s:.200}", field="model") from error
            raise Unavailable(
                f"Registry {address.id} answered {error.error_code}. Try again later.",
                retry_after=RETRY_AFTER,
                detail=f"{error!s:.200}",
            ) from error
        except OSError as error:  # what the transport raises
            raise Unavailable(
                f"Registry {address.id} cannot be reached. Try again later.",
                retry_after=RETRY_AFTER,
                detail=f"{error!s:.200}",
            ) from error


def resolve_artifact_uri(client: Any, uri: str, address: RegistryAddress, steps: int = 3) -> str:
    """Return where files lie behind the registry itself, as what is asked of it once and for all.

    Raise UnsupportedFormat for any other place: its token goes, and files are read and written, wherever that is.
    """
    place = urlparse(uri)
    first, _, rest = place.path.lstrip("/").partition("/")
    if place.scheme == "runs" and steps:
        return _below(resolve_artifact_uri(client, client.get_run(first).info.artifact_uri, address, steps - 1), rest)
    if place.scheme == "models" and first.startswith("m-") and steps:
        return _below(
            resolve_artifact_uri(client, client.get_logged_model(first).artifact_location, address, steps - 1), rest
        )
    if place.scheme != "mlflow-artifacts" or place.netloc not in ("", urlparse(address.url).netloc):
        raise UnsupportedFormat(
            f"registry {address.id}: expected files that it serves itself (mlflow-artifacts:), got {uri!r:.80}"
        )
    return uri


def _below(uri: str, path: str) -> str:
    return f"{uri.rstrip('/')}/{path}" if path else uri


@contextmanager
def _alone(address: RegistryAddress) -> Iterator[None]:
    if not _LOCK.acquire(timeout=LOCK_SECONDS):
        raise Unavailable(f"registry {address.id} can't be asked while another is slow", retry_after=RETRY_AFTER)
    try:
        yield
    finally:
        _LOCK.release()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
