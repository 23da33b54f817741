"""Room for messages, and the time that one may take to come."""

import asyncio

import grpc.aio
import pytest

from edgeexit.daemon.grpc.intake import SMALL_BYTES, Intake
from edgeexit.errors import DeadlinePassed, MalformedMessage, TooLarge


def one(message):
    async def read():
        return message

    return read


def none():
    return one(grpc.aio.EOF)


async def never():
    await asyncio.Event().wait()


def intake(each=10, all_bytes=20, read_s=30.0):
    return Intake(each_bytes=each, all_bytes=all_bytes, read_s=read_s)


def test_a_message_waits_until_there_is_room_for_the_longest():
    order = []

    async def request(room, name, size, end):
        async with room.message(one(bytes(size)), small=False):
            order.append(name)
            await end.wait()

    async def main():
        room, end, other = intake(), asyncio.Event(), asyncio.Event()
        first = asyncio.ensure_future(request(room, "first", 10, end))
        second = asyncio.ensure_future(request(room, "second", 3, other))
        third = asyncio.ensure_future(request(room, "third", 1, other))
        for _ in range(5):
            await asyncio.sleep(0)
        assert order == ["first", "second"]
        end.set()
        other.set()
        await asyncio.gather(first, second, third)

    asyncio.run(main())
    assert order == ["first", "second", "third"]


def test_small_messages_leave_room_for_others():
    async def main():
        room = intake(all_bytes=30)
        async with (
            room.message(one(b"a"), small=False),
            room.message(one(b"b"), small=False),
            room.message(one(bytes(10)), small=False) as last,
        ):
            return last

    assert asyncio.run(asyncio.wait_for(main(), 10.0)) == bytes(10)


def test_who_leaves_while_waiting_gives_its_turn_on():
    async def request(room, end):
        async with room.message(one(bytes(10)), small=False):
            await end.wait()

    async def main():
        room, end, done = intake(all_bytes=10), asyncio.Event(), asyncio.Event()
        done.set()
        first = asyncio.ensure_future(request(room, end))
        await asyncio.sleep(0)
        leaving = asyncio.ensure_future(request(room, done))
        staying = asyncio.ensure_future(request(room, done))
        await asyncio.sleep(0)
        end.set()
        for _ in range(3):  # until the first has ended and its room was offered
            await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait_for(asyncio.gather(first, staying), 10.0)

    asyncio.run(main())


def test_a_message_that_does_not_come_is_not_waited_for():
    async def main():
        async with intake(read_s=0.01).message(never, small=False):
            pass

    with pytest.raises(DeadlinePassed, match=r"within 0\.01 s"):
        asyncio.run(main())


def test_a_client_that_leaves_is_not_taken_for_one_that_is_late():
    async def read():
        async with intake().message(never, small=False):
            pass

    async def main():
        task = asyncio.ensure_future(read())
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())


def test_room_is_given_back_after_an_error():
    async def refused(room, read, small):
        async with room.message(read, small=small):
            pass

    async def main():
        room = intake(each=2 * SMALL_BYTES, all_bytes=2 * SMALL_BYTES)
        with pytest.raises(MalformedMessage, match="no message"):
            await refused(room, none(), False)
        with pytest.raises(TooLarge, match="65537 bytes, 65536 are allowed"):
            await refused(room, one(bytes(SMALL_BYTES + 1)), True)
        async with room.message(one(b"fine"), small=True) as data:
            return data

    assert asyncio.run(asyncio.wait_for(main(), 10.0)) == b"fine"
