"""Import reviews from a file: JSON lines of reviews, or a labels file."""

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from typing import BinaryIO

from errata.errors import ErrataError, InvalidEvidence, InvalidRequest, InvalidRow, TooLarge, Violation
from errata.json_input import parse_json

from service.analyses.evidence_versions import labels_path, record_event
from service.analyses.label_reviews import find_statements
from service.analyses.ports import Stores
from service.analyses.reviews import ReviewRequest, add_classes, check_reviewer, check_texts
from service.archive.record_log import MAX_RECORD
from service.domain import AuditAction, Review
from service.evidence.review_file import MAX_BYTES, parse_review
from service.storage import CHUNK, Readable, spool

MAX_IMPORT_LINES = 250_000  # about 500 MB of memory
MAX_VIOLATIONS = 10  # lines that an error lists
MAX_AHEAD = timedelta(minutes=5)  # how far an imported review may be in the future; until then, it counts as newest
RECORDS_PER_WRITE = 64  # open files
# The start of an array of objects with `file_name`, or of an object of lists. In a review, only three fields are lists.
_LABELS_JSON = re.compile(
    rb'\s*(\[\s*\{[^{}]*"file_name"|\{\s*"(?!(?:confirmed|added|rejected)")(?:[^"\\]|\\.)*"\s*:\s*\[)'
)


@dataclass(frozen=True)
class ImportResult:
    """The numbers of reviews of an import."""

    num_added: int
    num_existing: int


def import_reviews(
    stores: Stores,
    dataset: str,
    content: Readable,
    caller: str = "",
    keep_authentication: bool = False,
    reviewer: str = "",
) -> ImportResult:
    """Store the reviews of a file. If any line is invalid, nothing is stored.

    Reviews keep their IDs, so that a repeated import adds nothing. The content of a line without an ID determines its
    ID. If the bundle of a review is unknown, the image and the classes are checked against the default bundle, and the
    labels are not checked.

    A labels file becomes reviews of the caller, see `find_statements`.

    Args:
        stores: The stores.
        dataset: The data set.
        content: JSON lines of reviews, or a labels file.
        caller: The name of the caller's token; empty: no token is required.
        keep_authentication: Whether to keep `is_authenticated` from the file. By default, no imported reviewer is
            authenticated, because the file can name anyone.
        reviewer: The reviewer of a labels file if the caller has no token.

    Raises:
        DatasetNotFound: The data set does not exist.
        InvalidRow: Lines are invalid; `violations` has the first ones.
        InvalidRequest: The reviewer of a labels file is missing, or JSON lines have one.
        TooLarge: The file is too large.
        Unavailable: The archive cannot be read or written.
    """
    with spool(content, MAX_BYTES) as file:
        if _is_labels_file(file):
            new, num_existing = _read_labels_file(stores, dataset, file, check_reviewer(reviewer, caller), bool(caller))
        elif reviewer:
            raise InvalidRequest(
                "The lines of the file name their reviewers. Leave the reviewer empty.", field="reviewer"
            )
        else:
            new, num_existing = _read_reviews(_Reader(stores, dataset, keep_authentication), file)
    batches = [new[start : start + RECORDS_PER_WRITE] for start in range(0, len(new), RECORDS_PER_WRITE)]
    num_added = sum(stores.reviews.append_new(*batch) for batch in batches)  # the same import can be running
    if num_added:
        details = {"num_reviews": str(num_added), "keep_authentication": str(keep_authentication).lower()}
        record_event(stores, AuditAction.IMPORT, caller, dataset, details=details)
    return ImportResult(num_added, num_existing + len(new) - num_added)


def _is_labels_file(file: BinaryIO) -> bool:
    """Return whether a file has labels instead of reviews; raise InvalidRow if its first line is neither."""
    start = file.read(CHUNK).removeprefix(codecs.BOM_UTF8)
    file.seek(0)
    if _LABELS_JSON.match(start):
        return True
    lines = ((number, line.removeprefix(codecs.BOM_UTF8).strip()) for number, line in enumerate(_read_lines(file), 1))
    number, line = next(((number, line) for number, line in lines if line), (0, b""))
    file.seek(0)
    if line.startswith(b"{"):
        try:
            return "file_name" in parse_json(line)
        except ValueError:
            return False
    if line and b"file_name" not in line:
        description = (
            "The line is neither a review nor the header of a labels file. Expected a file of 'errata review export': "
            "JSON lines, or CSV with the header file_name,target,labels,problematic. Labels can also be JSON."
        )
        raise InvalidRow(
            f"Line {number}: {description} Nothing was imported.", violations=[Violation("row", description, number)]
        )
    return bool(line)


def _read_labels_file(
    stores: Stores, dataset: str, file: BinaryIO, reviewer: str, is_authenticated: bool
) -> tuple[Sequence[Review], int]:
    """Return the new reviews of a labels file, and the number of images with nothing new."""
    with labels_path(file) as path:
        try:
            return find_statements(stores, dataset, path, reviewer, is_authenticated)
        except InvalidEvidence as error:
            raise InvalidRow(f"{error.message} Nothing was imported.", violations=error.violations) from error


def _read_reviews(reader: "_Reader", file: BinaryIO) -> tuple[Sequence[Review], int]:
    """Return the new reviews of JSON lines in ascending order of time, and the number of existing ones."""
    for number, line in enumerate(_read_lines(file), 1):
        if number > MAX_IMPORT_LINES:
            raise TooLarge(
                f"The file has more than {MAX_IMPORT_LINES:,} lines. Import several smaller files.", field="chunk"
            )
        if line.strip():
            reader.add(number, line)
    reader.check()
    # A review comes before those that undo it.
    return sorted(reader.new.values(), key=lambda review: review.time), reader.num_existing


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
            elif _is_same(review, before):
                self.num_existing += 1
            else:
                raise InvalidRequest(f"The ID {review.id} belongs to another review. Remove the ID.", field="id")
        except ErrataError as error:
            self._add_problem(number, error.violations[0].field if error.violations else "row", str(error))

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
        return (
            ""
            if undone.time < review.time
            else f"The undone review {undone.id} is not older than this review. Correct the time."
        )

    def _add_problem(self, number: int, field: str, description: str) -> None:
        self._num_problems += 1
        if len(self._violations) < MAX_VIOLATIONS:
            self._violations.append(Violation(field, description[:300], number))

    def _parse(self, line: bytes) -> Review:
        """Return the review of a line with the IDs of its classes; raise an error for an invalid one."""
        review = parse_review(line, self._default)
        names = ("dataset", "image", "confirmed", "added", "rejected", "problematic", "reason", "comment", "undoes")
        fields = {name: getattr(review, name) for name in names}
        request = ReviewRequest(**fields, reviewer=review.reviewer, prefer_ids=True)  # exported classes are IDs
        check_texts(request)
        if review.time > self._latest:
            raise InvalidRequest(f"The time {review.time.isoformat()} is in the future. Correct it.", field="time")
        base = self._bundles.get(review.evidence)
        draft = replace(
            review,
            reviewer=review.reviewer.strip(),
            is_authenticated=self._keep_authentication and review.is_authenticated,
            time=review.time.astimezone(UTC),
        )
        has_hints = len(self._violations) < MAX_VIOLATIONS  # further descriptions are not shown
        return add_classes(draft, request, base or self._default, is_base=base is not None, has_hints=has_hints)


def _read_lines(content: Readable) -> Iterator[bytes]:
    """Yield the lines of a file; raise TooLarge for a large file or line."""
    size, rest = 0, b""
    while chunk := content.read(CHUNK):
        size += len(chunk)
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
        if size > MAX_BYTES or len(rest) > MAX_RECORD:
            raise TooLarge(
                f"The file has more than {MAX_BYTES >> 20} MiB, or a line more than {MAX_RECORD >> 20} MiB. "
                "Import several smaller files.",
                field="chunk",
            )
    yield rest


def _is_same(review: Review, before: Review) -> bool:
    """Return whether a review is the stored one with its ID. Two archives can have an undo with other times."""
    if review.undoes:
        before = replace(before, time=review.time, evidence=review.evidence, comment=review.comment)
    return replace(review, is_authenticated=before.is_authenticated) == before
