"""MLflow (spec: registries, "MLflow"): its webhooks, what it holds, and what is written to its versions.

A call is signed over id, time and body; the time isn't renewed by retries.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from errata.errors import ModelNotFound, UnsupportedFormat

from service.analyses.write_back import WriteBack
from service.domain import Action, GateDecision, Group, RegistryEvent, RegistryRule, State
from service.predictions.registries import MISSING_ALIAS, RegistryAddress, mlflow_at, place_of
from service.report.gate_view import reasons_of
from service.storage import temporary_folder
from service.web.hooks.payload import text
from service.web.hooks.signature import check_delivery, check_signed, check_time, header
from service.wire import to_analysis, to_json

LIMIT = 1 << 20  # bytes of a body
PAGE = 100  # versions asked for at once
MOST_VERSIONS = 10_000  # looked at in one poll
MAX_TAG = 5000  # characters of a tag's value
FOLDER = "errata"  # of a run's artifacts
PASSED_ALIAS = "errata-passed"
_log = structlog.get_logger()


def verify(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: float) -> None:
    """Raise Unverified unless the call is MLflow's."""
    delivery, stamp = header(headers, "x-mlflow-delivery-id"), header(headers, "x-mlflow-timestamp")
    check_delivery(delivery)
    check_time(stamp, now)
    message = b".".join([delivery.encode("utf-8", "surrogateescape"), stamp.encode(), body])
    check_signed(header(headers, "x-mlflow-signature"), message, [secret.encode() for secret in secrets])


def parse(headers: Mapping[str, str], payload: Mapping[str, Any]) -> RegistryEvent | None:
    """Return what happened, None for events that don't matter; raise KeyError or TypeError for another form."""
    kind, data = (payload["entity"], payload["action"]), payload["data"]
    delivery = header(headers, "x-mlflow-delivery-id")
    if kind == ("model_version", "created"):
        return RegistryEvent(Action.CREATED, text(data, "name"), text(data, "version"), delivery=delivery)
    if kind == ("model_version_alias", "created"):
        return RegistryEvent(
            Action.ALIAS, text(data, "name"), text(data, "version"), text(data, "alias"), delivery=delivery
        )
    if kind == ("model_version_tag", "set"):
        value = data["value"]
        if not isinstance(value, str):
            raise TypeError("expected text as value")
        name, version, key = (text(data, field) for field in ("name", "version", "key"))
        return RegistryEvent(Action.TAG, name, version, key, value[:MAX_TAG], delivery)
    return None


@dataclass(frozen=True)
class MlflowRegistry:
    """A configured MLflow server."""

    address: RegistryAddress
    rules: Sequence[RegistryRule]
    public_url: str = ""  # of Errata's pages; empty: tags hold no link

    @property
    def id(self) -> str:
        """Return the id that the operator gave it."""
        return self.address.id

    def model_id(self, event: RegistryEvent) -> str:
        """Return the identifier by which a worker loads a version."""
        return f"mlflow:models://{self.id}/{event.model}/{event.version}"

    def version_of(self, model: str, alias: str) -> str | None:
        """Return the version an alias points to, None if there is none; raise Unavailable."""
        try:
            with mlflow_at(self.address, MISSING_ALIAS) as client:
                return str(client.get_model_version_by_alias(model, alias).version)
        except ModelNotFound:
            return None

    def events(self) -> Iterator[RegistryEvent]:
        """Yield the versions that have no result of Errata's yet, newest first, then every alias; raise Unavailable."""
        for version in self._pages("search_model_versions", order_by=["creation_timestamp DESC"]):
            if "errata.analysis" not in version.tags:
                yield RegistryEvent(Action.CREATED, version.name, str(version.version))
        for model in self._pages("search_registered_models"):
            for alias, number in model.aliases.items():
                yield RegistryEvent(Action.ALIAS, model.name, str(number), alias)

    def write(self, result: WriteBack) -> None:
        """Tell a result: report, metrics, tags, the alias last, so that who sees it finds the rest.

        A result older than the one that is there changes nothing. Raise ModelNotFound if the version is gone.
        """
        with mlflow_at(self.address) as client:
            version = client.get_model_version(result.model, result.version)
            known, own = version.tags, result.analysis.id  # ids sort by time
            tags: dict[str, str] = {}
            if known.get("errata.analysis", "") <= own:
                if version.run_id and result.report:
                    self._write_run(version, result)
                tags = self._tags(result)
            decides = result.decision is not None and known.get("errata.gate_analysis", "") <= own
            for key, value in (tags | (_gate_tags(result) if decides else {})).items():
                if known.get(key, "") != value:  # nothing to say where nothing was said
                    client.set_model_version_tag(result.model, result.version, key, value)
            if decides:
                self._write_alias(client, result)

    def _write_run(self, version: Any, result: WriteBack) -> None:
        """Give a version's run report, metrics and a link; a run that was deleted gets none."""
        try:
            with mlflow_at(self.address, MISSING_ALIAS) as client:
                self._write_files(client, version.run_id, result)
                logged = (version.source or "").removeprefix("models:/")
                model_id = logged if logged.startswith("m-") and logged != version.source else None
                ended = result.analysis.end_time or result.analysis.create_time
                at = int(ended.timestamp() * 1000)  # the same each time, so that MLflow keeps one of equal values
                for name, value in metrics_of(result).items():
                    client.log_metric(version.run_id, name, value, timestamp=at, step=0, model_id=model_id)
                if link := self._link(result):
                    client.set_tag(version.run_id, "errata.report", link)
        except ModelNotFound as error:
            _log.warning("a version's run can't be written to", run=version.run_id, error=error.message)

    def _write_files(self, client: Any, run_id: str, result: WriteBack) -> None:
        """Write the report beside a run's artifacts, if these lie behind the registry itself."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        try:
            place = place_of(client, client.get_run(run_id).info.artifact_uri, self.address)
        except UnsupportedFormat as error:
            _log.warning("a run's artifacts can't be written", run=run_id, error=error.message)
            return
        repository: Any = get_artifact_repository(place)
        files = {"report.html": result.report, "report.json": to_json(to_analysis(result.analysis))}
        with temporary_folder() as folder:
            for name, content in files.items():
                path = folder / name
                path.write_text(content, encoding="utf-8")
                repository.log_artifact(str(path), artifact_path=FOLDER)

    def _link(self, result: WriteBack) -> str:
        return f"{self.public_url.rstrip('/')}/analyses/{result.analysis.id}" if self.public_url else ""

    def _tags(self, result: WriteBack) -> dict[str, str]:
        analysis = result.analysis
        tags = {
            "errata.state": analysis.state.name.lower(),
            "errata.dataset": analysis.request.dataset,
            "errata.error": analysis.failure.message[:MAX_TAG] if analysis.failure else "",
        }
        if link := self._link(result):
            tags["errata.report"] = link
        return tags | {"errata.analysis": analysis.id}

    def _write_alias(self, client: Any, result: WriteBack) -> None:
        aliases = client.get_registered_model(result.model).aliases
        has_it = str(aliases.get(PASSED_ALIAS, "")) == result.version
        if result.decision is GateDecision.PASS and not has_it:
            client.set_registered_model_alias(result.model, PASSED_ALIAS, result.version)
        elif result.decision is GateDecision.FAIL and has_it:
            client.delete_registered_model_alias(result.model, PASSED_ALIAS)

    def _pages(self, method: str, **arguments: Any) -> Iterator[Any]:
        """Yield what a search of MLflow's finds, page by page; nothing is held between two pages."""
        token = None
        for _ in range(MOST_VERSIONS // PAGE):
            with mlflow_at(self.address) as client:
                page = getattr(client, method)(max_results=PAGE, page_token=token, **arguments)
            yield from page
            token = page.token
            if not token:
                return


def metrics_of(result: WriteBack) -> dict[str, float]:
    """Return what a run is given as metrics: accuracies and rates as fractions of 1, counts of error types."""
    if result.analysis.state is not State.SUCCEEDED or result.analysis.summary is None:
        return {}
    everything = result.analysis.summary.groups[Group.ALL]
    accuracies = {
        "errata.top1": everything.top1_accuracy,
        "errata.multi_label": everything.multi_label_accuracy,
        "errata.multi_label_forgiving_minor": everything.multi_label_accuracy_forgiving_minor,
        "errata.multi_label_forgiving_explainable": everything.multi_label_accuracy_forgiving_explainable,
    }
    silent = result.analysis.summary.abstained  # nobody looked for them: 0 would be a lie
    counts = {
        f"errata.count.{kind.name.lower()}": float(count)
        for kind, count in everything.counts.items()
        if kind not in silent
    }
    return {name: value for name, value in accuracies.items() if value is not None} | counts


def _gate_tags(result: WriteBack) -> dict[str, str]:
    assert result.decision is not None, "this is a bug: only asked where there is a gate"
    return {
        "errata.gate": result.decision.name.lower(),
        "errata.gate_reasons": "\n".join(reasons_of(result.gate, result.without_baseline))[:MAX_TAG],
        "errata.gate_analysis": result.analysis.id,
    }
