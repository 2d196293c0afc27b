"""Weights & Biases as a registry: results go to the run, to the artifact's metadata, and to an alias."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import structlog
from errata.errors import ModelNotFound

from service.analyses.write_back import WriteBack
from service.domain import GateDecision, RegistryEvent, RegistryRule
from service.predictions.registry_http import RegistryAddress
from service.predictions.wandb_client import VERSION
from service.predictions.wandb_results import ArtifactMembership, WandbResults
from service.web.hooks.result_fields import (
    PASSED_ALIAS,
    gate_fields,
    is_latest,
    is_latest_gate,
    link_of,
    metrics_of,
    state_fields,
)

METADATA = "errata"  # key of the metadata
PREFIX = "errata/"  # prefix of the keys of the run's summary; W&B groups keys by prefix
_log = structlog.get_logger()


@dataclass(frozen=True)
class WandbRegistry:
    """The server of Weights & Biases, or an installation of it."""

    address: RegistryAddress
    rules: Sequence[RegistryRule]
    public_url: str = ""  # URL of the pages of Errata; empty: no link

    @cached_property
    def _client(self) -> WandbResults:
        return WandbResults(self.address)

    @property
    def id(self) -> str:
        """Return the configured ID of the registry."""
        return self.address.id

    def model_id(self, event: RegistryEvent) -> str:
        """Return the model ID that workers use to load a version."""
        return f"wandb://{self.id}/{event.model}:{event.version}"

    def resolve(self, event: RegistryEvent) -> RegistryEvent:
        """Return the event with the number of its version, because an alias can refer to another artifact later."""
        if VERSION.fullmatch(event.version):
            return event
        return replace(event, version=self._client.artifact(event.model, event.version).version)

    def version_of(self, model: str, alias: str) -> str | None:
        """Return the version that an alias refers to, or None if it does not exist; raise Unavailable."""
        artifact = self._find_artifact(model, alias)
        return artifact.version if artifact else None

    def _find_artifact(self, model: str, alias: str) -> ArtifactMembership | None:
        try:
            return self._client.artifact(model, alias)
        except ModelNotFound:
            return None

    def aliases_and_tags(self, event: RegistryEvent) -> None:
        """Return None: W&B sends no requests to analyze a version again."""

    def events(self) -> Iterator[RegistryEvent]:
        """Yield nothing: the API cannot list the collections that have the automation."""
        return iter(())

    def write(self, result: WriteBack) -> None:
        """Write a result: the run's summary, the metadata, and finally the alias, which marks it as complete.

        A result that is older than the existing one changes nothing. Without a token, nothing is written.

        Raises:
            ModelNotFound: The version does not exist anymore.
        """
        if not self.address.token:
            return
        artifact = self._client.artifact(result.model, result.version)
        if is_latest(result, _fields_of(artifact)):
            self._write_summary(artifact, result)
            artifact = self._client.artifact(result.model, result.version)  # with changes made meanwhile
        existing, fields = _fields_of(artifact), dict[str, Any]()
        if is_latest(result, existing):
            fields = {**state_fields(result, self.public_url), "metrics": metrics_of(result)}
        if has_latest_gate := is_latest_gate(result, existing):
            fields |= gate_fields(result)
        if (metadata := {**existing, **fields}) != existing:
            self._client.set_metadata(artifact.id, {**artifact.metadata, METADATA: metadata})
        if has_latest_gate:
            self._write_alias(artifact, result)

    def _write_summary(self, artifact: ArtifactMembership, result: WriteBack) -> None:
        """Write metrics and a link to the run that created the artifact, if there is one."""
        if not artifact.run:
            _log.info("wandb artifact without a run", model=result.model, version=result.version)
            return
        metrics = metrics_of(result)
        values: dict[str, Any] = {f"{PREFIX}{name.replace('.', '/')}": value for name, value in metrics.items()}
        if link := link_of(result, self.public_url):
            values[f"{PREFIX}report"] = link
        if any(artifact.summary.get(name) != value for name, value in values.items()):
            self._client.set_summary(artifact.run, {**artifact.summary, **values})

    def _write_alias(self, artifact: ArtifactMembership, result: WriteBack) -> None:
        has_it = PASSED_ALIAS in artifact.aliases
        if result.decision is GateDecision.PASS and not has_it:
            passed = self._find_artifact(result.model, PASSED_ALIAS)
            if passed is None or is_latest_gate(result, _fields_of(passed)):
                self._client.add_alias(artifact.id, result.model, PASSED_ALIAS)
        elif result.decision is GateDecision.FAIL and has_it:
            self._client.delete_alias(artifact.id, result.model, PASSED_ALIAS)


def _fields_of(artifact: ArtifactMembership) -> Mapping[str, Any]:
    """Return the fields of a result that the metadata of an artifact has."""
    fields = artifact.metadata.get(METADATA)
    return fields if isinstance(fields, dict) else {}
