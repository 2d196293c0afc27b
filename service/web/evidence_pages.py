"""The pages of versions of evidence, and their forms.

/datasets/{dataset}/evidence                         the versions, the default first, and the audit events
/datasets/{dataset}/evidence/{digest}                what a version changes against its base
POST /datasets/{dataset}/evidence/build              builds a version from the reviews: base, min_reviews
POST /datasets/{dataset}/evidence/{digest}/default   makes a version the default
POST /datasets/{dataset}/evidence/{digest}/judge     starts to judge all archived analyses again
"""

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from errata.errors import ErrataError, InvalidRequest
from errata.tokens import Scope
from starlette.datastructures import ImmutableMultiDict
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from service.analyses import evidence_versions
from service.analyses.evidence_changes import ChangedLabels, EvidenceChanges, can_compare, compute_changes
from service.analyses.evidence_versions import EvidenceVersion, list_audit_events, list_versions
from service.analyses.ports import Ports
from service.authorization import may
from service.caller import CALLER
from service.evidence.bundle import Bundle
from service.redact import public_message
from service.report import evidence_view as views
from service.report.class_names import display_names
from service.report.evidence_changes_view import MAX_EVENTS, FormsView, RunView, event_row, run_view
from service.report.messages.evidence import NOT_EVALUATED, describe_changes
from service.report.urls import changes_url, evidence_form_url, image_url, review_url, versions_url
from service.web.application import retry_header
from service.web.forms import form_page
from service.web.judging_runs import JudgingRun, JudgingRuns
from service.web.responses import HEADERS, handle, unstated_problems
from service.web.status import status_of

Form: TypeAlias = "ImmutableMultiDict[str, str]"
FormHandler = Callable[[Request, Form], Response]
_NUMBER = re.compile(r"[0-9]{1,9}")


class EvidencePages:
    """The handlers of the pages and of their forms."""

    def __init__(self, ports: Ports) -> None:
        self._stores = ports.stores
        self._runs = JudgingRuns(ports)

    def handlers(self) -> Mapping[str, Callable[[Request], Response]]:
        """Return the handlers by route."""
        return {
            "/datasets/{dataset}/evidence": self._versions,
            "/datasets/{dataset}/evidence/{digest}": self._changes,
        }

    def form_handlers(self) -> Mapping[str, FormHandler]:
        """Return the handlers of forms by route, for POST."""
        return {
            "/datasets/{dataset}/evidence/build": self._build,
            "/datasets/{dataset}/evidence/{digest}/default": self._set_default,
            "/datasets/{dataset}/evidence/{digest}/judge": self._judge,
        }

    def refuse_labels(self, request: Request, fields: Mapping[str, str], error: ErrataError) -> Response:
        """Return the page of the versions, with the error of a labels file that was refused."""
        return handle(lambda request: self._versions(request, error, fields.get("base", "")), request)

    def stop(self) -> None:
        """Stop judging."""
        self._runs.stop()

    def _versions(
        self, request: Request, error: ErrataError | None = None, base: str = "", min_reviews: str = "1"
    ) -> Response:
        """Return the page of the versions, with the error and the fields of a form that was refused."""
        dataset = request.path_params["dataset"]
        versions = list_versions(self._stores, dataset)
        is_admin = may(Scope.ADMIN)
        events = list_audit_events(self._stores, dataset) if is_admin else ()  # only for `admin`, as in the API
        forms = FormsView(
            can_change=is_admin,
            versions_url=versions_url(dataset),
            bases=tuple(version.manifest.digest for version in versions),
            base=base,
            min_reviews=min_reviews,
            problem=public_message(error) if error else "",
            details=unstated_problems(error) if error else (),
            runs=self._run_views(dataset),
            events=tuple(map(event_row, events[:MAX_EVENTS])),
            num_events=len(events),
        )
        view = views.versions_view(dataset, [_to_version(version) for version in versions])
        response = form_page(
            request, "evidence_versions.html", status_of(error) if error else 200, view=view, forms=forms
        )
        if error is not None:
            response.headers.update(retry_header(error))
        return response

    def _changes(self, request: Request) -> Response:
        dataset = request.path_params["dataset"]
        all_runs = self._run_views(dataset)  # before the models: those of an ended run are all listed
        changes = compute_changes(self._stores, dataset, request.path_params["digest"])
        digest = changes.bundle.digest
        runs = {key: run for key, run in all_runs.items() if key == digest}
        is_admin = may(Scope.ADMIN)
        forms = FormsView(is_admin, versions_url(dataset), (), runs=runs)
        is_default = self._stores.evidence.find(dataset, "").digest == digest
        view = _to_view(changes, is_default, is_admin)
        return form_page(request, "evidence_changes.html", view=view, forms=forms)

    def _build(self, request: Request, form: Form) -> Response:
        dataset = request.path_params["dataset"]
        base, min_reviews = form.get("base", ""), form.get("min_reviews", "").strip()
        try:
            if not _NUMBER.fullmatch(min_reviews):
                raise InvalidRequest(
                    f"Invalid number of reviewers {min_reviews!r:.40}. Expected a number from 1.", field="min_reviews"
                )
            number = int(min_reviews)
            with self._runs.slot():
                bundle = evidence_versions.build_from_reviews(self._stores, dataset, base, number, CALLER.get().name)
        except ErrataError as error:
            return self._versions(request, error, base, min_reviews)
        return self._redirect_to(bundle)

    def _set_default(self, request: Request, _: Form) -> Response:
        dataset, digest = request.path_params["dataset"], request.path_params["digest"]
        try:
            with self._runs.slot():
                evidence_versions.set_default(self._stores, dataset, digest, CALLER.get().name)
        except ErrataError as error:
            return self._versions(request, error)
        return _redirect(versions_url(dataset))

    def _judge(self, request: Request, _: Form) -> Response:
        dataset, digest = request.path_params["dataset"], request.path_params["digest"]
        try:
            bundle = self._stores.evidence.find(dataset, digest)
            self._runs.start(dataset, bundle.digest, CALLER.get().name)
        except ErrataError as error:
            return self._versions(request, error)
        return self._redirect_to(bundle)

    def _redirect_to(self, bundle: Bundle) -> Response:
        """Redirect to the changes of a version; if they cannot be computed, to the versions."""
        dataset = bundle.dataset
        has_changes = can_compare(self._stores, bundle)
        return _redirect(changes_url(dataset, bundle.digest) if has_changes else versions_url(dataset))

    def _run_views(self, dataset: str) -> Mapping[str, RunView]:
        """Return the judging runs, only for `admin`: they name and count the analyses of all owners."""
        if not may(Scope.ADMIN):
            return {}
        return {digest: _to_run_view(digest, run) for digest, run in self._runs.of_dataset(dataset).items()}


def _redirect(url: str) -> Response:
    return RedirectResponse(url, status_code=303, headers=HEADERS)


def _to_run_view(digest: str, run: JudgingRun) -> RunView:
    counts = (run.num_done, run.num_total, run.num_new, run.num_skipped)
    return run_view(digest, counts, run.skipped, run.problem, run.is_running)


def _to_version(version: EvidenceVersion) -> views.Version:
    manifest = version.manifest
    return views.Version(
        dataset=manifest.dataset,
        digest=manifest.digest,
        base=manifest.base,
        num_reviews=manifest.reviews.count if manifest.reviews else 0,
        counts=manifest.counts,
        is_default=version.is_default,
        event=version.event,
    )


def _to_view(changes: EvidenceChanges, is_default: bool, is_admin: bool) -> views.ChangesView:
    dataset, bundle, base = changes.bundle.dataset, changes.bundle, changes.base
    names = display_names(bundle.label_space)
    short = bundle.digest[: views.SHORT_DIGEST]
    shows_command = changes.num_waiting > 0 and is_admin
    return views.ChangesView(
        dataset=dataset,
        versions_url=versions_url(dataset),
        digest=short,
        default_url="" if is_default else evidence_form_url(dataset, bundle.digest, "default"),
        judge_url=evidence_form_url(dataset, bundle.digest, "judge"),
        base=base.digest[: views.SHORT_DIGEST],
        base_url=changes_url(dataset, base.digest) if base.manifest.base else "",
        summary=describe_changes(changes.counts),
        command=f"errata reanalyze --all --dataset {dataset} --evidence {short}" if shows_command else "",
        num_waiting=changes.num_waiting,
        models=tuple(
            views.model_row(model.before, model.after, model.num_label_errors, model.num_new_errors)
            for model in changes.models
        ),
        images=tuple(
            views.ImageRow(
                image.name,
                _image_url(changes, image),
                review_url(dataset, image.name) if image.is_evaluated else "",
                views.describe_labels(image.before, names, image.was_problematic),
                views.describe_labels(image.after, names, image.is_problematic)
                if image.is_evaluated
                else NOT_EVALUATED,
            )
            for image in changes.images
        ),
        num_images=changes.counts.changed + changes.counts.not_evaluated,
    )


def _image_url(changes: EvidenceChanges, image: ChangedLabels) -> str:
    """Return the URL of the page of a changed image; empty if no analysis evaluates the image."""
    dataset = changes.bundle.dataset
    if image.is_evaluated:
        return image_url(dataset, image.name, analysis=changes.models[0].after.id if changes.models else "")
    return image_url(dataset, image.name, analysis=changes.base_analysis) if changes.base_analysis else ""
