"""The fields of a request that say where an answer ends before its maximum length."""

from dataclasses import dataclass

from goodspeed.drafter.http.errors import ApiError
from goodspeed.drafter.http.sampling_fields import SamplingBody, check_token_ids
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.protocol.messages import Welcome

MAX_STOPS = 4


@dataclass(frozen=True, slots=True)
class StopConditions:
    """What ends an answer."""

    strings: tuple[str, ...]
    tokens: tuple[int, ...]
    """Special tokens that end the answer as a stop string does: they have no text."""
    token_ids: tuple[int, ...]
    ignores_end_tokens: bool
    """The model's own end tokens do not end the answer."""

    def end_tokens(self, welcome: Welcome) -> tuple[int, ...]:
        """The tokens that end an answer of this model. Raises ApiError."""
        check_token_ids(self.token_ids, "stop_token_ids", welcome.vocab_size)
        # A tokenizer may have more tokens than the model.
        special = [token for token in self.tokens if token < welcome.vocab_size]
        own = () if self.ignores_end_tokens else welcome.end_tokens
        return tuple(dict.fromkeys([*own, *special, *self.token_ids]))


def stop_conditions(body: SamplingBody, tokenizer: Tokenizer) -> StopConditions:
    """Raises ApiError."""
    stops = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    if len(stops) > MAX_STOPS or "" in stops:
        raise ApiError(400, f"stop is {body.stop!r:.80}, expected up to {MAX_STOPS} non-empty strings", "stop")
    special = tokenizer.special_tokens
    for text in (text for text in stops if text not in special):
        _check_stop(
            text, [name for name, token in special.items() if name in text and token not in tokenizer.end_tokens]
        )
    tokens = tuple(special[text] for text in stops if text in special)
    return StopConditions(stops, tokens, tuple(body.stop_token_ids or ()), bool(body.ignore_eos))


def _check_stop(text: str, special: list[str]) -> None:
    """`special`: the special tokens in the stop string that do not end the answer by themselves. Raises ApiError."""
    if special:
        raise ApiError(
            400,
            f"stop is {text!r:.80}, which never occurs: the special token {special[0]!r} in it has no text; "
            f"only {special[0]!r} by itself can be a stop",
            "stop",
        )
