"""The link shaper: delay, jitter, queueing, loss, outages and traces are as configured, and order is kept."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodspeed.config import from_mapping
from goodspeed.errors import ConfigError
from goodspeed.protocol.link_config import LinkConditions, LinkConfig, Outage, read_trace
from goodspeed.protocol.link_shaper import PACKET_BYTES, LinkShaper, make_link_shapers


def link(config: LinkConfig, seed: int = 0) -> LinkShaper:
    return LinkShaper(config, np.random.default_rng(seed))


def delays(config: LinkConfig, num_messages: int, interval_s: float, num_bytes: int = 60) -> list[float]:
    """The delays of messages that are `interval_s` apart, so that none waits for another."""
    shaped = link(config)
    return [shaped.delivery(num_bytes, i * interval_s) - i * interval_s for i in range(num_messages)]


def test_no_emulation_is_no_delay() -> None:
    assert delays(LinkConfig(), 3, 1.0) == [0.0, 0.0, 0.0]


def test_each_direction_takes_half_of_the_round_trip() -> None:
    assert delays(LinkConfig(rtt_ms=40), 2, 1.0) == pytest.approx([0.02, 0.02])


def test_jitter_keeps_the_mean_and_has_the_stated_spread() -> None:
    """20,000 independent draws: the mean's standard error is 0.2% of it; the bounds are five of them."""
    drawn = np.array(delays(LinkConfig(rtt_ms=40, jitter=0.3, jitter_memory_ms=1), 20_000, 1.0))
    assert abs(drawn.mean() / 0.02 - 1) < 5 * 0.3 / math.sqrt(20_000)
    assert abs(drawn.std() / drawn.mean() / 0.3 - 1) < 0.05
    sigma = math.sqrt(math.log1p(0.3**2))
    for quantile, normal in ((0.05, -1.645), (0.5, 0.0), (0.95, 1.645)):
        assert np.quantile(drawn, quantile) == pytest.approx(0.02 * math.exp(sigma * normal - sigma**2 / 2), rel=0.02)


@pytest.mark.parametrize(("interval_s", "correlation"), [(0.01, math.exp(-0.1)), (0.1, math.exp(-1.0)), (1.0, 0.0)])
def test_jitter_is_correlated_over_its_memory(interval_s: float, correlation: float) -> None:
    """The logarithm of the delay is an AR(1) process in time; 20,000 draws, tolerance above four standard errors."""
    config = LinkConfig(rtt_ms=0.001, jitter=0.3, jitter_memory_ms=100)  # so short that nothing waits
    drawn = np.log(delays(config, 20_000, interval_s))
    assert np.corrcoef(drawn[:-1], drawn[1:])[0, 1] == pytest.approx(correlation, abs=0.06)


def test_bytes_queue_behind_earlier_bytes() -> None:
    shaped = link(LinkConfig(rtt_ms=20, bandwidth_mbps=8))  # a byte takes a microsecond
    assert shaped.delivery(1000, 0.0) == pytest.approx(0.011)
    assert shaped.delivery(1000, 0.0) == pytest.approx(0.012)
    assert shaped.delivery(500, 0.0015) == pytest.approx(0.0125)
    assert shaped.delivery(500, 1.0) == pytest.approx(1.0105)  # the link is free again


def test_a_lost_packet_costs_retransmission_timeouts() -> None:
    """Pr(one loss or more) = 0.1, of two or more 0.01: 20,000 draws, bounds at five standard errors."""
    drawn = np.array(delays(LinkConfig(loss=0.1, retransmit_ms=200), 20_000, 1000.0))
    assert abs((drawn > 0.1).mean() - 0.1) < 5 * math.sqrt(0.1 * 0.9 / 20_000)
    assert abs((drawn > 0.5).mean() - 0.01) < 5 * math.sqrt(0.01 * 0.99 / 20_000)
    assert set(np.round(drawn, 6)) <= {0.0, 0.2, 0.6, 1.4, 3.0, 6.2, 12.6, 25.4, 51.0}  # the timeout doubles


def test_a_longer_message_loses_a_packet_more_often() -> None:
    drawn = np.array(delays(LinkConfig(loss=0.1), 20_000, 1000.0, num_bytes=4 * PACKET_BYTES))
    expected = 1 - 0.9**4
    assert abs((drawn > 0).mean() - expected) < 5 * math.sqrt(expected * (1 - expected) / 20_000)


def test_nothing_leaves_during_an_outage() -> None:
    shaped = LinkShaper(LinkConfig(rtt_ms=20, outages=(Outage(1.0, 0.5),)), np.random.default_rng(0), start=100.0)
    assert shaped.delivery(60, 100.5) == pytest.approx(100.51)
    assert shaped.delivery(60, 101.0) == pytest.approx(101.51)
    assert shaped.delivery(60, 101.4) == pytest.approx(101.51)
    assert shaped.delivery(60, 101.6) == pytest.approx(101.61)


@given(
    st.builds(
        LinkConfig,
        rtt_ms=st.floats(0, 300),
        jitter=st.floats(0, 2),
        bandwidth_mbps=st.just(0.0) | st.floats(0.01, 10),
        loss=st.floats(0, 0.5),
        outages=st.lists(st.builds(Outage, st.floats(0, 1), st.floats(0, 1)), max_size=3).map(tuple),
    ),
    st.lists(st.tuples(st.integers(1, 100_000), st.floats(0, 0.2)), max_size=30),
)
def test_bytes_arrive_after_they_were_sent_and_in_order(config: LinkConfig, messages: list[tuple[int, float]]) -> None:
    shaped, now, last = link(config), 0.0, 0.0
    for num_bytes, interval_s in messages:
        now += interval_s
        arrival = shaped.delivery(num_bytes, now)
        assert math.isfinite(arrival)
        assert arrival >= max(now, last)
        last = arrival


def test_the_same_seed_gives_the_same_link_and_the_directions_differ() -> None:
    config = LinkConfig(rtt_ms=40, jitter=0.5)
    (up, down), (again, _) = make_link_shapers(config, 7, 0.0), make_link_shapers(config, 7, 0.0)
    first = [up.delivery(60, float(i)) for i in range(5)]
    assert first == [again.delivery(60, float(i)) for i in range(5)]
    assert first != [down.delivery(60, float(i)) for i in range(5)]


def test_a_trace_file_replaces_the_constants(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("at_s,rtt_ms,bandwidth_mbps\n0,20,0\n10,100,8\n")
    assert read_trace(path) == [LinkConditions(0, 20), LinkConditions(10, 100, 8)]
    up, _ = make_link_shapers(LinkConfig(rtt_ms=999, trace_file=str(path)), 0, start=5.0)
    assert up.delivery(1000, 5.0) == pytest.approx(5.01)
    assert up.delivery(1000, 14.9) == pytest.approx(14.91)
    assert up.delivery(1000, 15.0) == pytest.approx(15.051)
    assert up.delivery(1000, 99.0) == pytest.approx(99.051)  # the last row stays in force


@pytest.mark.parametrize(
    "contents", ["", "at_s,rtt_ms\n", "at_s,rtt_ms\n1,2\n1,3\n", "at_s,rtt_ms\n1,x\n", "at_s,ping\n1,2\n", "at_s\n1\n"]
)
def test_a_wrong_trace_file_is_a_config_error(contents: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(contents)
    with pytest.raises(ConfigError, match=r"trace\.csv"):
        read_trace(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("rtt_ms", -1.0), ("rtt_ms", math.nan), ("jitter", 2.5), ("loss", 0.6), ("outages", [{"start_s": -1.0}])],
)
def test_values_out_of_range_are_config_errors(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=field):
        from_mapping(LinkConfig, {field: value})
