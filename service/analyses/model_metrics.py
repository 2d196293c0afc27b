"""Find the newest results of watched models, up to a limit, for metrics."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from errata.errors import NotComparable, Unavailable

from service.analyses.compare import check_comparable
from service.analyses.ports import Ports
from service.domain import Analysis, Group, State, Summary

MAX_NAME_BYTES = 128  # limit of model and version names, which are labels of about 40 series per result
DIGEST_DIGITS = 12  # hexadecimal digits at the end of a shortened name


@dataclass(frozen=True)
class WatchedResult:
    """The newest result of one model version on one data set."""

    model: str
    version: str  # empty if its labels have none
    dataset: str
    summary: Summary
    severe: float | None  # share of model failures; None without samples
    baseline: float | None  # share of model failures of the baseline; None without a comparable baseline
    ended: datetime


@dataclass(frozen=True)
class WatchedModels:
    """The results that metrics report."""

    results: Sequence[WatchedResult]  # newest first
    dropped: int  # results that match no pattern or exceed the limit


def find_watched_models(ports: Ports, patterns: Sequence[str], limit: int) -> WatchedModels:
    """Return the newest results of models whose names match a pattern.

    The name of a model is its label `model`, which registries set, or else its model ID. Uploads without that
    label have no name and are not watched. Patterns match the full name; the result has a shortened name.

    Args:
        ports: The ports of the use cases.
        patterns: Shell-style patterns of model names.
        limit: Maximum number of results.

    Raises:
        Unavailable: The archive is unavailable.
    """
    newest: dict[tuple[str, str, str], Analysis] = {}
    for analysis in ports.archive.list():
        key = _key(analysis)
        if analysis.state is State.SUCCEEDED and key[0] and (key not in newest or newest[key].id < analysis.id):
            newest[key] = analysis
    ordered = sorted(newest.items(), key=lambda entry: entry[1].id, reverse=True)
    is_watched = [any(fnmatchcase(model, pattern) for pattern in patterns) for (model, _, _), _ in ordered]
    watched = [entry for entry, matches in zip(ordered, is_watched, strict=True) if matches][:limit]
    results = [_to_result(ports, key, analysis, ordered) for key, analysis in watched]
    return WatchedModels(results, len(ordered) - len(watched))


def severe_error_rate(summary: Summary) -> float | None:
    """Return the share of model failures among the samples that count; None without samples."""
    all_samples = summary.groups[Group.ALL]
    if not all_samples.num_samples:
        return None
    return all_samples.severe_errors / all_samples.num_samples


def _are_comparable(a: Analysis, b: Analysis) -> bool:
    try:
        check_comparable(a, b)
    except NotComparable:
        return False
    return True


def _key(analysis: Analysis) -> tuple[str, str, str]:
    """Return model, version, and data set."""
    labels, request = analysis.request.labels, analysis.request
    return (labels.get("model") or request.model, labels.get("version", ""), request.dataset)


def shorten_name(name: str) -> str:
    """Return a name of at most MAX_NAME_BYTES; a shortened name ends in a digest, so that it is distinct."""
    content = name.encode(errors="replace")
    if len(content) <= MAX_NAME_BYTES:
        return content.decode()
    end = f"~{hashlib.sha256(content).hexdigest()[:DIGEST_DIGITS]}"
    return content[: MAX_NAME_BYTES - len(end)].decode(errors="ignore") + end


def _to_result(
    ports: Ports,
    key: tuple[str, str, str],
    analysis: Analysis,
    ordered: Sequence[tuple[tuple[str, str, str], Analysis]],
) -> WatchedResult:
    model, version, dataset = key
    assert analysis.summary is not None, "this is a bug: a succeeded analysis has a summary"
    before = None
    with suppress(Unavailable):  # an analysis that cannot be read is no baseline
        before = ports.archive.get(analysis.request.gate_baseline) if analysis.request.gate_baseline else None
    if before is None or not _are_comparable(before, analysis):
        earlier = (other for other_key, other in ordered if other_key[0] == model and other.id < analysis.id)
        before = next((other for other in earlier if _are_comparable(other, analysis)), None)
    return WatchedResult(
        shorten_name(model),
        shorten_name(version),
        dataset,
        analysis.summary,
        severe_error_rate(analysis.summary),
        None if before is None or before.summary is None else severe_error_rate(before.summary),
        analysis.end_time or analysis.create_time,
    )
