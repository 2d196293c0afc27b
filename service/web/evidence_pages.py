"""The pages of versions of evidence.

/datasets/{dataset}/evidence            the versions, the default first
/datasets/{dataset}/evidence/{digest}   what a version changes against its base
"""

from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response

from service.analyses.evidence_changes import EvidenceChanges, compute_changes
from service.analyses.evidence_versions import EvidenceVersion, list_versions
from service.analyses.ports import Ports
from service.report import evidence_view as views
from service.report.class_names import display_names
from service.report.messages.evidence import describe_changes
from service.report.render import render
from service.web.responses import html_page


class EvidencePages:
    """The handlers of the pages."""

    def __init__(self, ports: Ports) -> None:
        self._stores = ports.stores

    def handlers(self) -> Mapping[str, Callable[[Request], Response]]:
        """Return the handlers by route."""
        return {
            "/datasets/{dataset}/evidence": self._versions,
            "/datasets/{dataset}/evidence/{digest}": self._changes,
        }

    def _versions(self, request: Request) -> Response:
        dataset = request.path_params["dataset"]
        versions = [_to_version(version) for version in list_versions(self._stores, dataset)]
        return html_page(render("evidence_versions.html", site=True, view=views.versions_view(dataset, versions)))

    def _changes(self, request: Request) -> Response:
        changes = compute_changes(self._stores, request.path_params["dataset"], request.path_params["digest"])
        return html_page(render("evidence_changes.html", site=True, view=_to_view(changes)))


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


def _to_view(changes: EvidenceChanges) -> views.ChangesView:
    dataset, bundle, base = changes.bundle.dataset, changes.bundle, changes.base
    names = display_names(bundle.label_space)
    analysis = changes.models[0].after.id if changes.models else ""
    short = bundle.digest[: views.SHORT_DIGEST]
    return views.ChangesView(
        dataset=dataset,
        versions_url=views.versions_url(dataset),
        digest=short,
        base=base.digest[: views.SHORT_DIGEST],
        base_url=views.changes_url(dataset, base.digest) if base.manifest.base else "",
        summary=describe_changes(
            changes.num_changed,
            changes.num_added,
            changes.num_removed,
            changes.num_set_aside,
            changes.num_restored,
        ),
        command=f"errata reanalyze --all --dataset {dataset} --evidence {short}" if changes.num_waiting else "",
        num_waiting=changes.num_waiting,
        models=tuple(
            views.model_row(model.before, model.after, model.num_label_errors, model.num_new_errors)
            for model in changes.models
        ),
        images=tuple(
            views.ImageRow(
                image.name,
                views.image_url(dataset, image.name, analysis),
                views.describe_labels(image.before, names, image.was_problematic),
                views.describe_labels(image.after, names, image.is_problematic),
            )
            for image in changes.images
        ),
        num_changed=changes.num_changed,
    )
