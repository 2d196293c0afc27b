"""The content of the pages of evidence versions, as records for the templates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from errata.messages import MISSING, format_count, format_percentage, pluralize

from service.domain import ALL, Analysis, AuditEvent
from service.report.messages.evidence import ACTION_NAMES, SET_ASIDE
from service.report.urls import changes_url, evidence_form_url

SHORT_DIGEST = 12  # characters


@dataclass(frozen=True)
class Version:
    """A version of the evidence of a data set."""

    dataset: str
    digest: str
    base: str  # digest of the bundle that it corrects; empty: none
    num_reviews: int  # 0: it does not come from reviews
    counts: Mapping[str, int]
    is_default: bool
    event: AuditEvent | None  # the event that published the version


@dataclass(frozen=True)
class VersionRow:
    """One version."""

    short: str  # the start of the digest
    url: str  # URL of the changes against the base; empty: no base
    default_url: str  # makes it the default; empty: it already is the default
    judge_url: str  # judges all analyses on it
    origin: str
    actor: str
    time: str
    judged: str
    problematic: str
    rejected: str


@dataclass(frozen=True)
class VersionsView:
    """The versions of a data set."""

    dataset: str
    rows: tuple[VersionRow, ...]


@dataclass(frozen=True)
class ImageRow:
    """One image whose labels changed, or that is no longer evaluated."""

    name: str
    url: str  # empty: no analysis evaluates the image
    review_url: str  # empty: the version no longer evaluates the image
    before: str
    after: str


@dataclass(frozen=True)
class ModelRow:
    """One model that was judged twice."""

    title: str
    before_url: str
    after_url: str
    values: tuple[tuple[str, str], ...]  # before and after: top-1 accuracy, multi-label accuracy, severe error rate
    label_errors: str
    new_errors: str


@dataclass(frozen=True)
class ChangesView:
    """The changes of a version against its base."""

    dataset: str
    versions_url: str
    digest: str
    default_url: str  # makes it the default; empty: it already is the default
    judge_url: str
    base: str
    base_url: str
    summary: tuple[str, ...]
    command: str  # judges the other models again; empty: all models are judged, or the caller lacks the scope `admin`
    num_waiting: int  # models that are not judged again
    models: tuple[ModelRow, ...]
    images: tuple[ImageRow, ...]
    num_images: int  # images that changed, or that are no longer evaluated


def versions_view(dataset: str, versions: Sequence[Version]) -> VersionsView:
    """Convert the versions of a data set for display."""
    return VersionsView(dataset, tuple(map(_version_row, versions)))


def _version_row(version: Version) -> VersionRow:
    counts, event = version.counts, version.event
    return VersionRow(
        short=version.digest[:SHORT_DIGEST],
        url=changes_url(version.dataset, version.digest) if version.base else "",
        default_url="" if version.is_default else evidence_form_url(version.dataset, version.digest, "default"),
        judge_url=evidence_form_url(version.dataset, version.digest, "judge"),
        origin=_origin(version),
        actor=MISSING if event is None else event.actor,
        time=MISSING if event is None else f"{event.time:%Y-%m-%d %H:%M}",
        judged=format_count(counts["judged"]),
        problematic=format_count(counts["problematic"]),
        rejected=format_count(counts.get("rejected_targets", 0)),
    )


def model_row(before: Analysis, after: Analysis, num_label_errors: int | None, num_new_errors: int | None) -> ModelRow:
    """Return the row of a model that was judged twice."""
    assert before.summary is not None, "This is a bug: a successful analysis has a summary."
    assert after.summary is not None, "This is a bug: a successful analysis has a summary."
    old, new = before.summary.groups[ALL], after.summary.groups[ALL]
    return ModelRow(
        title=after.title,
        before_url=f"/analyses/{before.id}",
        after_url=f"/analyses/{after.id}",
        values=tuple(
            (format_percentage(first), format_percentage(second))
            for first, second in (
                (old.top1_accuracy, new.top1_accuracy),
                (old.multi_label_accuracy, new.multi_label_accuracy),
                (old.severe_error_rate, new.severe_error_rate),
            )
        ),
        label_errors=_count(num_label_errors),
        new_errors=_count(num_new_errors),
    )


def describe_labels(labels: Sequence[int], names: Sequence[str], is_problematic: bool) -> str:
    """Describe the labels of an image."""
    described = [names[label] for label in labels]
    return "; ".join([*described, SET_ASIDE] if is_problematic else described)


def _origin(version: Version) -> str:
    of_base = f", base {version.base[:SHORT_DIGEST]}" if version.base else ""
    if version.num_reviews:
        return f"{pluralize(version.num_reviews, 'review')}{of_base}"
    return f"{ACTION_NAMES[version.event.action if version.event else None]}{of_base}"


def _count(number: int | None) -> str:
    return MISSING if number is None else format_count(number)
