"""A window policy that changes the mode of streams: exact texts, a fed draft engine, and honest estimates."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.drafter.switching_verifier import SwitchingVerifier

from goodspeed.decoding.draft import DraftRequest, StreamKey
from goodspeed.decoding.mode import Mode
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.drafter.core.core import DrafterCore
from goodspeed.drafter.core.core_config import DrafterCoreConfig, RetryConfig
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.engine.calibration import Calibration
from goodspeed.engine.draft_model import DraftModelRunner, StreamInput
from goodspeed.engine.neural_draft import NeuralDraft
from goodspeed.engine.toy_model import TOY_VOCAB_SIZE, ToyModel
from goodspeed.protocol.messages import ChangeMode, Open, Propose
from goodspeed.testing.awc_network import linear_network
from goodspeed.testing.virtual_drafter import ToyVerifier, VirtualClock, VirtualDrafterHost, target_only_tokens
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.windows.awc.network import AwcNetwork
from goodspeed.windows.awc.policy import AwcConfig
from goodspeed.windows.policies import WindowConfig
from goodspeed.windows.window_policy import Window, WindowView

PROMPT = tuple(b"the quick brown")
COUPLED = Sampling(0.8, seed=7, rule=Rule.COUPLED)
RETRY = RetryConfig(repeat_s=0.5)
ALTERNATING = linear_network(5.0, lag=2, previous_window=-1.0)
"""Windows of 1, 1, 1, 4, 4, 4 and so on."""

BY_LOAD = linear_network(-1.5, queue_utilisation=6.0)
"""5 while the verifier reports that it is always busy, as in target-only rounds; 1 while it waits for proposals."""

SavedNetwork = Callable[[AwcNetwork], str]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> SavedNetwork:
    """The path of a file with the network."""
    folder, numbers = tmp_path_factory.mktemp("awc"), itertools.count()

    def save(network: AwcNetwork) -> str:
        path: Path = folder / f"{next(numbers)}.npz"
        network.save(path)
        return str(path)

    return save


def window(weights: str, hysteresis: int = 2, mode: str = "target_only") -> WindowConfig:
    return WindowConfig("awc", 6, awc=AwcConfig(weights, mode, smoothing=1.0, hysteresis=hysteresis, return_window=2))


switching_policies = st.builds(
    lambda constant, previous, acceptance, lag: linear_network(
        constant, lag, previous_window=previous, recent_acceptance=acceptance
    ),
    st.floats(0.0, 8.0),
    st.floats(-1.5, 1.0),
    st.floats(-6.0, 6.0),
    st.integers(0, 2),
)


@given(
    host=st.tuples(st.integers(0, 2**32), st.sampled_from(["never", "auto", "always"]), st.sampled_from([0.0, 0.03])),
    network=switching_policies,
    policy=st.tuples(st.integers(1, 3), st.sampled_from(["target_only", "co_located"])),
    cuts=st.lists(st.floats(0.001, 0.3), max_size=3),
)
@settings(max_examples=60, deadline=None)
def test_text_does_not_depend_on_changes_of_mode(
    saved: SavedNetwork,
    host: tuple[int, str, float],
    network: AwcNetwork,
    policy: tuple[int, str],
    cuts: list[float],
) -> None:
    """Beside a verifier that switches the modes of rounds at random, over links that are lost."""
    seed, run_ahead, drafting_s = host
    clock, requests = VirtualClock(), [GenerationRequest(PROMPT, 40, sampling) for sampling in (Sampling(), COUPLED)]
    verifier = SwitchingVerifier(clock, seed)
    config = DrafterCoreConfig(window=window(saved(network), *policy), retry=RETRY, run_ahead=run_ahead)
    drafter = VirtualDrafterHost(clock, [verifier], config)
    drafter.drafting_s, latency_s = drafting_s, (0.0, 0.008, 0.06)[seed % 3]
    drafter.latency_s = lambda: latency_s
    clock.run(0.2)
    keys = [drafter.open(request) for request in requests]
    for pause_s in cuts:
        clock.run(pause_s)
        drafter.cut()
    clock.run(60)
    texts = [target_only_tokens(request) for request in requests]
    assert [drafter.received[key].tokens for key in keys] == texts
    assert drafter.engine_log == {key: [*PROMPT, *text] for key, text in zip(keys, texts, strict=True)}
    assert verifier.engine.num_open == 0


def alternating(
    saved: SavedNetwork, mode: str = "target_only", budget: int = 6
) -> tuple[VirtualClock, ToyVerifier, VirtualDrafterHost]:
    """Both cores; the mode of a stream changes after every third verdict."""
    clock = VirtualClock()
    verifier = ToyVerifier(clock, VerifierCoreConfig(scheduler="fixed", budget=budget))
    config = DrafterCoreConfig(window=window(saved(ALTERNATING), mode=mode), retry=RETRY, run_ahead="never")
    drafter = VirtualDrafterHost(clock, [verifier], config)
    clock.run(0.1)
    return clock, verifier, drafter


@pytest.mark.parametrize("mode", ["target_only", "co_located"])
def test_both_cores_follow_frequent_changes(saved: SavedNetwork, mode: str) -> None:
    clock, verifier, drafter = alternating(saved, mode)
    request = GenerationRequest(PROMPT, 400, COUPLED)
    key = drafter.open(request)
    clock.run(60)
    assert drafter.received[key].tokens == target_only_tokens(request)
    changes = [message.mode for message in drafter.sent if isinstance(message, ChangeMode)]
    assert len(changes) > 60
    assert all(mode is not other for mode, other in itertools.pairwise(changes))
    (client,) = verifier.core.stats().clients
    assert client.num_mode_changes == len(changes)
    assert drafter.received[key].num_proposed > 50


def test_declined_grants_say_nothing_about_the_drafts(saved: SavedNetwork) -> None:
    """Half of the grants are answered by an empty proposal; 0.7 of the draft tokens are right."""
    clock, verifier, drafter = alternating(saved, budget=1)
    drafter.open(GenerationRequest(PROMPT, 1000))
    clock.run(100)
    num_empty = sum(not message.tokens for message in drafter.sent if isinstance(message, Propose))
    (client,) = verifier.core.stats().clients
    assert num_empty > 50
    assert 0.6 < client.estimator.acceptance_rate < 0.8
    assert client.timing.grant_utilisation > 0.8


def test_a_new_epoch_keeps_the_mode(saved: SavedNetwork) -> None:
    clock = VirtualClock()
    verifier = ToyVerifier(clock)
    drafter = VirtualDrafterHost(clock, [verifier], DrafterCoreConfig(window=window(saved(linear_network(1.0)))))
    clock.run(0.1)
    request = GenerationRequest(PROMPT, 60)
    key = drafter.open(request)
    clock.run(0.3)
    drafter.cut()
    clock.run(20)
    assert drafter.received[key].tokens == target_only_tokens(request)
    assert [message.mode for message in drafter.sent if isinstance(message, Open)] == [
        Mode.DISTRIBUTED,
        Mode.TARGET_ONLY,
    ]
    assert sum(isinstance(message, ChangeMode) for message in drafter.sent) == 1
    assert drafter.received[key].num_proposed == 1  # the first decision alone does not change the mode


def test_new_streams_are_opened_in_the_mode_of_the_link(saved: SavedNetwork) -> None:
    """They are drafted for all the same: they may return."""
    clock = VirtualClock()
    verifier = ToyVerifier(clock)
    drafter = VirtualDrafterHost(clock, [verifier], DrafterCoreConfig(window=window(saved(linear_network(1.0)))))
    clock.run(0.1)
    request = GenerationRequest(PROMPT, 30)
    for _ in range(2):
        drafter.open(request)
        clock.run(10)
    modes = [message.mode for message in drafter.sent if isinstance(message, Open)]
    assert modes == [Mode.DISTRIBUTED, Mode.TARGET_ONLY]
    assert sum(isinstance(message, ChangeMode) for message in drafter.sent) == 1
    text = target_only_tokens(request)
    assert drafter.engine_log == {key: [*PROMPT, *text] for key in drafter.received}
    assert [answer.num_rounds for answer in drafter.received.values()][1] == len(text)


class RecordingWindow:
    """A fixed window that keeps what it is shown."""

    def __init__(self) -> None:
        self.views: list[WindowView] = []

    def next_window(self, view: WindowView) -> Window:
        self.views.append(view)
        return Window(min(4, view.grant))


def test_a_policy_is_shown_the_load_its_age_and_the_time_per_token() -> None:
    """Rounds of 10 ms for a step, 10 ms of round trip and 1 ms of drafting: the verifier is busy for 10 of 21 ms."""
    clock, recording = VirtualClock(), RecordingWindow()
    verifier = ToyVerifier(clock, VerifierCoreConfig(scheduler="fixed"))
    core = DrafterCore(DrafterCoreConfig(run_ahead="never"), np.random.default_rng(0), recording)
    drafter = VirtualDrafterHost(clock, [verifier], core=core)
    clock.run(0.1)
    key = drafter.open(GenerationRequest(PROMPT, 600))
    clock.run(60)
    views, answer = recording.views[60:], drafter.received[key]
    assert {round(view.queue_utilisation, 1) for view in views} == {0.5}
    assert 0.9 < max(view.load_age_s for view in views) < 1.1
    assert min(view.load_age_s for view in views) < 0.03
    tokens_per_round = len(answer.tokens) / answer.num_rounds
    assert np.mean([view.tpot_s for view in views]) == pytest.approx(0.021 / tokens_per_round, rel=0.1)


class MistakenModel:
    """The toy target as a draft model with a cache, which is wrong at a fifth of all prefixes."""

    def __init__(self) -> None:
        self.max_context = 4096
        self.caches: dict[StreamKey, list[int]] = {}
        self._model = ToyModel()

    @property
    def vocab_size(self) -> int:
        return TOY_VOCAB_SIZE

    def open(self, stream: StreamKey, capacity: int) -> None:  # noqa: ARG002 (of the interface)
        self.caches[stream] = []

    def run(self, inputs: Sequence[StreamInput]) -> npt.NDArray[np.float32]:
        rows = []
        for new in inputs:
            cache = self.caches[new.stream]
            assert new.num_cached <= len(cache)
            cache[new.num_cached :] = new.tokens
            row = self._model.row(cache)
            rows.append(np.roll(row, 1) if sum(cache) % 5 == 0 else row)
        return np.stack(rows)

    def close(self, stream: StreamKey) -> None:
        del self.caches[stream]


def neural_draft() -> NeuralDraft:
    return NeuralDraft(DraftModelRunner(MistakenModel(), TOY_VOCAB_SIZE, num_kept=0), Calibration())


def test_drafts_after_the_return_are_those_of_a_stream_that_never_left(saved: SavedNetwork) -> None:
    """Of a neural draft with a cache: it stays as good, since it gets the tokens that others have committed."""
    clock = VirtualClock()
    verifier = ToyVerifier(clock, VerifierCoreConfig(scheduler="fixed", budget=6))
    config = DrafterCoreConfig(window=window(saved(BY_LOAD)), retry=RETRY, run_ahead="never")
    drafter = VirtualDrafterHost(clock, [verifier], config)
    drafter.engine = neural_draft()
    clock.run(0.1)
    request = GenerationRequest(PROMPT, 2000)
    key = drafter.open(request)
    clock.run(100)
    text = [*PROMPT, *target_only_tokens(request)]
    assert drafter.received[key].tokens == text[len(PROMPT) :]
    changes = [i for i, message in enumerate(drafter.sent) if isinstance(message, ChangeMode)]
    assert len(changes) > 8
    returned = [message for message in drafter.sent[changes[1] :: 4] if isinstance(message, Propose) and message.tokens]
    num_right = 0
    for message in returned:
        fresh = neural_draft()
        fresh.open(1, text[: message.committed_length], request.sampling)
        (draft,) = fresh.draft([DraftRequest(1, len(message.tokens))])
        assert message.tokens == draft.tokens
        following = text[message.committed_length :]
        num_right += next(
            (i for i, pair in enumerate(zip(draft.tokens, following, strict=False)) if pair[0] != pair[1]), 4
        )
    assert num_right / len(returned) > 2.0
