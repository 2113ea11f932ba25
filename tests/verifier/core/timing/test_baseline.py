"""What the target alone would have taken, as the verifier reckons. VirtualVerifier's step takes 10 ms and 1 a token."""

from functools import partial

import pytest
from msgspec.structs import replace

from goodspeed.engine.interface import Verify
from goodspeed.protocol.messages import Mode, Open, Verdict
from goodspeed.testing.virtual_verifier import VirtualDrafter, VirtualVerifier, open_request, unlimited_info
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.core.timing.baseline import Baseline

THREE_A_ROUND = VerifierCoreConfig(scheduler="fixed", budget=2)
FIRST = open_request(1, max_tokens=60)  # 1 + 19 * 3 + 2: its last step is unlike the others
PROMPT_S = 0.013  # a step of its three tokens, which brings the answer's first
ALONE_S = 0.011  # a step of one stream
ROUND_S = 0.013 + 0.002  # a step of three tokens, and the way to the drafter and back


def fused(stream: int, max_tokens: int) -> Open:
    return replace(open_request(stream, max_tokens=max_tokens), mode=Mode.TARGET_ONLY)


def speed_up(drafter: VirtualDrafter, stream: int) -> float:
    """What the stream's last verdict says."""
    end = drafter.last_verdicts[stream]
    return end.baseline_us / end.elapsed_us


def experienced(config: VerifierCoreConfig = THREE_A_ROUND) -> tuple[VirtualVerifier, VirtualDrafter]:
    """A verifier that knows its steps, and a drafter whose drafts are all right."""
    verifier = VirtualVerifier(config, unlimited_info())
    drafter = VirtualDrafter(verifier, "a", 1.0)
    drafter.open(FIRST)
    verifier.run(10.0)
    return verifier, drafter


def test_a_round_is_worth_as_many_steps_of_the_target_alone_as_it_committed_tokens() -> None:
    verifier, drafter = experienced()
    drafter.open(open_request(2, max_tokens=31))  # 1 + 10 * 3
    verifier.run(10.0)
    end = drafter.last_verdicts[2]
    assert end.baseline_us == pytest.approx(1e6 * (PROMPT_S + 30 * ALONE_S), rel=1e-3)
    assert end.elapsed_us == pytest.approx(1e6 * (PROMPT_S + 10 * ROUND_S), abs=1)
    (client,) = verifier.core.stats().clients
    assert client.baseline_s / client.elapsed_s == pytest.approx(speed_up(drafter, 2))


def test_nothing_is_told_before_the_steps_are_known() -> None:
    verifier, drafter = experienced()
    assert (drafter.last_verdicts[1].baseline_us, drafter.last_verdicts[1].elapsed_us) == (0, 0)
    (client,) = verifier.core.stats().clients
    assert (client.baseline_s, client.elapsed_s) == (0.0, 0.0)


def test_an_answer_of_one_token_is_as_fast_as_the_target_alone() -> None:
    verifier, drafter = experienced()
    drafter.open(open_request(2, max_tokens=1))
    verifier.run(1.0)
    assert speed_up(drafter, 2) == pytest.approx(1.0, abs=1e-4)


def test_a_long_prompt_takes_its_steps_either_way() -> None:
    verifier, drafter = experienced()
    drafter.open(open_request(2, prompt=(5,) * 1000, max_tokens=1))
    verifier.run(10.0)
    assert speed_up(drafter, 2) == pytest.approx(1.0, abs=0.01)


def test_others_share_the_steps_of_the_target_alone() -> None:
    verifier, drafter = experienced()
    VirtualDrafter(verifier, "b", 1.0).open(fused(1, 10_000))
    verifier.run(1.0)
    drafter.open(open_request(2, max_tokens=301))
    verifier.run(10.0)
    assert drafter.last_verdicts[2].baseline_us == pytest.approx(1e6 * (PROMPT_S + 301 * (ALONE_S + 0.001)), rel=0.05)


def test_the_target_alone_is_as_fast_as_itself() -> None:
    """Others come and go, whose prompts are prefilled in its steps."""
    verifier, drafter = experienced()
    other = VirtualDrafter(verifier, "b", 1.0)
    for i in range(24):
        if i == 8:  # by then it is known how much of a prompt there is to a token
            drafter.open(fused(2, 900))
        other.open(replace(fused(i, 50), tokens=(5,) * 100, num_prompt=100))
        verifier.run(0.7)
    verifier.run(20.0)
    assert speed_up(drafter, 2) == pytest.approx(1.0, abs=0.01)


def test_a_machine_that_becomes_slow_would_have_been_slow_for_the_target_alone() -> None:
    """A stream without drafts of its own, beside one whose drafts make the steps longer."""
    slowness = [1.0]
    verifier = VirtualVerifier(
        VerifierCoreConfig(scheduler="random", budget=8),
        unlimited_info(),
        lambda num: slowness[0] * (0.010 + 0.001 * num),
    )
    VirtualDrafter(verifier, "a", 0.8, lambda: 0.0).open(open_request(1, max_tokens=100_000))
    slowed = VirtualDrafter(verifier, "b", 1.0)
    slowed.open(fused(0, 100))
    verifier.run(5.0)
    for stream, now in enumerate((1.0, 5.0, 0.5), start=1):
        slowness[0] = now
        slowed.open(fused(stream, 400))
        verifier.run(40.0)
        assert slowed.last_verdicts[stream].baseline_us == pytest.approx(1e6 * 400 * now * (ALONE_S + 0.001), rel=0.05)


def served(mode: Mode) -> tuple[list[float], list[float]]:
    """[clients] of three unlike clients, each asking again when answered: seconds an answer, speed-up as told."""
    verifier = VirtualVerifier(VerifierCoreConfig(scheduler="fixed", budget=9), unlimited_info())
    drafters = [VirtualDrafter(verifier, f"{rate}", rate, partial(float, rate / 50)) for rate in (0.9, 0.7, 0.4)]
    counted: list[list[Verdict]] = [[] for _ in drafters]

    def ask(client: int, stream: int) -> None:
        prompt = tuple(80 * client + (7 * stream + i) % 80 for i in range(40))
        drafters[client].open(replace(open_request(stream, prompt, max_tokens=80), mode=mode))

    def on_text(client: int, stream: int) -> None:
        if stream > 5:  # all is known by then
            counted[client].append(drafters[client].last_verdicts[stream])
        ask(client, stream + 1)

    for client, drafter in enumerate(drafters):
        drafter.on_text = partial(on_text, client)
        ask(client, 1)
    verifier.run(25.0)
    took_s = [sum(end.elapsed_us for end in ends) / len(ends) / 1e6 for ends in counted]
    alone_s = [sum(end.baseline_us for end in ends) / len(ends) / 1e6 for ends in counted]
    return took_s, [alone / took for alone, took in zip(alone_s, took_s, strict=True)]


def test_the_target_alone_takes_what_was_reckoned() -> None:
    """One client is a quarter faster than alone, one a third slower; each is told so within 2%."""
    alone_s, by_itself = served(Mode.TARGET_ONLY)
    drafted_s, reckoned = served(Mode.DISTRIBUTED)
    assert by_itself == pytest.approx([1.0] * 3, abs=0.02)
    true = [alone / drafted for alone, drafted in zip(alone_s, drafted_s, strict=True)]
    assert min(true) < 0.8
    assert max(true) > 1.2
    assert reckoned == pytest.approx(true, rel=0.02)


def test_a_batch_of_few_streams_lets_the_target_alone_take_turns() -> None:
    verifier, drafter = experienced(VerifierCoreConfig(scheduler="fixed", budget=2, max_batch_streams=1))
    VirtualDrafter(verifier, "b", 1.0).open(fused(1, 10_000))
    verifier.run(1.0)
    drafter.open(fused(2, 100))
    verifier.run(10.0)
    assert speed_up(drafter, 2) == pytest.approx(1.0, abs=0.01)


def test_lost_drafters_are_not_served_by_the_target_alone_either() -> None:
    verifier, drafter = experienced()
    lost = VirtualDrafter(verifier, "b", 1.0)
    lost.open(fused(1, 10_000))
    verifier.run(1.0)
    lost.disconnect()
    drafter.open(fused(2, 100))
    verifier.run(10.0)
    assert speed_up(drafter, 2) == pytest.approx(1.0, abs=0.01)
    lost.reconnect("b")
    verifier.run(1.0)
    drafter.open(fused(3, 100))
    verifier.run(10.0)
    assert speed_up(drafter, 3) == pytest.approx(1.0, abs=0.01)


def test_a_resumed_stream_tells_of_its_last_part() -> None:
    verifier, drafter = experienced()
    drafter.open(open_request(2, max_tokens=301))
    verifier.run(0.5)
    drafter.disconnect()
    verifier.run(5.0)
    drafter.reconnect("a")
    verifier.run(10.0)
    end = drafter.last_verdicts[2]
    assert end.epoch == 1
    assert end.elapsed_us < 1e6 * 100 * ROUND_S, "neither the first part nor the time without a link"
    assert 2.0 < speed_up(drafter, 2) < 3 * ALONE_S / ROUND_S, "what was committed is prefilled again, either way"


def test_the_hosts_time_between_steps_counts_where_nothing_is_waited_for() -> None:
    target_alone = Baseline(max_batch_streams=0, prefill_chunk=128)
    for _ in range(20):
        target_alone.on_step([Verify(1, ())], 1, 0.010)
    assert target_alone.token_s(1) == pytest.approx(0.010)
    target_alone.on_step_concluded(0.010, has_work=True)
    target_alone.on_step_started(0.012)
    assert target_alone.token_s(1) == pytest.approx(0.012)
    target_alone.on_step_concluded(0.022, has_work=True)
    target_alone.on_wait()
    target_alone.on_step_started(5.0)
    target_alone.on_step_concluded(5.010, has_work=False)
    target_alone.on_step_started(9.0)
    assert target_alone.token_s(1) == pytest.approx(0.012)
