"""A conversation's next turn: the drafter sends only what the verifier does not know, and all if it has forgotten."""

from goodspeed.drafter.core.known_texts import MAX_TEXTS, MIN_KNOWN, KnownTexts
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.protocol.codec import encode_message
from goodspeed.protocol.messages import Open
from goodspeed.testing.virtual_drafter import ToyVerifier, VirtualClock, VirtualDrafterHost, target_only_tokens
from goodspeed.testing.virtual_verifier import open_request
from goodspeed.verifier.core.core_config import VerifierCoreConfig

PROMPT = tuple(b"the quick brown fox jumps over the lazy dog")
USER = tuple(b" and then it ")
NUM_ANSWER = 40


def converse(config: VerifierCoreConfig, num_turns: int) -> list[Open]:
    """All Opens of a conversation whose texts are the target's own."""
    clock = VirtualClock()
    verifier = ToyVerifier(clock, config)
    drafter = VirtualDrafterHost(clock, [verifier])
    clock.run(1.0)
    prompt = PROMPT
    for _ in range(num_turns):
        request = GenerationRequest(prompt, max_tokens=NUM_ANSWER)
        key = drafter.open(request)
        clock.run(60)
        assert drafter.received[key].tokens == target_only_tokens(request)
        prompt = (*prompt, *drafter.received[key].tokens, *USER)
    return [message for message in drafter.sent if isinstance(message, Open)]


def test_a_turn_sends_only_what_the_verifier_does_not_know() -> None:
    opens = converse(VerifierCoreConfig(), 10)
    assert [len(request.tokens) for request in opens] == [len(PROMPT)] + 9 * [1 + len(USER)]
    assert [request.epoch for request in opens] == 10 * [0]
    assert len(encode_message(opens[9])) < len(encode_message(opens[1])) + 4


def test_a_verifier_that_has_forgotten_a_text_is_sent_all_of_it() -> None:
    """The text of turn 1 fits the cache, that of turn 2 does not: at turn 3 it is unknown."""
    opens = converse(VerifierCoreConfig(prefix_cache_tokens=100), 4)
    turn = NUM_ANSWER + len(USER)
    assert [(request.stream, request.epoch, len(request.tokens)) for request in opens] == [
        (1, 0, len(PROMPT)),
        (2, 0, 1 + len(USER)),
        (3, 0, 1 + len(USER)),
        (3, 1, len(PROMPT) + 2 * turn),
        (4, 0, 1 + len(USER)),
        (4, 1, len(PROMPT) + 3 * turn),
    ]


def test_a_verifier_without_a_prefix_cache_is_sent_all_tokens() -> None:
    opens = converse(VerifierCoreConfig(prefix_cache_tokens=0), 3)
    assert [request.known for request in opens] == [None] * 3
    assert [len(request.tokens) for request in opens] == [len(PROMPT) + i * (NUM_ANSWER + len(USER)) for i in range(3)]


def test_the_longest_known_text_is_named_and_old_ones_are_forgotten() -> None:
    texts = KnownTexts()
    for stream in range(MAX_TEXTS + 5):
        texts.add(stream, range(stream, stream + 100))
    assert len(texts) == MAX_TEXTS
    texts.add(100, range(50, 140))
    short = texts.shortened(open_request(101, range(50, 160)))
    assert short.known
    assert (short.known.stream, short.known.length, short.tokens) == (50, 99, tuple(range(149, 160)))
    for prompt in (range(3, 130), range(50, 50 + MIN_KNOWN - 1)):  # forgotten; too short
        whole = open_request(101, prompt)
        assert texts.shortened(whole) == whole
