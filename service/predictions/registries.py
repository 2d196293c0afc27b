"""Where model registries are, and how MLflow's client reaches one of them: it reads address and token from the process.

Only this file sets MLflow's variables, for the length of a block and under a lock.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from service.errors import ModelNotFound, ModelRefused, Unavailable

RETRY_AFTER = 15.0  # seconds
_LOCK = threading.RLock()
_FIXED = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # what MLflow says of names that aren't there


@dataclass(frozen=True)
class RegistryAddress:
    """One registry, as an operator names it."""

    id: str
    url: str
    token: str = field(default="", repr=False)


@contextmanager
def mlflow_at(address: RegistryAddress) -> Iterator[Any]:
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
    with _LOCK, _environment(own):
        try:
            yield MlflowClient(tracking_uri=address.url, registry_uri=address.url)
        except MlflowException as error:
            if error.error_code in MISSING:
                raise ModelNotFound(f"registry {address.id}: {error!s:.200}", field="model") from error
            raise Unavailable(f"registry {address.id}: {error!s:.200}", retry_after=RETRY_AFTER) from error
        except OSError as error:  # what the transport raises
            raise Unavailable(
                f"registry {address.id} can't be reached: {error!s:.200}", retry_after=RETRY_AFTER
            ) from error


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
