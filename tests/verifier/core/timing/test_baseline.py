"""The target-only baseline. A step of VirtualVerifier takes 10 ms plus 1 ms per token."""

from functools import partial

import pytest
from msgspec.structs import replace

from goodspeed.decoding.mode import Mode
from goodspeed.engine.interface import Prefill, Verify
from goodspeed.protocol.messages import Open, Verdict
from goodspeed.testing.virtual_verifier import VirtualDrafter, VirtualVerifier, open_request, unlimited_info
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.core.timing.baseline import Baseline
from goodspeed.verifier.core.timing.step_time import StepTimeModel

THREE_A_ROUND = VerifierCoreConfig(scheduler="fixed", budget=2)
FIRST = open_request(1, max_tokens=60)  # 1 + 19 * 3 + 2: its last step differs from the others
PROMPT_S = 0.013  # a step of its three tokens, which brings the answer's first
SINGLE_S = 0.011  # a step of one stream
ROUND_S = 0.013 + 0.002  # a step of three tokens, and the network both ways


def target_only_request(stream: int, max_tokens: int) -> Open:
    return replace(open_request(stream, max_tokens=max_tokens), mode=Mode.TARGET_ONLY)


def measured_s(end: Verdict) -> tuple[float, float]:
    """The baseline and the elapsed time of a last verdict."""
    assert end.baseline_us is not None
    assert end.elapsed_us is not None
    return end.baseline_us / 1e6, end.elapsed_us / 1e6


def speed_up(drafter: VirtualDrafter, stream: int) -> float:
    """Baseline over elapsed time, by the last verdict of the stream."""
    baseline_s, elapsed_s = measured_s(drafter.last_verdicts[stream])
    return baseline_s / elapsed_s


def warmed_up(config: VerifierCoreConfig = THREE_A_ROUND) -> tuple[VirtualVerifier, VirtualDrafter]:
    """A verifier that has learned its step times, and a drafter whose drafts are all accepted."""
    verifier = VirtualVerifier(config, unlimited_info())
    drafter = VirtualDrafter(verifier, "a", 1.0)
    drafter.open(FIRST)
    verifier.run(10.0)
    return verifier, drafter


def test_the_baseline_of_a_round_has_one_step_per_committed_token() -> None:
    verifier, drafter = warmed_up()
    drafter.open(open_request(2, max_tokens=31))  # 1 + 10 * 3
    verifier.run(10.0)
    end = drafter.last_verdicts[2]
    assert end.baseline_us == pytest.approx(1e6 * (PROMPT_S + 30 * SINGLE_S), rel=1e-3)
    assert end.elapsed_us == pytest.approx(1e6 * (PROMPT_S + 10 * ROUND_S), abs=1)
    (client,) = verifier.core.stats().clients
    assert client.baseline_s / client.elapsed_s == pytest.approx(speed_up(drafter, 2))


def test_no_baseline_is_reported_before_step_times_are_known() -> None:
    verifier, drafter = warmed_up()
    assert (drafter.last_verdicts[1].baseline_us, drafter.last_verdicts[1].elapsed_us) == (None, None)
    (client,) = verifier.core.stats().clients
    assert (client.baseline_s, client.elapsed_s) == (0.0, 0.0)


def test_an_answer_of_one_token_is_as_fast_as_the_baseline() -> None:
    verifier, drafter = warmed_up()
    drafter.open(open_request(2, max_tokens=1))
    verifier.run(1.0)
    assert speed_up(drafter, 2) == pytest.approx(1.0, abs=1e-4)


def test_the_baseline_includes_the_prefill_of_a_long_prompt() -> None:
    verifier, drafter = warmed_up()
    drafter.open(open_request(2, prompt=(5,) * 1000, max_tokens=1))
    verifier.run(10.0)
    assert speed_up(drafter, 2) == pytest.approx(1.0, abs=0.01)


def test_the_baseline_includes_the_tokens_of_other_streams() -> None:
    verifier, drafter = warmed_up()
    VirtualDrafter(verifier, "b", 1.0).open(target_only_request(1, 10_000))
    verifier.run(1.0)
    drafter.open(open_request(2, max_tokens=301))
    verifier.run(10.0)
    assert drafter.last_verdicts[2].baseline_us == pytest.approx(1e6 * (PROMPT_S + 301 * (SINGLE_S + 0.001)), rel=0.05)


def test_target_only_mode_is_as_fast_as_the_baseline() -> None:
    """Meanwhile, prompts of other streams are prefilled in its steps."""
    verifier, drafter = warmed_up()
    other = VirtualDrafter(verifier, "b", 1.0)
    for i in range(24):
        if i == 8:  # by then the ratio of prompt tokens to answer tokens is known
            drafter.open(target_only_request(2, 900))
        other.open(replace(target_only_request(i, 50), tokens=(5,) * 100, num_prompt=100))
        verifier.run(0.7)
    verifier.run(20.0)
    assert speed_up(drafter, 2) == pytest.approx(1.0, abs=0.01)


def test_the_baseline_follows_a_change_of_the_machines_speed() -> None:
    """A stream in target-only mode, beside one whose drafts make the steps longer."""
    slowness = [1.0]
    verifier = VirtualVerifier(
        VerifierCoreConfig(scheduler="random", budget=8),
        unlimited_info(),
        lambda num: slowness[0] * (0.010 + 0.001 * num),
    )
    VirtualDrafter(verifier, "a", 0.8, lambda: 0.0).open(open_request(1, max_tokens=100_000))
    slowed = VirtualDrafter(verifier, "b", 1.0)
    slowed.open(target_only_request(0, 100))
    verifier.run(5.0)
    for stream, now in enumerate((1.0, 5.0, 0.5), start=1):
        slowness[0] = now
        slowed.open(target_only_request(stream, 400))
        verifier.run(40.0)
        assert slowed.last_verdicts[stream].baseline_us == pytest.approx(1e6 * 400 * now * (SINGLE_S + 0.001), rel=0.05)


def served(mode: Mode) -> tuple[list[float], list[float]]:
    """Seconds per answer and reported speed-up, [clients], of three different clients in closed loops."""
    verifier = VirtualVerifier(VerifierCoreConfig(scheduler="fixed", budget=9), unlimited_info())
    drafters = [VirtualDrafter(verifier, f"{rate}", rate, partial(float, rate / 50)) for rate in (0.9, 0.7, 0.4)]
    counted: list[list[Verdict]] = [[] for _ in drafters]

    def send_request(client: int, stream: int) -> None:
        prompt = tuple(80 * client + (7 * stream + i) % 80 for i in range(40))
        drafters[client].open(replace(open_request(stream, prompt, max_tokens=80), mode=mode))

    def on_text(client: int, stream: int) -> None:
        if stream > 5:  # by then all estimates are known
            counted[client].append(drafters[client].last_verdicts[stream])
        send_request(client, stream + 1)

    for client, drafter in enumerate(drafters):
        drafter.on_text = partial(on_text, client)
        send_request(client, 1)
    verifier.run(25.0)
    elapsed_s = [sum(measured_s(end)[1] for end in ends) / len(ends) for ends in counted]
    baseline_s = [sum(measured_s(end)[0] for end in ends) / len(ends) for ends in counted]
    return elapsed_s, [baseline / elapsed for baseline, elapsed in zip(baseline_s, elapsed_s, strict=True)]


def test_a_run_without_drafts_takes_the_baseline_of_the_run_with_drafts() -> None:
    """One client is a fifth faster with drafts, one a third slower; both are reported within 2%."""
    target_only_s, by_target_only = served(Mode.TARGET_ONLY)
    drafted_s, reported = served(Mode.DISTRIBUTED)
    assert by_target_only == pytest.approx([1.0] * 3, abs=0.02)
    true = [target_only / drafted for target_only, drafted in zip(target_only_s, drafted_s, strict=True)]
    assert min(true) < 0.8
    assert max(true) > 1.15
    assert reported == pytest.approx(true, rel=0.02)


def test_the_baseline_takes_turns_when_a_batch_holds_few_streams() -> None:
    verifier, drafter = warmed_up(VerifierCoreConfig(scheduler="fixed", budget=2, max_batch_streams=1))
    VirtualDrafter(verifier, "b", 1.0).open(target_only_request(1, 10_000))
    verifier.run(1.0)
    drafter.open(target_only_request(2, 100))
    verifier.run(10.0)
    assert speed_up(drafter, 2) == pytest.approx(1.0, abs=0.01)


def test_the_baseline_excludes_disconnected_streams() -> None:
    verifier, drafter = warmed_up()
    lost = VirtualDrafter(verifier, "b", 1.0)
    lost.open(target_only_request(1, 10_000))
    verifier.run(1.0)
    lost.disconnect()
    drafter.open(target_only_request(2, 100))
    verifier.run(10.0)
    assert speed_up(drafter, 2) == pytest.approx(1.0, abs=0.01)
    lost.reconnect("b")
    verifier.run(1.0)
    drafter.open(target_only_request(3, 100))
    verifier.run(10.0)
    assert speed_up(drafter, 3) == pytest.approx(1.0, abs=0.01)


def test_the_baseline_of_a_resumed_stream_starts_with_its_resumption() -> None:
    verifier, drafter = warmed_up()
    drafter.open(open_request(2, max_tokens=301))
    verifier.run(0.5)
    drafter.disconnect()
    verifier.run(5.0)
    drafter.reconnect("a")
    verifier.run(10.0)
    end = drafter.last_verdicts[2]
    assert end.epoch == 1
    assert measured_s(end)[1] < 100 * ROUND_S, "neither the first part nor the time without a link counts"
    assert 2.0 < speed_up(drafter, 2) < 3 * SINGLE_S / ROUND_S, "what was committed is prefilled again, either way"


def test_the_hosts_time_between_steps_counts_unless_the_batch_waits() -> None:
    step_time = StepTimeModel()
    baseline = Baseline(step_time, max_batch_streams=0)
    stream = baseline.open(0.0, is_prefilling=False)

    def token_s(started: float) -> float:
        """What a round of one token in a step of 10 ms adds to the stream's baseline."""
        before_s = stream.rounds_s
        step_time.observe(1, 1, 0.010)
        baseline.on_batch(started - 0.001)
        baseline.on_step([Verify(1, ())], 1, started, 0.010)
        baseline.add_round(stream, 1)
        return stream.rounds_s - before_s

    for _ in range(20):
        token_s(started=0.0)
    assert token_s(started=0.0) == pytest.approx(0.010)
    baseline.on_step_concluded(0.010, has_work=True)
    assert token_s(started=0.012) == pytest.approx(0.012)
    baseline.on_step_concluded(0.022, has_work=True)
    baseline.on_wait()
    assert token_s(started=5.0) == pytest.approx(0.012)
    baseline.on_step_concluded(5.010, has_work=False)
    assert token_s(started=9.0) == pytest.approx(0.012)


def test_the_baseline_of_a_single_target_only_client_is_known() -> None:
    """All its steps are alike, but for those of its prompts."""
    verifier = VirtualVerifier(VerifierCoreConfig(), unlimited_info())
    drafter = VirtualDrafter(verifier, "a", 1.0)
    for stream in (1, 2):
        drafter.open(target_only_request(stream, 40))
        verifier.run(1.0)
    assert speed_up(drafter, 2) == pytest.approx(1.0, abs=0.01)


def test_a_new_stream_that_wakes_the_host_waits_for_it_without_drafts_too() -> None:
    step_time = StepTimeModel()
    baseline = Baseline(step_time, max_batch_streams=0)
    for _ in range(20):
        step_time.observe(1, 1, 0.010)
    stream = baseline.open(1.0, is_prefilling=True)
    late = baseline.open(1.004, is_prefilling=True)
    baseline.on_batch(1.005)
    baseline.on_step([Prefill(1, 1), Prefill(2, 1)], 0, started=1.006, step_s=0.015)
    for opened in (stream, late):
        baseline.add_round(opened, 1)
        measured = baseline.measured_us(opened, 1.021)
        assert measured is not None
        assert measured[0] == pytest.approx(measured[1], abs=1)


def test_steps_that_are_faster_than_expected_give_no_negative_baseline() -> None:
    """Short prompts, as prefix caching leaves them, add less time to a step than its spread."""
    step_time = StepTimeModel()
    baseline = Baseline(step_time, max_batch_streams=0)
    for _ in range(20):
        step_time.observe(1, 1, 0.010)
    stream = baseline.open(1.0, is_prefilling=False)
    for i in range(10):
        baseline.on_step([Verify(2, ()), Prefill(3, 1)], 1, started=1.0 + i / 100, step_s=0.001)
    baseline.add_round(stream, 1)
    assert baseline.measured_us(stream, 1.1) == (0, 100_000)
