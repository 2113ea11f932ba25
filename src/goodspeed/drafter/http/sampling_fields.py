"""The fields of a request that say how tokens are chosen and where the answer ends."""

import secrets

from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.drafter.http.errors import ApiError
from goodspeed.drafter.http.request_body import CommonBody, Extension
from goodspeed.models.tokenizer import Tokenizer

MAX_STOPS = 4
MAX_TOP_K = 2**31 - 1  # more than any vocabulary


def sampling_of(body: CommonBody, extension: Extension) -> Sampling:
    """The default temperature is 1, as in OpenAI's API. Raises RequestError."""
    temperature = 1.0 if body.temperature is None else body.temperature
    rule = Rule.REJECTION if extension.rule == "rejection" else Rule.COUPLED
    return Sampling(
        temperature=temperature,
        top_k=min(body.top_k or 0, MAX_TOP_K),
        top_p=1.0 if body.top_p is None else body.top_p,
        seed=secrets.randbits(63) if body.seed is None else body.seed % 2**64,
        rule=Rule.GREEDY if temperature == 0.0 else rule,
    )


def stops_of(stop: str | list[str] | None, tokenizer: Tokenizer) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The stop strings, and the special tokens among them. Raises ApiError."""
    stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if len(stops) > MAX_STOPS or "" in stops:
        raise ApiError(400, f"stop is {stop!r:.80}, expected up to {MAX_STOPS} non-empty strings", "stop")
    special = tokenizer.special_tokens
    for text in (text for text in stops if text not in special):
        _check_stop(
            text, [name for name, token in special.items() if name in text and token not in tokenizer.end_tokens]
        )
    return stops, tuple(special[text] for text in stops if text in special)


def _check_stop(text: str, special: list[str]) -> None:
    """`special`: the special tokens in the stop string that do not end the answer by themselves. Raises ApiError."""
    if special:
        raise ApiError(
            400,
            f"stop is {text!r:.80}, which never occurs: the special token {special[0]!r} in it has no text; "
            f"only {special[0]!r} by itself can be a stop",
            "stop",
        )
