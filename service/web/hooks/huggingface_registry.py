"""The Hugging Face Hub as a registry: results go into the model card, through a pull request."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import structlog
from errata.errors import InvalidInput, ModelNotFound, Unavailable

from service.analyses.write_back import LEASE_SECONDS, WriteBack
from service.domain import RegistryEvent, RegistryRule
from service.predictions.huggingface_client import MAIN, MODEL_CARD, HuggingFaceClient, PullRequest
from service.predictions.registry_http import RegistryAddress
from service.report.messages.gate import reason_lines
from service.report.model_card import Evaluation, add_evaluation
from service.web.hooks import huggingface
from service.web.hooks.result_fields import link_of, metrics_of

TITLE = "Add evaluation results of Errata"  # of the pull request
MAX_CLOSED = 20  # closed pull requests that are searched for an analysis
MAX_READ_SECONDS = LEASE_SECONDS / 3  # time for reads; the changes after them must be complete within the lease
METRICS = {  # type and name in a model card
    "top1": ("accuracy", "Top-1 accuracy"),
    "multi_label": ("multi_label_accuracy", "Multi-label accuracy"),
    "multi_label_forgiving_minor": (
        "multi_label_accuracy_forgiving_minor",
        "Multi-label accuracy, forgiving minor errors",
    ),
    "multi_label_forgiving_explainable": (
        "multi_label_accuracy_forgiving_explainable",
        "Multi-label accuracy, forgiving minor and explainable errors",
    ),
}
_log = structlog.get_logger()


@dataclass(frozen=True)
class HuggingFaceRegistry:
    """The Hugging Face Hub, or another server with its API."""

    address: RegistryAddress
    rules: Sequence[RegistryRule]
    public_url: str = ""  # URL of the pages of Errata; empty: no link

    @cached_property
    def _client(self) -> HuggingFaceClient:
        return HuggingFaceClient(self.address)

    @property
    def id(self) -> str:
        """Return the configured ID of the registry."""
        return self.address.id

    def model_id(self, event: RegistryEvent) -> str:
        """Return the model ID that workers use to load a version."""
        return huggingface.model_id(event)

    def resolve(self, event: RegistryEvent) -> RegistryEvent | None:
        """Return the event; None if its commits change only the model card, as a merged pull request of Errata does."""
        if not event.previous:
            return event
        try:
            before = _model_files(self._client.files(event.model, event.previous))
            after = _model_files(self._client.files(event.model, event.version))
        except (ModelNotFound, Unavailable) as error:  # an unnecessary analysis is better than a missing one
            _log.warning("files of a commit not compared", model=event.model, error=error.message)
            return event
        return None if before == after else event

    def version_of(self, model: str, alias: str) -> str | None:
        """Return None: repositories have no aliases."""
        return None

    def aliases_and_tags(self, event: RegistryEvent) -> None:
        """Return None: repositories have no aliases, and the Hub sends no tags."""

    def events(self) -> Iterator[RegistryEvent]:
        """Yield nothing: the Hub cannot list the repositories that have the webhook."""
        return iter(())

    def write(self, result: WriteBack) -> None:
        """Write a result: the model card in a pull request, and then a comment with the decision of the gate.

        All results of a repository share one open pull request. If the pull request of a result was closed, the result
        is not proposed again. Without a token, nothing is written.

        Raises:
            ModelNotFound: The repository does not exist anymore.
        """
        if not self.address.token:
            return
        if not _card_metrics(result):  # the analysis failed, or no image is evaluated
            _log.info("no result for the model card", model=result.model, analysis=result.analysis.id)
            return
        started = time.monotonic()
        pulls = list(self._client.own_pull_requests(result.model))
        pull = next((pull for pull in pulls if pull.title == TITLE and pull.is_open), None)
        head = self._client.head(result.model, pull.revision if pull else MAIN)
        before = self._client.model_card(result.model, head)
        after = self._add_evaluation(before, result)
        if pull is not None:
            texts = self._client.own_texts(result.model, pull.number)
        else:
            pull, texts = self._find_closed([pull for pull in pulls if pull.title == TITLE], result)
        if time.monotonic() - started > MAX_READ_SECONDS:
            raise Unavailable(f"Registry {self.id} is too slow. Try again later.")
        if pull is None:
            if after == before:
                return
            texts = (description := _describe(result),)
            number = self._client.open_pull_request(result.model, head, after, TITLE, description)
        else:
            number = pull.number
            if pull.is_open and after != before:
                subject = f"Update the results: analysis {result.analysis.id}"
                self._client.update_pull_request(result.model, pull, head, after, subject)
        if not any(text.startswith(_heading(result)) for text in texts):
            self._client.comment(result.model, number, self._comment(result))

    def _find_closed(self, pulls: Sequence[PullRequest], result: WriteBack) -> tuple[PullRequest | None, Sequence[str]]:
        """Return the closed or merged pull request of an analysis, and its texts."""
        for pull in pulls[:MAX_CLOSED]:
            texts = self._client.own_texts(result.model, pull.number)
            if any(result.analysis.id in text for text in texts):
                return pull, texts
        return None, ()

    def _add_evaluation(self, card: bytes, result: WriteBack) -> bytes:
        evaluation = Evaluation(
            model=result.model,
            revision=result.version,
            dataset=result.analysis.request.dataset,
            analysis=result.analysis.id,
            url=link_of(result, self.public_url),
            metrics=_card_metrics(result),
        )
        try:
            return add_evaluation(card.decode(), evaluation).encode()
        except UnicodeDecodeError as error:
            raise InvalidInput(
                f"Invalid model card: {MODEL_CARD} of {result.model} is not UTF-8. Correct it."
            ) from error

    def _comment(self, result: WriteBack) -> str:
        decision = result.decision
        lines = [_heading(result), "", f"Revision: `{result.version}`, data set: `{result.analysis.request.dataset}`"]
        if decision is not None:
            lines += ["", f"Gate: **{decision.name.lower()}**"]
            lines += [f"* {line}" for line in reason_lines(result.gate, result.without_baseline)]
        if link := link_of(result, self.public_url):
            lines += ["", f"[Report]({link})"]
        return "\n".join(lines)


def _card_metrics(result: WriteBack) -> list[tuple[str, str, float]]:
    return [(*METRICS[name], round(value, 6)) for name, value in metrics_of(result).items() if name in METRICS]


def _heading(result: WriteBack) -> str:
    return f"Result of analysis `{result.analysis.id}`"


def _describe(result: WriteBack) -> str:
    return (
        f"Errata analyzed revision {result.version} on {result.analysis.request.dataset} (analysis "
        f"{result.analysis.id}). Later results update this pull request until it is merged or closed."
    )


def _model_files(files: Mapping[str, str]) -> Mapping[str, str]:
    """Return the files without the model card and evaluation results."""
    return {
        name: content for name, content in files.items() if name != MODEL_CARD and not name.startswith(".eval_results/")
    }
