"""The evicting limiter: one block more than its limit evicts the oldest, or is refused if that one is too young."""

import asyncio
import time

import pytest
from errata.errors import TooBusy

from service.evicting_limiter import EvictingLimiter

SOON = 10.0  # seconds; a deadline, not a measure


async def hold(limiter: EvictingLimiter, entered: "list[int]", number: int) -> str:
    """Hold a slot until the limiter ends this block."""
    try:
        async with limiter.slot():
            entered.append(number)
            await asyncio.sleep(SOON)
    except TimeoutError:
        return "ended"
    except TooBusy:
        return "refused"
    return "stayed"


async def test_one_block_too_many_evicts_the_oldest() -> None:
    limiter, entered = EvictingLimiter(2), list[int]()
    blocks = [asyncio.create_task(hold(limiter, entered, number)) for number in range(5)]

    done, open_ = await asyncio.wait(blocks, timeout=0.2)

    assert entered == [0, 1, 2, 3, 4]
    assert done == set(blocks[:3])
    assert open_ == set(blocks[3:])
    assert [await block for block in blocks[:3]] == ["ended"] * 3
    limiter.evict_all()
    assert await asyncio.gather(*blocks[3:]) == ["ended"] * 2


async def test_a_block_that_ends_frees_its_slot() -> None:
    limiter, entered = EvictingLimiter(1), list[int]()
    for _ in range(3):
        async with limiter.slot():
            pass
    with pytest.raises(ValueError, match="own"):
        async with limiter.slot():
            raise ValueError("own")
    block = asyncio.create_task(hold(limiter, entered, 1))
    await asyncio.sleep(0.05)

    assert not block.done()
    limiter.evict_all()
    assert await block == "ended"


async def test_a_block_ends_after_the_timeout() -> None:
    assert await hold(EvictingLimiter(1, timeout=0.02), [], 1) == "ended"


async def test_a_block_that_times_out_may_be_evicted_at_the_same_time() -> None:
    limiter, entered, failures = EvictingLimiter(2, timeout=0.05), list[int](), list[object]()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: failures.append(context))
    block = asyncio.create_task(hold(limiter, entered, 1))
    await asyncio.sleep(0)
    loop.call_later(0.06, limiter.evict_all)
    time.sleep(0.1)  # both are due now, one after the other

    assert await block == "ended"
    assert failures == []


async def test_a_young_block_stays_and_one_block_too_many_is_refused() -> None:
    limiter, entered = EvictingLimiter(1, min_seconds=0.2), list[int]()
    first = asyncio.create_task(hold(limiter, entered, 1))
    await asyncio.sleep(0)

    assert await hold(limiter, entered, 2) == "refused"
    await asyncio.sleep(0.3)
    third = asyncio.create_task(hold(limiter, entered, 3))

    assert await first == "ended"
    assert entered == [1, 3]
    limiter.evict_all()
    assert await third == "ended"
