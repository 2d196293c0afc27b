"""MLflow's REST API: model versions, aliases, runs, and files in the server's own storage."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, urlparse

from errata.errors import UnsupportedFormat

from service.predictions.registry_http import RegistryAddress, RegistryHttp

PAGE_SIZE = 100  # versions or models in one request
MAX_RESULTS = 10_000  # versions or models in one search
MAX_URI_STEPS = 3  # maximum number of `runs:` and `models:` URIs that are followed
NOT_FOUND = frozenset({"RESOURCE_DOES_NOT_EXIST"})  # error codes for a missing model or version
ALIAS_NOT_FOUND = NOT_FOUND | {"INVALID_PARAMETER_VALUE"}  # for a missing alias or run
_API = "api/2.0/mlflow"
_FILES = "api/2.0/mlflow-artifacts/artifacts"


@dataclass(frozen=True)
class ModelVersion:
    """A version of a registered model."""

    name: str
    version: str
    status: str
    source: str
    run_id: str  # empty: none
    tags: Mapping[str, str]


@dataclass(frozen=True)
class StoredFile:
    """A file or folder of a version or run."""

    name: str  # name without the folder
    is_folder: bool
    size: int | None


class MlflowClient:
    """A client of one registry. Thread-safe.

    All methods raise ModelNotFound if the registry has no such model, version, alias, or run, and Unavailable if it
    cannot be reached.
    """

    def __init__(self, address: RegistryAddress) -> None:
        self._address = address
        self._http = RegistryHttp(address)

    def model_version(self, name: str, version: str) -> ModelVersion:
        """Return a version."""
        with self._parsing():
            return _to_version(self._get("model-versions/get", "model_version", {"name": name, "version": version}))

    def version_of_alias(self, name: str, alias: str) -> ModelVersion:
        """Return the version that an alias refers to."""
        parameters = {"name": name, "alias": alias}
        with self._parsing():
            fields = self._get("registered-models/alias", "model_version", parameters, ALIAS_NOT_FOUND)
            return _to_version(fields)

    def versions(self) -> Iterator[ModelVersion]:
        """Yield the versions of all models, newest first."""
        with self._parsing():
            yield from map(
                _to_version, self._pages("model-versions/search", "model_versions", "creation_timestamp DESC")
            )

    def aliases(self) -> Iterator[tuple[str, str, str]]:
        """Yield the model, alias, and version of each alias."""
        with self._parsing():
            for model in self._pages("registered-models/search", "registered_models"):
                for alias, version in _to_aliases(model).items():
                    yield _text(model, "name"), alias, version

    def aliases_of(self, name: str) -> Mapping[str, str]:
        """Return the version of each alias of a model."""
        with self._parsing():
            return _to_aliases(self._get("registered-models/get", "registered_model", {"name": name}))

    def set_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        """Set a tag of a version."""
        self._change("model-versions/set-tag", {"name": name, "version": version, "key": key, "value": value})

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Make an alias refer to a version."""
        self._change("registered-models/alias", {"name": name, "alias": alias, "version": version})

    def delete_alias(self, name: str, alias: str) -> None:
        """Delete an alias of a model."""
        self._change("registered-models/alias", {"name": name, "alias": alias}, verb="DELETE")

    def log_metric(self, run_id: str, key: str, value: float, timestamp: int, model_id: str | None) -> None:
        """Log a metric of a run, and of a logged model if there is one; `timestamp` is in milliseconds since 1970."""
        body = {"run_id": run_id, "key": key, "value": value, "timestamp": timestamp, "step": 0, "model_id": model_id}
        self._change("runs/log-metric", body, ALIAS_NOT_FOUND)

    def set_run_tag(self, run_id: str, key: str, value: str) -> None:
        """Set a tag of a run."""
        self._change("runs/set-tag", {"run_id": run_id, "key": key, "value": value}, ALIAS_NOT_FOUND)

    def folder_of_run(self, run_id: str) -> str:
        """Return the path of a run's files in the registry's own storage.

        Raises:
            UnsupportedFormat: The files are elsewhere. Reading them would send the token to another server.
        """
        return self._resolve(f"runs:/{run_id}")

    def folder_of_version(self, name: str, version: str) -> str:
        """Return the path of a version's files in the registry's own storage. Raises the errors of `folder_of_run`."""
        parameters = {"name": name, "version": version}
        return self._resolve(str(self._get("model-versions/get-download-uri", "artifact_uri", parameters)))

    def list_files(self, folder: str) -> Sequence[StoredFile]:
        """Return the files and folders in a folder."""
        with self._parsing():
            entries = self._http.request("GET", _FILES, parameters={"path": folder}).get("files", ())
            return [
                StoredFile(
                    name=PurePosixPath(_text(entry, "path")).name,
                    is_folder=bool(entry.get("is_dir")),
                    size=None if (size := entry.get("file_size")) is None else int(size),
                )
                for entry in entries
            ]

    @contextmanager
    def _parsing(self) -> Iterator[None]:
        """Convert the errors of reading a response with values of wrong types."""
        try:
            yield
        except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:  # OverflowError: infinity
            raise self._http.unavailable("answered with values of wrong types", repr(error)) from error

    def download(self, path: str, target: Path, limit: int) -> bool:
        """Write a stored file to a local path.

        Args:
            path: The stored file.
            target: The local path.
            limit: Maximum size in bytes. It applies to the received bytes, not to the size that the registry lists.

        Returns:
            False if the file is larger than the limit; the local file is then incomplete.
        """
        size = 0
        with self._http.open("GET", f"{_FILES}/{quote(path)}") as response, target.open("wb") as file:
            for chunk in self._http.stream(response):
                if (size := size + len(chunk)) > limit:
                    return False
                file.write(chunk)
        return True

    def upload(self, path: str, content: bytes) -> None:
        """Store a file, or replace it."""
        with self._http.open("PUT", f"{_FILES}/{quote(path)}", body=content, content_type="application/octet-stream"):
            pass

    def _resolve(self, uri: str, steps: int = MAX_URI_STEPS) -> str:
        """Return the path in the registry's own storage for a URI that it returned."""
        with self._parsing():
            parsed = urlparse(uri)
            parsed.path.encode()  # raises for a lone surrogate, which cannot be sent
        first, _, rest = parsed.path.lstrip("/").partition("/")
        if steps and (parsed.scheme == "runs" or (parsed.scheme == "models" and first.startswith("m-"))):
            if parsed.scheme == "runs":
                owner = self._get("runs/get", "run", {"run_id": first}, ALIAS_NOT_FOUND)
            else:
                owner = self._get(f"logged-models/{quote(first, safe='')}", "model")
            with self._parsing():
                root_uri = _text(owner.get("info", {}), "artifact_uri")
            root = self._resolve(root_uri, steps - 1)
            return f"{root}/{rest}" if rest else root
        is_own = parsed.scheme == "mlflow-artifacts" and parsed.netloc in ("", urlparse(self._address.url).netloc)
        if not is_own or ".." in parsed.path.split("/"):  # urllib3 would resolve "..", and leave the storage
            raise UnsupportedFormat(
                f"Registry {self._address.id} does not serve the files at {uri!r:.80} itself. Configure it to serve "
                "artifacts (mlflow-artifacts:)."
            )
        return parsed.path.strip("/")

    def _pages(self, method: str, key: str, order: str = "") -> Iterator[Any]:
        parameters = {"max_results": str(PAGE_SIZE)} | ({"order_by": order} if order else {})
        for _ in range(MAX_RESULTS // PAGE_SIZE):
            page = self._http.request("GET", f"{_API}/{method}", parameters=parameters)
            yield from page.get(key, ())
            token = str(page.get("next_page_token") or "")
            if not token:
                return
            parameters["page_token"] = token

    def _get(
        self, method: str, key: str, parameters: Mapping[str, str] | None = None, missing: Collection[str] = NOT_FOUND
    ) -> Any:
        """Return one field of a response."""
        response = self._http.request("GET", f"{_API}/{method}", missing, parameters=parameters)
        if not response.get(key):
            raise self._http.unavailable(f"answered {method} without the field {key!r}")
        return response[key]

    def _change(
        self, method: str, fields: Mapping[str, Any], missing: Collection[str] = NOT_FOUND, verb: str = "POST"
    ) -> None:
        body = json.dumps({name: value for name, value in fields.items() if value is not None}).encode()
        self._http.request(verb, f"{_API}/{method}", missing, body=body)


def _to_version(fields: Mapping[str, Any]) -> ModelVersion:
    if not _text(fields, "version"):
        raise ValueError("a version without its number")
    return ModelVersion(
        name=_text(fields, "name"),
        version=_text(fields, "version"),
        status=_text(fields, "status"),
        source=_text(fields, "source"),
        run_id=_text(fields, "run_id"),
        tags={_text(tag, "key"): _text(tag, "value") for tag in fields.get("tags") or ()},
    )


def _to_aliases(fields: Mapping[str, Any]) -> Mapping[str, str]:
    return {_text(alias, "alias"): _text(alias, "version") for alias in fields.get("aliases") or ()}


def _text(fields: Mapping[str, Any], key: str) -> str:
    """Return a field as text; empty if it is missing, as in MLflow's own client."""
    value = fields.get(key)
    return "" if value is None else str(value)
