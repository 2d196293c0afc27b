"""Adaptive batch sizes: a batch takes about the target time for models of any speed."""

from hypothesis import given
from hypothesis import strategies as st

from service.predictions.models.batch_size import TARGET_SECONDS, AdaptiveBatchSize


def test_a_fast_model_gets_the_largest_batch_soon() -> None:
    batch_size = AdaptiveBatchSize(64)
    sizes = []
    for _ in range(4):
        sizes.append(batch_size.size)
        batch_size.update(batch_size.size, 0.01 * batch_size.size)

    assert sizes == [8, 32, 64, 64]  # at 0.01 s per image, 70 images take 0.7 s


def test_a_slow_model_gets_small_batches_and_recovers() -> None:
    batch_size = AdaptiveBatchSize(64)
    batch_size.update(8, 4.0)  # 0.5 s per image
    assert batch_size.size == 1
    batch_size.update(1, 0.1)
    assert batch_size.size == 4


def test_sizes_are_powers_of_two() -> None:
    batch_size = AdaptiveBatchSize(100)
    sizes = set()
    for seconds in (0.011, 0.013, 0.017, 0.02, 0.03, 0.05, 0.1):
        for _ in range(3):
            batch_size.update(batch_size.size, batch_size.size * seconds)
        sizes.add(batch_size.size)

    assert sizes == {32, 16, 8, 4}  # 63, 53, 41, 35, 23, 14, and 7 images take 0.7 s


def test_a_small_limit_is_respected() -> None:
    batch_size = AdaptiveBatchSize(3)
    batch_size.update(3, 0.0)

    assert batch_size.size == 3


@given(st.integers(1, 256), st.lists(st.floats(1e-4, 2.0), min_size=5, max_size=20))
def test_a_batch_that_fits_is_found_at_any_speed(limit: int, seconds_an_image: list[float]) -> None:
    batch_size = AdaptiveBatchSize(limit)
    for item in seconds_an_image:
        batch_size.update(batch_size.size, batch_size.size * item)
        assert 1 <= batch_size.size <= limit
        assert batch_size.size == 1 or batch_size.size * item <= TARGET_SECONDS * 1.001
