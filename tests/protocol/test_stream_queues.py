"""The table of streams by state."""

from enum import IntEnum

from goodspeed.protocol.stream_queues import StreamQueues


class Light(IntEnum):
    RED = 0
    GREEN = 1


def test_stream_that_changes_its_state_is_the_last_of_the_new_queue() -> None:
    streams = StreamQueues[Light, str](Light)
    for key, stream in enumerate("abc"):
        streams.put(key, stream, Light.RED)
    streams.put(2, "c", Light.GREEN)
    streams.put(0, "a", Light.GREEN)
    assert list(streams.queue(Light.RED).values()) == ["b"]
    assert list(streams.queue(Light.GREEN).values()) == ["c", "a"]
    assert streams.state(0) is Light.GREEN


def test_stream_that_enters_its_own_state_again_goes_to_the_end() -> None:
    streams = StreamQueues[Light, str](Light)
    for key, stream in enumerate("ab"):
        streams.put(key, stream, Light.RED)
    streams.put(0, "a", Light.RED)
    assert list(streams.queue(Light.RED)) == [1, 0]


def test_iteration_keeps_the_order_of_addition_whatever_the_states() -> None:
    streams = StreamQueues[Light, str](Light)
    for key, stream in enumerate("abc"):
        streams.put(key, stream, Light.RED)
    streams.put(0, "a", Light.GREEN)
    assert list(streams) == ["a", "b", "c"]


def test_removed_stream_is_in_no_queue() -> None:
    streams = StreamQueues[Light, str](Light)
    streams.put(7, "a", Light.GREEN)
    streams.remove(7)
    assert (len(streams), streams.get(7), streams.state(7)) == (0, None, None)
    assert not streams.queue(Light.GREEN)


def test_stream_of_a_known_key_replaces_the_one_before() -> None:
    streams = StreamQueues[Light, str](Light)
    streams.put(0, "a", Light.RED)
    streams.put(0, "b", Light.GREEN)
    assert (list(streams), streams.get(0)) == (["b"], "b")
    assert not streams.queue(Light.RED)
