"""How many images make a batch on a CPU: as many as take a moment, so that progress and cancelling don't wait."""

SECONDS = 0.7
FIRST = 8  # images, before anything is known
GROWTH = 4


class AdaptiveBatchSize:
    """The size of the next batch, from how long the last one took."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.size = min(FIRST, limit)

    def took(self, images: int, seconds: float) -> None:
        """Choose the next size: the limit, or a power of two below it, since torch prepares anew for each size."""
        fits = min(int(images * SECONDS / max(seconds, 1e-6)), self.size * GROWTH)
        self.size = self._limit if fits >= self._limit else 1 << max(fits, 1).bit_length() - 1
