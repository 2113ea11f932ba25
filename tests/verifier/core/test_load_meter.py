"""The busy share of an interval, and the reports of it."""

import pytest
from msgspec.structs import replace

from goodspeed.decoding.mode import Mode
from goodspeed.protocol.messages import Load, Message
from goodspeed.testing.virtual_verifier import VirtualVerifier, hello, open_request
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.core.load_meter import LoadMeter


def test_the_busy_share_is_that_of_the_time_between_two_reports() -> None:
    meter = LoadMeter()
    meter.on_report(100.0)
    assert meter.busy_permille == 0
    meter.on_step(1, 1, 0.25)
    meter.on_step(1, 1, 0.25)
    meter.on_report(102.0)
    assert meter.busy_permille == 250
    meter.on_report(103.0)
    assert meter.busy_permille == 0


def test_a_step_that_is_longer_than_the_interval_counts_as_all_of_it() -> None:
    meter = LoadMeter()
    meter.on_report(100.0)
    meter.on_step(1, 1, 5.0)
    meter.on_report(101.0)
    assert meter.busy_permille == 1000


def test_there_is_news_until_an_idle_interval_was_reported() -> None:
    meter = LoadMeter()
    meter.on_report(100.0)
    assert not meter.has_news
    meter.on_step(1, 1, 0.5)
    assert meter.has_news
    meter.on_report(101.0)
    assert meter.has_news
    meter.on_report(102.0)
    assert not meter.has_news


@pytest.mark.parametrize(
    ("load", "utilisation"),
    [((0, 0, 0, 0), 0.0), ((500, 4, 4, 9), 0.5), ((1000, 4, 4, 9), 1.0), ((1000, 6, 4, 9), 1.5), ((300, 1, 0, 0), 0.3)],
)
def test_queue_utilisation_is_above_1_where_streams_are_left_over(
    load: tuple[int, int, int, int], utilisation: float
) -> None:
    assert Load(0, 0, 0, 1, *load).queue_utilisation == pytest.approx(utilisation)


def test_reports_have_the_last_batch_and_end_when_the_engine_has_been_idle() -> None:
    """Three streams in steps of two, 12 ms each, and no limit but theirs: the engine is always busy."""
    config = VerifierCoreConfig(max_batch_streams=2, prefill_chunk=16)
    verifier = VirtualVerifier(config, step_s=lambda _: 0.012)
    received: list[Message] = []
    conn = verifier.connect(received.append)
    verifier.deliver(conn, hello("edge"))
    for stream in range(3):
        verifier.deliver(conn, replace(open_request(stream, max_tokens=250), mode=Mode.TARGET_ONLY))
    verifier.run(3.0)
    busy = [message for message in received if isinstance(message, Load)][-1]
    assert busy.busy_permille > 980
    assert (busy.waiting_streams, busy.batch_streams, busy.batch_tokens) == (3, 2, 2)
    assert busy.queue_utilisation == pytest.approx(1.5, abs=0.05)
    verifier.run(60.0)
    loads = [message for message in received if isinstance(message, Load)]
    assert [load.busy_permille for load in loads[-1:]] == [0]
    assert verifier.core.wake_at() is None
    verifier.run(10.0)
    assert len([message for message in received if isinstance(message, Load)]) == len(loads)
