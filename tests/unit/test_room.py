"""Room for so many blocks: one more ends the oldest, but for those that are spared, which it can't have."""

import asyncio
import time

import pytest

from service.errors import TooBusy
from service.room import Room

SOON = 10.0  # seconds; a deadline, not a measure


async def hold(room: Room, entered: "list[int]", number: int) -> str:
    """Stay in a room until it ends this block."""
    try:
        async with room.taken():
            entered.append(number)
            await asyncio.sleep(SOON)
    except TimeoutError:
        return "ended"
    except TooBusy:
        return "refused"
    return "stayed"


async def test_one_more_ends_the_oldest() -> None:
    room, entered = Room(2), list[int]()
    blocks = [asyncio.create_task(hold(room, entered, number)) for number in range(5)]

    done, open_ = await asyncio.wait(blocks, timeout=0.2)

    assert entered == [0, 1, 2, 3, 4]
    assert done == set(blocks[:3])
    assert open_ == set(blocks[3:])
    assert [await block for block in blocks[:3]] == ["ended"] * 3
    room.end_all()
    assert await asyncio.gather(*blocks[3:]) == ["ended"] * 2


async def test_a_block_that_ends_leaves_room() -> None:
    room, entered = Room(1), list[int]()
    for _ in range(3):
        async with room.taken():
            pass
    with pytest.raises(ValueError, match="own"):
        async with room.taken():
            raise ValueError("own")
    block = asyncio.create_task(hold(room, entered, 1))
    await asyncio.sleep(0.05)

    assert not block.done()
    room.end_all()
    assert await block == "ended"


async def test_a_block_has_so_many_seconds() -> None:
    assert await hold(Room(1, seconds=0.02), [], 1) == "ended"


async def test_a_block_that_is_about_to_end_by_itself_may_be_ended() -> None:
    room, entered, failures = Room(2, seconds=0.05), list[int](), list[object]()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: failures.append(context))
    block = asyncio.create_task(hold(room, entered, 1))
    await asyncio.sleep(0)
    loop.call_later(0.06, room.end_all)
    time.sleep(0.1)  # both are due now, one after the other

    assert await block == "ended"
    assert failures == []


async def test_who_is_spared_stays_and_one_more_is_refused() -> None:
    room, entered = Room(1, spared=0.2), list[int]()
    first = asyncio.create_task(hold(room, entered, 1))
    await asyncio.sleep(0)

    assert await hold(room, entered, 2) == "refused"
    await asyncio.sleep(0.3)
    third = asyncio.create_task(hold(room, entered, 3))

    assert await first == "ended"
    assert entered == [1, 3]
    room.end_all()
    assert await third == "ended"
