"""Export reviews, and the labels after reviews, as files."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from errata.errors import InvalidRequest

from service.analyses.evidence_versions import find_base
from service.analyses.ports import Stores
from service.domain import Decision, LabelSpace, decide_images
from service.evidence.bundle import Bundle
from service.evidence.reviewed import apply_decisions

LINES_PER_PIECE = 4096
NO_LABEL, NO_REASON = "no label", "problematic"  # reasons of a labels file if the reviewers wrote none


@dataclass(frozen=True)
class LabelsExport:
    """The content of a labels file."""

    evidence: str = ""  # the bundle whose labels the reviews correct, see `find_base`
    min_reviews: int = 1  # reviewers that must have voted on a class
    only_reviewed: bool = False
    as_csv: bool = True  # otherwise JSON lines

    def __post_init__(self) -> None:
        if self.min_reviews < 1:
            raise InvalidRequest(
                f"The minimum number of reviews is {self.min_reviews}. Use at least 1.", field="min_reviews"
            )


def export_reviews(stores: Stores, dataset: str) -> Iterator[bytes]:
    """Yield the reviews of a data set as JSON lines, oldest first.

    Raises:
        DatasetNotFound: The data set does not exist.
    """
    stores.evidence.find(dataset, "")
    reviews = stores.reviews.find((dataset,))
    return _pieces(json.dumps(asdict(review) | {"time": review.time.isoformat()}) for review in reviews)


def export_labels(stores: Stores, dataset: str, content: LabelsExport = LabelsExport()) -> Iterator[bytes]:
    """Yield the labels after the reviews as a labels file.

    Raises:
        DatasetNotFound: The data set does not exist.
        EvidenceNotFound: The bundle does not exist.
    """
    bundle = find_base(stores, dataset, content.evidence)
    decisions = decide_images(stores.reviews.find((dataset,)), content.min_reviews)
    rows = _label_rows(bundle, decisions, content.only_reviewed)
    if content.as_csv:
        return _pieces(_csv_line(row) for row in _with_header(rows))
    return _pieces(json.dumps(row) for row in rows)


def _label_rows(bundle: Bundle, decisions: Mapping[str, Decision], only_reviewed: bool) -> Iterator[dict[str, Any]]:
    """Yield the labels of each evaluated image after the decisions of the reviewers."""
    space, images = bundle.label_space, apply_decisions(bundle, decisions)
    texts = [_class_text(space, index) for index in range(space.num_classes)]
    for row, name in enumerate(bundle.judged_names):
        decision = decisions.get(name)
        if decision is None and only_reviewed:
            continue
        labels, reason = images.labels.of(row).tolist(), ""
        if images.problematic[row]:
            reason = NO_REASON if labels else NO_LABEL
            reason = (decision.reason if decision is not None and decision.problematic else "") or reason
        yield {
            "file_name": name,
            "target": texts[bundle.evidence.targets[row]],
            "labels": [texts[label] for label in labels],
            "problematic": reason,
        }


def _class_text(label_space: LabelSpace, index: int) -> str:
    """Return a text that a labels file can use for a class: the ID, or a name or the index if the ID is ambiguous."""
    texts = (label_space.ids[index], label_space.names[index], *label_space.synonyms[index], str(index))
    return next((text for text in texts if ";" not in text and label_space.parse(text) == index), texts[0])


def _with_header(rows: Iterator[dict[str, Any]]) -> Iterator[Sequence[str]]:
    yield ("file_name", "target", "labels", "problematic")
    for row in rows:
        yield row["file_name"], row["target"], ";".join(row["labels"]), row["problematic"]


def _csv_line(values: Sequence[str]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="").writerow(values)
    return file.getvalue()


def _pieces(lines: Iterable[str]) -> Iterator[bytes]:
    """Yield lines in pieces."""
    remaining = iter(lines)
    while piece := [*islice(remaining, LINES_PER_PIECE)]:
        yield "".join(f"{line}\n" for line in piece).encode()
