"""Watched: the newest result of each version of the models that an operator watches, for metrics; bounded in number."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from errata.errors import NotComparable, Unavailable

from service.analyses.compare import check_comparable
from service.analyses.ports import Ports
from service.domain import Analysis, ErrorType, Group, State, Summary

MAX_NAME_BYTES = 128  # bytes of a model's or a version's name, each of which stands in some 40 series a result
DIGEST_DIGITS = 12  # hexadecimal digits that tell cut names apart


@dataclass(frozen=True)
class WatchedResult:
    """The newest result of one version of a model on one data set."""

    model: str
    version: str  # empty where its labels name none
    dataset: str
    summary: Summary
    severe: float | None  # model failures among the samples that count; None without samples
    baseline: float | None  # the same of its gate's baseline, or of the version before it, if they can be compared
    ended: datetime


@dataclass(frozen=True)
class WatchedModels:
    """What is shown, and how much isn't."""

    results: Sequence[WatchedResult]  # newest first
    dropped: int  # results that no pattern names, or that are beyond the bound


def find_watched_models(ports: Ports, patterns: Sequence[str], most: int) -> WatchedModels:
    """Return the newest `most` results of models whose names match a pattern; raise Unavailable if the archive is away.

    A model's name is the label `model` (registries set it, pipelines may), or else the identifier that was run; what is
    neither, such as an upload without labels, is not a model that can be watched. Long names are shortened in what
    is returned, and whole for the patterns.
    """
    newest: dict[tuple[str, str, str], Analysis] = {}
    for element in ports.archive.list():
        key = _key(element)
        if element.state is State.SUCCEEDED and key[0] and (key not in newest or newest[key].id < element.id):
            newest[key] = element
    ordered = sorted(newest.items(), key=lambda item: item[1].id, reverse=True)
    shown = [(key, each) for key, each in ordered if any(fnmatchcase(key[0], pattern) for pattern in patterns)][:most]
    results = [_result(ports, key, each, ordered) for key, each in shown]
    return WatchedModels(results, len(ordered) - len(shown))


def severe_error_rate(summary: Summary) -> float | None:
    """Return the share of model failures among the samples that count; None without samples."""
    everything = summary.groups[Group.ALL]
    if not everything.num_samples:
        return None
    return everything.counts[ErrorType.MODEL_FAILURE] / everything.num_samples


def _compares(one: Analysis, other: Analysis) -> bool:
    """Say whether two results can be held against each other."""
    try:
        check_comparable(one, other)
    except NotComparable:
        return False
    return True


def _key(analysis: Analysis) -> tuple[str, str, str]:
    labels, request = analysis.request.labels, analysis.request
    return (labels.get("model") or request.model, labels.get("version", ""), request.dataset)


def shorten_name(name: str) -> str:
    """Return a name of at most MAX_NAME bytes; one that is cut ends in a digest, so that two stay two."""
    content = name.encode(errors="replace")
    if len(content) <= MAX_NAME_BYTES:
        return content.decode()
    end = f"~{hashlib.sha256(content).hexdigest()[:DIGEST_DIGITS]}"
    return content[: MAX_NAME_BYTES - len(end)].decode(errors="ignore") + end


def _result(
    ports: Ports,
    key: tuple[str, str, str],
    analysis: Analysis,
    ordered: Sequence[tuple[tuple[str, str, str], Analysis]],
) -> WatchedResult:
    model, version, dataset = key
    assert analysis.summary is not None, "this is a bug: what has succeeded has a summary"
    before = None
    with suppress(Unavailable):  # what can't be read is no baseline
        before = ports.archive.get(analysis.request.gate_baseline) if analysis.request.gate_baseline else None
    if before is None or not _compares(before, analysis):
        same = (each for other, each in ordered if other[0] == model and each.id < analysis.id)
        before = next((item for item in same if _compares(item, analysis)), None)
    return WatchedResult(
        shorten_name(model),
        shorten_name(version),
        dataset,
        analysis.summary,
        severe_error_rate(analysis.summary),
        None if before is None or before.summary is None else severe_error_rate(before.summary),
        analysis.end_time or analysis.create_time,
    )
