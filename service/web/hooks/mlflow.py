"""MLflow: webhooks, the registry API, and the results that are written to model versions."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import structlog
from errata.errors import ModelNotFound, UnsupportedFormat
from errata.proto_json import to_json

from service.analyses.write_back import WriteBack
from service.domain import Action, GateDecision, RegistryEvent, RegistryRule
from service.predictions.mlflow_client import MlflowClient, ModelVersion
from service.predictions.registry_http import RegistryAddress
from service.web.hooks.payload import MAX_TEXT, any_text, section, text
from service.web.hooks.result_fields import (
    PASSED_ALIAS,
    gate_fields,
    is_latest,
    is_latest_gate,
    link_of,
    metrics_of,
    state_fields,
)
from service.web.hooks.signature import check_standard_webhook, header
from service.wire import to_analysis

MAX_BODY = 1 << 20  # bytes
ARTIFACT_FOLDER = "errata"
PREFIX = "errata."  # of tags and metrics
_log = structlog.get_logger()


def verify(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: float) -> None:
    """Raise Unverified unless the request is signed with one of the secrets."""
    names = ("x-mlflow-delivery-id", "x-mlflow-timestamp", "x-mlflow-signature")
    check_standard_webhook(headers, names, body, [secret.encode() for secret in secrets], now)


def parse(headers: Mapping[str, str], payload: Mapping[str, Any]) -> Sequence[RegistryEvent]:
    """Return the events of a payload; none if it is irrelevant.

    Raises:
        InvalidEvent, KeyError: The payload is invalid.
    """
    event, data = (payload["entity"], payload["action"]), section(payload, "data")
    delivery = header(headers, "x-mlflow-delivery-id")
    if event == ("model_version", "created"):
        return [RegistryEvent(Action.CREATED, text(data, "name"), text(data, "version"), delivery=delivery)]
    if event == ("model_version_alias", "created"):
        name, version, alias = (text(data, field) for field in ("name", "version", "alias"))
        return [RegistryEvent(Action.ALIAS, name, version, alias, delivery=delivery)]
    if event == ("model_version_tag", "set"):
        value = any_text(data, "value")
        name, version, key = (text(data, field) for field in ("name", "version", "key"))
        return [RegistryEvent(Action.TAG, name, version, key, value[:MAX_TEXT], delivery)]
    return []


@dataclass(frozen=True)
class MlflowRegistry:
    """A configured MLflow server."""

    address: RegistryAddress
    rules: Sequence[RegistryRule]
    public_url: str = ""  # URL of the pages of Errata; empty: no tag with a link

    @cached_property
    def _client(self) -> MlflowClient:
        return MlflowClient(self.address)

    @property
    def id(self) -> str:
        """Return the configured ID of the registry."""
        return self.address.id

    def model_id(self, event: RegistryEvent) -> str:
        """Return the model ID that workers use to load a version."""
        return f"mlflow:models://{self.id}/{event.model}/{event.version}"

    def resolve(self, event: RegistryEvent) -> RegistryEvent:
        """Return the event: it already names a version. Events that Errata caused are recognized by their names."""
        return event

    def version_of(self, model: str, alias: str) -> str | None:
        """Return the version that an alias refers to, or None if it does not exist; raise Unavailable."""
        version = self._find_version(model, alias)
        return version.version if version else None

    def _find_version(self, model: str, alias: str) -> ModelVersion | None:
        try:
            return self._client.version_of_alias(model, alias)
        except ModelNotFound:
            return None

    def aliases_and_tags(self, event: RegistryEvent) -> Collection[str]:
        """Return the aliases and tags of a version as events of rules; raise ModelNotFound or Unavailable."""
        tags = self._client.model_version(event.model, event.version).tags
        aliases = self._client.aliases_of(event.model).items()
        return {f"tag:{key}" for key in tags} | {
            f"alias:{name}" for name, version in aliases if version == event.version
        }

    def events(self) -> Iterator[RegistryEvent]:
        """Yield the versions without a result of Errata, newest first, then all aliases; raise Unavailable."""
        for version in self._client.versions():
            if "errata.analysis" not in version.tags:
                yield RegistryEvent(Action.CREATED, version.name, version.version)
        for model, alias, number in self._client.aliases():
            yield RegistryEvent(Action.ALIAS, model, number, alias)

    def write(self, result: WriteBack) -> None:
        """Write a result: report, metrics, tags, and finally the alias, which shows that the result is complete.

        A result that is older than the existing one changes nothing.

        Raises:
            ModelNotFound: The version does not exist anymore.
        """
        version = self._client.model_version(result.model, result.version)
        if version.run_id and result.report and is_latest(result, _fields_of(version)):
            self._write_run(version, result)
            version = self._client.model_version(result.model, result.version)  # with changes made meanwhile
        existing = _fields_of(version)
        fields = state_fields(result, self.public_url) if is_latest(result, existing) else {}
        has_latest_gate = is_latest_gate(result, existing)
        for name, value in (fields | (gate_fields(result) if has_latest_gate else {})).items():
            if existing.get(name, "") != value:  # a missing tag counts as an empty value
                self._client.set_version_tag(result.model, result.version, f"{PREFIX}{name}", value)
        if has_latest_gate:
            self._write_alias(result)

    def _write_run(self, version: ModelVersion, result: WriteBack) -> None:
        """Write report, metrics, and a link to the run of a version, unless the run was deleted."""
        try:
            self._write_files(version.run_id, result)
            logged_model = version.source.removeprefix("models:/")
            model_id = logged_model if logged_model.startswith("m-") and logged_model != version.source else None
            ended = result.analysis.end_time or result.analysis.create_time
            timestamp = int(ended.timestamp() * 1000)  # constant, so that MLflow deduplicates retries
            for name, value in metrics_of(result).items():
                self._client.log_metric(version.run_id, f"{PREFIX}{name}", value, timestamp, model_id)
            if link := link_of(result, self.public_url):
                self._client.set_run_tag(version.run_id, f"{PREFIX}report", link)
        except ModelNotFound as error:
            _log.warning("mlflow run not found", run=version.run_id, error=error.message)

    def _write_files(self, run_id: str, result: WriteBack) -> None:
        """Write the report to the artifacts of a run, if the MLflow server proxies them."""
        try:
            folder = self._client.folder_of_run(run_id)
        except UnsupportedFormat as error:
            _log.warning("mlflow artifacts not writable", run=run_id, error=error.message)
            return
        files = {"report.html": result.report, "report.json": to_json(to_analysis(result.analysis))}
        for name, content in files.items():
            self._client.upload(f"{folder}/{ARTIFACT_FOLDER}/{name}", content.encode())

    def _write_alias(self, result: WriteBack) -> None:
        passed = self._find_version(result.model, PASSED_ALIAS)
        has_it = passed is not None and passed.version == result.version
        if result.decision is GateDecision.PASS and not has_it:
            if passed is None or is_latest_gate(result, _fields_of(passed)):
                self._client.set_alias(result.model, PASSED_ALIAS, result.version)
        elif result.decision is GateDecision.FAIL and has_it:
            self._client.delete_alias(result.model, PASSED_ALIAS)


def _fields_of(version: ModelVersion) -> Mapping[str, str]:
    """Return the fields of a result that the tags of a version have."""
    return {key.removeprefix(PREFIX): value for key, value in version.tags.items() if key.startswith(PREFIX)}
