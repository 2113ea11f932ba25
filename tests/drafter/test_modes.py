"""The drafter core beside a verifier that switches modes at random: remote, local with co-located drafts, shadows."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.drafter.switching_verifier import SwitchingVerifier

from goodspeed.decoding.draft import DraftRequest
from goodspeed.decoding.mode import Mode
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.drafter.core.core_config import DrafterCoreConfig, RetryConfig
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.protocol.messages import ShadowDraft
from goodspeed.protocol.shadow_draft import compare_shadow_draft
from goodspeed.testing.virtual_drafter import VirtualClock, VirtualDrafterHost, target_only_tokens
from goodspeed.windows.policies import WindowConfig

PROMPT = tuple(b"the quick brown")
COUPLED = Sampling(0.8, seed=7, rule=Rule.COUPLED)


def cluster(
    seed: int, window: int = 4, run_ahead: str = "never"
) -> tuple[VirtualClock, SwitchingVerifier, VirtualDrafterHost]:
    """A virtual clock at a time when the drafter has met its verifier."""
    clock = VirtualClock()
    verifier = SwitchingVerifier(clock, seed)
    retry = RetryConfig(repeat_s=0.05)
    config = DrafterCoreConfig(window=WindowConfig("fixed", window), retry=retry, run_ahead=run_ahead)
    drafter = VirtualDrafterHost(clock, [verifier], config)
    clock.run(0.1)
    return clock, verifier, drafter


@given(
    seed=st.integers(0, 2**32),
    drafting=st.tuples(st.integers(0, 6), st.sampled_from(["never", "auto", "always"])),
    times_s=st.tuples(st.sampled_from([0.0, 0.004, 0.03]), st.sampled_from([0.0, 0.008, 0.06])),
    cuts=st.lists(st.floats(0.001, 0.3), max_size=3),
    sampling=st.sampled_from([Sampling(), COUPLED]),
)
@settings(max_examples=60)
def test_text_does_not_depend_on_modes(
    seed: int, drafting: tuple[int, str], times_s: tuple[float, float], cuts: list[float], sampling: Sampling
) -> None:
    """Proposals are sent again while their verdicts are under way: repeat_s is shorter than the longest round."""
    clock, verifier, drafter = cluster(seed, *drafting)
    drafter.drafting_s, latency_s = times_s
    drafter.latency_s = lambda: latency_s
    request = GenerationRequest(PROMPT, 40, sampling)
    keys = [drafter.open(replace(request, mode=mode)) for mode in Mode]
    for pause_s in cuts:
        clock.run(pause_s)
        drafter.cut()
    clock.run(60)
    for key in keys:
        assert drafter.received[key].tokens == target_only_tokens(request)
    assert drafter.engine_log == {keys[0]: [*PROMPT, *target_only_tokens(request)]}
    assert verifier.engine.num_open == 0


def test_shadow_drafts_are_what_the_drafter_would_have_proposed() -> None:
    clock, verifier, drafter = cluster(seed=1)
    keys = [drafter.open(GenerationRequest(PROMPT, 200 + i, COUPLED)) for i in range(3)]
    clock.run(120)
    engine = ToyDraft(0.7)
    shadows = [message for message in drafter.sent if isinstance(message, ShadowDraft)]
    assert 10 < len(shadows) <= verifier.num_shadows_requested
    for message in shadows:
        text = [*PROMPT, *drafter.received[message.stream].tokens]
        engine.open(1, text[: message.committed_length], COUPLED)
        (draft,) = engine.draft([DraftRequest(1, len(message.tokens))])
        engine.close(1)
        assert message.tokens == draft.tokens
    assert keys == [1, 2, 3]


def test_evidence_of_shadow_drafts_is_that_of_the_text() -> None:
    clock, verifier, drafter = cluster(seed=2)
    text = target_only_tokens(GenerationRequest(PROMPT, 3000))
    drafter.open(GenerationRequest(PROMPT, 3000))
    clock.run(200)
    shadows = [message for message in drafter.sent if isinstance(message, ShadowDraft)]
    results = [compare_shadow_draft(message, [*PROMPT, *text], is_finished=True) for message in shadows]
    truth = [
        (len(shadow.tokens), result.num_accepted)
        for shadow, result in zip(shadows, results, strict=True)
        if result is not None and result.is_complete
    ]
    evidence = [found for found in verifier.client.evidence if found[0]]
    remaining = iter(truth)
    assert all(found in remaining for found in evidence)  # in order; answers to replaced requests are left out
    assert len(evidence) > 0.8 * len(truth) > 100
    assert {num_accepted for num_granted, num_accepted in evidence if num_granted == 4} == {0, 1, 2, 3, 4}
