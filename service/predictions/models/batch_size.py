"""Batch sizes on a CPU. A batch takes less than a second, so that progress and cancellation respond quickly."""

TARGET_SECONDS = 0.7
INITIAL_SIZE = 8  # images
MAX_GROWTH = 4


class AdaptiveBatchSize:
    """Chooses the size of the next batch from the duration of the last one."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.size = min(INITIAL_SIZE, limit)

    def update(self, images: int, seconds: float) -> None:
        """Set the next size to the limit or to a power of two below it. Few distinct sizes save time in torch."""
        fitting = min(int(images * TARGET_SECONDS / max(seconds, 1e-6)), self.size * MAX_GROWTH)
        self.size = self._limit if fitting >= self._limit else 1 << max(fitting, 1).bit_length() - 1
