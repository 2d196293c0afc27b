"""Texts of the pages of evidence versions."""

from collections.abc import Mapping

from errata.messages import format_count, pluralize

from service.domain import AuditAction, LabelChangeCounts

SET_ASIDE = "set aside"
NOT_EVALUATED = "no longer evaluated"
ACTION_NAMES: Mapping[AuditAction | None, str] = {
    None: "configured or in the data folder",
    AuditAction.BUILD: "built from reviews",
    AuditAction.UPLOAD_LABELS: "uploaded labels",
    AuditAction.UPLOAD_BUNDLE: "uploaded bundle",
    AuditAction.PUBLISH: "published from a process",
    AuditAction.SET_DEFAULT: "set as default",
    AuditAction.IMPORT: "imported reviews",
    AuditAction.CREATE: "created an analysis",
    AuditAction.DELETE: "deleted an analysis",
    AuditAction.CANCEL: "canceled an analysis",
    AuditAction.RETRY: "retried an analysis",
    AuditAction.REVIEW: "reviewed an image",
    AuditAction.GATE: "evaluated a gate",
}
EVIDENCE_TEXTS = (
    "changed by",
    "published by",
    "after",
    "All models of the base are judged with this evidence.",
    "Base {digest}",
    "before",
    "Listed images: {count} of {total}.",
    "Changes of evidence",
    "default",
    "Label errors: errors on the base that count as correct now, or whose image is set aside. New errors: images that "
    "count as correct on the base, and are errors now. Arrows: from the base to this evidence.",
    "evaluated images",
    "Evidence of {dataset}",
    "image",
    "Images",
    "label errors",
    "Models judged with both versions.",
    "new errors",
    "No model is judged with both versions.",
    "published (UTC)",
    "rejected labels",
    "severe error rate",
    "The default evidence is first. The reports of earlier analyses keep their evidence.",
    "version",
    "Versions of evidence",
    "Models judged with the base only: {count}. To judge them again, run:",
    "Models judged with the base only: {count}. An administrator can judge them again.",
    "base",
    "The default evidence, or its base if the default was built from reviews",
    "reviewers that must have voted on a class, at least",
    "Build evidence from reviews",
    "Build",
    "The new version is published at once, and does not become the default.",
    "Set as default",
    "Judge all analyses",
    "Changes need a token with the scope admin.",
    "Nothing was changed.",
    "Changes",
    "The newest changes: {count} of {total}.",
    "change",
    "time (UTC)",
    "details",
    "Judging of all analyses",
    "analyses judged",
    "review",
    "images",
    "Upload labels",
    "A labels file replaces all labels of the base. Upload a bundle with the Python client: client.upload_evidence.",
    "The default",
    "labels file, CSV, JSON, or JSON lines, at most 64 MB",
    "Upload and build",
    "This is the default evidence.",
    "evidence {digest}",
)


def describe_changes(counts: LabelChangeCounts) -> tuple[str, ...]:
    """Return sentences about the changes of labels, and about the images that are no longer evaluated, if any."""
    images = pluralize(counts.changed, "image differs", "images differ")
    labels = f"{pluralize(counts.added, 'label')} added, {pluralize(counts.removed, 'label')} removed"
    aside = f"{pluralize(counts.set_aside, 'image')} set aside, {format_count(counts.restored)} no longer set aside"
    left_out = pluralize(counts.not_evaluated, "image is", "images are")
    sentences = f"{images}.", f"{labels}.", f"{aside}."
    return (*sentences, f"{left_out} {NOT_EVALUATED}.") if counts.not_evaluated else sentences


def describe_run(num_done: int, num_total: int, num_new: int, num_skipped: int) -> str:
    """Describe the progress of a run that judges all analyses again."""
    skipped = f", {format_count(num_skipped)} skipped" if num_skipped else ""
    total = pluralize(num_total, "analysis", "analyses")
    return f"{format_count(num_done)} of {total} judged: {format_count(num_new)} new{skipped}."
