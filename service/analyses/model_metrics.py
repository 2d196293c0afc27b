"""Find the newest results of watched models, up to a limit, for metrics."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from itertools import chain

from errata.errors import Unavailable

from service.analyses.compare import is_comparable
from service.analyses.ports import Stores
from service.domain import ALL, Analysis, ModelVersion, Summary, end_of

MAX_NAME_BYTES = 128  # limit of model and version names, which are labels of about 40 series per result
DIGEST_DIGITS = 12  # hexadecimal digits at the end of a shortened name


@dataclass(frozen=True)
class WatchedResult:
    """The newest result of one model version on one data set."""

    model: str
    version: str  # empty if the labels have no version
    dataset: str
    summary: Summary
    severe: float | None  # severe error rate; None without samples
    baseline: float | None  # severe error rate of the baseline; None without a comparable baseline
    ended: datetime


@dataclass(frozen=True)
class WatchedModels:
    """The results that metrics report."""

    results: Sequence[WatchedResult]  # newest first
    dropped: int  # results that match no pattern or exceed the limit


def find_watched_models(stores: Stores, patterns: Sequence[str], limit: int) -> WatchedModels:
    """Return the newest results of models whose names match a pattern.

    The name of a model is its label `model`, which registries set, or else its model ID. Uploads without that
    label have no name and are not watched. Patterns match full names; results contain shortened names.

    Args:
        stores: The stores.
        patterns: Shell-style patterns of model names.
        limit: Maximum number of results.

    Raises:
        Unavailable: The archive is unavailable.
    """
    versions = stores.index.newest_versions()
    models = {version.model for version in versions}
    watched_models = {model for model in models if any(fnmatchcase(model, pattern) for pattern in patterns)}
    watched = [version for version in versions if version.model in watched_models]
    by_model: dict[tuple[str, str], list[ModelVersion]] = {}
    for version in watched:
        by_model.setdefault((version.model, version.dataset), []).append(version)
    results = [
        _to_result(stores, version, analysis, by_model[version.model, version.dataset])
        for version in watched[:limit]
        if (analysis := stores.archive.get(version.id)) is not None  # None: another process deleted it meanwhile
    ]
    return WatchedModels(results, len(versions) - len(watched[:limit]))


def shorten_name(name: str) -> str:
    """Return a name of at most MAX_NAME_BYTES; a shortened name ends in a digest, so that it is distinct."""
    content = name.encode(errors="replace")
    if len(content) <= MAX_NAME_BYTES:
        return content.decode()
    end = f"~{hashlib.sha256(content).hexdigest()[:DIGEST_DIGITS]}"
    return content[: MAX_NAME_BYTES - len(end)].decode(errors="ignore") + end


def _to_result(
    stores: Stores, version: ModelVersion, analysis: Analysis, versions: Sequence[ModelVersion]
) -> WatchedResult:
    assert analysis.summary is not None, "this is a bug: a succeeded analysis has a summary"
    before = _find_baseline(stores, version, analysis, versions)
    return WatchedResult(
        shorten_name(version.model),
        shorten_name(version.version),
        version.dataset,
        analysis.summary,
        analysis.summary.groups[ALL].severe_error_rate,
        None if before is None or before.summary is None else before.summary.groups[ALL].severe_error_rate,
        end_of(analysis),
    )


def _find_baseline(
    stores: Stores, version: ModelVersion, analysis: Analysis, versions: Sequence[ModelVersion]
) -> Analysis | None:
    """Return the first comparable analysis: the baseline of the request, or else the newest earlier one of the model.

    Args:
        stores: The stores.
        version: The version of the model.
        analysis: The newest analysis of the version.
        versions: All versions of the model on the same data set, newest first.
    """
    earlier = (other.id for other in versions[versions.index(version) + 1 :])
    for analysis_id in chain([analysis.request.gate_baseline], earlier):
        before = None
        with suppress(Unavailable):  # an analysis that cannot be read is no baseline
            before = stores.archive.get(analysis_id) if analysis_id else None
        if before is not None and is_comparable(before, analysis):
            return before
    return None
