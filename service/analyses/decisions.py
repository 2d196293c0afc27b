"""A cache of the decisions that follow from the reviews of each data set."""

import threading
from collections.abc import Mapping, Sequence

from service.archive.record_log import RecordLog
from service.domain import Decision, Review, active_reviews, decide


class DecisionCache:
    """Caches the decisions on each data set, and updates only images with new or removed reviews. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Sequence[Review], Mapping[str, Decision]]] = {}

    def get(self, log: RecordLog[Review], dataset: str) -> Mapping[str, Decision]:
        """Return the decision on each reviewed image of a data set, by the name of the image.

        Images whose reviews are all undone are not included. A review undoes only reviews of the same image.

        Raises:
            Unavailable: The archive cannot be read.
        """
        with self._lock:
            reviews = log.find((dataset,))
            known_reviews, known = self._known.get(dataset, ((), {}))
            if reviews == known_reviews:
                return known
            before, after = ({review.id: review for review in some} for some in (known_reviews, reviews))
            changed = {(before.get(key) or after[key]).image for key in before.keys() ^ after.keys()}
            decisions = dict(known)
            for image in changed:
                decisions.pop(image, None)
                if active := active_reviews(log.find((dataset, image))):
                    decisions[image] = decide(active)
            self._known[dataset] = reviews, decisions
            return decisions
