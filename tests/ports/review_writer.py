"""Create reviews without end, as an API process does, and print the ID of each after it is stored.

Arguments: the location of the reviews, the data folder, and the name of the reviewer.
"""

import sys
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from service.analyses.reviews import ReviewRequest, create_review
from service.archive.files import open_files
from service.archive.record_log import RecordLog
from service.domain import Review, review_keys
from service.evidence.repository import EvidenceRepository


def main() -> None:
    """Run the process until it is killed."""
    location, data_dir, reviewer = sys.argv[1:]
    repository = EvidenceRepository({}, Path(data_dir))
    log = RecordLog(open_files(location), Review, review_keys)
    stores = cast(Any, SimpleNamespace(evidence=repository, reviews=log, events=None, clock=lambda: datetime.now(UTC)))
    images = repository.find("demo", "").judged_names
    for number in count():
        request = ReviewRequest("demo", images[number % len(images)], comment=f"{number} " * 200)
        sys.stdout.write(f"{create_review(stores, request, reviewer).id}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
