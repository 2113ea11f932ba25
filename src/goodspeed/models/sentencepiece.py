"""Tokenizers of the SentencePiece kind in GGUF files: BPE over characters, with bytes for what has no token."""

from collections.abc import Mapping, Sequence

import tokenizers
from tokenizers import decoders, models, normalizers

SPACE = "▁"  # stands for a space in the vocabulary


def sentencepiece_tokenizer(
    names: Sequence[str], scores: Sequence[float], unknown: str | None, *, has_space_prefix: bool
) -> tokenizers.Tokenizer:
    """A tokenizer without its added tokens. `has_space_prefix`: a text is read as if it began with a space."""
    ids = {name: token for token, name in enumerate(names)}
    model = models.BPE(ids, _merges(ids, scores), unk_token=unknown, fuse_unk=True, byte_fallback=True)
    tokenizer = tokenizers.Tokenizer(model)
    prepend = [normalizers.Prepend(SPACE)] if has_space_prefix else []
    tokenizer.normalizer = normalizers.Sequence([*prepend, normalizers.Replace(" ", SPACE)])
    strip = [decoders.Strip(" ", 1, 0)] if has_space_prefix else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    return tokenizer


def _merges(ids: Mapping[str, int], scores: Sequence[float]) -> list[tuple[str, str]]:
    """All pairs of tokens that make a token, the one with the best score first.

    The order among pairs of one token is that of transformers' conversion, so that fingerprints are equal.
    """
    pairs = [
        (scores[token], len(left), len(right), left, right)
        for name, token in ids.items()
        for left, right in sorted(_splits(name, ids), key=lambda pair: (ids[pair[0]], ids[pair[1]]))
    ]
    pairs.sort(key=lambda pair: pair[:3], reverse=True)
    return [(left, right) for _, _, _, left, right in pairs]


def _splits(name: str, ids: Mapping[str, int]) -> list[tuple[str, str]]:
    halves = ((name[:i], name[i:]) for i in range(1, len(name)))
    return [(left, right) for left, right in halves if left in ids and right in ids]
