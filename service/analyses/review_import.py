"""Import reviews from a file."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from errata.errors import ErrataError, InvalidRequest, InvalidRow, TooLarge, Violation
from errata.json_input import parse_json

from service.analyses.evidence_versions import record_event
from service.analyses.ports import Stores
from service.analyses.reviews import ReviewRequest, add_classes, check_texts
from service.archive.record_log import MAX_RECORD
from service.domain import AuditAction, Review
from service.storage import CHUNK, Readable

MAX_IMPORT_BYTES = 256 << 20
MAX_VIOLATIONS = 10  # lines that an error lists
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
MAX_AHEAD = timedelta(minutes=5)  # of the time of an imported review: a later one would count for as long
RECORDS_PER_WRITE = 64  # open files
_FIELDS = {field.name for field in fields(Review)}
_REQUIRED = ("image", "reviewer", "time")
_TEXTS = ("id", "dataset", "image", "evidence", "reviewer", "time", "reason", "comment", "undoes")
_LISTS = ("confirmed", "added", "rejected")


@dataclass(frozen=True)
class ImportResult:
    """The numbers of reviews of an import."""

    num_added: int
    num_existing: int


def import_reviews(
    stores: Stores, dataset: str, content: Readable, caller: str = "", keep_authentication: bool = False
) -> ImportResult:
    """Store the reviews of a file of reviews. Nothing is stored unless all lines are valid.

    The IDs stay the same, so that a repeated import adds nothing. A line without an ID gets one that follows from its
    content. The bundle of a review may be unknown; then only its classes are checked, with the default bundle.

    Args:
        stores: The stores.
        dataset: The data set.
        content: JSON lines.
        caller: The name of the caller's token, for the audit log; empty: no token is required.
        keep_authentication: Whether `is_authenticated` stays as the file says. By default, no imported reviewer is
            authenticated, because the file can name anyone.

    Raises:
        DatasetNotFound: The data set does not exist.
        InvalidRow: Lines are invalid; `violations` has the first ones.
        TooLarge: The file is too large.
        Unavailable: The archive cannot be read or written.
    """
    reader = _Reader(stores, dataset, keep_authentication)
    for number, line in enumerate(_read_lines(content), 1):
        if line.strip():
            reader.add(number, line)
    reader.check()
    new = sorted(reader.new.values(), key=lambda review: review.time)  # a review before those that undo it
    for start in range(0, len(new), RECORDS_PER_WRITE):
        stores.reviews.append(*new[start : start + RECORDS_PER_WRITE])
    if new:
        details = {"num_reviews": str(len(new)), "keep_authentication": str(keep_authentication).lower()}
        record_event(stores, AuditAction.IMPORT, caller, dataset, details=details)
    return ImportResult(len(new), reader.num_existing)


class _Reader:
    """The valid reviews of a file, and its problems."""

    def __init__(self, stores: Stores, dataset: str, keep_authentication: bool) -> None:
        self._default = stores.evidence.find(dataset, "")
        self._bundles = {bundle.digest: bundle for bundle in stores.evidence.bundles(dataset)}
        self._stored = stores.reviews.by_id()
        self._latest = stores.clock() + MAX_AHEAD
        self._keep_authentication = keep_authentication
        self._line_of: dict[str, int] = {}
        self._violations: list[Violation] = []
        self._num_problems = 0
        self.new: dict[str, Review] = {}
        self.num_existing = 0

    def add(self, number: int, line: bytes) -> None:
        """Add the review of a line, or its problem."""
        try:
            review = self._parse(line)
            before = self._stored.get(review.id) or self.new.get(review.id)
            if before is None:
                self.new[review.id] = review
                self._line_of[review.id] = number
            elif replace(review, is_authenticated=before.is_authenticated) == before:
                self.num_existing += 1
            else:
                raise InvalidRequest(f"The ID {review.id} belongs to another review. Remove the ID.", field="id")
        except (ErrataError, ValueError) as error:
            is_own = isinstance(error, ErrataError) and bool(error.violations)
            self._add_problem(number, error.violations[0].field if is_own else "row", str(error))  # type: ignore[union-attr]

    def check(self) -> None:
        """Raise InvalidRow if a line is invalid, or undoes a review that does not exist."""
        for review in self.new.values():
            if review.undoes and (problem := self._undo_problem(review)):
                self._add_problem(self._line_of[review.id], "undoes", problem)
        if self._violations:
            first = min(self._violations, key=lambda violation: violation.line or 0)
            more = f" (and {self._num_problems - 1:,} more)" if self._num_problems > 1 else ""
            raise InvalidRow(
                f"Line {first.line}: {first.description}{more} Nothing was imported.", violations=self._violations
            )

    def _undo_problem(self, review: Review) -> str:
        undone = self._stored.get(review.undoes) or self.new.get(review.undoes)
        if undone is None or (undone.dataset, undone.image) != (review.dataset, review.image):
            return f"The image has no review {review.undoes!r:.60}. Import it too, or remove this line."
        if undone.voter != review.voter:
            return f"The review {undone.id} is by {undone.reviewer!r:.60}. Remove this line."
        return "" if undone.time < review.time else f"The review {undone.id} is not older. Correct the time."

    def _add_problem(self, number: int, field: str, description: str) -> None:
        self._num_problems += 1
        if len(self._violations) < MAX_VIOLATIONS:
            self._violations.append(Violation(field, description[:300], number))

    def _parse(self, line: bytes) -> Review:
        """Return the review of a line; raise an error for an invalid one."""
        raw = _checked_fields(parse_json(line))
        if raw["dataset"] not in ("", self._default.dataset):
            raise InvalidRequest(f"The data set is {raw['dataset']!r:.60}. Remove this line.", field="dataset")
        texts = {name: raw[name] for name in ("image", "problematic", "reason", "comment", "undoes", "reviewer")}
        classes = {name: tuple(raw[name]) for name in _LISTS}
        request = ReviewRequest(**{"dataset": self._default.dataset} | texts | classes)
        check_texts(request)
        time = datetime.fromisoformat(raw["time"])
        if time.tzinfo is None or not EARLIEST <= time <= self._latest:
            raise InvalidRequest(
                f"The time {raw['time']!r:.40} has no zone, or is before 1970 or in the future. Write a time such as "
                "2026-01-31T12:00:00+00:00.",
                field="time",
            )
        base = self._bundles.get(raw["evidence"])
        bundle = base or self._default
        bundle.row(request.image)
        draft = Review(
            id=raw["id"] or hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()[:32],
            dataset=request.dataset,
            image=request.image,
            evidence=raw["evidence"] or bundle.digest,
            reviewer=request.reviewer.strip(),
            is_authenticated=self._keep_authentication and raw["is_authenticated"],
            time=time.astimezone(UTC),
            problematic=request.problematic,
            reason=request.reason,
            comment=request.comment,
            undoes=request.undoes,
        )
        return add_classes(draft, request, bundle, is_base=base is not None)


def _checked_fields(raw: object) -> dict[str, Any]:
    """Return all fields of a line; raise InvalidRequest if one is missing, unknown, or of another type."""
    if not isinstance(raw, dict):
        raise InvalidRequest(f"{raw!r:.40} is not an object. Write one review per line.", field="row")
    if unknown := sorted(raw.keys() - _FIELDS):
        raise InvalidRequest(f"Unknown field {unknown[0]!r:.60}. Remove it.", field="row")
    defaults: dict[str, Any] = dict.fromkeys(_TEXTS, "") | {name: [] for name in _LISTS}
    values = defaults | {"problematic": None, "is_authenticated": False} | raw
    for name in _REQUIRED:
        if not str(values[name]).strip():
            raise InvalidRequest(f"The field {name} is missing. Write it.", field=name)
    for name in _TEXTS:
        if not isinstance(values[name], str):
            raise InvalidRequest(f"The field {name} is {values[name]!r:.40}. Write a text.", field=name)
    for name in _LISTS:
        if not isinstance(values[name], list) or not all(isinstance(text, str) for text in values[name]):
            raise InvalidRequest(f"The field {name} is {values[name]!r:.40}. Write a list of classes.", field=name)
    if not isinstance(values["problematic"], bool | None) or not isinstance(values["is_authenticated"], bool):
        raise InvalidRequest("The fields problematic and is_authenticated are true or false.", field="problematic")
    for name, length in (("id", 32), ("evidence", 64)):
        text = values[name]
        if text and (len(text) != length or not set(text) <= set("0123456789abcdef")):
            raise InvalidRequest(f"The field {name} is {text!r:.40}. Write {length} hexadecimal digits.", field=name)
    return values


def _read_lines(content: Readable) -> Iterator[bytes]:
    """Yield the lines of a file; raise TooLarge for a large file or line."""
    size, rest = 0, b""
    while chunk := content.read(CHUNK):
        size += len(chunk)
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
        if size > MAX_IMPORT_BYTES or len(rest) > MAX_RECORD:
            raise TooLarge(
                f"The file has more than {MAX_IMPORT_BYTES >> 20} MiB, or a line more than {MAX_RECORD >> 20} MiB. "
                "Import several smaller files.",
                field="chunk",
            )
    yield rest
