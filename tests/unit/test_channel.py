"""The bounded queue between two threads."""

from __future__ import annotations

import threading
import time

import pytest
from toy_line import wait_until

from edge.channel import OVERTAKEN, Channel, ChannelClosedError
from qc.errors import FaultError, UsageError


def test_items_come_in_order_and_end_after_close() -> None:
    channel: Channel[int] = Channel(4, "wait")
    for i in range(3):
        assert channel.put(i)
    channel.close()
    assert list(channel) == [0, 1, 2] and list(channel) == []


def test_latest_drops_the_oldest_and_counts_it() -> None:
    drops: list[tuple[int, str]] = []
    channel: Channel[int] = Channel(2, "latest", lambda item, cause: drops.append((item, cause)))
    for i in range(5):
        channel.put(i)
    channel.close()
    assert drops == [(0, OVERTAKEN), (1, OVERTAKEN), (2, OVERTAKEN)] and channel.dropped == 3
    assert list(channel) == [3, 4]


def test_on_drop_may_use_the_channel() -> None:
    channel: Channel[int] = Channel(1, "latest", lambda item, cause: channel.close())
    channel.put(0)
    channel.put(1)  # would hang if told under the lock of another thread's turn
    with pytest.raises(ChannelClosedError):
        channel.put(2)
    assert list(channel) == [1]


def test_wait_holds_the_producer_until_there_is_room() -> None:
    channel: Channel[int] = Channel(2, "wait")
    done: list[int] = []

    def produce() -> None:
        for i in range(6):
            channel.put(i)
            done.append(i)
        channel.close()

    producer = threading.Thread(target=produce)
    producer.start()
    wait_until(lambda: len(done) == 2)
    time.sleep(0.05)
    assert done == [0, 1], "the third put waits"
    assert list(channel) == [0, 1, 2, 3, 4, 5] and channel.dropped == 0
    producer.join(2)
    assert not producer.is_alive()


def test_put_gives_up_in_time_without_taking_the_item() -> None:
    channel: Channel[int] = Channel(1, "wait")
    channel.put(0)
    start = time.monotonic()
    assert channel.put(1, timeout_s=0.05) is False
    assert channel.put(1, timeout_s=0) is False
    assert 0.04 < time.monotonic() - start < 1
    channel.close()
    assert list(channel) == [0]


def test_put_after_close_is_an_error() -> None:
    for policy in ("wait", "latest"):
        channel: Channel[int] = Channel(1, policy)  # type: ignore[arg-type]
        channel.close()
        with pytest.raises(ChannelClosedError, match="the channel is closed"):
            channel.put(1)


def test_close_frees_a_put_that_waits() -> None:
    channel: Channel[int] = Channel(1, "wait")
    channel.put(0)
    freed: list[FaultError] = []

    def produce() -> None:
        try:
            channel.put(1)
        except ChannelClosedError as error:
            freed.append(error)

    producer = threading.Thread(target=produce)
    producer.start()
    time.sleep(0.05)
    channel.close()
    producer.join(2)
    assert not producer.is_alive() and len(freed) == 1


def test_close_frees_a_consumer_that_waits() -> None:
    channel: Channel[int] = Channel(1, "wait")
    consumer = threading.Thread(target=lambda: list(channel))
    consumer.start()
    time.sleep(0.05)
    channel.close()
    consumer.join(2)
    assert not consumer.is_alive()


def test_nothing_is_lost_or_doubled_between_many_threads() -> None:
    channel: Channel[int] = Channel(3, "wait")
    taken: list[list[int]] = [[], []]
    consumers = [threading.Thread(target=lambda k=k: taken[k].extend(channel)) for k in (0, 1)]
    producers = [
        threading.Thread(target=lambda k=k: [channel.put(k * 500 + i) for i in range(500)])
        for k in range(3)
    ]
    for thread in consumers + producers:
        thread.start()
    for producer in producers:
        producer.join(10)
    channel.close()
    for consumer in consumers:
        consumer.join(10)
    assert sorted(taken[0] + taken[1]) == list(range(1500))


def test_a_wrong_size_or_policy_is_refused() -> None:
    with pytest.raises(UsageError, match="expected at least 1; found 0"):
        Channel(0, "wait")
    with pytest.raises(UsageError, match="expected wait or latest; found 'newest'"):
        Channel(1, "newest")  # type: ignore[arg-type]


def test_lanes_take_turns_and_keep_their_room() -> None:
    """A full lane drops its own oldest, and what waits in another is not behind it."""
    drops: list[str] = []
    channel: Channel[str] = Channel(2, "latest", lambda item, cause: drops.append(item))
    for item in ("a1", "a2", "a3", "a4"):
        channel.put(item, lane="a")
    channel.put("b1", lane="b")
    assert len(channel) == 3 and drops == ["a1", "a2"]
    channel.close()
    assert list(channel) == ["a3", "b1", "a4"] and channel.ended


def test_a_lane_that_waits_does_not_hold_another() -> None:
    channel: Channel[str] = Channel(1, "wait")
    channel.put("a1", lane="a")
    assert channel.put("a2", 0.01, lane="a") is False
    assert channel.put("b1", 0.01, lane="b") is True


def test_take_gives_up_after_its_time_and_at_the_end() -> None:
    channel: Channel[int] = Channel(1, "wait")
    start = time.monotonic()
    assert channel.take(0.05) is None and 0.04 < time.monotonic() - start < 2
    assert not channel.ended
    channel.put(7)
    channel.close()
    assert not channel.ended and channel.take(0) == 7 and channel.ended
    assert channel.take() is None


def test_a_put_between_two_threads_wakes_the_one_that_takes() -> None:
    channel: Channel[int] = Channel(1, "latest")
    taken: list[int | None] = []
    taker = threading.Thread(target=lambda: taken.append(channel.take(5)))
    taker.start()
    time.sleep(0.02)
    channel.put(3)
    taker.join(2)
    assert taken == [3]


def test_a_put_that_waits_is_woken_when_half_the_room_is_free() -> None:
    """Woken for each place, two threads would take turns for every item."""
    channel: Channel[int] = Channel(4, "wait")
    for n in range(4):
        channel.put(n)
    done = threading.Event()
    thread = threading.Thread(target=lambda: (channel.put(4), done.set()))
    thread.start()
    time.sleep(0.05)
    assert channel.take() == 0 and not done.wait(0.1)
    assert channel.take() == 1 and done.wait(2)
    thread.join(2)
    assert [channel.take(0.1) for _ in range(3)] == [2, 3, 4]


def test_a_put_with_a_time_takes_room_that_it_was_not_woken_for() -> None:
    channel: Channel[int] = Channel(4, "wait")
    for n in range(4):
        channel.put(n)
    taker = threading.Timer(0.05, channel.take)
    taker.start()
    assert channel.put(4, 0.3)
    taker.join()
