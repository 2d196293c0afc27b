"""The evicting limiter: a block over the limit evicts the oldest block, or is refused if no block may be evicted."""

import asyncio
import time

import pytest
from errata.errors import TooBusy

from service.evicting_limiter import EvictingLimiter

DEADLINE = 10.0  # seconds


async def occupy(limiter: EvictingLimiter, entered: "list[int]", number: int) -> str:
    """Occupy a slot until the limiter ends this block."""
    try:
        async with limiter.slot():
            entered.append(number)
            await asyncio.sleep(DEADLINE)
    except TimeoutError:
        return "ended"
    except TooBusy:
        return "refused"
    return "stayed"


async def test_block_over_the_limit_evicts_the_oldest() -> None:
    limiter, entered = EvictingLimiter(2), list[int]()
    blocks = [asyncio.create_task(occupy(limiter, entered, number)) for number in range(5)]

    done, open_blocks = await asyncio.wait(blocks, timeout=0.2)

    assert entered == [0, 1, 2, 3, 4]
    assert done == set(blocks[:3])
    assert open_blocks == set(blocks[3:])
    assert [await block for block in blocks[:3]] == ["ended"] * 3
    limiter.evict_all()
    assert await asyncio.gather(*blocks[3:]) == ["ended"] * 2


async def test_ended_block_frees_its_slot() -> None:
    limiter, entered = EvictingLimiter(1), list[int]()
    for _ in range(3):
        async with limiter.slot():
            pass
    with pytest.raises(ValueError, match="error of the block"):
        async with limiter.slot():
            raise ValueError("error of the block")
    block = asyncio.create_task(occupy(limiter, entered, 1))
    await asyncio.sleep(0.05)

    assert not block.done()
    limiter.evict_all()
    assert await block == "ended"


async def test_block_ends_after_the_timeout() -> None:
    assert await occupy(EvictingLimiter(1, timeout=0.02), [], 1) == "ended"


async def test_block_can_time_out_and_be_evicted_at_the_same_time() -> None:
    limiter, entered, failures = EvictingLimiter(2, timeout=0.05), list[int](), list[object]()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: failures.append(context))
    block = asyncio.create_task(occupy(limiter, entered, 1))
    await asyncio.sleep(0)
    loop.call_later(0.06, limiter.evict_all)
    time.sleep(0.1)  # now both are due

    assert await block == "ended"
    assert failures == []


async def test_recent_block_is_not_evicted_and_the_next_block_is_rejected() -> None:
    limiter, entered = EvictingLimiter(1, min_seconds=0.2), list[int]()
    first = asyncio.create_task(occupy(limiter, entered, 1))
    await asyncio.sleep(0)

    assert await occupy(limiter, entered, 2) == "refused"
    await asyncio.sleep(0.3)
    third = asyncio.create_task(occupy(limiter, entered, 3))

    assert await first == "ended"
    assert entered == [1, 3]
    limiter.evict_all()
    assert await third == "ended"
